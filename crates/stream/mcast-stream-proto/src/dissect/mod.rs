//! Datagrams of the stream protocol, as an observer sees them, for captures and monitors.
//!
//! [`wire`](crate::wire) parses the bytes. This module decides which datagrams belong to the protocol and which of them
//! are damaged, and describes them as text.
//!
//! ```
//! use mcast_stream_proto::dissect::{StreamDatagram, opened};
//! use mcast_stream_proto::seal::Keys;
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

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Display, Formatter};
use core::net::SocketAddr;

use mcast_group::SafeText;

use crate::history::{HistoryAnnouncement, HistorySearch};
use crate::seal::Keys;
use crate::wire::{
    Acknowledgement, Announce, AnnouncedPath, DatagramView, ExtensionKind, Flags, HEADER_LENGTH, Header,
    Heartbeat, KeyEpoch, Kind, MAGIC, MAJOR, Manifest, Messages, Nak, Ncf, Parity, Probe, Ranges,
    RepairerList, Reset, ResetReason, Sequence, ServedHistory, SignerId, Status, SubscriberId,
    SubscriberName, TAG_LENGTH, WireError,
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

/// The maximum number of ranges in text; further ones are only counted.
const RANGES: usize = 8;

impl Display for StreamDatagram<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Broken { header: Some(header), why } => {
                write!(f, "mcast stream {}, {}, broken: {why}", header.kind.name(), Origin(header))
            }
            Self::Broken { header: None, why } => write!(f, "mcast stream, broken: {why}"),
        }
    }
}

impl Display for ParsedDatagram<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        write!(f, "mcast stream {}, {}", header.kind.name(), Origin(header))?;
        if header.kind.is_in_sequence() {
            write!(f, ", number {}", header.sequence)?;
        }
        if let Some(subscriber) = self.subscriber {
            write!(f, ", subscriber {subscriber}")?;
        }
        if let Some(name) = self.name {
            write!(f, " ({name})")?;
        }
        match header.flags.has(Flags::REPAIR) {
            true if header.kind.is_in_sequence() => f.write_str(", sent again")?,
            true if header.kind == Kind::Parity => f.write_str(", requested")?,
            _ => {}
        }
        if header.flags.path() > 0 {
            write!(f, ", path {}", header.flags.path() + 1)?;
        }
        if header.epoch != KeyEpoch::CLEAR {
            write!(f, ", sealed with epoch {}", header.epoch)?;
        }
        self.fmt_body(f)?;
        for (at, repairer) in self.repairers.iter().enumerate() {
            write!(f, "{} {}", if at == 0 { ", repairers" } else { "," }, repairer.address)?;
        }
        match self.served_history {
            Some(ServedHistory { port: 0, .. }) => f.write_str(", serves its history")?,
            Some(ServedHistory { port, .. }) => write!(f, ", serves its history at port {port}")?,
            None => {}
        }
        if let Some(signer) = self.signer {
            write!(f, ", signed by key {signer}")?;
        }
        match self.acknowledgement {
            Some(Acknowledgement { since, received, processed, .. }) if received > since => {
                write!(f, ", received messages {since} to {}", received.0 - 1)?;
                if processed > since { write!(f, ", processed to {}", processed.0 - 1) } else { Ok(()) }
            }
            Some(_) => f.write_str(", received no messages"),
            None => Ok(()),
        }
    }
}

impl ParsedDatagram<'_> {
    fn fmt_body(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        match &self.body {
            Body::Messages(1) => write!(f, ", message {}", header.message),
            Body::Messages(count) => {
                let last = header.message.wrapping_add(count - 1);
                write!(f, ", messages {} to {last}", header.message)
            }
            Body::Piece { total } => {
                write!(f, ", {} message {}", fragment_name(header.flags), header.message)?;
                match total {
                    Some(total) => write!(f, ", {} of {total} bytes", self.length),
                    None => write!(f, ", {} bytes", self.length),
                }
            }
            Body::Heartbeat(heartbeat) => fmt_heartbeat(f, heartbeat, header.flags),
            Body::Nak(Nak { missing, .. }) => write!(f, ", missing {}", RangeList(*missing)),
            Body::Status(status) => fmt_status(f, status),
            Body::Parity(parity) => {
                let Parity { base, index, symbol, .. } = parity;
                write!(f, ", symbol {index} of the block of data {base}-{}", parity.end().0 - 1)?;
                write!(f, ", {} bytes", symbol.len())?;
                if header.flags.has(Flags::END) { f.write_str(", the last one") } else { Ok(()) }
            }
            Body::Confirmation(confirmation) => fmt_confirmation(f, confirmation),
            Body::Probe(_) => f.write_str(", proves its address"),
            Body::Echo(echo) => write!(f, ", to subscriber {}", echo.subscriber),
            Body::Announcement(announcement) => fmt_announcement(f, announcement),
            Body::HistorySearch => f.write_str(", searches a history server"),
            Body::HistoryServer(server) => fmt_history_server(f, server.address),
            Body::Reset(reset) => fmt_reset(f, reset),
            Body::Manifest(manifest) => fmt_manifest(f, *manifest, Sequence(header.sequence)),
            Body::Hidden if header.flags.has(Flags::END_OF_STREAM) => f.write_str(", the stream ends"),
            Body::Hidden => write!(f, ", {} bytes", self.length),
            Body::CutOff => f.write_str(", truncated"),
        }
    }
}

/// Returns a description of a datagram's fragment of a message: the whole message, or its first, last or another part.
const fn fragment_name(flags: Flags) -> &'static str {
    match (flags.has(Flags::BEGIN), flags.has(Flags::END)) {
        (true, true) => "whole",
        (true, false) => "first fragment of",
        (false, true) => "last fragment of",
        (false, false) => "fragment of",
    }
}

