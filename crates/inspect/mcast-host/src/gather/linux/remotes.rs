//! The other ends of VXLANs, the routes to them, and the neighbours on the way there.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use mcast::InterfaceIndex;
use mcast_sys::netlink::{Netlink, NetlinkProtocol, NetlinkReply, attribute, push_attribute, u16_at, u32_at};

use super::bridges::AF_BRIDGE;
use super::links::{GET_NEIGHBOUR, NEIGHBOUR_HEADER, NEW_NEIGHBOUR, body};
use crate::snapshot::{Link, NextHop, Remote};

// `linux/rtnetlink.h`, and the size of `struct rtmsg`.
const GET_ROUTE: u16 = 26;
const ROUTE_HEADER: usize = 12;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Neighbours without an Ethernet address, by interface.
type Silent = BTreeSet<(InterfaceIndex, IpAddr)>;

/// Adds the other ends that VXLANs send groups to.
pub(super) fn add(links: &mut [Link]) -> io::Result<()> {
    let mut netlink = Netlink::open(NetlinkProtocol::Route)?;
    let mut silent = Silent::new();
    for family in [AF_INET, AF_INET6] {
        silent.extend(neighbours(&mut netlink, family)?.iter().filter_map(silent_neighbour));
    }
    for (index, address) in neighbours(&mut netlink, AF_BRIDGE)?.iter().filter_map(remote) {
        let link = links.iter_mut().find(|link| link.index() == index);
        if let Some((link, carrier)) = link.and_then(|link| link.carrier.map(|carrier| (link, carrier))) {
            let hop = next_hop(&mut netlink, address, carrier.interface, &silent)?;
            link.remotes.push(Remote { address, hop });
        }
    }
    Ok(())
}

fn neighbours(netlink: &mut Netlink, family: u8) -> io::Result<Vec<NetlinkReply>> {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = family;
    netlink.dump(GET_NEIGHBOUR, &header)
}

/// Reads the destination (`NDA_DST`) of a neighbour.
fn neighbour(reply: &NetlinkReply) -> Option<(InterfaceIndex, IpAddr, &[u8])> {
    const DESTINATION: u16 = 1;
    let (index, attributes) = body(reply, NEW_NEIGHBOUR, NEIGHBOUR_HEADER)?;
    Some((index, address(attribute(attributes, DESTINATION)?)?, attributes))
}

/// Returns a neighbour that does not answer (`NUD_INCOMPLETE`, `NUD_FAILED`).
fn silent_neighbour(reply: &NetlinkReply) -> Option<(InterfaceIndex, IpAddr)> {
    const UNANSWERED: u16 = 0x01 | 0x20;
    let (index, address, _) = neighbour(reply)?;
    (u16_at(&reply.payload, 8)? & UNANSWERED != 0).then_some((index, address))
}

/// Returns where a VXLAN sends frames to groups: the entry for no Ethernet address is for them.
fn remote(reply: &NetlinkReply) -> Option<(InterfaceIndex, IpAddr)> {
    const ETHERNET_ADDRESS: u16 = 2;
    let (index, address, attributes) = neighbour(reply)?;
    (attribute(attributes, ETHERNET_ADDRESS)? == [0; 6]).then_some((index, address))
}

/// Returns the next host on the way to an address, as a VXLAN on this interface looks it up; `None` without a route.
fn next_hop(
    netlink: &mut Netlink,
    to: IpAddr,
    by: Option<InterfaceIndex>,
    silent: &Silent,
) -> io::Result<Option<NextHop>> {
    const INTERFACE: u16 = 4;
    const GATEWAY: u16 = 5;
    let replies = match netlink.request_one(GET_ROUTE, 0, &request(to, by)) {
        // The kernel answers with the error that sending has: no route, or one that rejects.
        Err(error) if error.raw_os_error().is_some() => return Ok(None),
        replies => replies?,
    };
    let hop = replies.iter().find_map(|reply| {
        let attributes = reply.payload.get(ROUTE_HEADER..)?;
        let interface = InterfaceIndex::new(u32_at(attribute(attributes, INTERFACE)?, 0)?)?;
        let address = attribute(attributes, GATEWAY).and_then(address).unwrap_or(to);
        Some(NextHop { interface, address, is_silent: silent.contains(&(interface, address)) })
    });
    Ok(hop)
}

fn request(to: IpAddr, by: Option<InterfaceIndex>) -> Vec<u8> {
    const DESTINATION: u16 = 1;
    const INTERFACE: u16 = 4;
    let (family, octets) = match to {
        IpAddr::V4(to) => (AF_INET, to.octets().to_vec()),
        IpAddr::V6(to) => (AF_INET6, to.octets().to_vec()),
    };
    let mut body = vec![0; ROUTE_HEADER];
    (body[0], body[1]) = (family, octets.len() as u8 * 8);
    push_attribute(&mut body, DESTINATION, &octets);
    if let Some(index) = by {
        push_attribute(&mut body, INTERFACE, &index.number().to_ne_bytes());
    }
    body
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        _ => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
    }
}
