//! The whole grammar: what is typed after `mcast`.

use std::ffi::OsString;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser};

use crate::commands::{Command, HEADINGS};
use crate::exit;

/// Show, send, receive and explain IP multicast.
#[derive(Debug, Parser)]
#[command(name = "mcast", version, long_version = crate::version::long(), styles = STYLES, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print no notes: only data, errors and what fails
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,

    /// Print more notes
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
}

const ENVIRONMENT: &str = "\
Environment: NO_COLOR switches colours off, which only terminals get; CLICOLOR_FORCE insists on them.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The definition of the command, with the help that it prints.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command();
    let overview = overview(&command);
    command.help_template("{about}\n\n{usage-heading} {usage}{after-help}\n{options}").after_help(overview)
}

/// The same for a manual, which lists the subcommands by itself.
pub(crate) fn manual() -> clap::Command {
    Cli::command().long_version(None).after_help(format!("{}\n\n{ENVIRONMENT}", exit::TABLE))
}

/// What was typed.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
}

/// The subcommands in groups, from their definitions.
fn overview(command: &clap::Command) -> String {
    let header = STYLES.get_header();
    let literal = STYLES.get_literal();
    let mut text = String::new();
    for (heading, names) in HEADINGS {
        text += &format!("{header}{heading}:{header:#}\n");
        for subcommand in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!("  {literal}{:<12}{literal:#}{about}\n", subcommand.get_name());
        }
    }
    text += "\n`mcast COMMAND --help` says more about each, with examples.\n\n";
    text += exit::TABLE;
    text + &format!("\n\n{header}Options:{header:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_subcommand_stands_under_one_heading() {
        let listed: Vec<&str> = HEADINGS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = command();
        let defined: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        for name in &defined {
            assert_eq!(listed.iter().filter(|other| other == &name).count(), 1, "{name}");
        }
        assert_eq!(listed.len(), defined.len());
    }
}
