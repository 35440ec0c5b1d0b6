//! JSON output: `schemas/top-*.json`.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_stream::wire::StreamId;
use mcast_watch::{
    AnnouncementContent, GroupMember, JitterBasis, ObservedQuerier, PimNeighbor, Protocol,
    RouterAdvertisement, Row, StreamAnnouncement,
};
use serde::Serialize;

use crate::output::{name_of_group, rfc3339, write_record};
use mcast_watch::live::LocalMember;
use mcast_watch::live::MonitorReport;

/// Writes an object for each stream, querier, router, member and announced stream, then a summary.
pub(super) fn write(
    out: &mut impl Write,
    picture: &MonitorReport,
    rows: &[&Row],
    now: SystemTime,
) -> io::Result<()> {
    let report = &picture.watch;
    let time = if picture.is_file { time_of(report.time) } else { now };
    let time = &rfc3339(time);
    for row in rows {
        write_record(out, "stream", &Timed { time, fields: StreamRecord::new(row, picture) })?;
    }
    for querier in &report.queriers {
        write_record(out, "querier", &Timed { time, fields: QuerierRecord::new(querier, picture) })?;
    }
    let neighbors = report.pim_neighbors.iter().map(|each| RouterRecord::pim(each, picture));
    let routers = report.routers.iter().map(|each| RouterRecord::advertised(each, picture));
    for fields in neighbors.chain(routers) {
        write_record(out, "router", &Timed { time, fields })?;
    }
    for member in &report.members {
        write_record(out, "member", &Timed { time, fields: MemberRecord::new(member, picture) })?;
    }
    for announced in &report.announced {
        write_record(out, "announced", &Timed { time, fields: AnnouncementRecord::new(announced, picture) })?;
    }
    write_record(out, "summary", &Timed { time, fields: SummaryRecord::new(picture) })
}

fn time_of(time: mcast_watch::Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(time.as_nanos())
}

/// A record with its time.
#[derive(Serialize)]
struct Timed<'a, T> {
    time: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct StreamRecord<'a> {
    group: IpAddr,
    name: Option<&'static str>,
    port: u16,
    source: IpAddr,
    source_port: u16,
    interface: String,
    vlan: Option<u16>,
    datagrams_per_second: f64,
    bits_per_second: f64,
    datagrams: u64,
    bytes: u64,
    ttl: u8,
    ttl_min: u8,
    ttl_max: u8,
    payload_format: Option<String>,
    /// This and the following counts are from sequence numbers; all are `null` for streams without them.
    unit: Option<String>,
    received: Option<u64>,
    lost: Option<u64>,
    lost_in_interval: Option<u64>,
    duplicated: Option<u64>,
    reordered: Option<u64>,
    repairs: Option<u64>,
    restarts: Option<u64>,
    stream: Option<String>,
    incarnation: Option<u32>,
    sealed: Option<bool>,
    announced: Option<&'a str>,
    continuity_errors: Option<u64>,
    jitter_us: Option<f64>,
    jitter_basis: Option<&'static str>,
    bad_checksums: u64,
    fragmented: u64,
    this_machine: bool,
    seconds: f64,
    quiet_seconds: f64,
    processes: Vec<ProcessRecord<'a>>,
    members: Vec<IpAddr>,
}

/// A process on this machine that has joined.
#[derive(Serialize)]
struct ProcessRecord<'a> {
    pid: Option<u32>,
    process: &'a str,
    port: Option<u16>,
}

impl<'a> StreamRecord<'a> {
    fn new(row: &'a Row, picture: &'a MonitorReport) -> Self {
        let (key, rate, numbers) = (&row.key, picture.rate(row), row.numbers.as_ref());
        Self {
            group: key.group.addr(),
            name: key.group.name_at(key.port),
            port: key.port,
            source: key.source,
            source_port: key.source_port,
            interface: picture.interface(key.interface),
            vlan: key.vlan,
            datagrams_per_second: rate.datagrams_per_second,
            bits_per_second: rate.bits_per_second,
            datagrams: row.datagrams,
            bytes: row.bytes,
            ttl: row.hop_limit,
            ttl_min: row.hop_limits.0,
            ttl_max: row.hop_limits.1,
            payload_format: row.format.map(|format| format.to_string()),
            unit: numbers.map(|numbers| numbers.unit.to_string()),
            received: numbers.map(|numbers| numbers.received),
            lost: numbers.map(|numbers| numbers.missing),
            lost_in_interval: numbers.map(|_| row.lost_now),
            duplicated: numbers.map(|numbers| numbers.duplicates),
            reordered: numbers.and_then(|numbers| numbers.reordered),
            repairs: numbers.and_then(|numbers| numbers.repairs),
            restarts: numbers.map(|numbers| numbers.restarts),
            stream: row.identity.map(|identity| StreamId(identity.stream).to_string()),
            incarnation: row.identity.map(|identity| identity.incarnation),
            sealed: row.identity.map(|identity| identity.sealed),
            announced: picture.watch.announced_name(row),
            continuity_errors: row.continuity_errors,
            jitter_us: row.jitter.map(|jitter| jitter.jitter.as_secs_f64() * 1e6),
            jitter_basis: row.jitter.map(|jitter| match jitter.basis {
                JitterBasis::Transit => "transit",
                JitterBasis::Gap => "intervals",
            }),
            bad_checksums: row.bad_checksums,
            fragmented: row.fragmented,
            this_machine: row.outgoing,
            seconds: row.age.as_secs_f64(),
            quiet_seconds: row.quiet.as_secs_f64(),
            processes: picture.local_members(row).iter().map(ProcessRecord::new).collect(),
            members: picture.watch.members_of(&row.key).map(|member| member.host).collect(),
        }
    }
}

