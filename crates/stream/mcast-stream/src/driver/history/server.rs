//! The server of a history.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

use mcast::InterfaceIndex;

use super::MOST_FRAMES;
use super::subscription::Announcer;
use crate::driver::clock;
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::side_channel::{
    Channel, Client, FIRST_ANSWER, REQUEST_TIME, Refusals, RefusedRequest, Service, SideServer, StepDeadline,
    TIMEOUT,
};
use crate::history::{
    AnswerFrame, AnswerStatus, FrameWriter, HISTORY_REQUEST, HistoryContent, HistoryRecord, HistoryRequest,
    Position, Requested, RequestedStart,
};
use crate::seal::Keys;
use crate::side_channel::{Admission, SharedPace};
use crate::wire::{Incarnation, MessageNumber, StreamId};

/// How long a client may wait until its next request.
const IDLE: Duration = Duration::from_secs(60);
/// The most records to read at once: at first few, so that the answer begins soon.
const FIRST_RECORDS: usize = 256;
const RECORDS: usize = 4_096;
/// How many times records are read in advance, while the former ones are sent.
const READ_AHEAD: usize = 1;

/// The lowest rate in bytes per second: about one frame for each of the clients that are served at a time.
const LEAST_RATE: u64 = 1_000_000;

/// Why records cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryUnavailable {
    /// They cannot be read at present, for this reason.
    #[error("{0}")]
    Unreadable(String),
    /// They belong to another stream, or to none.
    #[error("the history is that of another stream")]
    OtherStream,
}

/// Reads the records of a stream for one client. After an error, it is not used again.
pub trait HistorySource: Send {
    /// Returns the position to start at; `None` if there is no record there or later.
    ///
    /// # Errors
    /// If the records cannot be read.
    fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable>;

    /// Returns at most `count` records, in order, starting with the one that accounts for this position, or the next
    /// one. They may be fewer, but there is one if there are any.
    ///
    /// # Errors
    /// If the records cannot be read.
    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable>;
}

/// A state of the application, and the messages that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It covers all messages before this one.
    pub message: MessageNumber,
    /// The state.
    pub bytes: Vec<u8>,
}

/// Opens the records of a stream for each client of a [`HistoryServer`].
pub trait HistoryProvider: Send + Sync {
    /// Opens them.
    ///
    /// # Errors
    /// If the records cannot be read.
    fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable>;

    /// Captures a snapshot of the state of this incarnation; `None` if there is none at present. By default, there is never one.
    fn snapshot(&self, _incarnation: Incarnation) -> Option<Snapshot> {
        None
    }
}

/// The address of a [`HistoryServer`] that does not serve yet.
#[derive(Debug)]
pub struct HistoryListener {
    listener: TcpListener,
    address: SocketAddr,
    rate: NonZeroU64,
}

mcast_metrics::figures! {
    /// What a [`HistoryServer`] has done.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct HistoryServerStatistics {
        /// Requests for the history.
        count requests: u64,
        /// Records of the history sent.
        count records: u64,
        /// Bytes of the history sent.
        count bytes: u64,
        /// Requests that were sent away for some time, because others were served first.
        count postponed: u64,
        /// Requests that were refused: malformed ones, those of clients without the keys, and those for what is not here or
        /// cannot be read.
        count refused: u64,
    }
}

#[derive(Debug, Default)]
pub(in crate::driver) struct Counts {
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    postponed: AtomicU64,
    pub(in crate::driver) refusals: Refusals,
}

#[cfg(test)]
impl Counts {
    pub(in crate::driver) fn postponed(&self) -> u64 {
        self.postponed.load(Ordering::Relaxed)
    }
}

/// Returns the current keys of the stream, which may change while the server runs.
pub(in crate::driver) type KeysNow = Box<dyn Fn() -> Keys + Send + Sync>;

/// Starts a server, on threads with this name.
pub(in crate::driver) fn start(
    listener: TcpListener,
    thread: &'static str,
    rate: NonZeroU64,
    stream: StreamId,
    keys: KeysNow,
    provider: Box<dyn HistoryProvider>,
) -> io::Result<(SideServer, Arc<Counts>)> {
    let counts = Arc::<Counts>::default();
    let service = HistoryService { stream, keys, counts: Arc::clone(&counts), provider };
    Ok((SideServer::start(listener, thread, rate, service)?, counts))
}

