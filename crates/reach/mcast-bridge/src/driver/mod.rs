//! A bridge: a subscriber, the decisions, and a thread for the engine.

mod connection;
mod error;
mod replay;
mod reverse;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mcast::Receiver;
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::wire::{EngineKey, Origin, StreamId};
use mcast_stream::{ClockTime, StreamError, Subscriber, present_incarnation};
use mcast_sys::trace::{Described, Span};
use mcast_sys::{trace_event, trace_span};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::EngineRetention;
use crate::machine::{BridgeConfig, BridgeEvent, BridgeMachine, BridgeStatistics};
use crate::record::UnixMillis;
use connection::{EngineConnection, FIRST_RETRY, LONGEST_RETRY, Report};
pub use error::BridgeError;
use replay::GroupInput;
pub use replay::{GroupReplay, InterfaceNameOf};
pub use reverse::{ReverseBridge, ReverseNotice};

/// The longest wait, and the most messages to receive between two looks at the engine.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
const MESSAGES: usize = 64;

/// Something that a bridge reports.
#[derive(Clone, Debug)]
pub enum BridgeNotice {
    /// An event of the stream.
    Stream(SubscriberEvent),
    /// An event of the bridge.
    StreamBridge(BridgeEvent),
    /// There is a connection to the engine, again if there was one before.
    Connected,
    /// The engine cannot be used at present. The bridge tries again, and the subscriber buffers meanwhile.
    Disconnected(EngineError),
}

/// Where the records of a bridge come from.
#[derive(Debug)]
enum Input {
    Stream(Box<Subscriber>),
    Group(Box<GroupInput>),
}

/// A running bridge, of a stream or of plain groups.
#[derive(Debug)]
pub struct StreamBridge {
    input: Input,
    engine: EngineConnection,
    /// Exists once the stream is found.
    machine: Option<BridgeMachine>,
    config: BridgeConfig,
    stream: Option<StreamId>,
    is_connected: bool,
    /// Identifies the engine and the key.
    engine_key: Option<EngineKey>,
    /// What the engine removes on its own, until the machine exists.
    retention: EngineRetention,
    start: Instant,
    notices: std::collections::VecDeque<BridgeNotice>,
    span: Span,
}

impl StreamBridge {
    /// Starts a bridge. The stream of `config` is ignored: it is the one that the subscriber follows.
    ///
    /// # Errors
    /// If no thread can be started. Errors of the engine are reported by [`next`](Self::next).
    pub fn start(
        subscriber: Subscriber,
        engine: Arc<dyn Engine>,
        config: BridgeConfig,
    ) -> Result<Self, BridgeError> {
        // After an outage, all bridges are back before one of them gives up waiting for another at a hole.
        let longest_retry = (config.hole_wait / 2).clamp(FIRST_RETRY, LONGEST_RETRY);
        let engine = EngineConnection::start(engine, subscriber.waker(), longest_retry);
        Self::new(Input::Stream(Box::new(subscriber)), engine, None, config)
    }

