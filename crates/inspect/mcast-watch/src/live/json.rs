//! Packets and the table as JSON.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_capture::{Direction, Frame};
use mcast_json::{PayloadRecord, record, rfc3339, write_record};
use mcast_packet::gmp::{self, Address, GmpMessage, RecordKind};
use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsValue};
use mcast_packet::{ChecksumStatus, Ip, Packet, Transport, Udp, protocol};
use mcast_stream::dissect::StreamDatagram;
use mcast_stream::wire::StreamId;
use serde::Serialize;

use super::{LocalMember, MonitorReport, RecognizedPayload};
use crate::{
    AnnouncementContent, GroupMember, JitterBasis, ObservedQuerier, PacketFlow, PacketTally, PimNeighbor,
    Protocol, RouterAdvertisement, Row, StreamAnnouncement, Time, TrafficVolume,
};

impl MonitorReport {
    /// Writes an object for each of these streams, and for each querier, router, member and announced stream, then a
    /// summary: the records of `mcast top --json` (`schemas/top-*.json` of the crate `mcast-cli`). `now` is the time of
    /// the records, except for a file. Needs the feature `json`.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_json(&self, out: &mut impl Write, rows: &[&Row], now: SystemTime) -> io::Result<()> {
        let report = &self.watch;
        let time = if self.is_file { time_of(report.time) } else { now };
        let time = &rfc3339(time);
        for row in rows {
            write_record(out, "stream", &Timed { time, fields: StreamRecord::new(row, self) })?;
        }
        for querier in &report.queriers {
            write_record(out, "querier", &Timed { time, fields: QuerierRecord::new(querier, self) })?;
        }
        let neighbors = report.pim_neighbors.iter().map(|each| RouterRecord::pim(each, self));
        let routers = report.routers.iter().map(|each| RouterRecord::advertised(each, self));
        for fields in neighbors.chain(routers) {
            write_record(out, "router", &Timed { time, fields })?;
        }
        for member in &report.members {
            write_record(out, "member", &Timed { time, fields: MemberRecord::new(member, self) })?;
        }
        for announced in &report.announced {
            write_record(
                out,
                "announced",
                &Timed { time, fields: AnnouncementRecord::new(announced, self) },
            )?;
        }
        write_record(out, "summary", &Timed { time, fields: SummaryRecord::new(self) })
    }
}

fn time_of(time: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(time.as_nanos())
}

/// A record with its time.
#[derive(Serialize)]
struct Timed<'a, T> {
    time: &'a str,
    #[serde(flatten)]
    fields: T,
}

record! {
    fn new(row: &'a Row, picture: &'a MonitorReport) {
        let (key, rate, numbers) = (&row.key, picture.rate(row), row.numbers.as_ref());
    }

    struct StreamRecord<'a> {
        group: IpAddr = key.group.addr(),
        name: Option<&'static str> = key.group.name_at(key.port),
        port: u16 = key.port,
        source: IpAddr = key.source,
        source_port: u16 = key.source_port,
        interface: String = picture.interface(key.interface),
        vlan: Option<u16> = key.vlan,
        datagrams_per_second: f64 = rate.datagrams_per_second,
        bits_per_second: f64 = rate.bits_per_second,
        datagrams: u64 = row.datagrams,
        bytes: u64 = row.bytes,
        ttl: u8 = row.hop_limit,
        ttl_min: u8 = row.hop_limits.0,
        ttl_max: u8 = row.hop_limits.1,
        payload_format: Option<String> = row.format.map(|format| format.to_string()),
        /// This and the following counts are from sequence numbers; all are `null` for streams without them.
        unit: Option<String> = numbers.map(|numbers| numbers.unit.to_string()),
        received: Option<u64> = numbers.map(|numbers| numbers.received),
        lost: Option<u64> = numbers.map(|numbers| numbers.missing),
        lost_in_interval: Option<u64> = numbers.map(|_| row.lost_now),
        duplicated: Option<u64> = numbers.map(|numbers| numbers.duplicates),
        reordered: Option<u64> = numbers.and_then(|numbers| numbers.reordered),
        repairs: Option<u64> = numbers.and_then(|numbers| numbers.repairs),
        restarts: Option<u64> = numbers.map(|numbers| numbers.restarts),
        stream: Option<String> = row.identity.map(|identity| StreamId(identity.stream).to_string()),
        incarnation: Option<u32> = row.identity.map(|identity| identity.incarnation),
        sealed: Option<bool> = row.identity.map(|identity| identity.sealed),
        announced: Option<&'a str> = picture.watch.announced_name(row),
        continuity_errors: Option<u64> = row.continuity_errors,
        jitter_us: Option<f64> = row.jitter.map(|jitter| jitter.jitter.as_secs_f64() * 1e6),
        jitter_basis: Option<&'static str> = row.jitter.map(|jitter| match jitter.basis {
            JitterBasis::Transit => "transit",
            JitterBasis::Gap => "intervals",
        }),
        bad_checksums: u64 = row.bad_checksums,
        fragmented: u64 = row.fragmented,
        this_machine: bool = row.outgoing,
        seconds: f64 = row.age.as_secs_f64(),
        quiet_seconds: f64 = row.quiet.as_secs_f64(),
        processes: Vec<ProcessRecord<'a>> =
            picture.local_members(row).iter().map(ProcessRecord::new).collect(),
        members: Vec<IpAddr> = picture.watch.members_of(&row.key).map(|member| member.host).collect(),
    }
}

