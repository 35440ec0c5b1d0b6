//! Packets inside packets: what tunnels, mirror ports and access lines put around a frame or a datagram.
//!
//! [`Packet::carried`] looks one level deep. A caller that follows the levels bounds their number.

use core::fmt;
use core::net::IpAddr;

use crate::ip::protocol;
use crate::link::{Ethernet, LinkType, Vlan, ether_type};
use crate::list::{u8_at, u16_at, u32_at};
use crate::packet::{Network, Packet, Transport};
use crate::payload::AmtMessage;
use crate::udp::Udp;

/// What a packet carries besides a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// Another packet.
    Packet(Encapsulated<'a>),
    /// Something that may contain packets and is not decoded.
    Unexamined(EncapsulationId, UnexaminedReason),
}

/// A packet inside another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulated<'a> {
    /// What is around it.
    pub encapsulation: EncapsulationId,
    /// What its bytes start with.
    pub link_type: LinkType,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What is around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncapsulationId {
    /// Its protocol.
    pub protocol: EncapsulationProtocol,
    /// The number that separates several of them: a key, a network identifier, a label or a session.
    pub id: Option<u32>,
}

mcast_group::named! {
    /// A protocol that carries packets.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum EncapsulationProtocol {
        /// GRE (RFC 2784, RFC 2890).
        Gre = "GRE",
        /// The encapsulated mirror port of Cisco, type I, which has no header of its own.
        Erspan1 = "ERSPAN I",
        /// The same, type II.
        Erspan2 = "ERSPAN II",
        /// The same, type III.
        Erspan3 = "ERSPAN III",
        /// VXLAN (RFC 7348), with or without the generic protocol extension.
        Vxlan = "VXLAN",
        /// GENEVE (RFC 8926).
        Geneve = "GENEVE",
        /// IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, RFC 2473, RFC 4213).
        IpInIp = "IP in IP",
        /// Ethernet in IP (RFC 3378, RFC 8986).
        EtherIp = "EtherIP",
        /// MPLS (RFC 3032), with IP or Ethernet behind the labels.
        Mpls = "MPLS",
        /// A session of PPPoE (RFC 2516).
        Pppoe = "PPPoE",
        /// PPTP (RFC 2637).
        Pptp = "PPTP",
        /// SNAP (IEEE 802, RFC 1042).
        Snap = "SNAP",
        /// More VLAN tags than [`Ethernet::VLANS`].
        Vlan = "802.1Q",
        /// The multicast data and the control messages of AMT (RFC 7450).
        Amt = "AMT",
        /// TZSP, the mirror port of RouterOS.
        Tzsp = "TZSP",
        /// ESP (RFC 4303).
        Esp = "ESP",
        /// MACsec (IEEE 802.1AE).
        Macsec = "MACsec",
        /// WireGuard.
        WireGuard = "WireGuard",
        /// L2TP (RFC 2661, RFC 3931).
        L2tp = "L2TP",
        /// GTP, the tunnels of mobile networks (3GPP TS 29.281).
        Gtp = "GTP",
        /// Ethernet in Ethernet (IEEE 802.1ah).
        ProviderBackbone = "802.1ah",
        /// TRILL (RFC 6325).
        Trill = "TRILL",
    }
    /// Returns its usual name.
    fn name;
}

mcast_group::named! {
    /// Why something that a packet carries was not decoded.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum UnexaminedReason {
        /// It is encrypted.
        Encrypted = "encrypted",
        /// The protocol, or what it carries, is not decoded.
        Unsupported = "not decoded",
        /// Its headers are malformed, or were not captured completely.
        Malformed = "malformed or cut off",
        /// It is in more packets inside each other than are decoded.
        TooDeep = "nested too deeply",
        /// The packet around it arrived in fragments, of which some are missing.
        Incomplete = "fragments are missing",
    }
}

