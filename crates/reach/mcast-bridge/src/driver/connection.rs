//! The threads that talk to the engine and read from it, so that waiting for it does not keep a bridge from its group.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use mcast_stream::Waker;
use mcast_stream::wire::EngineKey;

use crate::engine::{EngineError, Request, Response, Sink, SinkConnector, Source, SourceConnector};
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
    pub(super) fn start(
        connector: Box<dyn SinkConnector>,
        waker: Waker,
        longest_retry: Duration,
    ) -> io::Result<Self> {
        let (requests, incoming) = channel();
        let (outgoing, reports) = channel();
        let worker =
            Worker { connector, requests: incoming, reports: outgoing, waker, longest_retry, number: 0 };
        std::thread::Builder::new().name("mcast-engine".to_owned()).spawn(move || worker.run())?;
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

struct Worker {
    connector: Box<dyn SinkConnector>,
    requests: Receiver<(u64, Request)>,
    reports: Sender<Report>,
    waker: Waker,
    longest_retry: Duration,
    /// Counts the connections.
    number: u64,
}

impl Worker {
    fn run(mut self) {
        let (mut retry, mut has_connected) = (FIRST_RETRY, false);
        loop {
            let connected = self.connector.connect().and_then(|mut sink| {
                let retention = sink.retention()?;
                Ok((sink, retention))
            });
            let failed = match connected {
                Ok((mut sink, retention)) => {
                    self.number += 1;
                    has_connected = true;
                    if !self.report(Report::Connected(sink.engine_key(), retention)) {
                        return;
                    }
                    match self.serve(&mut *sink, &mut retry) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let failed = failed.with_renewal(has_connected && self.connector.renews_login());
            let is_final = !failed.is_transient();
            if !self.report(Report::Failed(failed)) || is_final || !self.wait(retry) {
                return;
            }
            retry = (2 * retry).min(self.longest_retry);
        }
    }

    /// Sends requests and reports responses until the connection breaks; `Ok` if the bridge is gone.
    fn serve(&self, sink: &mut dyn Sink, retry: &mut Duration) -> Result<(), EngineError> {
        let mut under_way = 0;
        loop {
            let next = match under_way {
                0 => self.requests.recv_timeout(IDLE),
                IN_FLIGHT => Err(RecvTimeoutError::Timeout),
                _ => self.requests.recv_timeout(SECOND_REQUEST),
            };
            match next {
                Ok((number, request)) if number == self.number => {
                    sink.send(&request)?;
                    under_way += 1;
                }
                // It was for a connection that is broken.
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if under_way == 0 => sink.check()?,
                Err(RecvTimeoutError::Timeout) => {
                    let response = sink.receive()?;
                    under_way -= 1;
                    *retry = FIRST_RETRY;
                    if !self.report(Report::Response(response)) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits, discarding requests for the broken connection; returns whether the bridge is still there.
    fn wait(&self, time: Duration) -> bool {
        let until = std::time::Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            match self.requests.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Reports something; returns whether the bridge is still there.
    fn report(&self, report: Report) -> bool {
        let is_there = self.reports.send(report).is_ok();
        // If the waker fails, the bridge's wait times out.
        let _ = self.waker.wake();
        is_there
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
    pub(super) fn start(
        connector: Box<dyn SourceConnector>,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let wake: Box<dyn Fn() + Send> = Box::new(wake);
        let (requests, incoming) = channel();
        let (outgoing, reports) = channel();
        let worker = SourceWorker { connector, requests: incoming, reports: outgoing, wake };
        std::thread::Builder::new().name("mcast-engine".to_owned()).spawn(move || worker.run())?;
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

struct SourceWorker {
    connector: Box<dyn SourceConnector>,
    requests: Receiver<(u64, SourceRequest)>,
    reports: Sender<SourceReport>,
    /// Called after each report.
    wake: Box<dyn Fn() + Send>,
}

impl SourceWorker {
    fn run(mut self) {
        let (mut retry, mut has_connected) = (FIRST_RETRY, false);
        loop {
            let failed = match self.connector.connect() {
                Ok(mut source) => {
                    has_connected = true;
                    if !self.report(SourceReport::Connected) {
                        return;
                    }
                    match self.serve(&mut *source, &mut retry) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let failed = failed.with_renewal(has_connected && self.connector.renews_login());
            let is_final = !failed.is_transient();
            if !self.report(SourceReport::Failed(failed)) || is_final || !self.wait(retry) {
                return;
            }
            retry = (2 * retry).min(LONGEST_RETRY);
        }
    }

    /// Executes requests until the connection breaks; `Ok` if the bridge is gone.
    fn serve(&self, source: &mut dyn Source, retry: &mut Duration) -> Result<(), EngineError> {
        loop {
            let (number, request) = match self.requests.recv_timeout(IDLE) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    source.last()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let response = execute(source, request)?;
            *retry = FIRST_RETRY;
            if !self.report(SourceReport::Response(number, response)) {
                return Ok(());
            }
        }
    }

    /// Waits, discarding requests for the broken connection; returns whether the bridge is still there.
    fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Reports something; returns whether the bridge is still there.
    fn report(&self, report: SourceReport) -> bool {
        let is_there = self.reports.send(report).is_ok();
        (self.wake)();
        is_there
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
