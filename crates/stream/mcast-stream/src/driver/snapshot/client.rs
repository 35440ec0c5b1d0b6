//! Fetches snapshots: in one call, or on a thread of its own while the stream is being received.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mcast::Family;

use super::Snapshot;
use crate::Subscriber;
use crate::driver::clock;
use crate::driver::discovery::{AnnouncedStream, Announcements};
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::side_channel::{
    CHECK_INTERVAL, Channel, FIRST_ANSWER, StepDeadline, TIMEOUT, connect, invalid,
};
use crate::history::{
    AnswerFrame, AnswerStatus, HistoryRequest, MAX_SNAPSHOT_FRAME, Position, Requested, SnapshotError,
    SnapshotParts,
};
use crate::seal::Keys;
use crate::subscriber::SubscriberEvent;
use crate::wire::{Incarnation, MessageNumber, StreamId};

/// The default limit of a snapshot's size, in bytes: 64 MiB. For a stream in clear, any host can announce snapshots of
/// any size.
pub const MAX_SNAPSHOT: u64 = 64 << 20;

/// How long to wait for an announcement from the host that serves the snapshots, before any other one is accepted.
/// Announcements are sent once per second.
const PREFERRED: Duration = Duration::from_millis(1_200);

/// For how long a client is sent away again and again before it gives up: a turn ends after 10 s if others wait.
const LONGEST_AWAY: Duration = Duration::from_secs(60);
/// When a client comes back whose address has too many connections: the others are replaced when they are idle.
const REFUSED_WAIT: Duration = Duration::from_millis(500);
/// What a client makes of the time that a server names, at least and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// Fetches a snapshot of at most [`MAX_SNAPSHOT`] bytes that covers all messages before `message`, or more. It blocks;
/// to cancel it, or to accept larger ones, use [`fetch_snapshot_while`].
///
/// # Errors
/// If the connection fails, the server serves another stream, has other keys, makes no progress for ten seconds or serves
/// others first for a minute, or the snapshot is too old or too large.
pub fn fetch_snapshot(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: MessageNumber,
) -> Result<Snapshot, StreamError> {
    fetch_snapshot_while(from, stream, incarnation, keys, message, MAX_SNAPSHOT, &mut || true)
}

