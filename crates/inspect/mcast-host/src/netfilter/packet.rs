//! A packet as far as it is known.

use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Link,
    Network,
    Transport,
    Other,
}

const UDP: u8 = 17;
const TCP: u8 = 6;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;

/// Bytes of a header, of which some are unknown.
type Bytes = Vec<Option<u8>>;

/// A packet as far as it is known.
#[derive(Clone, Debug)]
pub struct KnownPacket {
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
    /// Whether it has arrived on an interface, which need not be known: the type of others is not that of a group.
    has_arrived: bool,
}

/// The type of a packet that arrives for this machine alone (`PACKET_HOST`), and of one that arrives for a group.
const FOR_HOST: u8 = 0;
const FOR_GROUP: u8 = 2;

/// The kind of an IGMP or MLD message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A general query.
    Query,
    /// A report of the newest version: IGMPv3, MLDv2.
    Report,
}

// Connection states, as bits. A group never replies, so its datagrams never belong to an established connection; MLD
// is not tracked.
const NEW: u32 = 8;
const UNTRACKED: u32 = 64;

impl KnownPacket {
    /// Returns a datagram. The hop limit may be unknown.
    pub fn datagram(source: SocketAddr, to: SocketAddr, hop_limit: Option<u8>) -> Self {
        let ports = [source.port(), to.port()].map(u16::to_be_bytes).concat();
        let transport = known(&ports).into_iter().chain([None; 4]).collect();
        Self::new((Some(source.ip()), to.ip()), UDP, hop_limit, transport, NEW)
    }

    /// Returns a datagram to an address of this machine that belongs to no connection.
    pub fn unicast(source: SocketAddr, to: SocketAddr) -> Self {
        Self::datagram(source, to, None).for_host()
    }

    /// Returns a datagram to an address of this machine from an unknown source, which belongs to no connection.
    pub fn unicast_from_anyone(to: SocketAddr) -> Self {
        Self::from_anyone(to).for_host()
    }

    /// Returns the first packet of a TCP connection.
    pub fn connection(source: IpAddr, to: SocketAddr) -> Self {
        let mut transport = vec![None; 8];
        transport[2..4].copy_from_slice(&to.port().to_be_bytes().map(Some));
        Self::new((Some(source), to.ip()), TCP, None, transport, NEW).for_host()
    }

    fn for_host(mut self) -> Self {
        // Its hardware address is not that of a group.
        self.link[..12].fill(None);
        Self { packet_type: FOR_HOST, ..self }
    }

    /// Returns a datagram to a group from an unknown source.
    pub fn from_anyone(to: SocketAddr) -> Self {
        let mut transport = vec![None; 8];
        transport[2..4].copy_from_slice(&to.port().to_be_bytes().map(Some));
        Self::new((None, to.ip()), UDP, None, transport, NEW)
    }

    /// Returns a datagram to a group from an unknown source, to an unknown port.
    pub fn to_group(group: IpAddr) -> Self {
        Self::new((None, group), UDP, None, vec![None; 8], NEW)
    }

    /// Returns a packet to a group of a protocol other than UDP. The source and the hop limit may be unknown.
    pub fn of_protocol((source, to): (Option<IpAddr>, IpAddr), protocol: u8, hop_limit: Option<u8>) -> Self {
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
    pub fn to_any_group(family: Family) -> Self {
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
    pub fn control(kind: ControlKind, source: Option<IpAddr>, family: Family) -> Self {
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
            has_arrived: false,
        }
    }

    /// Forgets the state of its connection.
    pub(super) fn with_unknown_state(self) -> Self {
        Self { connection_state: None, ..self }
    }

    /// Sets the interface on which it arrives.
    pub fn arriving_on(self, index: InterfaceIndex, name: &str) -> Self {
        Self { incoming: Some((index, name.to_owned())), has_arrived: true, ..self }
    }

    /// Returns it as one that has arrived on any interface.
    pub fn arriving(self) -> Self {
        Self { has_arrived: true, ..self }
    }

    /// Sets the interface by which it leaves.
    pub fn leaving_by(self, index: InterfaceIndex, name: &str) -> Self {
        Self { outgoing: Some((index, name.to_owned())), ..self }
    }

    /// Returns the family of its addresses.
    pub const fn family(&self) -> Family {
        self.family
    }

    pub(super) const fn protocol(&self) -> u8 {
        self.protocol
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
            19 => self.has_arrived.then(|| known(&[self.packet_type])),
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
}
