//! Recognizes payloads: common protocols, and those of mcast.

use std::fmt;

use mcast_measure::wire::{MessageType, SessionHeader};
use mcast_packet::payload::Dns;
use mcast_packet::{Packet, Payload, payload};
use mcast_stream_proto::dissect::StreamDatagram;

use crate::RtpFlows;

/// A payload of a known protocol. Its `Display` is a line of text.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecognizedPayload<'a> {
    /// A common protocol.
    Standard(Payload<'a>),
    /// A message of `mcast perf` or `mcast ping`.
    Probe(SessionHeader),
    /// A datagram of `mcast publish` or `mcast subscribe`.
    Stream(StreamDatagram<'a>),
}

impl<'a> RecognizedPayload<'a> {
    /// Recognizes the payload of a packet; returns `None` for other payloads and for protocols other than UDP. Of
    /// truncated datagrams, only those of the message layer are recognized. `opened` is a decrypted sealed datagram
    /// ([`opened`](mcast_stream_proto::dissect::opened)).
    #[must_use]
    pub fn of(packet: &Packet<'a>, opened: Option<&'a [u8]>) -> Option<Self> {
        let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
        if ip.fragment.is_some() || ip.truncated {
            return StreamDatagram::recognize_cut_off(udp.payload).map(Self::Stream);
        }
        if let Some(header) = SessionHeader::decode(udp.payload) {
            return Some(Self::Probe(header));
        }
        if let Some(datagram) = StreamDatagram::recognize(udp.payload, opened) {
            return Some(Self::Stream(datagram));
        }
        payload::recognize(udp.recognized_port(), ip.destination, udp.payload).map(Self::Standard)
    }

    /// Like [`Self::of`], and recognizes RTP on any port by the packets of its flow before, which `flows` remembers.
    #[must_use]
    pub fn of_flow(packet: &Packet<'a>, opened: Option<&'a [u8]>, flows: &mut RtpFlows) -> Option<Self> {
        let recognized = Self::of(packet, opened);
        recognized.or_else(|| Some(Self::Standard(Payload::Rtp(flows.recognize(packet)?))))
    }

    /// Returns the mDNS message.
    #[must_use]
    pub const fn dns(&self) -> Option<&Dns<'a>> {
        match self {
            Self::Standard(Payload::Mdns(dns)) => Some(dns),
            _ => None,
        }
    }

    /// Returns the datagram of the message layer.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamDatagram<'a>> {
        match self {
            Self::Stream(datagram) => Some(datagram),
            _ => None,
        }
    }

    /// Returns the name of the protocol.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Standard(payload) => payload.name(),
            Self::Probe(header) if is_ping(header) => "mcast ping",
            Self::Probe(header) if is_probe(header) => "mcast doctor",
            Self::Probe(_) => "mcast perf",
            Self::Stream(_) => "mcast stream",
        }
    }

    /// Returns whether the payload is invalid for its protocol.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Stream(StreamDatagram::Broken { .. }))
    }

    /// Returns its number in the stream.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Self::Standard(payload) => payload.sequence().map(|(number, ..)| number),
            Self::Probe(header) => Some(header.sequence),
            Self::Stream(datagram) => datagram.sequence(),
        }
    }
}

impl fmt::Display for RecognizedPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = match self {
            Self::Standard(payload) => return payload.fmt(f),
            Self::Stream(datagram) => return datagram.fmt(f),
            Self::Probe(header) => header,
        };
        let (kind, SessionHeader { session, sequence, .. }) = (kind_name(header.kind), header);
        write!(f, "{} {kind}, session {:016x}", self.name(), session.0)?;
        if !is_ping(header) {
            write!(f, ", stream {}", header.stream)?;
        }
        write!(f, ", number {sequence}")
    }
}

fn is_probe(header: &SessionHeader) -> bool {
    matches!(header.kind, MessageType::Probe | MessageType::Reply) || is_examination(header)
}

fn is_examination(header: &SessionHeader) -> bool {
    matches!(header.kind, MessageType::Examine | MessageType::Examination)
}

/// A path test numbers its cases from stream 1 on.
fn is_ping(header: &SessionHeader) -> bool {
    is_probe(header) && !is_examination(header) && header.stream == 0
}

fn kind_name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Data => "data",
        MessageType::Opening => "opening",
        MessageType::Closing => "closing",
        MessageType::Report => "report",
        MessageType::Call => "call",
        MessageType::Token => "token",
        MessageType::Ping => "ping",
        MessageType::Pong => "pong",
        MessageType::Probe => "probe",
        MessageType::Reply => "answer",
        MessageType::Examine => "request to examine",
        MessageType::Examination => "examination",
    }
}
