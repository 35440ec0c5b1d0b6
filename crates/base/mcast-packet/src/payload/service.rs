//! Protocols of routers, of hosts and of discovery that use groups: the name, and the fields that a person looks for.

mod routers;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{EscapedText, HsrpMessage};
use crate::ip::protocol;
use crate::link::MacAddress;
use crate::list::{array_at, u8_at, u16_at, u32_at};

/// A message of a protocol that is named and summarized. Its fields are read from the bytes when they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    protocol: ServiceProtocol,
    bytes: &'a [u8],
}

/// Whether a message is one of its protocol, and what writes its fields.
type Form<S> = (fn(&S) -> bool, fn(&S, &mut fmt::Formatter<'_>) -> fmt::Result);

/// The form of messages that have a type of their own, with what writes one if it is not its summary.
macro_rules! parsed {
    ($type:ident) => {
        parsed!($type, |message, f| message.summary(f))
    };
    ($type:ident, $write:expr) => {
        (
            |it| super::$type::parse(it.bytes).is_some(),
            |it, f| {
                let write: fn(super::$type<'_>, &mut fmt::Formatter<'_>) -> fmt::Result = $write;
                super::$type::parse(it.bytes).map_or(Ok(()), |message| write(message, f))
            },
        )
    };
}

mcast_group::named! {
    /// A protocol that uses groups.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum ServiceProtocol {
        /// VRRP (RFC 3768, RFC 9568).
        Vrrp = "VRRP",
        /// OSPF (RFC 2328, RFC 5340).
        Ospf = "OSPF",
        /// EIGRP (RFC 7868).
        Eigrp = "EIGRP",
        /// Neighbor discovery of IPv6 (RFC 4861).
        Ndp = "NDP",
        /// HSRP (RFC 2281, and version 2).
        Hsrp = "HSRP",
        /// GLBP.
        Glbp = "GLBP",
        /// RIP (RFC 2453, RFC 2080).
        Rip = "RIP",
        /// BFD (RFC 5880).
        Bfd = "BFD",
        /// NTP (RFC 5905).
        Ntp = "NTP",
        /// DHCPv6 (RFC 8415).
        Dhcpv6 = "DHCPv6",
        /// LLMNR (RFC 4795).
        Llmnr = "LLMNR",
        /// SAP (RFC 2974).
        Sap = "SAP",
        /// RTCP (RFC 3550 section 6).
        Rtcp = "RTCP",
        /// CoAP (RFC 7252).
        Coap = "CoAP",
        /// WS-Discovery (OASIS).
        WsDiscovery = "WS-Discovery",
        /// RTPS, the wire protocol of DDS (OMG).
        Rtps = "RTPS",
        /// KNXnet/IP (EN 13321-2).
        Knx = "KNXnet/IP",
        /// sACN, DMX512 over IP (ANSI E1.31).
        Sacn = "sACN",
        /// Art-Net, DMX512 over IP.
        ArtNet = "Art-Net",
        /// PTP version 1 (IEEE 1588-2002), which Dante uses.
        PtpV1 = "PTPv1",
        /// Babel (RFC 8966).
        Babel = "Babel",
        /// Discovery of LDP (RFC 5036).
        Ldp = "LDP",
        /// HNCP (RFC 7788).
        Hncp = "HNCP",
        /// SLP (RFC 2165, RFC 2608).
        Slp = "SLP",
        /// RPL (RFC 6550).
        Rpl = "RPL",
        /// PGM (RFC 3208).
        Pgm = "PGM",
        /// DVMRP (RFC 1075).
        Dvmrp = "DVMRP",
        /// PIM version 1, which has the protocol number of IGMP.
        PimV1 = "PIMv1",
        /// The multicast traceroute that has the protocol number of IGMP.
        Mtrace = "mtrace",
        /// RGMP (RFC 3488).
        Rgmp = "RGMP",
    }
    /// Returns its usual name.
    fn name;
}

use ServiceProtocol::{
    ArtNet, Babel, Bfd, Coap, Dhcpv6, Dvmrp, Eigrp, Glbp, Hncp, Hsrp, Knx, Ldp, Llmnr, Mtrace, Ndp, Ntp,
    Ospf, Pgm, PimV1, PtpV1, Rgmp, Rip, Rpl, Rtcp, Rtps, Sacn, Sap, Slp, Vrrp, WsDiscovery,
};
use routers::igmp_type;

impl ServiceProtocol {
    /// Returns the protocol of UDP datagrams to this port, if the port is its own.
    const fn at_port(port: u16, to: IpAddr) -> Option<Self> {
        Some(match (port, to) {
            (1985 | 2029, _) => Hsrp,
            (3222, _) => Glbp,
            (520 | 521, _) => Rip,
            (3784 | 4784, _) => Bfd,
            (123, _) => Ntp,
            (546 | 547, IpAddr::V6(_)) => Dhcpv6,
            (5355, _) => Llmnr,
            (9875, _) => Sap,
            (5683, _) => Coap,
            (3702, _) => WsDiscovery,
            (3671, _) => Knx,
            (5568, _) => Sacn,
            (6454, _) => ArtNet,
            (319 | 320, _) => PtpV1,
            (6696, IpAddr::V6(_)) => Babel,
            (646, _) => Ldp,
            (8231, IpAddr::V6(_)) => Hncp,
            (427, _) => Slp,
            _ => return None,
        })
    }
}

impl<'a> Service<'a> {
    /// Recognizes a UDP payload, by its port and its structure.
    pub(super) fn of_datagram(port: u16, to: IpAddr, bytes: &'a [u8]) -> Option<Self> {
        let at_port = ServiceProtocol::at_port(port, to).and_then(|protocol| Self::checked(protocol, bytes));
        // RTPS has ports of its own by domain and participant, and begins with its name. RTCP fills the datagram exactly.
        at_port.or_else(|| Self::checked(Rtps, bytes)).or_else(|| Self::checked(Rtcp, bytes))
    }

    /// Recognizes the payload of an IP packet with this protocol number.
    #[must_use]
    pub fn of_packet(number: u8, bytes: &'a [u8]) -> Option<Self> {
        let protocol = match number {
            protocol::VRRP => Vrrp,
            protocol::OSPF => Ospf,
            protocol::EIGRP => Eigrp,
            protocol::ICMPV6 if bytes.first() == Some(&routers::RPL) => Rpl,
            protocol::ICMPV6 => Ndp,
            protocol::PGM => Pgm,
            protocol::IGMP => match *bytes.first()? {
                igmp_type::DVMRP => Dvmrp,
                igmp_type::PIM_V1 => PimV1,
                igmp_type::TRACE | igmp_type::TRACE_RESPONSE => Mtrace,
                igmp_type::RGMP_LEAVE..=igmp_type::RGMP_HELLO => Rgmp,
                _ => return None,
            },
            _ => return None,
        };
        Self::checked(protocol, bytes)
    }

    /// Returns the protocol.
    #[must_use]
    pub const fn protocol(&self) -> ServiceProtocol {
        self.protocol
    }

    fn checked(protocol: ServiceProtocol, bytes: &'a [u8]) -> Option<Self> {
        let service = Self { protocol, bytes };
        let (is_valid, _) = service.form();
        is_valid(&service).then_some(service)
    }

    /// Returns the form of the messages of each protocol.
    fn form(&self) -> Form<Self> {
        match self.protocol {
            Vrrp => (|it| it.has(8) && matches!(it.u8(0), 0x21 | 0x31), Self::vrrp),
            Ospf => (|it| it.has(16) && matches!(it.u8(0), 2 | 3) && matches!(it.u8(1), 1..=5), Self::ospf),
            Eigrp => (|it| it.has(20) && it.u8(0) == 2, Self::eigrp),
            Ndp => (|it| it.has(8) && matches!(it.u8(0), 133..=137), Self::ndp),
            Hsrp => (Self::is_valid_hsrp, Self::hsrp),
            Glbp => (|it| it.has(12) && it.u8(0) == 1, Self::glbp),
            Rip => (|it| it.has(4) && matches!(it.u8(0), 1 | 2) && matches!(it.u8(1), 1 | 2), Self::rip),
            Bfd => {
                (|it| it.has(24) && it.u8(0) >> 5 == 1 && it.bytes.len() >= usize::from(it.u8(3)), Self::bfd)
            }
            Ntp => (
                |it| it.has(48) && matches!(it.u8(0) >> 3 & 7, 1..=4) && matches!(it.u8(0) & 7, 1..=5),
                Self::ntp,
            ),
            Dhcpv6 => (|it| it.has(4) && matches!(it.u8(0), 1..=13), Self::dhcpv6),
            Llmnr => parsed!(Dns, |dns, f| write!(f, " {dns}")),
            Sap => parsed!(Sap),
            Rtcp => (|it| is_compound_rtcp(it.bytes), Self::rtcp),
            Coap => parsed!(Coap),
            WsDiscovery => parsed!(WsDiscovery),
            Knx => parsed!(Knx),
            Rtps => parsed!(Rtps, rtps),
            Sacn => parsed!(Sacn),
            ArtNet => parsed!(ArtNet),
            PtpV1 => (Self::is_valid_ptp_v1, Self::ptp_v1),
            Babel => (|it| it.u16(0) == 0x2a02 && it.has(4 + usize::from(it.u16(2))), Self::babel),
            Ldp => (|it| it.u16(0) == 1 && it.has(10.max(4 + usize::from(it.u16(2)))), Self::ldp),
            Hncp => (Self::is_valid_hncp, Self::hncp),
            Slp => (Self::is_valid_slp, Self::slp),
            Rpl => (|it| it.has(4), Self::rpl),
            Pgm => (|it| it.has(16), Self::pgm),
            Dvmrp => (|it| it.has(8), Self::dvmrp),
            PimV1 => (|it| it.has(8), Self::pim_v1),
            Mtrace => (|it| it.has(24), Self::trace),
            Rgmp => (|it| it.has(8), Self::rgmp),
        }
    }

    fn has(&self, length: usize) -> bool {
        self.bytes.len() >= length
    }

    /// Reads a field, which is 0 if the message ends before it.
    fn u8(&self, offset: usize) -> u8 {
        u8_at(self.bytes, offset).unwrap_or_default()
    }

    fn u16(&self, offset: usize) -> u16 {
        u16_at(self.bytes, offset).unwrap_or_default()
    }

    fn u32(&self, offset: usize) -> u32 {
        u32_at(self.bytes, offset).unwrap_or_default()
    }

    fn v4(&self, offset: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.u32(offset))
    }

    fn v6(&self, offset: usize) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(self.bytes, offset).unwrap_or_default())
    }

    fn text(&self, from: usize, length: usize) -> EscapedText<'a> {
        let bytes = self.bytes.get(from..).unwrap_or_default();
        let bytes = bytes.get(..length).unwrap_or(bytes);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        EscapedText { bytes: bytes.get(..end).unwrap_or_default(), max_length: 64 }
    }
}

