//! What a subscriber needs of a history.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use mcast::InterfaceSelector;

use super::announce::{DiscoveryMessage, HistorySearcher};
use super::reader::{HistoryReader, Job, ReaderConfig, Report};
use crate::driver::clock;
use crate::history::{AnswerFrame, HistoryConfig, HistoryMachine};
use crate::seal::Keys;
use crate::subscriber::SubscriberEvent;
use crate::wire::StreamId;
use crate::{ClockTime, StreamError, SubscriberMachine};

/// How long to wait for frames that may arrive at any time.
const POLL: Duration = Duration::from_millis(2);
/// Limit of the events of the live stream that wait to be delivered. Further ones are dropped.
const MAX_EVENTS: usize = 256;

/// The machine that joins a history with the live stream, and the thread that talks to servers.
#[derive(Debug)]
pub(in crate::driver) struct HistorySubscription {
    pub(in crate::driver) machine: HistoryMachine,
    config: ReaderConfig,
    /// Where servers are searched; `None`: on all interfaces.
    interface: Option<InterfaceSelector>,
    searcher: Option<HistorySearcher>,
    reader: Option<HistoryReader>,
    /// Whether the connection is closed until the next request.
    is_resting: bool,
    /// A report for which the machine has no room yet.
    held: Option<Report>,
    /// Events of the live stream that do not belong to a position.
    events: VecDeque<SubscriberEvent>,
    problem: Option<String>,
}

impl HistorySubscription {
    pub(in crate::driver) fn new(
        config: HistoryConfig,
        servers: Vec<SocketAddr>,
        interface: Option<InterfaceSelector>,
        longest_message: usize,
        now: ClockTime,
    ) -> Self {
        // Subscribers that start together do not come back together.
        let seed = config.seed ^ clock::seed();
        let config = config.with(|config| {
            config.seed = seed;
            config.searches = servers.is_empty();
        });
        Self {
            machine: HistoryMachine::new(config, now),
            config: ReaderConfig { servers, longest_message },
            interface,
            searcher: None,
            reader: None,
            is_resting: true,
            held: None,
            events: VecDeque::new(),
            problem: None,
        }
    }

    /// Returns why the servers that were asked last could not be used.
    pub(in crate::driver) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns the next event of the live stream that does not belong to a position.
    pub(in crate::driver) fn event(&mut self) -> Option<SubscriberEvent> {
        self.events.pop_front()
    }

    /// Takes what the live stream delivers. `datagram` is the one that it handled last.
    pub(in crate::driver) fn take_live(
        &mut self,
        now: ClockTime,
        core: &mut SubscriberMachine,
        datagram: &[u8],
    ) {
        let Self { machine, events, .. } = self;
        machine.take_live(now, core, datagram, |event| {
            if events.len() < MAX_EVENTS {
                events.push_back(event);
            }
        });
    }

    /// Passes the history that the publisher shows.
    pub(in crate::driver) fn record_publisher(&mut self, core: &SubscriberMachine) {
        if let (Some(history), Some(publisher)) = (core.served_history(), core.publisher()) {
            self.machine.handle_advertisement(history.address(publisher));
        }
    }

    /// Searches servers while the machine needs one.
    fn search(&mut self, now: ClockTime, stream: StreamId, keys: &Keys) -> Result<(), StreamError> {
        if !self.machine.is_searching() {
            self.searcher = None;
            return Ok(());
        }
        let is_due = self.machine.poll_search(now);
        if is_due && self.searcher.as_ref().is_none_or(|searcher| searcher.stream() != stream) {
            self.problem = Some("no history server of this stream was found".to_owned());
            self.searcher = HistorySearcher::join(stream, self.interface.as_ref(), keys.clone())
                .inspect_err(|error| self.problem = Some(format!("cannot search history servers: {error}")))
                .ok();
        }
        let Some(searcher) = &mut self.searcher else { return Ok(()) };
        if is_due {
            searcher.search();
        }
        while let Some(found) = searcher.receive()? {
            match found {
                DiscoveryMessage::Server(server) => self.machine.handle_server(now, server),
                DiscoveryMessage::Search => self.machine.handle_search(now),
            }
        }
        Ok(())
    }

    /// Sends what is to be requested, and passes on what has arrived.
    pub(in crate::driver) fn exchange(
        &mut self,
        now: ClockTime,
        stream: Option<StreamId>,
        keys: &Keys,
    ) -> Result<(), StreamError> {
        let Some(stream) = stream else { return Ok(()) };
        if let Some(query) = self.machine.poll_query(now) {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => self.reader.insert(HistoryReader::start(self.config.clone())?),
            };
            reader.ask(Job { query, stream, keys: keys.clone() });
            self.is_resting = false;
        }
        self.search(now, stream, keys)?;
        let Some(reader) = &self.reader else { return Ok(()) };
        let request = self.machine.request();
        reader.set_current(request);
        while let Some(report) = self.held.take().or_else(|| reader.report()) {
            if Some(report.id()) != self.machine.request() {
                // It belongs to a request that was given up.
                continue;
            }
            match report {
                report if !self.machine.wants_frame() => {
                    self.held = Some(report);
                    break;
                }
                Report::Frame(id, server, frame) => {
                    if let Ok(AnswerFrame::Retry { .. }) = AnswerFrame::read(&frame) {
                        self.problem = Some(format!("the history server {server} serves others first"));
                    }
                    // After a malformed frame, the request is given up, and the thread ends the connection.
                    let _ = self.machine.handle_frame(now, id, server, frame);
                }
                Report::Failed(id, why) => {
                    self.problem = Some(why);
                    self.machine.handle_failure(now, id);
                }
            }
        }
        Ok(())
    }

    /// Closes the connection once the live stream is reached, so that the server has a turn for others.
    pub(in crate::driver) fn rest_if_live(&mut self) {
        if let Some(reader) = self.reader.as_ref().filter(|_| self.machine.is_live() && !self.is_resting) {
            reader.rest();
            self.is_resting = true;
        }
    }

    /// Returns the longest time to wait before the next exchange.
    pub(in crate::driver) fn wait(&self, until: impl Fn(ClockTime) -> Duration) -> Duration {
        match self.machine.request().is_some() || self.machine.is_searching() {
            true => POLL,
            false => until(self.machine.poll_timeout().unwrap_or(ClockTime::NEVER)).max(POLL),
        }
    }
}
