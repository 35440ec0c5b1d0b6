//! Bridges and their ports, from rtnetlink: multicast settings, port states, and the table of groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_sys::netlink::{NetlinkProtocol, NetlinkReply, attribute, attributes, u16_at, u32_at};

use super::dump;
use crate::snapshot::{BridgeGroup, BridgePort, BridgeSettings, Link, OtherQuerier, PortState, VlanLimit};

pub(super) const AF_BRIDGE: u8 = 7;
const GET_GROUPS: u16 = 86;
const NEW_VLANS: u16 = 112;
const GET_VLANS: u16 = 114;
/// The length of the header of messages about VLANs (`struct br_vlan_msg`).
const VLANS_HEADER: usize = 8;
/// The length of the header of messages about groups (`struct br_port_msg`).
const GROUPS_HEADER: usize = 8;

// Attributes of bridges and ports (linux/if_link.h).
const BR_STP_STATE: u16 = 5;
const BR_MCAST_SNOOPING: u16 = 23;
const BR_MCAST_QUERIER: u16 = 25;
const BR_MCAST_HASH_MAX: u16 = 27;
const BR_MCAST_MEMBERSHIP_INTERVAL: u16 = 31;
const BR_MCAST_QUERIER_INTERVAL: u16 = 32;
const BR_MCAST_QUERY_INTERVAL: u16 = 33;
const BR_MCAST_QUERIER_STATE: u16 = 47;
const PORT_STATE: u16 = 1;
const PORT_FAST_LEAVE: u16 = 7;
const PORT_MULTICAST_ROUTER: u16 = 25;
const PORT_MCAST_FLOOD: u16 = 27;
const PORT_ISOLATED: u16 = 33;
const PORT_LOCKED: u16 = 39;
const PORT_MCAST_N_GROUPS: u16 = 41;
const PORT_MCAST_MAX_GROUPS: u16 = 42;

/// The groups and routers that bridges have learnt.
#[derive(Debug, Default)]
pub(super) struct BridgeTables {
    pub(super) groups: Vec<BridgeGroup>,
    pub(super) router_ports: Vec<InterfaceIndex>,
    /// The number of entries by bridge. A bridge may be listed several times.
    sizes: Vec<(InterfaceIndex, u32)>,
}

/// Returns the tables of all bridges, and adds their sizes. A kernel whose bridges do not snoop has none.
pub(super) fn tables(links: &mut [Link]) -> io::Result<BridgeTables> {
    let mut header = [0; GROUPS_HEADER];
    header[0] = AF_BRIDGE;
    let replies = match dump(NetlinkProtocol::Route, GET_GROUPS, &header) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Vec::new(),
        replies => replies?,
    };
    let tables = parse_tables(&replies);
    for (index, size) in &tables.sizes {
        let link = links.iter_mut().find(|link| link.index() == *index);
        if let Some(bridge) = link.and_then(|link| link.bridge.as_mut()) {
            bridge.table_entries += size;
        }
    }
    Ok(tables)
}

/// Adds the VLANs in which ports may have a limited number of groups. A kernel whose bridges know no VLANs has none.
pub(super) fn add_vlan_limits(links: &mut [Link]) -> io::Result<()> {
    let mut header = [0; VLANS_HEADER];
    header[0] = AF_BRIDGE;
    let replies = match dump(NetlinkProtocol::Route, GET_VLANS, &header) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Vec::new(),
        replies => replies?,
    };
    for (index, limits) in replies.iter().filter_map(vlan_limits) {
        if let Some(link) = links.iter_mut().find(|link| link.index() == index) {
            link.vlan_limits.extend(limits);
        }
    }
    Ok(())
}

/// Reads a port and its VLANs with a limit (`struct br_vlan_msg` and `BRIDGE_VLANDB_ENTRY`).
fn vlan_limits(reply: &NetlinkReply) -> Option<(InterfaceIndex, Vec<VlanLimit>)> {
    const ENTRY: u16 = 1;
    const INFO: u16 = 1;
    const N_GROUPS: u16 = 7;
    const MAX_GROUPS: u16 = 8;
    let (header, body) = reply.payload.split_at_checked(VLANS_HEADER).filter(|_| reply.kind == NEW_VLANS)?;
    let limit = |entry: &[u8]| {
        let number = |kind| u32_at(attribute(entry, kind)?, 0);
        let limit = number(MAX_GROUPS).filter(|limit| *limit > 0)?;
        let vlan = u16_at(attribute(entry, INFO)?, 2)?;
        Some(VlanLimit { vlan, groups: number(N_GROUPS)?, limit })
    };
    let entries = attributes(body).filter(|(kind, _)| *kind == ENTRY);
    Some((InterfaceIndex::new(u32_at(header, 4)?)?, entries.filter_map(|(_, entry)| limit(entry)).collect()))
}

