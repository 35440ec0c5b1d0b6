//! Events and the summary as JSON.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast_bridge::{BridgeEvent, BridgeStatistics, EngineError};
use mcast_stream::wire::MessageNumber;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};
use serde::Serialize;

use crate::message_layer::ServedHistory;
use crate::output::rfc3339;

/// An event of a bridge: `schemas/bridge-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct BridgeRecord {
    event: &'static str,
    time: String,
    engine: Option<String>,
    address: Option<SocketAddr>,
    incarnation: Option<u32>,
    sequence: Option<MessageNumber>,
    count: Option<u64>,
    cause: Option<&'static str>,
    reason: Option<String>,
    remedy: Option<String>,
    /// How many like it were withheld before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

impl BridgeRecord {
    fn new(event: &'static str) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), ..Self::default() }
    }

    /// Returns the name of the event.
    pub(super) const fn event(&self) -> &'static str {
        self.event
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

    pub(super) fn serving_history(at: SocketAddr) -> Self {
        Self { address: Some(at), ..Self::new("serving-history") }
    }

    /// `count` is how many requests for the history were refused so far, and `more` how many of them are not reported.
    pub(super) fn history_refused(refused: RefusedRequest, count: u64, more: u64) -> Self {
        Self {
            address: Some(refused.client),
            count: Some(count),
            more: (more > 0).then_some(more),
            reason: Some(refused.reason),
            ..Self::new("history-refused")
        }
    }

    /// A bridge of a file has failed.
    pub(super) fn failed(reason: String, remedy: Option<String>) -> Self {
        Self { reason: Some(reason), remedy, ..Self::new("failed") }
    }

    /// The file of bridges was read again: it has `count`.
    pub(super) fn reloaded(count: u64) -> Self {
        Self { count: Some(count), ..Self::new("reloaded") }
    }

    pub(super) fn not_reloaded(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::new("not-reloaded") }
    }

    pub(super) fn of(event: &BridgeEvent) -> Self {
        match *event {
            BridgeEvent::Waiting(hole) => Self {
                incarnation: Some(hole.start.incarnation.0),
                sequence: Some(hole.start.number),
                count: (hole.end != MessageNumber::MAX).then(|| hole.end.ahead_of(hole.start.number)),
                ..Self::new("waiting")
            },
            BridgeEvent::OtherBridge => Self::new("other-bridge"),
            BridgeEvent::Gap { incarnation, first, end, cause } => Self {
                incarnation: Some(incarnation.0),
                sequence: Some(first),
                count: end.map(|end| end.ahead_of(first)),
                cause: Some(cause.name()),
                ..Self::new("gap")
            },
            BridgeEvent::Superseded { incarnation, .. } => {
                Self { incarnation: Some(incarnation.0), ..Self::new("superseded") }
            }
            BridgeEvent::Ahead { incarnation, .. } => {
                Self { incarnation: Some(incarnation.0), ..Self::new("ahead-of-clock") }
            }
            BridgeEvent::EngineLost { now, .. } => Self {
                incarnation: now.map(|now| now.incarnation.0),
                sequence: now.map(|now| now.number),
                ..Self::new("engine-lost")
            },
            BridgeEvent::EngineHealed { now } => Self {
                incarnation: Some(now.incarnation.0),
                sequence: Some(now.number),
                ..Self::new("engine-healed")
            },
            _ => Self::new("other"),
        }
    }
}

/// The summary: `schemas/bridge-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    engine: String,
    stream: Option<String>,
    seconds: f64,
    messages: u64,
    bytes: u64,
    appended: u64,
    already_stored: u64,
    refused: u64,
    gaps: u64,
    missing: u64,
    engine_losses: u64,
    superseded: u64,
    not_stored: u64,
    pending: u64,
    history: Option<ServedHistory>,
}

impl Summary {
    pub(super) fn new(
        engine: &str,
        stream: Option<String>,
        statistics: &BridgeStatistics,
        history: Option<&HistoryServerStatistics>,
        time: Duration,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            stream,
            seconds: time.as_secs_f64(),
            messages: statistics.messages,
            bytes: statistics.message_bytes,
            appended: statistics.appended,
            already_stored: statistics.already_stored,
            refused: statistics.refused,
            gaps: statistics.gaps,
            missing: statistics.missing,
            engine_losses: statistics.engine_losses,
            superseded: statistics.superseded,
            not_stored: statistics.not_stored,
            pending: statistics.pending as u64,
            history: history.map(ServedHistory::new),
        }
    }
}