/// Returns whether a datagram consists of RTCP packets, the first a report, whose lengths add up to its own.
fn is_compound_rtcp(bytes: &[u8]) -> bool {
    const FIRST: [u8; 2] = [200, 201];
    let mut rest = bytes;
    let mut is_first = true;
    while !rest.is_empty() {
        let (Some(head), Some(kind), Some(words)) = (u8_at(rest, 0), u8_at(rest, 1), u16_at(rest, 2)) else {
            return false;
        };
        let length = (usize::from(words) + 1) * 4;
        let is_known = if is_first { FIRST.contains(&kind) } else { matches!(kind, 200..=207) };
        if head >> 6 != 2 || !is_known || length > rest.len() || (is_first && length < 8) {
            return false;
        }
        rest = rest.get(length..).unwrap_or_default();
        is_first = false;
    }
    !is_first
}

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, write) = self.form();
        f.write_str(self.protocol.name())?;
        write(self, f)
    }
}

fn rtps(message: super::Rtps<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (major, minor) = message.version;
    write!(f, " {major}.{minor}, participant {}", message.participant)?;
    message.submessages().try_for_each(|submessage| write!(f, ", {}", submessage.name()))
}

/// The fields of each protocol.
impl Service<'_> {
    /// An advertisement is shorter than the other messages.
    fn is_valid_hsrp(&self) -> bool {
        match self.u16(0) {
            3 => self.has(8),
            0x0128 => self.has(42),
            _ => self.has(20) && self.u8(0) == 0,
        }
    }

    fn glbp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mac = MacAddress(array_at(self.bytes, 6).unwrap_or_default());
        write!(f, " group {}, from {mac}", self.u16(2))
    }

    fn vrrp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.u8(0) >> 4;
        let (id, priority, count) = (self.u8(1), self.u8(2), self.u8(3));
        write!(f, "v{version} router {id}, priority {priority}")?;
        match version {
            2 => write!(f, ", every {} s", self.u8(5))?,
            _ => write!(f, ", every {} ms", u32::from(self.u16(4) & 0x0fff) * 10)?,
        }
        // A message is of IPv6 if its addresses are longer than those of IPv4 would be.
        let is_v6 = version == 3 && self.bytes.len() >= 8 + usize::from(count) * 16;
        match (count, is_v6) {
            (0, _) => Ok(()),
            (_, true) => write!(f, ", {}", self.v6(8)),
            (_, false) => write!(f, ", {}", self.v4(8)),
        }
    }

    fn ospf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.u8(0);
        let kind = match self.u8(1) {
            1 => "Hello",
            2 => "DB description",
            3 => "LS request",
            4 => "LS update",
            _ => "LS acknowledge",
        };
        write!(f, "v{version} {kind}, router {}, area {}", self.v4(4), self.v4(8))?;
        match (self.u8(1), version) {
            (1, 2) => write!(f, ", every {} s, DR {}, BDR {}", self.u16(28), self.v4(36), self.v4(40)),
            (1, _) => write!(f, ", every {} s, DR {}, BDR {}", self.u16(24), self.v4(28), self.v4(32)),
            _ => Ok(()),
        }
    }

    fn eigrp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.u8(1) {
            1 => "update",
            3 => "query",
            4 => "reply",
            5 => "hello",
            10 => "SIA query",
            11 => "SIA reply",
            other => return write!(f, " opcode {other}, AS {}", self.u16(18)),
        };
        write!(f, " {kind}, AS {}", self.u16(18))
    }

    fn ndp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.u8(0) {
            133 => f.write_str(" router solicitation"),
            134 => {
                let (hops, lifetime) = (self.u8(4), self.u16(6));
                write!(f, " router advertisement, lifetime {lifetime} s, hop limit {hops}")
            }
            135 => write!(f, " neighbor solicitation for {}", self.v6(8)),
            136 => write!(f, " neighbor advertisement of {}", self.v6(8)),
            _ => write!(f, " redirect to {}", self.v6(8)),
        }
    }

    fn hsrp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(message) = HsrpMessage::parse(self.bytes) else { return f.write_str(" advertise") };
        let HsrpMessage { group, state, priority, address, .. } = message;
        let kind = match (message.version, self.u8(1)) {
            (2, _) => "v2",
            (_, 0) => " hello,",
            (_, 1) => " coup,",
            _ => " resign,",
        };
        write!(f, "{kind} group {group}, {state}, priority {priority}, {address}")
    }

    fn rip(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.u8(0) == 1 { "request" } else { "response" };
        let entries = self.bytes.len().saturating_sub(4) / 20;
        let plural = if entries == 1 { "entry" } else { "entries" };
        write!(f, "v{} {kind}, {entries} {plural}", self.u8(1))
    }

    fn bfd(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.u8(1) >> 6 {
            0 => "AdminDown",
            1 => "Down",
            2 => "Init",
            _ => "Up",
        };
        let (mine, yours) = (self.u32(4), self.u32(8));
        write!(f, " {state}, detection multiplier {}, discriminators {mine:#010x}, {yours:#010x}", self.u8(2))
    }

    fn ntp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.u8(0) & 7 {
            1 => "symmetric active",
            2 => "symmetric passive",
            3 => "client",
            4 => "server",
            _ => "broadcast",
        };
        write!(f, "v{} {mode}, stratum {}", self.u8(0) >> 3 & 7, self.u8(1))
    }

    fn dhcpv6(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 13] = [
            "Solicit",
            "Advertise",
            "Request",
            "Confirm",
            "Renew",
            "Rebind",
            "Reply",
            "Release",
            "Decline",
            "Reconfigure",
            "Information-request",
            "Relay-forward",
            "Relay-reply",
        ];
        let kind = self.u8(0);
        let name = NAMES.get(usize::from(kind).saturating_sub(1)).copied().unwrap_or_default();
        match kind {
            12 | 13 => write!(f, " {name}, link {}", self.v6(2)),
            _ => write!(f, " {name}, transaction {:#08x}", self.u32(0) & 0x00ff_ffff),
        }
    }

    fn rtcp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.bytes;
        let mut separator = " ";
        while let (Some(kind), Some(words)) = (u8_at(rest, 1), u16_at(rest, 2)) {
            let name = match kind {
                200 => "sender report",
                201 => "receiver report",
                202 => "source description",
                203 => "goodbye",
                204 => "application data",
                205 => "transport feedback",
                206 => "payload feedback",
                _ => "extended report",
            };
            write!(f, "{separator}{name}")?;
            separator = ", ";
            rest = rest.get((usize::from(words) + 1) * 4..).unwrap_or_default();
        }
        write!(f, ", SSRC {:#010x}", self.u32(4))
    }
}
