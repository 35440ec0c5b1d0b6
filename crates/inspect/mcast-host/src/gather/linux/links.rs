//! What netlink shows: interfaces with their bridge settings, ports and queues, the filters of traffic control, and the policies
//! of IPsec.
//!
//! The services that configure them at boot are known from their state in `/run`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fs, io};

use mcast::{Family, InterfaceIndex};
use mcast_sys::netlink::{
    Netlink, NetlinkProtocol, NetlinkReply, attribute, attributes, text, u16_at, u32_at,
};

use super::bridges::{AF_BRIDGE, bridge, bridge_port};
use super::dump;
use crate::snapshot::{
    BridgePort, Carrier, ConfigService, DeviceStatistics, IpsecAction, IpsecPolicy, Link, MacvlanMode, Queue,
    TrafficFilter, XdpProgram,
};
use crate::{Error, Result};

// Messages (linux/rtnetlink.h) and the lengths of their headers.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const GET_NEIGHBOUR: u16 = 30;
const NEW_QUEUE: u16 = 36;
const GET_QUEUE: u16 = 38;
const LINK_HEADER: usize = 16;
pub(super) const NEIGHBOUR_HEADER: usize = 12;
const QUEUE_HEADER: usize = 20;

// Attributes of links (linux/if_link.h).
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;

/// Returns all interfaces of the calling thread's network namespace.
pub(super) fn list() -> Result<Vec<Link>> {
    let links =
        mcast::interface::list()?.into_iter().map(|interface| (interface.index, Link::from(interface)));
    let mut links: BTreeMap<_, _> = links.collect();
    add_details(&mut links).map_err(|source| Error::System { what: "the interfaces".into(), source })?;
    Ok(links.into_values().collect())
}

fn add_details(links: &mut BTreeMap<InterfaceIndex, Link>) -> io::Result<()> {
    for reply in dump(NetlinkProtocol::Route, GET_LINK, &[0; LINK_HEADER])? {
        if let Some((index, attributes)) = body(&reply, NEW_LINK, LINK_HEADER)
            && let Some(link) = links.get_mut(&index)
        {
            add_link_attributes(link, attributes);
        }
    }
    for reply in dump(NetlinkProtocol::Route, GET_QUEUE, &[0; QUEUE_HEADER])? {
        if let Some((index, queue)) = queue(&reply)
            && let Some(link) = links.get_mut(&index)
        {
            link.queues.push(queue);
        } else if let Some((index, queue)) = queue_below(&reply, CLASSIFIER)
            && let Some(link) = links.get_mut(&index)
        {
            link.classifier = Some(queue);
        }
    }
    Ok(())
}

/// Returns how many frames each interface has received and not passed on; none if the system does not list them.
pub fn refused_frames() -> BTreeMap<InterfaceIndex, u64> {
    const RX_DROPPED: usize = 6;
    const RX_LENGTH_ERRORS: usize = 10;
    let replies = dump(NetlinkProtocol::Route, GET_LINK, &[0; LINK_HEADER]).unwrap_or_default();
    let count = |reply: &NetlinkReply| {
        let (index, attributes) = body(reply, NEW_LINK, LINK_HEADER)?;
        let value = attribute(attributes, IFLA_STATS64)?;
        Some((index, statistic(value, RX_DROPPED).saturating_add(statistic(value, RX_LENGTH_ERRORS))))
    };
    replies.iter().filter_map(count).collect()
}

/// Returns the interface in the header of a reply of this kind, and the attributes behind the header.
pub(super) fn body(reply: &NetlinkReply, kind: u16, header: usize) -> Option<(InterfaceIndex, &[u8])> {
    let (header, attributes) = reply.payload.split_at_checked(header).filter(|_| reply.kind == kind)?;
    // It has the same position in all these headers.
    Some((InterfaceIndex::new(u32_at(header, 4)?)?, attributes))
}

/// Adds the hosts that bridges have learnt behind their ports.
pub(super) fn add_hosts(links: &mut [Link]) -> io::Result<()> {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = AF_BRIDGE;
    let hosts = dump(NetlinkProtocol::Route, GET_NEIGHBOUR, &header)?;
    for index in hosts.iter().filter_map(learnt_behind) {
        let link = links.iter_mut().find(|link| link.index() == index);
        if let Some(port) = link.and_then(|link| link.port.as_mut()) {
            port.hosts += 1;
        }
    }
    Ok(())
}

