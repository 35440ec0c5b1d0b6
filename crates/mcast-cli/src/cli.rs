//! The command-line grammar.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser};

use crate::commands::{Command, HEADINGS};
use crate::{exit, notes};

/// Show, send, receive and explain IP multicast.
#[derive(Debug, Parser)]
#[command(name = "mcast", version, long_version = crate::version::long(), styles = STYLES, disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print only data and errors, no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,

    /// Print more notes
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The width of help, in columns, when the width of the terminal is unknown.
pub(crate) const DEFAULT_WIDTH: usize = 80;
/// The maximum width of help, in columns: longer lines are hard to read.
const MAX_WIDTH: usize = 100;

/// Returns the definition of the command, with its help laid out for the width of the terminal.
#[must_use]
pub fn command() -> clap::Command {
    command_of_width(crate::console::width().unwrap_or(DEFAULT_WIDTH).min(MAX_WIDTH))
}

/// Returns the definition of the command, with its help laid out for `width` columns.
pub(crate) fn command_of_width(width: usize) -> clap::Command {
    let command = source();
    let overview = overview(&command);
    let command = with_notes(command.term_width(width), width);
    let overview = notes::lay_out(&notes::parse(&overview), width, NOTES);
    let header = STYLES.get_header();
    command
        .help_template("{about}\n\n{usage-heading} {usage}{after-help}\n{options}")
        .after_help(format!("{overview}{header}\n\nOptions:{header:#}"))
}

/// Returns the definition of the command before its help is laid out, for generated documents. Its notes and examples
/// are in the source format of [`notes`].
#[must_use]
pub fn source() -> clap::Command {
    Cli::command()
}

/// Parses the arguments.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
}

const NOTES: notes::Styles = notes::Styles { heading: *STYLES.get_header(), entry: *STYLES.get_literal() };

/// Lays out the notes of the command and of its subcommands for `width` columns.
fn with_notes(command: clap::Command, width: usize) -> clap::Command {
    let laid_out = |text: Option<&StyledStr>| {
        text.map(|text| notes::lay_out(&notes::parse(&text.to_string()), width, NOTES))
    };
    let (short, long) = (laid_out(command.get_after_help()), laid_out(command.get_after_long_help()));
    let command = match short {
        Some(text) => command.after_help(text),
        None => command,
    };
    let command = match long {
        Some(text) => command.after_long_help(text),
        None => command,
    };
    command.mut_subcommands(|subcommand| with_notes(subcommand, width))
}

/// Returns the list of subcommands under their headings, in the source format of notes.
fn overview(command: &clap::Command) -> String {
    let mut text = String::new();
    for (heading, names) in HEADINGS {
        text += &format!("{heading}:\n");
        for subcommand in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!("  {}  {about}\n", subcommand.get_name());
        }
    }
    text += "\nRun `mcast COMMAND --help` for the options of a command, with examples.\n\nExit status: ";
    let statuses: Vec<_> =
        exit::STATUSES.iter().map(|(status, meaning)| format!("{status} {meaning}")).collect();
    text + &statuses.join("; ") + "."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_subcommand_is_listed_under_exactly_one_heading() {
        let listed: Vec<&str> = HEADINGS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = command();
        let defined: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        for name in &defined {
            assert_eq!(listed.iter().filter(|other| other == &name).count(), 1, "{name}");
        }
        assert_eq!(listed.len(), defined.len());
    }

    /// The flags whose help names what their subcommand works with, and the phrase that states their one meaning.
    const MEANINGS: &[(&str, &str)] = &[
        ("buffer", "Request SIZE of "),
        ("count", "Stop after N "),
        ("every", "Time between "),
        ("exec", "Run this shell command per "),
        ("expect", "Exit status 1 if fewer than N "),
        ("history", "Size of the retransmission buffer"),
        ("idle", " for TIME"),
        ("interface", " this interface: a name, index or address"),
        ("ipv6", " IPv6 group"),
        ("json", "JSON object"),
        ("key", " the secrets "),
        ("lines", " per line"),
        ("max-loss", "Exit status 1 if "),
        ("metrics", "Serve Prometheus metrics at http://ADDRESS/metrics"),
        ("name", "the stream"),
        ("no-loopback", "Do not deliver to "),
        ("port", "his UDP port"),
        ("rate", "evenly"),
        ("read", "Read packets from this file, pcap or pcapng"),
        ("records", "a 4-byte big-endian length, then the message"),
        ("reply", "Answer "),
        ("size", "Payload bytes per "),
        ("source", " this source, or with a `!` in front "),
        ("spin", "Busy-poll"),
        ("timeout", "after TIME"),
        ("ttl", "How many networks to cross"),
        ("watch", "Keep running"),
        ("write", " to this file"),
        // Both ends name a redundant path as they name their own group.
        ("path", "(redundant path)"),
        // Each end of `perf --stream` refers to the other.
        ("stream", "essages"),
    ];

    /// The flags that take a value of another kind in another subcommand.
    const VALUES: &[&str] = &[
        // A publisher sends to a group; a subscriber joins a membership.
        "path",
    ];

    #[test]
    fn a_flag_has_one_meaning_in_all_subcommands() {
        let mut flags: BTreeMap<String, Vec<Flag>> = BTreeMap::new();
        collect(&source(), &mut flags);
        let mut faults = Vec::new();
        for (name, uses) in flags {
            let phrase = MEANINGS.iter().find(|(flag, _)| *flag == name).map(|(_, phrase)| *phrase);
            if phrase.is_some() && uses.len() == 1 {
                faults.push(format!("--{name} is no longer in several subcommands"));
            }
            for flag in &uses {
                let has_same_value = flag.values == uses[0].values || VALUES.contains(&name.as_str());
                let means_the_same = match phrase {
                    Some(phrase) => flag.help.contains(phrase),
                    None => flag.help == uses[0].help,
                };
                if flag.short != uses[0].short || !has_same_value || !means_the_same {
                    let describe = |flag: &Flag| format!("{} {:?} {}", flag.command, flag.values, flag.help);
                    faults.push(format!("--{name}: {}; {}", describe(&uses[0]), describe(flag)));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    struct Flag {
        command: String,
        short: Option<char>,
        values: Vec<String>,
        /// The first line of its help.
        help: String,
    }

    fn collect(command: &clap::Command, flags: &mut BTreeMap<String, Vec<Flag>>) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            flags.entry(long.to_owned()).or_default().push(Flag {
                command: command.get_name().to_owned(),
                short: argument.get_short(),
                values: values.filter(|_| argument.get_action().takes_values()).collect(),
                help: help.lines().next().unwrap_or_default().to_owned(),
            });
        }
        command.get_subcommands().for_each(|subcommand| collect(subcommand, flags));
    }
}
