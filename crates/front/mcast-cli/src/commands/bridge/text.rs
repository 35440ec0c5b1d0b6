//! What a bridge into an engine reports, as text and as JSON.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mcast_bridge::{BridgeEvent, BridgeStatistics, EngineError, GapCause};
use mcast_stream::wire::MessageNumber;
use mcast_stream::{HistoryServerStatistics, RefusedRequest};
use serde::Serialize;

use crate::message_layer::ServedHistory;
use crate::output::{bytes, count_of, rfc3339, seconds};

/// Returns an event as text, and whether it is a warning. `unit` is what is kept: messages or datagrams.
pub(super) fn describe_bridge(event: &BridgeEvent, unit: &str) -> (bool, String) {
    match *event {
        BridgeEvent::Waiting(hole) => {
            let missing = match hole.end {
                MessageNumber::MAX => "an unknown number of messages".to_owned(),
                end => count_of(end.ahead_of(hole.start.number), "message"),
            };
            let (number, incarnation) = (hole.start.number, hole.start.incarnation);
            let place = format!("starting with {number} of incarnation {incarnation}");
            (false, format!("waiting in case another bridge has {missing}, {place}"))
        }
        BridgeEvent::OtherBridge => (
            false,
            "another bridge keeps datagrams there, or did within the last 5 s; datagrams are buffered until it is gone"
                .to_owned(),
        ),
        BridgeEvent::Gap { incarnation, first, end, cause } => {
            let missing = match end {
                Some(end) => count_of(end.ahead_of(first), &format!("missing {unit}")),
                None => format!("an unknown number of missing {unit}s"),
            };
            let place = format!("starting with {first} of incarnation {incarnation}");
            (true, format!("recorded {missing}, {place}: {}", cause_text(cause)))
        }
        BridgeEvent::Superseded { incarnation, stored } => {
            let text = format!(
                "messages of incarnation {incarnation} are not stored, because incarnation {stored} is stored already: \
                 the publisher's clock was set back (see publish --state), or another bridge has stored them; to store \
                 them, use another key of the engine, or delete this one"
            );
            (true, text)
        }
        BridgeEvent::Ahead { incarnation, present } => {
            let text = format!(
                "messages of incarnation {incarnation} are not stored, because it is far ahead of the clock, which gives \
                 {present}, and nothing could be stored after it: the clock of the publisher or of this machine is wrong, \
                 or somebody forges the stream (see --accept-ahead)"
            );
            (true, text)
        }
        BridgeEvent::EngineLost { before, now: Some(now) } => (
            true,
            format!("the engine lost records that it had stored: its last was {before}, and is now {now}"),
        ),
        BridgeEvent::EngineLost { before, now: None } => {
            (true, format!("the stream was deleted in the engine, where its last record was {before}"))
        }
        BridgeEvent::EngineHealed { now } => {
            (false, format!("the engine has again what it had lost, up to {now}"))
        }
        _ => (false, format!("{event:?}")),
    }
}

fn cause_text(cause: GapCause) -> &'static str {
    match cause {
        GapCause::JoinedLate => "no bridge was there when they were published",
        GapCause::EngineLost => "the engine lost them, and they are no longer buffered (see --buffer)",
        GapCause::ReceiveBufferFull => "the system dropped them, because the receive buffer was full",
        GapCause::Lost(_) => "no bridge received them",
    }
}

/// Returns the note on a backlog.
pub(super) fn backlog_text(statistics: &BridgeStatistics, lag: Duration) -> String {
    let pending = count_of(statistics.pending as u64, "record");
    let size = bytes(statistics.pending_bytes as u64);
    format!("{pending} ({size}) are not stored yet; the oldest has been waiting for {}", seconds(lag))
}

/// Returns the summary. `unit` is what is kept: messages or datagrams.
pub(super) fn summary_text(statistics: &BridgeStatistics, unit: &str, time: Duration) -> String {
    let others = match statistics.already_stored {
        0 => String::new(),
        records => format!("; {} had been stored before", count_of(records, "record")),
    };
    let gaps = match statistics.gaps {
        0 => "no gaps".to_owned(),
        gaps => {
            let missing = count_of(statistics.missing, &format!("missing {unit}"));
            format!("{} for {missing}", count_of(gaps, "gap"))
        }
    };
    let not_stored = match statistics.not_stored {
        0 => String::new(),
        messages => format!("; not stored: {}", count_of(messages, unit)),
    };
    format!(
        "received {} ({}) in {}; appended {}{others}; {gaps}{not_stored}",
        count_of(statistics.messages, unit),
        bytes(statistics.message_bytes),
        seconds(time),
        count_of(statistics.appended, "record"),
    )
}

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
