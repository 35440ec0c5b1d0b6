//! The direction of captured frames.

/// The direction of a frame, and the kind of its Ethernet destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// Received, addressed to this machine.
    ToUs,
    /// Received, addressed to broadcast.
    Broadcast,
    /// Received, addressed to a group.
    Multicast,
    /// Received, addressed to another machine.
    ToOthers,
    /// Sent by this machine.
    Outgoing,
    /// Unknown, because a file need not record it.
    Unknown,
}

impl Direction {
    /// Returns whether this machine sent the frame.
    #[must_use]
    pub const fn is_outgoing(self) -> bool {
        matches!(self, Self::Outgoing)
    }
}
