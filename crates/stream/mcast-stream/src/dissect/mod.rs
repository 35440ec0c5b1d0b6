//! Datagrams of the stream protocol, as an observer sees them, for captures and monitors.
//!
//! [`wire`](crate::wire) parses the bytes. This module decides which datagrams belong to the protocol and which of them
//! are damaged, and describes them as text.
//!
//! ```
//! use mcast_stream::dissect::{StreamDatagram, opened};
//! use mcast_stream::seal::Keys;
//!
//! fn describe(payload: &[u8], keys: &Keys) -> Option<String> {
//!     let opened = opened(payload, keys);
//!     StreamDatagram::recognize(payload, opened.as_deref()).map(|datagram| datagram.to_string())
//! }
//!
//! assert_eq!(describe(b"another protocol", &Keys::none()), None);
//! ```

#[cfg(feature = "serde")]
mod json;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod text;

use crate::history::{HistoryAnnouncement, HistorySearch};
use crate::seal::Keys;
use crate::wire::{
    Acknowledgement, Announce, DatagramView, ExtensionKind, Flags, HEADER_LENGTH, Header, Heartbeat,
    KeyEpoch, Kind, MAGIC, MAJOR, Manifest, Messages, Nak, Ncf, Parity, Probe, RepairerList, Reset,
    ServedHistory, SignerId, Status, SubscriberId, SubscriberName, TAG_LENGTH, WireError,
};

/// A datagram of the stream protocol. Its `Display` is a line of text, safe for a terminal. With the feature `serde` it
/// is an object in JSON: `schemas/packet.json` of the command describes it as the field `stream`.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamDatagram<'a> {
    /// It could be parsed, except for sealed parts.
    Whole(Box<ParsedDatagram<'a>>),
    /// It begins like a datagram of the protocol, and cannot be parsed.
    Broken {
        /// The header, if enough bytes are there.
        header: Option<Header>,
        /// Why it cannot be parsed.
        why: WireError,
    },
}

/// A datagram that could be parsed, except for sealed parts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParsedDatagram<'a> {
    /// Its header, which is never sealed.
    pub header: Header,
    /// The subscriber that sent it; `None` if its publisher did.
    pub subscriber: Option<SubscriberId>,
    /// The name of the subscriber, if it has one.
    pub name: Option<SubscriberName>,
    /// The key that has signed it, as it claims: signatures are not verified.
    pub signer: Option<SignerId>,
    /// What a status acknowledges.
    pub acknowledgement: Option<Acknowledgement>,
    /// The subscribers that repair for others, as a heartbeat lists them.
    pub repairers: RepairerList,
    /// The history that the publisher serves, as a heartbeat shows it.
    pub served_history: Option<ServedHistory>,
    /// What the datagram says.
    pub body: Body<'a>,
    /// The length of the body on the wire, without the authentication tag of a sealed datagram.
    pub length: usize,
}

