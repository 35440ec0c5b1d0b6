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

/// The size of a snapshot in bytes that a client accepts where nothing else is said: 64 MiB. In a stream in clear anybody can
/// announce snapshots of any size.
pub const MAX_SNAPSHOT: u64 = 64 << 20;

/// How long to look for an announcement from the host that serves the snapshots, before any other one will do: announcements
/// come once a second.
const PREFERRED: Duration = Duration::from_millis(1_200);

/// Fetches a snapshot of at most [`MAX_SNAPSHOT`] bytes that has all messages before this one, or more. It waits; to be able to
/// give up, or to accept more, there is [`fetch_snapshot_while`].
///
/// # Errors
/// When it cannot be had: no connection, another stream, other keys, too old, too large, or the server has done nothing for ten
/// seconds.
pub fn fetch_snapshot(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
) -> Result<Snapshot, StreamError> {
    fetch_snapshot_while(from, stream, incarnation, keys, message, MAX_SNAPSHOT, &mut || true)
}

/// Fetches a snapshot of at most `max_size` bytes for as long as `go_on` returns `true`: it is called on this thread, about
/// twenty times per second.
///
/// # Errors
/// As [`fetch_snapshot`], and when `go_on` returned `false`.
pub fn fetch_snapshot_while(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
    max_size: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Snapshot, StreamError> {
    let patience = Patience::new(TIMEOUT, go_on);
    let answer = request(from, stream, incarnation, keys, message, patience).map_err(explain)?;
    if answer.size > max_size {
        return Err(StreamError::SnapshotTooLarge { size: answer.size, limit: max_size });
    }
    answer.receive().map_err(explain)
}

fn explain(error: io::Error) -> StreamError {
    StreamError::Snapshot(match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "its publisher has none to give, or broke off")
        }
        _ => error,
    })
}

/// Fetches one from where the stream announces it; waits for an announcement that helps, or for a fresh snapshot, for no longer
/// than this. An address that has failed is not tried again while others are announced.
pub(in crate::driver) fn fetch_from_announced(
    stream: &Found,
    incarnation: Incarnation,
    message: u64,
    keys: &Keys,
    max_size: u64,
    time: Duration,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Snapshot, StreamError> {
    let deadline = Instant::now().checked_add(time);
    let mut found = Some(stream.clone());
    let mut failed = Vec::new();
    let mut error =
        StreamError::Snapshot(io::Error::new(io::ErrorKind::NotFound, "its publisher announces none"));
    while let Some(announced) = found {
        let is_it = announced.stream == stream.stream && announced.incarnation == incarnation;
        if let Some(from) = announced.snapshot.filter(|_| is_it) {
            match fetch_snapshot_while(from, stream.stream, incarnation, keys, message, max_size, go_on) {
                Ok(snapshot) => return Ok(snapshot),
                Err(why) => error = why,
            }
            failed.push(from);
        }
        found = look_again(stream, keys, &failed, deadline, go_on);
    }
    Err(error)
}

/// Another announcement. Anybody can announce a stream in clear: one from the host that serves its snapshots is preferred, and
/// one that names another address than those that failed.
///
/// Announcements come once a second, so that nobody is asked oftener.
fn look_again(
    stream: &Found,
    keys: &Keys,
    failed: &[SocketAddr],
    deadline: Option<Instant>,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Found> {
    let path = stream.paths.first()?;
    let family = path.address.group.family();
    let mut announcements = Announcements::join(family, path.interface.clone(), keys.clone()).ok()?;
    let (begun, mut second_best) = (Instant::now(), None);
    while go_on() {
        let left =
            deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
        let heard = announcements.next_timeout(left).ok()?;
        if let Some(found) = heard.filter(|found| found.name == stream.name) {
            let is_new = found.snapshot.is_none_or(|from| !failed.contains(&from));
            let is_its_host = found.snapshot.is_some_and(|from| from.ip() == found.source.ip());
            if is_new && is_its_host {
                return Some(found);
            }
            // One that has failed comes last: its publisher may have been busy.
            if is_new || second_best.is_none() {
                second_best = Some(found);
            }
        }
        if left.is_zero() || begun.elapsed() >= PREFERRED && second_best.is_some() {
            return second_best;
        }
    }
    None
}

/// What a server has, before it is received.
struct Answer<'p> {
    channel: Channel<'p>,
    message: u64,
    size: u64,
}

fn request<'p>(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
    mut patience: Patience<'p>,
) -> io::Result<Answer<'p>> {
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
    let (reached, size) = (at(0)?, at(8)?);
    if reached < message {
        return Err(invalid("it is older than what was asked for"));
    }
    Ok(Answer { channel, message: reached, size })
}

impl Answer<'_> {
    fn receive(mut self) -> io::Result<Snapshot> {
        let mut bytes = Vec::new();
        let mut count = FIRST_ANSWER;
        while (bytes.len() as u64) < self.size {
            count += 1;
            let frame = self.channel.receive(count, FRAME)?;
            if frame.is_empty() || bytes.len() as u64 + frame.len() as u64 > self.size {
                return Err(invalid("it is not as long as it said"));
            }
            bytes.extend_from_slice(&frame);
        }
        Ok(Snapshot { message: self.message, bytes })
    }
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
        let keys = Keys::none();
        let fetched = fetch_snapshot_while(from, StreamId(1), Incarnation(1), &keys, 0, 1 << 32, &mut go_on);
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
