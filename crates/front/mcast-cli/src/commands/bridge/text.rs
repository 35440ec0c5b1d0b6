//! Events and the summary as text.

use std::time::Duration;

use mcast_bridge::{BridgeEvent, BridgeStatistics, GapCause};
use mcast_stream::wire::MessageNumber;

use crate::output::{bytes, count_of, seconds};

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
