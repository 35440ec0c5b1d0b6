//! A bridge out of an engine: a listener, the decisions, a publisher, and a thread for the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_stream::publisher::{PublisherEvent, Refusal};
use mcast_stream::seal::Keys;
use mcast_stream::wire::StreamId;
use mcast_stream::{
    ClockTime, HeardHeartbeat, HeartbeatListener, Publisher, PublisherBuilder, PublisherProgress,
    StreamError, Until, Waker,
};
use mcast_sys::trace::{Described, Span};
use mcast_sys::{trace_event, trace_span};

use super::connection::{SourceConnection, SourceReport};
use super::error::BridgeError;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::record::{Content, GapCause};
use crate::reverse::{
    ObservedHeartbeat, PublisherAction, PublisherState, ReverseConfig, ReverseEvent, ReverseMachine,
    ReverseStatistics,
};

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait for subscribers that have no room, so that other bridges are heard meanwhile.
const ROOM_WAIT: Duration = Duration::from_millis(5);
/// The most messages to publish between two looks at the group and the engine.
const MESSAGES: usize = 256;
/// The longest time between two heartbeats, so that a loss of some is not taken for silence.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);

/// Something that a bridge out of an engine reports.
#[derive(Clone, Debug)]
pub enum ReverseNotice {
    /// An event of the bridge.
    Bridge(ReverseEvent),
    /// An event of the publisher.
    Publisher(PublisherEvent),
    /// There is a connection to the engine, again if there was one before.
    Connected,
    /// The engine cannot be used at present. The bridge tries again.
    Disconnected(EngineError),
}

/// A running bridge out of an engine.
pub struct ReverseBridge {
    machine: ReverseMachine,
    stream: StreamId,
    listener: HeartbeatListener,
    source: SourceConnection,
    publisher: Option<Publisher>,
    builder: Box<dyn Fn() -> PublisherBuilder>,
    keys: Keys,
    is_connected: bool,
    /// How far the publisher was before it had no room, if it has none.
    blocked: Option<PublisherProgress>,
    start: Instant,
    notices: std::collections::VecDeque<ReverseNotice>,
    span: Span,
}

impl ReverseBridge {
    /// Starts a bridge. `builder` returns the settings of the publisher, of which the bridge sets the stream, the
    /// incarnation and the keys. The listener listens to the groups that it publishes to.
    ///
    /// # Errors
    /// If no thread can be started. Errors of the engine are reported by [`next`](Self::next).
    pub fn start(
        listener: HeartbeatListener,
        builder: impl Fn() -> PublisherBuilder + 'static,
        keys: Keys,
        engine: Arc<dyn Engine>,
        config: ReverseConfig,
    ) -> Result<Self, BridgeError> {
        let waker = listener.waker();
        // If the waker fails, the bridge's wait times out.
        let source = SourceConnection::start(engine, move || drop(waker.wake()));
        let source = source.map_err(BridgeError::Thread)?;
        let stream = config.stream;
        Ok(Self {
            machine: ReverseMachine::new(config, ClockTime(0)),
            stream,
            listener,
            source,
            publisher: None,
            builder: Box::new(move || builder().stream(stream)),
            keys,
            is_connected: false,
            blocked: None,
            start: Instant::now(),
            notices: std::collections::VecDeque::new(),
            span: trace_span!("reverse_bridge", stream = stream),
        })
    }

    /// Waits for the next notice for at most `timeout` and returns it; `None` if the time is over, or a waker ended the
    /// wait.
    ///
    /// # Errors
    /// If the group or the engine cannot be used any more, or the stream must not be published. An engine that may
    /// recover is a notice.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ReverseNotice>, BridgeError> {
        let until = Instant::now() + timeout;
        loop {
            // First: a process that did not run for a while must not publish what another one has published meanwhile.
            while let Some(heard) = self.listener.next(Duration::ZERO)? {
                self.hear(&heard)?;
            }
            self.read()?;
            self.publish()?;
            if let Some(notice) = self.notices.pop_front() {
                self.trace(&notice);
                return Ok(Some(notice));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.machine.is_over() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    fn trace(&self, notice: &ReverseNotice) {
        let text = Described(notice);
        match notice {
            ReverseNotice::Disconnected(_) => trace_event!(self.span, WARN, text),
            // The publisher has recorded it.
            ReverseNotice::Publisher(_) => {}
            _ => trace_event!(self.span, INFO, text),
        }
    }

    /// Waits until subscribers have everything that was published, for at most `timeout`; returns whether they have.
    /// The stream does not end: another bridge takes over, or this one when it is started again.
    #[must_use]
    pub fn finish(&mut self, timeout: Duration) -> bool {
        let publisher = self.publisher.take();
        publisher.is_none_or(|publisher| has_all(&publisher, timeout))
    }

    /// Replaces the secrets of a sealed stream.
    pub fn set_keys(&mut self, keys: Keys) {
        self.listener.set_keys(keys.clone());
        if let Some(publisher) = &self.publisher {
            publisher.set_keys(keys.clone());
        }
        self.keys = keys;
    }

    /// Returns the stream that is published.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Returns the publisher, while this bridge publishes.
    #[must_use]
    pub const fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }

    /// Whether the engine's stream has ended, and subscribers have everything.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.machine.is_over()
    }

    /// Whether there is a connection to the engine.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Returns the counters.
    #[must_use]
    pub const fn statistics(&self) -> ReverseStatistics {
        self.machine.statistics()
    }