const fn reason_name(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::Evicted => "evicted",
        ResetReason::Full => "no room",
        ResetReason::EndConfirmed => "end confirmed",
        _ => "other",
    }
}

/// A stream and the incarnation of its publisher.
struct Origin<'a>(&'a Header);

impl Display for Origin<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}, incarnation {}", self.0.stream, self.0.incarnation)
    }
}

/// `50, 52-53, 200-299 (103 datagrams)`.
struct RangeList<'a>(Ranges<'a>);

impl Display for RangeList<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (mut ranges, mut sum) = (0, 0_u64);
        for (first, count) in self.0 {
            sum += u64::from(count);
            ranges += 1;
            match (ranges, count) {
                (1.., _) if ranges > RANGES => continue,
                (1, _) => {}
                _ => f.write_str(", ")?,
            }
            match count {
                1 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{}", first + u64::from(count - 1))?,
            }
        }
        match ranges {
            0 => return f.write_str("nothing"),
            more if more > RANGES => write!(f, " and {} more ranges", more - RANGES)?,
            _ => {}
        }
        if sum > 1 { write!(f, " ({sum} datagrams)") } else { Ok(()) }
    }
}

fn fmt_heartbeat(f: &mut Formatter<'_>, heartbeat: &Heartbeat, flags: Flags) -> fmt::Result {
    let Heartbeat { next, next_message, oldest_retained, group_size, round_trip, .. } = heartbeat;
    write!(f, ", next datagram {next}, next message {next_message}")?;
    if oldest_retained < next {
        write!(f, ", repairable from {oldest_retained}")?;
    }
    write!(f, ", subscribers {group_size}, round trip {round_trip} µs")?;
    if flags.has(Flags::END_OF_STREAM) { f.write_str(", the stream ends") } else { Ok(()) }
}

fn fmt_status(f: &mut Formatter<'_>, status: &Status) -> fmt::Result {
    let Status { next, highest, window, missed, given_up, flags, .. } = status;
    write!(f, ", has all before {next}, knows of all before {highest}, room for {window}")?;
    write!(f, ", missed {missed}")?;
    if *given_up > 0 {
        write!(f, ", gave up {given_up}")?;
    }
    status_names(*flags).try_for_each(|name| write!(f, ", {name}"))
}

fn status_names(flags: u32) -> impl Iterator<Item = &'static str> {
    let names = [
        (Status::JOINING, "joining"),
        (Status::LEAVING, "leaving"),
        (Status::PASSIVE, "passive"),
        (Status::ENDED, "ended"),
        (Status::CATCHING_UP, "catching up"),
        (Status::DELIVERED, "delivered"),
        (Status::REPAIRS, "repairs for others"),
        (Status::READING, "reading a history"),
        (Status::FAILED, "because of an error"),
        (Status::UNKNOWN_LOSS, "unknown loss"),
        (Status::SUPERSEDED, "for another publisher"),
    ];
    names.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| name)
}

fn fmt_confirmation(f: &mut Formatter<'_>, confirmation: &Ncf<'_>) -> fmt::Result {
    let Ncf { oldest_retained, coming, .. } = confirmation;
    write!(f, ", repairable from {oldest_retained}, about to repair {}", RangeList(*coming))
}

fn fmt_manifest(f: &mut Formatter<'_>, manifest: Manifest<'_>, sequence: Sequence) -> fmt::Result {
    let mut covered = manifest.covered(sequence).map(|(covered, _)| covered);
    match (covered.next(), covered.last()) {
        (Some(first), Some(last)) => write!(f, ", covers numbers {first} to {last}"),
        (Some(only), None) => write!(f, ", covers number {only}"),
        (None, _) => f.write_str(", covers nothing"),
    }
}

/// Bytes as hexadecimal digits.
struct Hexadecimal<'a>(&'a [u8]);

impl Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn fmt_announcement(f: &mut Formatter<'_>, announcement: &Announce<'_>) -> fmt::Result {
    let Announce { name, paths, snapshot, rate, key, public_key, .. } = announcement;
    write!(f, ", \"{}\"", SafeText::new(name.as_bytes()))?;
    for (index, AnnouncedPath { group, source, .. }) in paths.iter().flatten().enumerate() {
        f.write_str(if index == 0 { " at " } else { " and " })?;
        if let Some(source) = source {
            write!(f, "{source}@")?;
        }
        write!(f, "{group}")?;
    }
    if let Some(snapshot) = snapshot {
        write!(f, ", snapshots from {snapshot}")?;
    }
    if *rate > 0 {
        write!(f, ", {rate} bytes/s")?;
    }
    if *key > 0 {
        write!(f, ", key {key:016x}")?;
    }
    public_key.map_or(Ok(()), |public| write!(f, ", public key ed25519:{}", Hexadecimal(public)))
}

fn fmt_history_server(f: &mut Formatter<'_>, address: SocketAddr) -> fmt::Result {
    match address.ip().is_unspecified() {
        true => write!(f, ", history from port {} of its source", address.port()),
        false => write!(f, ", history from {address}"),
    }
}

fn fmt_reset(f: &mut Formatter<'_>, reset: &Reset) -> fmt::Result {
    match reset.reason {
        ResetReason::EndConfirmed => {
            write!(f, ", confirms the end of the stream to subscriber {}", reset.subscriber)
        }
        reason => write!(f, ", refuses subscriber {}: {}", reset.subscriber, reason_name(reason)),
    }
}
