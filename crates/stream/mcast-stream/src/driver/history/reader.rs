//! The client of history servers, on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::MOST_FRAMES;
use crate::driver::clock;
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::side_channel::{Channel, FIRST_ANSWER, StepDeadline, TIMEOUT, connect, invalid};
use crate::history::{AnswerFrame, AnswerStatus, HistoryQuery, HistoryRequest, MAX_HISTORY_FRAME, Requested};
use crate::seal::Keys;
use crate::wire::{StreamId, WireError};

/// Each time the same server has sent this client away this often, the other servers that were named are asked too.
const POSTPONEMENTS: u32 = 4;
/// Frames that wait for the subscriber.
const QUEUE: usize = 4;
/// The bytes of a frame with one message, without the message.
const FRAME_OVERHEAD: usize = 64;

/// A request, the stream, and its keys.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) query: HistoryQuery,
    pub(super) stream: StreamId,
    pub(super) keys: Keys,
}

/// What the thread reports about a request.
#[derive(Debug)]
pub(super) enum Report {
    /// A frame, from this server.
    Frame(u64, SocketAddr, Vec<u8>),
    /// There is no answer, or no complete one.
    Failed(u64, String),
}

impl Report {
    pub(super) const fn id(&self) -> u64 {
        match self {
            Self::Frame(id, ..) | Self::Failed(id, _) => *id,
        }
    }
}

/// Where servers are, and what to accept of them.
#[derive(Clone, Debug)]
pub(super) struct ReaderConfig {
    /// The servers that were named, for requests that name none.
    pub(super) servers: Vec<SocketAddr>,
    pub(super) longest_message: usize,
}

/// The thread.
#[derive(Debug)]
pub(super) struct HistoryReader {
    /// `None`: the connection is not needed at present.
    jobs: Sender<Option<Job>>,
    reports: Receiver<Report>,
    /// The request that is under way; the thread gives up any other one.
    current: Arc<AtomicU64>,
    /// The bytes that have arrived.
    received: Arc<AtomicU64>,
}

impl HistoryReader {
    pub(super) fn start(config: ReaderConfig) -> Result<Self, StreamError> {
        let ((jobs, incoming), (outgoing, reports)) = (channel(), sync_channel(QUEUE));
        let (current, active) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (wanted, received) = (Arc::clone(&current), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&received);
        let work = move || {
            let (jobs, reports) = (incoming, outgoing);
            let (session, preferred) = (None, None);
            let (current, received) = (wanted, counted);
            let worker = Worker { config, jobs, reports, current, active, received, session, preferred };
            worker.run();
        };
        let thread = std::thread::Builder::new().name("mcast-past".to_owned()).spawn(work);
        thread.map_err(StreamStep::StartThread.failed())?;
        Ok(Self { jobs, reports, current, received })
    }

    pub(super) fn ask(&self, job: Job) {
        self.set_current(Some(job.query.id));
        // It fails if the thread has panicked; then there is no answer.
        let _ = self.jobs.send(Some(job));
    }

    /// Closes the connection, so that the server has room for others.
    pub(super) fn rest(&self) {
        self.set_current(None);
        let _ = self.jobs.send(None);
    }

    /// Gives up every other request than this one.
    pub(super) fn set_current(&self, id: Option<u64>) {
        self.current.store(id.unwrap_or(0), Ordering::Release);
    }

