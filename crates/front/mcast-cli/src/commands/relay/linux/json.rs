//! Events, tunnels and the summary as JSON.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::WireStatus;
#[cfg(any(feature = "schema", test))]
use mcast_json::EventDeclaration;
use mcast_json::{EventReport, EventValue, FieldKind};
use mcast_metrics::{Exposition, MetricKind};
#[cfg(any(feature = "schema", test))]
use mcast_relay::driver::DriverEvent;
use mcast_relay::driver::{AmtStatistics, Driver, DriverCounts};
use mcast_relay::http::HttpCounts;
use mcast_relay::{Rule, RuleCounts};
use mcast_tunnel::{DropReason, LinkStatus};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::output::{count, count_of, record, rfc3339};
use crate::receiving::{WireGroup, wire_groups};

/// What is limited together: the name of an event, what it is about in the rules, and a reason.
pub(super) type EventKind = (&'static str, [Option<EventValue>; 5], Option<EventValue>);

/// The fields of events, in the order in which they are written.
const FIELDS: [(&str, FieldKind, &str); 18] = [
    ("rule", FieldKind::Text, "The rule"),
    ("from", FieldKind::Text, "The leg that the traffic arrives on"),
    ("to", FieldKind::Text, "The leg or unicast target that it is sent to"),
    ("leg", FieldKind::Text, "The leg or tunnel that the event is about"),
    ("other_leg", FieldKind::Text, "The other leg on the same segment"),
    ("addresses", FieldKind::Addresses, "Addresses of the interface, or of the other relay"),
    ("relay", FieldKind::Text, "Identifier of the other relay, another one after each start"),
    ("priority", FieldKind::Number, "Priority of the other relay, with `--check`"),
    ("address", FieldKind::Text, "Address of the device that returns copies"),
    ("mac", FieldKind::Text, "Its hardware address; null if the system could not resolve it"),
    ("destination", FieldKind::Text, "Group or broadcast address and port that it relays"),
    ("peer", FieldKind::Text, "Address and port of the other end of a tunnel"),
    ("group", FieldKind::Text, "The group"),
    (
        "reason",
        FieldKind::Text,
        "Why: for `not-forwarded` the name of the reason (`hop-limit`, `rate-limit`, `too-many-hops`, `too-many-paths`, \
         `too-many-repeats`, `unreachable`), otherwise text",
    ),
    (
        "count",
        FieldKind::Number,
        "Number of datagrams since the last such event, of refusals that the event stands for, or of rules",
    ),
    (
        "answers",
        FieldKind::Text,
        "With `would-forward`, where unicast answers of hosts go: to the relay (`relay`), from whose address the sender \
         gets them, or to the sender itself (`sender`), as `keep-source` requires",
    ),
    ("client", FieldKind::Text, "Address and port of the HTTP client"),
    ("program", FieldKind::Text, "Name and number of the process that also relays"),
];

/// An event and its time: one object, in which fields that do not apply to the event are null.
#[derive(Clone, Debug)]
pub(super) struct EventRecord {
    pub(super) report: EventReport,
    pub(super) time: SystemTime,
    /// The number of other events like this one that were not printed.
    pub(super) more: u64,
}

impl EventRecord {
    pub(super) fn new(report: EventReport) -> Self {
        Self { report, time: SystemTime::now(), more: 0 }
    }

    /// Returns its kind, without what others name, such as addresses.
    pub(super) fn kind(&self) -> EventKind {
        let field = |name| self.report.field(name).cloned();
        let reason = if self.report.name == "not-forwarded" { field("reason") } else { None };
        (self.report.name, ["rule", "from", "to", "leg", "other_leg"].map(field), reason)
    }

    /// Returns the address that it is about.
    pub(super) fn source(&self) -> Option<IpAddr> {
        match self.report.field("address").or_else(|| self.report.field("client"))? {
            EventValue::Address(address) => Some(*address),
            EventValue::Endpoint(client) => Some(client.ip()),
            _ => None,
        }
    }
}

impl Serialize for EventRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { report, time, more } = self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("event", report.name)?;
        object.serialize_entry("time", &rfc3339(*time))?;
        for (field, _, _) in FIELDS {
            object.serialize_entry(field, &report.field(field))?;
        }
        if *more > 0 {
            object.serialize_entry("more", more)?;
        }
        object.serialize_entry("text", &report.text)?;
        object.serialize_entry("remedy", &report.remedy)?;
        object.end()
    }
}

record! {
    pub(super) fn new(driver: &Driver, loops: u64, time: Duration, wire: &[WireStatus]) {
        let DriverCounts { lost, unsent, invalid_announcements } = driver.counts();
    }

