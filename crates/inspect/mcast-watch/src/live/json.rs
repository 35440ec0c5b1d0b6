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
    /// Returns the schemas of what [`write_json`](Self::write_json) writes. Needs the feature `schema`.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schemas() -> Vec<mcast_json::RecordSchema> {
        use mcast_json::RecordSchema;

        vec![
            RecordSchema::new::<Timed<'_, StreamRecord<'_>>>("top-stream", "Stream (`mcast top --json`)")
                .event("stream")
                .describe("members[]", "Source address of the report"),
            RecordSchema::new::<Timed<'_, QuerierRecord>>("top-querier", "Querier (`mcast top --json`)")
                .event("querier"),
            RecordSchema::new::<Timed<'_, RouterRecord>>(
                "top-router",
                "Multicast router (`mcast top --json`)",
            )
            .event("router"),
            RecordSchema::new::<Timed<'_, MemberRecord>>("top-member", "Group member (`mcast top --json`)")
                .event("member")
                .describe("sources[]", "Source address"),
            RecordSchema::new::<Timed<'_, AnnouncementRecord<'_>>>(
                "top-announced",
                "Announced stream (`mcast top --json`)",
            )
            .event("announced")
            .describe("paths[]", "`GROUP:PORT`, or `SOURCE@GROUP:PORT` if a source is announced"),
            RecordSchema::new::<Timed<'_, SummaryRecord>>(
                "top-summary",
                "Interval summary (`mcast top --json`)",
            )
            .event("summary"),
        ]
    }

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

// A record with its time. Its schema has the description of the record.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Timed<'a, T> {
    /// End of the interval (RFC 3339, UTC, with nanoseconds); for a file, the time of its last frame
    time: &'a str,
    #[serde(flatten)]
    fields: T,
}

record! {
    fn new(row: &'a Row, picture: &'a MonitorReport) {
        let (key, rate, numbers) = (&row.key, picture.rate(row), row.numbers.as_ref());
    }

