//! What a sender tells of itself and its receivers.

use core::net::SocketAddr;

use crate::wire::ReceiverId;

/// What happened to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SenderEvent {
    /// A receiver has told what it has, for the first time.
    ReceiverJoined(ReceiverId, SocketAddr),
    /// A receiver says that it leaves.
    ReceiverLeft(ReceiverId),
    /// A receiver has said nothing for too long.
    ReceiverSilent(ReceiverId),
    /// A receiver kept everybody waiting; nobody waits for it any more. It was so many datagrams
    /// behind.
    ReceiverEvicted(ReceiverId, u64),
    /// One that was evicted has caught up, and is waited for again.
    ReceiverReturned(ReceiverId),
    /// A receiver was refused: there are too many.
    ReceiverRefused(ReceiverId),
    /// Receivers lost so much, in parts per million, because the sender was faster than their links: it slows down to
    /// so many bytes per second.
    Slowed {
        /// The loss.
        loss: u32,
        /// The new rate.
        rate: u64,
    },
    /// The sender is as fast again as it was configured to be.
    Recovered,
    /// A receiver requested datagrams that have left the retransmission buffer: from the first to before the second.
    Unrecoverable(ReceiverId, u64, u64),
    /// A receiver has given up datagrams for the first time: so many. What it lacks at the end is in
    /// [`Sender::standings`](super::Sender::standings).
    ReceiverShort(ReceiverId, u64),
    /// Events were not fetched, so that so many before this one were dropped.
    Missed(u64),
}

/// Why a message is not taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This receiver has not yet taken what was sent before; it stands at the datagram of this number.
    #[error("waiting for receiver {receiver}, which has everything before datagram {next}")]
    WaitingFor {
        /// Who.
        receiver: ReceiverId,
        /// Where it stands.
        next: u64,
    },
    /// What was published before is not sent yet: the rate, or the system, allows no more.
    #[error("waiting until what was published before is sent")]
    Unsent,
    /// A long message is being written.
    #[error("a long message is being written: end it first")]
    Writing,
    /// It is longer than a message may be.
    #[error("a message has at most {longest} bytes here, not {length}")]
    TooLong {
        /// How long it is.
        length: usize,
        /// How long it may be.
        longest: usize,
    },
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
    /// The cipher failed: nothing more can be sealed, and nothing goes out unsealed.
    #[error("the cipher failed, so that nothing more can be sent")]
    CannotSeal,
}

impl Refusal {
    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::WaitingFor { .. } | Self::Unsent)
    }
}

/// What a sender has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderStatistics {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Datagrams of data, repairs not counted.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Datagrams that were sent again, to the group.
    pub group_repairs: u64,
    /// Datagrams that were sent again, to one receiver.
    pub single_repairs: u64,
    /// Bytes of both.
    pub repair_bytes: u64,
    /// Naks that came.
    pub naks: u64,
    /// Naks that were not answered: too many, of strangers, or copies.
    pub naks_refused: u64,
    /// Datagrams that were asked for when they were gone.
    pub unrecoverable: u64,
    /// Statuses that came.
    pub statuses: u64,
    /// Heartbeats that were sent.
    pub heartbeats: u64,
    /// What came and was not for this stream, or could not be understood.
    pub foreign: u64,
    /// What came and was not sealed by the group, or was a copy.
    pub refused: u64,
    /// Naks and statuses from addresses that have proven nothing; each was answered by an echo.
    pub unproven: u64,
    /// The group round-trip time in nanoseconds.
    pub round_trip: u64,
    /// Receivers that are known.
    pub receivers: u64,
}
