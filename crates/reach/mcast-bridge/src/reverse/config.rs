//! The settings and the events of a bridge out of an engine.

use std::time::Duration;

use mcast_json::{count_of, events};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::machine::ShownCause;
use crate::record::{GapCause, Position, UnixMillis};

/// Where in the engine to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest record.
    Oldest,
    /// With the next record that is appended.
    New,
    /// With this message of the latest incarnation.
    Number(MessageNumber),
    /// With the first record of this time or later.
    Time(UnixMillis),
    /// With the record at this position, or the next one.
    Position(Position),
}

/// Settings of a [`ReverseMachine`](super::ReverseMachine).
#[derive(Clone, Debug)]
pub struct ReverseConfig {
    /// The stream that is published. It must not be the one in the engine.
    pub stream: StreamId,
    /// A random number that identifies this bridge.
    pub publisher: u32,
    /// The incarnation by the time of day when the bridge starts: quarters of a second.
    pub incarnation: Incarnation,
    /// A random number below 4, which is added, so that two bridges that begin at the same time usually have different
    /// incarnations. A greater number would get ahead of the time of day.
    pub step: u32,
    /// Where to start, unless another bridge has begun. Default: with the oldest record.
    pub start: StartAt,
    /// The speed relative to the recorded times. `None`: as fast as subscribers receive. Default: `None`.
    pub speed: Option<f64>,
    /// Whether to wait for the next incarnation after the end of the stream. Default: no.
    pub stay: bool,
    /// How many subscribers to wait for before anything is published. Default: 0.
    pub wait_for: u64,
    /// How long to listen for another bridge at the start. Default: 1.5 s, in which the incarnation by the time of day
    /// becomes greater than that of a bridge that was killed just before.
    pub listen: Duration,
    /// Take over from a bridge that was silent for this time. Default: 2 s.
    pub silence: Duration,
    /// A random time by which this bridge listens longer, so that not all take over at once. Default: none.
    pub jitter: Duration,
    /// How long to wait for the subscribers of the former bridge, or of the former incarnation. Default: 700 ms.
    pub claim: Duration,
    /// How long to wait until subscribers have everything of an incarnation that is over. Default: 10 s.
    pub drain: Duration,
}

impl ReverseConfig {
    /// Returns the default settings.
    #[must_use]
    pub const fn new(stream: StreamId, publisher: u32, incarnation: Incarnation) -> Self {
        Self {
            stream,
            publisher,
            incarnation,
            step: 0,
            start: StartAt::Oldest,
            speed: None,
            stay: false,
            wait_for: 0,
            listen: Duration::from_millis(1_500),
            silence: Duration::from_secs(2),
            jitter: Duration::ZERO,
            claim: Duration::from_millis(700),
            drain: Duration::from_secs(10),
        }
    }
}