/// A process on this machine that has joined.
#[derive(Serialize)]
struct ProcessRecord<'a> {
    pid: Option<u32>,
    process: &'a str,
    port: Option<u16>,
}

impl<'a> ProcessRecord<'a> {
    fn new(local: &'a LocalMember) -> Self {
        match &local.process {
            Some((pid, process)) => Self { pid: Some(*pid), process, port: local.port },
            None => Self { pid: None, process: &local.name, port: local.port },
        }
    }
}

record! {
    fn new(querier: &ObservedQuerier, picture: &MonitorReport) {}

    struct QuerierRecord {
        protocol: &'static str = match querier.protocol {
            Protocol::Igmp => "igmp",
            Protocol::Mld => "mld",
        },
        version: u8 = querier.version,
        address: IpAddr = querier.address,
        interface: String = picture.interface(querier.interface),
        vlan: Option<u16> = querier.vlan,
        elected: bool = querier.elected,
        interval_seconds: Option<f64> = querier.interval.map(|interval| interval.as_secs_f64()),
        max_response_seconds: f64 = querier.max_response_time.as_secs_f64(),
        queries: u64 = querier.queries,
        quiet_seconds: f64 = querier.quiet.as_secs_f64(),
        expires_seconds: f64 = querier.expires.as_secs_f64(),
        this_machine: bool = querier.is_this_machine,
    }
}

#[derive(Serialize)]
struct RouterRecord {
    protocol: &'static str,
    address: IpAddr,
    interface: String,
    vlan: Option<u16>,
    interval_seconds: Option<f64>,
    hold_seconds: Option<f64>,
    dr_priority: Option<u32>,
    generation_id: Option<u32>,
    quiet_seconds: f64,
    this_machine: bool,
}

impl RouterRecord {
    fn pim(neighbor: &PimNeighbor, picture: &MonitorReport) -> Self {
        Self {
            protocol: "pim",
            address: neighbor.address,
            interface: picture.interface(neighbor.interface),
            vlan: neighbor.vlan,
            interval_seconds: None,
            hold_seconds: neighbor.hold_time.map(|time| time.as_secs_f64()),
            dr_priority: neighbor.dr_priority,
            generation_id: neighbor.generation_id,
            quiet_seconds: neighbor.quiet.as_secs_f64(),
            this_machine: neighbor.is_this_machine,
        }
    }

    fn advertised(router: &RouterAdvertisement, picture: &MonitorReport) -> Self {
        Self {
            protocol: "mrd",
            address: router.address,
            interface: picture.interface(router.interface),
            vlan: router.vlan,
            interval_seconds: Some(router.interval.as_secs_f64()),
            hold_seconds: None,
            dr_priority: None,
            generation_id: None,
            quiet_seconds: router.quiet.as_secs_f64(),
            this_machine: router.is_this_machine,
        }
    }
}

record! {
    fn new(member: &GroupMember, picture: &MonitorReport) {}

    struct MemberRecord {
        group: IpAddr = member.group.addr(),
        name: Option<&'static str> = member.group.usual_name(),
        host: IpAddr = member.host,
        interface: String = picture.interface(member.interface),
        vlan: Option<u16> = member.vlan,
        version: u8 = member.version,
        mode: &'static str = match member.filter {
            mcast::SourceFilter::Include(_) => "include",
            mcast::SourceFilter::Exclude(_) => "exclude",
        },
        sources: Vec<IpAddr> = member.filter.sources().collect(),
        more_sources: bool = member.more_sources,
        quiet_seconds: f64 = member.quiet.as_secs_f64(),
        this_machine: bool = member.is_this_machine,
    }
}

record! {
    fn new(announced: &'a StreamAnnouncement, picture: &MonitorReport) {
        let content = announced.content.as_ref();
    }

    /// An announced stream.
    struct AnnouncementRecord<'a> {
        name: Option<&'a str> = announced.name(),
        stream: String = StreamId(announced.identity.stream).to_string(),
        incarnation: u32 = announced.identity.incarnation,
        paths: Vec<String> = content.map(AnnouncementContent::memberships).unwrap_or_default(),
        source: IpAddr = announced.source.ip(),
        source_port: u16 = announced.source.port(),
        interface: String = picture.interface(announced.interface),
        sealed: bool = announced.identity.sealed,
        snapshot: Option<SocketAddr> = content.and_then(|content| content.snapshot),
        bytes_per_second: Option<u64> = content.and_then(|content| content.rate),
        quiet_seconds: f64 = picture.watch.time.since(announced.time).as_secs_f64(),
    }
}

record! {
    fn new(picture: &MonitorReport) {
        let totals = picture.watch.totals;
    }

    struct SummaryRecord {
        seconds: f64 = picture.watch.watched.as_secs_f64(),
        streams: usize = picture.watch.streams.len(),
        datagrams: u64 = totals.datagrams,
        bytes: u64 = totals.bytes,
        control: u64 = totals.control,
        other: u64 = totals.other,
        malformed: u64 = totals.malformed,
        streams_evicted: u64 = totals.streams_evicted,
        members_evicted: u64 = totals.members_evicted,
        not_captured: Option<u64> = picture.lost,
    }
}

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
    fn new(dns: &Dns<'_>) {
        let of = |wanted| {
            let records = dns.records().filter(move |(section, _)| *section == wanted);
            records.map(|(_, record)| Record::from(record)).collect()
        };
    }

    /// Questions and records by section.
    struct DnsObject {
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