/// Serves the history of a stream until it is dropped: what a bridge stores in an engine, for instance. Subscribers
/// start [in the past](crate::SubscriberBuilder::history_from) with it, and [heal](crate::SubscriberBuilder::heal) losses.
#[derive(Debug)]
pub struct HistoryServer {
    stream: StreamId,
    keys: Arc<Mutex<Keys>>,
    counts: Arc<Counts>,
    server: SideServer,
    announcer: Option<Announcer>,
    /// Hides it from the subscribers of the publisher that serves it.
    _shown: Option<Withdrawal>,
}

/// Withdraws an announcement when it is dropped.
pub(in crate::driver) struct Withdrawal(Box<dyn Fn() + Send + Sync>);

impl Withdrawal {
    pub(in crate::driver) fn new(withdraw: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(withdraw))
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withdrawal")
    }
}

struct HistoryService {
    stream: StreamId,
    keys: KeysNow,
    counts: Arc<Counts>,
    provider: Box<dyn HistoryProvider>,
}

impl HistoryListener {
    /// Listens at this address. With port 0, the system selects one.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(at: SocketAddr) -> Result<Self, StreamError> {
        let listener = TcpListener::bind(at).map_err(StreamStep::ServeHistory(at).failed())?;
        let address = listener.local_addr().map_err(StreamStep::ServeHistory(at).failed())?;
        Ok(Self { listener, address, rate: SharedPace::RATE })
    }

    /// Sets the rate at which it sends to all clients together, in bytes per second. Default: 64 MB. With messages of more
    /// than 64 KiB, it should send four of the longest per second: clients give up when they get none for five seconds.
    ///
    /// # Errors
    /// If it is less than 1 MB: 16 clients at a time have to get something.
    pub fn rate(self, bytes_per_second: u64) -> Result<Self, StreamError> {
        let rate = NonZeroU64::new(bytes_per_second).filter(|rate| rate.get() >= LEAST_RATE);
        Ok(Self { rate: rate.ok_or(StreamError::HistoryRate(bytes_per_second))?, ..self })
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the history of this stream. With keys, everything is sealed.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn serve(
        self,
        stream: StreamId,
        keys: Keys,
        provider: Box<dyn HistoryProvider>,
    ) -> Result<HistoryServer, StreamError> {
        let keys = Arc::new(Mutex::new(keys));
        let now = Arc::clone(&keys);
        let now: KeysNow = Box::new(move || now.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let started = start(self.listener, "mcast-history", self.rate, stream, now, provider);
        let (server, counts) = started.map_err(StreamStep::StartThread.failed())?;
        Ok(HistoryServer { stream, keys, counts, server, announcer: None, _shown: None })
    }
}

impl HistoryServer {
    /// Returns the address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the stream whose history it serves.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Sets what ends that a publisher shows the server, when it is dropped.
    #[cfg(feature = "log")]
    pub(in crate::driver) fn shown(self, withdraw: impl Fn() + Send + Sync + 'static) -> Self {
        Self { _shown: Some(Withdrawal::new(withdraw)), ..self }
    }

    /// Announces the server on these interfaces, for subscribers of this network: once per second, and when one searches
    /// it.
    ///
    /// # Errors
    /// If the announcements cannot be sent.
    pub fn announce(&mut self, on: &[InterfaceIndex]) -> Result<(), StreamError> {
        let keys = Arc::clone(&self.keys);
        self.announcer = Some(Announcer::start(self.stream, self.address(), keys, on)?);
        Ok(())
    }

    /// Whether a client reads, or was sent away and is expected back. A connection on which no request arrives ends after a
    /// minute.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.server.is_in_use()
    }

    /// Returns what it has done.
    #[must_use]
    pub fn statistics(&self) -> HistoryServerStatistics {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { requests, records, bytes, postponed, refusals } = &*self.counts;
        HistoryServerStatistics {
            requests: count(requests),
            records: count(records),
            bytes: count(bytes),
            postponed: count(postponed),
            refused: refusals.count(),
        }
    }

    /// Returns the next request that was refused, of the latest 64 that were not returned yet.
    #[must_use]
    pub fn take_refused(&self) -> Option<RefusedRequest> {
        self.counts.refusals.take()
    }

    /// Replaces the secrets of a sealed stream, for clients that connect from now on.
    pub fn set_keys(&self, keys: Keys) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl Service for HistoryService {
    fn serve(&self, connection: TcpStream, client: &Client, is_running: &dyn Fn() -> bool) -> io::Result<()> {
        let address = connection.peer_addr()?;
        let served = self.serve_client(connection, address, client, is_running);
        if let Err(error) = &served
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.counts.refusals.refuse(address, error.to_string());
        }
        served
    }
}

