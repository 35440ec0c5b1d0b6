//! Packets, and the summary of packets.

use std::net::IpAddr;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_capture::{Direction, Frame};
use mcast_json::{PayloadRecord, record, rfc3339};
use mcast_packet::gmp::{self, Address, GmpMessage, RecordKind};
use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsValue};
use mcast_packet::{ChecksumStatus, Ip, Packet, Transport, Udp, protocol};
use mcast_stream::dissect::StreamDatagram;
use serde::Serialize;

use crate::live::RecognizedPayload;
use crate::{PacketFlow, PacketTally, TrafficVolume};

record! {
    /// Creates the record of a packet, from its frame, with the payload that was recognized and the name of the
    /// interface.
    #[must_use]
    pub fn new(
        frame: &Frame<'_>,
        packet: &Packet<'a>,
        carried: Option<&'a RecognizedPayload<'a>>,
        interface: &'a str,
    ) {
        let (ip, udp) = (packet.ip_layer(), packet.udp());
        let hardware = packet.hardware_addresses();
    }

    /// A packet: `schemas/packet.json` of the crate `mcast-cli`.
    pub struct PacketRecord<'a> {
        time: String = rfc3339(frame.time),
        interface: &'a str = interface,
        direction: Option<&'static str> = direction_name(frame.direction),
        summary: String = match carried {
            Some(carried) => packet.summary_with(carried).to_string(),
            None => packet.to_string(),
        },
        /// The length of the UDP payload.
        length: Option<usize> = udp.map(|udp| usize::from(udp.length).saturating_sub(Udp::HEADER_LENGTH)),
        frame_length: usize = frame.original_length,
        captured_length: usize = frame.bytes.len(),
        ethernet_source: Option<String> = hardware.map(|(_, source)| source.to_string()),
        ethernet_destination: Option<String> = hardware.map(|(destination, _)| destination.to_string()),
        vlans: Vec<u16> = packet.vlans().map(|vlan| vlan.id).collect(),
        source: Option<IpAddr> = ip.map(|ip| ip.source),
        source_port: Option<u16> = udp.map(|udp| udp.source_port),
        group: Option<IpAddr> = ip.map(|ip| ip.destination).filter(IpAddr::is_multicast),
        destination: Option<IpAddr> = ip.map(|ip| ip.destination),
        port: Option<u16> = udp.map(|udp| udp.destination_port),
        ttl: Option<u8> = ip.map(|ip| ip.hop_limit),
        dscp: Option<u8> = ip.map(|ip| ip.dscp),
        protocol: Option<String> = ip.map(|ip| protocol_of(ip, packet)),
        checksum: Option<&'static str> = packet.checksum().map(checksum_name),
        fragment: Option<Fragment> = ip.and_then(|ip| ip.fragment).map(Fragment::from),
        malformed: Option<String> = packet.malformed.as_ref().map(ToString::to_string),
        control: Option<Control> = Control::of(packet),
        payload_format: Option<&'static str> = carried.map(RecognizedPayload::name),
        sequence: Option<u64> = carried.and_then(RecognizedPayload::sequence),
        stream: Option<&'a StreamDatagram<'a>> = carried.and_then(RecognizedPayload::stream),
        dns: Option<DnsObject> = carried.and_then(RecognizedPayload::dns).map(DnsObject::new),
        #[serde(flatten)]
        payload: Option<PayloadRecord<'a>> = udp.map(|udp| PayloadRecord::new(udp.payload)),
    }
}

#[derive(Debug, Serialize)]
struct Fragment {
    id: u32,
    offset: usize,
    more: bool,
}

#[derive(Debug, Default, Serialize)]
struct Control {
    message: String,
    version: Option<u8>,
    text: String,
    group: Option<IpAddr>,
    max_response_seconds: Option<f64>,
    interval_seconds: Option<f64>,
    robustness: Option<u8>,
    records: Vec<GroupRecord>,
}

#[derive(Debug, Serialize)]
struct GroupRecord {
    kind: &'static str,
    group: IpAddr,
    sources: Vec<IpAddr>,
}

/// Returns `out` for packets that this machine sent, otherwise `in`; `None` if it is unknown.
const fn direction_name(direction: Direction) -> Option<&'static str> {
    match direction {
        Direction::Unknown => None,
        Direction::Outgoing => Some("out"),
        _ => Some("in"),
    }
}

const fn checksum_name(status: ChecksumStatus) -> &'static str {
    match status {
        ChecksumStatus::Valid => "good",
        ChecksumStatus::Invalid { .. } => "bad",
        ChecksumStatus::Absent => "absent",
        ChecksumStatus::NotComputed => "left to the device",
        ChecksumStatus::NotComputable => "unknown",
    }
}

/// Returns the name of the protocol. MLD is part of ICMPv6 and has no number of its own.
fn protocol_of(ip: &Ip<'_>, packet: &Packet<'_>) -> String {
    match packet.transport {
        Some(Transport::Mld(_)) => "mld".into(),
        _ => protocol_name(ip.protocol),
    }
}

/// Returns the name of a protocol in lowercase, or its number if it has no name here.
fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), str::to_ascii_lowercase)
}

impl From<mcast_packet::Fragment> for Fragment {
    fn from(fragment: mcast_packet::Fragment) -> Self {
        Self { id: fragment.identification, offset: fragment.offset, more: fragment.more }
    }
}

impl Control {
    fn of(packet: &Packet<'_>) -> Option<Self> {
        Some(match &packet.transport {
            Some(Transport::Igmp(control)) => Self::of_message(&control.message),
            Some(Transport::Mld(control)) => Self::of_message(&control.message),
            Some(Transport::Pim(pim)) => Self {
                message: pim.message.title().to_owned(),
                version: Some(2),
                text: pim.message.content().to_string(),
                ..Self::default()
            },
            _ => return None,
        })
    }

