//! Receives the messages of one publisher, checks each, and measures them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast_measure::wire::UnixNanos;
use mcast_measure::{MessageCounts, MessageMeter};
use mcast_stream::subscriber::{Item, Message, SubscriberEvent};
use mcast_stream::wire::StreamId;
use mcast_stream::{StreamError, Subscriber};

use crate::StopSignal;

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// What a subscriber has received from one publisher, such as a [`MessagePublisher`](crate::MessagePublisher).
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast_stream::Subscriber;
/// use mcast_traffic::{MessageRun, StopSignal};
///
/// let mut subscriber = Subscriber::builder().join("239.1.2.3%eth0:5000".parse()?).build()?;
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
            let left = deadline.map_or(POLL_INTERVAL, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(RunEnd::TimeOver);
            }
            self.stream = self.stream.or_else(|| subscriber.stream());
            let item = match subscriber.next_timeout(left.min(POLL_INTERVAL)) {
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