enum Failure {
    Connection(io::Error),
    Source(HistoryUnavailable),
}

impl From<HistoryUnavailable> for Failure {
    fn from(error: HistoryUnavailable) -> Self {
        Self::Source(error)
    }
}

impl HistoryService {
    fn serve_client(
        &self,
        connection: TcpStream,
        address: SocketAddr,
        client: &Client,
        is_running: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let keys = (self.keys)();
        let deadline = StepDeadline::for_all_steps(REQUEST_TIME, is_running);
        let mut channel = Channel::new(connection, deadline)?;
        channel.greet(clock::seed(), keys.latest())?;
        channel.seal_with(&keys, keys.latest(), self.stream)?;
        let (counts, frame) = (&*self.counts, FrameWriter::default());
        let mut answer = Answer { channel, client, counts, next: FIRST_ANSWER, frame };
        let mut source = None;
        for number in 1..MOST_FRAMES {
            let request = answer.channel.receive(number, HISTORY_REQUEST)?;
            let request = HistoryRequest::read(&request)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the request is malformed"))?;
            self.counts.requests.fetch_add(1, Ordering::Relaxed);
            answer.channel.restart_for_each_step(TIMEOUT);
            if let Admission::Retry(wait) = client.request() {
                self.counts.postponed.fetch_add(1, Ordering::Relaxed);
                return answer.send(&AnswerFrame::later(wait));
            }
            match self.answer(&request, &mut source, &mut answer) {
                Ok(status) => {
                    answer.end(status, "")?;
                    client.answered(status == AnswerStatus::Edge);
                }
                Err(Failure::Connection(error)) => return Err(error),
                Err(Failure::Source(error)) => {
                    let status = match error {
                        HistoryUnavailable::OtherStream => AnswerStatus::OtherStream,
                        HistoryUnavailable::Unreadable(_) => AnswerStatus::Unavailable,
                    };
                    self.counts.refusals.refuse(address, error.to_string());
                    answer.end(status, &error.to_string())?;
                    client.answered(true);
                    source = None;
                }
            }
            answer.channel.restart_for_each_step(IDLE);
        }
        Ok(())
    }

    /// Sends the records of an answer; returns how it ends.
    fn answer(
        &self,
        request: &HistoryRequest,
        source: &mut Option<Box<dyn HistorySource>>,
        answer: &mut Answer<'_, '_>,
    ) -> Result<AnswerStatus, Failure> {
        if request.stream != self.stream {
            return Err(HistoryUnavailable::OtherStream.into());
        }
        let (count, start) = match request.wanted {
            Requested::Records { count, start } => (count, start),
            Requested::Snapshot(wanted) => return self.snapshot(wanted, answer),
        };
        let source = match source {
            Some(source) => source,
            None => source.insert(self.provider.open(self.stream)?),
        };
        let from = match start {
            RequestedStart::At(position) => Some(position),
            other => source.locate(other)?,
        };
        let (chunks, received) = sync_channel(READ_AHEAD);
        // The next records are read while the former ones are sent.
        thread::scope(|scope| {
            let read = || read_records(&mut **source, from, count, chunks);
            let reader = thread::Builder::new().name("mcast-reader".to_owned()).spawn_scoped(scope, read);
            let reader = reader.map_err(Failure::Connection)?;
            let extent = answer.records(received).map_err(Failure::Connection)?;
            let ended = || HistoryUnavailable::Unreadable("the thread that reads it has ended".into());
            let status = reader.join().map_err(|_| ended())??;
            Ok(match extent {
                Extent::Everything => status,
                Extent::TurnIsOver => AnswerStatus::More,
            })
        })
    }
}

