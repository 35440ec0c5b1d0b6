//! An experiment: temporary nftables rules that count packets before and behind all other filters of each hook.
//!
//! They are in tables of their own that the kernel removes when this process closes the netlink socket, thus also
//! when it is killed (`NFT_TABLE_F_OWNER`, Linux 5.12). They accept everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use mcast::{Family, InterfaceIndex};
use mcast_sys::netlink::{Netlink, NetlinkChange, NetlinkProtocol, attribute, attributes, push_attribute};

use super::nftables::{
    CREATE, GET_SET_ELEMENTS, NEW_CHAIN, NEW_RULE, NEW_SET, NEW_TABLE, SUBSYSTEM_NUMBER, TABLE_PREFIX,
    be32_at, be64_at,
};
use crate::netfilter::{CountedTraffic, CountingPlan, FilterLayer, Hook, HookCount, HookCounts};

/// The families of nftables tables (`NFPROTO_…`).
const INET: u8 = 1;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;

/// The number of sources that are counted at one hook.
const MAX_SOURCES: u32 = 4096;
/// The first 32-bit register, which the key of a set begins with.
const KEY_REGISTER: u32 = 8;
/// Another register, for comparisons.
const COMPARISON_REGISTER: u32 = 1;

/// Rules that count packets at the hooks of the packet filter. They are in place until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it removes the rules"]
pub struct CountingRules {
    netlink: Netlink,
    table: String,
    points: Vec<CountingPoint>,
    devices: Vec<InterfaceIndex>,
    /// The number of rules.
    pub rules: usize,
}

/// A pair of chains that count one kind of traffic: before and behind the other filters of a hook.
#[derive(Clone, Debug)]
struct CountingPoint {
    layer: FilterLayer,
    hook: Hook,
    traffic: CountedTraffic,
    sets: [String; 2],
}