    fn of_message<A: Address>(message: &GmpMessage<'_, A>) -> Self {
        let plain = Self {
            message: message.title().to_string(),
            version: Some(message.version()).filter(|version| *version > 0),
            text: message.content().to_string(),
            ..Self::default()
        };
        match message {
            GmpMessage::Query(query) => Self {
                group: query.group.map(Into::into),
                max_response_seconds: Some(query.max_response_time.as_secs_f64()),
                interval_seconds: query.source_query.map(|extension| extension.interval.as_secs_f64()),
                robustness: query.source_query.map(|extension| extension.robustness),
                ..plain
            },
            GmpMessage::V1Report { group } | GmpMessage::Report { group } | GmpMessage::Leave { group } => {
                Self { group: Some((*group).into()), ..plain }
            }
            GmpMessage::V3Report(records) => {
                Self { records: records.iter().map(GroupRecord::new).collect(), ..plain }
            }
            GmpMessage::RouterDiscovery(_) => plain,
        }
    }
}

impl GroupRecord {
    fn new<A: Address>(record: gmp::Record<'_, A>) -> Self {
        Self {
            kind: match record.kind {
                RecordKind::ModeIsInclude => "is include",
                RecordKind::ModeIsExclude => "is exclude",
                RecordKind::ChangeToInclude => "to include",
                RecordKind::ChangeToExclude => "to exclude",
                RecordKind::AllowNewSources => "allow",
                RecordKind::BlockOldSources => "block",
                RecordKind::Unknown(_) => "unknown",
            },
            group: record.group.into(),
            sources: record.sources.iter().map(Into::into).collect(),
        }
    }
}

record! {
    /// Creates the record of the packets counted in this time. `dropped` is the number of packets that this machine
    /// dropped, if it is known; `name` returns the name of an interface.
    #[must_use]
    pub fn new(
        tally: &PacketTally,
        time: Duration,
        dropped: Option<u64>,
        name: impl Fn(InterfaceIndex) -> String,
    ) {
        let (all, counts) = (tally.flows().total(), tally.counts());
        let flows = tally.flows().busiest_first().into_iter();
    }

    /// The summary of packets: `schemas/sniff-summary.json` of the crate `mcast-cli`.
    pub struct PacketSummaryRecord {
        packets: u64 = all.count,
        bytes: u64 = all.bytes,
        seconds: f64 = time.as_secs_f64(),
        dropped: Option<u64> = dropped,
        igmp: u64 = counts.igmp,
        mld: u64 = counts.mld,
        pim: u64 = counts.pim,
        bad_checksums: u64 = counts.bad_checksums,
        malformed: u64 = counts.malformed,
        broadcast: u64 = counts.broadcast,
        link_multicast: u64 = counts.link_multicast,
        flows: Vec<FlowSummary> =
            flows.map(|(flow, volume)| FlowSummary::new(&flow, volume, name(flow.interface))).collect(),
        other_packets: u64 = tally.flows().others().count,
    }
}

record! {
    fn new(flow: &PacketFlow, volume: TrafficVolume, interface: String) {}

    struct FlowSummary {
        group: IpAddr = flow.destination,
        port: Option<u16> = flow.port,
        protocol: String = protocol_name(flow.protocol),
        interface: String = interface,
        source: IpAddr = flow.source,
        packets: u64 = volume.count,
        bytes: u64 = volume.bytes,
    }
}

record! {
    pub(super) fn new(dns: &Dns<'_>) {
        let of = |wanted| {
            let records = dns.records().filter(move |(section, _)| *section == wanted);
            records.map(|(_, record)| Record::from(record)).collect()
        };
    }

    /// Questions and records by section.
    pub(super) struct DnsObject {
        response: bool = dns.is_response,
        questions: Vec<Question> = dns.questions().map(Question::from).collect(),
        answers: Vec<Record> = of(DnsSection::Answer),
        authorities: Vec<Record> = of(DnsSection::Authority),
        additional: Vec<Record> = of(DnsSection::Additional),
    }
}

#[derive(Debug, Serialize)]
struct Question {
    name: String,
    r#type: String,
    unicast_response: bool,
}

/// A record, with the fields of its type.
#[derive(Debug, Serialize)]
struct Record {
    name: String,
    r#type: String,
    ttl_seconds: u32,
    cache_flush: bool,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Address { address: IpAddr },
    Name { target: String },
    Service { target: String, port: u16 },
    Texts { texts: Vec<String> },
    Other { base64: String },
}

impl From<DnsQuestion<'_>> for Question {
    fn from(question: DnsQuestion<'_>) -> Self {
        let DnsQuestion { name, kind, unicast_response, .. } = question;
        Self { name: name.to_string(), r#type: DnsKind(kind).to_string(), unicast_response }
    }
}

impl From<DnsRecord<'_>> for Record {
    fn from(record: DnsRecord<'_>) -> Self {
        Self {
            name: record.name.to_string(),
            r#type: DnsKind(record.kind).to_string(),
            ttl_seconds: record.time_to_live,
            cache_flush: record.cache_flush,
            value: match record.value() {
                DnsValue::Address(address) => Value::Address { address },
                DnsValue::Name(name) => Value::Name { target: name.to_string() },
                DnsValue::Service { target, port } => Value::Service { target: target.to_string(), port },
                DnsValue::Texts(texts) => Value::Texts {
                    texts: texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
                },
                DnsValue::Other(bytes) => Value::Other { base64: mcast_json::base64(bytes) },
                _ => Value::Other { base64: String::new() },
            },
        }
    }
}
