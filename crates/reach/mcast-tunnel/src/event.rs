//! What an endpoint reports, what it wants to send, and what it counts.

use std::net::SocketAddr;

use crate::session::{TunnelDatagram, TunnelWant};

/// The number of a tunnel, given by its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelTransmit {
    /// The destination.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// Why a tunnel is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DownReason {
    /// Nothing has arrived from the other end for too long.
    Silence,
    /// The other end has stopped.
    Goodbye,
    /// The secret that it was sealed with is no longer known here.
    KeyRemoved,
    /// No rule names it any longer.
    Removed,
}

/// Why the other end refuses a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusedBy {
    /// No rule there names it.
    UnknownName,
    /// Another relay uses it.
    InUse,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelEvent {
    /// A tunnel is up.
    Up {
        /// The tunnel.
        link: LinkId,
        /// The relay at the other end.
        relay: u64,
        /// Its address, as seen from here.
        address: SocketAddr,
    },
    /// A tunnel is down.
    Down {
        /// The tunnel.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// The other end has another address, and has proven that it receives there.
    Moved {
        /// The tunnel.
        link: LinkId,
        /// The new address.
        address: SocketAddr,
    },
    /// The listener refuses the tunnel. Reported once until it is up.
    Refused {
        /// The tunnel.
        link: LinkId,
        /// Why.
        reason: RefusedBy,
    },
    /// The listener has not answered several times: its address should be resolved again and passed to
    /// [`crate::TunnelEndpoint::set_address`].
    Unanswered {
        /// The tunnel.
        link: LinkId,
    },
    /// A handshake is not sealed with a known secret.
    WrongKey {
        /// Where it came from, unproven.
        address: SocketAddr,
    },
    /// A member asks for a tunnel that no rule names.
    UnknownName {
        /// The name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A datagram has arrived.
    Datagram {
        /// The tunnel.
        link: LinkId,
        /// The datagram.
        datagram: TunnelDatagram,
    },
    /// The other end wants to receive this, and nothing else.
    Wants {
        /// The tunnel.
        link: LinkId,
        /// What it wants.
        wants: Vec<TunnelWant>,
    },
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
