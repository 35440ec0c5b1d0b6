//! Interfaces with their bridge settings, ports, queues and addresses, from rtnetlink.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use mcast_sys::netlink::{NetlinkProtocol, NetlinkReply, attribute, attributes, text, u16_at, u32_at};

use super::netlink::{self, u64_at};
use crate::snapshot::{Address, AddressState, Bridge, BridgePort, Link, Queue, Statistics};

// Messages (linux/rtnetlink.h) and the lengths of their headers.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const NEW_QUEUE: u16 = 36;
const GET_QUEUE: u16 = 38;
const GET_GROUPS: u16 = 86;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;
const QUEUE_HEADER: usize = 20;
const GROUPS_HEADER: usize = 8;

const AF_BRIDGE: u8 = 7;

// Flags of interfaces (linux/if.h).
const UP: u32 = 0x1;
const LOOPBACK: u32 = 0x8;
const POINT_TO_POINT: u32 = 0x10;
const RUNNING: u32 = 0x40;
const MULTICAST: u32 = 0x1000;

// Attributes of links (linux/if_link.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const BR_MCAST_SNOOPING: u16 = 23;
const BR_MCAST_HASH_MAX: u16 = 27;
const PORT_FAST_LEAVE: u16 = 7;
const PORT_MULTICAST_ROUTER: u16 = 25;
const PORT_MCAST_FLOOD: u16 = 27;

// Attributes and flags of addresses (linux/if_addr.h).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// Returns all interfaces of the calling thread's network namespace.
pub(super) fn list() -> io::Result<Vec<Link>> {
    let replies = netlink::dump(NetlinkProtocol::Route, GET_LINK, &[0; LINK_HEADER])?;
    let mut links: BTreeMap<_, _> = replies.iter().filter_map(link).map(|link| (link.index, link)).collect();
    for (index, address) in
        netlink::dump(NetlinkProtocol::Route, GET_ADDRESS, &[0; ADDRESS_HEADER])?.iter().filter_map(address)
    {
        links.entry(index).and_modify(|link| link.addresses.push(address));
    }
    for (index, queue) in
        netlink::dump(NetlinkProtocol::Route, GET_QUEUE, &[0; QUEUE_HEADER])?.iter().filter_map(queue)
    {
        links.entry(index).and_modify(|link| link.queues.push(queue));
    }
    if links.values().any(|link| link.bridge.is_some()) {
        add_bridge_tables(&mut links);
    }
    Ok(links.into_values().collect())
}

/// Adds the hosts and groups that bridges have learnt. A kernel without bridge support refuses the request,
/// and then has nothing to add.
fn add_bridge_tables(links: &mut BTreeMap<u32, Link>) {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = AF_BRIDGE;
    let hosts = netlink::dump(NetlinkProtocol::Route, GET_NEIGHBOUR, &header).unwrap_or_default();
    for index in hosts.iter().filter_map(learnt_behind) {
        let port = links.get_mut(&index).and_then(|link| link.port.as_mut());
        if let Some(port) = port {
            port.hosts += 1;
        }
    }
    let mut header = [0; GROUPS_HEADER];
    header[0] = AF_BRIDGE;
    let groups = netlink::dump(NetlinkProtocol::Route, GET_GROUPS, &header).unwrap_or_default();
    for message in &groups {
        let index = u32_at(&message.payload, 4);
        let bridge = index.and_then(|index| links.get_mut(&index)?.bridge.as_mut());
        if let Some(bridge) = bridge {
            bridge.table_entries += groups_in(message);
        }
    }
}

fn link(reply: &NetlinkReply) -> Option<Link> {
    let header = reply.payload.get(..LINK_HEADER).filter(|_| reply.kind == NEW_LINK)?;
    let flags = u32_at(header, 8)?;
    let flag = |bit| flags & bit != 0;
    let mut link = Link {
        index: u32_at(header, 4)?,
        up: flag(UP),
        running: flag(UP) && flag(RUNNING),
        multicast: flag(MULTICAST),
        loopback: flag(LOOPBACK),
        point_to_point: flag(POINT_TO_POINT),
        ..Link::default()
    };
    for (kind, value) in attributes(&reply.payload[LINK_HEADER..]) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINK => link.lower = u32_at(value, 0).filter(|lower| *lower != 0),
            IFLA_LINK_NETNSID => link.peer_elsewhere = true,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_STATS64 => link.statistics = statistics(value),
            IFLA_LINKINFO => add_info(&mut link, value),
            _ => {}
        }
    }
    link.lower = link.lower.filter(|_| !link.peer_elsewhere);
    // A VRF is a master as well, but its interfaces are still the host's own.
    link.master = link.master.filter(|_| link.port.is_some());
    link.wireless = link.name.starts_with("wl") && link.kind.is_none();
    Some(link)
}

