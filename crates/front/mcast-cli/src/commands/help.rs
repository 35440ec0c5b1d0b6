//! `mcast help`: the same as `--help`.

use std::ffi::OsString;

use mcast_terminal::Console;

use crate::exit::Outcome;
use crate::{cli, errors};

/// Print this help, or the help of a command
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The command [default: an overview of all]
    #[arg(value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  mcast help
  mcast help recv
  mcast help perf send";

pub(crate) fn run(arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    let words = [OsString::from("mcast")].into_iter().chain(arguments.command.iter().cloned());
    Ok(match cli::parse(words.chain(["--help".into()])) {
        Ok(_) => Outcome::Yes,
        // clap returns help as an error, as it does for an unknown command.
        Err(error) => Outcome::Delegated(errors::print_usage_error(&error)),
    })
}