use EncapsulationProtocol::{
    Amt, Erspan1, Erspan2, Erspan3, Esp, EtherIp, Geneve, Gre, Gtp, IpInIp, L2tp, Macsec, Mpls, Pppoe, Pptp,
    ProviderBackbone, Snap, Trill, Tzsp, Vlan as VlanTags, Vxlan, WireGuard,
};

impl<'a> Packet<'a> {
    /// Returns what the packet carries, if it is of a protocol that carries packets. A fragment carries nothing: only the
    /// whole datagram does.
    #[must_use]
    pub fn carried(&self) -> Option<Carried<'a>> {
        match (&self.network, &self.transport) {
            (Some(Network::Other { ether_type, payload }), _) => in_frame(*ether_type, payload),
            (Some(Network::Ip(ip)), _) if ip.fragment.is_some() => None,
            (Some(Network::Ip(ip)), Some(Transport::Udp(udp))) => in_datagram(udp, ip.destination),
            (Some(Network::Ip(ip)), Some(Transport::Other(payload))) => in_packet(ip.protocol, payload),
            _ => None,
        }
    }
}

const fn packet<'a>(
    protocol: EncapsulationProtocol,
    id: Option<u32>,
    link_type: LinkType,
    bytes: &'a [u8],
) -> Carried<'a> {
    Carried::Packet(Encapsulated { encapsulation: EncapsulationId { protocol, id }, link_type, bytes })
}

const fn unexamined<'a>(protocol: EncapsulationProtocol, reason: UnexaminedReason) -> Carried<'a> {
    Carried::Unexamined(EncapsulationId { protocol, id: None }, reason)
}

/// Returns the malformed content of this protocol if there is none.
fn or_malformed(protocol: EncapsulationProtocol, found: Option<Carried<'_>>) -> Carried<'_> {
    found.unwrap_or_else(|| unexamined(protocol, UnexaminedReason::Malformed))
}

/// Looks into a frame of another protocol than IP.
fn in_frame(ether_type: u16, payload: &[u8]) -> Option<Carried<'_>> {
    Some(match ether_type {
        ether_type::MPLS | ether_type::MPLS_UPSTREAM => return mpls(payload),
        ether_type::PPPOE => return pppoe(payload),
        ether_type::MACSEC => unexamined(Macsec, UnexaminedReason::Encrypted),
        ether_type::PROVIDER_BACKBONE => unexamined(ProviderBackbone, UnexaminedReason::Unsupported),
        ether_type::TRILL => unexamined(Trill, UnexaminedReason::Unsupported),
        kind if ether_type::is_vlan(kind) => return more_tags(payload),
        length if length < ether_type::FIRST => {
            let end = usize::from(length).min(payload.len());
            return snap(payload.get(..end)?);
        }
        _ => return None,
    })
}

/// Looks into an IP packet that is neither UDP nor a message of control.
fn in_packet(number: u8, payload: &[u8]) -> Option<Carried<'_>> {
    Some(match number {
        protocol::IPV4 | protocol::IPV6 => packet(IpInIp, None, LinkType::Ip, payload),
        protocol::GRE => return gre(payload),
        // A version of 3 in the upper half of the first byte.
        protocol::ETHER_IP => match payload {
            [0x30, _, rest @ ..] => packet(EtherIp, None, LinkType::Ethernet, rest),
            _ => unexamined(EtherIp, UnexaminedReason::Malformed),
        },
        protocol::ETHERNET => packet(EtherIp, None, LinkType::Ethernet, payload),
        protocol::MPLS => return mpls(payload),
        protocol::ESP => unexamined(Esp, UnexaminedReason::Encrypted),
        protocol::L2TP => unexamined(L2tp, UnexaminedReason::Unsupported),
        _ => return None,
    })
}