    /// Returns how many bytes have arrived in all.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(super) fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

impl Drop for HistoryReader {
    fn drop(&mut self) {
        self.set_current(None);
    }
}

struct Worker {
    config: ReaderConfig,
    jobs: Receiver<Option<Job>>,
    reports: SyncSender<Report>,
    current: Arc<AtomicU64>,
    /// The request that the thread works on.
    active: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    session: Option<Session>,
    /// The server to ask next.
    preferred: Option<Preferred>,
}

/// A server that is asked before others.
#[derive(Clone, Copy)]
struct Preferred {
    server: SocketAddr,
    /// For how long it has sent this client away, and how often in a row.
    wait: Duration,
    postponements: u32,
}

/// A connection to a server.
struct Session {
    channel: Channel<'static>,
    server: SocketAddr,
    requests: u64,
    frames: u64,
}

/// How a request was answered.
enum Answer {
    Complete,
    /// Others are served first: the time to come back, and the frame, which is not reported yet.
    Retry(Duration, Vec<u8>),
}

/// Why a request failed.
struct Failure {
    error: io::Error,
    /// Whether the server had begun to answer, so that the rest has to be requested again.
    has_begun: bool,
}

fn unusable(server: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the history server {server} has closed the connection"),
        _ => format!("the history server {server} cannot be used: {error}"),
    }
}