impl CountingRules {
    /// Adds the rules. Hooks that the kernel does not support are left out.
    ///
    /// # Errors
    /// Returns an error if no rule could be added: the process has no right to (`CAP_NET_ADMIN`), or the kernel is too
    /// old.
    pub fn add(plan: &CountingPlan) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let netlink = Netlink::open(NetlinkProtocol::Netfilter)?;
        let table = format!("{TABLE_PREFIX}{}-{number}", std::process::id());
        let devices = plan.devices.iter().map(|(index, _)| *index).collect();
        let mut rules = Self { netlink, table, points: Vec::new(), devices, rules: 0 };
        let mut places = vec![(FilterLayer::Ip, Hook::Prerouting), (FilterLayer::Ip, Hook::Input)];
        if plan.forwards {
            places.push((FilterLayer::Ip, Hook::Forward));
        }
        places.extend([(FilterLayer::Ip, Hook::Output), (FilterLayer::Ip, Hook::Postrouting)]);
        rules.add_table(INET, &places, plan)?;
        let mut optional = vec![
            (NETDEV, (FilterLayer::Device, Hook::Ingress)),
            (NETDEV, (FilterLayer::Device, Hook::Egress)),
        ];
        if plan.bridges {
            optional.extend(
                [Hook::Prerouting, Hook::Input, Hook::Forward]
                    .map(|hook| (BRIDGE, (FilterLayer::Bridge, hook))),
            );
        }
        for (family, place) in optional {
            // Kernels without the family or hook refuse it, which the list of counted hooks shows.
            let _ = rules.add_table(family, &[place], plan);
        }
        rules.points.sort_by_key(|point| place_on_path(point.layer, point.hook));
        Ok(rules)
    }

    /// Returns the name of the tables.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Returns what was counted so far. The hooks are read in the order in which packets pass them, so that packets
    /// that arrive meanwhile do not appear to be lost. A hook at which a set is full did not count all sources, and is
    /// omitted.
    ///
    /// # Errors
    /// If the sets cannot be read.
    pub fn read(&mut self) -> io::Result<HookCounts> {
        let mut counts = HookCounts { devices: self.devices.clone(), ..HookCounts::default() };
        for point in self.points.clone() {
            let CountingPoint { layer, hook, traffic, sets: [first, last] } = point;
            let reached = self.elements(layer, traffic, &first)?;
            let passed = self.elements(layer, traffic, &last)?;
            if reached.len().max(passed.len()) >= MAX_SOURCES as usize {
                continue;
            }
            counts.hooks.push((layer, hook, traffic));
            // Address translation makes packets pass with keys that none reached the hook with.
            let keys: BTreeSet<_> = reached.keys().chain(passed.keys()).copied().collect();
            counts.counts.extend(keys.into_iter().map(|key| HookCount {
                layer,
                hook,
                traffic,
                interface: key.interface,
                peer: key.peer,
                reached: reached.get(&key).copied().unwrap_or_default(),
                passed: passed.get(&key).copied().unwrap_or_default(),
            }));
        }
        Ok(counts)
    }

    fn elements(
        &mut self,
        layer: FilterLayer,
        traffic: CountedTraffic,
        set: &str,
    ) -> io::Result<BTreeMap<ElementKey, u64>> {
        let mut body = header(family_of(layer));
        push_text(&mut body, 1, &self.table);
        push_text(&mut body, 2, set);
        let replies = self.netlink.dump(GET_SET_ELEMENTS, &body)?;
        let lists = replies.iter().filter_map(|reply| attribute(reply.payload.get(4..)?, 3));
        let elements =
            lists.flat_map(attributes).filter_map(|(_, element)| counted_element(element, traffic));
        Ok(elements.collect())
    }

    /// Adds a table of one family with its chains, in one transaction.
    fn add_table(
        &mut self,
        family: u8,
        places: &[(FilterLayer, Hook)],
        plan: &CountingPlan,
    ) -> io::Result<()> {
        let mut changes = vec![self.table_change(family)];
        let mut points = Vec::new();
        for (layer, hook) in places {
            let devices = match layer {
                FilterLayer::Device => plan.devices.iter().map(|(_, device)| Some(device.as_str())).collect(),
                FilterLayer::Bridge | FilterLayer::Ip => vec![None],
            };
            for (number, traffic) in plan.traffic.iter().enumerate() {
                if is_counted_at(*layer, *hook, *traffic) {
                    let sets = [Side::First, Side::Last]
                        .map(|side| format!("{}-{}-{number}", hook.name(), side.name()));
                    let ids = [changes.len() as u32, changes.len() as u32 + 1];
                    changes.extend(
                        sets.iter().zip(ids).map(|(set, id)| self.set_change(family, set, id, *traffic)),
                    );
                    points.push(CountingPoint { layer: *layer, hook: *hook, traffic: *traffic, sets });
                }
            }
            for (number, device) in devices.into_iter().enumerate() {
                for side in [Side::First, Side::Last] {
                    let chain = format!("{}-{}-{number}", hook.name(), side.name());
                    changes.push(self.chain_change(family, *hook, side, &chain, device));
                    let here = points.iter().filter(|point| (point.layer, point.hook) == (*layer, *hook));
                    changes.extend(here.flat_map(|point| self.rule_changes(family, &chain, point, side)));
                }
            }
        }
        self.netlink.apply(SUBSYSTEM_NUMBER, &changes)?;
        self.rules += changes.iter().filter(|change| change.kind == NEW_RULE).count();
        self.points.extend(points);
        Ok(())
    }

    fn table_change(&self, family: u8) -> NetlinkChange {
        const OWNED: u32 = 2;
        let mut body = header(family);
        push_text(&mut body, 1, &self.table);
        push_number(&mut body, 2, OWNED);
        NetlinkChange { kind: NEW_TABLE, flags: CREATE, body }
    }

    /// Returns the change that adds a set of sources, each with a counter.
    fn set_change(&self, family: u8, set: &str, id: u32, traffic: CountedTraffic) -> NetlinkChange {
        /// `NFT_SET_EVAL`: rules add elements.
        const DYNAMIC: u32 = 0x20;
        let mut size = Vec::new();
        push_number(&mut size, 1, MAX_SOURCES);
        let mut body = header(family);
        push_text(&mut body, 1, &self.table);
        push_text(&mut body, 2, set);
        push_number(&mut body, 3, DYNAMIC);
        push_number(&mut body, 4, 0);
        push_number(&mut body, 5, key_length(traffic));
        push_nested(&mut body, 9, &size);
        push_number(&mut body, 10, id);
        NetlinkChange { kind: NEW_SET, flags: CREATE, body }
    }

    fn chain_change(
        &self,
        family: u8,
        hook: Hook,
        side: Side,
        chain: &str,
        device: Option<&str>,
    ) -> NetlinkChange {
        const ACCEPT: u32 = 1;
        let mut place = Vec::new();
        push_number(&mut place, 1, hook_number(hook));
        push_number(&mut place, 2, side.priority().cast_unsigned());
        if let Some(device) = device {
            push_text(&mut place, 3, device);
        }
        let mut body = header(family);
        push_text(&mut body, 1, &self.table);
        push_text(&mut body, 3, chain);
        push_nested(&mut body, 4, &place);
        push_number(&mut body, 5, ACCEPT);
        push_text(&mut body, 7, "filter");
        NetlinkChange { kind: NEW_CHAIN, flags: CREATE, body }
    }

    /// Returns the changes that add the rules of a point: one, or one for each range of message types.
    fn rule_changes(&self, family: u8, chain: &str, point: &CountingPoint, side: Side) -> Vec<NetlinkChange> {
        let types: &[(u8, u8)] = match point.traffic {
            CountedTraffic::Control(Family::V6) => &[(130, 132), (143, 143)],
            _ => &[(0, 255)],
        };
        let rule = |(from, to): &(u8, u8)| {
            let mut expressions = matches(family, point.traffic);
            if (*from, *to) != (0, 255) {
                expressions.extend([
                    transport(0, 1),
                    compare(GREATER_OR_EQUAL, &[*from]),
                    compare(LESS_OR_EQUAL, &[*to]),
                ]);
            }
            expressions.extend(count(point, &point.sets[side as usize]));
            let mut body = header(family);
            push_text(&mut body, 1, &self.table);
            push_text(&mut body, 2, chain);
            push_nested(&mut body, 4, &expressions.concat());
            NetlinkChange { kind: NEW_RULE, flags: CREATE | APPEND, body }
        };
        types.iter().map(rule).collect()
    }
}

