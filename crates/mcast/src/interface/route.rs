//! The interface that the routing table gives for a group.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Family, Group};

use super::{Interface, interfaces};
use crate::error::{Error, Operation, Result};
use crate::sys;

/// The group asked about for a whole family: of the administratively scoped block (RFC 2365),
/// which has no meaning of its own.
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1));
/// The same for IPv6: transient and site-local (RFC 4291 section 2.7).
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1));

/// The interface by which a sender that names none reaches the group: what the routing table of
/// this machine (on Linux: of the calling thread's network namespace) says, rules included.
/// `None` when there is no route.
///
/// Of several equal IPv6 routes, as Linux has one an interface, the system may take another for
/// another datagram; name an interface where that matters.
///
/// # Errors
/// When the system refuses to answer.
pub fn default_interface(group: Group) -> Result<Option<Interface>> {
    interface_towards(group.addr())
}

/// The interface that the routing table takes for multicast of a family, as far as that can be
/// said in one: the one for 239.255.0.1 or ff15::1. Groups with routes of their own may take
/// another: ask [`default_interface`].
///
/// # Errors
/// When the system refuses to answer.
pub fn default_interface_of(family: Family) -> Result<Option<Interface>> {
    interface_towards(match family {
        Family::V4 => ANY_V4,
        Family::V6 => ANY_V6,
    })
}

/// The interface that the routing table takes towards an address, a group's or another; `None` when
/// there is no route.
///
/// # Errors
/// When the system refuses to answer.
pub fn interface_towards(address: IpAddr) -> Result<Option<Interface>> {
    let index = sys::route::interface_towards(address).map_err(|error| Error::os(Operation::Route, error))?;
    let Some(index) = index else { return Ok(None) };
    let family = Family::of(address);
    Ok(interfaces()?.into_iter().find(|interface| interface.index_for(family) == index))
}
