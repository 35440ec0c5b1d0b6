//! The machines of a fleet, as text: `[user@]host[:port] [interface=eth0] # comment`.

use std::collections::BTreeSet;
use std::str::FromStr;

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
}
