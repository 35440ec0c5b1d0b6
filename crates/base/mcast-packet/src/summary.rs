//! One-line summaries of packets, the groups that a control message refers to, and hex dumps.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::checksum::ChecksumStatus;
use crate::encapsulation::Enclosing;
use crate::gmp::{Address, GmpMessage};
use crate::ip::{Ip, protocol};
use crate::link::ether_type;
use crate::lldp::Lldp;
use crate::packet::{Arp, Gmp, Network, Packet, Pim, Transport};
use crate::payload::{self, Ptp};
use crate::pim::PimMessage;
use crate::udp::Udp;

/// Returns a one-line summary of an Ethernet frame: `Ether / IP / UDP 10.0.0.1:5000 > 239.255.2.3:5000 / Raw`.
#[must_use]
pub fn summary(frame: &[u8]) -> impl fmt::Display + '_ {
    Packet::ethernet(frame)
}

impl Packet<'_> {
    /// Returns the same summary as [`fmt::Display`], but with `payload` as the description of the UDP
    /// payload. Used by callers that know more about the payload.
    pub fn summary_with<'s>(&'s self, payload: &'s dyn fmt::Display) -> impl fmt::Display + 's {
        struct Summary<'s>(&'s Packet<'s>, &'s dyn fmt::Display);
        impl fmt::Display for Summary<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.summarize(f, Some(self.1))
            }
        }
        Summary(self, payload)
    }

    /// Returns the summary of a packet inside others: `Ether / IP 192.0.2.1 > 192.0.2.2 / GRE / IP / UDP 10.0.0.1:5000 >
    /// 239.255.2.3:5000 / Raw`. `payload` describes the UDP payload of this packet, if the caller knows more about it.
    pub fn summary_within<'s>(
        &'s self,
        enclosing: Option<&'s Enclosing<'s>>,
        payload: Option<&'s dyn fmt::Display>,
    ) -> impl fmt::Display + 's {
        struct Summary<'s>(&'s Packet<'s>, Option<&'s Enclosing<'s>>, Option<&'s dyn fmt::Display>);
        impl fmt::Display for Summary<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if let Some(enclosing) = self.1 {
                    enclosing.summarize(f)?;
                }
                self.0.summarize(f, self.2)
            }
        }
        Summary(self, enclosing, payload)
    }

    /// Returns the name of the protocol of a frame that is neither IP nor ARP, if it has one.
    #[must_use]
    pub fn link_protocol(&self) -> Option<&'static str> {
        let Some(Network::Other { ether_type, payload }) = &self.network else { return None };
        match *ether_type {
            length if length < ether_type::FIRST => Some(ether_type::name_802_3(payload)),
            ether_type => ether_type::name(ether_type),
        }
    }

    fn link_layers(&self, line: &mut LineWriter<'_, '_>) -> fmt::Result {
        if self.ethernet.is_some() {
            line.layer(format_args!("Ether"))?;
        }
        if self.cooked.is_some() {
            line.layer(format_args!("Cooked"))?;
        }
        if self.wireless.is_some() {
            line.layer(format_args!("802.11"))?;
        }
        for vlan in self.vlans() {
            line.layer(format_args!("802.1Q {}", vlan.id))?;
        }
        Ok(())
    }

    fn summarize(&self, f: &mut fmt::Formatter<'_>, payload: Option<&dyn fmt::Display>) -> fmt::Result {
        let mut line = LineWriter { f, empty: true, payload };
        self.link_layers(&mut line)?;
        match &self.network {
            Some(Network::Ip(ip)) => line.ip(ip, self.transport.as_ref())?,
            Some(Network::Arp(arp)) => line.layer(format_args!("{arp}"))?,
            Some(Network::Other { ether_type: ether_type::LLDP, payload }) => match Lldp::parse(payload) {
                Some(unit) => line.layer(format_args!("LLDP {unit}"))?,
                None => line.layer(format_args!("LLDP"))?,
            },
            Some(Network::Other { ether_type, payload }) => match self.link_protocol() {
                Some(name) => match Ptp::parse(payload).filter(|_| *ether_type == ether_type::PTP) {
                    Some(ptp) => line.layer(format_args!("{ptp}"))?,
                    None => line.layer(format_args!("{name}"))?,
                },
                None => line.layer(format_args!("type {ether_type:#06x}"))?,
            },
            None => {}
        }
        if let Some(malformed) = &self.malformed {
            line.layer(format_args!("malformed: {malformed}"))?;
        }
        if !self.padding.is_empty() {
            line.layer(format_args!("Padding"))?;
        }
        Ok(())
    }
}

