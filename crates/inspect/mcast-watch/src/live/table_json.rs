//! The table of `mcast top` as JSON.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_json::{record, rfc3339, write_record};
use mcast_stream_proto::wire::StreamId;
use serde::Serialize;

use super::unexamined_json::UnexaminedRecord;
use super::{LocalMember, MonitorReport};
use crate::{
    AnnouncementContent, GroupMember, JitterBasis, ObservedQuerier, PimNeighbor, Protocol,
    RouterAdvertisement, Row, StreamAnnouncement, Time,
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
        for router in report.pim_neighbors.iter().map(Ok).chain(report.routers.iter().map(Err)) {
            write_record(out, "router", &Timed { time, fields: RouterRecord::new(router, self) })?;
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
#[derive(Debug, Serialize)]
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
        /// VLAN ID of the second tag; null if the frames do not have two
        inner_vlan: Option<u16> = key.inner_vlan,
        /// Tunnel or header around the datagrams: its protocol, its identifier if it has one, and its ends, such as
        /// `VXLAN 77 192.0.2.1 > 192.0.2.2`; null if there is none
        tunnel: Option<String> = row.tunnel.map(|tunnel| tunnel.to_string()),
        /// Datagrams per second in the interval; for a file, over its whole duration
        datagrams_per_second: f64 = rate.datagrams_per_second,
        /// Payload bits per second, over the same time
        bits_per_second: f64 = rate.bits_per_second,
        /// Total number of datagrams; of those in fragments, only those of which all fragments came
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
        /// Datagrams that arrived in fragments, all of which came
        fragmented: u64 = row.fragmented,
        /// Datagrams of which fragments are missing; they count neither as datagrams nor as received
        incomplete: u64 = row.incomplete,
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

record! {
    fn new(local: &'a LocalMember) {}

    /// Process, or the kernel
    struct ProcessRecord<'a> {
        /// Process ID; null if unknown, and for the kernel
        pid: Option<u32> = local.process.as_ref().map(|(pid, _)| *pid),
        /// Name of the process
        process: &'a str = local.process.as_ref().map_or(&local.name, |(_, process)| process),
        /// UDP port that its socket is bound to; null if there is none
        port: Option<u16> = local.port,
    }
}

record! {
    fn new(querier: &ObservedQuerier, picture: &MonitorReport) {}

    /// One object per interval for each router or switch that sends queries.
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

record! {
    fn new(router: Result<&PimNeighbor, &RouterAdvertisement>, picture: &MonitorReport) {
        let (pim, advertised) = (router.ok(), router.err());
        let (address, interface, vlan, quiet, this_machine) = match router {
            Ok(it) => (it.address, it.interface, it.vlan, it.quiet, it.is_this_machine),
            Err(it) => (it.address, it.interface, it.vlan, it.quiet, it.is_this_machine),
        };
    }

    /// One object per interval for each router that sends PIM Hello messages or multicast router advertisements (RFC
    /// 4286).
    struct RouterRecord {
        /// Protocol: PIM, or MRD for multicast router discovery
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["pim", "mrd"])))]
        protocol: &'static str = if pim.is_some() { "pim" } else { "mrd" },
        /// Address of the router
        address: IpAddr = address,
        /// Name of the interface, or its index if it has no name
        interface: String = picture.interface(interface),
        /// VLAN ID of the frames; null if they are not tagged
        vlan: Option<u16> = vlan,
        /// MRD: advertisement interval, in seconds; null for PIM
        interval_seconds: Option<f64> = advertised.map(|it| it.interval.as_secs_f64()),
        /// PIM: time for which a Hello message remains valid, in seconds; null if it never expires, and for MRD
        hold_seconds: Option<f64> = pim.and_then(|it| it.hold_time).map(|time| time.as_secs_f64()),
        /// PIM: priority in the election of the designated router; null if it is not announced
        dr_priority: Option<u32> = pim.and_then(|it| it.dr_priority),
        /// PIM: random number chosen by the router when it started; null if it is not announced
        generation_id: Option<u32> = pim.and_then(|it| it.generation_id),
        /// Time since the latest Hello message or advertisement, in seconds
        quiet_seconds: f64 = quiet.as_secs_f64(),
        /// Whether this machine sends the messages
        this_machine: bool = this_machine,
    }
}

record! {
    fn new(member: &GroupMember, picture: &MonitorReport) {}

    /// One object per interval for each group and host that has reported membership.
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
        /// Other packets to groups, of other protocols
        other: u64 = totals.other,
        /// Datagrams to groups of which fragments are missing
        incomplete: u64 = totals.incomplete,
        /// Frames that carry packets which were not decoded, such as encrypted ones
        unexamined: u64 = picture.unexamined.total(),
        /// These frames, by what is around the packets and why they were not decoded
        unexamined_by_reason: Vec<UnexaminedRecord> = UnexaminedRecord::list(&picture.unexamined),
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