    /// One object per interval for each stream: the datagrams of one sender to one group and port on one interface.
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct StreamRecord<'a> {
        /// Destination group
        group: IpAddr = key.group.addr(),
        /// Short name of the group, otherwise its name in the registry; null if it has none
        name: Option<&'static str> = key.group.name_at(key.port),
        /// UDP destination port
        port: u16 = key.port,
        /// Source address
        source: IpAddr = key.source,
        /// UDP source port
        source_port: u16 = key.source_port,
        /// Name of the interface, or its index if it has no name
        interface: String = picture.interface(key.interface),
        /// VLAN ID of the frames; null if they are not tagged
        vlan: Option<u16> = key.vlan,
        /// Datagrams per second in the interval; for a file, over its whole duration
        datagrams_per_second: f64 = rate.datagrams_per_second,
        /// Payload bits per second, over the same time
        bits_per_second: f64 = rate.bits_per_second,
        /// Total number of datagrams
        datagrams: u64 = row.datagrams,
        /// Payload bytes
        bytes: u64 = row.bytes,
        /// Hop limit (IPv4: TTL) of the latest datagram
        ttl: u8 = row.hop_limit,
        /// Lowest hop limit (IPv4: TTL) so far
        ttl_min: u8 = row.hop_limits.0,
        /// Highest hop limit (IPv4: TTL) so far
        ttl_max: u8 = row.hop_limits.1,
        /// Payload format: RTP, RTP MPEG-TS, MPEG-TS, MoldUDP64, mcast (perf or ping), numbered (`--seq`), PTP,
        /// mDNS or SSDP; null if unknown
        payload_format: Option<String> = row.format.map(|format| format.to_string()),
        /// Unit of the sequence numbers: datagrams, messages or packets (of an MPEG transport stream); null, like
        /// the fields up to `restarts`, if there are none
        unit: Option<String> = numbers.map(|numbers| numbers.unit.to_string()),
        /// Number received according to sequence numbers, including duplicates
        received: Option<u64> = numbers.map(|numbers| numbers.received),
        /// Number missing, excluding those that arrived late. For an mcast stream, this is the loss in the group:
        /// repairs to a single subscriber are sent to its address and are not seen.
        lost: Option<u64> = numbers.map(|numbers| numbers.missing),
        /// Number newly found missing in the interval
        lost_in_interval: Option<u64> = numbers.map(|_| row.lost_now),
        /// Duplicates received
        duplicated: Option<u64> = numbers.map(|numbers| numbers.duplicates),
        /// Number received after a higher one; null if the range of sequence numbers is too small to determine it
        reordered: Option<u64> = numbers.and_then(|numbers| numbers.reordered),
        /// Number marked as repairs, counted neither as duplicates nor as reordered; null unless `mcast publish`
        /// sends the stream
        repairs: Option<u64> = numbers.and_then(|numbers| numbers.repairs),
        /// Number of times that the sender has restarted
        restarts: Option<u64> = numbers.map(|numbers| numbers.restarts),
        /// Stream ID, 16 hexadecimal digits; null unless `mcast publish` sends the stream
        stream: Option<String> = row.identity.map(|identity| StreamId(identity.stream).to_string()),
        /// Publisher's incarnation; null unless `mcast publish` sends the stream
        incarnation: Option<u32> = row.identity.map(|identity| identity.incarnation),
        /// Whether the stream is sealed; null unless `mcast publish` sends it
        sealed: Option<bool> = row.identity.map(|identity| identity.sealed),
        /// Name under which the stream is announced; null if none is known
        announced: Option<&'a str> = picture.watch.announced_name(row),
        /// Discontinuities in the continuity counters of a transport stream; null for other payloads
        continuity_errors: Option<u64> = row.continuity_errors,
        /// Interarrival jitter, in microseconds; null before the third datagram
        jitter_us: Option<f64> = row.jitter.map(|jitter| jitter.jitter.as_secs_f64() * 1e6),
        /// Basis of the jitter: `transit` for transit times (RFC 3550), `intervals` for intervals between datagrams
        /// that carry no send time; null before the third datagram
        jitter_basis: Option<&'static str> = row.jitter.map(|jitter| match jitter.basis {
            JitterBasis::Transit => "transit",
            JitterBasis::Gap => "intervals",
        }),
        /// Datagrams with a wrong checksum, which the system does not deliver
        bad_checksums: u64 = row.bad_checksums,
        /// Datagrams that arrived in fragments
        fragmented: u64 = row.fragmented,
        /// Whether this machine sends the stream
        this_machine: bool = row.outgoing,
        /// Time since the first datagram, in seconds
        seconds: f64 = row.age.as_secs_f64(),
        /// Time since the latest datagram, in seconds
        quiet_seconds: f64 = row.quiet.as_secs_f64(),
        /// Processes on this machine that have joined the group on the interface; empty for a file
        processes: Vec<ProcessRecord<'a>> =
            picture.local_members(row).iter().map(ProcessRecord::new).collect(),
        /// Other hosts that have reported membership on the interface
        members: Vec<IpAddr> = picture.watch.members_of(&row.key).map(|member| member.host).collect(),
    }
}

/// Process, or the kernel
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ProcessRecord<'a> {
    /// Process ID; null if unknown, and for the kernel
    pid: Option<u32>,
    /// Name of the process
    process: &'a str,
    /// UDP port that its socket is bound to; null if there is none
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

    /// One object per interval for each router or switch that sends queries.
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct QuerierRecord {
        /// Protocol
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["igmp", "mld"])))]
        protocol: &'static str = match querier.protocol {
            Protocol::Igmp => "igmp",
            Protocol::Mld => "mld",
        },
        /// Version of the latest query
        version: u8 = querier.version,
        /// Address of the querier; 0.0.0.0 for a switch that sends queries without being a router
        address: IpAddr = querier.address,
        /// Name of the interface, or its index if it has no name
        interface: String = picture.interface(querier.interface),
        /// VLAN ID of the frames; null if they are not tagged
        vlan: Option<u16> = querier.vlan,
        /// Whether the querier wins the election: it has the lowest address, where 0.0.0.0 ranks last
        elected: bool = querier.elected,
        /// Query interval in seconds: as announced, otherwise the time between the latest two general queries; null
        /// if neither is known
        interval_seconds: Option<f64> = querier.interval.map(|interval| interval.as_secs_f64()),
        /// Maximum response time for hosts, in seconds
        max_response_seconds: f64 = querier.max_response_time.as_secs_f64(),
        /// Queries received, general and group-specific
        queries: u64 = querier.queries,
        /// Time since the latest general query, in seconds; since the latest query if there was no general one
        quiet_seconds: f64 = querier.quiet.as_secs_f64(),
        /// Time until other routers consider the querier gone if it stays silent, in seconds
        expires_seconds: f64 = querier.expires.as_secs_f64(),
        /// Whether this machine sends the queries
        this_machine: bool = querier.is_this_machine,
    }
}

