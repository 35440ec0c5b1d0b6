//! Publishes messages that a receiver measures, and receives and measures them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast::Rate;
use mcast_measure::wire::{STREAM_MESSAGE_LENGTH, SessionId, StreamMessage, UnixNanos};
use mcast_measure::{MessageCounts, MessageMeter};
use mcast_stream::publisher::{PublisherEvent, PublisherStatistics, Refusal};
use mcast_stream::subscriber::{Item, Message, SubscriberEvent};
use mcast_stream::wire::StreamId;
use mcast_stream::{Closing, Publisher, StreamError, Subscriber, Until};

use crate::{MessagePacer, StopSignal};

/// The longest wait before checking for events.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait at the end until all subscribers have everything.
const LINGER: Duration = Duration::from_secs(10);
/// How long to wait for the end of the stream to be confirmed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages between two checks of the clock.
const AT_ONCE: u64 = 64;
const SECOND: Duration = Duration::from_secs(1);

/// How much to publish, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct PublishPlan {
    /// The bytes of each message, at least [`STREAM_MESSAGE_LENGTH`]; smaller sizes are raised to it.
    pub size: usize,
    /// Messages per second; `None` is as fast as the subscribers and the network allow.
    pub rate: Option<f64>,
    /// The number of messages; `None` to publish for `duration`.
    pub count: Option<u64>,
    /// For how long to publish without a count.
    pub duration: Duration,
    /// The id of this machine's clock, which subscribers compare with theirs (see
    /// [`SessionSettings::clock`](mcast_measure::wire::SessionSettings::clock)); 0 if it is unknown.
    pub clock: u64,
}

/// Something that happens while messages are published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublishEvent {
    /// An event of the publisher.
    Publisher(PublisherEvent),
    /// A second is over.
    Second(PublishSecond),
}

/// What was published in the last second.
#[derive(Clone, Copy, Debug)]
pub struct PublishSecond {
    /// The time since the first message.
    pub elapsed: Duration,
    /// The time since the last such event.
    pub time: Duration,
    /// Messages published in this time.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Repairs sent in this time.
    pub repairs: u64,
}

/// How often messages had to wait for room, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackPressure {
    /// Waits for subscribers.
    pub for_subscribers: u64,
    /// Waits for the network.
    pub for_sending: u64,
    /// The time of all waits.
    pub time: Duration,
}

/// The results of a publisher.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishReport {
    /// The publisher's final counters.
    pub statistics: PublisherStatistics,
    /// The time from the first message to the last.
    pub time: Duration,
    /// The time from the first message until all subscribers had everything, or this was given up after 10 s.
    pub complete_time: Duration,
    /// How often messages had to wait.
    pub back_pressure: BackPressure,
    /// Subscribers that have everything.
    pub complete: usize,
    /// Subscribers that are present and have not confirmed everything.
    pub behind: usize,
}

/// Publishes numbered messages with their times.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::Publisher;
/// use mcast_traffic::{MessagePublisher, PublishPlan, StopSignal};
///
/// let publisher = Publisher::builder().to("239.255.2.3%eth0:5000".parse()?).build()?;
/// let plan =
///     PublishPlan { size: 1344, rate: Some(20e3), count: None, duration: Duration::from_secs(10), clock: 0 };
/// let stop = StopSignal::default();
/// let messages = MessagePublisher::new(&publisher, &plan, &stop);
/// if messages.wait_for_subscribers(1) {
///     let report = messages.run(|event| println!("{event:?}"))?;
///     println!("{} subscribers have everything", report.complete);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MessagePublisher<'a> {
    publisher: &'a Publisher,
    plan: &'a PublishPlan,
    stop: &'a StopSignal,
    buffer: Vec<u8>,
    metadata: StreamMessage,
    published: u64,
    back_pressure: BackPressure,
    /// The time and counters at the last event of a second.
    last_second: (Instant, PublisherStatistics),
}

impl<'a> MessagePublisher<'a> {
    /// Creates a publisher of messages. The signal ends it early.
    #[must_use]
    pub fn new(publisher: &'a Publisher, plan: &'a PublishPlan, stop: &'a StopSignal) -> Self {
        let metadata =
            StreamMessage { session: SessionId::random(), time: UnixNanos::now(), clock: plan.clock };
        Self {
            publisher,
            plan,
            stop,
            buffer: vec![0; plan.size.max(STREAM_MESSAGE_LENGTH)],
            metadata,
            published: 0,
            back_pressure: BackPressure::default(),
            last_second: (Instant::now(), publisher.statistics()),
        }
    }

    /// Waits until this number of subscribers have joined; returns `false` after the signal.
    #[must_use]
    pub fn wait_for_subscribers(&self, subscribers: usize) -> bool {
        while !self.publisher.wait_for(subscribers, POLL_INTERVAL) {
            if self.stop.is_set() {
                return false;
            }
        }
        true
    }

