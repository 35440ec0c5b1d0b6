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

/// Returns the status of a machine whose session failed, and why in words. `has_joined`: after it had joined.
pub(super) fn status_of(error: &SessionError, has_sudo: bool, has_joined: bool) -> (FleetHostStatus, String) {
    match error {
        SessionError::Start(why) => (FleetHostStatus::Failed, why.clone()),
        SessionError::TimedOut => (FleetHostStatus::TimedOut, "no answer in time".into()),
        SessionError::Cancelled => (FleetHostStatus::Cancelled, "interrupted".into()),
        SessionError::Garbled(line) => (FleetHostStatus::Failed, format!("unexpected output: {line}")),
        SessionError::Ended { status, errors } if has_joined => during_examination(*status, errors),
        SessionError::Ended { status, errors } => {
            let why = reason(errors).unwrap_or_else(|| match status {
                Some(status) => format!("the session ended with status {status} and without a message"),
                None => "the session ended without a message".into(),
            });
            (status_of_end(*status, errors, has_sudo), why)
        }
    }
}

/// Returns the status of a machine whose session ended while it was examined.
fn during_examination(status: Option<i32>, errors: &str) -> (FleetHostStatus, String) {
    const WHEN: &str = "the session ended during the examination";
    let is_cut = ["not responding", "onnection"].iter().any(|text| errors.contains(text));
    match (status, reason(errors)) {
        (Some(SSH_FAILED), Some(why)) if is_cut => (FleetHostStatus::Unreachable, format!("{WHEN}: {why}")),
        // ssh ends in the same way if a signal has ended the command.
        (Some(SSH_FAILED) | None, _) => {
            (FleetHostStatus::Failed, format!("{WHEN}: the connection was cut, or mcast was stopped there"))
        }
        (_, Some(why)) => (FleetHostStatus::Failed, format!("{WHEN}: {why}")),
        (_, None) => (FleetHostStatus::Failed, WHEN.into()),
    }
}

/// Returns the error that was printed last; if none is marked as one, the last line.
fn reason(errors: &str) -> Option<String> {
    let lines = || errors.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let marked = lines().find_map(|line| line.strip_prefix("error: "));
    marked.or_else(|| lines().next()).map(str::to_owned)
}

fn status_of_end(status: Option<i32>, errors: &str, has_sudo: bool) -> FleetHostStatus {
    const LOGIN: [&str; 4] =
        ["Permission denied", "Host key verification failed", "Too many authentication", "no matching"];
    let says = |text: &str| errors.contains(text);
    // sudo warns in the same form, for example of a host name that it cannot resolve, and runs the command nevertheless.
    let refused = has_sudo.then(|| errors.lines().rev().find(|line| !line.trim().is_empty())).flatten();
    let refused = refused.filter(|line| line.starts_with("sudo:"));
    match (status, refused) {
        (Some(SSH_FAILED), _) if LOGIN.iter().any(|text| says(text)) => FleetHostStatus::LoginRefused,
        (Some(SSH_FAILED), _) => FleetHostStatus::Unreachable,
        (Some(NOT_FOUND | NOT_EXECUTABLE), _) => FleetHostStatus::CommandMissing,
        (Some(_), Some(line)) if line.contains("command not found") => FleetHostStatus::CommandMissing,
        (Some(_), Some(_)) => FleetHostStatus::SudoRefused,
        (Some(USAGE), None) if says("--fleet-member") => FleetHostStatus::OtherVersion,
        _ => FleetHostStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: i32, errors: &str, has_sudo: bool) -> (FleetHostStatus, String) {
        status_of(&SessionError::Ended { status: Some(status), errors: errors.into() }, has_sudo, false)
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
            let why = errors.strip_prefix("error: ").unwrap_or(errors);
            assert_eq!(status(code, errors, false), (expected, why.to_owned()));
        }
        assert_eq!(status(1, "sudo: a password is required", true).0, FleetHostStatus::SudoRefused);
        assert_eq!(status(1, "sudo: mcast: command not found", true).0, FleetHostStatus::CommandMissing);
        let warned =
            "sudo: unable to resolve host a: Name or service not known\nerror: no interface is called x";
        assert_eq!(status(4, warned, true).0, FleetHostStatus::Failed);
    }

    #[test]
    fn the_error_or_the_last_line_is_the_reason() {
        let why = |errors| status(4, errors, false).1;
        assert_eq!(why("warning: x\nerror: y\nremedy: z\n"), "y");
        assert_eq!(why("Welcome\noops\n\n"), "oops");
        assert_eq!(why(""), "the session ended with status 4 and without a message");
    }

    #[test]
    fn a_member_that_ends_during_the_examination_is_not_unreachable() {
        let of = |status, errors: &str| {
            let error = SessionError::Ended { status, errors: errors.into() };
            let (status, why) = status_of(&error, false, true);
            assert!(why.starts_with("the session ended during the examination"), "{why}");
            status
        };
        assert_eq!(of(Some(255), ""), FleetHostStatus::Failed);
        assert_eq!(of(Some(4), "error: x"), FleetHostStatus::Failed);
        assert_eq!(of(Some(255), "Timeout, server a not responding."), FleetHostStatus::Unreachable);
    }
}
