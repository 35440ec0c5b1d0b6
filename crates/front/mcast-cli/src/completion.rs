//! Shell completion: a short script for each shell asks the command itself for the candidates.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use mcast::group::WellKnown;
use mcast_doctor::Id;
use mcast_relay::LocalDiscovery;

use crate::cli::{self, Shell};
use crate::commands;
use crate::settings::Settings;

/// The environment variable that a completion script sets when it requests candidates; its value names the shell.
const VARIABLE: &str = "MCAST_COMPLETE";
const PROGRAM: &str = "mcast";

impl Shell {
    /// Returns the file name under which the shell finds its script, and what writes the script.
    fn completer(self) -> (&'static str, &'static dyn EnvCompleter) {
        match self {
            Self::Bash => ("mcast.bash", &Bash),
            Self::Zsh => ("_mcast", &Zsh),
            Self::Fish => ("mcast.fish", &Fish),
            Self::Power => ("_mcast.ps1", &Powershell),
            Self::Elvish => ("mcast.elv", &Elvish),
        }
    }

    /// Returns the script that makes the shell request candidates from the command.
    pub(crate) fn script(self) -> io::Result<Vec<u8>> {
        let mut script = Vec::new();
        self.completer().1.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
        Ok([script.trim_ascii(), b"\n"].concat())
    }
}

/// Returns the completion script of each shell, with the file name under which the shell finds it.
///
/// # Errors
/// If a script cannot be written to memory, which does not happen.
pub fn scripts() -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    Shell::value_variants().iter().map(|shell| Ok((shell.completer().0, shell.script()?))).collect()
}

/// Prints the candidates if a shell requests them; returns `false` if none does.
pub(crate) fn answer(arguments: &[OsString]) -> Result<bool, clap::Error> {
    let current = std::env::current_dir().ok();
    let before: Arc<[String]> = words_before(arguments).into();
    CompleteEnv::with_factory(|| with_candidates(cli::source(), &before))
        .var(VARIABLE)
        .try_complete(arguments, current.as_deref())
}

/// Returns the words before the one to complete, which is the last one unless the shell passes its index.
fn words_before(arguments: &[OsString]) -> Vec<String> {
    let words = arguments.iter().skip_while(|word| *word != "--").skip(1);
    let mut words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    words.truncate(index.unwrap_or_else(|| words.len().saturating_sub(1)));
    words
}

/// Adds the possible values of all arguments, which follow from the value names that help shows, and shortens the help
/// to what fits beside a candidate.
fn with_candidates(command: Command, before: &Arc<[String]>) -> Command {
    let of = command.get_name().to_owned();
    let about = command.get_about().map(|about| summary(&about.to_string()));
    let command = match about {
        Some(about) => command.about(about),
        None => command,
    };
    command
        .mut_args(|argument| with_values(&of, argument, before))
        .mut_subcommands(|subcommand| with_candidates(subcommand, before))
}

fn with_values(of: &str, argument: Arg, before: &Arc<[String]>) -> Arg {
    let help = argument.get_help().map(|help| summary(&help.to_string()));
    let argument = match help {
        Some(help) => argument.help(help),
        None => argument,
    };
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let values = match (of, name.as_deref()) {
        // A command of mcast, where it is a program elsewhere.
        ("help", Some("COMMAND")) => Some(Values::Subcommands),
        ("shell", Some("HOST")) => Some(Values::HostsOfLab),
        ("on", Some("HOST")) => Some(Values::HostsOfThisShell),
        ("show", Some("NAME|FILE")) => Some(Values::BuiltInLabs),
        (_, name) => name.and_then(Values::named),
    };
    let Some(values) = values else { return argument };
    match values {
        Values::Files => argument.value_hint(ValueHint::AnyPath),
        Values::Commands => argument.value_hint(ValueHint::CommandString),
        values => argument.add(ArgValueCompleter::new(Completer { values, before: before.clone() })),
    }
}

/// The longest description beside a candidate. fish shows the whole of it in one line.
const MAX_SUMMARY: usize = 60;

/// Returns the first sentence of a help text, or its beginning.
fn summary(help: &str) -> String {
    let first = help.lines().next().unwrap_or_default();
    let sentence =
        ["; ", ". ", " [default"].iter().fold(first, |text, end| text.split(end).next().unwrap_or(text));
    let is_short = |text: &&str| text.chars().count() <= MAX_SUMMARY;
    let clauses = [": ", " (", ", "].iter().map(|mark| {
        let ends = sentence.match_indices(mark).map(|(end, _)| &sentence[..end]);
        ends.take_while(is_short).last()
    });
    if is_short(&sentence) {
        return sentence.to_owned();
    }
    match clauses.flatten().next() {
        Some(clause) => clause.to_owned(),
        None => {
            let words = sentence.match_indices(' ').map(|(end, _)| &sentence[..end]);
            let beginning = words.take_while(|text| text.chars().count() < MAX_SUMMARY).last();
            format!("{}…", beginning.unwrap_or_default())
        }
    }
}

