//! Settings on the command line: names of feeds become groups, and other settings become defaults of options, so that what is
//! typed wins.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use mcast::group::Expand;

use super::file::Feed;
use super::{Settings, Source};
use crate::arguments::is_host;
use crate::exit::Failure;

/// The names of values that are groups, or where groups come first.
const GROUPS: &[&str] =
    &["GROUP:PORT", "GROUP:PORT… [MESSAGE…]", "GROUP|MEMBERSHIP", "MEMBERSHIP", "MEMBERSHIP|NAME"];
/// Subcommands that show all interfaces, so that the one of the settings is not a default for them.
const ON_ALL_INTERFACES: &[&str] = &["groups", "querier"];
/// Not the name of anything.
const MARKER: &str = "\u{1}";

/// The words of a command line with what the settings add.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) words: Vec<OsString>,
    subcommand: Vec<String>,
    /// The defaults of options, by their identifiers.
    defaults: Vec<(String, Vec<String>)>,
    /// What was added, and from where; empty if nothing was.
    pub(crate) description: String,
}

/// A subcommand, as it is defined and as it was called.
struct Called<'a> {
    path: Vec<String>,
    definition: &'a Command,
    matches: &'a ArgMatches,
}

impl<'a> Called<'a> {
    fn new(mut definition: &'a Command, mut matches: &'a ArgMatches) -> Self {
        let mut path = Vec::new();
        while let Some((name, inner)) = matches.subcommand() {
            let Some(subcommand) = definition.find_subcommand(name) else { break };
            path.push(name.to_owned());
            (definition, matches) = (subcommand, inner);
        }
        Self { path, definition, matches }
    }

    fn option(&self, long: &str) -> Option<&'a clap::Arg> {
        self.definition.get_arguments().find(|option| option.get_long() == Some(long))
    }

    fn is_given(&self, long: &str) -> bool {
        self.option(long).is_some_and(|option| {
            self.matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
        })
    }

    /// Returns the groups, as they were typed; for `send`, only the first word is surely none of the messages.
    fn groups(&self) -> Vec<&'a OsStr> {
        let is_group = |argument: &&clap::Arg| {
            let names = argument.get_value_names().unwrap_or_default();
            argument.is_positional() && names.first().is_some_and(|name| GROUPS.contains(&name.as_str()))
        };
        let Some(argument) = self.definition.get_arguments().find(is_group) else { return Vec::new() };
        let most = if self.path == ["send"] { 1 } else { usize::MAX };
        let values = self.matches.get_raw(argument.get_id().as_str()).into_iter().flatten();
        values.take(most).collect()
    }
}

impl Settings {
    /// Adds the settings to the words of a command line that are valid without them. `parse` parses words.
    pub(crate) fn apply(
        &self,
        mut words: Vec<OsString>,
        definition: &Command,
        parse: impl Fn(Vec<OsString>) -> Result<ArgMatches, clap::Error>,
    ) -> Result<Applied, Failure> {
        let Ok(matches) = parse(words.clone()) else { return Ok(Applied::unchanged(words)) };
        let called = Called::new(definition, &matches);
        let mut added = Additions { called: &called, defaults: Vec::new(), described: Vec::new() };
        let groups = called.groups();
        // An interface of this machine means nothing in a file, to a host, or for an examination of everything.
        let is_on_the_wire = !called.is_given("read") && !groups.iter().any(|text| is_no_group(text));
        let shows_all = ON_ALL_INTERFACES.iter().any(|name| called.path == [*name]);
        let examines_all = called.path == ["doctor"] && groups.is_empty();
        let is_group = |word: &OsString| {
            let trial = words
                .iter()
                .map(|other| if std::ptr::eq(other, word) { MARKER.into() } else { other.clone() });
            parse(trial.collect())
                .is_ok_and(|matches| Called::new(definition, &matches).groups().contains(&OsStr::new(MARKER)))
        };
        let named = words.iter().enumerate().skip(1).filter_map(|(at, word)| {
            let (name, feed) = self.content.feeds.get_key_value(word.to_str()?)?;
            is_group(word).then_some((at, name, feed))
        });
        let named: Vec<_> = named.collect();
        for (at, name, feed) in named.into_iter().rev() {
            if groups.len() > 1 {
                added.check_alone(name, feed)?;
            }
            let mut texts = added.add_feed(name, feed);
            if called.option("path").is_some() {
                texts.iter_mut().skip(1).for_each(|text| text.insert_str(0, "--path="));
            }
            words.splice(at..=at, texts.into_iter().map(OsString::from));
        }
        if let Some(interface) =
            self.content.interface.as_ref().filter(|_| is_on_the_wire && !shows_all && !examines_all)
        {
            added.default("interface", interface.values.clone());
        }
        if called.path == ["top"] {
            self.content.top.iter().for_each(|setting| added.default(setting.long, setting.values.clone()));
        }
        let Additions { defaults, described, .. } = added;
        let description = match &self.source {
            Source::File(path) if !described.is_empty() => {
                format!("settings of {}: {}", path.display(), described.join("; "))
            }
            _ => String::new(),
        };
        Ok(Applied { words, subcommand: called.path, defaults, description })
    }
}

