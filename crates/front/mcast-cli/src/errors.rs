//! Prints failures on standard error: what failed, why, and what to do about it.

use std::io::Write;

use clap::error::{ContextKind, ContextValue};
use mcast_terminal::Console;

use crate::exit;

/// Prints why the command failed, and returns the exit status.
pub(crate) fn print(error: &anyhow::Error, console: &Console) -> u8 {
    let Some((status, remedy)) = exit::judge(error) else {
        return exit::SUCCESS;
    };
    console.error(describe(error));
    if let Some(remedy) = remedy {
        console.help(remedy);
    }
    status
}

/// Prints a usage error; help and version, which arrive the same way, are data.
pub(crate) fn print_usage_error(error: &clap::Error) -> u8 {
    if error.use_stderr() {
        // clap quotes the standard library's message for a number that does not parse.
        let text =
            error.render().ansi().to_string().replace("invalid digit found in string", "not a whole number");
        let _ = write!(anstream::stderr(), "{text}");
        if let Some(command) = command_of_others(error) {
            let _ = writeln!(anstream::stderr(), "  tip: the command for that is `mcast {command}`");
        }
    } else {
        // A broken pipe cannot be reported: its reader has gone.
        let _ = error.print();
    }
    match error.exit_code() {
        0 => exit::SUCCESS,
        _ => exit::USAGE,
    }
}

/// Returns the subcommand for a word by which other tools call what it does.
fn command_of_others(error: &clap::Error) -> Option<&'static str> {
    const WORDS: [(&str, &str); 11] = [
        ("capture", "sniff"),
        ("diagnose", "doctor"),
        ("dump", "sniff"),
        ("forward", "relay"),
        ("iperf", "perf"),
        ("join", "recv"),
        ("listen", "recv"),
        ("maddr", "groups"),
        ("members", "groups"),
        ("play", "replay"),
        ("receive", "recv"),
    ];
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    WORDS.iter().find(|(other, _)| other == word).map(|(_, command)| *command)
}

/// Returns the chain of causes as one line. A cause that is already part of its effect is omitted.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[test]
    fn a_repeated_cause_is_printed_once() {
        let system = io::Error::other("disk on fire");
        let error =
            Err::<(), _>(system).context("cannot read x: disk on fire").context("no data").unwrap_err();
        assert_eq!(describe(&error), "no data: cannot read x: disk on fire");
    }

    #[test]
    fn a_broken_pipe_is_not_a_failure() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert_eq!(exit::judge(&error), None);
    }
}