const APPEND: u16 = 0x800;

/// A side of the other filters of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First = 0,
    Last = 1,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
        }
    }

    const fn priority(self) -> i32 {
        match self {
            // Netfilter of bridges (`bridge-nf-call-iptables`) has passed the packets of a bridge through the hook before, and
            // skips it at the very first priority.
            Self::First => i32::MIN + 1,
            Self::Last => i32::MAX,
        }
    }
}

fn family_of(layer: FilterLayer) -> u8 {
    match layer {
        FilterLayer::Device => NETDEV,
        FilterLayer::Bridge => BRIDGE,
        FilterLayer::Ip => INET,
    }
}

/// Returns a number that grows along the path of a packet.
fn place_on_path(layer: FilterLayer, hook: Hook) -> u8 {
    match (layer, hook) {
        (_, Hook::Ingress) => 0,
        (FilterLayer::Bridge, Hook::Prerouting) => 1,
        (FilterLayer::Bridge, _) => 2,
        (_, Hook::Prerouting) => 3,
        (_, Hook::Input) => 4,
        (_, Hook::Forward) => 5,
        (_, Hook::Output) => 6,
        (_, Hook::Postrouting) => 7,
        (_, Hook::Egress) => 8,
    }
}

const fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress | Hook::Prerouting => 0,
        Hook::Egress | Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

// Operators of comparisons (`NFT_CMP_…`).
const EQUAL: u32 = 0;
const LESS_OR_EQUAL: u32 = 3;
const GREATER_OR_EQUAL: u32 = 5;

