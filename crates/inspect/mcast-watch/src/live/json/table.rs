//! The table of streams.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_json::{record, rfc3339, write_record};
use mcast_stream::wire::StreamId;
use serde::Serialize;

use crate::live::{LocalMember, MonitorReport};
use crate::{
    AnnouncementContent, GroupMember, JitterBasis, ObservedQuerier, PimNeighbor, Protocol,
    RouterAdvertisement, Row, StreamAnnouncement, Time,
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