    /// One object at the end.
    pub(super) struct RelaySummary {
        /// Duration in seconds
        seconds: f64 = time.as_secs_f64(),
        /// The rules
        rules: Vec<RuleSummary> = driver.relay().rules().map(RuleSummary::new).collect(),
        /// The tunnels
        tunnels: Vec<TunnelSummary> = driver.tunnels().map(TunnelSummary::new).collect(),
        /// Datagrams at the sockets of tunnels that were dropped, by reason
        tunnels_dropped: Vec<RefusedCount> = dropped(driver),
        /// Datagrams that the system dropped, because a receive buffer of the relay was full; a coalesced buffer of several
        /// counts once
        lost: u64 = lost,
        /// Copies and replies that the system did not take
        unsent: u64 = unsent,
        /// Datagrams to the port of announcements that were not valid announcements
        invalid_announcements: u64 = invalid_announcements,
        /// Loops found
        loops: u64 = loops,
        /// What HTTP clients have been served
        http: HttpSummary = HttpSummary::new(&driver.http_counts()),
        /// What was received from and sent by AMT
        amt: AmtSummary = AmtSummary::new(driver.amt()),
        /// With `--wire`: how each group was received at the end
        #[serde(skip_serializing_if = "Vec::is_empty")]
        wire: Vec<WireGroup> = wire_groups(wire),
    }
}

record! {
    fn new(counts: &HttpCounts) {}

    /// What HTTP clients have been served.
    struct HttpSummary {
        /// Streams that clients have received
        served: u64 = counts.served,
        /// Datagrams received for them
        datagrams: u64 = counts.datagrams,
        /// Bytes sent to clients
        sent_bytes: u64 = counts.sent_bytes,
        /// Datagrams that were not sent to a client because it had fallen behind
        skipped: u64 = counts.skipped,
        /// Requests that were refused and clients that were dropped, by reason
        refused: Vec<RefusedCount> = counts.refusals().map(|(reason, count)| RefusedCount { reason: reason.name(), count }).collect(),
    }
}

record! {
    fn new(statistics: AmtStatistics) {
        let AmtStatistics { gateways, sent, unsent, refused } = statistics;
    }

    /// The gateways served, and what arrived from relays and gateways of AMT.
    struct AmtSummary {
        /// Gateways of AMT that have joined something here
        gateways: u64 = gateways,
        /// Datagrams sent to gateways
        sent: u64 = sent,
        /// Datagrams to gateways that the system did not take
        unsent: u64 = unsent,
        /// Datagrams of relays and gateways of AMT that were not used, by reason
        refused: Vec<RefusedCount> = refused.into_iter().map(|(reason, count)| RefusedCount { reason, count }).collect(),
    }
}

record! {
    fn new((rule, counts): (&Rule, &RuleCounts)) {}

    /// A rule
    struct RuleSummary {
        /// The rule
        rule: String = rule.to_string(),
        /// Datagrams that arrived
        arrived: u64 = counts.arrived,
        /// Copies sent
        copies: u64 = counts.copies,
        /// Bytes of payload in the copies
        bytes: u64 = counts.bytes,
        /// Replies sent to senders, and answers of senders to these
        replies: u64 = counts.replies,
        /// Datagrams that were not forwarded, by reason
        refused: Vec<RefusedCount> = counts.refusals().map(|(reason, count)| RefusedCount { reason: reason.name(), count }).collect(),
    }
}

/// A reason
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct RefusedCount {
    /// Name of the reason
    pub(super) reason: &'static str,
    /// Number of datagrams
    pub(super) count: u64,
}

record! {
    fn new(status: LinkStatus) {
        let LinkStatus { name, peer, round_trip, counts } = status;
    }

    /// A tunnel
    pub(super) struct TunnelSummary {
        /// Its name
        tunnel: String = name,
        /// Whether it is up
        up: bool = peer.is_some(),
        /// Address and port of its other end, while it is up
        peer: Option<String> = peer.map(|(_, address)| address.to_string()),
        /// Round trip in milliseconds
        round_trip_ms: Option<f64> = round_trip.map(|time| time.as_secs_f64() * 1e3),
        /// Datagrams sent into it
        sent: u64 = counts.sent,
        /// Datagrams received from it
        received: u64 = counts.received,
        /// Bytes sent to the other end
        sent_bytes: u64 = counts.sent_bytes,
        /// Bytes received from the other end
        received_bytes: u64 = counts.received_bytes,
        /// Pieces sent again because the other end requested them
        repairs_sent: u64 = counts.repairs_sent,
        /// Missing pieces that arrived after a request
        repaired: u64 = counts.repaired,
        /// Missing pieces that did not arrive in time
        lost: u64 = counts.lost,
        /// Datagrams of which pieces were missing for too long
        incomplete: u64 = counts.incomplete,
        /// Records that could not be read
        malformed: u64 = counts.malformed,
        /// Datagrams that were not sent, because more were to be sent than the path has taken
        overflow: u64 = counts.overflow,
    }
}

