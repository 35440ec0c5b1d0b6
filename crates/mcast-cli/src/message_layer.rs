//! The message layer as JSON: its datagrams, and the repairs in the statistics of a publisher.

use std::net::SocketAddr;

pub(crate) use mcast_stream::dissect::{Body, StreamDatagram, opened};
use mcast_stream::dissect::{ParsedDatagram, flow_name, kind_name, reason_name, status_names};
use mcast_stream::publisher::PublisherStatistics;
use mcast_stream::wire::{Announce, Flags, Header, Heartbeat, KeyEpoch, Ncf, Ranges, Reset, Status};
use serde::Serialize;

/// The repairs that a publisher has sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Repairs {
    pub(crate) to_the_group: u64,
    pub(crate) to_one: u64,
    pub(crate) bytes: u64,
    /// The number of NAKs received.
    pub(crate) asked: u64,
    /// Datagrams that were requested and had left the retransmission buffer.
    pub(crate) gone: u64,
}

impl Repairs {
    pub(crate) const fn of(statistics: &PublisherStatistics) -> Self {
        Self {
            to_the_group: statistics.group_repairs,
            to_one: statistics.single_repairs,
            bytes: statistics.repair_bytes,
            asked: statistics.naks,
            gone: statistics.unrecoverable,
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.to_the_group + self.to_one
    }
}

/// A datagram as an object, the field `stream` of `schemas/packet.json`; absent fields are omitted.
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
    body: Option<BodyFields>,
}

/// The fields of a body.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum BodyFields {
    Messages { message: u32, messages: u32 },
    Piece { message: u32, piece: MessagePart },
    Nak { missing: Vec<Range> },
    Confirmation { coming: Vec<Range>, trail: u64 },
    Heartbeat { heartbeat: Beat },
    Status { status: State },
    Announcement { announcement: Announcement },
    Reset { reset: &'static str, to_receiver: String },
    Echo { to_receiver: String },
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
                receiver: whole.subscriber.map(|subscriber| subscriber.to_string()),
                cut_off: whole.body == Body::CutOff,
                body: BodyFields::new(whole),
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

impl BodyFields {
    fn new(datagram: &ParsedDatagram<'_>) -> Option<Self> {
        let header = &datagram.header;
        Some(match &datagram.body {
            Body::Messages(count) => Self::Messages { message: header.message, messages: *count },
            Body::Piece { total } => {
                let (first, last) = (header.flags.has(Flags::BEGIN), header.flags.has(Flags::END));
                let piece = MessagePart { first, last, length: datagram.length, total: *total };
                Self::Piece { message: header.message, piece }
            }
            Body::Heartbeat(heartbeat) => Self::Heartbeat { heartbeat: Beat::new(heartbeat) },
            Body::Nak(nak) => Self::Nak { missing: all_ranges(nak.missing) },
            Body::Status(status) => Self::Status { status: State::new(status) },
            Body::Confirmation(Ncf { oldest_retained, coming, .. }) => {
                Self::Confirmation { coming: all_ranges(*coming), trail: *oldest_retained }
            }
            Body::Announcement(announce) => Self::Announcement { announcement: Announcement::new(announce) },
            Body::Reset(Reset { subscriber, reason }) => {
                Self::Reset { reset: reason_name(*reason), to_receiver: format!("{subscriber:016x}") }
            }
            Body::Echo(echo) => Self::Echo { to_receiver: format!("{:016x}", echo.subscriber) },
            _ => return None,
        })
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
        Self {
            next: status.next,
            highest: status.highest,
            window: status.window,
            missed: status.missed,
            given_up: status.given_up,
            lost_messages: status.lost_messages,
            received: status.received,
            says: status_names(status.flags).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn object(datagram: Option<StreamDatagram<'_>>) -> serde_json::Value {
        serde_json::to_value(Object::new(&datagram.unwrap())).unwrap()
    }

    fn json(hexadecimal: &str) -> serde_json::Value {
        object(StreamDatagram::recognize(&bytes(hexadecimal), None))
    }

    /// The datagrams of docs/protocol.md, section *Golden vectors*.
    #[test]
    fn golden_vectors_as_json() {
        let data =
            json("4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869 0000");
        assert_eq!((&data["kind"], &data["number"]), (&"data".into(), &5.into()));
        assert_eq!((&data["message"], &data["messages"]), (&7.into(), &2.into()));
        assert_eq!((&data["sealed"], &data["broken"]), (&false.into(), &serde_json::Value::Null));
        let piece = json(
            "4d43 10 01 0a 80 0000 0102030405060708 11223344 00000008 0000000000000006 8102 0000 00000bb8 616263",
        );
        let part = serde_json::json!({"first": true, "last": false, "length": 3, "total": 3000});
        assert_eq!(piece["piece"], part);
        let nak = json(
            "4d43 10 04 0b 00 0000 0102030405060708 11223344 00000000 0000000000000003 8903 0000 000000000000aabb
             0000000000000005 0000000000000032 0001 0001 00000000 00000006 00000096 00000064",
        );
        let missing = serde_json::json!([
            {"first": 50, "last": 50}, {"first": 52, "last": 53}, {"first": 200, "last": 299}
        ]);
        assert_eq!(nak["missing"], missing);
        assert_eq!(nak["receiver"], "000000000000aabb");
    }

    #[test]
    fn a_sealed_datagram_shows_its_header() {
        let sealed =
            json("4d43 10 01 08 10 0003 0000000000000001 00000002 00000000 0000000000000009 aaaaaaaa");
        assert_eq!((&sealed["sealed"], &sealed["epoch"]), (&true.into(), &3.into()));
        assert!(sealed.get("messages").is_none(), "{sealed}");
    }

    #[test]
    fn damaged_and_cut_off_datagrams_are_marked() {
        let broken =
            json("4d43 10 01 08 0c 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869");
        assert_eq!(broken["broken"], "the reserved flag is set");
        let start = bytes("4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 00");
        assert_eq!(object(StreamDatagram::recognize_cut_off(&start))["cut_off"], true);
    }
}