fn add_link_attributes(link: &mut Link, all: &[u8]) {
    for (kind, value) in attributes(all) {
        match kind {
            IFLA_LINK => link.lower = u32_at(value, 0).and_then(InterfaceIndex::new),
            IFLA_LINK_NETNSID => link.peer_elsewhere = true,
            IFLA_STATS64 => link.statistics = statistics(value),
            IFLA_LINKINFO => add_info(link, value),
            IFLA_PROMISCUITY => link.is_promiscuous = u32_at(value, 0).is_some_and(|count| count > 0),
            IFLA_XDP => link.xdp_program = xdp_program(value),
            _ => {}
        }
    }
    link.lower = link.lower.filter(|_| !link.peer_elsewhere);
    link.wireless = link.name().starts_with("wl") && link.kind.is_none();
}

fn xdp_program(value: &[u8]) -> Option<XdpProgram> {
    const ATTACHED: u16 = 2;
    const PROGRAM: u16 = 4;
    let mode = match attribute(value, ATTACHED).and_then(|mode| mode.first()) {
        Some(1) => "xdpdrv",
        Some(2) => "xdpgeneric",
        Some(3) => "xdpoffload",
        _ => "xdp",
    };
    Some(XdpProgram { id: u32_at(attribute(value, PROGRAM)?, 0)?, mode })
}

/// Reads `rx_packets`, `rx_bytes` and `rx_missed_errors`.
fn statistics(value: &[u8]) -> DeviceStatistics {
    let [received, received_bytes, receive_missed] = [0, 2, 15].map(|number| statistic(value, number));
    DeviceStatistics { received, received_bytes, receive_missed }
}

