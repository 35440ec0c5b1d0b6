//! Datagrams to this host: unicast and broadcast.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use mcast_group::{HostAddr, InterfaceIndex, InterfaceSelector};

use crate::error::Result;
use crate::interface::{Interface, find, interfaces};
use mcast_sys::Received;
use mcast_sys::layout::BINDS_TO_BROADCAST;

/// The datagrams that a socket receives which is bound to an address of this host, or to a broadcast address.
#[derive(Clone, Debug)]
pub(crate) struct HostFilter {
    /// The destinations that are admitted; `None`: all but groups.
    destinations: Option<BTreeSet<IpAddr>>,
    /// The only interface that is admitted.
    interface: Option<InterfaceIndex>,
}

/// A socket to open.
#[derive(Clone, Debug)]
pub(crate) struct HostSocket {
    pub(crate) address: SocketAddr,
    /// Whether other programs may receive the same.
    pub(crate) is_broadcast: bool,
    pub(crate) filter: HostFilter,
}

impl HostFilter {
    /// Returns the destination of a datagram that is admitted.
    #[inline]
    pub(crate) fn destination(&self, received: &Received) -> Option<IpAddr> {
        received.destination.filter(|destination| self.admits(*destination, received.interface))
    }

    pub(crate) fn admits(&self, destination: IpAddr, interface: Option<InterfaceIndex>) -> bool {
        let is_admitted = match &self.destinations {
            Some(destinations) => destinations.contains(&destination),
            None => !destination.is_multicast(),
        };
        is_admitted && self.interface.is_none_or(|only| interface == Some(only))
    }
}

/// Returns the sockets that receive what is sent to an address of this host, or broadcasts to a port.
pub(crate) fn sockets_for(host: &HostAddr) -> Result<Vec<HostSocket>> {
    let on = match &host.interface {
        None | Some(InterfaceSelector::All | InterfaceSelector::Default) => None,
        Some(selector) => Some(find(selector)?),
    };
    let interface = on.as_ref().map(|on| on.index_for(host.family()));
    let socket = |address: IpAddr, destinations| HostSocket {
        address: scoped(SocketAddr::new(address, host.port), interface),
        is_broadcast: host.is_broadcast(),
        filter: HostFilter { destinations, interface },
    };
    let only = |address: IpAddr| Some(BTreeSet::from([address]));
    if host.addr().is_unspecified() {
        return Ok(vec![socket(host.addr(), None)]);
    }
    if !host.is_broadcast() {
        return Ok(vec![socket(host.addr(), only(host.addr()))]);
    }
    let all = broadcast_addresses(on)?;
    Ok(match BINDS_TO_BROADCAST {
        true => all.into_iter().map(|address| socket(address, only(address))).collect(),
        false => vec![socket(Ipv4Addr::UNSPECIFIED.into(), Some(all))],
    })
}

/// Adds the interface to an address that is only meaningful on one link.
fn scoped(address: SocketAddr, interface: Option<InterfaceIndex>) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            let scope = interface.map_or(0, InterfaceIndex::number);
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
        address => address,
    }
}

/// Returns the broadcast addresses of an interface, or of all.
fn broadcast_addresses(on: Option<Interface>) -> Result<BTreeSet<IpAddr>> {
    let list = on.map_or_else(interfaces, |on| Ok(vec![on]))?;
    let subnets =
        list.iter().filter(|interface| !interface.loopback).flat_map(Interface::broadcast_addresses);
    Ok(std::iter::once(Ipv4Addr::BROADCAST).chain(subnets).map(IpAddr::V4).collect())
}