events! {
    /// An event of a bridge out of an engine. `unit` is what it publishes: messages or datagrams.
    ///
    /// It is exhaustive: a program that shows events shows each.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ReverseEvent for unit: &str {
        /// Another bridge publishes the stream, and this one is silent.
        StandingBy {
            /// The other bridge's incarnation.
            incarnation: Incarnation,
        } is Note "standing-by" { publisher_incarnation: u64::from(incarnation.0) }: format!(
            "another bridge publishes the stream, under incarnation {publisher_incarnation}: standing by"
        ),
        /// This bridge publishes from now on.
        Began {
            /// Its incarnation.
            incarnation: Incarnation,
            /// The position in the engine of the first message.
            position: Position,
        } is Note "began" {
            publisher_incarnation: u64::from(incarnation.0),
            incarnation: u64::from(position.incarnation.0),
            sequence: position.number.0,
        }: format!("publishing under incarnation {publisher_incarnation}, starting with {position}"),
        /// This bridge continues for another one from now on.
        TookOver {
            /// Its incarnation.
            incarnation: Incarnation,
            /// The position in the engine of the first message.
            position: Position,
        } is Note "took-over" {
            publisher_incarnation: u64::from(incarnation.0),
            incarnation: u64::from(position.incarnation.0),
            sequence: position.number.0,
        }: format!("taking over under incarnation {publisher_incarnation}, starting with {position}"),
        /// This bridge has waited for subscribers for 5 s. Subscribers that have received messages of a later incarnation in
        /// the engine, or the end of this one, do not join.
        WaitingForSubscribers {
            /// How many have joined.
            joined: u64,
            /// How many it waits for.
            required: u64,
        } is Problem "waiting-for-subscribers" { count: required.saturating_sub(*joined) }: format!(
            "nothing is published yet: waiting for {} (--wait-for). A subscriber that has received later messages of this \
             stream does not join",
            count_of(count, "more subscriber")
        ); Some(
            "start such a subscriber again, or publish under another name with --name, or further on with --from".to_owned()
        ),
        /// The messages from `from` to before `end` are missing in the engine, and subscribers report them as lost.
        Gap {
            /// The first missing message.
            from: Position,
            /// One past the last missing message.
            end: MessageNumber,
            /// Why, from the gap record; `None` if there is none, because records were removed from the engine.
            cause: Option<GapCause>,
        } is Problem "gap" {
            incarnation: u64::from(from.incarnation.0),
            sequence: from.number.0,
            count: end.ahead_of(from.number),
            cause: ShownCause(*cause),
        }: format!("the broker lacks {}, starting with {from}: {cause}", count_of(count, unit)),
        /// An unknown number of messages may be missing in the engine. Subscribers report that when the next incarnation
        /// begins.
        OpenGap {
            /// The first message that may be missing.
            position: Position,
            /// Why.
            cause: GapCause,
        } is Problem "gap" {
            incarnation: u64::from(position.incarnation.0),
            sequence: position.number.0,
            cause: ShownCause(Some(*cause)),
        }: format!("the broker may lack {unit}s, starting with {position}: {cause}"),
        /// The stream in the engine was closed.
        Ended {
            /// The incarnation.
            incarnation: Incarnation,
            /// The number of its messages.
            messages: u64,
        } is Note "ended" { incarnation: u64::from(incarnation.0), count: *messages }:
            format!("incarnation {incarnation} has ended after {}", count_of(count, "message")),
    }
}

/// Why a stream is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReverseRefusal {
    /// The group carries the stream from a publisher that does not read it from an engine.
    #[error("the stream is published already, and not by a bridge")]
    NotABridge,
    /// The stream is published by a bridge that reads another stream.
    #[error(
        "the stream is published already by a bridge that reads stream {there}, and the broker holds stream {here}"
    )]
    OtherContent {
        /// The stream in the engine.
        here: StreamId,
        /// The stream that the other bridge reads.
        there: StreamId,
    },
    /// The stream in the engine is the one that must be published.
    #[error("the broker holds stream {0} itself, so that its publisher and this bridge would be mixed up")]
    SameStream(StreamId),
    /// The engine holds another stream than before.
    #[error("the broker held stream {from}, and now holds stream {to}")]
    StreamChanged {
        /// The stream that it held.
        from: StreamId,
        /// The stream that it holds.
        to: StreamId,
    },
    /// The messages came out of too many engines.
    #[error("the messages have already passed {} brokers", mcast_stream::wire::VisitedEngines::MAX)]
    TooManyEngines,
}

mcast_metrics::figures! {
    /// The counters of a bridge out of an engine.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ReverseStatistics {
        /// Messages published.
        count messages as "published_messages": u64,
        /// Bytes of the messages published.
        count message_bytes as "published_bytes": u64,
        /// Gaps in the engine.
        count gaps: u64,
        /// Messages in the gaps in the engine, as far as their number is known.
        count missing: u64,
        /// How often the bridge has begun to publish.
        count begun: u64,
        /// How often the bridge has taken over from another one.
        count takeovers: u64,
        other {
            /// The incarnation that it published under last.
            pub incarnation: Option<Incarnation>,
            /// The position of the last message that it published.
            pub published: Option<Position>,
        }
    }
}
