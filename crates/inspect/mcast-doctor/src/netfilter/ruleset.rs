//! The rules of the packet filter, and what is known of a packet that they judge.

use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};

use super::{Hook, Layer};

/// The tables of the packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruleset {
    pub(crate) chains: Vec<Chain>,
    pub(crate) sets: Vec<RuleSet>,
    /// The tables of the old `iptables` whose rules could not be read, as `iptables raw`.
    pub(crate) legacy_tables: Vec<String>,
}

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TableFamily {
    Inet,
    Ip,
    Ip6,
    Netdev,
    Bridge,
    /// The tables of the old `iptables`.
    Iptables,
    /// The tables of the old `ip6tables`.
    Ip6tables,
    Other,
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: TableFamily,
    pub(crate) table: String,
    pub(crate) name: String,
    /// `None` for a chain that is only jumped to.
    pub(crate) base: Option<BaseChain>,
    pub(crate) rules: Vec<Rule>,
}

/// Where a chain begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseChain {
    pub(crate) layer: Layer,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    /// The devices of an ingress or egress hook.
    pub(crate) devices: Vec<String>,
    /// Whether the policy is to drop.
    pub(crate) drops: bool,
    /// The number of packets that the policy applied to, if it is counted.
    pub(crate) packets: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its handle; the position in the chain, from 1, of a rule of the old `iptables`.
    pub(crate) handle: u64,
    pub(crate) expressions: Vec<Expression>,
    /// The number of packets, if the rule has a counter.
    pub(crate) packets: Option<u64>,
}

/// A position in the registers, in bytes.
pub(crate) type Register = usize;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Payload {
        header: Header,
        offset: usize,
        length: usize,
        to: Register,
    },
    Meta {
        key: u32,
        to: Register,
    },
    /// The state of the connection.
    ConnectionState {
        to: Register,
    },
    Immediate {
        value: Vec<u8>,
        to: Register,
    },
    Bitwise {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        register: Register,
        operator: Comparison,
        with: Vec<u8>,
    },
    Range {
        register: Register,
        is_negated: bool,
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Lookup {
        register: Register,
        set: String,
        is_negated: bool,
        result: LookupResult,
    },
    Verdict(RuleVerdict),
    /// An expression whose result is not known here, by its name. It may write a register.
    Opaque {
        name: String,
        writes: Option<Register>,
    },
    /// It keeps connection tracking from the packet (`notrack`).
    Untrack,
    /// An expression that does not affect what happens to the packet.
    Neutral,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Link,
    Network,
    Transport,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupResult {
    Membership,
    Verdict,
    Value(Register),
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleVerdict {
    Accept,
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// It ends here, or elsewhere.
    Effect(RuleEffect),
}

/// How a rule keeps a packet from the sockets that joined its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleEffect {
    Drop,
    /// Its destination changes (`redirect`, `dnat`).
    Redirect,
    /// Its source changes (`snat`, `masquerade`).
    Masquerade,
    /// It goes to the socket of a proxy (`tproxy`).
    Proxy,
    /// A program decides (`queue`).
    Queue,
    /// It leaves by another interface (`fwd`).
    Divert,
    /// The rule writes its addresses or its destination port.
    Rewrite,
    /// The rule writes the Ethernet address that its frame is sent to, by which bridges decide.
    Readdress,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleSet {
    pub(crate) family: TableFamily,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) key_length: usize,
    pub(crate) has_intervals: bool,
    /// The lengths of the fields of a concatenated key, in bytes.
    pub(crate) fields: Vec<usize>,
    /// `None` if they were not read.
    pub(crate) elements: Option<Vec<SetElement>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetElement {
    pub(crate) key: Vec<u8>,
    /// The last key of a range in a concatenated set.
    pub(crate) key_end: Option<Vec<u8>>,
    /// Whether it ends the interval that the element before it began.
    pub(crate) ends_interval: bool,
    /// Whether it stands for all other keys.
    pub(crate) is_catch_all: bool,
    pub(crate) verdict: Option<RuleVerdict>,
}

/// The result of looking up a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetMatch<'a> {
    Element(&'a SetElement),
    Nothing,
    Unknown,
}

impl TableFamily {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::Other => "unknown",
        }
    }
}