/// Looks into a datagram to a port of a tunnel. Other protocols may use the ports, so the structure has to fit.
fn in_datagram<'a>(udp: &Udp<'a>, to: IpAddr) -> Option<Carried<'a>> {
    const VXLAN: u16 = 4789;
    const VXLAN_OF_LINUX: u16 = 8472;
    const VXLAN_GPE: u16 = 4790;
    const GENEVE: u16 = 6081;
    const GRE: u16 = 4754;
    const MPLS: u16 = 6635;
    const TZSP: u16 = 37008;
    const ESP: u16 = 4500;
    const WIREGUARD: u16 = 51820;
    const L2TP: u16 = 1701;
    const GTP: u16 = 2152;
    let bytes = udp.payload;
    match udp.destination_port {
        VXLAN | VXLAN_OF_LINUX => vxlan(bytes),
        VXLAN_GPE => vxlan_gpe(bytes),
        GENEVE => geneve(bytes),
        GRE => gre(bytes),
        MPLS => mpls(bytes),
        TZSP => tzsp(bytes),
        // Everything below, and AMT, is between two hosts. A stream may have their ports by chance.
        _ if to.is_multicast() => None,
        // Four zero bytes precede a message of IKE, and one byte keeps the way open.
        ESP if bytes.len() > 8 && u32_at(bytes, 0) != Some(0) => {
            Some(unexamined(Esp, UnexaminedReason::Encrypted))
        }
        WIREGUARD if bytes.len() > 32 && bytes.starts_with(&[4, 0, 0, 0]) => {
            Some(unexamined(WireGuard, UnexaminedReason::Encrypted))
        }
        // Version 2, and a message of data.
        L2TP if u16_at(bytes, 0).is_some_and(|flags| flags & 0x800f == 2) => {
            Some(unexamined(L2tp, UnexaminedReason::Unsupported))
        }
        // Version 1, and a message with a packet of the user.
        GTP if u16_at(bytes, 0).is_some_and(|head| head & 0xf0ff == 0x30ff) => {
            Some(unexamined(Gtp, UnexaminedReason::Unsupported))
        }
        _ if udp.recognized_port() == AmtMessage::PORT => amt(bytes),
        _ => None,
    }
}

fn amt(bytes: &[u8]) -> Option<Carried<'_>> {
    let message = AmtMessage::parse(bytes)?;
    message.packet().map(|inner| packet(Amt, None, LinkType::Ip, inner))
}

/// Returns the packet behind a number of an Ethernet protocol; `None` if that carries none.
fn of_ether_type(
    protocol: EncapsulationProtocol,
    id: Option<u32>,
    ether_type: u16,
    bytes: &[u8],
) -> Option<Carried<'_>> {
    Some(match ether_type {
        ether_type::IPV4 | ether_type::IPV6 => packet(protocol, id, LinkType::Ip, bytes),
        ether_type::ETHERNET => packet(protocol, id, LinkType::Ethernet, bytes),
        ether_type::ARP => return None,
        other => match in_frame(other, bytes) {
            Some(carried) => carried,
            // What has a name here carries nothing.
            None if ether_type::name(other).is_some() => return None,
            None => unexamined(protocol, UnexaminedReason::Unsupported),
        },
    })
}

// GRE, and the mirror ports in it.

fn gre(bytes: &[u8]) -> Option<Carried<'_>> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    let (Some(flags), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else {
        return Some(unexamined(Gre, UnexaminedReason::Malformed));
    };
    match flags & VERSION {
        0 if flags & ROUTING == 0 => {}
        1 => return pptp(flags, bytes),
        _ => return Some(unexamined(Gre, UnexaminedReason::Unsupported)),
    }
    let has = |flag: u16| usize::from(flags & flag != 0) * 4;
    let key_at = 4 + has(CHECKSUM);
    let id = if flags & KEY == 0 { None } else { u32_at(bytes, key_at) };
    let Some(inner) = bytes.get(key_at + has(KEY) + has(SEQUENCE)..) else {
        return Some(unexamined(Gre, UnexaminedReason::Malformed));
    };
    match kind {
        // A message that keeps the tunnel alive, and one that looks for its other end.
        0 | 0x2001 => None,
        0x88be if flags & SEQUENCE == 0 => Some(packet(Erspan1, id, LinkType::Ethernet, inner)),
        0x88be => Some(or_malformed(Erspan2, erspan_2(inner))),
        0x22eb => Some(or_malformed(Erspan3, erspan_3(inner))),
        0x880b => Some(packet(Gre, id, LinkType::Ppp, inner)),
        kind => of_ether_type(Gre, id, kind, inner),
    }
}