/// Returns the expressions that match the traffic, except for the types of ICMPv6.
fn matches(family: u8, traffic: CountedTraffic) -> Vec<Vec<u8>> {
    const META_PROTOCOL: u32 = 1;
    const META_FAMILY: u32 = 15;
    const META_TRANSPORT: u32 = 16;
    const UDP: u8 = 17;
    const IGMP: u8 = 2;
    const ICMPV6: u8 = 58;
    let (ip, transport_protocol) = match traffic {
        CountedTraffic::Datagrams(to) => (Family::of(to.ip()), UDP),
        CountedTraffic::SentFrom(family, _) => (family, UDP),
        CountedTraffic::Control(Family::V4) => (Family::V4, IGMP),
        CountedTraffic::Control(Family::V6) => (Family::V6, ICMPV6),
    };
    let (ethertype, number) = match ip {
        Family::V4 => (0x0800_u16, 2),
        Family::V6 => (0x86dd, 10),
    };
    let mut expressions = match family {
        INET => vec![meta(META_FAMILY, COMPARISON_REGISTER), compare(EQUAL, &[number])],
        _ => vec![meta(META_PROTOCOL, COMPARISON_REGISTER), compare(EQUAL, &ethertype.to_be_bytes())],
    };
    expressions.extend([meta(META_TRANSPORT, COMPARISON_REGISTER), compare(EQUAL, &[transport_protocol])]);
    if let CountedTraffic::Datagrams(to) = traffic {
        let (group, port) = (octets(to.ip()), to.port().to_be_bytes());
        let offset = if to.is_ipv4() { 16 } else { 24 };
        expressions.extend([
            payload(NETWORK_HEADER, offset, group.len() as u32, COMPARISON_REGISTER),
            compare(EQUAL, &group),
        ]);
        expressions.extend([transport(2, 2), compare(EQUAL, &port)]);
    }
    if let CountedTraffic::SentFrom(family, port) = traffic {
        // The first byte of groups.
        let (offset, from, to) = if family == Family::V4 { (16, 224, 239) } else { (24, 255, 255) };
        expressions.extend([
            payload(NETWORK_HEADER, offset, 1, COMPARISON_REGISTER),
            compare(GREATER_OR_EQUAL, &[from]),
            compare(LESS_OR_EQUAL, &[to]),
        ]);
        expressions.extend([transport(0, 2), compare(EQUAL, &port.to_be_bytes())]);
    }
    expressions
}

/// Returns whether a kind of traffic is counted at a hook. A bridge carries the IGMP and MLD messages of all hosts.
fn is_counted_at(layer: FilterLayer, hook: Hook, traffic: CountedTraffic) -> bool {
    match traffic {
        CountedTraffic::Datagrams(_) => true,
        CountedTraffic::SentFrom(..) => matches!(hook, Hook::Output | Hook::Postrouting | Hook::Egress),
        CountedTraffic::Control(_) => layer != FilterLayer::Bridge,
    }
}

/// Returns the expressions that count a packet by interface and source, or destination.
fn count(point: &CountingPoint, set: &str) -> Vec<Vec<u8>> {
    const META_INCOMING: u32 = 4;
    const META_OUTGOING: u32 = 5;
    let interface = match point.hook {
        Hook::Output | Hook::Postrouting | Hook::Egress => META_OUTGOING,
        _ => META_INCOMING,
    };
    let is_by_destination = matches!(point.traffic, CountedTraffic::SentFrom(..));
    let (offset, length) = match (family_of_traffic(point.traffic), is_by_destination) {
        (Family::V4, false) => (12, 4),
        (Family::V4, true) => (16, 4),
        (Family::V6, false) => (8, 16),
        (Family::V6, true) => (24, 16),
    };
    let mut expressions =
        vec![meta(interface, KEY_REGISTER), payload(NETWORK_HEADER, offset, length, KEY_REGISTER + 1)];
    if has_ports(point.traffic) {
        let offset = if is_by_destination { 2 } else { 0 };
        expressions.push(payload(TRANSPORT_HEADER, offset, 2, KEY_REGISTER + 1 + length / 4));
    }
    let mut counter = Vec::new();
    push_text(&mut counter, 1, "counter");
    push_nested(&mut counter, 2, &[]);
    let mut data = Vec::new();
    push_text(&mut data, 1, set);
    // `NFT_DYNSET_OP_ADD`
    push_number(&mut data, 3, 0);
    push_number(&mut data, 4, KEY_REGISTER);
    push_nested(&mut data, 7, &counter);
    expressions.push(expression("dynset", &data));
    expressions
}