impl RuleSet {
    /// Looks up a key, some of whose bytes may be unknown.
    pub(crate) fn find(&self, key: &[Option<u8>]) -> SetMatch<'_> {
        let Some(elements) = &self.elements else { return SetMatch::Unknown };
        let Some(key) = key.iter().copied().collect::<Option<Vec<u8>>>() else { return SetMatch::Unknown };
        let is_concatenated = elements.iter().any(|element| element.key_end.is_some());
        let found = if is_concatenated {
            elements.iter().find(|element| self.has_in_all_fields(element, &key))
        } else if self.has_intervals {
            interval_with(elements, &key)
        } else {
            elements.iter().find(|element| !element.is_catch_all && element.key == key)
        };
        let found = found.or_else(|| elements.iter().find(|element| element.is_catch_all));
        found.map_or(SetMatch::Nothing, SetMatch::Element)
    }

    fn has_in_all_fields(&self, element: &SetElement, key: &[u8]) -> bool {
        let end = element.key_end.as_ref().unwrap_or(&element.key);
        let fields = if self.fields.is_empty() { vec![key.len()] } else { self.fields.clone() };
        let mut position = 0;
        !element.is_catch_all
            && fields.into_iter().all(|length| {
                let field = position..position + length;
                // Each field begins at a register of 4 bytes.
                position = (position + length).next_multiple_of(4);
                match (key.get(field.clone()), element.key.get(field.clone()), end.get(field)) {
                    (Some(key), Some(from), Some(to)) => from <= key && key <= to,
                    _ => false,
                }
            })
    }
}

/// Returns the element that begins the interval with a key.
fn interval_with<'a>(elements: &'a [SetElement], key: &[u8]) -> Option<&'a SetElement> {
    let not_above = elements.iter().filter(|element| !element.is_catch_all && element.key.as_slice() <= key);
    // Where one interval ends and the next begins, both elements have the same key.
    let last = not_above.max_by_key(|element| (&element.key, !element.ends_interval))?;
    (!last.ends_interval).then_some(last)
}

const UDP: u8 = 17;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;

/// Bytes of a header, of which some are unknown.
type Bytes = Vec<Option<u8>>;

/// A packet as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct KnownPacket {
    family: Family,
    protocol: u8,
    link: Bytes,
    network: Bytes,
    transport: Bytes,
    /// As `ct state` reports it; `None` if it is unknown.
    connection_state: Option<u32>,
    incoming: Option<(InterfaceIndex, String)>,
    outgoing: Option<(InterfaceIndex, String)>,
    packet_type: u8,
}

/// The type of a packet that arrives for this machine alone (`PACKET_HOST`), and of one that arrives for a group.
const FOR_HOST: u8 = 0;
const FOR_GROUP: u8 = 2;

/// The kind of an IGMP or MLD message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlKind {
    Query,
    Report,
}

// Connection states, as bits. A group never replies, so its datagrams never belong to an established connection; MLD
// is not tracked.
const NEW: u32 = 8;
const UNTRACKED: u32 = 64;

impl KnownPacket {
    /// Returns a datagram. The hop limit may be unknown.
    pub(crate) fn datagram(source: SocketAddr, to: SocketAddr, hop_limit: Option<u8>) -> Self {
        let ports = [source.port(), to.port()].map(u16::to_be_bytes).concat();
        let transport = known(&ports).into_iter().chain([None; 4]).collect();
        Self::new((Some(source.ip()), to.ip()), UDP, hop_limit, transport, NEW)
    }

    /// Returns a datagram to an address of this machine that belongs to no connection.
    pub(crate) fn unicast(source: SocketAddr, to: SocketAddr) -> Self {
        let mut packet = Self::datagram(source, to, None);
        // Its hardware address is not that of a group.
        packet.link[..12].fill(None);
        Self { packet_type: FOR_HOST, ..packet }
    }

    /// Returns a datagram to a group from an unknown source.
    pub(crate) fn from_anyone(to: SocketAddr) -> Self {
        let mut transport = vec![None; 8];
        transport[2..4].copy_from_slice(&to.port().to_be_bytes().map(Some));
        Self::new((None, to.ip()), UDP, None, transport, NEW)
    }

    /// Returns a packet to a group of a protocol other than UDP. The source and the hop limit may be unknown.
    pub(crate) fn of_protocol(
        (source, to): (Option<IpAddr>, IpAddr),
        protocol: u8,
        hop_limit: Option<u8>,
    ) -> Self {
        // Neighbour discovery and MLD are not tracked.
        let state = if protocol == ICMPV6 { UNTRACKED } else { NEW };
        let mut packet = Self::new((source, to), protocol, hop_limit, vec![None; 8], state);
        // Which headers precede that of the protocol is not known, nor the options of IPv4.
        match packet.family {
            Family::V4 => packet.network[0] = None,
            Family::V6 if protocol == ICMPV6 => packet.network[6] = None,
            Family::V6 => {}
        }
        packet
    }

