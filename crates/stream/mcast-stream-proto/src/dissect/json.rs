//! A datagram as an object, for JSON.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::{Body, Hexadecimal, ParsedDatagram, StreamDatagram, reason_name, status_names};
use crate::wire::{
    Acknowledgement, Announce, Flags, FlowControl, Header, Heartbeat, KeyEpoch, MessageNumber, Ncf, Ranges,
    Reset, Sequence, Status, SubscriberName,
};

impl Serialize for StreamDatagram<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Object::new(self).serialize(serializer)
    }
}

/// Its schema is that of the object that stands for it.
#[cfg(feature = "schema")]
impl schemars::JsonSchema for StreamDatagram<'_> {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        Object::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Object::json_schema(generator)
    }
}

/// A datagram as an object.
#[derive(Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Object {
    /// Type of the datagram; null if the header is broken
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "data", "parity", "heartbeat", "nak", "status", "confirmation", "probe", "manifest",
            "announcement", "reset", "echo", "history", "history-search"
        ]))
    )]
    kind: Option<&'static str>,
    /// Stream ID, 16 hexadecimal digits; null if the header is broken
    stream: Option<String>,
    /// Publisher's incarnation; null if the header is broken
    incarnation: Option<u32>,
    /// Sequence of a data datagram, from 1; for other types, a counter of the publisher or subscriber that sent it;
    /// null if the header is broken
    number: Option<u64>,
    /// Whether the body is sealed (encrypted and authenticated)
    sealed: bool,
    /// Epoch of the secret that sealed the body; 0 if it is not sealed
    epoch: u16,
    /// Index of the path that the datagram was sent on, from 0
    path: u8,
    /// Whether the datagram is a repair
    repair: bool,
    /// Whether the datagram marks the end of the stream
    end_of_stream: bool,
    /// Why the datagram cannot be decoded; null if it can
    malformed: Option<String>,
    /// Whether the end of the datagram is missing: the capture is truncated, or this is the first of several IP
    /// fragments
    truncated: bool,
    /// ID of the subscriber that sent the datagram
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    /// Name that the subscriber claims
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<SubscriberName>,
    /// ID of the key that signed the datagram, as the datagram claims, 4 hexadecimal digits: signatures are not
    /// verified
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    /// Messages that a status acknowledges
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledgement: Option<AcknowledgementRecord>,
    /// Addresses of subscribers that repair for others, as a heartbeat lists them
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repairers: Vec<SocketAddr>,
    /// TCP port at which the publisher serves the history of its stream, as a heartbeat shows it; 0 if
    /// announcements have the address
    #[serde(skip_serializing_if = "Option::is_none")]
    history_port: Option<u16>,
    #[serde(flatten)]
    body: Option<BodyFields>,
}

/// Messages that a status acknowledges
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct AcknowledgementRecord {
    /// Number of the first message that the status acknowledges
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    since: MessageNumber,
    /// Number of the first message after those that the application was given
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    received: MessageNumber,
    /// Number of the first message after those that the application has processed
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    processed: MessageNumber,
}

/// The fields of a body.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum BodyFields {
    Messages {
        /// Lower 32 bits of the number of the first message in the datagram, or of the message that the fragment is
        /// part of
        message: u32,
        /// Number of whole messages in the datagram
        messages: u32,
    },
    Fragment {
        message: u32,
        /// Fragment of a message
        fragment: MessagePart,
    },
    Nak {
        /// NAK: datagrams that the subscriber requests
        missing: Vec<Range>,
    },
    Confirmation {
        /// Confirmation: datagrams that the publisher is about to repair
        pending_repairs: Vec<Range>,
        /// Sequence of the oldest datagram in the retransmission buffer
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        oldest_retained: Sequence,
    },
    Parity {
        /// Parity: the symbol, and the block of data that it belongs to
        parity: Symbol,
    },
    Manifest {
        /// Manifest: the data that it covers
        manifest: SignedData,
    },
    Heartbeat {
        /// Heartbeat: state of the publisher
        heartbeat: Beat,
    },
    Status {
        /// Status: state of a subscriber
        status: State,
    },
    Announcement {
        /// Announcement of the stream
        announcement: Announcement,
    },
    HistoryServer {
        /// TCP address of the history server that is announced; if it is unspecified (`0.0.0.0` or `::`), it is the
        /// source of the datagram
        history_server: SocketAddr,
    },
    Reset {
        /// Why the publisher refuses a subscriber; `end confirmed` refuses nothing: it confirms the end of the stream
        #[cfg_attr(
            feature = "schema",
            schemars(extend("enum" = [
                "evicted", "no room", "end confirmed", "other"
            ]))
        )]
        reset: &'static str,
        /// ID of the subscriber that the reset or echo is addressed to
        to_subscriber: String,
    },
    Echo {
        to_subscriber: String,
    },
}

