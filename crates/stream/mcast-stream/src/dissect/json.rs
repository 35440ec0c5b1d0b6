//! A datagram as an object, for JSON.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::{Body, Hexadecimal, ParsedDatagram, StreamDatagram, kind_name, reason_name, status_names};
use crate::wire::{
    Acknowledgement, Announce, Flags, FlowControl, Header, Heartbeat, KeyEpoch, MessageNumber, Ncf, Ranges,
    Reset, Sequence, Status, SubscriberName,
};

impl Serialize for StreamDatagram<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Object::new(self).serialize(serializer)
    }
}

#[derive(Default, Serialize)]
struct Object {
    kind: Option<&'static str>,
    stream: Option<String>,
    incarnation: Option<u32>,
    number: Option<u64>,
    sealed: bool,
    epoch: u16,
    path: u8,
    repair: bool,
    end_of_stream: bool,
    malformed: Option<String>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<SubscriberName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledgement: Option<Acknowledgement>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repairers: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_port: Option<u16>,
    #[serde(flatten)]
    body: Option<BodyFields>,
}

/// The fields of a body.
#[derive(Serialize)]
#[serde(untagged)]
enum BodyFields {
    Messages { message: u32, messages: u32 },
    Fragment { message: u32, fragment: MessagePart },
    Nak { missing: Vec<Range> },
    Confirmation { pending_repairs: Vec<Range>, oldest_retained: Sequence },
    Parity { parity: Symbol },
    Manifest { manifest: SignedData },
    Heartbeat { heartbeat: Beat },
    Status { status: State },
    Announcement { announcement: Announcement },
    HistoryServer { history_server: SocketAddr },
    Reset { reset: &'static str, to_subscriber: String },
    Echo { to_subscriber: String },
}

/// A parity symbol, and the block of data that it belongs to.
#[derive(Serialize)]
struct Symbol {
    first: Sequence,
    last: Sequence,
    index: u8,
    is_last: bool,
    epoch: u16,
    length: usize,
}

/// The data that a manifest covers.
#[derive(Serialize)]
struct SignedData {
    first: Option<Sequence>,
    digests: Vec<String>,
}

/// A part of a message.
#[derive(Serialize)]
struct MessagePart {
    first: bool,
    last: bool,
    length: usize,
    total: Option<u32>,
}

/// Datagrams in a row.
#[derive(Serialize)]
struct Range {
    first: Sequence,
    last: Sequence,
}

#[derive(Serialize)]
struct Beat {
    next: Sequence,
    next_message: MessageNumber,
    oldest_retained: Sequence,
    oldest_retained_message: MessageNumber,
    bytes_per_second: u64,
    round_trip_seconds: f64,
    subscribers: u32,
    flow: &'static str,
    max_datagram_length: u16,
    parity_block: u8,
    parity_symbols: u8,
}

#[derive(Serialize)]
struct State {
    next: Sequence,
    highest: Sequence,
    window: u32,
    missed: u32,
    given_up: u64,
    lost_messages: u64,
    received: u64,
    flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct Announcement {
    name: String,
    paths: Vec<String>,
    snapshot: Option<SocketAddr>,
    bytes_per_second: u64,
    key: Option<String>,
    public_key: Option<String>,
}

impl Object {
    fn new(datagram: &StreamDatagram<'_>) -> Self {
        match datagram {
            StreamDatagram::Whole(whole) => Self {
                subscriber: whole.subscriber.map(|subscriber| subscriber.to_string()),
                name: whole.name,
                signer: whole.signer.map(|signer| signer.to_string()),
                acknowledgement: whole.acknowledgement,
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
            kind: Some(kind_name(header.kind)),
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
            Body::Reset(Reset { subscriber, reason }) => {
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
            name: announcement.name.to_owned(),
            paths: paths.collect(),
            snapshot: announcement.snapshot,
            bytes_per_second: announcement.rate,
            key: (announcement.key > 0).then(|| format!("{:016x}", announcement.key)),
            public_key: announcement.public_key.map(|key| format!("ed25519:{}", Hexadecimal(key))),
        }
    }
}

/// Returns the name of a flow control.
const fn flow_name(flow: FlowControl) -> &'static str {
    match flow {
        FlowControl::None => "none",
        FlowControl::Slowest => "slowest",
        FlowControl::OneWay => "one-way",
        _ => "other",
    }
}
