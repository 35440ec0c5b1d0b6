//! Reports that the log exceeds `--max-size` or `--max-age`, because messages in it are still needed.

use std::time::SystemTime;

use mcast_stream::LogHold;
use mcast_stream::wire::MessageNumber;
use serde::Serialize;

use crate::log_lines::LogLines;
use crate::output::{bytes, rfc3339};

const HELD: &str = "log-held";
const RELEASED: &str = "log-released";
/// The events.
#[cfg(feature = "schema")]
pub(super) const EVENTS: [&str; 2] = [HELD, RELEASED];

/// One object when the log exceeds its limits, when the publisher begins to wait because of that, and when the log has been within
/// them for 10 s.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct HoldRecord {
    /// Whether the log exceeds its limits (`log-held`), or not any more (`log-released`)
    event: &'static str,
    /// Time of the event (RFC 3339, UTC, with nanoseconds)
    time: String,
    /// Only with `log-held`: number of the first message that is retained because it is needed
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<MessageNumber>,
    /// Only with `log-held`: length of the log in bytes
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Only with `log-held`: whether nothing more is accepted until messages were sent or acknowledged
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<bool>,
}

/// What was reported last.
#[derive(Debug, Default)]
pub(super) struct HoldReporter {
    hold: Option<LogHold>,
}

impl HoldReporter {
    /// Reports a change; returns its event.
    pub(super) fn report(&mut self, hold: Option<LogHold>, lines: &LogLines<'_>) -> Option<HoldRecord> {
        let (before, waits) = (self.hold, hold.map(|hold| hold.waits));
        let is_news = before.map(|before| before.waits) != waits;
        self.hold = hold;
        if !is_news {
            return None;
        }
        let time = rfc3339(SystemTime::now());
        let Some(LogHold { first, bytes: length, waits, .. }) = hold else {
            lines.of(RELEASED).note("the log is within its limits again");
            return Some(HoldRecord { event: RELEASED, time, first: None, bytes: None, waits: None });
        };
        lines.of(HELD).warn(text(&hold?));
        let (first, bytes, waits) = (Some(first), Some(length), Some(waits));
        Some(HoldRecord { event: HELD, time, first, bytes, waits })
    }
}

fn text(hold: &LogHold) -> String {
    let LogHold { first, bytes: length, is_too_large, waits, .. } = *hold;
    let exceeded = match is_too_large {
        true => format!("the log has {}, more than --max-size", bytes(length)),
        false => "the log has messages that are older than --max-age".to_owned(),
    };
    match waits {
        true => format!(
            "{exceeded}, because message {first} has not been sent or acknowledged yet: it is retained, and no more messages are accepted until it has been"
        ),
        false => format!(
            "{exceeded}, because message {first} has not been sent, acknowledged or received by a subscriber yet: it is retained until it has been"
        ),
    }
}
