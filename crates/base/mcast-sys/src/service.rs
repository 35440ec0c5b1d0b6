//! Service managers: systemd and compatible ones. Their protocol (`sd_notify(3)`) is one datagram per message, to the
//! socket that `NOTIFY_SOCKET` names.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long to wait for a manager that has not read earlier messages. A state that is not sent then is lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the service manager that started this process.
///
/// States and keep-alives have a socket each, so that no state is lost behind keep-alives that were not read.
#[derive(Debug)]
pub struct ManagerConnection {
    states: UnixDatagram,
    keep_alives: UnixDatagram,
}

impl ManagerConnection {
    /// Connects to the manager; returns `None` if there is none.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        Self::at(&env::var_os("NOTIFY_SOCKET")?)
    }

    /// Connects to a path, or after an `@` to an abstract name.
    fn at(name: &OsStr) -> Option<Self> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
            _ => SocketAddr::from_pathname(name),
        };
        let address = address.ok()?;
        let connected = || {
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect_addr(&address).ok()?;
            Some(socket)
        };
        let (states, keep_alives) = (connected()?, connected()?);
        states.set_write_timeout(Some(TIMEOUT)).ok()?;
        keep_alives.set_nonblocking(true).ok()?;
        Some(Self { states, keep_alives })
    }

    /// Sends a state. If the manager's queue is full, waits for room, at most ten seconds.
    pub fn send_state(&self, state: &str) {
        let _ = self.states.send(state.as_bytes());
    }

    /// Sends a keep-alive. A full queue needs none: it contains earlier ones that have not been read.
    pub fn keep_alive(&self) {
        let _ = self.keep_alives.send(b"WATCHDOG=1");
    }
}

/// Returns how long the manager waits for a keep-alive before it ends this process; `None` if it has no limit.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|interval| is_ours && *interval > 0).map(Duration::from_micros)
}

/// Returns whether this descriptor is the journal, which reads a level at the start of each line.
#[must_use]
pub fn journal_reads(descriptor: i32) -> bool {
    let Some(stream) = env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(own) = fs::metadata(format!("/proc/self/fd/{descriptor}")) else { return false };
    stream == format!("{}:{}", own.dev(), own.ino())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn messages_are_datagrams_to_a_path_or_to_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        ManagerConnection::at(path.as_os_str()).unwrap().send_state("READY=1");
        let mut buffer = [0; 64];
        let length = by_path.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");

        let name = format!("mcast-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        ManagerConnection::at(OsStr::new(&format!("@{name}"))).unwrap().send_state("STOPPING=1");
        let length = by_name.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }

    #[test]
    fn states_are_not_lost_behind_unread_keep_alives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        let manager = ManagerConnection::at(path.as_os_str()).unwrap();
        // More than any queue holds.
        (0..10_000).for_each(|_| manager.keep_alive());
        let sending = std::thread::spawn(move || manager.send_state("STOPPING=1"));
        let mut buffer = [0; 64];
        let mut next = || {
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        while next() != b"STOPPING=1" {}
        sending.join().unwrap();
    }

    #[test]
    fn without_a_socket_there_is_no_connection() {
        assert!(ManagerConnection::at(OsStr::new("/no/such/socket")).is_none());
    }
}
