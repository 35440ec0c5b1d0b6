//! Tips beside a usage error, where those of clap would mislead or are missing.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use mcast::group::WellKnown;
use mcast_doctor::Id;

use crate::words;

/// Other subcommands that are named for an option that they have.
const SHOWN: usize = 3;

/// Corrects the tips of an error about these arguments of a command, the name of the program first.
pub(crate) fn correct(
    mut error: clap::Error,
    arguments: &[OsString],
    definition: fn() -> clap::Command,
) -> clap::Error {
    let typed = [ContextKind::InvalidValue, ContextKind::InvalidArg].map(|kind| text_of(&error, kind));
    if let Some(tip) = typed.iter().flatten().find_map(|word| words::interface(word))
        && is_option(chosen(&definition(), arguments), "-i", takes_value)
    {
        return with_tip(error, tip);
    }
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text_of(&error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let tip = match (words::command(&word), explained(&word)) {
                (Some(command), _) => Some(format!("the command for that is `mcast {command}`")),
                (None, Some(subject)) => Some(format!("`mcast explain {subject}` is about that")),
                (None, None) if error.get(ContextKind::SuggestedSubcommand).is_some() => return error,
                (None, None) => words::similar_command(&word)
                    .map(|command| format!("the command for that is `mcast {command}`")),
            };
            error.remove(ContextKind::SuggestedSubcommand);
            tip.into_iter().fold(error, with_tip)
        }
        ErrorKind::ValueValidation if text_of(&error, ContextKind::InvalidArg).as_deref() == Some("[to]") => {
            let word = text_of(&error, ContextKind::InvalidValue).unwrap_or_default();
            let text = format!("the word `to` is missing before '{word}': mcast bridge STREAM to {word}\n");
            clap::Error::raw(ErrorKind::ValueValidation, text)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
            if text_of(&error, ContextKind::InvalidArg).is_some_and(|option| option.contains("FINDING")) =>
        {
            let value = text_of(&error, ContextKind::InvalidValue).unwrap_or_default();
            let meant = words::subject(&value).filter(|subject| subject.parse::<Id>().is_ok());
            let meant = meant.or_else(|| words::closest(&value, Id::ALL.iter().map(|id| id.as_str())));
            let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
            with_tip(error, format!("{meant}`mcast explain --findings` lists all findings"))
        }
        ErrorKind::UnknownArgument if is_about_hyphens(&error) => {
            let unknown = text_of(&error, ContextKind::InvalidArg).unwrap_or_default();
            if let Some(refused) = refused_value(&unknown, arguments, definition) {
                return refused;
            }
            error.remove(ContextKind::Suggested);
            match tip_for_option(&unknown, arguments, definition) {
                Some(tip) => with_tip(error, tip),
                None => error,
            }
        }
        _ => error,
    }
}

/// Returns what `mcast explain` explains of a word: a finding, a term, or a group.
fn explained(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    let is_known = word.parse::<Id>().is_ok()
        || crate::commands::explained_terms().any(|term| term == word)
        || !WellKnown::named(&word).is_empty();
    words::subject(&word).map(str::to_owned).or_else(|| is_known.then_some(word))
}

fn text_of(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn with_tip(mut error: clap::Error, tip: String) -> clap::Error {
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

/// Whether clap proposes to pass the text as a value behind `--`, which it does for any unknown option.
fn is_about_hyphens(error: &clap::Error) -> bool {
    matches!(error.get(ContextKind::Suggested), Some(ContextValue::StyledStrs(tips)) if tips.iter().any(|tip| tip.to_string().starts_with("to pass")))
}

/// Returns the error of an option whose value begins with a hyphen, if the option refuses that value however it is written. A word
/// with two hyphens is rather a slip in an option than a value.
fn refused_value(
    unknown: &str,
    arguments: &[OsString],
    definition: fn() -> clap::Command,
) -> Option<clap::Error> {
    let is_value = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(unknown));
    let position = arguments.iter().position(is_value).filter(|position| *position > 1)?;
    let (option, value) = (arguments[position - 1].to_str()?, arguments[position].to_str()?);
    if value.starts_with("--") {
        return None;
    }
    let separator = if option.starts_with("--") { "=" } else { "" };
    let mut joined = arguments.to_vec();
    joined.splice(position - 1..=position, [format!("{option}{separator}{value}").into()]);
    let error = definition().try_get_matches_from(joined).err()?;
    let is_about_it = text_of(&error, ContextKind::InvalidValue).is_some_and(|refused| refused == value);
    is_about_it.then_some(error)
}

/// Returns a tip about an option that the subcommand of these arguments does not have.
fn tip_for_option(
    unknown: &str,
    arguments: &[OsString],
    definition: fn() -> clap::Command,
) -> Option<String> {
    let definition = definition();
    let subcommand = chosen(&definition, arguments);
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let position = words.iter().position(|word| word.starts_with(unknown));
    let word = position.and_then(|position| words.get(position)).copied().unwrap_or(unknown);
    let before = position.and_then(|position| words.get(position.checked_sub(1)?)).copied();
    if let Some(option) = before.filter(|before| is_option(subcommand, before, takes_value)) {
        if word.starts_with("--") {
            return Some(format!("{option} needs a value, and {word} is not an option here"));
        }
        let separator = if option.starts_with("--") { "=" } else { "" };
        return Some(format!(
            "{option} needs a value: one that begins with a hyphen is written {option}{separator}{word}"
        ));
    }
    let mut others = Vec::new();
    collect(&definition, unknown, "mcast", &mut others);
    match others.as_slice() {
        // A message may begin with a hyphen.
        [] => subcommand
            .get_positionals()
            .any(|positional| positional.get_id() == "messages" || positional.get_id() == "message")
            .then(|| format!("to pass '{unknown}' as a message, write it after `--`")),
        all if all.len() > SHOWN => {
            let shown = all.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Some(format!("{unknown} is an option of other commands: {shown} and {} more", all.len() - SHOWN))
        }
        all => {
            let all = all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            Some(format!("{unknown} is an option of {all}"))
        }
    }
}

/// Returns the subcommand that these arguments choose.
fn chosen<'a>(definition: &'a clap::Command, arguments: &[OsString]) -> &'a clap::Command {
    let words = arguments.iter().skip(1);
    words.fold(definition, |subcommand, word| subcommand.find_subcommand(word).unwrap_or(subcommand))
}

