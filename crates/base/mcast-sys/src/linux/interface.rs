//! Listing interfaces over rtnetlink: the link table, then the addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use mcast_group::InterfaceIndex;

use super::netlink::{
    Netlink, NetlinkProtocol, NetlinkReply, attributes, push_attribute, text, u16_at, u32_at,
};
use crate::{AddressState, HardwareAddress, Interface, InterfaceAddress};

pub use crate::interface_names::{index_of, name_of};

/// The sizes of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// Link attributes that `libc` does not define on every Linux target (`linux/if_link.h`).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// `RTEXT_FILTER_SKIP_STATS`: omits the counters, which make up most of a link's message.
const SKIP_STATISTICS: u32 = 1 << 3;

/// Attributes and flags of addresses (`linux/if_addr.h`).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// Masters whose ports carry traffic that is not the host's own. A VRF is not one of them.
const MASTERS_OF_PORTS: [&[u8]; 5] = [b"bridge", b"bond", b"team", b"batadv", b"openvswitch"];

/// Returns all interfaces of the calling thread's network namespace, ordered by index.
pub fn list() -> io::Result<Vec<Interface>> {
    match Netlink::open(NetlinkProtocol::Route).and_then(|mut netlink| list_through(&mut netlink)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => super::without_netlink::list(error),
        listed => listed,
    }
}

/// Returns all interfaces of the socket's network namespace, ordered by index.
pub(crate) fn list_through(netlink: &mut Netlink) -> io::Result<Vec<Interface>> {
    let mut request = vec![0; LINK_HEADER];
    push_attribute(&mut request, IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes());
    let links = netlink.dump(libc::RTM_GETLINK, &request)?;
    let mut interfaces: BTreeMap<_, _> =
        links.iter().filter_map(link).map(|interface| (interface.index, interface)).collect();

    for (index, address) in netlink.dump(libc::RTM_GETADDR, &[0; ADDRESS_HEADER])?.iter().filter_map(address)
    {
        // If the interface appeared between the two dumps, the next listing includes it.
        if let Some(interface) = interfaces.get_mut(&index) {
            interface.addresses.push(address);
        }
    }
    Ok(interfaces.into_values().collect())
}

fn link(answer: &NetlinkReply) -> Option<Interface> {
    let header = answer.payload.get(..LINK_HEADER).filter(|_| answer.kind == libc::RTM_NEWLINK)?;
    let flag = {
        let flags = u32_at(header, 8)?.cast_signed();
        move |bit: libc::c_int| flags & bit != 0
    };
    let mut interface = Interface {
        index: InterfaceIndex::new(u32_at(header, 4)?)?,
        ipv6_index: None,
        name: String::new(),
        up: flag(libc::IFF_UP),
        running: flag(libc::IFF_UP) && flag(libc::IFF_RUNNING),
        multicast: flag(libc::IFF_MULTICAST),
        loopback: flag(libc::IFF_LOOPBACK),
        point_to_point: flag(libc::IFF_POINTOPOINT),
        mtu: 0,
        hardware_address: None,
        addresses: Vec::new(),
        port_of: None,
    };
    let (mut master, mut is_port) = (None, false);
    for (kind, value) in attributes(&answer.payload[LINK_HEADER..]) {
        match kind {
            IFLA_IFNAME => interface.name = text(value),
            IFLA_MTU => interface.mtu = u32_at(value, 0)?,
            IFLA_ADDRESS => interface.hardware_address = HardwareAddress::from_slice(value),
            IFLA_MASTER => master = u32_at(value, 0).and_then(InterfaceIndex::new),
            IFLA_LINKINFO => is_port = is_port_of_something(value),
            _ => {}
        }
    }
    interface.port_of = master.filter(|_| is_port);
    Some(interface)
}

fn is_port_of_something(link_info: &[u8]) -> bool {
    attributes(link_info).any(|(kind, value)| {
        kind == IFLA_INFO_SLAVE_KIND && MASTERS_OF_PORTS.contains(&value.strip_suffix(b"\0").unwrap_or(value))
    })
}

