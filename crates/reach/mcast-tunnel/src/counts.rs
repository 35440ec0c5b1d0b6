//! Counters.

/// Why a datagram that arrived at the socket of a tunnel was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It is not a datagram of this protocol.
    Malformed,
    /// It belongs to no session, as after a restart of this end.
    UnknownSession,
    /// It is not sealed with a known secret, or was modified.
    Unsealed,
    /// It has been received before, or is too old to know.
    Replayed,
    /// A handshake for a name that no rule has.
    UnknownName,
    /// A handshake for a tunnel that another relay uses.
    InUse,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::UnknownSession,
        Self::Unsealed,
        Self::Replayed,
        Self::UnknownName,
        Self::InUse,
    ];

    /// Returns its name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSession => "unknown-session",
            Self::Unsealed => "unsealed",
            Self::Replayed => "replayed",
            Self::UnknownName => "unknown-name",
            Self::InUse => "in-use",
        }
    }
}

/// What a tunnel has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Datagrams sent into the tunnel.
    pub sent: u64,
    /// Datagrams received from it, whole.
    pub received: u64,
    /// Bytes sent to the other end, with everything but headers of UDP and IP.
    pub sent_bytes: u64,
    /// Bytes received from the other end.
    pub received_bytes: u64,
    /// Pieces sent again because the other end requested them.
    pub repairs_sent: u64,
    /// Missing pieces that arrived after a request.
    pub repaired: u64,
    /// Missing pieces that did not arrive within the latency bound.
    pub lost: u64,
    /// Datagrams of which pieces were missing for too long, or for which there was no room.
    pub incomplete: u64,
    /// Records that could not be read.
    pub malformed: u64,
}