/// Returns the number of the session of a mirror port.
fn session(bytes: &[u8]) -> Option<u32> {
    Some(u32::from(u16_at(bytes, 2)? & 0x03ff))
}

fn erspan_2(bytes: &[u8]) -> Option<Carried<'_>> {
    const LENGTH: usize = 8;
    match u8_at(bytes, 0)? >> 4 {
        1 => Some(packet(Erspan2, session(bytes), LinkType::Ethernet, bytes.get(LENGTH..)?)),
        // Some devices number type I, too.
        _ => Some(packet(Erspan1, None, LinkType::Ethernet, bytes)),
    }
}

fn erspan_3(bytes: &[u8]) -> Option<Carried<'_>> {
    const LENGTH: usize = 12;
    const FURTHER_LENGTH: usize = 8;
    let flags = u16_at(bytes, 10)?;
    if u8_at(bytes, 0)? >> 4 != 2 {
        return None;
    }
    let length = LENGTH + if flags & 1 == 0 { 0 } else { FURTHER_LENGTH };
    let inner = bytes.get(length..)?;
    match flags >> 10 & 0x1f {
        0 => Some(packet(Erspan3, session(bytes), LinkType::Ethernet, inner)),
        2 => Some(packet(Erspan3, session(bytes), LinkType::Ip, inner)),
        _ => Some(unexamined(Erspan3, UnexaminedReason::Unsupported)),
    }
}

/// Looks into the variant of GRE of PPTP, whose key is a length and the number of the call.
fn pptp(flags: u16, bytes: &[u8]) -> Option<Carried<'_>> {
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    if flags & SEQUENCE == 0 {
        // Only an acknowledgment.
        return None;
    }
    let start = 12 + if flags & ACKNOWLEDGMENT == 0 { 0 } else { 4 };
    let call = u16_at(bytes, 6).map(u32::from);
    let inner = bytes.get(start..).map(|inner| packet(Pptp, call, LinkType::Ppp, inner));
    Some(or_malformed(Pptp, inner))
}

// Tunnels in UDP.

/// The length of the headers of VXLAN, and of GENEVE without options.
const OVERLAY_HEADER: usize = 8;

/// Returns the 24-bit identifier of a virtual network.
fn network_id(bytes: &[u8]) -> Option<u32> {
    Some(u32_at(bytes, 4)? >> 8)
}

fn vxlan(bytes: &[u8]) -> Option<Carried<'_>> {
    const HAS_ID: u8 = 0x08;
    const GROUP_POLICY: u8 = 0x80;
    let (flags, last) = (u8_at(bytes, 0)?, u8_at(bytes, 7)?);
    let reserved = u32_at(bytes, 0)? & 0x00ff_ffff;
    let fits = match flags {
        HAS_ID => reserved == 0,
        _ => flags == HAS_ID | GROUP_POLICY,
    };
    let inner = bytes.get(OVERLAY_HEADER..).filter(|_| fits && last == 0)?;
    Some(packet(Vxlan, network_id(bytes), LinkType::Ethernet, inner))
}

fn vxlan_gpe(bytes: &[u8]) -> Option<Carried<'_>> {
    const HAS_ID: u8 = 0x08;
    const HAS_PROTOCOL: u8 = 0x04;
    let flags = u8_at(bytes, 0)?;
    if flags & 0xf0 != 0 || flags & HAS_ID == 0 || u8_at(bytes, 7)? != 0 {
        return None;
    }
    let (id, inner) = (network_id(bytes), bytes.get(OVERLAY_HEADER..)?);
    Some(match u8_at(bytes, 3)? {
        _ if flags & HAS_PROTOCOL == 0 => packet(Vxlan, id, LinkType::Ethernet, inner),
        1 | 2 => packet(Vxlan, id, LinkType::Ip, inner),
        3 => packet(Vxlan, id, LinkType::Ethernet, inner),
        5 => return mpls(inner),
        _ => unexamined(Vxlan, UnexaminedReason::Unsupported),
    })
}

