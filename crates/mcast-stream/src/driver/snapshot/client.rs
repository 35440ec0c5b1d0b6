//! Who wants a snapshot.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::patience::{Patience, SLICE};
use super::{ANSWER, FIRST_ANSWER, FRAME, Snapshot, TIMEOUT, invalid, request_bytes};
use crate::driver::clock;
use crate::driver::discovery::{Announcements, Found};
use crate::driver::error::StreamError;
use crate::seal::Keys;
use crate::wire::{Incarnation, StreamId};

/// A snapshot is no longer.
const LONGEST: u64 = 1 << 32;

/// Fetches a snapshot that has all messages before this one, or more. It waits; to be able to give up there is
/// [`fetch_snapshot_while`].
///
/// # Errors
/// When it cannot be had: no connection, another stream, other keys, too old, or the server has done nothing for ten seconds.
pub fn fetch_snapshot(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
) -> Result<Snapshot, StreamError> {
    fetch_snapshot_while(from, stream, incarnation, keys, message, &mut || true)
}

/// The same for as long as `go_on` says so: it is called on this thread, about twenty times a second.
///
/// # Errors
/// As [`fetch_snapshot`], and when `go_on` said no.
pub fn fetch_snapshot_while(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Snapshot, StreamError> {
    let fetched = fetch(from, stream, incarnation, keys, message, Patience::new(TIMEOUT, go_on));
    fetched.map_err(|error| {
        StreamError::Snapshot(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "its publisher has none to give, or broke off")
            }
            _ => error,
        })
    })
}

/// Fetches one from where the stream announces it; waits for an announcement that helps, or for a fresh snapshot, for no longer
/// than this.
pub(in crate::driver) fn fetch_from_announced(
    stream: &Found,
    incarnation: Incarnation,
    message: u64,
    keys: &Keys,
    time: Duration,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Snapshot, StreamError> {
    let deadline = Instant::now().checked_add(time);
    let mut found = stream.clone();
    loop {
        let is_it = found.stream == stream.stream && found.incarnation == incarnation;
        let error = match found.snapshot.filter(|_| is_it) {
            None => {
                StreamError::Snapshot(io::Error::new(io::ErrorKind::NotFound, "its publisher announces none"))
            }
            Some(from) => {
                match fetch_snapshot_while(from, stream.stream, incarnation, keys, message, go_on) {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(error) => error,
                }
            }
        };
        match look_again(stream, keys, deadline, go_on) {
            Some(again) => found = again,
            None => return Err(error),
        }
    }
}

/// Announcements come once a second, so that nobody is asked oftener.
fn look_again(
    stream: &Found,
    keys: &Keys,
    deadline: Option<Instant>,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Found> {
    let path = stream.paths.first()?;
    let family = path.address.group.family();
    let mut announcements = Announcements::join(family, path.interface.clone(), keys.clone()).ok()?;
    while go_on() {
        let left =
            deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
        let heard = announcements.next_timeout(left).ok()?;
        if let Some(found) = heard.filter(|found| found.name == stream.name) {
            return Some(found);
        }
        if left.is_zero() {
            return None;
        }
    }
    None
}

fn fetch(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
    mut patience: Patience<'_>,
) -> io::Result<Snapshot> {
    let connection = connect(from, &mut patience)?;
    let mut channel = Channel::new(connection, patience)?;
    let epoch = channel.hear_greeting(clock::seed())?;
    channel.seal_with(keys, epoch, stream, incarnation)?;
    channel.send(1, &request_bytes(stream, incarnation, message))?;
    let answer = channel.receive(FIRST_ANSWER, ANSWER)?;
    let at = |at: usize| {
        let number = answer.get(at..).and_then(<[u8]>::first_chunk).copied();
        number.map(u64::from_be_bytes).ok_or_else(|| invalid("the answer is too short"))
    };
    let (reached, length) = (at(0)?, at(8)?);
    if reached < message {
        return Err(invalid("it is older than what was asked for"));
    }
    if length > LONGEST {
        return Err(invalid("it is longer than 4 GiB"));
    }
    let mut bytes = Vec::new();
    let mut count = FIRST_ANSWER;
    while (bytes.len() as u64) < length {
        count += 1;
        let frame = channel.receive(count, FRAME)?;
        if frame.is_empty() || bytes.len() as u64 + frame.len() as u64 > length {
            return Err(invalid("it is not as long as it said"));
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(Snapshot { message: reached, bytes })
}

/// Connects on a thread of its own: no system ends that sooner than it wants. Who gives up leaves it to its end.
fn connect(to: SocketAddr, patience: &mut Patience<'_>) -> io::Result<TcpStream> {
    let (tell, told) = channel();
    let work = move || {
        // Nobody listens any more if the caller gave up.
        let _ = tell.send(TcpStream::connect_timeout(&to, TIMEOUT));
    };
    std::thread::Builder::new().name("mcast-connect".to_owned()).spawn(work)?;
    loop {
        match told.recv_timeout(SLICE) {
            Ok(connected) => return connected,
            Err(RecvTimeoutError::Timeout) => patience.ask()?,
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// Where somebody takes one connection and does this with it.
    fn somebody(does: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (address, std::thread::spawn(move || does(listener.accept().unwrap().0)))
    }

    /// Fetches until it was asked so often whether to go on.
    fn fetch_until_asked(from: SocketAddr, times: u32) -> String {
        let (mut asked, began) = (0, Instant::now());
        let mut go_on = || {
            asked += 1;
            asked < times
        };
        let fetched = fetch_snapshot_while(from, StreamId(1), Incarnation(1), &Keys::none(), 0, &mut go_on);
        assert!(began.elapsed() < SOON && asked == times, "asked {asked} times");
        fetched.unwrap_err().to_string()
    }

    #[test]
    fn the_caller_may_give_up_a_server_that_says_nothing() {
        let (address, server) = somebody(|connection| {
            let _ = std::io::copy(&mut &connection, &mut std::io::sink());
        });
        assert_eq!(fetch_until_asked(address, 3), "the snapshot: the caller gave up");
        server.join().unwrap();
    }

    #[test]
    fn the_caller_may_give_up_a_server_that_never_pauses() {
        let (address, server) = somebody(|mut connection| {
            connection.write_all(b"MCS1\0\0\0\0\0\0\0\0\0\0").unwrap();
            connection.write_all(&[0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).unwrap();
            // A byte a frame.
            let frames = [0, 0, 0, 1, 7].repeat(1_000);
            while connection.write_all(&frames).is_ok() {}
        });
        assert_eq!(fetch_until_asked(address, 3), "the snapshot: the caller gave up");
        server.join().unwrap();
    }

    #[test]
    fn who_sends_drop_by_drop_has_no_more_time() {
        let (address, server) = somebody(|mut connection| {
            while connection.write_all(b"M").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let (limit, began, mut go_on) = (Duration::from_millis(100), Instant::now(), || true);
        let connection = TcpStream::connect(address).unwrap();
        let mut channel = Channel::new(connection, Patience::new(limit, &mut go_on)).unwrap();
        let heard = channel.hear_greeting(1);
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((limit..SOON).contains(&began.elapsed()));
        drop(channel);
        server.join().unwrap();
    }
}
