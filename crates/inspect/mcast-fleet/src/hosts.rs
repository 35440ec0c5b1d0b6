//! The machines of a fleet, and whether each took part.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Serialize;

/// A machine to examine over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetHost {
    /// The name in reports: the text without the user.
    pub name: String,
    /// What ssh connects to: `host` or `user@host`.
    pub destination: String,
    /// The port of the ssh server, if it is not the one that ssh uses for this host.
    pub port: Option<u16>,
    /// The interface on which the machine joins and sends; `None` for its defaults.
    pub interface: Option<String>,
}

/// Why a text does not name a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetHostError {
    /// The text is empty, starts with `-`, or has a character that host names do not have.
    #[error("\"{0}\" is not a host: use [user@]host[:port]")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("\"{0}\" is not a port of an ssh server")]
    Port(String),
    /// The text after the host is not `interface=NAME`.
    #[error("\"{0}\" is not an option of a host: only interface=NAME is")]
    Option(String),
    /// Two lines name the same host.
    #[error("{0} is listed twice")]
    Twice(String),
    /// An error on a line of a file.
    #[error("line {line}: {error}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

/// Parses a file with one machine per line. Text after `#` is a comment.
///
/// # Errors
/// If a line does not name a machine, or two name the same.
pub fn parse_fleet(text: &str) -> Result<Vec<FleetHost>, FleetHostError> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)));
    let mut hosts = Vec::new();
    let mut names = BTreeSet::new();
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        let parsed = text.parse().and_then(|host: FleetHost| match names.insert(host.name.clone()) {
            true => Ok(host),
            false => Err(FleetHostError::Twice(host.name)),
        });
        hosts.push(parsed.map_err(|error| FleetHostError::Line { line, error: Box::new(error) })?);
    }
    Ok(hosts)
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

impl FromStr for FleetHost {
    type Err = FleetHostError;

    fn from_str(text: &str) -> Result<Self, FleetHostError> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let (destination, port) = split_port(address)?;
        let interface = words.next().map(interface).transpose()?;
        if let Some(word) = words.next() {
            return Err(FleetHostError::Option(word.to_owned()));
        }
        let host = destination.rsplit_once('@').map_or(&*destination, |(_, host)| host);
        // ssh takes what starts with a dash for an option, and passes the rest on to other programs.
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:%@".contains(letter);
        let is_valid = !host.is_empty()
            && !host.starts_with('-')
            && !destination.starts_with(['-', '@'])
            && destination.chars().all(is_plain);
        if !is_valid {
            return Err(FleetHostError::Host(address.to_owned()));
        }
        let name = match port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { name, destination, port, interface })
    }
}

/// Splits `host:port` and `[address]:port`. An IPv6 address without brackets has no port.
fn split_port(text: &str) -> Result<(String, Option<u16>), FleetHostError> {
    let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let with_user = |host: &str| user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => {
            (address, Some(rest.strip_prefix(':').ok_or_else(|| FleetHostError::Host(text.to_owned()))?))
        }
        None if host.matches(':').count() == 1 => {
            host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)))
        }
        None => (host, None),
    };
    let port = port.map(|port| match port.parse() {
        Ok(0) | Err(_) => Err(FleetHostError::Port(port.to_owned())),
        Ok(number) => Ok(number),
    });
    Ok((with_user(host), port.transpose()?))
}

fn interface(word: &str) -> Result<String, FleetHostError> {
    let name = word.strip_prefix("interface=").filter(|name| !name.is_empty() && !name.starts_with('-'));
    name.map(str::to_owned).ok_or_else(|| FleetHostError::Option(word.to_owned()))
}

mcast::group::named! {
    /// Whether a machine of a fleet takes part in its examination.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum FleetHostStatus {
        /// It took part until the end.
        Examined = "examined",
        /// ssh cannot reach it.
        Unreachable = "unreachable",
        /// The ssh server requires a password, or does not accept the key, or its own key is unknown or has changed.
        LoginRefused = "login refused",
        /// `mcast` is not installed there.
        CommandMissing = "no mcast",
        /// Its `mcast` is another version.
        OtherVersion = "other version",
        /// sudo requires a password, or does not allow the command.
        SudoRefused = "sudo refused",
        /// `mcast` failed there, for example because an interface does not exist.
        Failed = "failed",
        /// It did not answer in time.
        TimedOut = "timed out",
        /// The examination was interrupted before it took part.
        Cancelled = "cancelled",
    }
    /// Returns the status in words.
    fn as_str;
}

impl FleetHostStatus {
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

/// Why there is no valid message of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionError {
    /// ssh could not be started.
    Start(String),
    /// The session has ended, with this status and the end of standard error.
    Ended { status: Option<i32>, errors: String },
    /// It printed something that a member does not.
    Garbled(String),
    /// Nothing came in time.
    TimedOut,
    /// The caller stopped waiting.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (String, String, Option<u16>, Option<String>) {
        let host: FleetHost = text.parse().unwrap();
        (host.name, host.destination, host.port, host.interface)
    }

    #[test]
    fn a_host_may_have_a_user_a_port_and_an_interface() {
        assert_eq!(parsed("a"), ("a".into(), "a".into(), None, None));
        let whole = ("a.lan:2222".into(), "joe@a.lan".into(), Some(2222), Some("eth0".into()));
        assert_eq!(parsed("joe@a.lan:2222 interface=eth0"), whole);
        assert_eq!(parsed("fd00::1"), ("fd00::1".into(), "fd00::1".into(), None, None));
        let v6 = ("[fe80::1%eth0]:22".into(), "joe@fe80::1%eth0".into(), Some(22), None);
        assert_eq!(parsed("joe@[fe80::1%eth0]:22"), v6);
    }

    #[test]
    fn what_ssh_or_a_shell_would_interpret_is_refused() {
        for text in
            ["", "-oProxyCommand=x", "joe@-x", "@a", "a;b", "$(a)", "a`b`", "a'b", "a:0", "a:x", "[::1]x"]
        {
            assert!(text.parse::<FleetHost>().is_err(), "{text}");
        }
        assert!(matches!("a interface=-x".parse::<FleetHost>(), Err(FleetHostError::Option(_))));
        assert!(matches!("a b".parse::<FleetHost>(), Err(FleetHostError::Option(_))));
    }

    #[test]
    fn a_file_has_a_host_per_line_and_comments() {
        assert_eq!(parse_fleet("\u{feff}a\r\nb\r\n").unwrap().len(), 2);
        let hosts = parse_fleet("# rack 4\na  # the first\n\n  joe@b interface=eth1\n").unwrap();
        assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let error = parse_fleet("a\n-b\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: \"-b\" is not a host: use [user@]host[:port]");
        assert_eq!(parse_fleet("a\njoe@a\n").unwrap_err().to_string(), "line 2: a is listed twice");
    }

    proptest! {
        #[test]
        fn a_destination_is_never_an_option(text in ".{0,40}") {
            if let Ok(host) = text.parse::<FleetHost>() {
                prop_assert!(!host.destination.starts_with('-'));
                prop_assert!(!host.destination.contains(char::is_whitespace));
            }
        }
    }

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
