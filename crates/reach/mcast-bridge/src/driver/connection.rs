//! The threads that talk to the engine and read from it, so that waiting for it does not keep a bridge from its group.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use mcast_stream::Waker;
use mcast_stream::wire::EngineKey;

use crate::engine::{Engine, Request, Response, Sink, Source};
use crate::error::EngineError;
use crate::limits::EngineRetention;
use crate::record::Position;
use crate::reverse::{SourceRequest, SourceResponse, StartAt};

/// The first interval between attempts to connect, which doubles until the longest.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// While one request is under way, how long to wait for a second one before waiting for the response.
const SECOND_REQUEST: Duration = Duration::from_millis(5);
const IN_FLIGHT: usize = 2;
/// How often an idle connection is used, which shows an engine that is gone and keeps servers from closing it: without a
/// stream, or while it stands by, a bridge requests nothing, perhaps for days.
const IDLE: Duration = Duration::from_secs(5);

/// What the thread reports.
#[derive(Debug)]
pub(super) enum Report {
    /// The number identifies the engine and the key. The rest is what the engine removes on its own.
    Connected(Option<EngineKey>, EngineRetention),
    Response(Response),
    /// The connection broke, or could not be made.
    Failed(EngineError),
}

/// The connection to the engine, which is made again when it breaks.
#[derive(Debug)]
pub(super) struct EngineConnection {
    requests: Sender<(u64, Request)>,
    reports: Receiver<Report>,
    /// The number of the connection that requests are for.
    number: u64,
}

impl EngineConnection {
    pub(super) fn start(engine: Arc<dyn Engine>, waker: Waker, longest_retry: Duration) -> io::Result<Self> {
        // If the waker fails, the bridge's wait times out.
        let wake = move || drop(waker.wake());
        let (requests, reports) = start(engine, wake, longest_retry, Report::Failed, append)?;
        Ok(Self { requests, reports, number: 0 })
    }

    /// Sends a request on the current connection.
    pub(super) fn send(&self, request: Request) {
        // If the thread is over, it has reported why.
        let _ = self.requests.send((self.number, request));
    }

    /// Returns the next report, waiting for at most `timeout`.
    pub(super) fn report(&mut self, timeout: Duration) -> Option<Report> {
        let report = match timeout.is_zero() {
            true => self.reports.try_recv().ok()?,
            false => self.reports.recv_timeout(timeout).ok()?,
        };
        self.number += u64::from(matches!(report, Report::Connected(..)));
        Some(report)
    }
}