fn family_of_traffic(traffic: CountedTraffic) -> Family {
    match traffic {
        CountedTraffic::Datagrams(to) => Family::of(to.ip()),
        CountedTraffic::SentFrom(family, _) | CountedTraffic::Control(family) => family,
    }
}

const fn has_ports(traffic: CountedTraffic) -> bool {
    !matches!(traffic, CountedTraffic::Control(_))
}

/// Returns the length of a key: the interface, the address, and for datagrams the port.
fn key_length(traffic: CountedTraffic) -> u32 {
    let address = match family_of_traffic(traffic) {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let port = if has_ports(traffic) { 4 } else { 0 };
    4 + address + port
}

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

fn transport(offset: u32, length: u32) -> Vec<u8> {
    payload(TRANSPORT_HEADER, offset, length, COMPARISON_REGISTER)
}

fn payload(base: u32, offset: u32, length: u32, register: u32) -> Vec<u8> {
    expression("payload", &numbers([(1, register), (2, base), (3, offset), (4, length)]))
}

fn meta(key: u32, register: u32) -> Vec<u8> {
    expression("meta", &numbers([(1, register), (2, key)]))
}

fn compare(operator: u32, with: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    push_attribute(&mut value, 1, with);
    let mut data = numbers([(1, COMPARISON_REGISTER), (2, operator)]);
    push_nested(&mut data, 3, &value);
    expression("cmp", &data)
}

/// Returns an expression as an element of a list.
fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    push_text(&mut inner, 1, name);
    push_nested(&mut inner, 2, data);
    let mut element = Vec::new();
    push_nested(&mut element, 1, &inner);
    element
}

fn numbers<const N: usize>(pairs: [(u16, u32); N]) -> Vec<u8> {
    let mut data = Vec::new();
    for (kind, number) in pairs {
        push_number(&mut data, kind, number);
    }
    data
}

/// Returns `struct nfgenmsg`.
fn header(family: u8) -> Vec<u8> {
    vec![family, 0, 0, 0]
}

fn push_number(body: &mut Vec<u8>, kind: u16, number: u32) {
    push_attribute(body, kind, &number.to_be_bytes());
}

fn push_text(body: &mut Vec<u8>, kind: u16, text: &str) {
    push_attribute(body, kind, &[text.as_bytes(), b"\0"].concat());
}

fn push_nested(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const NESTED: u16 = 0x8000;
    push_attribute(body, kind | NESTED, value);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ElementKey {
    interface: InterfaceIndex,
    peer: SocketAddr,
}

/// Returns the key and the packets of an element.
fn counted_element(element: &[u8], traffic: CountedTraffic) -> Option<(ElementKey, u64)> {
    let key = attribute(attribute(element, 1)?, 1)?;
    let counter = attribute(attribute(element, 7)?, 2)?;
    let packets = be64_at(attribute(counter, 2)?, 0)?;
    let interface = InterfaceIndex::new(u32::from_ne_bytes(*key.first_chunk()?))?;
    let (address, rest): (IpAddr, _) = match family_of_traffic(traffic) {
        Family::V4 => (Ipv4Addr::from(be32_at(key, 4)?).into(), key.get(8..)?),
        Family::V6 => (Ipv6Addr::from(*key.get(4..)?.first_chunk::<16>()?).into(), key.get(20..)?),
    };
    let port = rest.first_chunk().map_or(0, |port| u16::from_be_bytes(*port));
    Some((ElementKey { interface, peer: SocketAddr::new(address, port) }, packets))
}
