//! Hardware addresses of hosts on a link, from the neighbour table (ARP and neighbour discovery).

use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use super::netlink::{Netlink, attributes, u32_at};
use crate::HardwareAddress;

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
