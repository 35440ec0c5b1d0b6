//! Snapshots by a side channel: over TCP, sealed with the stream's keys.
//!
//! The server greets with `MCS1`, a random number (64 bits) and the epoch of the key that it seals with (16), the client with a
//! number of its own (64): both are in the keys of the
//! connection, so that neither can be made to repeat one. The client asks with the stream (64),
//! the incarnation (32), and the number of the message that its snapshot must reach at least (64). The server answers with that
//! number of its snapshot (64) and its length (64), and then the bytes, in frames of at most 16 KiB, each behind its length (32 bits). Of a sealed
//! stream the request and all frames are sealed, the request with the count 1, what the server sends with counts from 2^32 on.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock;
use super::error::StreamError;
use crate::seal::{Cipher, Keys, Purpose, Sealed};
use crate::wire::{Incarnation, KeyEpoch, StreamId, TAG_LENGTH};

const GREETING: &[u8; 4] = b"MCS1";
const HELLO: usize = 14;
const REQUEST: usize = 20;
const ANSWER: usize = 16;
const FRAME: usize = 16 << 10;
const FIRST_ANSWER: u64 = 1 << 32;
/// Clients that are served at once; others are turned away.
const MOST_CLIENTS: usize = 16;
/// Bytes a second for each.
const RATE: f64 = 64e6;
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long nobody is let in after that has failed.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// A snapshot is no longer.
const LONGEST: u64 = 1 << 32;

/// A state, and the messages that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It has all messages before this one.
    pub message: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

/// Serves snapshots until it is dropped.
#[derive(Debug)]
pub struct SnapshotServer {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the keys of the stream as they are now: they change while it runs.
pub(super) type KeysNow = Box<dyn Fn() -> Keys + Send + Sync>;

struct Service<F> {
    stream: StreamId,
    incarnation: Incarnation,
    keys: KeysNow,
    capture: F,
    clients: AtomicUsize,
}

impl SnapshotServer {
    pub(super) fn start(
        at: SocketAddr,
        stream: StreamId,
        incarnation: Incarnation,
        keys: KeysNow,
        capture: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Result<Self, StreamError> {
        let listener = TcpListener::bind(at).map_err(StreamError::Snapshot)?;
        let address = listener.local_addr().map_err(StreamError::Snapshot)?;
        let ends = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Service { stream, incarnation, keys, capture, clients: AtomicUsize::new(0) });
        let serve = {
            let ends = Arc::clone(&ends);
            move || accept(&listener, &service, &ends)
        };
        let thread = std::thread::Builder::new().name("mcast-snapshots".to_owned()).spawn(serve);
        Ok(Self { address, ends, thread: Some(thread.map_err(StreamError::Thread)?) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SnapshotServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // Whoever accepts looks up when somebody comes.
        let woken = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Who listens on all addresses is reached at the local one.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn accept<F>(listener: &TcpListener, service: &Arc<Service<F>>, ends: &AtomicBool)
where
    F: Fn() -> Option<Snapshot> + Send + Sync + 'static,
{
    for connection in listener.incoming() {
        if ends.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // Where descriptors are short, it would fail again at once.
            std::thread::sleep(AFTER_FAILURE);
            continue;
        };
        let turn = Turn::take(service);
        if turn.is_one_too_many() {
            continue;
        }
        let serve = move || {
            // Who breaks off asks again.
            let _ = turn.0.serve(connection);
        };
        let _ = std::thread::Builder::new().name("mcast-snapshot".to_owned()).spawn(serve);
    }
}

/// A client's turn, which ends also when no thread can be had, or the caller's code panics.
struct Turn<F>(Arc<Service<F>>);

impl<F> Turn<F> {
    fn take(service: &Arc<Service<F>>) -> Self {
        service.clients.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(service))
    }

    fn is_one_too_many(&self) -> bool {
        self.0.clients.load(Ordering::Acquire) > MOST_CLIENTS
    }
}

impl<F> Drop for Turn<F> {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<F: Fn() -> Option<Snapshot>> Service<F> {
    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        let keys = (self.keys)();
        let mut channel = Channel::new(connection, (clock::seed(), 0))?;
        channel.connection.write_all(&greeting_bytes(channel.numbers.0, keys.latest()))?;
        let mut theirs = [0; 8];
        channel.connection.read_exact(&mut theirs)?;
        channel.numbers.1 = u64::from_be_bytes(theirs);
        channel.seal_with(&keys, keys.latest(), self.stream, self.incarnation)?;
        let request = channel.receive(1, REQUEST)?;
        let expected = request_bytes(self.stream, self.incarnation, 0);
        if request.len() != REQUEST || request[..12] != expected[..12] {
            return Err(invalid("it asks for another stream"));
        }
        // Without one the client sees the connection end.
        let Some(snapshot) = (self.capture)() else { return Ok(()) };
        let mut answer = [0; ANSWER];
        answer[..8].copy_from_slice(&snapshot.message.to_be_bytes());
        answer[8..].copy_from_slice(&(snapshot.bytes.len() as u64).to_be_bytes());
        channel.send(FIRST_ANSWER, &answer)?;
        for (count, frame) in (FIRST_ANSWER + 1..).zip(snapshot.bytes.chunks(FRAME)) {
            channel.send(count, frame)?;
            std::thread::sleep(Duration::from_secs_f64(frame.len() as f64 / RATE));
        }
        Ok(())
    }
}

/// Fetches a snapshot that has all messages before this one, or more.
///
/// # Errors
/// When it cannot be had: no connection, another stream, other keys, too old.
pub fn fetch_snapshot(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
) -> Result<Snapshot, StreamError> {
    let fetched = fetch(from, stream, incarnation, keys, message);
    fetched.map_err(|error| {
        StreamError::Snapshot(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "its publisher has none to give, or broke off")
            }
            _ => error,
        })
    })
}

