//! The table as Prometheus metrics.

use std::fmt::Display;

use mcast_metrics::{Exposition, MetricKind};
use mcast_stream_proto::wire::StreamId;

use super::MonitorReport;
use crate::{Row, WatchReport};

impl MonitorReport {
    /// Returns the report as Prometheus metrics: counters, losses and jitter of each stream, announced streams, queriers
    /// and routers, and totals. Needs the feature `metrics`.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        streams(&mut out, self);
        announced(&mut out, self);
        routers(&mut out, self);
        totals(&mut out, self);
        out
    }
}

/// A metric of streams; the function returns `None` for streams without it.
type StreamMetric = (&'static str, MetricKind, &'static str, fn(&Row, &MonitorReport) -> Option<f64>);

const STREAM_METRICS: [StreamMetric; 13] = [
    ("mcast_stream_datagrams_total", MetricKind::Counter, "Datagrams of the stream.", |row, _| {
        Some(row.datagrams as f64)
    }),
    ("mcast_stream_bytes_total", MetricKind::Counter, "Bytes of payload of the stream.", |row, _| {
        Some(row.bytes as f64)
    }),
    (
        "mcast_stream_missing",
        MetricKind::Gauge,
        "Missing by the stream's sequence numbers, in the unit in mcast_stream_info; decreases when \
         something arrives late. Repairs of an mcast stream for a single receiver are not seen, and stay \
         missing.",
        |row, _| row.numbers.map(|numbers| numbers.missing as f64),
    ),
    (
        "mcast_stream_received_total",
        MetricKind::Counter,
        "Received by the stream's sequence numbers, in the same unit.",
        |row, _| row.numbers.map(|numbers| numbers.received as f64),
    ),
    (
        "mcast_stream_duplicates_total",
        MetricKind::Counter,
        "Received more than once by the stream's sequence numbers.",
        |row, _| row.numbers.map(|numbers| numbers.duplicates as f64),
    ),
    (
        "mcast_stream_repairs_total",
        MetricKind::Counter,
        "Datagrams marked as repairs, of streams of mcast publish.",
        |row, _| row.numbers.and_then(|numbers| numbers.repairs).map(|repairs| repairs as f64),
    ),
    (
        "mcast_stream_continuity_errors_total",
        MetricKind::Counter,
        "Continuity errors of a transport stream.",
        |row, _| row.continuity_errors.map(|errors| errors as f64),
    ),
    (
        "mcast_stream_jitter_seconds",
        MetricKind::Gauge,
        "Interarrival jitter (RFC 3550), or that of the gaps between datagrams without a timestamp.",
        |row, _| row.jitter.map(|jitter| jitter.jitter.as_secs_f64()),
    ),
    ("mcast_stream_hop_limit", MetricKind::Gauge, "TTL or hop limit of the latest datagram.", |row, _| {
        Some(row.hop_limit.into())
    }),
    ("mcast_stream_quiet_seconds", MetricKind::Gauge, "Time since the latest datagram.", |row, _| {
        Some(row.quiet.as_secs_f64())
    }),
    (
        "mcast_stream_bad_checksums_total",
        MetricKind::Counter,
        "Datagrams with a wrong checksum, which are not delivered to programs.",
        |row, _| Some(row.bad_checksums as f64),
    ),
    ("mcast_stream_members", MetricKind::Gauge, "Hosts that have reported a membership.", |row, picture| {
        Some(picture.watch.members_of(&row.key).count() as f64)
    }),
    (
        "mcast_stream_joined_here",
        MetricKind::Gauge,
        "Holders of a membership on this machine.",
        |row, picture| Some(picture.local_members(row).len() as f64),
    ),
];

fn streams(out: &mut Exposition, picture: &MonitorReport) {
    let rows = &picture.watch.streams;
    for (name, kind, help, number) in STREAM_METRICS {
        let family = out.family(name, kind, help);
        for row in rows {
            if let Some(number) = number(row, picture) {
                with_labels(row, picture, |labels| family.sample(labels, number));
            }
        }
    }
    let family = out.family(
        "mcast_stream_info",
        MetricKind::Gauge,
        "Always 1; the labels have the name of the group and \
            the payload of the stream.",
    );
    for row in rows {
        let payload = row.format.map(|format| format.to_string()).unwrap_or_default();
        let unit = row.numbers.map(|numbers| numbers.unit.to_string()).unwrap_or_default();
        let name = row.key.group.name_at(row.key.port).unwrap_or_default();
        with_labels(row, picture, |labels| {
            let more: [(&str, &dyn Display); 3] = [("name", &name), ("payload", &payload), ("unit", &unit)];
            family.sample(&[labels, &more].concat(), 1_u8);
        });
    }
}

