//! Datagrams that arrive on a leg.

use std::net::SocketAddr;

use mcast_packet::MacAddress;
use mcast_tunnel::RelayPath;

use crate::LegId;

/// A datagram that arrived on a leg, for a group or for all hosts.
#[derive(Clone, Copy, Debug)]
pub struct LegArrival<'a> {
    /// The leg.
    pub leg: LegId,
    /// The source.
    pub source: SocketAddr,
    /// The group or broadcast address, and the port.
    pub destination: SocketAddr,
    /// The hop limit on arrival.
    pub hop_limit: u8,
    /// The Ethernet address it came from, if known. It names the culprit of a loop.
    pub mac: Option<MacAddress>,
    /// The way that it has come through tunnels; empty for one that arrived on an interface.
    pub trail: RelayPath,
    /// The payload.
    pub payload: &'a [u8],
}

/// An arrival that is kept.
#[derive(Clone, Debug)]
pub(crate) struct OwnedArrival {
    pub(crate) leg: LegId,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) trail: RelayPath,
    pub(crate) payload: Box<[u8]>,
}

impl OwnedArrival {
    pub(crate) fn as_arrival(&self) -> LegArrival<'_> {
        let Self { leg, source, destination, hop_limit, mac, trail, ref payload } = *self;
        LegArrival { leg, source, destination, hop_limit, mac, trail, payload }
    }
}

impl From<&LegArrival<'_>> for OwnedArrival {
    fn from(arrival: &LegArrival<'_>) -> Self {
        let LegArrival { leg, source, destination, hop_limit, mac, trail, payload } = *arrival;
        Self { leg, source, destination, hop_limit, mac, trail, payload: payload.into() }
    }
}
