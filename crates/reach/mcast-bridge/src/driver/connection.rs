//! The thread that talks to the engine, so that waiting for it does not keep the subscriber from its publisher.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use mcast_stream::Waker;
use mcast_stream::wire::EngineKey;

use crate::engine::{EngineError, Request, Response, Sink, SinkConnector};

/// The first interval between attempts to connect, which doubles until the longest.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// While one request is under way, how long to wait for a second one before waiting for the response.
const SECOND_REQUEST: Duration = Duration::from_millis(5);
const IN_FLIGHT: usize = 2;
/// How often an idle connection is checked: without a stream, a bridge requests nothing.
const IDLE: Duration = Duration::from_secs(5);

/// What the thread reports.
#[derive(Debug)]
pub(super) enum Report {
    /// The number identifies the engine and the key.
    Connected(Option<EngineKey>),
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
        self.number += u64::from(matches!(report, Report::Connected(_)));
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
        let mut retry = FIRST_RETRY;
        loop {
            let failed = match self.connector.connect() {
                Ok(mut sink) => {
                    self.number += 1;
                    if !self.report(Report::Connected(sink.engine_key())) {
                        return;
                    }
                    match self.serve(&mut *sink, &mut retry) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let is_final = !failed.is_transient;
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
