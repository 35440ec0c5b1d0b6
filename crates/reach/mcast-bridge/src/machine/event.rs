//! What a bridge reports: its events, its counters, and why nothing may be stored.

use std::time::Duration;

use mcast_json::{EventField, EventValue, count_of, events};
use mcast_stream::ClockTime;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::engine::PendingGap;
use crate::limits::{EngineRetention, RetentionRule, UnstorableRecord};
use crate::record::{GapCause, Position};

/// Why an engine no longer has what it had stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// It does not say: the stream was deleted, or the server has failed.
    Unknown,
    /// It has evicted streams since the bridge last saw these records.
    Evicted {
        /// How many it has evicted since it started, as it counts.
        evictions: u64,
    },
}

events! {
    /// Something that happened to a bridge into an engine. `unit` is what it keeps: messages or datagrams.
    ///
    /// It is exhaustive: a program that shows events shows each.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum BridgeEvent for unit: &str {
        /// The bridge lacks messages, and waits in case another bridge has them.
        Waiting(hole: PendingGap) is Note "waiting" {
            incarnation: u64::from(hole.start.incarnation.0),
            sequence: hole.start.number.0,
            count: (hole.end != MessageNumber::MAX).then(|| hole.end.ahead_of(hole.start.number)),
        }: format!(
            "waiting in case another bridge has {}, starting with {sequence} of incarnation {incarnation}",
            count.map_or_else(|| "an unknown number of messages".to_owned(), |count| count_of(count, "message"))
        ),
        /// Another bridge keeps datagrams there, or did within the last seconds. Until it is gone, nothing is stored.
        OtherBridge is Note "other-bridge" {}:
            "another bridge keeps datagrams there, or did within the last 5 s; datagrams are buffered until it is gone"
                .to_owned(),
        /// The bridge recorded that messages are missing.
        Gap {
            /// Their incarnation.
            incarnation: Incarnation,
            /// The first of them.
            first: MessageNumber,
            /// One past the last of them; `None` if their number is unknown.
            end: Option<MessageNumber>,
            /// Why.
            cause: GapCause,
        } is Problem "gap" {
            incarnation: u64::from(incarnation.0),
            sequence: first.0,
            count: end.map(|end| end.ahead_of(*first)),
            cause: ShownCause(Some(*cause)),
        }: format!(
            "recorded {}, starting with {sequence} of incarnation {incarnation}: {cause}",
            match count {
                Some(count) => count_of(count, &format!("missing {unit}")),
                None => format!("an unknown number of missing {unit}s"),
            }
        ),
        /// Messages arrive of an incarnation that is older than the last record. They are not stored, unless another bridge
        /// stored them before: the publisher's clock was set back, or this bridge is late.
        Superseded {
            /// The incarnation of the messages.
            incarnation: Incarnation,
            /// That of the last record.
            stored: Incarnation,
        } is Problem "superseded" { incarnation: u64::from(incarnation.0) }: format!(
            "messages of incarnation {incarnation} are not stored, because incarnation {stored} is stored already: \
             the publisher's clock was set back (see publish --state), or another bridge has stored them"
        ); Some("to store them, use another key of the broker, or delete this one".to_owned()),
        /// Messages arrive of an incarnation that is far ahead of the clock. They are not stored, because nothing after them
        /// could be: the clock of the publisher or of this machine is wrong, or somebody forges the stream.
        Ahead {
            /// The incarnation of the messages.
            incarnation: Incarnation,
            /// The incarnation that a publisher has that starts now.
            present: Incarnation,
        } is Problem "ahead-of-clock" { incarnation: u64::from(incarnation.0) }: format!(
            "messages of incarnation {incarnation} are not stored, because it is far ahead of the clock, which gives \
             {present}, and nothing could be stored after it: the clock of the publisher or of this machine is wrong, \
             or somebody forges the stream"
        ); Some("set the clock, or store them with --accept-ahead".to_owned()),
        /// The engine has lost records that it had stored.
        EngineLost {
            /// Its last record before.
            before: Position,
            /// Its last record now; `None` if it has none.
            now: Option<Position>,
            /// Why.
            loss: LossCause,
            /// How long the bridge waits before it appends again what the engine has lost.
            pause: Duration,
            /// Messages that it does not append again, because the engine has lost them too often. A gap is recorded instead.
            given_up: u64,
        } is Problem "engine-lost" {
            incarnation: now.map(|now| u64::from(now.incarnation.0)),
            sequence: now.map(|now| now.number.0),
            count: *given_up,
            cause: matches!(loss, LossCause::Evicted { .. }).then_some("evicted"),
        }: loss_text(*before, *now, loss, *pause, *given_up, unit),
        /// The engine removes old records on its own: reported at a connection, and again when its rules change.
        Retention(retention: EngineRetention) is Detail "retention" {
            reason: retention_text(retention),
        }: reason.clone(),
        /// The engine may remove what was just stored: reported as [`Retention`](Self::Retention).
        HastyRetention(retention: EngineRetention) is Problem "retention" {
            reason: retention_text(retention),
        }: reason.clone(),
        /// The engine can never take a message, and a gap is recorded instead.
        Unstorable(record: UnstorableRecord) is Problem "unstorable" {
            incarnation: u64::from(record.position.incarnation.0),
            sequence: record.position.number.0,
            count: 1_u64,
            cause: record.why.cause().name(),
            reason: format!("the broker does not take it{}", record.sizes()),
        }: format!("the broker does not take {}{}; a gap is recorded instead", record.position, record.sizes());
            Some(record.remedy.to_owned()),
        /// The engine has stored again what it had lost.
        EngineHealed {
            /// Its last record.
            now: Position,
        } is Note "engine-healed" {
            incarnation: u64::from(now.incarnation.0),
            sequence: now.number.0,
        }: format!("the broker has the lost records again, up to {now}"),
    }
}

