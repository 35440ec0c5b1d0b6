//! What a datagram carries: what is known of the field's protocols, and our own.

use std::fmt;

use mcast_packet::{Packet, Payload, payload};
use mcast_probe::wire::{Header, Kind};

/// What a datagram carries, as far as it is recognized.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried<'a> {
    Known(Payload<'a>),
    /// A message of `mcast perf` or `mcast ping`.
    Probe(Header),
}

impl<'a> Carried<'a> {
    /// `None` for what is not UDP, not whole, or not recognized.
    pub(super) fn by(packet: &Packet<'a>) -> Option<Self> {
        let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
        if ip.fragment.is_some() || ip.truncated {
            return None;
        }
        match Header::decode(udp.payload) {
            Some(header) => Some(Self::Probe(header)),
            None => payload::recognize(udp.destination_port, ip.destination, udp.payload).map(Self::Known),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Known(payload) => payload.name(),
            Self::Probe(header) if is_ping(header) => "mcast ping",
            Self::Probe(header) if matches!(header.kind, Kind::PathProbe | Kind::PathAnswer) => {
                "mcast doctor"
            }
            Self::Probe(_) => "mcast perf",
        }
    }

    /// The number that it has in its stream.
    pub(super) fn sequence(&self) -> Option<u64> {
        match self {
            Self::Known(payload) => payload.sequence().map(|(number, ..)| number),
            Self::Probe(header) => Some(header.sequence),
        }
    }
}

impl fmt::Display for Carried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = match self {
            Self::Known(payload) => return payload.fmt(f),
            Self::Probe(header) => header,
        };
        let (kind, Header { session, sequence, .. }) = (kind_name(header.kind), header);
        write!(f, "{} {kind}, session {:016x}", self.name(), session.0)?;
        if !is_ping(header) {
            write!(f, ", stream {}", header.stream)?;
        }
        write!(f, ", number {sequence}")
    }
}

fn is_ping(header: &Header) -> bool {
    matches!(header.kind, Kind::Probe | Kind::Answer)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Data => "data",
        Kind::Opening => "opening",
        Kind::Closing => "closing",
        Kind::Report => "report",
        Kind::Call => "call",
        Kind::Token => "token",
        Kind::Ping => "ping",
        Kind::Pong => "pong",
        Kind::Probe => "probe",
        Kind::Answer => "answer",
        Kind::PathProbe => "probe",
        Kind::PathAnswer => "answer",
    }
}