fn address(answer: &NetlinkReply) -> Option<(InterfaceIndex, InterfaceAddress)> {
    let header = answer.payload.get(..ADDRESS_HEADER).filter(|_| answer.kind == libc::RTM_NEWADDR)?;
    let index = InterfaceIndex::new(u32_at(header, 4)?)?;
    let mut flags = u32::from(header[2]);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(&answer.payload[ADDRESS_HEADER..]) {
        match kind {
            IFA_LOCAL => local = ip_address(value),
            // The interface's own address, or its peer's on a point-to-point link.
            IFA_ADDRESS => other = ip_address(value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some((index, InterfaceAddress { address: local.or(other)?, prefix: header[1], state: state(flags) }))
}

fn state(flags: u32) -> AddressState {
    if flags & IFA_F_DADFAILED != 0 {
        AddressState::Duplicate
    } else if flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0 {
        AddressState::Tentative
    } else {
        AddressState::Ready
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

/// Returns the index of the interface that an `RTM_DELLINK` message reports as deleted.
///
/// A bridge also sends this message, with family `AF_BRIDGE`, when it releases a port; no interface
/// is deleted then.
pub(crate) fn deleted(payload: &[u8]) -> Option<InterfaceIndex> {
    let family = u16_at(payload, 0)?.to_ne_bytes()[0];
    InterfaceIndex::new(u32_at(payload, 4)?).filter(|_| i32::from(family) == libc::AF_UNSPEC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link_answer(attributes: &[(u16, &[u8])]) -> NetlinkReply {
        let flags = libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST;
        let mut payload = vec![0; LINK_HEADER];
        payload[4..8].copy_from_slice(&7_i32.to_ne_bytes());
        payload[8..12].copy_from_slice(&flags.to_ne_bytes());
        for (kind, value) in attributes {
            push_attribute(&mut payload, *kind, value);
        }
        NetlinkReply { kind: libc::RTM_NEWLINK, payload }
    }

    fn slave_of(kind: &[u8]) -> Option<InterfaceIndex> {
        let mut info = Vec::new();
        push_attribute(&mut info, IFLA_INFO_SLAVE_KIND, kind);
        let answer = link_answer(&[(IFLA_MASTER, &3_u32.to_ne_bytes()), (IFLA_LINKINFO, &info)]);
        link(&answer).unwrap().port_of
    }

    #[test]
    fn a_link_is_read_with_its_flags_and_attributes() {
        let read = link(&link_answer(&[
            (IFLA_IFNAME, b"eth0\0"),
            (IFLA_MTU, &1500_u32.to_ne_bytes()),
            (IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]),
            (60_000, b"from a later kernel"),
        ]))
        .unwrap();
        assert_eq!((read.index.number(), read.name.as_str(), read.mtu), (7, "eth0", 1500));
        assert!(read.up && read.running && read.multicast && !read.loopback && !read.point_to_point);
        assert_eq!(read.hardware_address, Some(HardwareAddress([2, 0, 0, 0, 0, 9])));
    }

    #[test]
    fn members_of_bridges_and_bonds_are_ports_and_those_of_a_vrf_are_not() {
        assert_eq!(slave_of(b"vrf\0"), None);
        assert_eq!(slave_of(b"bridge\0"), InterfaceIndex::new(3));
        assert_eq!(slave_of(b"bond\0"), InterfaceIndex::new(3));
    }

    #[test]
    fn a_bridge_that_releases_a_port_is_not_a_deletion() {
        let mut payload = vec![0; LINK_HEADER];
        payload[4..8].copy_from_slice(&7_i32.to_ne_bytes());
        assert_eq!(deleted(&payload), InterfaceIndex::new(7));
        payload[0] = libc::AF_BRIDGE as u8;
        assert_eq!(deleted(&payload), None);
    }

    #[test]
    fn an_optimistic_address_is_ready_and_a_duplicate_is_not() {
        assert_eq!(state(IFA_F_TENTATIVE), AddressState::Tentative);
        assert_eq!(state(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC), AddressState::Ready);
        assert_eq!(state(IFA_F_TENTATIVE | IFA_F_DADFAILED), AddressState::Duplicate);
        assert_eq!(state(0), AddressState::Ready);
    }
}