/// Returns the reasons for which datagrams at the sockets of tunnels were dropped.
pub(super) fn dropped(driver: &Driver) -> Vec<RefusedCount> {
    let of_reason = |(reason, count): (DropReason, u64)| RefusedCount { reason: reason.name(), count };
    driver.dropped_by_tunnels().into_iter().map(of_reason).collect()
}

/// Returns the lines of the summary.
pub(super) fn summary_lines(driver: &Driver) -> impl Iterator<Item = String> {
    let line = |status: LinkStatus| {
        let counts = status.counts;
        let mut text = format!(
            "tunnel:{}: sent {}, received {}",
            status.name,
            count_of(counts.sent, "datagram"),
            count(counts.received)
        );
        let numbers = [(counts.repaired, "repaired"), (counts.lost, "lost"), (counts.overflow, "not sent")];
        for (number, what) in numbers {
            if number > 0 {
                text += &format!(", {what} {}", count(number));
            }
        }
        text
    };
    driver.tunnels().map(line)
}

/// The state of the tunnels, for metrics.
#[derive(Debug, Default)]
pub(super) struct TunnelFigures {
    tunnels: Vec<LinkStatus>,
    dropped: Vec<(DropReason, u64)>,
}

impl TunnelFigures {
    pub(super) fn of(driver: &Driver) -> Self {
        Self { tunnels: driver.tunnels().collect(), dropped: driver.dropped_by_tunnels() }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        if self.tunnels.is_empty() {
            return;
        }
        let family = out.family("mcast_relay_tunnel_up", MetricKind::Gauge, "1 while a tunnel is up.");
        for tunnel in &self.tunnels {
            family.sample(&[("tunnel", &tunnel.name)], u8::from(tunnel.peer.is_some()));
        }
        for tunnel in &self.tunnels {
            out.add_figures("mcast_relay_tunnel_", &[("tunnel", &tunnel.name)], tunnel.counts.figures());
        }
        let help = "Datagrams that were dropped at the sockets of tunnels.";
        let family = out.family("mcast_relay_tunnel_dropped_total", MetricKind::Counter, help);
        for (reason, count) in &self.dropped {
            family.sample(&[("reason", &reason.name())], *count);
        }
    }
}

/// All events: those of the driver, and those that only the command has.
#[cfg(any(feature = "schema", test))]
fn events() -> Vec<EventDeclaration> {
    let of_check = &["rule", "from", "to", "relay", "reason", "answers"];
    let own = [
        ("reloaded", "The rules were read again.", &["count"][..]),
        ("not-reloaded", "The rules could not be read again: the current ones remain.", &["reason"]),
        ("would-forward", "With `--check`, this relay would forward between a pair of legs.", of_check),
        ("would-stand-by", "With `--check`, another relay forwards between a pair of legs.", of_check),
        ("cannot-forward", "With `--check`, nothing can be forwarded between a pair of legs.", of_check),
        ("would-serve", "With `--check`, HTTP clients could receive what a rule names.", of_check),
        ("cannot-serve", "With `--check`, HTTP clients could not receive what a rule names.", of_check),
    ];
    let own = own.map(|(name, meaning, fields)| EventDeclaration { name, meaning, fields });
    [DriverEvent::declared(), own.into()].concat()
}

mcast_json::schemas! { pub(crate),
    RecordSchema::of_events(
        "relay-event",
        "Relay event (`mcast relay --json`)",
        "One object per event. Fields that do not apply to an event are null.",
        &events(),
        &FIELDS,
    ),
    RecordSchema::new::<RelaySummary>("relay-summary", "Summary of a relay (`mcast relay --json`)")
        .event("summary")
        .describe("event", "Type of the record")
        .describe("http.refused[].count", "Number of requests or clients"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_an_event_is_written() {
        for EventDeclaration { name, fields, .. } in events() {
            for field in fields {
                assert!(
                    FIELDS.iter().any(|(known, _, _)| known == field),
                    "{field} of {name} is not written"
                );
            }
        }
    }

    #[test]
    fn the_kinds_of_events_are_of_rules_and_reasons_and_not_of_addresses() {
        let report = |reason: &str, address: [u8; 4]| {
            EventRecord::new(
                EventReport::new("not-forwarded", "text")
                    .with("rule", "a > b")
                    .with("reason", reason)
                    .with("address", IpAddr::from(address)),
            )
        };
        let one = report("rate-limit", [10, 0, 0, 1]);
        assert_eq!(one.kind(), report("rate-limit", [10, 0, 0, 2]).kind());
        assert_ne!(one.kind(), report("hop-limit", [10, 0, 0, 1]).kind());
        assert_eq!(one.source(), Some([10, 0, 0, 1].into()));
    }
}