/// The possible values of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Files,
    Commands,
    Subcommands,
    /// Interfaces of this machine.
    Interfaces,
    /// Groups by their short names, or a session description.
    Groups,
    Findings,
    GroupsAndFindings,
    /// The names of the built-in networks, or a file.
    Labs,
    BuiltInLabs,
    /// The hosts of the network that is named before.
    HostsOfLab,
    /// The hosts of the lab in whose shell the command runs.
    HostsOfThisShell,
    /// The next word of a rule of the relay.
    Rule,
    Words(&'static [&'static str]),
}

impl Values {
    /// Returns the possible values of a value name; `None` if there are no candidates for it.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "DIR" | "FILE" | "FILE|KEY|announced" | "[PORT:]FILE|COMMAND" => Self::Files,
            "COMMAND" => Self::Commands,
            "INTERFACE" => Self::Interfaces,
            "GROUP"
            | "GROUP:PORT"
            | "GROUP:PORT|NAME"
            | "GROUP:PORT… [MESSAGE…]"
            | "GROUP|MEMBERSHIP"
            | "MEMBERSHIP"
            | "MEMBERSHIP|NAME" => Self::Groups,
            "FINDING" => Self::Findings,
            "ADDRESS|FINDING" => Self::GroupsAndFindings,
            "FILE|NAME" => Self::Labs,
            "RULE" => Self::Rule,
            "PROTOCOL" => Self::Words(&["udp", "igmp", "mld", "pim", "icmp", "icmpv6", "tcp"]),
            "to" => Self::Words(&["to"]),
            "SCOPE" => Self::Words(&[
                "local",
                "organization",
                "global",
                "interface",
                "link",
                "realm",
                "admin",
                "site",
            ]),
            "FORMAT" => Self::Words(&["line", "text", "hex", "raw", "json"]),
            "POLICY" => Self::Words(&["reliable", "deadline=", "best-effort", "latest"]),
            "MODE" => Self::Words(&["slowest", "none", "slowest:keep-rate", "none:keep-rate", "one-way"]),
            "FD|pipe" => Self::Words(&["pipe"]),
            _ => return None,
        })
    }

    /// Returns the names that are candidates after these words.
    fn candidates(self, before: &[String]) -> Vec<CompletionCandidate> {
        match self {
            Self::Files | Self::Commands => Vec::new(),
            Self::Subcommands => subcommands(),
            Self::Interfaces => interfaces(),
            Self::Groups => groups(),
            Self::Findings => findings(),
            Self::GroupsAndFindings => {
                let terms = commands::explained_terms().map(CompletionCandidate::new);
                groups().into_iter().chain(findings()).chain(terms).collect()
            }
            Self::Labs | Self::BuiltInLabs => commands::lab_names().map(CompletionCandidate::new).collect(),
            Self::HostsOfLab => {
                let topology = before.iter().rfind(|word| !word.starts_with('-'));
                let hosts = topology.map(|topology| commands::lab_hosts(topology)).unwrap_or_default();
                hosts.into_iter().map(CompletionCandidate::new).collect()
            }
            Self::HostsOfThisShell => {
                commands::hosts_of_this_shell().into_iter().map(CompletionCandidate::new).collect()
            }
            // The arguments are interfaces, and no rules.
            Self::Rule if before.iter().any(|word| word.starts_with("--profile")) => {
                names_of_interfaces().collect()
            }
            Self::Rule => in_rule(before),
            Self::Words(words) => words.iter().map(CompletionCandidate::new).collect(),
        }
    }

    /// Returns the files that are candidates in addition to the names.
    fn files(self) -> Option<PathCompleter> {
        match self {
            Self::Groups | Self::GroupsAndFindings => Some(files_named(".sdp")),
            Self::Labs => Some(files_named(".toml")),
            _ => None,
        }
    }
}

fn files_named(ending: &'static str) -> PathCompleter {
    PathCompleter::file().filter(move |path| path.to_string_lossy().ends_with(ending))
}

/// Completes an argument, whose possible values may depend on the words before it.
struct Completer {
    values: Values,
    before: Arc<[String]>,
}

impl ValueCompleter for Completer {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let start = current.to_string_lossy();
        let mut candidates = self.values.candidates(&self.before);
        candidates.retain(|candidate| candidate.get_value().to_string_lossy().starts_with(&*start));
        // Not before anything is typed: folders would clutter the list of names.
        match self.values.files() {
            Some(files) if !start.is_empty() => candidates.extend(files.complete(current)),
            _ => {}
        }
        candidates
    }
}

