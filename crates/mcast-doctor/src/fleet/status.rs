//! Whether a machine takes part, and if not, why.

use serde::Serialize;

use super::session::SessionError;

/// Whether a machine of a fleet takes part in its examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FleetHostStatus {
    /// It took part until the end.
    Examined,
    /// ssh cannot reach it.
    Unreachable,
    /// The ssh server requires a password, or does not accept the key, or its own key is unknown or has changed.
    LoginRefused,
    /// `mcast` is not installed there.
    CommandMissing,
    /// Its `mcast` is another version.
    OtherVersion,
    /// sudo requires a password, or does not allow the command.
    SudoRefused,
    /// `mcast` failed there, for example because an interface does not exist.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// The examination was interrupted before it took part.
    Cancelled,
}

impl FleetHostStatus {
    /// Returns the status in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Examined => "examined",
            Self::Unreachable => "unreachable",
            Self::LoginRefused => "login refused",
            Self::CommandMissing => "no mcast",
            Self::OtherVersion => "other version",
            Self::SudoRefused => "sudo refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether only a right is missing.
    #[must_use]
    pub const fn needs_rights(self) -> bool {
        matches!(self, Self::LoginRefused | Self::SudoRefused)
    }
}

/// ssh ends with this status if it fails itself.
const SSH_FAILED: i32 = 255;
/// A shell ends with these statuses if a command does not exist or cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// `mcast` does not know an option.
const USAGE: i32 = 2;

/// Returns the status of a machine whose session failed, and why in words.
pub(super) fn status_of(error: &SessionError, has_sudo: bool) -> (FleetHostStatus, String) {
    match error {
        SessionError::Start(why) => (FleetHostStatus::Failed, why.clone()),
        SessionError::TimedOut => (FleetHostStatus::TimedOut, "no answer in time".into()),
        SessionError::Cancelled => (FleetHostStatus::Cancelled, "interrupted".into()),
        SessionError::Garbled(line) => (FleetHostStatus::Failed, format!("unexpected output: {line}")),
        SessionError::Ended { status, errors } => {
            let why =
                errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("the session ended");
            (status_of_end(*status, errors, has_sudo), why.trim().to_owned())
        }
    }
}

fn status_of_end(status: Option<i32>, errors: &str, has_sudo: bool) -> FleetHostStatus {
    const LOGIN: [&str; 4] =
        ["Permission denied", "Host key verification failed", "Too many authentication", "no matching"];
    let says = |text: &str| errors.contains(text);
    match status {
        Some(SSH_FAILED) if LOGIN.iter().any(|text| says(text)) => FleetHostStatus::LoginRefused,
        Some(SSH_FAILED) => FleetHostStatus::Unreachable,
        Some(NOT_FOUND | NOT_EXECUTABLE) => FleetHostStatus::CommandMissing,
        Some(_) if has_sudo && says("sudo:") => match says("command not found") {
            true => FleetHostStatus::CommandMissing,
            false => FleetHostStatus::SudoRefused,
        },
        Some(USAGE) if says("--fleet-member") => FleetHostStatus::OtherVersion,
        _ => FleetHostStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: i32, errors: &str, has_sudo: bool) -> (FleetHostStatus, String) {
        status_of(&SessionError::Ended { status: Some(status), errors: errors.into() }, has_sudo)
    }

    #[test]
    fn the_end_of_a_session_says_why_a_machine_does_not_take_part() {
        let cases = [
            (255, "joe@a: Permission denied (publickey,password).", FleetHostStatus::LoginRefused),
            (255, "Host key verification failed.", FleetHostStatus::LoginRefused),
            (255, "ssh: connect to host a port 22: No route to host", FleetHostStatus::Unreachable),
            (
                255,
                "ssh: Could not resolve hostname a: Name or service not known",
                FleetHostStatus::Unreachable,
            ),
            (127, "bash: line 1: mcast: command not found", FleetHostStatus::CommandMissing),
            (126, "mcast: cannot execute binary file", FleetHostStatus::CommandMissing),
            (2, "error: unexpected argument '--fleet-member' found", FleetHostStatus::OtherVersion),
            (4, "error: no interface is called eth7", FleetHostStatus::Failed),
        ];
        for (code, errors, expected) in cases {
            assert_eq!(status(code, errors, false), (expected, errors.to_owned()));
        }
        assert_eq!(status(1, "sudo: a password is required", true).0, FleetHostStatus::SudoRefused);
        assert_eq!(status(1, "sudo: mcast: command not found", true).0, FleetHostStatus::CommandMissing);
    }

    #[test]
    fn the_last_line_of_the_errors_is_the_reason() {
        assert_eq!(status(4, "warning: x\nerror: y\n\n", false).1, "error: y");
        assert_eq!(status(4, "", false).1, "the session ended");
    }
}
