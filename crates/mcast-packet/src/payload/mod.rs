//! What multicast datagrams often carry: RTP, MPEG transport streams, MoldUDP64, PTP, mDNS, SSDP.
//!
//! [`recognize`] says what a payload is, and rather nothing than something wrong. What one already
//! knows to be of a kind is read by that kind's own `parse`.

use core::fmt;
use core::net::IpAddr;

mod dns;
mod mold_udp64;
mod mpeg_ts;
mod ptp;
mod rtp;
mod ssdp;
mod text;

pub use dns::{Dns, DnsQuestion, DnsQuestions, DnsRecord, DnsRecords, Name};
pub use mold_udp64::{MoldMessages, MoldUdp64};
pub use mpeg_ts::{Cell, Cells, ContinuityCounts, ContinuityTracker, MpegTs, PidCounts};
pub use ptp::{Ptp, PtpKind};
pub use rtp::Rtp;
pub use ssdp::{Ssdp, SsdpHeaders, SsdpKind};

/// What a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// RTP (RFC 3550).
    Rtp(Rtp<'a>),
    /// An MPEG transport stream, without RTP around it.
    MpegTs(MpegTs<'a>),
    /// MoldUDP64, which carries market data.
    MoldUdp64(MoldUdp64<'a>),
    /// PTP version 2 (IEEE 1588).
    Ptp(Ptp),
    /// mDNS (RFC 6762).
    Mdns(Dns<'a>),
    /// SSDP, the discovery of UPnP.
    Ssdp(Ssdp<'a>),
}

/// Says what a datagram carries that was sent to this port of this group, or of a host. `None` when it
/// is something else, or when other payloads look alike.
///
/// PTP, mDNS and SSDP are looked for on their own ports. A transport stream and MoldUDP64 are known by
/// their form, down to the last byte. RTP has little form: it is told only by a transport stream inside
/// it, or where everything points to it, the even port too.
#[must_use]
pub fn recognize(port: u16, group: IpAddr, payload: &[u8]) -> Option<Payload<'_>> {
    match port {
        Ptp::EVENT_PORT | Ptp::GENERAL_PORT => return Ptp::parse(payload).map(Payload::Ptp),
        Dns::MDNS_PORT if Dns::is_mdns_group(group) => return Dns::parse(payload).map(Payload::Mdns),
        Ssdp::PORT => return Ssdp::parse(payload).map(Payload::Ssdp),
        _ => {}
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
    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rtp(_) => "RTP",
            Self::MpegTs(_) => "MPEG-TS",
            Self::MoldUdp64(_) => "MoldUDP64",
            Self::Ptp(_) => "PTP",
            Self::Mdns(_) => "mDNS",
            Self::Ssdp(_) => "SSDP",
        }
    }

    /// The sequence number, how many numbers in a row the datagram stands for, and the bits that the
    /// number has: what a [`crate::sequence::SequenceTracker`] takes. `None` for payloads that do not
    /// number their datagrams, or, like PTP, each sender and kind of message for itself.
    #[must_use]
    pub const fn sequence(&self) -> Option<(u64, u64, u32)> {
        match self {
            Self::Rtp(rtp) => Some((rtp.sequence as u64, 1, 16)),
            Self::MoldUdp64(mold) => Some((mold.sequence, mold.messages.len() as u64, 64)),
            Self::MpegTs(_) | Self::Ptp(_) | Self::Mdns(_) | Self::Ssdp(_) => None,
        }
    }

    /// The transport stream, by itself or inside RTP.
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
        }
    }
}