/// Connects, and appends what is requested until the connection breaks; `Ok` if the bridge is gone.
fn append(worker: &mut Worker<Request, Report>) -> Result<(), EngineError> {
    let mut sink = worker.engine.sink()?;
    let retention = sink.retention()?;
    let number = worker.connected();
    if !worker.report(Report::Connected(sink.engine_key(), retention)) {
        return Ok(());
    }
    let mut under_way = 0;
    loop {
        let next = match under_way {
            0 => worker.requests.recv_timeout(IDLE),
            IN_FLIGHT => Err(RecvTimeoutError::Timeout),
            _ => worker.requests.recv_timeout(SECOND_REQUEST),
        };
        let response = match next {
            Ok((of, request)) if of == number => match send(&mut *sink, &request)? {
                None => {
                    under_way += 1;
                    continue;
                }
                Some(response) => response,
            },
            // It was for a connection that is broken.
            Ok(_) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if under_way == 0 => {
                sink.check()?;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {
                under_way -= 1;
                sink.receive()?
            }
        };
        worker.retry = FIRST_RETRY;
        if !worker.report(Report::Response(response)) {
            return Ok(());
        }
    }
}

/// Sends a request; returns the response if it is known at once.
fn send(sink: &mut dyn Sink, request: &Request) -> Result<Option<Response>, EngineError> {
    match request {
        Request::Append(batch) => sink.append_if(batch).map(|()| None),
        Request::LastRecord(beacon) => sink.tail(*beacon).map(|()| None),
        Request::Retention => sink.retention().map(|retention| Some(Response::Retention(retention))),
    }
}

/// The most records to read at once.
const RECORDS: usize = 4_096;

/// What the thread reports.
#[derive(Debug)]
pub(super) enum SourceReport {
    Connected,
    /// The response to the request with this number.
    Response(u64, SourceResponse),
    /// The connection broke, or could not be made.
    Failed(EngineError),
}

/// The connection to the source, which is made again when it breaks.
#[derive(Debug)]
pub(super) struct SourceConnection {
    requests: Sender<(u64, SourceRequest)>,
    reports: Receiver<SourceReport>,
}

impl SourceConnection {
    pub(super) fn start(engine: Arc<dyn Engine>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (requests, reports) = start(engine, wake, LONGEST_RETRY, SourceReport::Failed, read)?;
        Ok(Self { requests, reports })
    }

    /// Sends a request. If the connection breaks first, it may be executed on the next one.
    pub(super) fn send(&self, number: u64, request: SourceRequest) {
        // If the thread is over, it has reported why.
        let _ = self.requests.send((number, request));
    }

    /// Returns the next report, waiting for at most this time.
    pub(super) fn wait(&self, timeout: Duration) -> Option<SourceReport> {
        self.reports.recv_timeout(timeout).ok()
    }

    /// Returns the next report, if there is one.
    pub(super) fn report(&self) -> Option<SourceReport> {
        self.reports.try_recv().ok()
    }
}

/// Connects, and reads what is requested until the connection breaks; `Ok` if the bridge is gone.
fn read(worker: &mut Worker<SourceRequest, SourceReport>) -> Result<(), EngineError> {
    let mut source = worker.engine.source()?;
    worker.connected();
    if !worker.report(SourceReport::Connected) {
        return Ok(());
    }
    loop {
        let (number, request) = match worker.requests.recv_timeout(IDLE) {
            Ok(request) => request,
            Err(RecvTimeoutError::Timeout) => {
                source.last()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let response = execute(&mut *source, request)?;
        worker.retry = FIRST_RETRY;
        if !worker.report(SourceReport::Response(number, response)) {
            return Ok(());
        }
    }
}

fn execute(source: &mut dyn Source, request: SourceRequest) -> Result<SourceResponse, EngineError> {
    Ok(match request {
        SourceRequest::Describe => SourceResponse::Described(source.stored()?),
        SourceRequest::Locate(start) => SourceResponse::Located(locate(source, start)?),
        SourceRequest::Read(from) => SourceResponse::Records(source.read(from, RECORDS)?),
    })
}

/// Returns the position to start at, and whether messages may still be appended to its incarnation.
fn locate(source: &mut dyn Source, start: StartAt) -> Result<Option<(Position, bool)>, EngineError> {
    let first = |record: crate::record::StreamRecord| {
        (Position { incarnation: record.position.incarnation, number: record.first() }, false)
    };
    Ok(match start {
        StartAt::Oldest => source.read(Position::START, 1)?.into_iter().next().map(first),
        StartAt::Time(time) => source.find_time(time)?.map(first),
        StartAt::Position(position) => Some((position, false)),
        StartAt::New => source.last()?.map(|last| (last.position.following(), !last.closes())),
        StartAt::Number(number) => source.last()?.map(|last| {
            let incarnation = last.position.incarnation;
            (Position { incarnation, number }, !last.closes() && number > last.position.number)
        }),
    })
}

/// A thread that uses an engine, and connects to it again whenever the connection breaks.
struct Worker<Q, R> {
    engine: Arc<dyn Engine>,
    requests: Receiver<(u64, Q)>,
    reports: Sender<R>,
    /// Called after each report.
    wake: Box<dyn Fn() + Send>,
    /// How many connections there were.
    connections: u64,
    /// How long to wait before the next one.
    retry: Duration,
}

type Channels<Q, R> = (Sender<(u64, Q)>, Receiver<R>);

/// Starts a thread on which `serve` connects and uses the connection until it breaks; it returns `Ok` if the bridge is gone.
fn start<Q: Send + 'static, R: Send + 'static>(
    engine: Arc<dyn Engine>,
    wake: impl Fn() + Send + 'static,
    longest_retry: Duration,
    failed: fn(EngineError) -> R,
    serve: fn(&mut Worker<Q, R>) -> Result<(), EngineError>,
) -> io::Result<Channels<Q, R>> {
    let (requests, incoming) = channel();
    let (outgoing, reports) = channel();
    let mut worker = Worker {
        engine,
        requests: incoming,
        reports: outgoing,
        wake: Box::new(wake),
        connections: 0,
        retry: FIRST_RETRY,
    };
    let run = move || {
        while let Err(error) = serve(&mut worker) {
            let error = error.with_renewal(worker.connections > 0 && worker.engine.renews_login());
            let is_final = !error.is_transient();
            if !worker.report(failed(error)) || is_final || !worker.wait() {
                return;
            }
            worker.retry = (2 * worker.retry).min(longest_retry);
        }
    };
    std::thread::Builder::new().name("mcast-engine".to_owned()).spawn(run)?;
    Ok((requests, reports))
}

impl<Q, R> Worker<Q, R> {
    /// Counts a connection, and returns its number.
    const fn connected(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// Waits, discarding requests for the broken connection; returns whether the bridge is still there.
    fn wait(&self) -> bool {
        let until = Instant::now() + self.retry;
        loop {
            match self.requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Reports something; returns whether the bridge is still there.
    fn report(&self, report: R) -> bool {
        let is_there = self.reports.send(report).is_ok();
        (self.wake)();
        is_there
    }
}
