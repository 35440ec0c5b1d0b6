//! The command `mcast`, as a library: the thin binary calls [`main`], and the example `generate-docs` makes the man
//! pages and the guide's reference from [`definition`].
//!
//! A subcommand is a file or folder in `commands`: its arguments, what it does, and what it prints. Shared code is in
//! `arguments` (what is typed), `output` (what is shown), `sending` and `receiving`, `interrupt` (what ends a loop), and
//! `exit` (the exit statuses, and how a failure is printed).
#![forbid(unsafe_code)]

mod arguments;
mod cli;
mod commands;
mod completion;
mod execute;
mod exit;
mod framing;
mod interrupt;
mod log_lines;
mod message_layer;
mod metrics;
pub mod notes;
mod output;
mod probe;
mod read_ahead;
mod receiving;
mod replaced;
mod screen;
mod sending;
mod session;
mod settings;
mod sys;
mod tips;
mod words;
mod worker;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use mcast_terminal::Console;

use crate::exit::Outcome;
use crate::settings::Settings;

pub use cli::{HEADINGS, command, source as definition};
#[cfg(feature = "schema")]
pub use commands::schemas;
pub use completion::scripts as completion_scripts;
pub use exit::{STATUSES as EXIT_STATUSES, VARIABLES as ENVIRONMENT_VARIABLES, statuses_of};

/// Runs the command with the arguments of this process, and returns the exit status.
///
/// Call this first in `main`, before starting any thread: a lab may have to enter a user namespace, which only a
/// process with a single thread can do.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Runs the command with these arguments, the name of the program first, and returns the exit status. For programs
/// that include the command.
///
/// Call this before starting any thread, for the reason given at [`main`].
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match completion::answer(&arguments) {
        Ok(false) => {}
        Ok(true) => return exit::SUCCESS,
        Err(error) => return exit::print_usage_error(&error),
    }
    let cli = match cli::parse(arguments.iter().cloned()) {
        Ok(cli) => cli,
        Err(error) => return exit::print_usage_error(&error),
    };
    let (cli, description) = match &cli.command {
        cli::Command::Work(_) => match with_settings(cli, arguments) {
            Ok(parsed) => parsed,
            Err(status) => return status,
        },
        _ => (cli, String::new()),
    };
    let console = Console::new(cli.quiet, cli.verbose);
    if !description.is_empty() {
        console.detail(&description);
    }
    if let Err(error) = tracing::start(&console) {
        return exit::print_failure(&error, &console);
    }
    let status = match execute(&cli.command, &console) {
        // What is written on a thread of its own may have failed only now.
        Ok(outcome) => console.finish().map(|()| outcome).map_err(Into::into),
        Err(error) => Err(error),
    };
    let status = match status {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let status = exit::print_failure(&error, &console);
            if status != exit::SUCCESS && !description.is_empty() && !cli.verbose {
                console.note(&description);
            }
            status
        }
    };
    // It has been reported already, and a failure of its own.
    let _ = console.finish();
    status
}

/// Parses the arguments again, with the settings of the user. Also returns what the settings added.
fn with_settings(cli: cli::Cli, arguments: Vec<OsString>) -> Result<(cli::Cli, String), u8> {
    let console = Console::new(cli.quiet, cli.verbose);
    let failed = |error: anyhow::Error| exit::print_failure(&error, &console);
    let definition = definition();
    let settings = Settings::read(&definition).map_err(failed)?;
    settings.set_colours();
    settings.warn_if_not_used(&console);
    let parse = |words| definition.clone().try_get_matches_from(words);
    let applied = settings.apply(arguments, &definition, parse).map_err(|failure| failed(failure.into()))?;
    if applied.description.is_empty() {
        return Ok((cli, String::new()));
    }
    let prepare = |command| applied.add_defaults(command);
    match cli::parse_with(applied.words.clone(), prepare) {
        Ok(cli) => Ok((cli, applied.description)),
        Err(error) => {
            let status = exit::print_usage_error(&error);
            console.note(&applied.description);
            Err(status)
        }
    }
}

fn execute(command: &cli::Command, console: &Console) -> anyhow::Result<Outcome> {
    match command {
        cli::Command::Work(command) => commands::run(command, console),
        cli::Command::Config(config) => {
            Settings::read(&definition())?.show(config.json, console)?;
            Ok(Outcome::Yes)
        }
        cli::Command::Help(help) => Ok(print_help(&help.command)),
        cli::Command::Completions(completions) => {
            let mut out = console.output();
            out.write_all(&completions.shell.script()?)?;
            out.flush()?;
            Ok(Outcome::Yes)
        }
    }
}

/// Prints the same as `--help` of this command, or of the command that includes all others.
fn print_help(command: &[OsString]) -> Outcome {
    let words = [OsString::from("mcast")].into_iter().chain(command.iter().cloned());
    match cli::parse(words.chain(["--help".into()])) {
        Ok(_) => Outcome::Yes,
        // clap returns help as an error, as it does for an unknown command.
        Err(error) => Outcome::Delegated(exit::print_usage_error(&error)),
    }
}

mod tracing {
    //! What the libraries record, on standard error, if the environment requests it.

    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    use mcast_terminal::Console;

    use crate::exit::Failure;

    /// A level, or a list of levels of crates.
    const VARIABLE: &str = "MCAST_LOG";

    /// Prints from now on what [`VARIABLE`] selects; nothing if it is not set.
    pub(crate) fn start(console: &Console) -> anyhow::Result<()> {
        let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(()) };
        let targets: Targets = text.to_string_lossy().parse().map_err(|error| {
            Failure::usage(format!("{VARIABLE}: {error}")).remedy(
                "write a level, such as debug, or levels of crates: mcast_stream=debug,mcast_relay=info",
            )
        })?;
        let (notes, is_coloured) = (console.notes(), console.palette_for_notes().is_coloured());
        let lines =
            tracing_subscriber::fmt::layer().with_writer(move || notes.clone()).with_ansi(is_coloured);
        tracing_subscriber::registry().with(lines.with_filter(targets)).try_init()?;
        Ok(())
    }
}