    /// Returns a waker, which ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.listener.waker()
    }

    fn now(&self) -> ClockTime {
        ClockTime::START + self.start.elapsed()
    }

    fn wait(&mut self, left: Duration) -> Result<(), BridgeError> {
        let now = self.now();
        let due = self.machine.poll_timeout(now).unwrap_or(ClockTime::NEVER).since(now);
        if let (Some(publisher), Some(since)) = (&self.publisher, self.blocked) {
            publisher.wait_for_room(since, left.min(ROOM_WAIT));
        } else if let Some(heard) = self.listener.next(left.min(due).min(LONGEST_WAIT))? {
            self.hear(&heard)?;
        }
        Ok(())
    }

    fn hear(&mut self, heard: &HeardHeartbeat) -> Result<(), BridgeError> {
        let HeardHeartbeat { incarnation, heartbeat, is_end, origin, publisher } = *heard;
        let (oldest, next) = (heartbeat.oldest_message, heartbeat.next_message);
        let heard = ObservedHeartbeat {
            incarnation,
            origin,
            oldest,
            next,
            subscribers: heartbeat.group_size,
            is_end,
        };
        let refused = |refusal| BridgeError::NotPublished { refusal, publisher: Some(publisher) };
        self.machine.handle_heartbeat(self.now(), heard).map_err(refused)
    }

    /// Handles what the engine's thread reports.
    fn read(&mut self) -> Result<(), BridgeError> {
        while let Some(report) = self.source.report() {
            let now = self.now();
            match report {
                SourceReport::Connected => {
                    self.is_connected = true;
                    self.machine.handle_connected(now);
                    self.notices.push_back(ReverseNotice::Connected);
                }
                SourceReport::Response(number, response) => {
                    let refused = |refusal| BridgeError::NotPublished { refusal, publisher: None };
                    self.machine.handle_response(now, number, response).map_err(refused)?;
                }
                SourceReport::Failed(error) if !error.is_transient() => return Err(error.into()),
                SourceReport::Failed(error) => {
                    self.is_connected = false;
                    self.machine.handle_disconnected();
                    self.notices.push_back(ReverseNotice::Disconnected(error));
                }
            }
        }
        Ok(())
    }

    /// Does what is due.
    fn publish(&mut self) -> Result<(), BridgeError> {
        let now = self.now();
        let state = self.state();
        self.blocked = None;
        for _ in 0..MESSAGES {
            if let Some(action) = self.machine.poll_action(now, state) {
                self.act(action)?;
            } else if !self.publish_one(now)? {
                break;
            }
        }
        if let Some(publisher) = &self.publisher {
            publisher.flush();
            self.notices.extend(std::iter::from_fn(|| publisher.event()).map(ReverseNotice::Publisher));
        }
        while let Some((number, request)) = self.machine.poll_request(now) {
            self.source.send(number, request);
        }
        self.notices.extend(std::iter::from_fn(|| self.machine.poll_event()).map(ReverseNotice::Bridge));
        Ok(())
    }

    fn state(&self) -> PublisherState {
        match &self.publisher {
            Some(publisher) => PublisherState {
                subscribers: publisher.statistics().subscribers,
                is_complete: self.machine.is_draining() && has_all(publisher, Duration::ZERO),
            },
            None => PublisherState { subscribers: 0, is_complete: true },
        }
    }

    fn act(&mut self, action: PublisherAction) -> Result<(), BridgeError> {
        match (action, &self.publisher) {
            (PublisherAction::Begin { incarnation, origin, first }, _) => {
                let builder = (self.builder)().incarnation(incarnation).keys(self.keys.clone());
                let builder = builder.drop_timeout(Duration::ZERO).origin(origin, first);
                let builder = builder.idle_interval(HEARTBEAT_INTERVAL);
                self.publisher = None;
                self.publisher = Some(builder.build()?);
            }
            (PublisherAction::Skip(number), Some(publisher)) => publisher.skip_to(number)?,
            (PublisherAction::Close, Some(publisher)) => publisher.end(),
            (PublisherAction::Discard, _) => self.publisher = None,
            (PublisherAction::Skip(_) | PublisherAction::Close, None) => {}
        }
        Ok(())
    }

    /// Publishes the message that is due; returns whether there was one, and the publisher had room.
    fn publish_one(&mut self, now: ClockTime) -> Result<bool, BridgeError> {
        let (Some(publisher), Some(record)) = (&self.publisher, self.machine.poll_record(now)) else {
            return Ok(false);
        };
        let Content::Message { key, bytes } = &record.content else { return Ok(false) };
        let progress = publisher.progress();
        match publisher.try_publish((*key, bytes)) {
            Ok(_) => {
                self.machine.handle_published(now);
                Ok(true)
            }
            Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                self.blocked = Some(progress);
                Ok(false)
            }
            // It would be refused again, and so would the stream be without this: it is a gap.
            Err(StreamError::Refused(Refusal::TooLong { .. })) => {
                self.machine.handle_unpublishable(GapCause::TooLarge);
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until subscribers have everything that was published, for at most `timeout`; returns whether they have.
fn has_all(publisher: &Publisher, timeout: Duration) -> bool {
    publisher.wait(Until::Received, timeout).is_ok_and(|is_so| is_so)
}

impl std::fmt::Debug for ReverseBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReverseBridge").field("machine", &self.machine).finish_non_exhaustive()
    }
}
