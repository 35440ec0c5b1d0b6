//! The settings of a bridge out of an engine.

use mcast_stream::Nanos;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::record::Position;

/// Where in the engine to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest record.
    Oldest,
    /// With the next record that is appended.
    New,
    /// With this message of the latest incarnation.
    Number(MessageNumber),
    /// With the first record of this time or later, in milliseconds since 1970.
    Time(u64),
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
    pub listen: Nanos,
    /// Take over from a bridge that was silent for this time. Default: 2 s.
    pub silence: Nanos,
    /// A random time by which this bridge listens longer, so that not all take over at once. Default: none.
    pub jitter: Nanos,
    /// How long to wait for the subscribers of the former bridge, or of the former incarnation. Default: 700 ms.
    pub claim: Nanos,
    /// How long to wait until subscribers have everything of an incarnation that is over. Default: 10 s.
    pub drain: Nanos,
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
            listen: Nanos::from_millis(1_500),
            silence: Nanos::from_secs(2),
            jitter: Nanos::ZERO,
            claim: Nanos::from_millis(700),
            drain: Nanos::from_secs(10),
        }
    }
}
