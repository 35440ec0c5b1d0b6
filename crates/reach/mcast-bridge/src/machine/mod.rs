//! What is appended to an engine and when, without the engine, sockets or clocks.

mod batch;
mod event;
mod recovery;
mod tail;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mcast_stream::ClockTime;
use mcast_stream::subscriber::{Cause, Message, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId, VisitedEngines};

use crate::engine::{BATCH_RECORDS, LastRecord, PendingGap, Request};
use crate::limits::UnstorableRecord;
use crate::record::{Content, GapCause, Position, StreamRecord, UnixMillis};
use batch::{Backlog, Entry};
pub(crate) use event::ShownCause;
pub use event::{BridgeEvent, BridgeRefusal, BridgeStatistics, LossCause, RefusedTail};
use recovery::Recovery;
use tail::Numbering;

/// The most requests without a response.
const IN_FLIGHT: usize = 2;
/// Quarters of a second that an incarnation may be ahead of the clock: an hour.
const FARTHEST_AHEAD: u32 = 4 * 3_600;
/// While the bridge waits for another one, it requests the engine's last record this soon, then at doubled intervals.
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(250);
/// It does so this often in any case: the engine may lose records at any time, and other bridges may come and go.
const REGULAR_POLL: Duration = Duration::from_secs(1);

/// The settings of a bridge.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The stream.
    pub stream: StreamId,
    /// A random number that identifies the bridge.
    pub id: u64,
    /// The records are datagrams of plain groups, which the bridge numbers, under this incarnation or a greater one.
    /// Default: they are messages of a stream.
    pub group: Option<Incarnation>,
    /// Whether it stores an incarnation that is far ahead of the clock. Default: no, since nothing could be stored after it.
    pub accepts_ahead: bool,
    /// How long it waits for another bridge before it records that messages are missing. Default: 2 s.
    pub hole_wait: Duration,
    /// Bytes of records in memory: those that are not stored, and of the stored ones the latest. Default: 64 MiB.
    pub buffer: usize,
    /// The most records in a batch. Default: 1,000.
    pub batch_records: usize,
    /// A batch of this many bytes is complete. Default: 1 MiB.
    pub batch_bytes: usize,
    /// The longest time that a record waits for others in its batch. Default: 5 ms.
    pub batch_delay: Duration,
    /// Whether the bridge stops before a record that the engine can never take, instead of recording a gap. Default: no.
    pub stops_at_unstorable: bool,
}

impl BridgeConfig {
    /// Returns the defaults for this stream.
    #[must_use]
    pub const fn new(stream: StreamId, id: u64) -> Self {
        Self {
            stream,
            id,
            group: None,
            accepts_ahead: false,
            hole_wait: Duration::from_secs(2),
            buffer: 64 << 20,
            batch_records: BATCH_RECORDS,
            batch_bytes: 1 << 20,
            batch_delay: Duration::from_millis(5),
            stops_at_unstorable: false,
        }
    }
}

/// Decides what is appended to an engine and when.
///
/// The caller passes what its subscriber delivers to [`handle_message`](Self::handle_message) and [`handle_event`](Self::handle_event), unless the
/// bridge [is full](Self::is_full). It calls [`poll_request`](Self::poll_request) after that, after each response, and when the
/// [deadline](Self::poll_timeout) is over, until that returns nothing, and sends the requests to the engine. Of a plain group,
/// it passes datagrams to [`handle_datagram`](Self::handle_datagram) and [`handle_drops`](Self::handle_drops), once the bridge
/// [has begun](Self::has_begun).
#[derive(Debug)]
pub struct BridgeMachine {
    config: BridgeConfig,
    /// The incarnation that is being received.
    incarnation: Option<Incarnation>,
    /// The incarnation of which it was reported last that a newer one is stored.
    superseded: Option<Incarnation>,
    /// Whether the subscriber follows an incarnation that is far ahead of the clock.
    is_ahead: bool,
    backlog: Backlog,
    connection: Connection,
    /// Requests without a response, and when they were sent.
    in_flight: VecDeque<(ClockTime, InFlight)>,
    /// Whether a batch was refused: what was sent behind it is going to be refused, too.
    is_refused: bool,
    /// The engine's last record, as far as responses show. It outlasts connections, to notice what an engine loses.
    tail: Option<LastRecord>,
    /// The greatest position that the engine ever had.
    highest: Option<Position>,
    /// Whether the engine lacks what it once had.
    is_healing: bool,
    recovery: Recovery,
    /// A record that the engine can never take, before which the bridge stops.
    unstorable: Option<UnstorableRecord>,
    /// The next hole.
    hole: Option<Waiting>,
    /// What the other bridges wait for.
    others: Vec<Option<PendingGap>>,
    poll_at: ClockTime,
    poll_interval: Duration,
    is_finishing: bool,
    deadline: ClockTime,
    events: VecDeque<BridgeEvent>,
    statistics: BridgeStatistics,
    /// The engines that the messages of the stream came out of.
    engines: VisitedEngines,
    numbering: Numbering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Down,
    /// Connected, but the engine's last record is not known.
    Unknown,
    /// The last record was first known at this time.
    Ready {
        since: ClockTime,
        assumed: Option<LastRecord>,
    },
}