/// Why messages are missing, by name as a field and in words as text; `None` if no record says so, because records were
/// removed.
pub(crate) struct ShownCause(pub(crate) Option<GapCause>);

impl EventField for ShownCause {
    fn value(&self) -> Option<EventValue> {
        self.0.map_or("removed", GapCause::name).value()
    }
}

impl std::fmt::Display for ShownCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            None => "they were removed from it",
            Some(GapCause::JoinedLate) => "no bridge was there when they were published",
            Some(GapCause::EngineLost) => {
                "the broker lost them, and they are not appended again (see --buffer)"
            }
            Some(GapCause::ReceiveBufferFull) => {
                "the kernel dropped them, because the receive buffer was full"
            }
            Some(GapCause::TooLarge) => "they are larger than the broker or the stream allows",
            Some(GapCause::Refused) => "the broker refuses them",
            Some(GapCause::Lost(_)) => "no bridge received them",
        })
    }
}

fn loss_text(
    before: Position,
    now: Option<Position>,
    loss: &LossCause,
    pause: Duration,
    given_up: u64,
    unit: &str,
) -> String {
    let left = match now {
        Some(now) => format!("has records only up to {now}"),
        None => "no longer has the stream".to_owned(),
    };
    let why = match loss {
        LossCause::Evicted { evictions } => {
            format!("evicts what it stores (evicted_keys is {evictions}), and ")
        }
        LossCause::Unknown => String::new(),
    };
    let again = match (given_up, pause.is_zero()) {
        (0, true) => String::new(),
        (0, false) => format!("; what it lost is appended again in {} s", pause.as_secs_f64()),
        (given_up, _) => {
            format!("; {} that it lost before are recorded as a gap", count_of(given_up, unit))
        }
    };
    format!("the broker {why}{left}, where its last record was {before}{again}")
}

/// Returns what an engine removes on its own: only what endangers what was just stored, if something does.
fn retention_text(retention: &EngineRetention) -> String {
    let is_hasty = retention.is_hasty();
    let of_rule = |rule: &RetentionRule| match is_hasty {
        true => format!("{} ({})", rule.what, rule.remedy),
        false => rule.what.clone(),
    };
    let rules: Vec<String> =
        retention.rules.iter().filter(|rule| rule.is_hasty == is_hasty).map(of_rule).collect();
    let start =
        if is_hasty { "the broker may remove what was just stored" } else { "the broker removes records" };
    format!("{start}: {}", rules.join("; "))
}

mcast_metrics::figures! {
    /// The counters of a bridge.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct BridgeStatistics {
        /// Messages that were received.
        count messages: u64,
        /// Bytes of the messages that were received.
        count message_bytes: u64,
        /// Records that the bridge appended. A record that the engine lost and that was appended again counts twice.
        count appended as "appended_records": u64,
        /// Records that another bridge had appended before.
        count already_stored as "already_stored_records": u64,
        /// Batches that the engine refused because its last record was another.
        count refused as "refused_batches": u64,
        /// Gap records that the bridge appended.
        count gaps as "gap_records": u64,
        /// The messages in gap records, where their number is known.
        count missing as "missing_messages": u64,
        /// How often the engine had lost records.
        count engine_losses: u64,
        /// How often the engine had lost records because it had evicted streams.
        count evictions: u64,
        /// Messages that were not appended again, because the engine had lost them too often.
        count given_up as "given_up_messages": u64,
        /// Messages that the engine can never take.
        count unstorable as "unstorable_messages": u64,
        /// Messages that this bridge does not store, because a newer incarnation is stored already.
        count superseded as "superseded_messages": u64,
        /// Messages of the present incarnation that are stored nowhere, because it is older than the stored one or far ahead
        /// of the clock.
        level not_stored as "not_stored_messages": u64,
        /// Records that are not stored.
        level pending as "pending_records": usize,
        /// Bytes of the records that are not stored.
        level pending_bytes: usize,
        /// Bytes of all records in memory, including stored ones that the engine may lose.
        level buffered_bytes: usize,
        /// Requests without a response.
        level in_flight as "requests_in_flight": usize,
        other {
            /// Since when the oldest record that is not stored waits.
            pub pending_since: Option<ClockTime>,
        }
    }
}

impl BridgeStatistics {
    /// Returns how long the oldest record that is not stored has been waiting.
    #[must_use]
    pub fn lag(&self, now: ClockTime) -> Duration {
        self.pending_since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// Why nothing may be stored in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeRefusal {
    /// The engine holds another stream there.
    #[error(transparent)]
    OtherStream(#[from] RefusedTail),
    /// Another bridge keeps datagrams of a plain group there, and the numbers of both would be mixed up.
    #[error(
        "another bridge keeps datagrams there, and two bridges number the datagrams of a group differently"
    )]
    OtherBridge,
    /// Another bridge began to keep datagrams of a plain group there while this one could not reach the engine.
    #[error("another bridge has begun to keep datagrams there, under incarnation {0}")]
    TakenOver(Incarnation),
    /// The engine can never take the next message, and everything before it is stored.
    #[error("the broker does not take {}{}", .0.position, .0.sizes())]
    Unstorable(UnstorableRecord),
}

/// The engine's last record belongs to another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last record there belongs to stream {found}, not to stream {expected}")]
pub struct RefusedTail {
    /// The bridge's stream.
    pub expected: StreamId,
    /// The other one.
    pub found: StreamId,
}