fn parse_tables(replies: &[NetlinkReply]) -> BridgeTables {
    const GROUPS: u16 = 1;
    const ROUTERS: u16 = 2;
    const ENTRY: u16 = 1;
    let mut tables = BridgeTables::default();
    for reply in replies {
        let body = reply.payload.get(GROUPS_HEADER..).unwrap_or_default();
        let entries: Vec<_> = nested(body, GROUPS).filter(|(kind, _)| *kind == ENTRY).collect();
        let bridge = u32_at(&reply.payload, 4).and_then(InterfaceIndex::new);
        tables.sizes.extend(bridge.map(|bridge| (bridge, entries.len() as u32)));
        let infos = entries.into_iter().flat_map(|(_, entry)| attributes(entry));
        tables.groups.extend(infos.filter_map(|(_, info)| group(info)));
        let ports = nested(body, ROUTERS).filter(|(kind, _)| *kind == ENTRY);
        tables
            .router_ports
            .extend(ports.filter_map(|(_, port)| u32_at(port, 0).and_then(InterfaceIndex::new)));
    }
    tables
}

fn nested(body: &[u8], kind: u16) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(attribute(body, kind).unwrap_or_default())
}

/// Reads `struct br_mdb_entry` and the attributes behind it. `None` for an entry without members that accept every
/// source, whose sources have entries of their own.
fn group(info: &[u8]) -> Option<BridgeGroup> {
    const LENGTH: usize = 28;
    const BLOCKED: u8 = 1 << 3;
    const GROUP_MODE: u16 = 3;
    const SOURCE: u16 = 4;
    const INCLUDE: u8 = 1;
    let (entry, more) = info.split_at_checked(LENGTH)?;
    let source = attribute(more, SOURCE).and_then(|source| match source.len() {
        4 => address(source, false),
        _ => address(source, true),
    });
    let mode = attribute(more, GROUP_MODE).and_then(|mode| mode.first()).copied();
    if source.is_none() && mode == Some(INCLUDE) {
        return None;
    }
    let protocol = entry.get(24..26)?;
    let group = match u16::from_be_bytes([*protocol.first()?, *protocol.last()?]) {
        0x0800 => address(entry.get(8..)?, false)?,
        0x86dd => address(entry.get(8..)?, true)?,
        // A group of Ethernet addresses.
        _ => return None,
    };
    let port = InterfaceIndex::new(u32_at(entry, 0)?)?;
    Some(BridgeGroup { port, group, source, blocked: entry.get(5)? & BLOCKED != 0 })
}

fn address(bytes: &[u8], is_v6: bool) -> Option<IpAddr> {
    match is_v6 {
        true => bytes.first_chunk().map(|bytes: &[u8; 16]| Ipv6Addr::from(*bytes).into()),
        false => bytes.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes).into()),
    }
}

/// Reads the settings of a bridge.
pub(super) fn bridge(data: &[u8]) -> BridgeSettings {
    let flag = |kind| attribute(data, kind).and_then(|value| value.first()).is_some_and(|value| *value != 0);
    let time = |kind| attribute(data, kind).and_then(ticks).unwrap_or_default();
    let state = attribute(data, BR_MCAST_QUERIER_STATE).unwrap_or_default();
    BridgeSettings {
        snooping: flag(BR_MCAST_SNOOPING),
        table_limit: attribute(data, BR_MCAST_HASH_MAX)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or_default(),
        table_entries: 0,
        spanning_tree: attribute(data, BR_STP_STATE)
            .and_then(|value| u32_at(value, 0))
            .is_some_and(|state| state != 0),
        querier: flag(BR_MCAST_QUERIER),
        membership_interval: time(BR_MCAST_MEMBERSHIP_INTERVAL),
        querier_interval: time(BR_MCAST_QUERIER_INTERVAL),
        other_querier_v4: other_querier(state, [1, 2, 3], false),
        other_querier_v6: other_querier(state, [5, 6, 7], true),
        query_interval: time(BR_MCAST_QUERY_INTERVAL),
    }
}

/// Reads another querier from the attributes of its address, port and remaining time. The time is missing if the bridge
/// itself is the querier.
fn other_querier(state: &[u8], [host, port, time]: [u16; 3], is_v6: bool) -> Option<OtherQuerier> {
    Some(OtherQuerier {
        address: address(attribute(state, host)?, is_v6)?,
        port: attribute(state, port).and_then(|value| u32_at(value, 0)).and_then(InterfaceIndex::new),
        remaining: ticks(attribute(state, time)?)?,
    })
}

/// Reads a time in hundredths of a second (`USER_HZ`).
fn ticks(value: &[u8]) -> Option<Duration> {
    Some(Duration::from_millis(u64::from_ne_bytes(*value.first_chunk()?).saturating_mul(10)))
}