fn geneve(bytes: &[u8]) -> Option<Carried<'_>> {
    let first = u8_at(bytes, 0)?;
    if first >> 6 != 0 || u8_at(bytes, 1)? & 0x3f != 0 || u8_at(bytes, 7)? != 0 {
        return None;
    }
    let start = OVERLAY_HEADER + usize::from(first & 0x3f) * 4;
    match bytes.get(start..) {
        Some(inner) => of_ether_type(Geneve, network_id(bytes), u16_at(bytes, 2)?, inner),
        None => Some(unexamined(Geneve, UnexaminedReason::Malformed)),
    }
}

fn tzsp(bytes: &[u8]) -> Option<Carried<'_>> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    if u8_at(bytes, 0)? != 1 || u8_at(bytes, 1)? > 1 {
        return None;
    }
    let kind = u16_at(bytes, 2)?;
    let mut rest = bytes.get(4..)?;
    loop {
        rest = match *rest {
            [PADDING, ref rest @ ..] => rest,
            [END, ref inner @ ..] if kind == 1 => {
                return Some(packet(Tzsp, None, LinkType::Ethernet, inner));
            }
            [END, ref inner @ ..] if kind == 0x12 => {
                return Some(packet(Tzsp, None, LinkType::Wireless, inner));
            }
            [END, ..] => return Some(unexamined(Tzsp, UnexaminedReason::Unsupported)),
            [_, length, ..] => rest.get(2 + usize::from(length)..)?,
            _ => return None,
        };
    }
}

// Headers between the link layer and IP.

/// The most labels that are followed.
const MAX_LABELS: usize = 16;

fn mpls(bytes: &[u8]) -> Option<Carried<'_>> {
    let mut rest = bytes;
    for _ in 0..MAX_LABELS {
        let Some(entry) = u32_at(rest, 0) else { return Some(unexamined(Mpls, UnexaminedReason::Malformed)) };
        rest = rest.get(4..).unwrap_or_default();
        let is_last = entry & 0x100 != 0;
        if is_last {
            return behind_labels(entry >> 12, rest);
        }
    }
    Some(unexamined(Mpls, UnexaminedReason::TooDeep))
}

/// Looks behind the last label. Nothing states what is there: it is IP if it looks like IP (RFC 4928), and otherwise
/// Ethernet, with or without a control word (RFC 4448).
fn behind_labels(label: u32, bytes: &[u8]) -> Option<Carried<'_>> {
    const CONTROL_WORD: usize = 4;
    /// The label of the channel for operation and maintenance (RFC 5586), and that of the alert (RFC 3429).
    const CHANNELS: [u32; 2] = [13, 14];
    let is_ethernet = |at: usize| {
        u16_at(bytes, at + Ethernet::LENGTH - 2).is_some_and(|kind| {
            let kinds = [ether_type::IPV4, ether_type::IPV6, ether_type::ARP];
            kinds.contains(&kind) || ether_type::is_vlan(kind) || in_frame(kind, &[]).is_some()
        })
    };
    let at =
        |start: usize| packet(Mpls, Some(label), LinkType::Ethernet, bytes.get(start..).unwrap_or_default());
    if CHANNELS.contains(&label) {
        return None;
    }
    Some(match u8_at(bytes, 0)? {
        0x45..=0x4f | 0x60..=0x6f => packet(Mpls, Some(label), LinkType::Ip, bytes),
        // An associated channel (RFC 4385).
        0x10..=0x1f => return None,
        0x00 if is_ethernet(CONTROL_WORD) => at(CONTROL_WORD),
        _ if is_ethernet(0) => at(0),
        _ => unexamined(Mpls, UnexaminedReason::Unsupported),
    })
}