impl HistoryService {
    /// Sends a snapshot, all of it: a client that got a part would have nothing.
    fn snapshot(&self, wanted: Position, answer: &mut Answer<'_, '_>) -> Result<AnswerStatus, Failure> {
        let Some(snapshot) = self.provider.snapshot(wanted.incarnation) else {
            return Err(HistoryUnavailable::Unreadable("the publisher has none at present".into()).into());
        };
        let position = Position { number: snapshot.message, ..wanted };
        for frame in AnswerFrame::snapshot(position, &snapshot.bytes) {
            answer.send(&frame).map_err(Failure::Connection)?;
        }
        Ok(AnswerStatus::Edge)
    }
}

type Chunk = Vec<HistoryRecord<Arc<[u8]>>>;

/// Reads records from this position on, and passes them on; returns how the answer ends.
fn read_records(
    source: &mut dyn HistorySource,
    mut from: Option<Position>,
    count: u32,
    chunks: SyncSender<Chunk>,
) -> Result<AnswerStatus, HistoryUnavailable> {
    let (mut left, mut most) = (count as usize, FIRST_RECORDS);
    while let Some(at) = from.filter(|_| left > 0) {
        let records = source.read(at, left.min(most))?;
        most = (4 * most).min(RECORDS);
        left = left.saturating_sub(records.len());
        from = records.last().map(|last| match last.content {
            // The end is a record of its own, with a position of its own.
            HistoryContent::End | HistoryContent::OpenGap { .. } => last.first.following(),
            _ => last.end(),
        });
        if chunks.send(records).is_err() {
            // The connection has failed.
            break;
        }
    }
    Ok(if from.is_some() { AnswerStatus::More } else { AnswerStatus::Edge })
}

/// How many of the records that were read were sent.
enum Extent {
    Everything,
    TurnIsOver,
}

/// The frames to a client.
struct Answer<'a, 'p> {
    channel: Channel<'a>,
    client: &'p Client,
    counts: &'p Counts,
    next: u64,
    frame: FrameWriter,
}

impl Answer<'_, '_> {
    /// Sends records until there are no more, or the client's turn is over. While none are there, nothing is held back.
    fn records(&mut self, chunks: Receiver<Chunk>) -> io::Result<Extent> {
        loop {
            let chunk = match chunks.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.flush()?;
                    chunks.recv()
                }
                Err(TryRecvError::Disconnected) => Err(RecvError),
                Ok(chunk) => Ok(chunk),
            };
            let Ok(chunk) = chunk else {
                self.flush()?;
                return Ok(Extent::Everything);
            };
            for record in &chunk {
                let frames = self.next;
                self.push(record)?;
                self.counts.records.fetch_add(1, Ordering::Relaxed);
                if self.next != frames && self.client.is_over() {
                    return Ok(Extent::TurnIsOver);
                }
            }
        }
    }

    fn push(&mut self, record: &HistoryRecord<Arc<[u8]>>) -> io::Result<()> {
        if !self.frame.push(record) {
            self.flush()?;
            // It fits into an empty frame.
            let _ = self.frame.push(record);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.frame.take() {
            Some(frame) => self.send(&frame),
            None => Ok(()),
        }
    }

    fn end(&mut self, status: AnswerStatus, text: &str) -> io::Result<()> {
        // The records that were read before an error are sent as well.
        self.flush()?;
        self.send(&AnswerFrame::end(status, text))
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.next >= FIRST_ANSWER + MOST_FRAMES {
            // The client connects again, and gets other keys.
            return Err(io::Error::other("the connection has sent as much as one key may seal"));
        }
        let client = self.client;
        self.channel.send_in_pieces(self.next, frame, client.piece(), |length| client.sent(length))?;
        self.next += 1;
        self.counts.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
