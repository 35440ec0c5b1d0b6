//! `mcast help`: the same as `--help`.

use std::ffi::OsString;

use crate::console::Console;
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
        // Help comes as an error, too, and so does a command that does not exist.
        Err(error) => Outcome::Handed(errors::tell_usage(&error)),
    })
}
