//! Common payloads of multicast datagrams: RTP, MPEG transport streams, MoldUDP64, PTP, mDNS, SSDP, AMT, and the protocols of
//! routers, hosts and discovery ([`Service`]).
//!
//! [`recognize`] determines the type of a payload and returns nothing if in doubt. A payload whose type is
//! already known is parsed by the `parse` function of that type.

use core::fmt;
use core::net::IpAddr;

mod amt;
mod announcements;
mod coap;
mod dns;
mod knx;
mod lighting;
mod mold_udp64;
mod mpeg_ts;
mod ptp;
mod relay;
mod rtp;
mod rtps;
mod sap;
mod service;
mod ssdp;
mod ws_discovery;
mod xml;

pub use amt::{AmtMac, AmtMessage};
pub use announcements::{HsrpMessage, HsrpState, OspfHello, VrrpAdvertisement, VrrpChecksum};
pub use coap::{Coap, CoapLink, CoapLinks, CoapOptions};
pub use dns::{
    Dns, DnsKind, DnsQuestion, DnsQuestions, DnsRecord, DnsRecords, DnsSection, DnsTexts, DnsTypes, DnsValue,
    DnsWriter, Name,
};
pub use knx::{Knx, KnxDevice};
pub use lighting::{ArtNet, ArtPollReply, Sacn, SacnContent};
pub use mold_udp64::{MoldMessages, MoldUdp64};
pub use mpeg_ts::{ContinuityCounts, ContinuityTracker, MpegTs, PidCounts, TsPacket, TsPackets};
pub use ptp::{Ptp, PtpAnnounce, PtpClock, PtpDataSet, PtpKind, PtpV1Sync};
pub use relay::RelayGreeting;
pub use rtp::Rtp;
pub use rtps::{
    Rtps, RtpsData, RtpsGuid, RtpsHeartbeat, RtpsLocator, RtpsLocatorUse, RtpsParameter, RtpsParameters,
    RtpsPrefix, RtpsStrings, RtpsSubmessage, RtpsSubmessages, RtpsVendor,
};
pub use sap::Sap;
pub use service::{Service, ServiceProtocol};
pub use ssdp::{Ssdp, SsdpHeaders, SsdpKind};
pub use ws_discovery::{WsDiscovery, WsDiscoveryKind, WsEndpoint, WsEndpoints};
pub use xml::{XmlScan, XmlToken};

/// The payload of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// RTP (RFC 3550).
    Rtp(Rtp<'a>),
    /// An MPEG transport stream, not carried in RTP.
    MpegTs(MpegTs<'a>),
    /// MoldUDP64, which carries market data.
    MoldUdp64(MoldUdp64<'a>),
    /// PTP version 2 (IEEE 1588).
    Ptp(Ptp),
    /// mDNS (RFC 6762).
    Mdns(Dns<'a>),
    /// SSDP, the discovery protocol of UPnP.
    Ssdp(Ssdp<'a>),
    /// AMT, which carries multicast in unicast (RFC 7450).
    Amt(AmtMessage<'a>),
    /// Another protocol that is named and summarized.
    Service(Service<'a>),
}

/// Returns the payload of a datagram sent to this port and address, which may be a group or a host. Returns
/// `None` if the payload is of another type or ambiguous.
///
/// PTP, mDNS, SSDP, AMT and most protocols of routers and of discovery are recognized on their own ports only. A transport stream and MoldUDP64 are recognized
/// by their structure, up to the last byte. RTP has little structure, so it is recognized only if it contains
/// a transport stream, or if all fields and the port are plausible.
#[must_use]
pub fn recognize(port: u16, group: IpAddr, payload: &[u8]) -> Option<Payload<'_>> {
    match port {
        Ptp::EVENT_PORT | Ptp::GENERAL_PORT => {
            let first_version = || Service::of_datagram(port, group, payload).map(Payload::Service);
            return Ptp::parse(payload).map(Payload::Ptp).or_else(first_version);
        }
        Dns::MDNS_PORT if Dns::is_mdns_group(group) => return Dns::parse(payload).map(Payload::Mdns),
        Ssdp::PORT => return Ssdp::parse(payload).map(Payload::Ssdp),
        // AMT is unicast. A stream may have its port by chance.
        AmtMessage::PORT if !group.is_multicast() => return AmtMessage::parse(payload).map(Payload::Amt),
        _ => {}
    }
    if let Some(service) = Service::of_datagram(port, group, payload) {
        return Some(Payload::Service(service));
    }
    if let Some(stream) = MpegTs::parse(payload) {
        return Some(Payload::MpegTs(stream));
    }
    if let Some(rtp) = Rtp::parse(payload).filter(|rtp| rtp.is_likely(port)) {
        return Some(Payload::Rtp(rtp));
    }
    MoldUdp64::parse(payload).map(Payload::MoldUdp64)
}

impl<'a> Payload<'a> {
    /// Returns the name of the payload type.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rtp(_) => "RTP",
            Self::MpegTs(_) => "MPEG-TS",
            Self::MoldUdp64(_) => "MoldUDP64",
            Self::Ptp(_) => "PTP",
            Self::Mdns(_) => "mDNS",
            Self::Ssdp(_) => "SSDP",
            Self::Amt(_) => "AMT",
            Self::Service(service) => service.protocol().name(),
        }
    }

    /// Returns what a loss counter needs: the sequence number, how many consecutive numbers the datagram
    /// contains, and the width of the number in bits. Returns `None` for payloads without sequence numbers,
    /// and for PTP, which numbers the messages of each sender and type separately.
    #[must_use]
    pub const fn sequence(&self) -> Option<(u64, u64, u32)> {
        match self {
            Self::Rtp(rtp) => Some((rtp.sequence as u64, 1, 16)),
            Self::MoldUdp64(mold) => Some((mold.sequence, mold.messages.len() as u64, 64)),
            Self::MpegTs(_)
            | Self::Ptp(_)
            | Self::Mdns(_)
            | Self::Ssdp(_)
            | Self::Amt(_)
            | Self::Service(_) => None,
        }
    }

    /// Returns the transport stream, with or without RTP.
    #[must_use]
    pub fn mpeg_ts(&self) -> Option<MpegTs<'a>> {
        match self {
            Self::MpegTs(stream) => Some(*stream),
            Self::Rtp(rtp) => rtp.mpeg_ts(),
            _ => None,
        }
    }
}

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtp(rtp) => rtp.fmt(f),
            Self::MpegTs(stream) => stream.fmt(f),
            Self::MoldUdp64(mold) => mold.fmt(f),
            Self::Ptp(ptp) => ptp.fmt(f),
            Self::Mdns(dns) => write!(f, "mDNS {dns}"),
            Self::Ssdp(ssdp) => ssdp.fmt(f),
            Self::Amt(message) => message.fmt(f),
            Self::Service(service) => service.fmt(f),
        }
    }
}

/// Writes printable ASCII as is and all other bytes as `\xNN`, up to `max_length` bytes.
struct EscapedText<'a> {
    bytes: &'a [u8],
    max_length: usize,
}

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.bytes.iter().take(self.max_length) {
            match byte {
                b' ' => f.write_str(" ")?,
                b'\\' => f.write_str("\\\\")?,
                byte if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte))?,
                byte => write!(f, "\\x{byte:02x}")?,
            }
        }
        if self.bytes.len() > self.max_length { f.write_str("...") } else { Ok(()) }
    }
}