    /// Returns a datagram of which only the family is known, and that it is to a group.
    pub(crate) fn to_any_group(family: Family) -> Self {
        let (group, group_bytes) = match family {
            Family::V4 => (IpAddr::from([224, 0, 0, 0]), 16..20),
            Family::V6 => (IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0_u16]), 24..40),
        };
        let mut packet = Self::new((None, group), UDP, None, vec![None; 8], NEW);
        // All IPv6 groups have the first byte.
        let unknown = group_bytes.skip(usize::from(family == Family::V6));
        unknown.for_each(|position| packet.network[position] = None);
        let known_mac = if family == Family::V4 { 3 } else { 2 };
        packet.link[known_mac..6].fill(None);
        packet
    }

    /// Returns a general query, or a report of the newest version. The source is unknown if it is `None`.
    pub(crate) fn control(kind: ControlKind, source: Option<IpAddr>, family: Family) -> Self {
        let (group, message) = match (family, kind) {
            (Family::V4, ControlKind::Query) => (IpAddr::from([224, 0, 0, 1]), 0x11),
            (Family::V4, ControlKind::Report) => (IpAddr::from([224, 0, 0, 22]), 0x22),
            (Family::V6, ControlKind::Query) => (IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1_u16]), 130),
            (Family::V6, ControlKind::Report) => (IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 22_u16]), 143),
        };
        let (protocol, state) = if family == Family::V4 { (IGMP, NEW) } else { (ICMPV6, UNTRACKED) };
        Self::new((source, group), protocol, Some(1), vec![Some(message), None, None, None], state)
    }

    fn new(
        (source, to): (Option<IpAddr>, IpAddr),
        protocol: u8,
        hop_limit: Option<u8>,
        transport: Bytes,
        connection_state: u32,
    ) -> Self {
        let family = Family::of(to);
        let network = match family {
            Family::V4 => ipv4(source, to, protocol, hop_limit),
            Family::V6 => ipv6(source, to, protocol, hop_limit),
        };
        let link = ethernet(to);
        let connection_state = Some(connection_state);
        Self {
            family,
            protocol,
            link,
            network,
            transport,
            connection_state,
            incoming: None,
            outgoing: None,
            packet_type: FOR_GROUP,
        }
    }

    /// Forgets the state of its connection.
    pub(super) fn with_unknown_state(self) -> Self {
        Self { connection_state: None, ..self }
    }

    /// Sets the interface on which it arrives.
    pub(crate) fn arriving_on(self, index: InterfaceIndex, name: &str) -> Self {
        Self { incoming: Some((index, name.to_owned())), ..self }
    }

    /// Sets the interface by which it leaves.
    pub(crate) fn leaving_by(self, index: InterfaceIndex, name: &str) -> Self {
        Self { outgoing: Some((index, name.to_owned())), ..self }
    }

    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    /// Returns bytes of a header; those outside it are unknown.
    pub(crate) fn bytes(&self, header: Header, offset: usize, length: usize) -> Bytes {
        let bytes = match header {
            Header::Link => &self.link,
            Header::Network => &self.network,
            Header::Transport => &self.transport,
            Header::Other => return vec![None; length],
        };
        (offset..offset.saturating_add(length))
            .map(|position| bytes.get(position).copied().flatten())
            .collect()
    }

    pub(super) fn connection_state(&self) -> Bytes {
        self.connection_state.map_or_else(|| vec![None; 4], |state| known(&state.to_ne_bytes()))
    }

    /// Returns the value of a key of `meta` (`NFT_META_…`); `None` if it is unknown.
    pub(crate) fn meta(&self, key: u32) -> Option<Bytes> {
        let index = |link: &Option<(InterfaceIndex, String)>| {
            link.as_ref().map(|(index, _)| known(&index.number().to_ne_bytes()))
        };
        let name = |link: &Option<(InterfaceIndex, String)>| link.as_ref().map(|(_, name)| padded(name));
        let (ethertype, number) = ethertype_and_number(self.family);
        match key {
            1 => Some(known(&ethertype.to_be_bytes())),
            4 => index(&self.incoming),
            5 => index(&self.outgoing),
            6 => name(&self.incoming),
            7 => name(&self.outgoing),
            15 => Some(known(&[number])),
            16 => Some(known(&[self.protocol])),
            19 => self.incoming.as_ref().map(|_| known(&[self.packet_type])),
            _ => None,
        }
    }
}

const fn ethertype_and_number(family: Family) -> (u16, u8) {
    match family {
        Family::V4 => (0x0800, 2),
        Family::V6 => (0x86dd, 10),
    }
}

fn known(bytes: &[u8]) -> Bytes {
    bytes.iter().copied().map(Some).collect()
}

/// Returns the name of an interface as the kernel compares it.
fn padded(name: &str) -> Bytes {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    known(&bytes)
}