/// A request without a response.
#[derive(Clone, Copy, Debug)]
enum InFlight {
    /// The last record, while the bridge waits for this.
    LastRecord(Option<PendingGap>),
    Retention,
    /// With this last record afterwards.
    Append {
        records: usize,
        tail: LastRecord,
    },
}

/// A hole that the bridge waits at.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    hole: PendingGap,
    /// Since when it is known.
    since: ClockTime,
    /// Since when everything before it is stored.
    stored_before: Option<ClockTime>,
    /// The least end that another bridge has announced.
    least_end: MessageNumber,
    /// Whether the other bridges are known as of later than that.
    is_announced: bool,
    is_reported: bool,
}

impl BridgeMachine {
    /// Returns a bridge that is not connected.
    #[must_use]
    pub fn new(config: BridgeConfig) -> Self {
        Self {
            engines: VisitedEngines::default(),
            numbering: Numbering::default(),
            backlog: Backlog::new(config.buffer),
            config,
            incarnation: None,
            superseded: None,
            is_ahead: false,
            connection: Connection::Down,
            in_flight: VecDeque::new(),
            is_refused: false,
            tail: None,
            highest: None,
            is_healing: false,
            recovery: Recovery::default(),
            unstorable: None,
            hole: None,
            others: Vec::new(),
            poll_at: ClockTime(0),
            poll_interval: FIRST_POLL,
            is_finishing: false,
            deadline: ClockTime::NEVER,
            events: VecDeque::new(),
            statistics: BridgeStatistics {
                messages: 0,
                message_bytes: 0,
                appended: 0,
                already_stored: 0,
                refused: 0,
                gaps: 0,
                missing: 0,
                engine_losses: 0,
                evictions: 0,
                given_up: 0,
                unstorable: 0,
                superseded: 0,
                not_stored: 0,
                pending: 0,
                pending_bytes: 0,
                pending_since: None,
                buffered_bytes: 0,
                in_flight: 0,
            },
        }
    }

    /// Handles a message of the subscriber. `time` is in milliseconds since 1970.
    pub fn handle_message(&mut self, now: ClockTime, time: UnixMillis, message: &Message<'_>) {
        self.statistics.messages += 1;
        self.statistics.message_bytes += message.bytes.len() as u64;
        let content = Content::Message { key: message.key, bytes: Arc::from(message.bytes) };
        self.push(now, time, message.number, content);
    }

    /// Handles an event of the subscriber. `time` is in milliseconds since 1970.
    pub fn handle_event(&mut self, now: ClockTime, time: UnixMillis, event: &SubscriberEvent) {
        match *event {
            SubscriberEvent::Joined { incarnation, .. }
            | SubscriberEvent::Restarted { to: incarnation, .. } => self.follow(time, incarnation),
            SubscriberEvent::Lost { first, end, cause } if first < end => {
                let cause = GapCause::Lost(cause);
                self.push(now, time, MessageNumber(end.0 - 1), Content::Gap { first, cause });
            }
            SubscriberEvent::LostUnknown { first } => {
                let cause = GapCause::Lost(Cause::Restart);
                self.push(now, time, first, Content::OpenGap { cause });
            }
            SubscriberEvent::Ended { messages } => {
                self.push(now, time, MessageNumber(messages), Content::End);
            }
            _ => {}
        }
    }

    /// Notes that there is a new connection to the engine.
    pub fn handle_connected(&mut self) {
        self.handle_disconnected();
        self.connection = Connection::Unknown;
    }

    /// Notes that the connection to the engine is broken.
    pub fn handle_disconnected(&mut self) {
        self.connection = Connection::Down;
        self.in_flight.clear();
        self.is_refused = false;
        self.recovery.disconnected();
    }

    /// Sets the engines that the messages of the stream came out of.
    pub const fn set_engines(&mut self, engines: VisitedEngines) {
        self.engines = engines;
    }

