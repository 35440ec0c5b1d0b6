//! The interface that the routing table takes, asked with `RTM_GETROUTE`.
//!
//! Not by connecting a socket and reading its address back: that finds no interface without an
//! address, and IPv6 refuses link-local groups (ff02::/16) without a scope. Policy rules count;
//! those that look at ports or marks cannot, as the question has none.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use super::netlink::{Netlink, attributes, push_attribute, u32_at};

/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// The interface by which a datagram to the address leaves the calling thread's network
/// namespace, if no socket option names another; `None` where there is no route.
pub(crate) fn interface_towards(address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
    match Netlink::open().and_then(|mut netlink| interface_towards_through(&mut netlink, address)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            super::without_netlink::interface_towards(address, error)
        }
        answered => answered,
    }
}

/// The same for the namespace that the socket belongs to.
pub(crate) fn interface_towards_through(
    netlink: &mut Netlink,
    address: IpAddr,
) -> io::Result<Option<InterfaceIndex>> {
    match netlink.ask(libc::RTM_GETROUTE, &question(address)) {
        Ok(answers) => Ok(answers
            .iter()
            .filter(|answer| answer.kind == libc::RTM_NEWROUTE)
            .find_map(|answer| outgoing_interface(&answer.payload))),
        Err(error) if is_no_route(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn question(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut body = vec![0; ROUTE_HEADER];
    body[0] = family as u8;
    body[1] = octets.len() as u8 * 8;
    push_attribute(&mut body, libc::RTA_DST, &octets);
    body
}

fn outgoing_interface(payload: &[u8]) -> Option<InterfaceIndex> {
    attributes(payload.get(ROUTE_HEADER..)?)
        .find(|(kind, _)| *kind == libc::RTA_OIF)
        .and_then(|(_, value)| InterfaceIndex::new(u32_at(value, 0)?))
}

/// No route, or one that says to refuse: unreachable (`ENETUNREACH`, `EHOSTUNREACH`), prohibit
/// (`EACCES`), blackhole (`EINVAL`) or throw (`EAGAIN`). An address family that the kernel lacks
/// has no routes either.
fn is_no_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EACCES
                | libc::EINVAL
                | libc::EAGAIN
                | libc::EAFNOSUPPORT
                | libc::EOPNOTSUPP
        )
    )
}