/// Returns a number of `struct rtnl_link_stats64`; 0 if it is missing.
fn statistic(value: &[u8], number: usize) -> u64 {
    let rest = value.get(number * 8..).and_then(|rest| rest.first_chunk());
    rest.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

fn add_info(link: &mut Link, info: &[u8]) {
    link.kind = attribute(info, INFO_KIND).map(text);
    if link.kind.as_deref() == Some("bridge") {
        link.bridge = attribute(info, INFO_DATA).map(bridge);
    }
    if link.kind.as_deref() == Some("macvlan") {
        link.macvlan_mode = attribute(info, INFO_DATA).and_then(macvlan_mode);
        link.group_queue =
            attribute(info, INFO_DATA).and_then(|data| u32_at(attribute(data, GROUP_QUEUE)?, 0));
    }
    if link.kind.as_deref() == Some("vxlan") {
        link.carrier = attribute(info, INFO_DATA).and_then(vxlan);
    }
    link.port = match attribute(info, INFO_SLAVE_KIND).map(text).as_deref() {
        Some("bridge") => attribute(info, INFO_SLAVE_DATA).map(bridge_port),
        Some("bond" | "team" | "openvswitch" | "batadv") => {
            Some(BridgePort { floods_multicast: true, ..BridgePort::default() })
        }
        _ => None,
    };
}

/// `IFLA_MACVLAN_BC_QUEUE_LEN`
const GROUP_QUEUE: u16 = 7;

/// Reads what carries the frames of a VXLAN (`IFLA_VXLAN_…`).
fn vxlan(data: &[u8]) -> Option<Carrier> {
    const NETWORK: u16 = 1;
    const GROUP: u16 = 2;
    const INTERFACE: u16 = 3;
    const PORT: u16 = 15;
    const GROUP6: u16 = 16;
    const LOCAL6: u16 = 17;
    let v4 = attribute(data, GROUP).and_then(v4_address);
    let v6 = attribute(data, GROUP6).and_then(|group| address(group, 0, true));
    let port = attribute(data, PORT)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
    let is_v6 = v6.is_some() || attribute(data, LOCAL6).is_some();
    Some(Carrier {
        family: if is_v6 { Family::V6 } else { Family::V4 },
        group: v4.or(v6).filter(IpAddr::is_multicast),
        port,
        network: u32_at(attribute(data, NETWORK)?, 0)?,
        interface: attribute(data, INTERFACE).and_then(|index| InterfaceIndex::new(u32_at(index, 0)?)),
    })
}

/// Reads the mode of a macvlan. The other modes have one macvlan on a device, or none that a mode concerns.
fn macvlan_mode(data: &[u8]) -> Option<MacvlanMode> {
    const MODE: u16 = 1;
    match u32_at(attribute(data, MODE)?, 0)? {
        1 => Some(MacvlanMode::Private),
        2 => Some(MacvlanMode::Vepa),
        4 => Some(MacvlanMode::Bridge),
        16 => Some(MacvlanMode::Source),
        _ => None,
    }
}

/// Reads the root queueing discipline of an interface. Children are skipped, because their drops are
/// included in the root's counter.
fn queue(reply: &NetlinkReply) -> Option<(InterfaceIndex, Queue)> {
    const ROOT: u32 = 0xffff_ffff;
    queue_below(reply, ROOT)
}

/// The parent of the queueing disciplines `clsact` and `ingress`.
const CLASSIFIER: u32 = 0xffff_fff1;

/// Reads a queueing discipline with this parent.
fn queue_below(reply: &NetlinkReply, parent: u32) -> Option<(InterfaceIndex, Queue)> {
    const TCA_KIND: u16 = 1;
    const TCA_STATS2: u16 = 7;
    const TCA_STATS_QUEUE: u16 = 3;
    let (index, body) = body(reply, NEW_QUEUE, QUEUE_HEADER)?;
    u32_at(&reply.payload, 12).filter(|each| *each == parent)?;
    let statistics = attribute(attribute(body, TCA_STATS2)?, TCA_STATS_QUEUE)?;
    let queue = Queue { kind: text(attribute(body, TCA_KIND)?), dropped: u64::from(u32_at(statistics, 8)?) };
    Some((index, queue))
}

/// Returns the port behind which a bridge has learnt a host.
fn learnt_behind(reply: &NetlinkReply) -> Option<InterfaceIndex> {
    /// The state of the entries for the ports' own addresses (`NUD_PERMANENT`).
    const PERMANENT: u16 = 0x80;
    let (port, _) = body(reply, NEW_NEIGHBOUR, NEIGHBOUR_HEADER)?;
    (u16_at(&reply.payload, 8)? & PERMANENT == 0).then_some(port)
}

/// Sets the configuration service of each interface. Indices in `/run` are those of the initial network
/// namespace, so nothing is known in any other.
pub(super) fn add_config_services(links: &mut [Link]) {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    if namespace("1").is_none() || namespace("1") != namespace("thread-self") {
        return;
    }
    let state =
        |folder: &str, index: InterfaceIndex| fs::read_to_string(format!("/run/{folder}/{index}")).ok();
    for link in links {
        let networkd = state("systemd/netif/links", link.index()).and_then(|state| networkd(&state));
        let other =
            || state("NetworkManager/devices", link.index()).and_then(|state| network_manager(&state));
        link.config_service = networkd.or_else(other);
    }
}

/// Reads from networkd's state the file that configures an interface.
fn networkd(state: &str) -> Option<ConfigService> {
    if value(state, "ADMIN_STATE")? == "unmanaged" {
        return None;
    }
    let file = value(state, "NETWORK_FILE")?.rsplit('/').next()?;
    (!file.is_empty()).then(|| ConfigService::Networkd { file: file.to_owned() })
}

/// Reads from NetworkManager's state the connection that configures an interface.
fn network_manager(state: &str) -> Option<ConfigService> {
    if value(state, "managed")? != "true" {
        return None;
    }
    let connection = value(state, "connection-uuid")?.to_owned();
    Some(ConfigService::NetworkManager { connection })
}

/// Returns the value in the line `NAME=VALUE`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

const NEW_POLICY: u16 = 0x13;
const GET_POLICY: u16 = 0x15;
/// The length of `struct xfrm_userpolicy_id`.
const POLICY_REQUEST: usize = 64;
/// The length of `struct xfrm_userpolicy_info`.
const POLICY_HEADER: usize = 168;
/// `XFRMA_TMPL`
const TEMPLATES: u16 = 5;
const INCOMING: u8 = 0;
const BLOCK: u8 = 1;
const AF_INET6: u16 = 10;

/// Returns the policies. A kernel without IPsec has none, and reading them needs `CAP_NET_ADMIN`: without it, the counters
/// still show what they reject.
pub(super) fn policies() -> Vec<IpsecPolicy> {
    let replies = dump(NetlinkProtocol::Ipsec, GET_POLICY, &[0; POLICY_REQUEST]).unwrap_or_default();
    replies.iter().filter_map(policy).collect()
}

/// Reads a `struct xfrm_userpolicy_info`, which begins with a `struct xfrm_selector`.
fn policy(reply: &NetlinkReply) -> Option<IpsecPolicy> {
    let (header, attributes) =
        reply.payload.split_at_checked(POLICY_HEADER).filter(|_| reply.kind == NEW_POLICY)?;
    (header.get(160)? == &INCOMING).then_some(())?;
    let is_v6 = u16_at(header, 40)? == AF_INET6;
    let network = |start: usize, prefix: usize| Some((address(header, start, is_v6)?, *header.get(prefix)?));
    let port = header.get(32..34)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
    let action = match (*header.get(161)?, attribute(attributes, TEMPLATES)) {
        (BLOCK, _) => IpsecAction::Block,
        (_, Some(_)) => IpsecAction::Protect,
        (_, None) => IpsecAction::Allow,
    };
    Some(IpsecPolicy {
        destination: network(0, 42)?,
        source: network(16, 43)?,
        port: (u16_at(header, 34)? != 0).then_some(port),
        protocol: *header.get(44)?,
        priority: u32_at(header, 152)?,
        action,
    })
}

fn address(header: &[u8], start: usize, is_v6: bool) -> Option<IpAddr> {
    let bytes: &[u8; 16] = header.get(start..)?.first_chunk()?;
    Some(if is_v6 {
        Ipv6Addr::from(*bytes).into()
    } else {
        Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
    })
}

fn v4_address(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into())
}

