//! Metrics for other programs in the same network namespace: a Unix socket without a file, which ends with its program.

use std::io::{self, Read, Write};
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::Exposition;

/// The time limit for sending or fetching the metrics.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The time to wait after a failed accept, for example without free descriptors.
const RECOVERY: Duration = Duration::from_millis(100);
/// The longest text that is fetched.
const MAX_TEXT: u64 = 256 << 10;

/// Starts a thread that sends the metrics to every program that connects to the abstract Unix socket with this name, until
/// the process ends. Every user may connect.
///
/// # Errors
/// The system's error, if the name is taken or the thread cannot be started.
pub fn serve_locally(name: &str, figures: impl Fn() -> Exposition + Send + Sync + 'static) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    let serve = move || {
        for client in listener.incoming() {
            // A client that disconnects gets nothing, and the next one is served.
            match client {
                Ok(client) => drop(send(client, &figures())),
                Err(_) => thread::sleep(RECOVERY),
            }
        }
    };
    thread::Builder::new().name("local metrics".into()).spawn(serve).map(drop)
}

fn send(mut client: UnixStream, figures: &Exposition) -> io::Result<()> {
    client.set_write_timeout(Some(TIMEOUT))?;
    client.write_all(figures.to_text().as_bytes())
}

/// Returns the names that begin with a prefix and that programs in this network namespace serve metrics at.
///
/// # Errors
/// The system's error, if its list of sockets cannot be read.
pub fn local_exporters(prefix: &str) -> io::Result<Vec<String>> {
    let sockets = fs::read("/proc/thread-self/net/unix")?;
    let sockets = String::from_utf8_lossy(&sockets);
    // The last column is the name, and `@` marks one without a file. A connection has the same name as its listener.
    let names = sockets.lines().filter_map(|line| line.split_ascii_whitespace().last()?.strip_prefix('@'));
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Fetches the metrics that a program serves with [`serve_locally`]. The text may come from any program of this machine.
///
/// # Errors
/// The system's error, or [`io::ErrorKind::TimedOut`] after half a second.
pub fn fetch_locally(name: &str) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || text.len() as u64 > MAX_TEXT {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into()),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricKind, samples};

    #[test]
    fn metrics_are_fetched_by_name() {
        let name = format!("mcast-test.{}", std::process::id());
        let figures = || {
            let mut exposition = Exposition::default();
            exposition
                .family("answer", MetricKind::Counter, "Of everything.")
                .sample(&[("of", &"it")], 42_u64);
            exposition
        };
        serve_locally(&name, figures).unwrap();
        assert_eq!(local_exporters("mcast-test.").unwrap(), [name.as_str()]);
        let text = fetch_locally(&name).unwrap();
        assert_eq!(samples(&text, "answer").collect::<Vec<_>>(), [(vec![("of".into(), "it".into())], 42)]);
        assert_eq!(serve_locally(&name, Exposition::default).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn endless_and_silent_programs_are_given_up() {
        let serve = |suffix: &str, act: fn(UnixStream)| {
            let name = format!("mcast-test-{suffix}.{}", std::process::id());
            let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
            thread::spawn(move || listener.incoming().for_each(|client| act(client.unwrap())));
            fetch_locally(&name).unwrap_err().kind()
        };
        let endless = |mut client: UnixStream| while client.write_all(&[b'a'; 4096]).is_ok() {};
        assert_eq!(serve("endless", endless), io::ErrorKind::TimedOut);
        let silent = |mut client: UnixStream| drop(client.read(&mut [0]));
        let kinds = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
        assert!(kinds.contains(&serve("silent", silent)));
    }
}