/// Reads `struct rtnl_link_stats64`: `rx_packets`, `rx_dropped`, `rx_length_errors` and `rx_missed_errors`.
fn statistics(value: &[u8]) -> Statistics {
    let at = |number: usize| u64_at(value, number * 8).unwrap_or_default();
    Statistics {
        received: at(0),
        receive_dropped: at(6),
        receive_length_errors: at(10),
        receive_missed: at(15),
    }
}

fn add_info(link: &mut Link, info: &[u8]) {
    link.kind = attribute(info, INFO_KIND).map(text);
    if link.kind.as_deref() == Some("bridge") {
        link.bridge = attribute(info, INFO_DATA).map(bridge);
    }
    link.port = match attribute(info, INFO_SLAVE_KIND).map(text).as_deref() {
        Some("bridge") => attribute(info, INFO_SLAVE_DATA).map(bridge_port),
        Some("bond" | "team" | "openvswitch" | "batadv") => {
            Some(BridgePort { floods_multicast: true, ..BridgePort::default() })
        }
        _ => None,
    };
}

fn bridge(data: &[u8]) -> Bridge {
    let flag = |kind| attribute(data, kind).and_then(|value| value.first()).is_some_and(|value| *value != 0);
    Bridge {
        snooping: flag(BR_MCAST_SNOOPING),
        table_limit: attribute(data, BR_MCAST_HASH_MAX)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or_default(),
        table_entries: 0,
    }
}

fn bridge_port(data: &[u8]) -> BridgePort {
    let number = |kind| attribute(data, kind).and_then(|value| value.first()).copied();
    BridgePort {
        floods_multicast: number(PORT_MCAST_FLOOD) != Some(0),
        fast_leave: number(PORT_FAST_LEAVE) == Some(1),
        // 1 means "learn"; 2 means "always" (`MDB_RTR_TYPE_PERM`).
        leads_to_router: number(PORT_MULTICAST_ROUTER) == Some(2),
        hosts: 0,
    }
}

fn address(reply: &NetlinkReply) -> Option<(u32, Address)> {
    let header = reply.payload.get(..ADDRESS_HEADER).filter(|_| reply.kind == NEW_ADDRESS)?;
    let mut flags = u32::from(header[2]);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(&reply.payload[ADDRESS_HEADER..]) {
        match kind {
            IFA_LOCAL => local = ip_address(value),
            // On a point-to-point interface this is the peer's address.
            IFA_ADDRESS => other = ip_address(value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let address = Address { address: local.or(other)?, prefix: header[1], state: state(flags) };
    Some((u32_at(header, 4)?, address))
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

pub(super) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

/// Reads the root queueing discipline of an interface. Children are skipped, because their drops are
/// included in the root's counter.
fn queue(reply: &NetlinkReply) -> Option<(u32, Queue)> {
    const ROOT: u32 = 0xffff_ffff;
    const TCA_KIND: u16 = 1;
    const TCA_STATS2: u16 = 7;
    const TCA_STATS_QUEUE: u16 = 3;
    let header = reply.payload.get(..QUEUE_HEADER).filter(|_| reply.kind == NEW_QUEUE)?;
    if u32_at(header, 12)? != ROOT {
        return None;
    }
    let body = &reply.payload[QUEUE_HEADER..];
    let statistics = attribute(attribute(body, TCA_STATS2)?, TCA_STATS_QUEUE)?;
    let queue = Queue { kind: text(attribute(body, TCA_KIND)?), dropped: u64::from(u32_at(statistics, 8)?) };
    Some((u32_at(header, 4)?, queue))
}

/// Returns the port behind which a bridge has learnt a host.
fn learnt_behind(reply: &NetlinkReply) -> Option<u32> {
    /// The state of the entries for the ports' own addresses (`NUD_PERMANENT`).
    const PERMANENT: u16 = 0x80;
    let header = reply.payload.get(..NEIGHBOUR_HEADER).filter(|_| reply.kind == NEW_NEIGHBOUR)?;
    let permanent = u16_at(header, 8)? & PERMANENT != 0;
    u32_at(header, 4).filter(|_| !permanent)
}

/// Returns the number of entries (`MDBA_MDB_ENTRY` in `MDBA_MDB`) in a message of a bridge's group table.
fn groups_in(message: &NetlinkReply) -> u32 {
    let body = message.payload.get(GROUPS_HEADER..).unwrap_or_default();
    let table = attribute(body, 1).unwrap_or_default();
    attributes(table).filter(|(kind, _)| *kind == 1).count() as u32
}
