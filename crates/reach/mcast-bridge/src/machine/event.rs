//! What a bridge reports: its events, its counters, and why nothing may be stored.

use std::time::Duration;

use mcast_stream::ClockTime;
use mcast_stream::wire::{Incarnation, MessageNumber, StreamId};

use crate::engine::PendingGap;
use crate::limits::{EngineRetention, UnstorableRecord};
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

/// Something that happened to a bridge.
///
/// It is exhaustive: a program that shows events shows each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// The bridge lacks messages, and waits in case another bridge has them.
    Waiting(PendingGap),
    /// Another bridge keeps datagrams there, or did within the last seconds. Until it is gone, nothing is stored.
    OtherBridge,
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
    },
    /// Messages arrive of an incarnation that is older than the last record. They are not stored, unless another bridge
    /// stored them before: the publisher's clock was set back, or this bridge is late.
    Superseded {
        /// The incarnation of the messages.
        incarnation: Incarnation,
        /// That of the last record.
        stored: Incarnation,
    },
    /// Messages arrive of an incarnation that is far ahead of the clock. They are not stored, because nothing after them
    /// could be: the clock of the publisher or of this machine is wrong, or somebody forges the stream.
    Ahead {
        /// The incarnation of the messages.
        incarnation: Incarnation,
        /// The incarnation that a publisher has that starts now.
        present: Incarnation,
    },
    /// The engine has lost records that it had stored.
    EngineLost {
        /// Its last record before.
        before: Position,
        /// Its last record now; `None` if it has none.
        now: Option<Position>,
        /// Why.
        cause: LossCause,
        /// How long the bridge waits before it appends again what the engine has lost.
        pause: Duration,
        /// Messages that it does not append again, because the engine has lost them too often. A gap is recorded instead.
        given_up: u64,
    },
    /// The engine removes records on its own: reported at a connection, and again when its rules change.
    Retention(EngineRetention),
    /// The engine can never take a message, and a gap is recorded instead.
    Unstorable(UnstorableRecord),
    /// The engine has stored again what it had lost.
    EngineHealed {
        /// Its last record.
        now: Position,
    },
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
    #[error("the engine does not take {}{}", .0.position, .0.sizes())]
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