/// Fetches a snapshot of at most `max_size` bytes for as long as `keep_going` returns `true`. It is called on this
/// thread, about twenty times per second.
///
/// # Errors
/// As [`fetch_snapshot`], and if `keep_going` returned `false`.
pub fn fetch_snapshot_while(
    from: SocketAddr,
    stream: StreamId,
    incarnation: Incarnation,
    keys: &Keys,
    message: MessageNumber,
    max_size: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Snapshot, StreamError> {
    let wanted = Position::new(incarnation, message);
    let begun = Instant::now();
    loop {
        let mut deadline = StepDeadline::new(TIMEOUT, &mut *keep_going);
        let connection = connect(from, &mut deadline).map_err(explain)?;
        let mut channel = Channel::new(connection, deadline).map_err(explain)?;
        let wait = match channel.receive_greeting(clock::seed()) {
            // The server refuses it before that.
            Err(error) if is_closed(&error) => REFUSED_WAIT,
            epoch => {
                channel.seal_with(keys, epoch.map_err(explain)?, stream).map_err(explain)?;
                match receive(&mut channel, stream, wanted, max_size)? {
                    Answer::Snapshot(snapshot) => return Ok(snapshot),
                    // A random part keeps clients apart that were sent away together.
                    Answer::Retry(wait) => wait.clamp(WAITS.0, WAITS.1).mul_f64(1.0 + random() / 8.0),
                }
            }
        };
        drop(channel);
        if begun.elapsed() + wait > LONGEST_AWAY {
            return Err(explain(io::Error::new(io::ErrorKind::TimedOut, "the server serves others first")));
        }
        pause(wait, keep_going).map_err(explain)?;
    }
}

enum Answer {
    Snapshot(Snapshot),
    /// Others are served first: when to come back.
    Retry(Duration),
}

/// Requests the snapshot, and receives the answer.
fn receive(
    channel: &mut Channel<'_>,
    stream: StreamId,
    wanted: Position,
    max_size: u64,
) -> Result<Answer, StreamError> {
    let request = HistoryRequest { stream, wanted: Requested::Snapshot(wanted) };
    channel.send(1, &request.bytes()).map_err(explain)?;
    let refused = |error| match error {
        SnapshotError::TooLarge(size) => StreamError::SnapshotTooLarge { size, limit: max_size },
        other => explain(io::Error::new(io::ErrorKind::InvalidData, other)),
    };
    let mut parts = SnapshotParts::new(wanted, max_size);
    for count in FIRST_ANSWER.. {
        let frame = channel.receive(count, MAX_SNAPSHOT_FRAME).map_err(explain)?;
        match AnswerFrame::read(&frame) {
            Ok(AnswerFrame::Snapshot { position, size, bytes }) => {
                parts.handle_part(position, size, bytes).map_err(refused)?;
            }
            Ok(AnswerFrame::Retry { wait }) => return Ok(Answer::Retry(wait)),
            Ok(AnswerFrame::End { status: AnswerStatus::Edge, .. }) => break,
            Ok(AnswerFrame::End { text, .. }) => return Err(explain(io::Error::other(text.to_owned()))),
            Ok(AnswerFrame::Records) | Err(_) => return Err(explain(invalid("the answer is malformed"))),
        }
    }
    let (message, bytes) = parts.finish().map_err(refused)?;
    Ok(Answer::Snapshot(Snapshot { message, bytes }))
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Returns a number from 0 to 1.
fn random() -> f64 {
    (clock::seed() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Waits for this time, unless the caller gives up.
fn pause(time: Duration, keep_going: &mut dyn FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + time;
    let mut deadline = StepDeadline::new(time + CHECK_INTERVAL, keep_going);
    while let left = end.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        deadline.check()?;
        std::thread::sleep(left.min(CHECK_INTERVAL));
    }
    Ok(())
}

fn explain(error: io::Error) -> StreamError {
    StreamStep::FetchSnapshot.failed()(match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the publisher closed the connection"),
        _ => error,
    })
}

impl AnnouncedStream {
    /// Fetches a snapshot of this incarnation that covers all messages before `message`, or more, and has at most
    /// [`MAX_SNAPSHOT`] bytes, from the address that the publisher announces. Waits for at most `time` for such an
    /// announcement or for a newer snapshot; a server that serves others first is waited for, for up to a minute.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub fn fetch_snapshot(
        &self,
        incarnation: Incarnation,
        message: MessageNumber,
        keys: &Keys,
        time: Duration,
    ) -> Result<Snapshot, StreamError> {
        self.fetch_snapshot_while(incarnation, message, keys, MAX_SNAPSHOT, time, &mut || true)
    }

    /// Fetches a snapshot of at most `max_size` bytes for as long as `keep_going` returns `true`. It is called on this
    /// thread, about twenty times per second. An address that has failed is not tried again while others are announced.
    ///
    /// # Errors
    /// The error of the last attempt, or that the caller gave up.
    pub fn fetch_snapshot_while(
        &self,
        incarnation: Incarnation,
        message: MessageNumber,
        keys: &Keys,
        max_size: u64,
        time: Duration,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Snapshot, StreamError> {
        let deadline = Instant::now().checked_add(time);
        let stream = self.stream;
        let mut found = Some(self.clone());
        let mut failed = Vec::new();
        let mut error = explain(io::Error::new(io::ErrorKind::NotFound, "the publisher announces none"));
        while let Some(announced) = found {
            let is_it = announced.stream == stream && announced.incarnation == incarnation;
            if let Some(from) = announced.snapshot.filter(|_| is_it) {
                match fetch_snapshot_while(from, stream, incarnation, keys, message, max_size, keep_going) {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(why) => error = why,
                }
                failed.push(from);
            }
            found = next_announcement(self, keys, &failed, deadline, keep_going);
        }
        Err(error)
    }
}

/// Waits for another announcement. Any host can announce a stream in clear. An announcement from the host that serves
/// its snapshots is therefore preferred, with an address that has not failed.
///
/// Announcements are sent once per second, so servers are not asked more often.
fn next_announcement(
    stream: &AnnouncedStream,
    keys: &Keys,
    failed: &[SocketAddr],
    deadline: Option<Instant>,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<AnnouncedStream> {
    let interface = stream.paths.first().and_then(|path| path.interface.clone());
    let family = Family::of(stream.source.ip());
    let mut announcements = Announcements::join(family, interface, keys.clone()).ok()?;
    let (begun, mut second_best) = (Instant::now(), None);
    while keep_going() {
        let left = deadline.map_or(CHECK_INTERVAL, |deadline| {
            deadline.saturating_duration_since(Instant::now()).min(CHECK_INTERVAL)
        });
        let announced = announcements.next_timeout(left).ok()?;
        if let Some(found) = announced.filter(|found| found.name == stream.name) {
            let is_new = found.snapshot.is_none_or(|from| !failed.contains(&from));
            let is_its_host = found.snapshot.is_some_and(|from| from.ip() == found.source.ip());
            if is_new && is_its_host {
                return Some(found);
            }
            // An address that failed is the last resort: its publisher may have been busy.
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

/// The time limit for fetching a snapshot.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches the snapshots that a [`Subscriber`] wants on a separate thread, while the stream is being received.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::seal::Keys;
/// use mcast_stream::subscriber::{Item, Start};
/// use mcast_stream::{SnapshotFetcher, StreamError, find_stream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = find_stream("prices", None, None, &Keys::none(), Duration::from_secs(10))?;
/// let mut subscriber = stream.subscriber()?.start(Start::Snapshot).build()?;
/// let mut fetcher = SnapshotFetcher::new(stream, Keys::none());
/// while !subscriber.has_ended() {
///     if let Some(snapshot) = fetcher.fetched() {
///         let snapshot = snapshot?;
///         println!("a state of {} bytes", snapshot.bytes.len());
///         subscriber.resume(snapshot.message);
///     }
///     let event = match subscriber.next() {
///         Ok(Some(Item::Event(event))) => event,
///         Ok(Some(Item::Message(message))) => {
///             println!("{} bytes", message.bytes.len());
///             continue;
///         }
///         // The fetcher wakes the subscriber when the snapshot has arrived.
///         Ok(None) | Err(StreamError::Woken) => continue,
///         Err(error) => return Err(error.into()),
///     };
///     fetcher.handle(&event, &subscriber)?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SnapshotFetcher {
    stream: AnnouncedStream,
    keys: Keys,
    max_size: u64,
    incarnation: Option<Incarnation>,
    pending: Option<Receiver<Result<Snapshot, StreamError>>>,
}

impl SnapshotFetcher {
    /// Returns a fetcher of snapshots of this stream, of at most [`MAX_SNAPSHOT`] bytes.
    #[must_use]
    pub const fn new(stream: AnnouncedStream, keys: Keys) -> Self {
        Self { stream, keys, max_size: MAX_SNAPSHOT, incarnation: None, pending: None }
    }

    /// Sets the size of the largest snapshot to accept, in bytes.
    #[must_use]
    pub fn max_size(self, bytes: u64) -> Self {
        Self { max_size: bytes, ..self }
    }

    /// Replaces the secrets of a sealed stream.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Handles an event of the subscriber: starts to fetch a snapshot if the subscriber wants one. It replaces an
    /// earlier request.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn handle(&mut self, event: &SubscriberEvent, subscriber: &Subscriber) -> Result<(), StreamError> {
        match (event, self.incarnation) {
            (SubscriberEvent::Joined { incarnation, .. }, _) => self.incarnation = Some(*incarnation),
            (SubscriberEvent::SnapshotWanted { message }, Some(incarnation)) => {
                return self.fetch(incarnation, *message, subscriber);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the result of the latest request, once.
    pub fn fetched(&mut self) -> Option<Result<Snapshot, StreamError>> {
        let result = self.pending.as_ref()?.try_recv().ok()?;
        self.pending = None;
        Some(result)
    }

    fn fetch(
        &mut self,
        incarnation: Incarnation,
        message: MessageNumber,
        subscriber: &Subscriber,
    ) -> Result<(), StreamError> {
        let (sender, pending) = channel();
        let (stream, keys, max_size) = (self.stream.clone(), self.keys.clone(), self.max_size);
        let waker = subscriber.waker();
        let work = move || {
            let mut keep_trying = || true;
            let fetched = stream.fetch_snapshot_while(
                incarnation,
                message,
                &keys,
                max_size,
                FETCH_TIMEOUT,
                &mut keep_trying,
            );
            // It fails if the request was replaced.
            let _ = sender.send(fetched);
            let _ = waker.wake();
        };
        let thread = std::thread::Builder::new().name("mcast-snapshot".to_owned()).spawn(work);
        thread.map_err(StreamStep::StartThread.failed())?;
        self.pending = Some(pending);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// Starts a server that accepts one connection and does this with it.
    fn server(does: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (address, std::thread::spawn(move || does(listener.accept().unwrap().0)))
    }

    /// Fetches until `keep_going` was called this often; returns the error.
    fn fetch_until_asked(from: SocketAddr, times: u32) -> String {
        let (mut asked, began) = (0, Instant::now());
        let mut keep_going = || {
            asked += 1;
            asked < times
        };
        let keys = Keys::none();
        let fetched = fetch_snapshot_while(
            from,
            StreamId(1),
            Incarnation(1),
            &keys,
            MessageNumber(0),
            1 << 32,
            &mut keep_going,
        );
        assert!(began.elapsed() < SOON && asked == times, "asked {asked} times");
        fetched.unwrap_err().to_string()
    }

    #[test]
    fn the_caller_may_give_up_a_silent_server() {
        let (address, server) = server(|connection| {
            let _ = std::io::copy(&mut &connection, &mut std::io::sink());
        });
        assert_eq!(fetch_until_asked(address, 3), "cannot fetch the snapshot: the caller gave up");
        server.join().unwrap();
    }

    #[test]
    fn the_caller_may_give_up_a_server_that_sends_without_end() {
        let (address, server) = server(|mut connection| {
            connection.write_all(b"MCH1\0\0\0\0\0\0\0\0\0\0").unwrap();
            // One byte per frame, of 4 GiB.
            let head =
                [&[0, 0, 0, 25, 4, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8], &[0, 0, 0, 1, 0, 0, 0, 0, 7]].concat();
            let frames = head.repeat(1_000);
            while connection.write_all(&frames).is_ok() {}
        });
        assert_eq!(fetch_until_asked(address, 3), "cannot fetch the snapshot: the caller gave up");
        server.join().unwrap();
    }

    #[test]
    fn single_bytes_do_not_extend_the_time_limit() {
        let (address, server) = server(|mut connection| {
            while connection.write_all(b"M").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let (limit, began, mut keep_going) = (Duration::from_millis(100), Instant::now(), || true);
        let connection = TcpStream::connect(address).unwrap();
        let mut channel = Channel::new(connection, StepDeadline::new(limit, &mut keep_going)).unwrap();
        let greeting = channel.receive_greeting(1);
        assert_eq!(greeting.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((limit..SOON).contains(&began.elapsed()));
        drop(channel);
        server.join().unwrap();
    }
}