    /// Notes that nothing more is received, so that batches need not wait for more records.
    pub const fn finish(&mut self) {
        self.is_finishing = true;
    }

    /// Returns the next request to send, if there is one now.
    pub fn poll_request(&mut self, now: ClockTime) -> Option<Request> {
        self.deadline = ClockTime::NEVER;
        let request = self.next_request(now)?;
        let in_flight = match &request {
            Request::LastRecord(presence) => InFlight::LastRecord(presence.hole),
            Request::Retention => InFlight::Retention,
            Request::Append(batch) => {
                let last = batch.records.last()?;
                let stream = Some(self.config.stream);
                let tail = LastRecord { position: last.position, stream, closes: last.closes() };
                if let Connection::Ready { assumed, .. } = &mut self.connection {
                    *assumed = Some(tail);
                }
                InFlight::Append { records: batch.records.len(), tail }
            }
        };
        self.in_flight.push_back((now, in_flight));
        Some(request)
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// Returns when [`poll_request`](Self::poll_request) may return a request if nothing happens before, after it has returned none.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<ClockTime> {
        self.deadline.unless_never()
    }

    /// Whether the buffer is full of records that are not stored, so that no more messages may be passed.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Whether everything that was received is stored.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.backlog.pending_count() == 0
    }

    /// Returns the position of the engine's last record, as far as it is known.
    #[must_use]
    pub fn stored(&self) -> Option<Position> {
        self.tail.map(|tail| tail.position)
    }

    /// Returns the counters.
    #[must_use]
    pub fn statistics(&self) -> BridgeStatistics {
        BridgeStatistics {
            pending: self.backlog.pending_count(),
            pending_bytes: self.backlog.pending_bytes(),
            pending_since: self.backlog.pending().next().map(|entry| entry.since),
            buffered_bytes: self.backlog.bytes(),
            in_flight: self.in_flight.len(),
            ..self.statistics
        }
    }

    /// Follows another incarnation, unless it is far ahead of the clock.
    fn follow(&mut self, time: UnixMillis, incarnation: Incarnation) {
        let present = incarnation_at(time);
        self.is_ahead =
            !self.config.accepts_ahead && incarnation.0 > present.0.saturating_add(FARTHEST_AHEAD);
        self.incarnation = (!self.is_ahead).then_some(incarnation);
        if self.is_ahead {
            self.events.push_back(BridgeEvent::Ahead { incarnation, present });
        } else if Some(incarnation) >= self.tail.map(|tail| tail.position.incarnation) {
            // What was superseded is over.
            self.statistics.not_stored = 0;
        }
    }

    /// Whether messages that arrive now are stored nowhere.
    #[must_use]
    pub const fn is_refusing(&self) -> bool {
        self.statistics.not_stored > 0
    }

    fn push(&mut self, now: ClockTime, time: UnixMillis, number: MessageNumber, content: Content) {
        let is_message = matches!(content, Content::Message { .. });
        self.statistics.not_stored += u64::from(is_message && self.is_ahead);
        let Some(incarnation) = self.incarnation else { return };
        let position = Position::new(incarnation, number);
        let record = StreamRecord { position, time, content };
        let tail = self.tail.map(|tail| tail.position).filter(|tail| position <= *tail);
        let is_new = self.backlog.push(Entry::new(record, now));
        let newer = tail.or_else(|| self.backlog.last()).filter(|newer| newer.incarnation > incarnation);
        if let Some(newer) = newer.filter(|_| is_message) {
            self.record_superseded(incarnation, newer.incarnation);
        } else if is_new && tail.is_some() {
            self.statistics.already_stored += 1;
        }
        if is_new && tail.is_some() {
            self.backlog.set_stored(self.stored());
        }
    }

    /// Reports, once for each incarnation, that a newer one is stored already.
    fn record_superseded(&mut self, incarnation: Incarnation, stored: Incarnation) {
        self.statistics.superseded += 1;
        self.statistics.not_stored += 1;
        if self.superseded.replace(incarnation) != Some(incarnation) {
            self.events.push_back(BridgeEvent::Superseded { incarnation, stored });
        }
    }
}

/// Returns the incarnation of a publisher that starts at this time: quarters of a second since 2024.
fn incarnation_at(time: UnixMillis) -> Incarnation {
    /// The start of 2024.
    const START: u64 = 1_704_067_200_000;
    Incarnation(u32::try_from(time.0.saturating_sub(START) / 250).unwrap_or(u32::MAX))
}
