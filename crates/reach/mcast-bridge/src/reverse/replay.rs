//! Which datagrams of a plain group are sent again and when, without an engine, sockets or clocks.

use std::collections::VecDeque;

use mcast_stream::ClockTime;
use mcast_stream::wire::MessageNumber;

use super::reading::{Pace, Reading};
use super::{ReverseEvent, ReverseRefusal, ReverseStatistics, SourceRequest, SourceResponse, StartAt};
use crate::record::{Content, GapCause, Position, StreamRecord};

/// Settings of a [`ReplayMachine`].
#[derive(Clone, Copy, Debug)]
pub struct ReplayConfig {
    /// Where to start.
    pub start: StartAt,
    /// The speed relative to the recorded times. `None`: as fast as possible.
    pub speed: Option<f64>,
    /// Whether to wait for more datagrams behind the last one.
    pub stay: bool,
}

/// Decides which datagrams of a plain group are sent again and when.
///
/// The caller calls [`poll_request`](Self::poll_request) until it returns nothing, then sends the datagrams that are
/// [due](Self::poll_record), and calls [`handle_sent`](Self::handle_sent) after each.
#[derive(Debug)]
pub struct ReplayMachine {
    config: ReplayConfig,
    reading: Reading,
    pace: Pace,
    /// The next position, once a record was handled.
    next: Option<Position>,
    /// Whether the engine has nothing to start with.
    is_empty: bool,
    events: VecDeque<ReverseEvent>,
    statistics: ReverseStatistics,
}

impl ReplayMachine {
    /// Returns one that is not connected.
    #[must_use]
    pub fn new(config: ReplayConfig) -> Self {
        Self {
            reading: Reading::new(),
            pace: Pace::new(config.speed),
            next: None,
            is_empty: false,
            events: VecDeque::new(),
            statistics: ReverseStatistics::default(),
            config,
        }
    }

    /// Notes that there is a new connection to the engine.
    pub const fn handle_connected(&mut self, now: ClockTime) {
        self.reading.connected(now);
    }

    /// Notes that the connection to the engine is broken.
    pub const fn handle_disconnected(&mut self) {
        self.reading.disconnected();
    }

    /// Handles the response to the request with this number.
    ///
    /// # Errors
    /// If the engine holds other datagrams than before.
    pub fn handle_response(
        &mut self,
        now: ClockTime,
        number: u64,
        response: SourceResponse,
    ) -> Result<(), ReverseRefusal> {
        match self.reading.accept(number, response) {
            None => {}
            Some(SourceResponse::Described(stored)) => {
                self.is_empty = stored.is_none();
                self.reading.described(now, stored)?;
            }
            Some(SourceResponse::Located(position)) => {
                self.is_empty = position.is_none();
                self.reading.located(now, position);
            }
            Some(SourceResponse::Records(records)) => self.reading.records(now, records),
        }
        Ok(())
    }

    /// Returns the next request to the engine and its number, if there is one now.
    pub fn poll_request(&mut self, now: ClockTime) -> Option<(u64, SourceRequest)> {
        self.reading.poll(now, Some(self.config.start))
    }

    /// Returns the next datagram, if it must be sent now.
    pub fn poll_record(&mut self, now: ClockTime) -> Option<&StreamRecord> {
        self.handle_gaps();
        let record = self.reading.front()?;
        (self.pace.due(now, record.arrived()) <= now).then_some(record)
    }

    /// Notes that the datagram that is due was sent.
    pub fn handle_sent(&mut self, now: ClockTime) {
        let Some(record) = self.reading.pop() else { return };
        let Content::Datagram { bytes, .. } = &record.content else { return };
        self.pace.advance(now, record.arrived());
        self.statistics.messages += 1;
        self.statistics.message_bytes += bytes.len() as u64;
        self.statistics.published = Some(record.position);
        self.next = Some(record.position.following());
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&mut self) -> Option<ReverseEvent> {
        self.events.pop_front()
    }

    /// Returns when something may be to do if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self, now: ClockTime) -> Option<ClockTime> {
        let due =
            self.reading.front().map_or(ClockTime::NEVER, |record| self.pace.due(now, record.arrived()));
        due.min(self.reading.deadline(true)).unless_never()
    }

    /// Whether everything that the engine holds was sent.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let follows = self.config.stay || self.config.start == StartAt::New;
        !follows && (self.is_empty || self.reading.is_at_end())
    }

    /// Returns the counters.
    #[must_use]
    pub const fn statistics(&self) -> ReverseStatistics {
        self.statistics
    }

    /// Reports the gaps before the next datagram, and omits other records.
    fn handle_gaps(&mut self) {
        while let Some(record) = self.reading.front() {
            let (position, first) = (record.position, record.first());
            let next = self.next.filter(|next| next.incarnation == position.incarnation);
            if let Some(next) = next.filter(|next| next.number < first) {
                // Records were removed from the engine.
                self.report_gap(next, first, None);
            }
            self.next = Some(Position { number: first, ..position });
            match self.reading.front().map(|record| &record.content) {
                Some(Content::Gap { cause, .. }) => {
                    let cause = Some(*cause);
                    self.report_gap(Position { number: first, ..position }, position.number + 1, cause);
                }
                Some(Content::OpenGap { cause }) => {
                    self.statistics.gaps += 1;
                    self.events.push_back(ReverseEvent::OpenGap { position, cause: *cause });
                }
                Some(Content::Message { .. } | Content::End) => {}
                Some(Content::Datagram { .. }) | None => return,
            }
            self.reading.pop();
            self.next = Some(position.following());
        }
    }

    fn report_gap(&mut self, from: Position, end: MessageNumber, cause: Option<GapCause>) {
        self.statistics.gaps += 1;
        self.statistics.missing += end.ahead_of(from.number);
        self.events.push_back(ReverseEvent::Gap { from, end, cause });
    }
}