/// A parity symbol, and the block of data that it belongs to.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Symbol {
    /// First sequence of the block
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    first: Sequence,
    /// Last sequence of the block
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    last: Sequence,
    /// Index of the symbol
    index: u8,
    /// Whether it is the last symbol that is sent for its block without a request
    is_last: bool,
    /// Epoch of the secret that sealed the datagrams of the block; 0 if they are not sealed
    epoch: u16,
    /// Length of the symbol in bytes
    length: usize,
}

/// The data that a manifest covers.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct SignedData {
    /// First sequence that it covers; the last is the one before its own; null if it covers nothing
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    first: Option<Sequence>,
    /// Digests of these datagrams, in their order
    digests: Vec<String>,
}

/// Fragment of a message
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct MessagePart {
    /// Whether this is the first fragment of the message
    first: bool,
    /// Whether this is the last fragment of the message
    last: bool,
    /// Length of the fragment in bytes
    length: usize,
    /// Length of the whole message in bytes, in the first of several fragments; null otherwise
    total: Option<u32>,
}

/// Range of consecutive sequences
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Range {
    /// First sequence of the range
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    first: Sequence,
    /// Last sequence of the range
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    last: Sequence,
}

/// The state of a publisher.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Beat {
    /// Sequence of the next data datagram
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    next: Sequence,
    /// Number of the next message
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    next_message: MessageNumber,
    /// Sequence of the oldest datagram in the retransmission buffer; equal to `next` if it is empty
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    oldest_retained: Sequence,
    /// Number of the first message that begins in that datagram or after it
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    oldest_retained_message: MessageNumber,
    /// Rate limit in bytes per second; 0 if unlimited
    bytes_per_second: u64,
    /// Round-trip time of the group, in seconds
    round_trip_seconds: f64,
    /// Number of subscribers known to the publisher
    subscribers: u32,
    /// Flow control: `slowest` waits for the slowest known subscriber, `none` waits for no subscriber, `one-way`
    /// receives nothing from subscribers
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["none", "slowest", "one-way", "other"])))]
    flow: &'static str,
    /// Length of the longest datagram of the stream, in bytes
    max_datagram_length: u16,
    /// Number of datagrams in a whole block of parity; 0 if no parity is sent
    parity_block: u8,
    /// Number of parity symbols that are sent for a block without a request
    parity_symbols: u8,
}

/// The state of a subscriber.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct State {
    /// First sequence that the subscriber has neither received nor given up
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    next: Sequence,
    /// Highest sequence known to the subscriber, plus 1
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    highest: Sequence,
    /// Number of datagrams, from `next` on, that the subscriber has room for
    window: u32,
    /// Datagrams found missing when a later one arrived: lower 32 bits of the count
    missed: u32,
    /// Datagrams that the subscriber has given up
    given_up: u64,
    /// Messages that the subscriber has reported as lost to its application
    lost_messages: u64,
    /// Datagrams received so far, excluding duplicates
    received: u64,
    /// Flags of the status
    flags: Vec<&'static str>,
}

/// Announcement of the stream
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Announcement {
    /// Name of the stream
    name: String,
    /// Paths of the stream
    paths: Vec<String>,
    /// TCP address of the snapshot server; null if there is none
    snapshot: Option<SocketAddr>,
    /// Rate limit in bytes per second; 0 if unlimited
    bytes_per_second: u64,
    /// First 8 bytes of a hash of the group's secret, in hexadecimal; null if the stream is not sealed
    key: Option<String>,
    /// Public key of the publisher, as for `subscribe --signed-by`; null if the stream is not signed
    public_key: Option<String>,
}

impl Object {
    fn new(datagram: &StreamDatagram<'_>) -> Self {
        match datagram {
            StreamDatagram::Whole(whole) => Self {
                subscriber: whole.subscriber.map(|subscriber| subscriber.to_string()),
                name: whole.name,
                signer: whole.signer.map(|signer| signer.to_string()),
                acknowledgement: whole.acknowledgement.map(AcknowledgementRecord::from),
                repairers: whole.repairers.iter().map(|repairer| repairer.address).collect(),
                history_port: whole.served_history.map(|history| history.port),
                truncated: whole.body == Body::CutOff,
                body: BodyFields::new(whole),
                ..Self::of_header(&whole.header)
            },
            StreamDatagram::Broken { header, why } => {
                let plain = header.as_ref().map(Self::of_header).unwrap_or_default();
                Self { malformed: Some(why.to_string()), ..plain }
            }
        }
    }