impl<'a> ProcessRecord<'a> {
    fn new(local: &'a LocalMember) -> Self {
        match &local.process {
            Some((pid, process)) => Self { pid: Some(*pid), process, port: local.port },
            None => Self { pid: None, process: &local.name, port: local.port },
        }
    }
}

#[derive(Serialize)]
struct QuerierRecord {
    protocol: &'static str,
    version: u8,
    address: IpAddr,
    interface: String,
    vlan: Option<u16>,
    elected: bool,
    interval_seconds: Option<f64>,
    max_response_seconds: f64,
    queries: u64,
    quiet_seconds: f64,
    expires_seconds: f64,
    this_machine: bool,
}

impl QuerierRecord {
    fn new(querier: &ObservedQuerier, picture: &MonitorReport) -> Self {
        Self {
            protocol: match querier.protocol {
                Protocol::Igmp => "igmp",
                Protocol::Mld => "mld",
            },
            version: querier.version,
            address: querier.address,
            interface: picture.interface(querier.interface),
            vlan: querier.vlan,
            elected: querier.elected,
            interval_seconds: querier.interval.map(|interval| interval.as_secs_f64()),
            max_response_seconds: querier.max_response_time.as_secs_f64(),
            queries: querier.queries,
            quiet_seconds: querier.quiet.as_secs_f64(),
            expires_seconds: querier.expires.as_secs_f64(),
            this_machine: querier.is_this_machine,
        }
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

#[derive(Serialize)]
struct MemberRecord {
    group: IpAddr,
    name: Option<&'static str>,
    host: IpAddr,
    interface: String,
    vlan: Option<u16>,
    version: u8,
    mode: &'static str,
    sources: Vec<IpAddr>,
    more_sources: bool,
    quiet_seconds: f64,
    this_machine: bool,
}

impl MemberRecord {
    fn new(member: &GroupMember, picture: &MonitorReport) -> Self {
        Self {
            group: member.group.addr(),
            name: name_of_group(member.group),
            host: member.host,
            interface: picture.interface(member.interface),
            vlan: member.vlan,
            version: member.version,
            mode: match member.filter {
                mcast::SourceFilter::Include(_) => "include",
                mcast::SourceFilter::Exclude(_) => "exclude",
            },
            sources: member.filter.sources().collect(),
            more_sources: member.more_sources,
            quiet_seconds: member.quiet.as_secs_f64(),
            this_machine: member.is_this_machine,
        }
    }
}

/// An announced stream.
#[derive(Serialize)]
struct AnnouncementRecord<'a> {
    name: Option<&'a str>,
    stream: String,
    incarnation: u32,
    paths: Vec<String>,
    source: IpAddr,
    source_port: u16,
    interface: String,
    sealed: bool,
    snapshot: Option<SocketAddr>,
    bytes_per_second: Option<u64>,
    quiet_seconds: f64,
}

impl<'a> AnnouncementRecord<'a> {
    fn new(announced: &'a StreamAnnouncement, picture: &MonitorReport) -> Self {
        let content = announced.content.as_ref();
        Self {
            name: announced.name(),
            stream: StreamId(announced.identity.stream).to_string(),
            incarnation: announced.identity.incarnation,
            paths: content.map(AnnouncementContent::memberships).unwrap_or_default(),
            source: announced.source.ip(),
            source_port: announced.source.port(),
            interface: picture.interface(announced.interface),
            sealed: announced.identity.sealed,
            snapshot: content.and_then(|content| content.snapshot),
            bytes_per_second: content.and_then(|content| content.rate),
            quiet_seconds: picture.watch.time.since(announced.time).as_secs_f64(),
        }
    }
}

#[derive(Serialize)]
struct SummaryRecord {
    seconds: f64,
    streams: usize,
    datagrams: u64,
    bytes: u64,
    control: u64,
    other: u64,
    malformed: u64,
    streams_evicted: u64,
    members_evicted: u64,
    not_captured: Option<u64>,
}

impl SummaryRecord {
    fn new(picture: &MonitorReport) -> Self {
        let totals = picture.watch.totals;
        Self {
            seconds: picture.watch.watched.as_secs_f64(),
            streams: picture.watch.streams.len(),
            datagrams: totals.datagrams,
            bytes: totals.bytes,
            control: totals.control,
            other: totals.other,
            malformed: totals.malformed,
            streams_evicted: totals.streams_evicted,
            members_evicted: totals.members_evicted,
            not_captured: picture.lost,
        }
    }
}