impl Worker {
    fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let Some(job) = job else {
                // The server is known for the next time.
                let server = self.session.take().map(|session| session.server);
                self.preferred =
                    server.map(|server| Preferred { server, wait: Duration::ZERO, postponements: 0 });
                continue;
            };
            let id = job.query.id;
            self.active.store(id, Ordering::Release);
            if !self.is_wanted() {
                continue;
            }
            if let Err(why) = self.answer(&job)
                && self.reports.send(Report::Failed(id, why)).is_err()
            {
                return;
            }
        }
    }

    /// Whether the request is not replaced.
    fn is_wanted(&self) -> bool {
        self.current.load(Ordering::Acquire) == self.active.load(Ordering::Acquire)
    }

    fn answer(&mut self, job: &Job) -> Result<(), String> {
        let is_meant = |session: &Session| job.query.server.is_none_or(|server| server == session.server);
        if let Some(mut session) = self.session.take().filter(is_meant) {
            match self.ask(&mut session, job) {
                Ok(asked) => return self.keep(session, asked, job),
                Err(failure) if failure.has_begun => {
                    return Err(unusable(session.server, &failure.error));
                }
                Err(failure) if !self.is_wanted() => {
                    return Err(unusable(session.server, &failure.error));
                }
                // The server has closed it meanwhile.
                Err(_) => {}
            }
        }
        let servers = match (job.query.server, self.preferred) {
            (Some(server), _) => vec![server],
            (None, Some(preferred)) => self.others(preferred).chain([preferred.server]).collect(),
            (None, None) => self.config.servers.clone(),
        };
        let mut last = String::new();
        for server in servers {
            let asked = self.connect(server, job).map_err(|error| Failure { error, has_begun: false });
            match asked.and_then(|mut session| self.ask(&mut session, job).map(|asked| (session, asked))) {
                // The preferred one expects it back earlier.
                Ok((session, Answer::Retry(wait, ..)))
                    if job.query.server.is_none() && self.is_worse(session.server, wait) => {}
                Ok((session, asked)) => return self.keep(session, asked, job),
                Err(failure) => {
                    if self.preferred.is_some_and(|preferred| preferred.server == server) {
                        self.preferred = None;
                    }
                    last = unusable(server, &failure.error);
                    if failure.has_begun || !self.is_wanted() {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// Returns the servers to ask before the preferred one. Usually these are none: the preferred one expects it back.
    fn others(&self, preferred: Preferred) -> impl Iterator<Item = SocketAddr> {
        let count = preferred.postponements;
        let are_due = count > 0 && count.is_multiple_of(POSTPONEMENTS);
        let others = self.config.servers.iter().filter(move |server| are_due && **server != preferred.server);
        others.copied()
    }

    /// Whether this server sends the client away for longer than the preferred one.
    fn is_worse(&self, server: SocketAddr, wait: Duration) -> bool {
        self.preferred.is_some_and(|preferred| preferred.server != server && wait > preferred.wait)
    }

    /// Keeps a session for the next request, or remembers the server, and reports that it is to come back.
    fn keep(&mut self, session: Session, answer: Answer, job: &Job) -> Result<(), String> {
        let server = session.server;
        let Answer::Retry(wait, frame) = answer else {
            (self.session, self.preferred) = (Some(session), None);
            return Ok(());
        };
        let known = self.preferred.filter(|preferred| preferred.server == server);
        let postponements = known.map_or(0, |known| known.postponements).saturating_add(1);
        self.preferred = Some(Preferred { server, wait, postponements });
        let gone = |_| "the subscriber is gone".to_owned();
        self.reports.send(Report::Frame(job.query.id, server, frame)).map_err(gone)
    }

    fn connect(&self, server: SocketAddr, job: &Job) -> io::Result<Session> {
        let (current, active) = (Arc::clone(&self.current), Arc::clone(&self.active));
        let is_wanted = move || current.load(Ordering::Acquire) == active.load(Ordering::Acquire);
        let mut deadline = StepDeadline::new(TIMEOUT, is_wanted);
        let mut channel = Channel::new(connect(server, &mut deadline)?, deadline)?;
        channel.count_received(Arc::clone(&self.received));
        let epoch = channel.receive_greeting(clock::seed())?;
        channel.seal_with(&job.keys, epoch, job.stream)?;
        Ok(Session { channel, server, requests: 0, frames: 0 })
    }

    /// Sends the request, and passes the frames of the answer on.
    fn ask(&self, session: &mut Session, job: &Job) -> Result<Answer, Failure> {
        let HistoryQuery { id, start, count, .. } = job.query;
        let before = |error| Failure { error, has_begun: false };
        session.requests += 1;
        if session.requests >= MOST_FRAMES {
            return Err(before(invalid("the connection has no more keys")));
        }
        let request = HistoryRequest { stream: job.stream, wanted: Requested::Records { count, start } };
        session.channel.send(session.requests, &request.bytes()).map_err(before)?;
        let longest = MAX_HISTORY_FRAME.max(self.config.longest_message.saturating_add(FRAME_OVERHEAD));
        let mut has_begun = false;
        loop {
            let frame = session.channel.receive(FIRST_ANSWER + session.frames, longest);
            let frame = frame.map_err(|error| Failure { error, has_begun })?;
            session.frames += 1;
            has_begun = true;
            let malformed = |_| Failure { error: invalid("an answer is malformed"), has_begun: true };
            match AnswerFrame::read(&frame).map_err(malformed)? {
                AnswerFrame::End { status: AnswerStatus::Unavailable | AnswerStatus::OtherStream, text } => {
                    return Err(Failure { error: io::Error::other(text.to_owned()), has_begun: true });
                }
                AnswerFrame::Retry { wait } => return Ok(Answer::Retry(wait, frame)),
                AnswerFrame::Snapshot { .. } => return Err(malformed(WireError::Body)),
                other @ (AnswerFrame::Records | AnswerFrame::End { .. }) => {
                    let answer = matches!(other, AnswerFrame::End { .. }).then_some(Answer::Complete);
                    let gone = |_| Failure { error: invalid("the subscriber is gone"), has_begun: true };
                    self.reports.send(Report::Frame(id, session.server, frame)).map_err(gone)?;
                    if let Some(answer) = answer {
                        return Ok(answer);
                    }
                }
            }
        }
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::driver::history::{HistoryListener, HistoryProvider, HistorySource, HistoryUnavailable};
    use crate::history::{HistoryContent, HistoryRecord, Position, RecordReader, RequestedStart};
    use crate::seal::{Algorithm, GroupSecret};
    use crate::side_channel::AdmissionLimits;
    use crate::wire::{Incarnation, KeyEpoch, MessageNumber};

    const STREAM: StreamId = StreamId(1);
    const MESSAGES: u64 = 10_000;

    struct Numbers;

    impl HistoryProvider for Numbers {
        fn open(&self, _: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
            Ok(Box::new(Self))
        }
    }

    impl HistorySource for Numbers {
        fn locate(&mut self, start: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
            match start {
                RequestedStart::Time(_) => Err(HistoryUnavailable::Unreadable("there are no times".into())),
                _ => Ok(Some(Position::new(Incarnation(7), MessageNumber(0)))),
            }
        }

        fn read(
            &mut self,
            from: Position,
            count: usize,
        ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
            let numbers = (from.number.0..MESSAGES).take(count);
            let record = |number: u64| HistoryRecord {
                first: Position::new(Incarnation(7), MessageNumber(number)),
                content: HistoryContent::Message { key: None, bytes: Arc::from(&number.to_be_bytes()[..]) },
            };
            Ok(numbers.map(record).collect())
        }
    }

    fn secret(byte: u8) -> Keys {
        Keys::one(KeyEpoch(1), GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm))
    }

    fn reader(server: SocketAddr) -> HistoryReader {
        let config = ReaderConfig { servers: vec![server], longest_message: 1_000 };
        HistoryReader::start(config).unwrap()
    }

    fn job(id: u64, start: RequestedStart, keys: &Keys) -> Job {
        let query = HistoryQuery { id, start, count: u32::MAX, server: None };
        Job { query, stream: STREAM, keys: keys.clone() }
    }

    fn next_report(reader: &HistoryReader) -> Report {
        reader.reports.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn records_arrive_in_order_on_one_connection_sealed_or_in_clear() {
        for keys in [Keys::none(), secret(1)] {
            let listener = HistoryListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.address();
            let server = listener.serve(STREAM, keys.clone(), Box::new(Numbers)).unwrap();
            let reader = reader(address);
            for (id, first) in [(1, 0), (2, 9_990)] {
                let from = Position::new(Incarnation(7), MessageNumber(first));
                reader.ask(job(id, RequestedStart::At(from), &keys));
                let mut next = first;
                loop {
                    let Report::Frame(of, _, frame) = next_report(&reader) else { panic!("a frame") };
                    assert_eq!(of, id);
                    let Ok(mut records) = RecordReader::new(&frame) else { break };
                    while let Some(record) = records.next(&frame).unwrap() {
                        let HistoryContent::Message { bytes, .. } = record.content else {
                            panic!("a message")
                        };
                        assert_eq!(record.first.number.0, next);
                        assert_eq!(frame[bytes], next.to_be_bytes());
                        next += 1;
                    }
                }
                assert_eq!(next, MESSAGES);
            }
            reader.ask(job(3, RequestedStart::Time(0), &keys));
            let Report::Failed(3, why) = next_report(&reader) else { panic!("a failure") };
            assert!(why.contains("there are no times"), "{why}");
            drop(server);
        }
    }

    /// Reads nothing until it is released.
    struct Slow(Arc<Mutex<()>>);

    impl HistoryProvider for Slow {
        fn open(&self, stream: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
            drop(self.0.lock().unwrap());
            Numbers.open(stream)
        }
    }

    #[test]
    fn a_client_that_is_sent_away_comes_back_when_others_are_done() {
        let keys = secret(1);
        let listener = HistoryListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let blocked = Arc::new(Mutex::new(()));
        let guard = blocked.lock().unwrap();
        let server = listener.serve(STREAM, keys.clone(), Box::new(Slow(Arc::clone(&blocked)))).unwrap();
        let served: Vec<_> =
            (0..AdmissionLimits::HISTORY.turns_per_address).map(|_| reader(address)).collect();
        served.iter().for_each(|reader| reader.ask(job(1, RequestedStart::Oldest, &keys)));
        let count = served.len() as u64;
        while server.statistics().requests < count {
            std::thread::sleep(Duration::from_millis(5));
        }
        let waiting = reader(address);
        waiting.ask(job(1, RequestedStart::Oldest, &keys));
        let Report::Frame(_, _, frame) = next_report(&waiting) else { panic!("a frame") };
        let Ok(AnswerFrame::Retry { wait }) = AnswerFrame::read(&frame) else { panic!("{frame:?}") };
        drop(guard);
        let is_records = |report| match report {
            Report::Frame(_, _, frame) => AnswerFrame::read(&frame) == Ok(AnswerFrame::Records),
            Report::Failed(..) => false,
        };
        for reader in &served {
            while is_records(next_report(reader)) {}
        }
        std::thread::sleep(wait);
        waiting.ask(job(2, RequestedStart::Oldest, &keys));
        let Report::Frame(2, _, frame) = next_report(&waiting) else { panic!("a frame") };
        assert_eq!(AnswerFrame::read(&frame), Ok(AnswerFrame::Records));
        assert_eq!(server.statistics().postponed, 1);
    }

    /// Sends each client away for this time; returns how many it has sent away.
    fn sends_away(wait: Duration) -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&count);
        // It ends with the process.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                connection.write_all(b"MCH1\0\0\0\0\0\0\0\x01\0\0").unwrap();
                connection.read_exact(&mut [0; 8 + 4 + 28]).unwrap();
                let frame = AnswerFrame::later(wait);
                connection.write_all(&(frame.len() as u32).to_be_bytes()).unwrap();
                connection.write_all(&frame).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        (address, count)
    }

    /// Asks until there are records; returns how often the client was sent away, at most this often; `u64::MAX` if a request fails.
    fn postponements(servers: Vec<SocketAddr>, most: u64) -> u64 {
        let config = ReaderConfig { servers, longest_message: 1_000 };
        let reader = HistoryReader::start(config).unwrap();
        for id in 1..=most {
            reader.ask(job(id, RequestedStart::Oldest, &Keys::none()));
            let Report::Frame(_, _, frame) = next_report(&reader) else { return u64::MAX };
            if AnswerFrame::read(&frame) == Ok(AnswerFrame::Records) {
                return id - 1;
            }
        }
        most
    }

    #[test]
    fn a_client_that_is_sent_away_again_and_again_asks_the_other_servers_too() {
        let listener = HistoryListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let _server = listener.serve(STREAM, Keys::none(), Box::new(Numbers)).unwrap();
        let (busy, _) = sends_away(Duration::ZERO);
        assert_eq!(postponements(vec![busy, address], 20), u64::from(POSTPONEMENTS));
        // It keeps its place with the server that sends it away for a shorter time.
        let ((busy, count), (busier, others)) =
            (sends_away(Duration::ZERO), sends_away(Duration::from_secs(1)));
        assert_eq!(postponements(vec![busy, busier], 9), 9);
        assert_eq!((count.load(Ordering::Relaxed), others.load(Ordering::Relaxed)), (9, 2));
    }

    #[test]
    fn a_client_with_keys_refuses_a_server_that_does_not_seal_and_a_server_a_client_without() {
        let cases = [(Keys::none(), secret(1)), (secret(1), Keys::none()), (secret(1), secret(2))];
        for (of_server, of_client) in cases {
            let listener = HistoryListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.address();
            let _server = listener.serve(STREAM, of_server, Box::new(Numbers)).unwrap();
            let reader = reader(address);
            reader.ask(job(1, RequestedStart::Oldest, &of_client));
            let report = next_report(&reader);
            assert!(matches!(report, Report::Failed(1, _)), "{report:?}");
        }
    }

    #[test]
    fn lengths_and_frames_that_are_not_answers_are_refused() {
        let answers: [&[u8]; 4] = [&[255; 4], &[0, 2, 0, 0], &[0, 0, 0, 1, 9], &[0, 0, 0, 0]];
        for answer in answers {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                connection.write_all(b"MCH1\0\0\0\0\0\0\0\x01\0\0").unwrap();
                connection.read_exact(&mut [0; 8 + 4 + 28]).unwrap();
                connection.write_all(answer).unwrap();
                // It stays open until the client ends the connection.
                let _ = connection.read(&mut [0]);
            });
            let reader = reader(address);
            reader.ask(job(1, RequestedStart::Oldest, &Keys::none()));
            let report = next_report(&reader);
            assert!(matches!(report, Report::Failed(1, _)), "{report:?}");
            server.join().unwrap();
        }
    }
}
