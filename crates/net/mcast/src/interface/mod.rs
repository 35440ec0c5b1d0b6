//! Network interfaces: listing, selecting and watching them.

mod select;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Family, Group, InterfaceIndex};

use crate::error::{Error, Operation, Result};
pub use select::find;
pub(crate) use select::select;
pub use watch::{InterfaceChange, InterfaceWatcher};

#[doc(inline)]
pub use mcast_sys::{
    AddressState, Bridge, BridgeQuerier, HardwareAddress, Interface, InterfaceAddress, Warning,
};

/// Returns all interfaces of this machine, ordered by index; on Linux, those of the calling
/// thread's network namespace.
///
/// # Errors
/// If the system refuses to list them.
pub fn interfaces() -> Result<Vec<Interface>> {
    mcast_sys::interface::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Returns all bridges of this machine; on Linux, those of the calling thread's network namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn bridges() -> Result<Vec<Bridge>> {
    mcast_sys::bridge::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Returns the queue disciplines for packets that leave by an interface, such as `fq` or `noqueue`:
/// one, or one per queue on a device with several queues.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn queue_disciplines(interface: InterfaceIndex) -> Result<Vec<String>> {
    mcast_sys::bridge::queue_disciplines(interface).map_err(|error| Error::os(Operation::Interfaces, error))
}

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

/// Interfaces for unit tests.
#[cfg(test)]
pub(crate) mod examples {
    use mcast_group::InterfaceIndex;

    use super::*;

    /// Returns an interface that is up, running and able to multicast, without addresses.
    pub(crate) fn interface(index: u32, name: &str) -> Interface {
        let mut interface = Interface::new(InterfaceIndex::new(index).unwrap(), name.into());
        (interface.up, interface.running, interface.multicast) = (true, true, true);
        interface.mtu = 1500;
        interface.hardware_address = Some(HardwareAddress([2, 0, 0, 0, 0, index as u8]));
        interface
    }

    pub(crate) fn loopback() -> Interface {
        changed(interface(1, "lo"), |lo| {
            (lo.multicast, lo.loopback, lo.hardware_address) = (false, true, None);
            lo.addresses = vec![address("127.0.0.1", 8), address("::1", 128)];
        })
    }

    /// Returns the interface with a change.
    pub(crate) fn changed(mut interface: Interface, change: impl FnOnce(&mut Interface)) -> Interface {
        change(&mut interface);
        interface
    }

    pub(crate) fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress::new(address.parse().unwrap(), prefix)
    }
}
