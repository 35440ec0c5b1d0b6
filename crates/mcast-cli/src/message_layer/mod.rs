//! Datagrams of `mcast publish` and `mcast subscribe`, as an observer sees them.
//!
//! The bytes themselves are told apart by `mcast_stream::wire`. Here is decided what is one at all, what a
//! damaged one is, and how both are told in words and as JSON.

mod object;
mod repairs;
mod words;

#[cfg(test)]
mod tests;

use mcast_stream::seal::Keys;
use mcast_stream::wire::{
    Announce, ExtensionKind, Flags, HEADER_LENGTH, Header, Heartbeat, KeyEpoch, Kind, MAGIC, MAJOR, Messages,
    Nak, Ncf, Packet, Probe, ReceiverId, Reset, Status, TAG_LENGTH, WireError,
};

pub(crate) use object::Object;
pub(crate) use repairs::Repairs;

/// A datagram of the message layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StreamDatagram<'a> {
    Whole(Box<Whole<'a>>),
    /// It begins as one does, and cannot be understood.
    Broken {
        /// What it begins with, where that much is there.
        header: Option<Header>,
        why: WireError,
    },
}

/// A datagram that is understood, as far as it is not hidden.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Whole<'a> {
    pub(crate) header: Header,
    pub(crate) receiver: Option<ReceiverId>,
    pub(crate) body: Body<'a>,
    /// How long the body is on the wire, without the tag of what is sealed.
    pub(crate) length: usize,
}

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Body<'a> {
    /// This many complete messages.
    Messages(u32),
    /// A piece of a message; how long the whole message is, where the piece tells.
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
    /// Of a kind that room is kept for.
    Reserved,
    /// It is sealed, and no key opens it here.
    Hidden,
    /// Not all of it was captured, or it is the first of several fragments.
    CutOff,
}

impl<'a> StreamDatagram<'a> {
    /// `None` for what is somebody else's. Two bytes say little, so ours is only what also has the major
    /// version, a kind that this minor version knows or a later one may, and a header no shorter or longer
    /// than any. What has all that and cannot be understood is a broken one.
    ///
    /// `opened` is what [`opened`] made of a sealed one.
    pub(crate) fn recognize(payload: &'a [u8], opened: Option<&'a [u8]>) -> Option<Self> {
        Self::read(payload, |packet| match packet.header.epoch {
            KeyEpoch::CLEAR => Body::read(packet, packet.body),
            _ => match opened.and_then(|bytes| bytes.get(packet.head.len()..)) {
                Some(body) => Body::read(packet, body),
                None => Ok(Body::Hidden),
            },
        })
    }

    /// The same of a datagram whose end is missing here.
    pub(crate) fn recognize_cut_off(payload: &'a [u8]) -> Option<Self> {
        Self::read(payload, |_| Ok(Body::CutOff))
    }

    fn read(
        payload: &'a [u8],
        body: impl FnOnce(&Packet<'a>) -> Result<Body<'a>, WireError>,
    ) -> Option<Self> {
        if !begins_as_one(payload) {
            return None;
        }
        let whole = Packet::parse(payload).and_then(|packet| {
            let receiver = packet.receiver();
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

    /// The datagram's number, if it is one of those that are numbered without gaps.
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

/// Head and clear body of a sealed datagram, if one of the keys is its own.
pub(crate) fn opened(payload: &[u8], keys: &Keys) -> Option<Vec<u8>> {
    if keys.is_empty() || !begins_as_one(payload) {
        return None;
    }
    let mut bytes = payload.to_vec();
    let end = keys.open(&mut bytes)?;
    bytes.truncate(end);
    Some(bytes)
}

/// Whether it has what all datagrams of the message layer begin with, whatever follows.
fn begins_as_one(payload: &[u8]) -> bool {
    const LONGEST: usize = 63 * 4;

    let [m, c, version, kind, words, ..] = *payload else { return false };
    let (major, minor) = (version >> 4, version & 0xf);
    let is_kind = Kind::from_number(kind).is_some() || (minor > 0 && kind > 0);
    [m, c] == MAGIC
        && major == MAJOR
        && is_kind
        && (HEADER_LENGTH..=LONGEST).contains(&(usize::from(words) * 4))
}