/// Returns the address, or unknown bytes.
fn address(address: Option<IpAddr>, length: usize) -> Bytes {
    match address {
        Some(IpAddr::V4(address)) => known(&address.octets()),
        Some(IpAddr::V6(address)) => known(&address.octets()),
        None => vec![None; length],
    }
}

fn ipv4(source: Option<IpAddr>, to: IpAddr, protocol: u8, hop_limit: Option<u8>) -> Bytes {
    // IGMP has the router alert option.
    let length = if protocol == IGMP { 0x46 } else { 0x45 };
    let mut header =
        vec![Some(length), None, None, None, None, None, None, None, hop_limit, Some(protocol), None, None];
    header.extend(address(source, 4));
    header.extend(address(Some(to), 4));
    header
}

fn ipv6(source: Option<IpAddr>, to: IpAddr, protocol: u8, hop_limit: Option<u8>) -> Bytes {
    // MLD has a hop-by-hop header with the router alert option.
    let next = if protocol == ICMPV6 { 0 } else { protocol };
    let mut header = vec![None, None, None, None, None, None, Some(next), hop_limit];
    header.extend(address(source, 16));
    header.extend(address(Some(to), 16));
    header
}

/// Returns the Ethernet header: the address of the group, an unknown source, and the type.
fn ethernet(to: IpAddr) -> Bytes {
    let mut header = match to {
        IpAddr::V4(group) => {
            let [_, second, third, fourth] = group.octets();
            known(&[0x01, 0x00, 0x5e, second & 0x7f, third, fourth])
        }
        IpAddr::V6(group) => {
            let mut mac = known(&[0x33, 0x33]);
            mac.extend(known(&group.octets()[12..]));
            mac
        }
    };
    header.extend([None; 6]);
    header.extend(known(&ethertype_and_number(Family::of(to)).0.to_be_bytes()));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_group_is_known_by_its_first_bytes_only() {
        let v4 = KnownPacket::to_any_group(Family::V4);
        assert_eq!(v4.bytes(Header::Network, 16, 4), [None; 4]);
        assert_eq!(v4.bytes(Header::Link, 0, 4), [Some(1), Some(0), Some(0x5e), None]);
        let v6 = KnownPacket::to_any_group(Family::V6);
        assert_eq!(v6.bytes(Header::Network, 23, 3), [None, Some(0xff), None]);
        assert_eq!(v6.bytes(Header::Transport, 2, 2), [None; 2]);
    }

    fn set(has_intervals: bool, elements: Vec<SetElement>) -> RuleSet {
        RuleSet {
            family: TableFamily::Inet,
            table: "t".into(),
            name: "s".into(),
            key_length: 1,
            has_intervals,
            fields: Vec::new(),
            elements: Some(elements),
        }
    }

    fn element(key: u8, ends_interval: bool) -> SetElement {
        SetElement { key: vec![key], ends_interval, ..SetElement::default() }
    }

    fn contains(set: &RuleSet, key: u8) -> bool {
        matches!(set.find(&[Some(key)]), SetMatch::Element(_))
    }

    #[test]
    fn interval_contains_its_first_key_and_not_its_end() {
        let set = set(
            true,
            vec![element(0, true), element(5, false), element(8, true), element(8, false), element(9, true)],
        );
        let inside: Vec<_> = (0..12).filter(|key| contains(&set, *key)).collect();
        assert_eq!(inside, [5, 6, 7, 8]);
    }

    #[test]
    fn ranges_of_a_concatenation_are_compared_by_field() {
        let range = SetElement {
            key: vec![1, 0, 0, 0, 5],
            key_end: Some(vec![3, 0, 0, 0, 6]),
            ..SetElement::default()
        };
        let set = RuleSet { fields: vec![1, 1], ..set(true, vec![range]) };
        let has =
            |first, second| matches!(set.find(&[first, 0, 0, 0, second].map(Some)), SetMatch::Element(_));
        assert!(has(2, 5) && has(3, 6) && !has(2, 7) && !has(4, 5));
    }

    #[test]
    fn unknown_byte_or_unread_set_is_undecided() {
        let known = set(false, vec![element(5, false)]);
        assert_eq!(known.find(&[None]), SetMatch::Unknown);
        assert_eq!(RuleSet { elements: None, ..known }.find(&[Some(5)]), SetMatch::Unknown);
    }

    #[test]
    fn catch_all_element_stands_for_every_other_key() {
        let all = SetElement { is_catch_all: true, ..SetElement::default() };
        let set = set(false, vec![element(5, false), all.clone()]);
        assert_eq!(set.find(&[Some(6)]), SetMatch::Element(&all));
    }
}