    /// Publishes according to the plan, waits until all subscribers have everything, and closes the publisher.
    ///
    /// # Errors
    /// If a message is refused permanently, or the system cannot send.
    pub fn run(mut self, mut on_event: impl FnMut(PublishEvent)) -> Result<PublishReport, StreamError> {
        let begun = Instant::now();
        self.last_second.0 = begun;
        self.publish_all(begun, &mut on_event)?;
        let published = Instant::now();
        while !self.publisher.wait(Until::Received, POLL_INTERVAL)?
            && published.elapsed() < LINGER
            && !self.stop.is_set()
        {}
        let complete_time = begun.elapsed();
        let Closing { statistics, complete, behind, .. } = self.publisher.close(CLOSE_TIMEOUT);
        Ok(PublishReport {
            statistics,
            time: published - begun,
            complete_time,
            back_pressure: self.back_pressure,
            complete,
            behind: behind.len(),
        })
    }

    fn publish_all(
        &mut self,
        begun: Instant,
        on_event: &mut impl FnMut(PublishEvent),
    ) -> Result<(), StreamError> {
        let PublishPlan { rate, count, duration, .. } = *self.plan;
        let end = if count.is_some() { None } else { begun.checked_add(duration) };
        let most = count.unwrap_or(u64::MAX);
        let (publisher, stop) = (self.publisher, self.stop);
        let mut due = MessagePacer::new(rate.map(Rate::Datagrams));
        while self.published < most && !stop.is_set() {
            if self.published.is_multiple_of(AT_ONCE) || rate.is_some() {
                let now = Instant::now();
                if end.is_some_and(|end| now >= end) {
                    break;
                }
                self.report_progress(begun, now, on_event);
            }
            if !due.wait(stop, || publisher.flush()) {
                break;
            }
            self.publish()?;
        }
        publisher.flush();
        Ok(())
    }

    /// Publishes the next message, and waits for room if necessary.
    fn publish(&mut self) -> Result<(), StreamError> {
        // The timestamp is that of the first attempt, so that a wait for room is part of the delay.
        self.metadata.time = UnixNanos::now();
        self.metadata.write(self.published, &mut self.buffer);
        let mut waiting: Option<Instant> = None;
        loop {
            let progress = self.publisher.progress();
            match self.publisher.try_publish(&self.buffer) {
                Ok(_) => break,
                Err(StreamError::Refused(refusal)) if refusal.is_temporary() => {
                    if waiting.is_none() {
                        waiting = Some(Instant::now());
                        match refusal {
                            Refusal::WaitingFor { .. } => self.back_pressure.for_subscribers += 1,
                            _ => self.back_pressure.for_sending += 1,
                        }
                    }
                    if self.stop.is_set() {
                        return Ok(());
                    }
                    self.publisher.wait_for_room(progress, POLL_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        }
        self.back_pressure.time += waiting.map_or(Duration::ZERO, |since| since.elapsed());
        self.published += 1;
        Ok(())
    }

    /// Reports events, and each second that is over.
    fn report_progress(&mut self, begun: Instant, now: Instant, on_event: &mut impl FnMut(PublishEvent)) {
        while let Some(event) = self.publisher.event() {
            on_event(PublishEvent::Publisher(event));
        }
        let (since, before) = self.last_second;
        if now - since < SECOND {
            return;
        }
        let statistics = self.publisher.statistics();
        on_event(PublishEvent::Second(PublishSecond {
            elapsed: now - begun,
            time: now - since,
            messages: statistics.messages - before.messages,
            bytes: statistics.message_bytes - before.message_bytes,
            repairs: repairs(&statistics) - repairs(&before),
        }));
        self.last_second = (now, statistics);
    }
}

const fn repairs(statistics: &PublisherStatistics) -> u64 {
    statistics.group_repairs + statistics.single_repairs
}

/// The longest wait before checking for the end.
const RECEIVE_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a subscriber has received from one publisher, such as a [`MessagePublisher`](crate::MessagePublisher).
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::Subscriber;
/// use mcast_traffic::{MessageRun, StopSignal};
///
/// let mut subscriber = Subscriber::builder().join("239.255.2.3%eth0:5000".parse()?).build()?;
/// let mut run = MessageRun::new(0);
/// let idle = Duration::from_secs(3);
/// run.listen(&mut subscriber, idle, None, &StopSignal::default(), |event| println!("{event:?}"))?;
/// println!("received {}, lost {}", run.meter.counts().messages, run.lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct MessageRun {
    /// The counts, jitter and delays of messages.
    pub meter: MessageMeter,
    /// The stream, once it is known.
    pub stream: Option<StreamId>,
    /// Where the subscriber has joined; `None` if it has not.
    pub joined: Option<RunStart>,
    /// The number of messages in the stream, once the publisher has announced its end.
    pub ended: Option<u64>,
    /// Messages that are lost permanently.
    pub lost: u64,
    /// How often a gap has held back later messages for long.
    pub stalls: u64,
    start: Instant,
    /// Whether the publisher has fallen silent.
    is_silent: bool,
    /// The time and counts at the last event of a second.
    last_second: (Instant, MessageCounts),
}

/// Where a subscriber has joined a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunStart {
    /// The address of the publisher.
    pub publisher: SocketAddr,
    /// Its incarnation.
    pub incarnation: u32,
    /// The number of the first message.
    pub message: u64,
}

/// Why [`MessageRun::listen`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The stream has ended, or its publisher has been silent for too long.
    Ended,
    /// The deadline has passed.
    TimeOver,
    /// The signal to stop is set.
    Stopped,
}