    /// Starts a bridge of plain groups, which carry no stream. The stream of `config` identifies them. `name_of` returns
    /// the names of interfaces.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_group(
        receiver: Receiver,
        name_of: InterfaceNameOf,
        engine: Arc<dyn Engine>,
        config: BridgeConfig,
    ) -> Result<Self, BridgeError> {
        let engine = EngineConnection::start(engine, receiver.waker(), LONGEST_RETRY);
        let group = Some(config.group.unwrap_or_else(present_incarnation));
        // No other bridge has what is missing.
        let config = BridgeConfig { group, hole_wait: Duration::ZERO, ..config };
        let machine = BridgeMachine::new(config.clone());
        let input = Input::Group(Box::new(GroupInput::new(receiver, name_of)));
        Self::new(input, engine, Some(machine), config)
    }

    fn new(
        input: Input,
        engine: std::io::Result<EngineConnection>,
        machine: Option<BridgeMachine>,
        config: BridgeConfig,
    ) -> Result<Self, BridgeError> {
        Ok(Self {
            input,
            engine: engine.map_err(BridgeError::Thread)?,
            stream: machine.as_ref().map(|_| config.stream),
            machine,
            config,
            is_connected: false,
            engine_key: None,
            retention: EngineRetention::default(),
            start: Instant::now(),
            notices: std::collections::VecDeque::new(),
            span: trace_span!("bridge"),
        })
    }

    /// Waits for the next notice for at most `timeout` and returns it; `None` if the time is over, or a waker of the
    /// subscriber ended the wait.
    ///
    /// # Errors
    /// If the subscriber fails, or the engine cannot be used any more. An engine that may recover is a notice.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<BridgeNotice>, BridgeError> {
        let until = Instant::now() + timeout;
        loop {
            self.exchange(Duration::ZERO)?;
            if let Some(notice) = self.left_notice() {
                return Ok(Some(notice));
            }
            let left = until.saturating_duration_since(Instant::now());
            let is_woken = self.receive(left.min(LONGEST_WAIT))?;
            if left.is_zero() || is_woken && self.notices.is_empty() {
                self.exchange(Duration::ZERO)?;
                return Ok(self.left_notice());
            }
        }
    }

    /// Appends what was received, for at most `timeout`, without receiving more; returns whether everything is stored.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn flush(&mut self, timeout: Duration) -> Result<bool, BridgeError> {
        let (until, now) = (Instant::now() + timeout, self.now());
        if let Some(machine) = &mut self.machine {
            if let Input::Group(group) = &mut self.input {
                group.record_dropped(machine, now);
            }
            machine.finish();
        }
        while self.machine.as_ref().is_some_and(|machine| !machine.is_idle()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.exchange(self.until_deadline().min(left).min(Duration::from_millis(20)))?;
            if let Input::Stream(subscriber) = &mut self.input
                && !subscriber.is_over()
            {
                subscriber.keep_alive(Duration::ZERO)?;
            }
        }
        Ok(true)
    }

    /// Returns a notice that is left after [`flush`](Self::flush).
    pub fn left_notice(&mut self) -> Option<BridgeNotice> {
        let notice = self.notices.pop_front()?;
        let text = Described(&notice);
        match notice {
            BridgeNotice::Disconnected(_) => trace_event!(self.span, WARN, text),
            // The subscriber has recorded it.
            BridgeNotice::Stream(_) => {}
            _ => trace_event!(self.span, INFO, text),
        }
        Some(notice)
    }

    /// Replaces the secrets of sealed streams.
    pub fn set_keys(&mut self, keys: Keys) {
        if let Input::Stream(subscriber) = &mut self.input {
            subscriber.set_keys(keys);
        }
    }

    /// Returns the subscriber; `None` if the bridge keeps datagrams of plain groups.
    #[must_use]
    pub const fn subscriber(&self) -> Option<&Subscriber> {
        match &self.input {
            Input::Stream(subscriber) => Some(subscriber),
            Input::Group(_) => None,
        }
    }

    /// Returns the stream, once it is found.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Whether there is a connection to the engine.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Returns the counters, and how long the oldest record that is not stored has been waiting.
    #[must_use]
    pub fn statistics(&self) -> (BridgeStatistics, Duration) {
        let statistics = self.machine.as_ref().map(BridgeMachine::statistics).unwrap_or_default();
        (statistics, statistics.lag(self.now()))
    }

    fn now(&self) -> ClockTime {
        clock(self.start)
    }

    fn until_deadline(&self) -> Duration {
        let deadline =
            self.machine.as_ref().and_then(BridgeMachine::poll_timeout).unwrap_or(ClockTime::NEVER);
        deadline.since(self.now())
    }

    /// Handles reports of the engine, waiting for the first for at most `timeout`, and sends it what is due.
    fn exchange(&mut self, timeout: Duration) -> Result<(), BridgeError> {
        let mut timeout = timeout;
        while let Some(report) = self.engine.report(std::mem::take(&mut timeout)) {
            let now = self.now();
            match report {
                Report::Connected(key, retention) => {
                    self.is_connected = true;
                    self.engine_key = key;
                    self.check_origin()?;
                    self.notices.push_back(BridgeNotice::Connected);
                    match &mut self.machine {
                        Some(machine) => {
                            machine.handle_connected();
                            machine.handle_retention(now, retention);
                        }
                        None => {
                            let event = BridgeEvent::retention(&self.retention, &retention);
                            self.notices.extend(event.map(BridgeNotice::StreamBridge));
                            self.retention = retention;
                        }
                    }
                }
                Report::Response(response) => {
                    if let Some(machine) = &mut self.machine {
                        machine.handle_response(now, response)?;
                    }
                }
                Report::Failed(error) if !error.is_transient() => return Err(error.into()),
                Report::Failed(error) => {
                    self.is_connected = false;
                    self.machine.iter_mut().for_each(BridgeMachine::handle_disconnected);
                    self.notices.push_back(BridgeNotice::Disconnected(error));
                }
            }
        }
        let now = self.now();
        if let Some(machine) = &mut self.machine {
            while let Some(request) = machine.poll_request(now) {
                self.engine.send(request);
            }
            while let Some(event) = machine.poll_event() {
                self.notices.push_back(BridgeNotice::StreamBridge(event));
            }
        }
        Ok(())
    }

    /// Receives messages until there are none, waiting for the first for at most `timeout`; returns whether a waker
    /// ended the wait.
    fn receive(&mut self, timeout: Duration) -> Result<bool, BridgeError> {
        let mut wait = timeout.min(self.until_deadline());
        let is_full = self.machine.as_ref().is_some_and(BridgeMachine::is_full);
        let subscriber = match &mut self.input {
            Input::Group(group) => {
                // What the buffer has no room for waits in the socket, and what the socket has no room for is counted.
                if let Some(machine) = self.machine.as_mut().filter(|machine| !is_full && machine.has_begun())
                {
                    let start = self.start;
                    return Ok(group.receive(machine, || clock(start), wait)?);
                }
                self.exchange(wait)?;
                return Ok(false);
            }
            Input::Stream(subscriber) => subscriber,
        };
        if is_full {
            subscriber.keep_alive(wait)?;
            return Ok(true);
        }
        if subscriber.is_over() {
            self.exchange(wait)?;
            return Ok(false);
        }
        // Messages that are there without a wait share the time of the first one.
        let mut times = None;
        for _ in 0..MESSAGES {
            let Input::Stream(subscriber) = &mut self.input else { break };
            let item = match subscriber.next_timeout(std::mem::take(&mut wait)) {
                Err(StreamError::Woken) => None,
                item => item?,
            };
            let Some(item) = item else { return Ok(true) };
            match item {
                Item::Message(message) => {
                    if let Some(machine) = &mut self.machine {
                        let (now, time) = *times.get_or_insert_with(|| (clock(self.start), time_of_day()));
                        machine.handle_message(now, time, &message);
                        let (is_refusing, is_full) = (machine.is_refusing(), machine.is_full());
                        if is_refusing {
                            // A publisher must not believe that it is stored.
                            let position = message.position();
                            subscriber.withdraw_before(position.following());
                        }
                        if is_full {
                            return Ok(false);
                        }
                    }
                }
                Item::Event(event) => {
                    self.handle(&event)?;
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn handle(&mut self, event: &SubscriberEvent) -> Result<(), BridgeError> {
        use SubscriberEvent::{Continued, Joined, Restarted};
        if let SubscriberEvent::StreamChanged { from, to } = *event {
            return Err(BridgeError::StreamChanged { from, to });
        }
        if self.machine.is_none()
            && let Some(stream) = self.subscriber().and_then(Subscriber::stream)
        {
            self.stream = Some(stream);
            let mut machine = BridgeMachine::new(BridgeConfig { stream, ..self.config.clone() });
            machine.set_retention(std::mem::take(&mut self.retention));
            if self.is_connected {
                machine.handle_connected();
            }
            self.machine = Some(machine);
        }
        let now = self.now();
        let origin = self.subscriber().and_then(Subscriber::origin);
        if matches!(event, Joined { .. } | Restarted { .. } | Continued { .. }) {
            self.check_origin()?;
        }
        if let Some(machine) = &mut self.machine {
            machine.set_engines(origin.map(|origin| origin.engines).unwrap_or_default());
            // Messages out of an engine keep their positions, whichever bridge publishes them.
            let event = match (*event, origin) {
                (Joined { publisher, message, .. }, Some(Origin { incarnation, .. })) => {
                    Joined { incarnation, publisher, message }
                }
                (Restarted { from, .. }, Some(Origin { incarnation: to, .. })) => Restarted { from, to },
                (event, _) => event,
            };
            machine.handle_event(now, time_of_day(), &event);
        }
        self.notices.push_back(BridgeNotice::Stream(*event));
        Ok(())
    }

    /// Checks that the messages of the stream did not come out of the engine that they must be stored in.
    fn check_origin(&self) -> Result<(), BridgeError> {
        let origin = self.subscriber().and_then(Subscriber::origin);
        let engines = origin.map(|origin| origin.engines).unwrap_or_default();
        match self.engine_key.filter(|key| engines.contains(*key)) {
            Some(_) => Err(BridgeError::WriteBack),
            None => Ok(()),
        }
    }
}

/// Returns the time since the start of a bridge.
fn clock(start: Instant) -> ClockTime {
    ClockTime::START + start.elapsed()
}

/// Returns the time of day.
fn time_of_day() -> UnixMillis {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