fn fetch(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: u64,
) -> io::Result<Snapshot> {
    let mut connection = TcpStream::connect_timeout(&from, TIMEOUT)?;
    let mut greeting = [0; HELLO];
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.read_exact(&mut greeting)?;
    let (number, epoch) = read_greeting(greeting).ok_or_else(|| invalid("it is no server of snapshots"))?;
    let mut channel = Channel::new(connection, (number, clock::seed()))?;
    channel.connection.write_all(&channel.numbers.1.to_be_bytes())?;
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

fn greeting_bytes(number: u64, epoch: KeyEpoch) -> [u8; HELLO] {
    let mut greeting = [0; HELLO];
    greeting[..4].copy_from_slice(GREETING);
    greeting[4..12].copy_from_slice(&number.to_be_bytes());
    greeting[12..].copy_from_slice(&epoch.0.to_be_bytes());
    greeting
}

/// The server's number and epoch.
fn read_greeting(greeting: [u8; HELLO]) -> Option<(u64, KeyEpoch)> {
    let rest = greeting.strip_prefix(GREETING)?;
    let (number, epoch) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), KeyEpoch(u16::from_be_bytes(*epoch.first_chunk()?))))
}

fn request_bytes(stream: StreamId, incarnation: Incarnation, message: u64) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&stream.0.to_be_bytes());
    request[8..12].copy_from_slice(&incarnation.0.to_be_bytes());
    request[12..].copy_from_slice(&message.to_be_bytes());
    request
}

/// A connection, and what seals on it.
struct Channel {
    connection: TcpStream,
    /// The server's and the client's.
    numbers: (u64, u64),
    cipher: Option<Box<dyn Cipher>>,
}

impl Channel {
    fn new(connection: TcpStream, numbers: (u64, u64)) -> io::Result<Self> {
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        connection.set_nodelay(true)?;
        Ok(Self { connection, numbers, cipher: None })
    }

    /// From here on everything is sealed with the server's epoch. Nobody is talked into a connection in clear who has keys.
    fn seal_with(
        &mut self,
        keys: &Keys,
        epoch: KeyEpoch,
        stream: StreamId,
        incarnation: Incarnation,
    ) -> io::Result<()> {
        match (keys.is_empty(), epoch == KeyEpoch::CLEAR) {
            (true, true) => return Ok(()),
            (true, false) => return Err(invalid("it is sealed, and there is no key here")),
            (false, true) => return Err(invalid("it is not sealed, as its stream is")),
            (false, false) => {}
        }
        let (sealed, block) = (Sealed::Snapshot(self.numbers.0), self.numbers.1);
        let purpose = Purpose { stream, incarnation, epoch, sealed, block };
        self.cipher = Some(keys.cipher(&purpose).ok_or_else(|| invalid("the key is missing"))?);
        Ok(())
    }

    fn send(&mut self, count: u64, bytes: &[u8]) -> io::Result<()> {
        let mut frame = bytes.to_vec();
        if let Some(cipher) = &self.cipher {
            let tag = cipher.seal(count, GREETING, &mut frame);
            frame.extend_from_slice(&tag.ok_or_else(|| invalid("the cipher failed"))?);
        }
        self.connection.write_all(&(frame.len() as u32).to_be_bytes())?;
        self.connection.write_all(&frame)
    }

    fn receive(&mut self, count: u64, longest: usize) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.connection.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > longest + TAG_LENGTH {
            return Err(invalid("a frame is too long"));
        }
        let mut frame = vec![0; length];
        self.connection.read_exact(&mut frame)?;
        if let Some(cipher) = &self.cipher {
            if !cipher.open(count, GREETING, &mut frame) {
                return Err(invalid("it was not sealed with this key"));
            }
            frame.truncate(length.saturating_sub(TAG_LENGTH));
        }
        Ok(frame)
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_fails_is_over() {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        let (stream, incarnation) = (StreamId(1), Incarnation(1));
        let fails = || -> Option<Snapshot> { std::panic::resume_unwind(Box::new("the caller's code fails")) };
        let clients = AtomicUsize::new(0);
        let service =
            Arc::new(Service { stream, incarnation, keys: Box::new(Keys::none), capture: fails, clients });
        for _ in 0..=MOST_CLIENTS {
            let turn = Turn::take(&service);
            assert!(!turn.is_one_too_many());
            assert!(catch_unwind(AssertUnwindSafe(move || (turn.0.capture)())).is_err());
        }
        let turns: Vec<_> = (0..MOST_CLIENTS).map(|_| Turn::take(&service)).collect();
        assert!(!turns.iter().any(Turn::is_one_too_many) && Turn::take(&service).is_one_too_many());
    }
}