/// Writes metrics of message-layer streams.
fn announced(out: &mut Exposition, picture: &MonitorReport) {
    let family = out.family(
        "mcast_stream_publisher_info",
        MetricKind::Gauge,
        "Always 1; the labels identify the stream of mcast publish and its announced name.",
    );
    for row in &picture.watch.streams {
        let Some(identity) = row.identity else { continue };
        let name = picture.watch.announced_name(row).unwrap_or_default();
        with_labels(row, picture, |labels| {
            let more: [(&str, &dyn Display); 4] = [
                ("stream", &StreamId(identity.stream)),
                ("incarnation", &identity.incarnation),
                ("sealed", &identity.sealed),
                ("announced", &name),
            ];
            family.sample(&[labels, &more].concat(), 1_u8);
        });
    }
    let family = out.family(
        "mcast_announced_quiet_seconds",
        MetricKind::Gauge,
        "Time since a stream was last announced.",
    );
    for announced in &picture.watch.announced {
        let content = announced.content.as_ref();
        let interface = picture.interface(announced.interface);
        let paths = content.map(|content| content.memberships().join(" ")).unwrap_or_default();
        let snapshot =
            content.and_then(|content| content.snapshot).map(|at| at.to_string()).unwrap_or_default();
        let labels: [(&str, &dyn Display); 7] = [
            ("announced", &announced.name().unwrap_or_default()),
            ("stream", &StreamId(announced.identity.stream)),
            ("paths", &paths),
            ("source", &announced.source.ip()),
            ("interface", &interface),
            ("sealed", &announced.identity.sealed),
            ("snapshot", &snapshot),
        ];
        family.sample(&labels, picture.watch.time.since(announced.time).as_secs_f64());
    }
}

/// Calls `then` with the labels that identify a stream.
fn with_labels(row: &Row, picture: &MonitorReport, then: impl FnOnce(&[(&str, &dyn Display)])) {
    let key = &row.key;
    let interface = picture.interface(key.interface);
    let vlan = key.vlan.map(|vlan| vlan.to_string()).unwrap_or_default();
    then(&[
        ("group", &key.group),
        ("port", &key.port),
        ("source", &key.source),
        ("source_port", &key.source_port),
        ("interface", &interface),
        ("vlan", &vlan),
    ]);
}

fn routers(out: &mut Exposition, picture: &MonitorReport) {
    let WatchReport { queriers, pim_neighbors, routers, .. } = &picture.watch;
    let family = out.family(
        "mcast_querier_expires_seconds",
        MetricKind::Gauge,
        "Time until the querier is considered gone, if it stays silent.",
    );
    for querier in queriers {
        let interface = picture.interface(querier.interface);
        let vlan = querier.vlan.map(|vlan| vlan.to_string()).unwrap_or_default();
        let labels: [(&str, &dyn Display); 5] = [
            ("interface", &interface),
            ("vlan", &vlan),
            ("address", &querier.address),
            ("version", &querier.version),
            ("elected", &querier.elected),
        ];
        family.sample(&labels, querier.expires.as_secs_f64());
    }
    let family = out.family("mcast_routers", MetricKind::Gauge, "Active routers, by protocol.");
    family.sample(&[("protocol", &"PIM")], pim_neighbors.len());
    family.sample(&[("protocol", &"MRD")], routers.len());
}

fn totals(out: &mut Exposition, picture: &MonitorReport) {
    let WatchReport { streams, members, totals, .. } = &picture.watch;
    let mut one = |name, kind, help, number: u64| out.family(name, kind, help).sample(&[], number);
    one("mcast_streams", MetricKind::Gauge, "Streams in the table.", streams.len() as u64);
    one(
        "mcast_streams_evicted_total",
        MetricKind::Counter,
        "Streams evicted because the table was full.",
        totals.streams_evicted,
    );
    one("mcast_members", MetricKind::Gauge, "Members known from reports.", members.len() as u64);
    one("mcast_datagrams_total", MetricKind::Counter, "Datagrams to groups.", totals.datagrams);
    one("mcast_bytes_total", MetricKind::Counter, "Bytes of their payload.", totals.bytes);
    one(
        "mcast_control_messages_total",
        MetricKind::Counter,
        "Messages of IGMP, MLD and PIM.",
        totals.control,
    );
    one("mcast_malformed_packets_total", MetricKind::Counter, "Malformed packets.", totals.malformed);
    if let Some(lost) = picture.lost {
        one(
            "mcast_capture_dropped_total",
            MetricKind::Counter,
            "Packets that arrived faster than they could be captured.",
            lost,
        );
    }
}
