//! How a failure is told: what failed, why, and what to do about it, on standard error.

use crate::console::Console;
use crate::exit;

/// Tells why the command failed, and gives the exit status that says so, too.
pub(crate) fn tell(error: &anyhow::Error, console: &Console) -> u8 {
    let Some(status) = exit::status(error) else {
        return exit::SUCCESS;
    };
    console.error(describe(error));
    if let Some(remedy) = exit::remedy(error) {
        console.help(remedy);
    }
    status
}

/// Tells what is wrong with what was typed; help and version, which come the same way, are data.
pub(crate) fn tell_usage(error: &clap::Error) -> u8 {
    // Nobody is left to be told that the pipe is broken.
    let _ = error.print();
    match error.exit_code() {
        0 => exit::SUCCESS,
        _ => exit::USAGE,
    }
}

/// The whole chain of causes in a line. A cause that its effect has already told is left out.
fn describe(error: &anyhow::Error) -> String {
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
    fn a_cause_is_told_once() {
        let system = io::Error::other("disk on fire");
        let error =
            Err::<(), _>(system).context("cannot read x: disk on fire").context("no data").unwrap_err();
        assert_eq!(describe(&error), "no data: cannot read x: disk on fire");
    }

    #[test]
    fn a_broken_pipe_is_no_failure() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert_eq!(exit::status(&error), None);
    }
}
