//! The interface that the routing table selects, queried with `RTM_GETROUTE`.
//!
//! Connecting a socket and reading its local address would not find an interface without an
//! address, and IPv6 refuses link-local groups (ff02::/16) without a scope. Policy rules are
//! applied, except those that match ports or marks, which the request does not contain.

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use super::netlink::{Netlink, NetlinkProtocol, attributes, push_attribute, u32_at};
use crate::HardwareAddress;

/// The size of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// Returns the interface by which datagrams to the address leave the calling thread's network
/// namespace unless a socket option names another; `None` if there is no route.
pub fn interface_towards(address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
    match Netlink::open(NetlinkProtocol::Route)
        .and_then(|mut netlink| interface_towards_through(&mut netlink, address))
    {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            super::without_netlink::interface_towards(address, error)
        }
        answered => answered,
    }
}

/// Like [`interface_towards`], for the socket's network namespace.
pub(crate) fn interface_towards_through(
    netlink: &mut Netlink,
    address: IpAddr,
) -> io::Result<Option<InterfaceIndex>> {
    match netlink.request_one(libc::RTM_GETROUTE, 0, &request_body(address)) {
        Ok(answers) => Ok(answers
            .iter()
            .filter(|answer| answer.kind == libc::RTM_NEWROUTE)
            .find_map(|answer| outgoing_interface(&answer.payload))),
        Err(error) if is_no_route(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn request_body(address: IpAddr) -> Vec<u8> {
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

/// Returns whether the error means that there is no route, or one that rejects: unreachable
/// (`ENETUNREACH`, `EHOSTUNREACH`), prohibit (`EACCES`), blackhole (`EINVAL`) or throw (`EAGAIN`).
/// An address family that the kernel lacks has no routes either.
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

/// The size of `struct ndmsg`.
const NEIGHBOUR_HEADER: usize = 12;
/// Attributes of neighbours (`linux/neighbour.h`).
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// Returns the hardware address of a host, in the socket's network namespace; `None` if it is not in the table.
pub(super) fn hardware_address_through(
    netlink: &mut Netlink,
    interface: InterfaceIndex,
    address: IpAddr,
) -> io::Result<Option<HardwareAddress>> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = family as u8;
    let replies = netlink.dump(libc::RTM_GETNEIGH, &header)?;
    let entries = replies.iter().filter(|reply| reply.kind == libc::RTM_NEWNEIGH);
    Ok(entries.into_iter().find_map(|reply| hardware_address(&reply.payload, interface, &octets)))
}

fn hardware_address(payload: &[u8], interface: InterfaceIndex, octets: &[u8]) -> Option<HardwareAddress> {
    let (header, rest) = payload.split_at_checked(NEIGHBOUR_HEADER)?;
    if u32_at(header, 4)? != interface.number() {
        return None;
    }
    let (mut is_meant, mut found) = (false, None);
    for (kind, value) in attributes(rest) {
        match kind {
            NDA_DST => is_meant = value == octets,
            NDA_LLADDR => found = HardwareAddress::from_slice(value),
            _ => {}
        }
    }
    found.filter(|_| is_meant)
}
