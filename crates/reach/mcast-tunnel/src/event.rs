//! What an endpoint is made of, what it reports, what it wants to send, and what it counts.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::key::TunnelKeys;
use crate::record::{TunnelDatagram, TunnelWant};

/// What an endpoint is made of.
pub struct EndpointConfig {
    /// The key of this relay, and those of its peers.
    pub keys: TunnelKeys,
    /// The identifier of this relay, another one after each start.
    pub relay: u64,
    /// Returns numbers that nobody can predict, and none of them twice.
    pub random: Box<dyn FnMut() -> u64 + Send>,
    /// Whether it dials or listens.
    pub role: EndpointRole,
}

/// Whether an endpoint dials or listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointRole {
    /// It dials the tunnel with this name, once [`TunnelEndpoint::set_address`](crate::TunnelEndpoint::set_address) has been called.
    Dialer(String),
    /// It listens for the tunnels that [`TunnelEndpoint::set_names`](crate::TunnelEndpoint::set_names) names.
    Listener,
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A tunnel of an endpoint, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// The relay at the other end and its address, while the tunnel is up.
    pub peer: Option<(u64, SocketAddr)>,
    /// The round trip, while the tunnel is up.
    pub round_trip: Option<Duration>,
    /// What it has carried.
    pub counts: LinkCounts,
}

/// The number of a tunnel, given by its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// Datagrams to send, which are in the buffer of [`crate::TunnelEndpoint::poll_transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelTransmit {
    /// The destination.
    pub to: SocketAddr,
    /// The length of each datagram; the last one may be shorter.
    pub segment: usize,
}

/// Why a tunnel is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DownReason {
    /// Nothing has arrived from the other end for too long.
    Silence,
    /// The other end has stopped.
    Goodbye,
    /// The key of the other end is no longer in the file of keys.
    KeyRemoved,
    /// The other end has started again.
    Restarted,
    /// The other end has broken the protocol.
    Failed,
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
    /// The key of this relay is not that of a peer there.
    UnknownKey,
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
    /// The other end of a handshake has a key that is not that of a peer.
    WrongKey {
        /// Its address.
        address: SocketAddr,
    },
    /// A peer asks for a tunnel that no rule names, or that its key is not for.
    UnknownName {
        /// The name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Datagrams were dropped, because more were to be sent than the path has taken. Reported at most every ten seconds.
    Overflow {
        /// The tunnel.
        link: LinkId,
        /// Their number since the last report.
        count: u64,
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

mcast_metrics::figures! {
    /// What a tunnel has carried.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LinkCounts {
        /// Datagrams sent into the tunnel.
        count sent: u64,
        /// Datagrams received from it, whole.
        count received: u64,
        /// Bytes sent to the other end, with everything but headers of UDP and IP.
        count sent_bytes: u64,
        /// Bytes received from the other end.
        count received_bytes: u64,
        /// Pieces sent again because the other end requested them.
        count repairs_sent: u64,
        /// Missing pieces that arrived after a request.
        count repaired: u64,
        /// Missing pieces that did not arrive within the latency bound.
        count lost: u64,
        /// Datagrams of which pieces were missing for too long, or for which there was no room.
        count incomplete: u64,
        /// Records that could not be read.
        count malformed: u64,
        /// Datagrams that were not sent, because the queue of the tunnel was full.
        count overflow: u64,
    }
}

mcast_group::named! {
    /// Why a datagram that arrived at the socket of a tunnel was dropped.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum DropReason {
        /// It is not a datagram of this protocol.
        Malformed = "malformed",
        /// It belongs to no session, as after a restart of this end.
        UnknownSession = "unknown-session",
        /// It is not sealed by the other end, was modified, or has been received before.
        Unsealed = "unsealed",
        /// A handshake with a key that is not that of a peer.
        WrongKey = "wrong-key",
        /// A handshake for a name that no rule has, or that the key is not for.
        UnknownName = "unknown-name",
        /// A handshake for a tunnel that another relay uses.
        InUse = "in-use",
        /// A handshake while too many others were not finished.
        Busy = "busy",
    }
    /// Returns its name in JSON and metrics.
    fn name;
}