/// One object per interval for each router that sends PIM Hello messages or multicast router advertisements (RFC
/// 4286).
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RouterRecord {
    /// Protocol: PIM, or MRD for multicast router discovery
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["pim", "mrd"])))]
    protocol: &'static str,
    /// Address of the router
    address: IpAddr,
    /// Name of the interface, or its index if it has no name
    interface: String,
    /// VLAN ID of the frames; null if they are not tagged
    vlan: Option<u16>,
    /// MRD: advertisement interval, in seconds; null for PIM
    interval_seconds: Option<f64>,
    /// PIM: time for which a Hello message remains valid, in seconds; null if it never expires, and for MRD
    hold_seconds: Option<f64>,
    /// PIM: priority in the election of the designated router; null if it is not announced
    dr_priority: Option<u32>,
    /// PIM: random number chosen by the router when it started; null if it is not announced
    generation_id: Option<u32>,
    /// Time since the latest Hello message or advertisement, in seconds
    quiet_seconds: f64,
    /// Whether this machine sends the messages
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

    /// One object per interval for each group and host that has reported membership.
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct MemberRecord {
        /// Group
        group: IpAddr = member.group.addr(),
        /// Short name of the group, otherwise its name in the registry; null if it has none
        name: Option<&'static str> = member.group.usual_name(),
        /// Address of the host; 0.0.0.0 or `::` for a switch that reports on behalf of others
        host: IpAddr = member.host,
        /// Name of the interface, or its index if it has no name
        interface: String = picture.interface(member.interface),
        /// VLAN ID of the frames; null if they are not tagged
        vlan: Option<u16> = member.vlan,
        /// Version of IGMP or MLD of the latest report
        version: u8 = member.version,
        /// Mode of the source filter: `include` accepts only the sources, `exclude` accepts all others
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["include", "exclude"])))]
        mode: &'static str = match member.filter {
            mcast::SourceFilter::Include(_) => "include",
            mcast::SourceFilter::Exclude(_) => "exclude",
        },
        /// Sources of the filter, according to the reports so far
        sources: Vec<IpAddr> = member.filter.sources().collect(),
        /// Whether the host reported more sources than are listed
        more_sources: bool = member.more_sources,
        /// Time since the latest report, in seconds
        quiet_seconds: f64 = member.quiet.as_secs_f64(),
        /// Whether this machine sent the reports
        this_machine: bool = member.is_this_machine,
    }
}

record! {
    fn new(announced: &'a StreamAnnouncement, picture: &MonitorReport) {
        let content = announced.content.as_ref();
    }

    /// One object per interval for each stream that `mcast publish --announce` announces, on each interface.
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct AnnouncementRecord<'a> {
        /// Name of the stream; null if the announcement is sealed and `--key` does not open it
        name: Option<&'a str> = announced.name(),
        /// Stream ID, 16 hexadecimal digits
        stream: String = StreamId(announced.identity.stream).to_string(),
        /// Publisher's incarnation
        incarnation: u32 = announced.identity.incarnation,
        /// Paths of the stream; empty if the announcement cannot be read
        paths: Vec<String> = content.map(AnnouncementContent::memberships).unwrap_or_default(),
        /// Source address of the announcement
        source: IpAddr = announced.source.ip(),
        /// UDP source port of the announcement
        source_port: u16 = announced.source.port(),
        /// Name of the interface, or its index if it has no name
        interface: String = picture.interface(announced.interface),
        /// Whether the stream is sealed
        sealed: bool = announced.identity.sealed,
        /// TCP address of the snapshot server; null if there is none or the announcement cannot be read
        snapshot: Option<SocketAddr> = content.and_then(|content| content.snapshot),
        /// Rate limit in bytes per second; null if unlimited or the announcement cannot be read
        bytes_per_second: Option<u64> = content.and_then(|content| content.rate),
        /// Time since the latest announcement, in seconds
        quiet_seconds: f64 = picture.watch.time.since(announced.time).as_secs_f64(),
    }
}