fn subcommands() -> Vec<CompletionCandidate> {
    let candidate = |command: &Command| {
        let about = command.get_about().map(|about| summary(&about.to_string()).into());
        CompletionCandidate::new(command.get_name()).help(about)
    };
    cli::source().get_subcommands().filter(|command| !command.is_hide_set()).map(candidate).collect()
}

fn interfaces() -> Vec<CompletionCandidate> {
    names_of_interfaces().chain(["all", "default"].map(CompletionCandidate::new)).collect()
}

fn names_of_interfaces() -> impl Iterator<Item = CompletionCandidate> {
    let interfaces = mcast::interface::list().unwrap_or_default();
    interfaces.into_iter().map(|interface| CompletionCandidate::new(interface.name))
}

/// Returns the candidates for the next word of a rule: `TRAFFIC between LEG and LEG`, or `TRAFFIC from LEG to LEG`.
fn in_rule(before: &[String]) -> Vec<CompletionCandidate> {
    let before: Vec<&str> = before.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let words = |words: &[&'static str]| words.iter().map(CompletionCandidate::new).collect();
    let has = |word: &str| before.contains(&word);
    match before.last().copied() {
        Some("relay") => {
            let names = LocalDiscovery::ALL.map(LocalDiscovery::name);
            let others =
                groups().into_iter().filter(|group| !names.iter().any(|name| group.get_value() == *name));
            names.map(CompletionCandidate::new).into_iter().chain(others).collect()
        }
        Some("between" | "and" | "from" | "to") => names_of_interfaces().collect(),
        _ if has("between") => words(&["and"]),
        _ if has("from") && !has("to") => words(&["to"]),
        _ if has("from") => Vec::new(),
        _ => words(&["between", "from"]),
    }
}

fn groups() -> Vec<CompletionCandidate> {
    // What is wrong with the settings is reported by the command that uses them.
    let settings = Settings::read(&cli::source()).unwrap_or_default();
    let mut names: Vec<&str> = WellKnown::all().iter().map(|known| known.name).collect();
    names.extend(settings.feed_names());
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| CompletionCandidate::new(name.to_owned())).collect()
}

fn findings() -> Vec<CompletionCandidate> {
    let candidate =
        |id: &Id| CompletionCandidate::new(id.to_string()).help(Some(summary(&id.summary()).into()));
    Id::ALL.iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value names without candidates.
    const FREE: &[&str] = &[
        "ADDRESS:PORT",
        "NAME|KIND",
        "ADDRESS:PORT[:RATE]",
        "NAME=HOST:PORT",
        "ADDRESS",
        "CHANGE",
        "COLUMN",
        "DSCP",
        "BROKER",
        "FACTOR",
        "FIRST-LAST",
        "FROM=TO",
        "HOPS",
        "HOST",
        "HOST,...|@FILE",
        "ID",
        "LIMIT",
        "MESSAGE",
        "N",
        "N|all|NAME,...[:processed][:report]",
        "NAME",
        "NAME|FILE",
        "OFFSET:SIZE",
        "ORIGIN",
        "PATH",
        "PERCENT",
        "PORT",
        "RATE",
        "RELAY",
        "SETTING=VALUE",
        "SIZE",
        "SOURCE",
        "TIME",
        "URL",
        "WHEN",
        "WHERE",
        "[sudo ]PATH",
        "off|crowd|auto|K+M[:TIME]",
    ];

    #[test]
    fn descriptions_beside_candidates_are_short_and_whole() {
        for (help, expected) in [
            ("Stop after TIME; exit status 1 if a loop was found", "Stop after TIME"),
            (
                "Request a receive buffer of SIZE per socket [default: 4M]",
                "Request a receive buffer of SIZE per socket",
            ),
            (
                "Join on this interface: a name, an index or an address of it, `default` or `all`",
                "Join on this interface",
            ),
            (
                "Read one two three four five six seven eight nine ten eleven twelve words",
                "Read one two three four five six seven eight nine ten…",
            ),
        ] {
            assert_eq!(summary(help), expected);
        }
    }

    #[test]
    fn every_description_beside_a_candidate_fits_in_a_line() {
        fn check(command: &Command) {
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.chars().count() <= MAX_SUMMARY, "{help}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&with_candidates(cli::source(), &Arc::from([])));
    }

    fn check(command: &Command) {
        for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            let names = argument.get_value_names().unwrap_or_default();
            let name = names.first().map(ToString::to_string).unwrap_or_default();
            let is_listed = !argument.get_possible_values().is_empty();
            assert!(
                is_listed || Values::named(&name).is_some() || FREE.contains(&name.as_str()),
                "no candidates for {name} of {}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_value_name_has_candidates_or_is_listed_as_free() {
        let mut command = cli::source();
        command.build();
        check(&command);
    }
}