/// Returns whether a text is a host, or the name of one.
fn is_no_group(text: &OsStr) -> bool {
    let text = text.to_string_lossy();
    is_host(&text) || (text.contains(':') && Expand::default().memberships(&text).is_err())
}

/// What the settings add to a command line.
struct Additions<'a> {
    called: &'a Called<'a>,
    defaults: Vec<(String, Vec<String>)>,
    described: Vec<String>,
}

impl Additions<'_> {
    /// Makes these values the default of an option, if the subcommand has it.
    fn default(&mut self, long: &str, values: Vec<String>) {
        let Some(option) = self.called.option(long).filter(|_| !values.is_empty()) else { return };
        if !self.called.is_given(long) {
            self.described.push(format!("--{long} {}", values.join(",")));
            self.defaults.push((option.get_id().to_string(), values));
        }
    }

    /// Returns the memberships of a feed, as this subcommand takes them, and adds its options.
    fn add_feed(&mut self, name: &str, feed: &Feed) -> Vec<String> {
        // `--source` of a command that sends is an address of this machine.
        let admits = self.called.option("source").is_some_and(|option| {
            option.get_value_names().is_some_and(|names| names.iter().any(|name| name == "SOURCE"))
        });
        let with_sources = admits && !self.called.is_given("source");
        let texts = feed.texts(with_sources, !self.called.is_given("interface"));
        self.described.push(format!("{name} is {}", texts.join(" ")));
        feed.options.iter().for_each(|(long, value)| self.default(long, vec![value.clone()]));
        texts
    }

    /// Refuses options of a feed that would apply to other groups, too.
    fn check_alone(&self, name: &str, feed: &Feed) -> Result<(), Failure> {
        let applies =
            |(long, _): &&(&str, String)| self.called.option(long).is_some() && !self.called.is_given(long);
        match feed.options.iter().find(applies) {
            Some((long, _)) => Err(Failure::usage(format!(
                "the feed {name} has --{long}, which would apply to the other groups, too"
            ))
            .remedy(format!("name {name} alone, or give --{long}"))),
            None => Ok(()),
        }
    }
}

impl Applied {
    /// A command line without settings.
    pub(crate) const fn unchanged(words: Vec<OsString>) -> Self {
        Self { words, subcommand: Vec::new(), defaults: Vec::new(), description: String::new() }
    }

    /// Returns the definition of the command with the defaults.
    pub(crate) fn add_defaults(&self, command: Command) -> Command {
        self.add_defaults_below(command, &self.subcommand)
    }

    fn add_defaults_below(&self, command: Command, path: &[String]) -> Command {
        if let Some((first, rest)) = path.split_first() {
            return command.mut_subcommand(first, |inner| self.add_defaults_below(inner, rest));
        }
        self.defaults.iter().fold(command, |command, (id, values)| {
            // clap keeps texts for as long as the process runs, which is once.
            let values = values.iter().map(|value| &*value.clone().leak());
            command.mut_arg(id, |option| option.default_values(values))
        })
    }
}
