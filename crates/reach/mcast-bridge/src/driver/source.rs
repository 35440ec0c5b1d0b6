//! The thread that reads from the engine, so that waiting for it does not keep the bridge from its group.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::connection::{FIRST_RETRY, LONGEST_RETRY};
use crate::engine::{EngineError, Source, SourceConnector};
use crate::record::Position;
use crate::reverse::{SourceRequest, SourceResponse, StartAt};

/// The most records to read at once.
const RECORDS: usize = 4_096;

/// How often an idle connection is used, because servers close silent ones: a bridge may stand by for days.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

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
        let worker = Worker { connector, requests: incoming, reports: outgoing, wake };
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

struct Worker {
    connector: Box<dyn SourceConnector>,
    requests: Receiver<(u64, SourceRequest)>,
    reports: Sender<SourceReport>,
    /// Called after each report.
    wake: Box<dyn Fn() + Send>,
}

impl Worker {
    fn run(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let failed = match self.connector.connect() {
                Ok(mut source) => {
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
            let is_final = !failed.is_transient;
            if !self.report(SourceReport::Failed(failed)) || is_final || !self.wait(retry) {
                return;
            }
            retry = (2 * retry).min(LONGEST_RETRY);
        }
    }

    /// Executes requests until the connection breaks; `Ok` if the bridge is gone.
    fn serve(&self, source: &mut dyn Source, retry: &mut Duration) -> Result<(), EngineError> {
        loop {
            let (number, request) = match self.requests.recv_timeout(KEEP_ALIVE) {
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