record! {
    fn new(picture: &MonitorReport) {
        let totals = picture.watch.totals;
    }

    /// One object after the others of an interval.
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct SummaryRecord {
        /// Time watched, in seconds
        seconds: f64 = picture.watch.watched.as_secs_f64(),
        /// Streams in the table
        streams: usize = picture.watch.streams.len(),
        /// Datagrams to the selected groups
        datagrams: u64 = totals.datagrams,
        /// Payload bytes
        bytes: u64 = totals.bytes,
        /// IGMP, MLD, router discovery and PIM messages
        control: u64 = totals.control,
        /// Other packets to groups: other protocols and later fragments
        other: u64 = totals.other,
        /// Packets that could not be decoded completely
        malformed: u64 = totals.malformed,
        /// Streams evicted because the table was full
        streams_evicted: u64 = totals.streams_evicted,
        /// Members evicted because the table was full
        members_evicted: u64 = totals.members_evicted,
        /// Packets that arrived faster than they could be captured; null if unknown
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
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(
        feature = "schema",
        schemars(description = "One object per packet. For UDP, either `text` or `base64` is present.")
    )]
    pub struct PacketRecord<'a> {
        /// Capture time (RFC 3339, UTC, with nanoseconds), from the kernel or from the file
        time: String = rfc3339(frame.time),
        /// Name of the interface, or `#` and its index if it has no name
        interface: &'a str = interface,
        /// Whether this machine received (`in`) or sent (`out`) the packet; null if a file does not record it
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["in", "out"])))]
        direction: Option<&'static str> = direction_name(frame.direction),
        /// One-line summary of the packet
        summary: String = match carried {
            Some(carried) => packet.summary_with(carried).to_string(),
            None => packet.to_string(),
        },
        /// Length of the UDP payload in bytes; null for other protocols
        length: Option<usize> = udp.map(|udp| usize::from(udp.length).saturating_sub(Udp::HEADER_LENGTH)),
        /// Length of the frame in bytes
        frame_length: usize = frame.original_length,
        /// Number of captured bytes of the frame
        captured_length: usize = frame.bytes.len(),
        /// Ethernet source address; null without an Ethernet header
        ethernet_source: Option<String> = hardware.map(|(_, source)| source.to_string()),
        /// Ethernet destination address; null without an Ethernet header
        ethernet_destination: Option<String> = hardware.map(|(destination, _)| destination.to_string()),
        /// VLAN IDs from the tags, outermost first
        vlans: Vec<u16> = packet.vlans().map(|vlan| vlan.id).collect(),
        /// IP source address; null without an IP header
        source: Option<IpAddr> = ip.map(|ip| ip.source),
        /// UDP source port; null for other protocols and for later fragments
        source_port: Option<u16> = udp.map(|udp| udp.source_port),
        /// Destination group; null if the packet was not sent to a group, as is the case for some PIM messages
        group: Option<IpAddr> = ip.map(|ip| ip.destination).filter(IpAddr::is_multicast),
        /// IP destination address; null without an IP header
        destination: Option<IpAddr> = ip.map(|ip| ip.destination),
        /// UDP destination port; null for other protocols and for later fragments
        port: Option<u16> = udp.map(|udp| udp.destination_port),
        /// Hop limit (IPv4: TTL); null without an IP header
        ttl: Option<u8> = ip.map(|ip| ip.hop_limit),
        /// Differentiated services code point, 0 to 63; null without an IP header
        dscp: Option<u8> = ip.map(|ip| ip.dscp),
        /// Protocol in the IP packet: `udp`, `tcp`, `igmp`, `mld`, `pim`, `icmp`, `icmpv6`, or the number of
        /// another protocol; null without an IP header
        protocol: Option<String> = ip.map(|ip| protocol_of(ip, packet)),
        /// Status of the transport checksum: `left to the device` if it is offloaded and not yet computed,
        /// `unknown` if some of the covered bytes are missing; null for protocols other than UDP, IGMP, MLD and PIM
        #[cfg_attr(
            feature = "schema",
            schemars(extend("enum" = [
                "good", "bad", "absent", "left to the device", "unknown"
            ]))
        )]
        checksum: Option<&'static str> = packet.checksum().map(checksum_name),
        /// Position in a fragmented datagram; null if the datagram is not fragmented
        fragment: Option<Fragment> = ip.and_then(|ip| ip.fragment).map(Fragment::from),
        /// Layer at which decoding failed, and why; null if the packet was decoded completely
        malformed: Option<String> = packet.malformed.as_ref().map(ToString::to_string),
        /// IGMP, MLD or PIM message; null for other packets
        control: Option<Control> = Control::of(packet),
        /// Format of the payload: RTP, MPEG-TS, MoldUDP64, PTP, mDNS, SSDP, the name of another protocol such as
        /// LLMNR or RTPS, mcast stream, mcast perf, mcast ping or mcast doctor; null if it is not recognized
        payload_format: Option<&'static str> = carried.map(RecognizedPayload::name),
        /// Sequence number in the payload; null if there is none
        sequence: Option<u64> = carried.and_then(RecognizedPayload::sequence),
        /// Datagram of `mcast publish` or one of its subscribers (docs/protocol.md); null for other packets.
        /// Without `--key`, only the header of a sealed datagram is shown.
        stream: Option<&'a StreamDatagram<'a>> = carried.and_then(RecognizedPayload::stream),
        /// Multicast DNS (mDNS) message; null for other packets
        dns: Option<DnsObject> = carried.and_then(RecognizedPayload::dns).map(DnsObject::new),
        #[serde(flatten)]
        payload: Option<PayloadRecord<'a>> = udp.map(|udp| PayloadRecord::new(udp.payload)),
    }
}