const NEW_FILTER: u16 = 44;
const GET_FILTER: u16 = 46;
/// The length of `struct tcmsg`.
const FILTER_HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `TCA_BPF_NAME`
const BPF_NAME: u16 = 7;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// Adds the filters to the interfaces that have any.
pub(super) fn add(links: &mut [Link]) -> io::Result<()> {
    let mut netlink = Netlink::open(NetlinkProtocol::Route)?;
    for link in links.iter_mut().filter(|link| link.classifier.is_some()) {
        for (parent, is_ingress) in [(INGRESS, true), (EGRESS, false)] {
            let replies = netlink.dump(GET_FILTER, &request(link.index().number(), parent))?;
            for filter in replies.iter().filter_map(|reply| filter(reply, is_ingress)) {
                // A filter is listed with each of its tables and entries.
                let same = |other: &&mut TrafficFilter| {
                    (other.is_ingress, other.preference) == (filter.is_ingress, filter.preference)
                };
                match link.filters.iter_mut().find(same) {
                    Some(known) => known.name = known.name.take().or(filter.name),
                    None => link.filters.push(filter),
                }
            }
        }
    }
    Ok(())
}

fn request(interface: u32, parent: u32) -> Vec<u8> {
    let mut body = vec![0; FILTER_HEADER];
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    body[12..16].copy_from_slice(&parent.to_ne_bytes());
    body
}

