//! A packet as far as it is known, for deciding which rules match it.

use std::net::{IpAddr, SocketAddr};

use mcast::{Family, InterfaceIndex};

use super::ruleset::Header;

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
}

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

    /// Returns a datagram to a group from an unknown source.
    pub(crate) fn from_anyone(to: SocketAddr) -> Self {
        let mut transport = vec![None; 8];
        transport[2..4].copy_from_slice(&to.port().to_be_bytes().map(Some));
        Self::new((None, to.ip()), UDP, None, transport, NEW)
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
        Self { family, protocol, link, network, transport, connection_state, incoming: None, outgoing: None }
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
            // The type of a packet that arrives for a group.
            19 => self.incoming.as_ref().map(|_| known(&[2])),
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