impl Enclosing<'_> {
    /// Writes the layers around another packet, the outermost first, each followed by a slash.
    fn summarize(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            outer.summarize(f)?;
        }
        let mut line = LineWriter { f, empty: true, payload: None };
        self.packet.link_layers(&mut line)?;
        if let Some(ip) = self.packet.ip_layer() {
            let name = if ip.source.is_ipv4() { "IP" } else { "IPv6" };
            line.layer(format_args!("{name} {} > {}", ip.source, ip.destination))?;
        }
        if let Some(udp) = self.packet.udp() {
            line.layer(format_args!("UDP {}", udp.destination_port))?;
        }
        line.layer(format_args!("{}", self.encapsulation))?;
        f.write_str(" / ")
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summarize(f, None)
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            1 => write!(f, "ARP {} requests {}", self.sender, self.target),
            2 => write!(f, "ARP {} is at {}", self.sender, self.sender_mac),
            other => write!(f, "ARP {} operation {other}", self.sender),
        }
    }
}

/// Writes layers to a line.
struct LineWriter<'f, 'o> {
    f: &'f mut fmt::Formatter<'o>,
    empty: bool,
    /// The caller's description of the UDP payload.
    payload: Option<&'f dyn fmt::Display>,
}

impl LineWriter<'_, '_> {
    fn layer(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        if !self.empty {
            self.f.write_str(" / ")?;
        }
        self.empty = false;
        self.f.write_fmt(text)
    }

    fn ip(&mut self, ip: &Ip<'_>, transport: Option<&Transport<'_>>) -> fmt::Result {
        let name = if ip.source.is_ipv4() { "IP" } else { "IPv6" };
        self.layer(format_args!("{name}{}", ChecksumNote(ip.header_checksum)))?;
        match transport {
            Some(Transport::Udp(udp)) => self.udp(ip, udp),
            Some(Transport::Igmp(control)) => self.control(ip, control),
            Some(Transport::Mld(control)) => self.control(ip, control),
            Some(Transport::Pim(pim)) => self.pim(ip, pim),
            Some(Transport::Fragment(payload)) => self.fragment(ip, payload),
            Some(Transport::Other(payload)) => {
                let recognized = payload::Service::of_packet(ip.protocol, payload);
                if let Some(service) = recognized.filter(|_| ip.fragment.is_none() && !ip.truncated) {
                    return self.layer(format_args!("{} > {} / {service}", ip.source, ip.destination));
                }
                self.layer(format_args!("{} {} > {}", ProtocolName(ip.protocol), ip.source, ip.destination))
            }
            None => Ok(()),
        }
    }

    fn udp(&mut self, ip: &Ip<'_>, udp: &Udp<'_>) -> fmt::Result {
        let source = SocketAddr::new(ip.source, udp.source_port);
        let destination = SocketAddr::new(ip.destination, udp.destination_port);
        self.layer(format_args!("UDP {source} > {destination}{}", ChecksumNote(udp.checksum)))?;
        if ip.fragment.is_some() {
            self.f.write_str(" (first fragment)")?;
        }
        if udp.payload.is_empty() {
            return Ok(());
        }
        if let Some(payload) = self.payload {
            return self.layer(format_args!("{payload}"));
        }
        // The beginning of a payload would be reported as malformed, or recognized as something else.
        let recognized = if ip.fragment.is_some() || ip.truncated {
            None
        } else {
            payload::recognize(udp.recognized_port(), ip.destination, udp.payload)
        };
        match recognized {
            Some(payload) => self.layer(format_args!("{payload}")),
            None => self.layer(format_args!("Raw")),
        }
    }

    fn control<A: Address>(&mut self, ip: &Ip<'_>, control: &Gmp<'_, A>) -> fmt::Result {
        let Gmp { message, checksum } = control;
        let (title, content) = (message.title(), message.content());
        self.layer(format_args!("{title} {}: {content}{}", ip.source, ChecksumNote(*checksum)))
    }

    fn pim(&mut self, ip: &Ip<'_>, pim: &Pim<'_>) -> fmt::Result {
        let (title, content) = (pim.message.title(), pim.message.content());
        let checksum = ChecksumNote(pim.checksum);
        self.layer(format_args!("{title} {}: {content}{checksum}", ip.source))
    }