fn filter(reply: &NetlinkReply, is_ingress: bool) -> Option<TrafficFilter> {
    let (header, attributes) =
        reply.payload.split_at_checked(FILTER_HEADER).filter(|_| reply.kind == NEW_FILTER)?;
    let kind = text(attribute(attributes, TCA_KIND)?);
    // The attributes of other kinds have other meanings.
    let options = attribute(attributes, TCA_OPTIONS).filter(|_| kind == "bpf");
    Some(TrafficFilter {
        kind,
        is_ingress,
        preference: u32_at(header, 16)? >> 16,
        name: options
            .and_then(|options| attribute(options, BPF_NAME))
            .map(text)
            .filter(|name| !name.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networkd_configures_interfaces_that_have_a_file() {
        let state = "# private\nADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-lan.network\n";
        assert_eq!(networkd(state), Some(ConfigService::Networkd { file: "10-lan.network".into() }));
        assert_eq!(networkd("ADMIN_STATE=unmanaged\nNETWORK_FILE=/etc/x.network\n"), None);
        assert_eq!(networkd("ADMIN_STATE=configuring\n"), None);
    }

    #[test]
    fn network_manager_configures_interfaces_that_have_a_connection() {
        let state = "[device]\nmanaged=true\nconnection-uuid=5d-7\n";
        assert_eq!(network_manager(state), Some(ConfigService::NetworkManager { connection: "5d-7".into() }));
        assert_eq!(network_manager("[device]\nmanaged=false\nconnection-uuid=5d-7\n"), None);
        assert_eq!(network_manager("[device]\nmanaged=true\n"), None);
    }

    fn reply(direction: u8, action: u8) -> NetlinkReply {
        let mut payload = vec![0; POLICY_HEADER];
        payload[..4].copy_from_slice(&[239, 1, 0, 0]);
        payload[16..20].copy_from_slice(&[10, 9, 0, 0]);
        payload[32..36].copy_from_slice(&[0x13, 0x88, 0xff, 0xff]);
        payload[40..42].copy_from_slice(&2_u16.to_ne_bytes());
        payload[42..45].copy_from_slice(&[16, 24, 17]);
        payload[152..156].copy_from_slice(&7_u32.to_ne_bytes());
        (payload[160], payload[161]) = (direction, action);
        NetlinkReply { kind: NEW_POLICY, payload }
    }

    #[test]
    fn policy_for_packets_that_arrive_is_read() {
        let read = policy(&reply(0, 1)).unwrap();
        let text = "src 10.9.0.0/24 dst 239.1.0.0/16 proto udp dport 5000 action block priority 7";
        assert_eq!(read.to_string(), text);
        assert_eq!(policy(&reply(1, 1)), None, "for packets that leave");
        assert_eq!(policy(&reply(0, 0)).unwrap().action, IpsecAction::Allow);
        let mut protected = reply(0, 0);
        protected.payload.extend([8, 0, 5, 0, 0, 0, 0, 0]);
        assert_eq!(policy(&protected).unwrap().action, IpsecAction::Protect);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = vxlan(&payload);
            let _ = policy(&NetlinkReply { kind: NEW_POLICY, payload });
        }
    }

    /// What Linux 6.18 reports for `tc filter add dev lo ingress pref 49152 bpf bytecode '1,6 0 0 2' direct-action`.
    const FILTER: &str = "000000000100000001000000f2ffffff000300c0080001006270660008000b0000000000280002000600040001 \
        0000000c000500060000000200000008000800010000000800090008000000";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<_> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    #[test]
    fn filter_of_the_kernel_is_parsed() {
        let reply = NetlinkReply { kind: NEW_FILTER, payload: bytes(FILTER) };
        let expected = TrafficFilter { kind: "bpf".into(), is_ingress: true, preference: 49_152, name: None };
        assert_eq!(filter(&reply, true), Some(expected));
    }

    #[test]
    fn attribute_of_another_kind_of_filter_is_not_a_name() {
        let as_kind = |kind: &[u8; 4]| {
            let mut payload = bytes(FILTER);
            payload[FILTER_HEADER + 4..][..4].copy_from_slice(kind);
            // The options: their length, and an attribute that is the name of a program only for `bpf`.
            let options = payload.windows(4).position(|bytes| bytes[2..] == [2, 0]).unwrap();
            payload.truncate(options);
            payload.extend([12, 0, 2, 0, 6, 0, 7, 0, b'x', 0, 0, 0]);
            filter(&NetlinkReply { kind: NEW_FILTER, payload }, true).unwrap().name
        };
        assert_eq!(as_kind(b"bpf\0").as_deref(), Some("x"));
        assert_eq!(as_kind(b"u32\0"), None);
    }

    proptest! {
        #[test]
        fn any_message_is_parsed_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = filter(&NetlinkReply { kind: NEW_FILTER, payload }, true);
        }
    }
}
