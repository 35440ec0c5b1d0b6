//! How a program ended, as a text.

use std::fmt;
use std::process::ExitStatus;

/// Shells exit with this status plus the signal that has ended what they waited for.
const SIGNALLED: i32 = 128;
/// The greatest number of a signal.
const MAX_SIGNAL: i32 = 64;

/// Writes how a program ended, and which signal ended the child of a shell.
pub(crate) struct Outcome(pub(crate) ExitStatus);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.0.code() {
            Some(code) if (SIGNALLED + 1..=SIGNALLED + MAX_SIGNAL).contains(&code) => {
                write!(f, ", which a shell returns if its child ends by {}", signal(code - SIGNALLED))
            }
            _ => Ok(()),
        }
    }
}

/// Returns a signal with its name: `signal: 11 (SIGSEGV)`.
#[cfg(unix)]
fn signal(number: i32) -> String {
    use std::os::unix::process::ExitStatusExt;

    ExitStatus::from_raw(number).to_string()
}

#[cfg(not(unix))]
fn signal(number: i32) -> String {
    format!("signal: {number}")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn signal_is_named_whether_a_shell_waited_or_not() {
        let text = |status| Outcome(ExitStatus::from_raw(status)).to_string();
        assert_eq!(text(11), "signal: 11 (SIGSEGV)");
        assert_eq!(
            text(139 << 8),
            "exit status: 139, which a shell returns if its child ends by signal: 11 (SIGSEGV)"
        );
        for code in [0, 1, 127, 128, 193, 255] {
            assert_eq!(text(code << 8), format!("exit status: {code}"));
        }
    }
}