/// Reads the settings of a port.
pub(super) fn bridge_port(data: &[u8]) -> BridgePort {
    let number = |kind| attribute(data, kind).and_then(|value| value.first()).copied();
    let count = |kind| attribute(data, kind).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    BridgePort {
        floods_multicast: number(PORT_MCAST_FLOOD) != Some(0),
        fast_leave: number(PORT_FAST_LEAVE) == Some(1),
        // 1 means "learn"; 2 means "always" (`MDB_RTR_TYPE_PERM`).
        leads_to_router: number(PORT_MULTICAST_ROUTER) == Some(2),
        hosts: 0,
        state: match number(PORT_STATE) {
            Some(0) => PortState::Disabled,
            Some(1) => PortState::Listening,
            Some(2) => PortState::Learning,
            Some(4) => PortState::Blocking,
            _ => PortState::Forwarding,
        },
        isolated: number(PORT_ISOLATED) == Some(1),
        locked: number(PORT_LOCKED) == Some(1),
        groups: count(PORT_MCAST_N_GROUPS),
        group_limit: count(PORT_MCAST_MAX_GROUPS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns an attribute with its header and padding.
    fn encode(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Returns the table of a bridge with an entry for 239.1.2.3 on port 7 with these attributes, and a router on port 8.
    fn reply(more: &[u8]) -> NetlinkReply {
        let mut entry = vec![7, 0, 0, 0, 0, 0, 0, 0, 239, 1, 2, 3];
        entry.resize(24, 0);
        entry.extend([0x08, 0x00, 0, 0]);
        entry[..4].copy_from_slice(&7_u32.to_ne_bytes());
        entry.extend(more);
        let mut payload = vec![AF_BRIDGE, 0, 0, 0];
        payload.extend(9_u32.to_ne_bytes());
        payload.extend(encode(1, &encode(1, &encode(1, &entry))));
        payload.extend(encode(2, &encode(1, &8_u32.to_ne_bytes())));
        NetlinkReply { kind: 84, payload }
    }

    #[test]
    fn groups_and_router_ports_are_read() {
        let tables = parse_tables(&[reply(&encode(3, &[0]))]);
        let port = InterfaceIndex::new(7).unwrap();
        let group = "239.1.2.3".parse().unwrap();
        assert_eq!(tables.groups, [BridgeGroup { port, group, source: None, blocked: false }]);
        assert_eq!(tables.router_ports, [InterfaceIndex::new(8).unwrap()]);
        assert_eq!(tables.sizes, [(InterfaceIndex::new(9).unwrap(), 1)]);
    }

    #[test]
    fn entry_of_a_source_counts_and_the_empty_entry_above_it_does_not() {
        let [group] = parse_tables(&[reply(&encode(4, &[10, 9, 0, 1]))]).groups[..] else { panic!() };
        assert_eq!(group.source, Some("10.9.0.1".parse().unwrap()));
        assert_eq!(parse_tables(&[reply(&encode(3, &[1]))]).groups, []);
    }

    #[test]
    fn querier_of_the_network_is_read_with_its_remaining_time() {
        let state = [encode(1, &[10, 9, 0, 254]), encode(2, &3_u32.to_ne_bytes())].concat();
        let ends = [state.clone(), encode(3, &25_000_u64.to_ne_bytes())].concat();
        let read = |state: &[u8]| bridge(&encode(BR_MCAST_QUERIER_STATE, state)).other_querier_v4;
        let expected = OtherQuerier {
            address: "10.9.0.254".parse().unwrap(),
            port: InterfaceIndex::new(3),
            remaining: Duration::from_secs(250),
        };
        assert_eq!((read(&ends), read(&state)), (Some(expected), None));
    }

    #[test]
    fn limits_of_groups_are_read_by_vlan() {
        let entry = |vlan: u16, limit: u32| {
            let info = [0_u16.to_ne_bytes(), vlan.to_ne_bytes()].concat();
            let numbers = [encode(7, &8_u32.to_ne_bytes()), encode(8, &limit.to_ne_bytes())].concat();
            encode(1, &[encode(1, &info), numbers].concat())
        };
        let mut payload = vec![AF_BRIDGE, 0, 0, 0];
        payload.extend(7_u32.to_ne_bytes());
        payload.extend([entry(10, 8), entry(20, 0)].concat());
        let read = vlan_limits(&NetlinkReply { kind: NEW_VLANS, payload });
        let limit = VlanLimit { vlan: 10, groups: 8, limit: 8 };
        assert_eq!(read, Some((InterfaceIndex::new(7).unwrap(), vec![limit])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes: Vec<u8>) {
            let _ = (bridge(&bytes), bridge_port(&bytes), group(&bytes));
            let payload = bytes.clone();
            let _ = vlan_limits(&NetlinkReply { kind: NEW_VLANS, payload: payload.clone() });
            let _ = parse_tables(&[NetlinkReply { kind: 0, payload }, reply(&bytes)]);
        }
    }
}
