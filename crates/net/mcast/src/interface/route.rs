//! The interface that the routing table selects for a group.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Family, Group};

use super::{Interface, interfaces};
use crate::error::{Error, Operation, Result};

/// The group that represents all of IPv4: one from the administratively scoped block (RFC 2365)
/// without an assigned meaning.
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1));
/// The same for IPv6: transient and site-local (RFC 4291 section 2.7).
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1));

/// Returns the interface that the system selects for a sender without an interface: the result of a
/// lookup in the routing table, policy rules included. On Linux, the table of the calling thread's
/// network namespace. Returns `None` if there is no route.
///
/// With several equal IPv6 routes (Linux has one per interface), the system may choose another
/// route for another datagram; name an interface where that matters.
///
/// # Errors
/// If the system refuses the lookup.
pub fn default_interface(group: Group) -> Result<Option<Interface>> {
    interface_towards(group.addr())
}

/// Returns the interface that the routing table selects for multicast of a family: the one for
/// 239.255.0.1 or ff15::1. Groups with routes of their own may use another; see
/// [`default_interface`].
///
/// # Errors
/// If the system refuses the lookup.
pub fn default_interface_of(family: Family) -> Result<Option<Interface>> {
    interface_towards(match family {
        Family::V4 => ANY_V4,
        Family::V6 => ANY_V6,
    })
}

/// Returns the interface that the routing table selects for a unicast or group address; `None` if
/// there is no route.
///
/// # Errors
/// If the system refuses the lookup.
pub fn interface_towards(address: IpAddr) -> Result<Option<Interface>> {
    let index =
        mcast_sys::route::interface_towards(address).map_err(|error| Error::os(Operation::Route, error))?;
    let Some(index) = index else { return Ok(None) };
    let family = Family::of(address);
    Ok(interfaces()?.into_iter().find(|interface| interface.index_for(family) == index))
}