    fn of_header(header: &Header) -> Self {
        Self {
            kind: Some(header.kind.name()),
            stream: Some(header.stream.to_string()),
            incarnation: Some(header.incarnation.0),
            number: Some(header.sequence),
            sealed: header.epoch != KeyEpoch::CLEAR,
            epoch: header.epoch.0,
            path: header.flags.path(),
            repair: header.flags.has(Flags::REPAIR),
            end_of_stream: header.flags.has(Flags::END_OF_STREAM),
            ..Self::default()
        }
    }
}

impl From<Acknowledgement> for AcknowledgementRecord {
    fn from(acknowledgement: Acknowledgement) -> Self {
        let Acknowledgement { since, received, processed, .. } = acknowledgement;
        Self { since, received, processed }
    }
}

impl BodyFields {
    fn new(datagram: &ParsedDatagram<'_>) -> Option<Self> {
        let header = &datagram.header;
        Some(match &datagram.body {
            Body::Messages(count) => Self::Messages { message: header.message, messages: *count },
            Body::Piece { total } => {
                let (first, last) = (header.flags.has(Flags::BEGIN), header.flags.has(Flags::END));
                let fragment = MessagePart { first, last, length: datagram.length, total: *total };
                Self::Fragment { message: header.message, fragment }
            }
            Body::Heartbeat(heartbeat) => Self::Heartbeat { heartbeat: Beat::new(heartbeat) },
            Body::Parity(parity) => {
                let symbol = Symbol {
                    first: parity.base,
                    last: Sequence(parity.end().0 - 1),
                    index: parity.index,
                    is_last: header.flags.has(Flags::END),
                    epoch: parity.epoch.0,
                    length: parity.symbol.len(),
                };
                Self::Parity { parity: symbol }
            }
            Body::Manifest(manifest) => {
                let covered = || manifest.covered(Sequence(header.sequence));
                let first = covered().next().map(|(first, _)| first);
                let digests = covered().map(|(_, digest)| Hexadecimal(&digest.0).to_string()).collect();
                Self::Manifest { manifest: SignedData { first, digests } }
            }
            Body::Nak(nak) => Self::Nak { missing: all_ranges(nak.missing) },
            Body::Status(status) => Self::Status { status: State::new(status) },
            Body::Confirmation(Ncf { oldest_retained, coming, .. }) => {
                Self::Confirmation { pending_repairs: all_ranges(*coming), oldest_retained: *oldest_retained }
            }
            Body::Announcement(announce) => Self::Announcement { announcement: Announcement::new(announce) },
            Body::HistoryServer(server) => Self::HistoryServer { history_server: server.address },
            Body::Reset(Reset { subscriber, reason, .. }) => {
                Self::Reset { reset: reason_name(*reason), to_subscriber: subscriber.to_string() }
            }
            Body::Echo(echo) => Self::Echo { to_subscriber: echo.subscriber.to_string() },
            _ => return None,
        })
    }
}

/// Returns all ranges of a NAK: its list holds at most 140 entries of at most 17 ranges each.
fn all_ranges(ranges: Ranges<'_>) -> Vec<Range> {
    ranges.map(|(first, count)| Range { first, last: first + u64::from(count - 1) }).collect()
}

impl Beat {
    fn new(heartbeat: &Heartbeat) -> Self {
        let Heartbeat { next, next_message, oldest_retained, oldest_message, rate, flow, datagram, .. } =
            *heartbeat;
        Self {
            next,
            next_message,
            oldest_retained,
            oldest_retained_message: oldest_message,
            bytes_per_second: rate,
            round_trip_seconds: f64::from(heartbeat.round_trip) / 1e6,
            subscribers: heartbeat.group_size,
            flow: flow_name(flow),
            max_datagram_length: datagram,
            parity_block: heartbeat.block,
            parity_symbols: heartbeat.parity,
        }
    }
}

impl State {
    fn new(status: &Status) -> Self {
        Self {
            next: status.next,
            highest: status.highest,
            window: status.window,
            missed: status.missed,
            given_up: status.given_up,
            lost_messages: status.lost_messages,
            received: status.received,
            flags: status_names(status.flags).collect(),
        }
    }
}

impl Announcement {
    fn new(announcement: &Announce<'_>) -> Self {
        let paths = announcement.paths.iter().flatten().map(|place| match place.source {
            Some(source) => format!("{source}@{}", place.group),
            None => place.group.to_string(),
        });
        Self {
            name: announcement.name.to_string(),
            paths: paths.collect(),
            snapshot: announcement.snapshot,
            bytes_per_second: announcement.rate,
            key: (announcement.key > 0).then(|| format!("{:016x}", announcement.key)),
            public_key: announcement.public_key.map(|key| format!("ed25519:{}", Hexadecimal(key))),
        }
    }
}

const fn flow_name(flow: FlowControl) -> &'static str {
    match flow {
        FlowControl::None => "none",
        FlowControl::Slowest => "slowest",
        FlowControl::OneWay => "one-way",
        _ => "other",
    }
}