/// The position in a fragmented datagram.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Fragment {
    /// Identification that all fragments of the datagram share
    id: u32,
    /// Offset of the fragment in the datagram, in bytes
    offset: usize,
    /// Whether more fragments follow
    more: bool,
}

/// An IGMP, MLD or PIM message.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Control {
    /// Protocol, version and type of the message
    message: String,
    /// Protocol version; null for router discovery, which has none
    version: Option<u8>,
    /// Content of the message, as text
    text: String,
    /// Group of a query, report or leave; null for all groups and for messages with records
    group: Option<IpAddr>,
    /// Query: maximum response time, in seconds; null for other messages
    max_response_seconds: Option<f64>,
    /// IGMPv3 or MLDv2 query: query interval that the querier announces, in seconds; null for other messages
    interval_seconds: Option<f64>,
    /// IGMPv3 or MLDv2 query: robustness variable; null for other messages
    robustness: Option<u8>,
    /// IGMPv3 or MLDv2 report: group records; empty for other messages
    records: Vec<GroupRecord>,
}

/// Group record
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GroupRecord {
    /// Record type (RFC 3376, section 4.2.12): a state or a change of state
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "is include", "is exclude", "to include", "to exclude", "allow", "block", "unknown"
        ]))
    )]
    kind: &'static str,
    /// Group
    group: IpAddr,
    /// Sources in the record
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
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(
        feature = "schema",
        schemars(description = "One object at the end.")
    )]
    pub struct PacketSummaryRecord {
        /// Packets captured that match the selection
        packets: u64 = all.count,
        /// Bytes in their frames
        bytes: u64 = all.bytes,
        /// Running time, in seconds; for a file, the time from its first to its last packet
        seconds: f64 = time.as_secs_f64(),
        /// Packets that this machine dropped because the capture buffer was full (lower bound); null if unknown, as
        /// for most files
        dropped: Option<u64> = dropped,
        /// IGMP messages
        igmp: u64 = counts.igmp,
        /// MLD messages
        mld: u64 = counts.mld,
        /// PIM messages
        pim: u64 = counts.pim,
        /// Packets with a wrong checksum
        bad_checksums: u64 = counts.bad_checksums,
        /// Packets that could not be decoded completely
        malformed: u64 = counts.malformed,
        /// Broadcast frames, not included in `packets`
        broadcast: u64 = counts.broadcast,
        /// Frames to Ethernet-only groups, such as spanning tree, not included in `packets`
        link_multicast: u64 = counts.link_multicast,
        /// Packets by destination, port, protocol, interface and source, busiest first
        flows: Vec<FlowSummary> =
            flows.map(|(flow, volume)| FlowSummary::new(&flow, volume, name(flow.interface))).collect(),
        /// Packets of flows that are not listed
        other_packets: u64 = tally.flows().others().count,
    }
}