/// The body of a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one exists at a time, in the box of its datagram")]
pub enum Body<'a> {
    /// This many complete messages.
    Messages(u32),
    /// A piece of a message, with the length of the whole message if the piece contains it.
    Piece {
        /// The length of the whole message in bytes.
        total: Option<u32>,
    },
    /// The publisher's state.
    Heartbeat(Heartbeat),
    /// Datagrams that a subscriber requests.
    Nak(Nak<'a>),
    /// A subscriber's state.
    Status(Status),
    /// A symbol from which lost data is recovered.
    Parity(Parity<'a>),
    /// Repairs that are about to be sent.
    Confirmation(Ncf<'a>),
    /// A subscriber's proof of its address.
    Probe(Probe),
    /// The reply to a probe.
    Echo(Probe),
    /// The name and the paths of a stream.
    Announcement(Announce<'a>),
    /// The address of a history server.
    HistoryServer(HistoryAnnouncement),
    /// A search for a history server.
    HistorySearch,
    /// The refusal of a subscriber.
    Reset(Reset),
    /// The signed digests of the datagrams before it.
    Manifest(Manifest<'a>),
    /// A kind reserved by the protocol.
    Reserved,
    /// Sealed, and none of the keys opens it.
    Hidden,
    /// Not captured completely, or the first of several fragments.
    CutOff,
}

impl<'a> StreamDatagram<'a> {
    /// Recognizes a datagram of the protocol; returns `None` for any other. Two magic bytes are weak evidence, so
    /// the major version, the kind (known to this minor version, or possible in a later one) and the length of the
    /// header must fit as well. A datagram that passes these checks and cannot be parsed is `Broken`.
    ///
    /// `opened` is the result of [`opened`] for a sealed datagram.
    #[must_use]
    pub fn recognize(payload: &'a [u8], opened: Option<&'a [u8]>) -> Option<Self> {
        Self::read(payload, |view| match view.header.epoch {
            KeyEpoch::CLEAR => Body::read(view, view.body),
            _ => match opened.and_then(|bytes| bytes.get(view.head.len()..)) {
                Some(body) => Body::read(view, body),
                None => Ok(Body::Hidden),
            },
        })
    }

    /// Recognizes a datagram whose end is missing.
    #[must_use]
    pub fn recognize_cut_off(payload: &'a [u8]) -> Option<Self> {
        Self::read(payload, |_| Ok(Body::CutOff))
    }

    fn read(
        payload: &'a [u8],
        body: impl FnOnce(&DatagramView<'a>) -> Result<Body<'a>, WireError>,
    ) -> Option<Self> {
        if !has_valid_start(payload) {
            return None;
        }
        let whole = DatagramView::parse(payload).and_then(|view| {
            let subscriber = view.subscriber();
            let tag = if view.header.epoch == KeyEpoch::CLEAR { 0 } else { TAG_LENGTH };
            let length = view.body.len().saturating_sub(tag);
            Ok(Box::new(ParsedDatagram {
                header: view.header,
                subscriber,
                name: SubscriberName::of(&view),
                signer: view.extensions.find(ExtensionKind::SIGNATURE).map(|found| SignerId(found.small)),
                acknowledgement: Acknowledgement::of(&view),
                repairers: RepairerList::of(&view).unwrap_or_default(),
                served_history: ServedHistory::of(&view),
                body: body(&view)?,
                length,
            }))
        });
        Some(match whole {
            Ok(whole) => Self::Whole(whole),
            Err(why) => Self::Broken { header: Header::read(payload).ok().map(|(header, _)| header), why },
        })
    }

    /// Returns the header, if enough bytes are there.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match self {
            Self::Whole(whole) => Some(&whole.header),
            Self::Broken { header, .. } => header.as_ref(),
        }
    }

    /// Returns the sequence of the datagram, if its kind is numbered without gaps.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        let header = self.header()?;
        header.kind.is_in_sequence().then_some(header.sequence)
    }
}

impl<'a> Body<'a> {
    fn read(view: &DatagramView<'a>, bytes: &'a [u8]) -> Result<Self, WireError> {
        let DatagramView { header, extensions, .. } = *view;
        Ok(match header.kind {
            Kind::Data if header.flags.has(Flags::BATCH) => Self::Messages(Messages::read(bytes)?.1),
            Kind::Data => Self::Piece { total: extensions.u32(ExtensionKind::TOTAL_LENGTH) },
            Kind::Manifest => Self::Manifest(Manifest::read(bytes)?),
            Kind::Heartbeat => Self::Heartbeat(Heartbeat::read(bytes)?),
            Kind::Nak => Self::Nak(Nak::read(bytes)?),
            Kind::Status => Self::Status(Status::read(bytes)?),
            Kind::Parity => Self::Parity(Parity::read(bytes)?),
            Kind::Ncf => Self::Confirmation(Ncf::read(bytes)?),
            Kind::Probe => Self::Probe(Probe::read(bytes)?),
            Kind::Echo => Self::Echo(Probe::read(bytes)?),
            Kind::Announce => Self::Announcement(Announce::read(bytes)?),
            Kind::History => Self::HistoryServer(HistoryAnnouncement::read(bytes)?),
            Kind::HistorySearch => HistorySearch::read(bytes).map(|_| Self::HistorySearch)?,
            Kind::Reset => Self::Reset(Reset::read(bytes)?),
            _ => Self::Reserved,
        })
    }
}

/// Returns the header and decrypted body of a sealed datagram, if one of the keys opens it.
#[must_use]
pub fn opened(payload: &[u8], keys: &Keys) -> Option<Vec<u8>> {
    if keys.is_empty() || !has_valid_start(payload) {
        return None;
    }
    let mut bytes = payload.to_vec();
    let end = keys.open(&mut bytes)?;
    bytes.truncate(end);
    Some(bytes)
}

/// Returns whether the payload begins like a datagram of the protocol.
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