fn pppoe(bytes: &[u8]) -> Option<Carried<'_>> {
    const LENGTH: usize = 6;
    let (Some(0x11), Some(0), Some(session), Some(length)) =
        (u8_at(bytes, 0), u8_at(bytes, 1), u16_at(bytes, 2), u16_at(bytes, 4))
    else {
        return Some(unexamined(Pppoe, UnexaminedReason::Malformed));
    };
    let inner = bytes.get(LENGTH..).unwrap_or_default();
    let inner = inner.get(..usize::from(length)).unwrap_or(inner);
    Some(packet(Pppoe, Some(session.into()), LinkType::Ppp, inner))
}

fn snap(bytes: &[u8]) -> Option<Carried<'_>> {
    const HEADER: [u8; 3] = [0xaa, 0xaa, 3];
    const LENGTH: usize = 8;
    /// The organization codes under which protocols have their numbers of Ethernet.
    const ENCAPSULATED_ETHERNET: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];
    let organization = bytes.strip_prefix(&HEADER)?.first_chunk()?;
    if !ENCAPSULATED_ETHERNET.contains(organization) {
        return None;
    }
    match u16_at(bytes, 6)? {
        ether_type::IPV4 | ether_type::IPV6 => Some(packet(Snap, None, LinkType::Ip, bytes.get(LENGTH..)?)),
        _ => None,
    }
}

/// Looks behind the tags that [`Ethernet`] does not decode. `bytes` start with the content of a tag.
fn more_tags(bytes: &[u8]) -> Option<Carried<'_>> {
    const MAX_TAGS: usize = 8;
    let mut rest = bytes;
    for _ in 0..MAX_TAGS {
        let (Some(tag), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) else {
            return Some(unexamined(VlanTags, UnexaminedReason::Malformed));
        };
        rest = rest.get(4..).unwrap_or_default();
        if !ether_type::is_vlan(kind) {
            let id = Some(u32::from(Vlan::from_tag(kind, tag).id));
            return of_ether_type(VlanTags, id, kind, rest);
        }
    }
    Some(unexamined(VlanTags, UnexaminedReason::TooDeep))
}

/// A packet that is around another one.
#[derive(Clone, Copy, Debug)]
pub struct Enclosing<'p> {
    /// The packet.
    pub packet: &'p Packet<'p>,
    /// How it carries the other one.
    pub encapsulation: EncapsulationId,
    /// The packet around this one, if there is one.
    pub outer: Option<&'p Self>,
}

/// The tunnel that a packet was in, which separates it from copies that came another way.
///
/// Its text names the protocol, the identifier and the ends: `VXLAN 77 192.0.2.1 > 192.0.2.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// What is around the packet.
    pub encapsulation: EncapsulationId,
    /// The addresses of the IP packet around it, if there is one.
    pub ends: Option<(IpAddr, IpAddr)>,
    /// A number that differs if the tunnel itself is in other tunnels; 0 if it is in none.
    pub outer: u64,
}

impl Tunnel {
    /// Returns the tunnel that is around what `packet` carries. `outer` is that around `packet` itself.
    #[must_use]
    pub fn of(packet: &Packet<'_>, encapsulation: EncapsulationId, outer: Option<&Self>) -> Self {
        let ends = packet.ip_layer().map(|ip| (ip.source, ip.destination));
        Self { encapsulation, ends, outer: outer.map_or(0, Self::number) }
    }

    /// Returns a number that is the same for equal tunnels (FNV-1a).
    fn number(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        core::hash::Hash::hash(self, &mut hasher);
        core::hash::Hasher::finish(&hasher) | 1
    }
}

struct Fnv(u64);

impl core::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Display for EncapsulationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.name())?;
        match self.id {
            Some(id) => write!(f, " {id}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encapsulation.fmt(f)?;
        match self.ends {
            Some((source, destination)) => write!(f, " {source} > {destination}"),
            None => Ok(()),
        }
    }
}