#[cfg(feature = "schema")]
impl PacketRecord<'_> {
    /// Returns its schema. Needs the feature `schema`.
    #[must_use]
    pub fn schema() -> mcast_json::RecordSchema {
        let dns = ["answers", "authorities", "additional"];
        let schema = mcast_json::RecordSchema::new::<Self>("packet", "Packet (`mcast sniff --json`)")
            .event("packet")
            .describe("vlans[]", "VLAN ID")
            .describe("text", "UDP payload, if it is valid UTF-8")
            .describe("base64", "UDP payload in base64 (RFC 4648, section 4), if it is not valid UTF-8")
            .describe("control.records[].sources[]", "Source address")
            .describe("stream.repairers[]", "Address and port")
            .describe(
                "stream.announcement.paths[]",
                "`GROUP:PORT`, or `SOURCE@GROUP:PORT` if a source is announced",
            )
            .describe(
                "stream.manifest.digests[]",
                "First 16 bytes of the SHA-256 hash of the datagram, in hexadecimal",
            )
            .describe(
                "stream.status.flags[]",
                "Flag: joining, leaving, passive, ended, catching up, delivered or repairs for others",
            );
        dns.into_iter().fold(schema, |schema, section| {
            schema.describe(&format!("dns.{section}[].texts[]"), "String; invalid UTF-8 is replaced")
        })
    }
}

#[cfg(feature = "schema")]
impl PacketSummaryRecord {
    /// Returns its schema. Needs the feature `schema`.
    #[must_use]
    pub fn schema() -> mcast_json::RecordSchema {
        mcast_json::RecordSchema::new::<Self>("sniff-summary", "Summary (`mcast sniff --discard --json`)")
            .event("summary")
    }
}

record! {
    fn new(flow: &PacketFlow, volume: TrafficVolume, interface: String) {}

    /// Flow
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct FlowSummary {
        /// Destination address
        group: IpAddr = flow.destination,
        /// UDP destination port; null if there is none
        port: Option<u16> = flow.port,
        /// Protocol in the IP packet: `udp`, `tcp`, `igmp`, `pim`, `icmp`, `icmpv6`, or the number of another
        /// protocol
        protocol: String = protocol_name(flow.protocol),
        /// Name of the interface
        interface: String = interface,
        /// Source address
        source: IpAddr = flow.source,
        /// Packets captured
        packets: u64 = volume.count,
        /// Bytes in their frames
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

    /// A message of multicast DNS (mDNS).
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    struct DnsObject {
        /// Whether the message is a response; otherwise it is a query
        response: bool = dns.is_response,
        /// Questions
        questions: Vec<Question> = dns.questions().map(Question::from).collect(),
        /// Answer section; in a query, the answers already known to the host that sent it
        answers: Vec<Record> = of(DnsSection::Answer),
        /// Authority section; in a query, the records that the host intends to claim
        authorities: Vec<Record> = of(DnsSection::Authority),
        /// Additional section: records likely to be requested next
        additional: Vec<Record> = of(DnsSection::Additional),
    }
}

/// Question
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Question {
    /// Requested name
    name: String,
    /// Requested record type, or ANY
    r#type: String,
    /// Whether the response may be sent by unicast
    unicast_response: bool,
}

/// Resource record
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Record {
    /// Name of the record
    name: String,
    /// Record type: A, AAAA, PTR, SRV, TXT, …
    r#type: String,
    /// Time to live, in seconds; 0 withdraws the record
    ttl_seconds: u32,
    /// Whether receivers discard older records of the same name and type
    cache_flush: bool,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Value {
    Address {
        /// A, AAAA: address
        address: IpAddr,
    },
    Name {
        /// PTR, CNAME: target name; SRV: target host
        target: String,
    },
    Service {
        target: String,
        /// SRV: port
        port: u16,
    },
    Texts {
        /// TXT: strings, mostly `key=value`
        texts: Vec<String>,
    },
    Other {
        /// Other types: record data in base64
        base64: String,
    },
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
