//! Events and statistics of a sender.

use core::net::SocketAddr;

use crate::wire::ReceiverId;

/// An event of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SenderEvent {
    /// The first status of a receiver arrived.
    ReceiverJoined(ReceiverId, SocketAddr),
    /// A receiver announced that it leaves.
    ReceiverLeft(ReceiverId),
    /// Nothing was received from a receiver for [`receiver_timeout`](super::SenderConfig::receiver_timeout).
    ReceiverSilent(ReceiverId),
    /// A receiver was too slow: the sender no longer waits for it. The number is how many datagrams it was behind.
    ReceiverEvicted(ReceiverId, u64),
    /// An evicted receiver has caught up, and the sender waits for it again.
    ReceiverReturned(ReceiverId),
    /// A receiver was refused because [`most_receivers`](super::SenderConfig::most_receivers) are known.
    ReceiverRefused(ReceiverId),
    /// Receivers lost datagrams because the sender was faster than their links: it slows down.
    Slowed {
        /// The loss in parts per million.
        loss: u32,
        /// The new rate in bytes per second.
        rate: u64,
    },
    /// The sender is back at its configured rate.
    Recovered,
    /// A receiver requested datagrams that have left the retransmission buffer: from the first to before the second.
    Unrecoverable(ReceiverId, u64, u64),
    /// A receiver has given up datagrams for the first time; the number is how many.
    /// [`Sender::standings`](super::Sender::standings) reports what it lacks at the end.
    ReceiverShort(ReceiverId, u64),
    /// Events were not fetched in time; the number is how many were dropped before this one.
    Missed(u64),
}

/// The reason why a message is not accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender waits for a receiver that has no room, or that lacks data that the message would overwrite.
    #[error("waiting for receiver {receiver}, which has everything before datagram {next}")]
    WaitingFor {
        /// The receiver.
        receiver: ReceiverId,
        /// The first datagram that it has not confirmed.
        next: u64,
    },
    /// Earlier messages are not sent yet: the rate, or the system, admits no more.
    #[error("waiting until what was published before is sent")]
    Unsent,
    /// A long message is being written.
    #[error("a long message is being written: end it first")]
    Writing,
    /// The message is too long.
    #[error("a message of {length} bytes is too long: the limit is {longest}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The greatest length in bytes.
        longest: usize,
    },
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
    /// The cipher failed: nothing more can be sealed, and nothing is sent unsealed.
    #[error("the cipher failed: nothing more can be sent")]
    CannotSeal,
}

impl Refusal {
    /// Returns whether a later attempt may succeed.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::WaitingFor { .. } | Self::Unsent)
    }
}

/// Counters of a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderStatistics {
    /// Messages published.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Data datagrams sent, not counting repairs.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Repairs sent to the group.
    pub group_repairs: u64,
    /// Repairs sent to a single receiver.
    pub single_repairs: u64,
    /// Bytes of all repairs.
    pub repair_bytes: u64,
    /// NAKs received.
    pub naks: u64,
    /// NAKs not answered: beyond the limit of a receiver, or of an unknown one.
    pub naks_refused: u64,
    /// Datagrams requested after they had left the retransmission buffer.
    pub unrecoverable: u64,
    /// Statuses received.
    pub statuses: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Datagrams received that do not belong to this stream, or are malformed.
    pub foreign: u64,
    /// Datagrams refused: not sealed by the group, replayed, or of a receiver beyond the limit.
    pub refused: u64,
    /// NAKs and statuses from unproven addresses; each was answered with an echo.
    pub unproven: u64,
    /// The group round-trip time in nanoseconds.
    pub round_trip: u64,
    /// Receivers known now.
    pub receivers: u64,
}
