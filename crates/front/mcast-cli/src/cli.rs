//! The command-line grammar.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser};

use crate::commands::{Command, HEADINGS};
use crate::short_help::with_short_help;
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
    command_of_width(source(), help_width())
}

/// Returns the width of help, in columns.
fn help_width() -> usize {
    mcast_terminal::width().unwrap_or(DEFAULT_WIDTH).min(MAX_WIDTH)
}

/// Returns the definition `command` with its help laid out for `width` columns.
pub(crate) fn command_of_width(command: clap::Command, width: usize) -> clap::Command {
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
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // clap would lay out `--help` in another way if options were hidden from `-h` alone.
    let command =
        match arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "-h") {
            true => command_of_width(with_short_help(source()), help_width()),
            false => command(),
        };
    let matches = command.try_get_matches_from(arguments)?;
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
