//! Events and the summary as JSON.

use std::time::{Duration, SystemTime};

use mcast_bridge::{EngineError, ReverseEvent, ReverseStatistics};
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};
use serde::Serialize;

use crate::output::rfc3339;

/// An event of a bridge out of an engine: `schemas/bridge-publish-event.json`. Fields that do not apply to an event are
/// null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct EventRecord {
    event: &'static str,
    time: String,
    engine: Option<String>,
    publisher_incarnation: Option<u32>,
    incarnation: Option<u32>,
    sequence: Option<MessageNumber>,
    count: Option<u64>,
    cause: Option<&'static str>,
    reason: Option<String>,
    remedy: Option<String>,
}

impl EventRecord {
    fn new(event: &'static str) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), ..Self::default() }
    }

    pub(super) fn connected(engine: &str) -> Self {
        Self { engine: Some(engine.to_owned()), ..Self::new("connected") }
    }

    pub(super) fn disconnected(engine: &str, error: &EngineError) -> Self {
        Self {
            engine: Some(engine.to_owned()),
            reason: Some(error.what.clone()),
            remedy: error.remedy.clone(),
            ..Self::new("disconnected")
        }
    }

    fn at(event: &'static str, incarnation: Incarnation, number: MessageNumber) -> Self {
        Self { incarnation: Some(incarnation.0), sequence: Some(number), ..Self::new(event) }
    }

    pub(super) fn of(event: &ReverseEvent) -> Self {
        match *event {
            ReverseEvent::StandingBy { incarnation } => {
                Self { publisher_incarnation: Some(incarnation.0), ..Self::new("standing-by") }
            }
            ReverseEvent::Began { incarnation, position, is_takeover } => Self {
                publisher_incarnation: Some(incarnation.0),
                ..Self::at(
                    if is_takeover { "took-over" } else { "began" },
                    position.incarnation,
                    position.number,
                )
            },
            ReverseEvent::WaitingForSubscribers { joined, required } => {
                Self { count: Some(required.saturating_sub(joined)), ..Self::new("waiting-for-subscribers") }
            }
            ReverseEvent::Gap { from, end, cause } => Self {
                count: Some(end.ahead_of(from.number)),
                cause: Some(cause.map_or("removed", |cause| cause.name())),
                ..Self::at("gap", from.incarnation, from.number)
            },
            ReverseEvent::OpenGap { position, cause } => {
                Self { cause: Some(cause.name()), ..Self::at("gap", position.incarnation, position.number) }
            }
            ReverseEvent::Ended { incarnation, messages } => {
                Self { incarnation: Some(incarnation.0), count: Some(messages), ..Self::new("ended") }
            }
            _ => Self::new("other"),
        }
    }
}

/// The summary: `schemas/bridge-publish-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    engine: String,
    stream: Option<String>,
    seconds: f64,
    messages: u64,
    bytes: u64,
    gaps: u64,
    missing: u64,
    begun: u64,
    takeovers: u64,
    complete: bool,
}

impl Summary {
    pub(super) fn new(
        engine: &str,
        stream: Option<StreamId>,
        statistics: &ReverseStatistics,
        time: Duration,
        complete: bool,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            stream: stream.map(|stream| stream.to_string()),
            seconds: time.as_secs_f64(),
            messages: statistics.messages,
            bytes: statistics.message_bytes,
            gaps: statistics.gaps,
            missing: statistics.missing,
            begun: statistics.begun,
            takeovers: statistics.takeovers,
            complete,
        }
    }
}
