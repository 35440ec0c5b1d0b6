//! Datagrams of `mcast publish` and `mcast subscribe`, as an observer sees them.
//!
//! `mcast_stream::wire` parses the bytes. This module decides which datagrams belong to the message layer and which
//! of them are damaged, and shows both as text and as JSON.

mod object;
mod repairs;
mod text;

#[cfg(test)]
mod tests;

use mcast_stream::seal::Keys;
use mcast_stream::wire::{
    Announce, ExtensionKind, Flags, HEADER_LENGTH, Header, Heartbeat, KeyEpoch, Kind, MAGIC, MAJOR, Messages,
    Nak, Ncf, Packet, Probe, Reset, Status, SubscriberId, TAG_LENGTH, WireError,
};

pub(crate) use object::Object;
pub(crate) use repairs::Repairs;

/// A datagram of the message layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StreamDatagram<'a> {
    Whole(Box<Whole<'a>>),
    /// It begins like a message-layer datagram, and cannot be parsed.
    Broken {
        /// The header, if enough bytes are there.
        header: Option<Header>,
        why: WireError,
    },
}

/// A datagram that could be parsed, except for sealed parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Whole<'a> {
    pub(crate) header: Header,
    pub(crate) receiver: Option<SubscriberId>,
    pub(crate) body: Body<'a>,
    /// The length of the body on the wire, without the authentication tag of a sealed datagram.
    pub(crate) length: usize,
}

/// The body of a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Body<'a> {
    /// This many complete messages.
    Messages(u32),
    /// A piece of a message, with the length of the whole message if the piece contains it.
    Piece {
        total: Option<u32>,
    },
    Heartbeat(Heartbeat),
    Nak(Nak<'a>),
    Status(Status),
    Confirmation(Ncf<'a>),
    Probe(Probe),
    Echo(Probe),
    Announcement(Announce<'a>),
    Reset(Reset),
    /// A kind reserved by the protocol.
    Reserved,
    /// Sealed, and none of the keys opens it.
    Hidden,
    /// Not captured completely, or the first of several fragments.
    CutOff,
}

impl<'a> StreamDatagram<'a> {
    /// Recognizes a datagram of the message layer; returns `None` for any other. Two magic bytes are weak evidence, so
    /// the major version, the kind (known to this minor version, or possible in a later one) and the length of the
    /// header must fit as well. A datagram that passes these checks and cannot be parsed is `Broken`.
    ///
    /// `opened` is the result of [`opened`] for a sealed datagram.
    pub(crate) fn recognize(payload: &'a [u8], opened: Option<&'a [u8]>) -> Option<Self> {
        Self::read(payload, |packet| match packet.header.epoch {
            KeyEpoch::CLEAR => Body::read(packet, packet.body),
            _ => match opened.and_then(|bytes| bytes.get(packet.head.len()..)) {
                Some(body) => Body::read(packet, body),
                None => Ok(Body::Hidden),
            },
        })
    }

    /// Recognizes a datagram whose end is missing.
    pub(crate) fn recognize_cut_off(payload: &'a [u8]) -> Option<Self> {
        Self::read(payload, |_| Ok(Body::CutOff))
    }

    fn read(
        payload: &'a [u8],
        body: impl FnOnce(&Packet<'a>) -> Result<Body<'a>, WireError>,
    ) -> Option<Self> {
        if !has_valid_start(payload) {
            return None;
        }
        let whole = Packet::parse(payload).and_then(|packet| {
            let receiver = packet.subscriber();
            let tag = if packet.header.epoch == KeyEpoch::CLEAR { 0 } else { TAG_LENGTH };
            let length = packet.body.len().saturating_sub(tag);
            Ok(Box::new(Whole { header: packet.header, receiver, body: body(&packet)?, length }))
        });
        Some(match whole {
            Ok(whole) => Self::Whole(whole),
            Err(why) => Self::Broken { header: Header::read(payload).ok().map(|(header, _)| header), why },
        })
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        match self {
            Self::Whole(whole) => Some(&whole.header),
            Self::Broken { header, .. } => header.as_ref(),
        }
    }

    /// Returns the sequence of the datagram, if its kind is numbered without gaps.
    pub(crate) fn sequence(&self) -> Option<u64> {
        let header = self.header()?;
        (header.kind == Kind::Data).then_some(header.sequence)
    }
}

impl<'a> Body<'a> {
    fn read(packet: &Packet<'a>, bytes: &'a [u8]) -> Result<Self, WireError> {
        let Packet { header, extensions, .. } = *packet;
        Ok(match header.kind {
            Kind::Data if header.flags.has(Flags::BATCH) => Self::Messages(Messages::read(bytes)?.1),
            Kind::Data => Self::Piece { total: extensions.u32(ExtensionKind::TOTAL_LENGTH) },
            Kind::Heartbeat => Self::Heartbeat(Heartbeat::read(bytes)?),
            Kind::Nak => Self::Nak(Nak::read(bytes)?),
            Kind::Status => Self::Status(Status::read(bytes)?),
            Kind::Ncf => Self::Confirmation(Ncf::read(bytes)?),
            Kind::Probe => Self::Probe(Probe::read(bytes)?),
            Kind::Echo => Self::Echo(Probe::read(bytes)?),
            Kind::Announce => Self::Announcement(Announce::read(bytes)?),
            Kind::Reset => Self::Reset(Reset::read(bytes)?),
            _ => Self::Reserved,
        })
    }
}

/// Returns the header and decrypted body of a sealed datagram, if one of the keys opens it.
pub(crate) fn opened(payload: &[u8], keys: &Keys) -> Option<Vec<u8>> {
    if keys.is_empty() || !has_valid_start(payload) {
        return None;
    }
    let mut bytes = payload.to_vec();
    let end = keys.open(&mut bytes)?;
    bytes.truncate(end);
    Some(bytes)
}

/// Returns whether the payload begins like a datagram of the message layer.
fn has_valid_start(payload: &[u8]) -> bool {
    const LONGEST: usize = 63 * 4;

    let [m, c, version, kind, words, ..] = *payload else { return false };
    let (major, minor) = (version >> 4, version & 0xf);
    let is_kind = Kind::from_number(kind).is_some() || (minor > 0 && kind > 0);
    [m, c] == MAGIC
        && major == MAJOR
        && is_kind
        && (HEADER_LENGTH..=LONGEST).contains(&(usize::from(words) * 4))
}