/// Whether a word is an option of a subcommand for which `holds` is true.
fn is_option(subcommand: &clap::Command, word: &str, holds: impl Fn(&clap::Arg) -> bool) -> bool {
    let is_named = |option: &clap::Arg| {
        let long = word.strip_prefix("--").is_some_and(|long| option.get_long() == Some(long));
        let short = word
            .strip_prefix('-')
            .is_some_and(|short| option.get_short().is_some_and(|own| short.chars().eq([own])));
        long || short
    };
    subcommand.get_arguments().any(|option| is_named(option) && holds(option))
}

fn takes_value(option: &clap::Arg) -> bool {
    option.get_action().takes_values()
}

/// Adds the subcommands that have an option.
fn collect(command: &clap::Command, option: &str, path: &str, found: &mut Vec<String>) {
    for subcommand in command.get_subcommands() {
        let path = format!("{path} {}", subcommand.get_name());
        if is_option(subcommand, option, |option| !option.is_hide_set()) {
            found.push(path.clone());
        }
        collect(subcommand, option, &path, found);
    }
}

#[cfg(test)]
mod tests {
    fn error(line: &str) -> String {
        crate::cli::parse(line.split(' ').map(Into::into)).unwrap_err().to_string()
    }

    #[test]
    fn a_tip_names_what_is_meant() {
        let cases = [
            ("mcast recv 239.255.1.2:5000 -W -5", "invalid value '-5' for '--timeout <TIME>'"),
            (
                "mcast recv 239.255.1.2:5000 -W --frob",
                "tip: -W needs a value, and --frob is not an option here",
            ),
            ("mcast recv 239.255.1.2:5000 --timeout -5", "invalid value '-5' for '--timeout <TIME>'"),
            ("mcast recv 239.255.1.2:5000 --timeout -5s", "invalid value '-5s' for '--timeout <TIME>'"),
            ("mcast recv 239.255.1.2:5000 --format -f", "invalid value '-f' for '--format <FORMAT>'"),
            ("mcast recv 239.255.1.2:5000 --exec -f", "is written --exec=-f"),
            ("mcast send --size", "tip: --size is an option of `mcast ping` and `mcast perf send`"),
            ("mcast publish -W", "tip: -W is an option of other commands: "),
            ("mcast send 239.1.2.3:5000 -x", "tip: to pass '-x' as a message, write it after `--`"),
            ("mcast top --jsn", "tip: a similar argument exists: '--json'"),
            ("mcast kafka", "tip: the command for that is `mcast bridge`"),
            ("mcast http", "tip: the command for that is `mcast relay`"),
            ("mcast docker", "tip: the command for that is `mcast relay`"),
            ("mcast ROS2", "tip: the command for that is `mcast discover`"),
            ("mcast rp_filter", "tip: `mcast explain reverse-path-filter` is about that"),
            ("mcast ptp", "tip: `mcast explain ptp` is about that"),
            ("mcast no-querier", "tip: `mcast explain no-querier` is about that"),
            ("mcast chromecast", "tip: the command for that is `mcast relay`"),
            ("mcast lisen", "tip: the command for that is `mcast recv`"),
            (
                "mcast bridge prices redis://x",
                "error: the word `to` is missing before 'redis://x': mcast bridge STREAM to redis://x",
            ),
            ("mcast bride", "tip: a similar subcommand exists: 'bridge'"),
            ("mcast doctor --apply reverse-path-filte", "tip: did you mean `reverse-path-filter`?"),
            ("mcast doctor --repair rp_filter -- x", "tip: did you mean `reverse-path-filter`?"),
            ("mcast doctor --apply nothing-like-it", "tip: `mcast explain --findings` lists all findings"),
        ];
        for (line, tip) in cases {
            let text = error(line);
            assert!(text.contains(tip), "{line}: {text}");
            assert!(!text.contains("use '-- "), "{line}: {text}");
        }
        assert!(
            !error("mcast recv 239.1.2.3:5000 -x").contains("tip"),
            "{}",
            error("mcast recv 239.1.2.3:5000 -x")
        );
    }
}