    fn fragment(&mut self, ip: &Ip<'_>, payload: &[u8]) -> fmt::Result {
        let (source, destination, name) = (ip.source, ip.destination, ProtocolName(ip.protocol));
        let first = ip.fragment.map_or(0, |fragment| fragment.offset);
        let end = first + payload.len();
        self.layer(format_args!("{name} {source} > {destination} (fragment, bytes {first} to {end})"))?;
        self.layer(format_args!("Raw"))
    }
}

/// Writes an invalid checksum, and nothing for any other status.
struct ChecksumNote(ChecksumStatus);

impl fmt::Display for ChecksumNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ChecksumStatus::Invalid { found, expected } => {
                write!(f, " (bad checksum {found:#06x}, should be {expected:#06x})")
            }
            _ => Ok(()),
        }
    }
}

/// Writes the name of an IP protocol, or its number.
struct ProtocolName(u8);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match protocol::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

impl Packet<'_> {
    /// Returns whether the packet is an IGMP, MLD or PIM message that refers to a group for which `matches`
    /// returns true. General queries, hellos and all other messages without a group refer to every group.
    pub fn is_control_about(&self, mut matches: impl FnMut(IpAddr) -> bool) -> bool {
        match &self.transport {
            Some(Transport::Igmp(control)) => refers_to(&control.message, &mut matches),
            Some(Transport::Mld(control)) => refers_to(&control.message, &mut matches),
            Some(Transport::Pim(pim)) => pim_refers_to(&pim.message, &mut matches),
            _ => false,
        }
    }
}

fn refers_to<A: Address>(message: &GmpMessage<'_, A>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    match message {
        GmpMessage::Query(query) => query.group.is_none_or(|group| matches(group.into())),
        GmpMessage::V1Report { group } | GmpMessage::Report { group } | GmpMessage::Leave { group } => {
            matches((*group).into())
        }
        GmpMessage::V3Report(records) => records.iter().any(|record| matches(record.group.into())),
        GmpMessage::RouterDiscovery(_) => true,
    }
}

fn pim_refers_to(message: &PimMessage<'_>, matches: &mut dyn FnMut(IpAddr) -> bool) -> bool {
    match message {
        PimMessage::JoinPrune(message) | PimMessage::Graft(message) | PimMessage::GraftAck(message) => {
            message.groups.iter().any(|set| matches(set.group.address))
        }
        PimMessage::RegisterStop { group, .. } => matches(group.address),
        PimMessage::Assert(assert) => matches(assert.group.address),
        PimMessage::Register(register) => {
            Packet::ip(register.packet).ip_layer().is_none_or(|ip| matches(ip.destination))
        }
        _ => true,
    }
}

/// Formats `bytes` as a hex dump with 16 bytes per line and no newline after the last. Only printable ASCII
/// is shown as is, so that a packet cannot inject terminal escape sequences.
///
/// ```
/// let dump = mcast_packet::hexdump(b"Hello, World!\0\0\x1b[2J");
/// assert_eq!(dump.to_string(), "\
/// 0000  48 65 6C 6C 6F 2C 20 57  6F 72 6C 64 21 00 00 1B  Hello, World!...
/// 0010  5B 32 4A                                          [2J");
/// ```
#[must_use]
pub const fn hexdump(bytes: &[u8]) -> Hexdump<'_> {
    Hexdump { bytes }
}

/// The hex dump of some bytes, created by [`hexdump`].
#[derive(Clone, Copy, Debug)]
pub struct Hexdump<'a> {
    bytes: &'a [u8],
}

impl Hexdump<'_> {
    const LINE: usize = 16;
}

impl fmt::Display for Hexdump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.bytes.chunks(Self::LINE).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{:04X} ", number * Self::LINE)?;
            write_hexadecimal(f, line)?;
            f.write_str("  ")?;
            write_characters(f, line)?;
        }
        Ok(())
    }
}

fn write_hexadecimal(f: &mut fmt::Formatter<'_>, line: &[u8]) -> fmt::Result {
    for position in 0..Hexdump::LINE {
        if position == Hexdump::LINE / 2 {
            f.write_str(" ")?;
        }
        match line.get(position) {
            Some(byte) => write!(f, " {byte:02X}")?,
            None => f.write_str("   ")?,
        }
    }
    Ok(())
}

fn write_characters(f: &mut fmt::Formatter<'_>, line: &[u8]) -> fmt::Result {
    line.iter().try_for_each(|&byte| {
        let printable = byte == b' ' || byte.is_ascii_graphic();
        write!(f, "{}", if printable { char::from(byte) } else { '.' })
    })
}