/// Something that happens while messages are received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunEvent {
    /// An event of the subscriber.
    Subscriber(SubscriberEvent),
    /// A second is over, in which messages arrived.
    Second(RunSecond),
}

/// What has arrived in the last second.
#[derive(Clone, Copy, Debug)]
pub struct RunSecond {
    /// The time since the last such event.
    pub time: Duration,
    /// Messages received in this time.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// All messages lost so far.
    pub lost: u64,
    /// The interarrival jitter (RFC 3550).
    pub jitter: Duration,
}

impl MessageRun {
    /// Creates a run on a machine whose clock has this id (see
    /// [`SessionSettings::clock`](mcast_measure::wire::SessionSettings::clock)); 0 if it is unknown. Delays are known
    /// only if the publisher has the same clock.
    #[must_use]
    pub fn new(clock: u64) -> Self {
        let now = Instant::now();
        Self {
            meter: MessageMeter::new(clock),
            start: now,
            joined: None,
            stream: None,
            ended: None,
            lost: 0,
            stalls: 0,
            is_silent: false,
            last_second: (now, MessageCounts::default()),
        }
    }

    /// Listens until the stream has ended, or its publisher has been silent for `idle`; until the deadline, or the
    /// signal, which is checked every 50 ms.
    ///
    /// # Errors
    /// As for [`Subscriber::next_timeout`].
    pub fn listen(
        &mut self,
        subscriber: &mut Subscriber,
        idle: Duration,
        deadline: Option<Instant>,
        stop: &StopSignal,
        mut on_event: impl FnMut(RunEvent),
    ) -> Result<RunEnd, StreamError> {
        let mut quiet_since = Instant::now();
        loop {
            if stop.is_set() {
                return Ok(RunEnd::Stopped);
            }
            let now = Instant::now();
            let left =
                deadline.map_or(RECEIVE_POLL_INTERVAL, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(RunEnd::TimeOver);
            }
            self.stream = self.stream.or_else(|| subscriber.stream());
            let item = match subscriber.next_timeout(left.min(RECEIVE_POLL_INTERVAL)) {
                Err(StreamError::Woken) => None,
                item => item?,
            };
            let has_arrived = match item {
                Some(Item::Message(Message { number, bytes, .. })) => {
                    self.meter.record(number.0, bytes, self.start.elapsed(), UnixNanos::now());
                    true
                }
                Some(Item::Event(event)) => {
                    self.note(&event);
                    on_event(RunEvent::Subscriber(event));
                    true
                }
                None => false,
            };
            // Silence counts only once the publisher is known to be silent: between messages, it sends heartbeats.
            if has_arrived {
                quiet_since = now;
            } else if subscriber.has_ended() || (self.is_silent && quiet_since.elapsed() > idle) {
                return Ok(RunEnd::Ended);
            }
            if let Some(second) = self.take_second() {
                on_event(RunEvent::Second(second));
            }
        }
    }

    fn note(&mut self, event: &SubscriberEvent) {
        match *event {
            SubscriberEvent::Joined { incarnation, publisher, message } => {
                self.joined = Some(RunStart { publisher, incarnation: incarnation.0, message: message.0 });
            }
            SubscriberEvent::Lost { first, end, .. } => self.lost += end.ahead_of(first),
            SubscriberEvent::Stalled { .. } => self.stalls += 1,
            SubscriberEvent::Ended { messages } => self.ended = Some(messages),
            SubscriberEvent::PublisherSilent => self.is_silent = true,
            SubscriberEvent::PublisherBack => self.is_silent = false,
            _ => {}
        }
    }

    /// Returns what has arrived in the last second, if it is over and something has.
    fn take_second(&mut self) -> Option<RunSecond> {
        let (since, before) = self.last_second;
        let time = since.elapsed();
        if time < SECOND {
            return None;
        }
        let counts = self.meter.counts();
        self.last_second = (Instant::now(), counts);
        (counts.messages > before.messages).then(|| RunSecond {
            time,
            messages: counts.messages - before.messages,
            bytes: counts.bytes - before.bytes,
            lost: self.lost,
            jitter: self.meter.jitter(),
        })
    }

    /// Returns the number of messages published since the first one received; `None` while the end is unknown.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        Some(self.ended?.saturating_sub(self.joined?.message))
    }
}
