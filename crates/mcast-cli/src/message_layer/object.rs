//! A datagram as JSON: the field `stream` of `schemas/packet.json`.

use std::net::SocketAddr;

use mcast_stream::wire::{Announce, Flags, Header, Heartbeat, KeyEpoch, Ncf, Ranges, Reset, Status};
use serde::Serialize;

use super::text::{STATUS_FLAGS, flow_name, kind_name, reason_name};
use super::{Body, StreamDatagram, Whole};

/// A datagram of the message layer as an object; absent fields are omitted.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Object {
    kind: Option<&'static str>,
    stream: Option<String>,
    incarnation: Option<u32>,
    number: Option<u64>,
    sealed: bool,
    epoch: u16,
    path: u8,
    repair: bool,
    end_of_stream: bool,
    broken: Option<String>,
    cut_off: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<String>,
    #[serde(flatten)]
    body: DatagramFields,
}

#[derive(Debug, Default, Serialize)]
struct DatagramFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    piece: Option<MessagePart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<Range>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coming: Option<Vec<Range>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<Beat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announcement: Option<Announcement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_receiver: Option<String>,
}

/// A part of a message.
#[derive(Debug, Serialize)]
struct MessagePart {
    first: bool,
    last: bool,
    length: usize,
    total: Option<u32>,
}

/// Datagrams in a row.
#[derive(Debug, Serialize)]
struct Range {
    first: u64,
    last: u64,
}

#[derive(Debug, Serialize)]
struct Beat {
    next: u64,
    next_message: u64,
    trail: u64,
    trail_message: u64,
    rate: u64,
    round_trip_seconds: f64,
    receivers: u32,
    flow: &'static str,
    datagram: u16,
}

#[derive(Debug, Serialize)]
struct State {
    next: u64,
    highest: u64,
    window: u32,
    missed: u32,
    given_up: u64,
    lost_messages: u64,
    received: u64,
    says: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Announcement {
    name: String,
    paths: Vec<String>,
    snapshot: Option<SocketAddr>,
    rate: u64,
    key: Option<String>,
}

impl Object {
    pub(crate) fn new(datagram: &StreamDatagram<'_>) -> Self {
        match datagram {
            StreamDatagram::Whole(whole) => Self {
                receiver: whole.receiver.map(|receiver| receiver.to_string()),
                cut_off: whole.body == Body::CutOff,
                body: DatagramFields::new(whole),
                ..Self::of_header(&whole.header)
            },
            StreamDatagram::Broken { header, why } => {
                let plain = header.as_ref().map(Self::of_header).unwrap_or_default();
                Self { broken: Some(why.to_string()), ..plain }
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

impl DatagramFields {
    fn new(whole: &Whole<'_>) -> Self {
        let (nothing, header) = (Self::default(), &whole.header);
        match &whole.body {
            Body::Messages(count) => {
                Self { message: Some(header.message), messages: Some(*count), ..nothing }
            }
            Body::Piece { total } => {
                let (first, last) = (header.flags.has(Flags::BEGIN), header.flags.has(Flags::END));
                let piece = MessagePart { first, last, length: whole.length, total: *total };
                Self { message: Some(header.message), piece: Some(piece), ..nothing }
            }
            Body::Heartbeat(heartbeat) => Self { heartbeat: Some(Beat::new(heartbeat)), ..nothing },
            Body::Nak(nak) => Self { missing: Some(all_ranges(nak.missing)), ..nothing },
            Body::Status(status) => Self { status: Some(State::new(status)), ..nothing },
            Body::Confirmation(Ncf { oldest_retained, coming, .. }) => {
                Self { trail: Some(*oldest_retained), coming: Some(all_ranges(*coming)), ..nothing }
            }
            Body::Announcement(announcement) => {
                Self { announcement: Some(Announcement::new(announcement)), ..nothing }
            }
            Body::Reset(Reset { subscriber, reason }) => {
                let to_receiver = Some(format!("{subscriber:016x}"));
                Self { reset: Some(reason_name(*reason)), to_receiver, ..nothing }
            }
            Body::Echo(echo) => Self { to_receiver: Some(format!("{:016x}", echo.subscriber)), ..nothing },
            Body::Probe(_) | Body::Reserved | Body::Hidden | Body::CutOff => nothing,
        }
    }
}

/// Returns all ranges of a NAK: its list holds at most 140 entries of at most 17 ranges each.
fn all_ranges(ranges: Ranges<'_>) -> Vec<Range> {
    ranges.map(|(first, count)| Range { first, last: first + u64::from(count) - 1 }).collect()
}

impl Beat {
    fn new(heartbeat: &Heartbeat) -> Self {
        let Heartbeat { next, next_message, oldest_retained, oldest_message, rate, flow, datagram, .. } =
            *heartbeat;
        Self {
            next,
            next_message,
            trail: oldest_retained,
            trail_message: oldest_message,
            rate,
            round_trip_seconds: f64::from(heartbeat.round_trip) / 1e6,
            receivers: heartbeat.group_size,
            flow: flow_name(flow),
            datagram,
        }
    }
}

impl State {
    fn new(status: &Status) -> Self {
        let says = STATUS_FLAGS.iter().filter(|(flag, _)| status.flags & flag != 0);
        Self {
            next: status.next,
            highest: status.highest,
            window: status.window,
            missed: status.missed,
            given_up: status.given_up,
            lost_messages: status.lost_messages,
            received: status.received,
            says: says.map(|(_, name)| *name).collect(),
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
            rate: announcement.rate,
            key: (announcement.key > 0).then(|| format!("{:016x}", announcement.key)),
        }
    }
}
