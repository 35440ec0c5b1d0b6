//! Events, tunnels and the summary as JSON.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast::WireStatus;
use mcast_metrics::{Exposition, MetricKind};
use mcast_relay::amt::GatewayEvent;
use mcast_relay::driver::{AmtStatistics, Driver, DriverEvent};
use mcast_relay::http::HttpCounts;
use mcast_relay::{LegId, PathSide, Relay, RelayEvent, RuleCounts};
use mcast_tunnel::{DownReason, DropReason, LinkCounts, LinkStatus, RefusedBy};
use serde::Serialize;

use crate::output::{SafeText, count, count_of, rfc3339};
use crate::receiving::{WireGroup, wire_groups};

/// What is limited together: the name of an event, what it is about in the rules, and a reason.
pub(super) type EventKind = (&'static str, [Option<String>; 5], Option<String>);

/// One object per event. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct EventRecord {
    /// Type of the event: an interface is usable (`leg-up`) or not (`leg-down`), something does not work on it
    /// while the rest continues (`problem`); another relay announces itself (`relay-appeared`) or no longer does
    /// (`relay-disappeared`); this relay forwards (`forwarding`) or another one does (`standing-by`); two legs are
    /// on the same segment (`same-segment`); another box returns copies (`loop-found`); a router also forwards what
    /// the relay forwards (`router-found`), or the copies of another relay would be forwarded farther and are not
    /// (`chain-found`); the system dropped datagrams or coalesced buffers, because the receive buffer was full (`receive-lost`);
    /// datagrams were not forwarded (`not-forwarded`); hosts have joined a group from other sources than the relay
    /// (`other-sources`), or report nothing (`no-reports`); copies of a sender have the address of the relay although the
    /// rule keeps sources (`source-replaced`); a relay of AMT accepts memberships (`amt-connected`),
    /// can no longer be used (`amt-lost`), or none answers (`amt-no-relay`); a tunnel is up, with another relay at
    /// its other end than before (`tunnel-up`), or down (`tunnel-down`), its other end has another address
    /// (`tunnel-moved`), refuses it (`tunnel-refused`) or does not answer (`tunnel-unanswered`); somebody dials
    /// with another key (`tunnel-wrong-key`), or a tunnel that no rule names (`tunnel-unknown`); the rules were
    /// reread (`reloaded`) or could not be (`not-reloaded`); with `--check`, for each pair of legs:
    /// `would-forward`, `would-stand-by` or `cannot-forward`
    pub(super) event: &'static str,
    /// Time of the event (RFC 3339, UTC, with nanoseconds)
    pub(super) time: String,
    /// The same, for text.
    #[serde(skip)]
    pub(super) at: Option<SystemTime>,
    /// The rule
    pub(super) rule: Option<String>,
    /// The leg that the traffic arrives on
    pub(super) from: Option<String>,
    /// The leg or unicast target that it is sent to
    pub(super) to: Option<String>,
    /// The leg or tunnel that the event is about
    pub(super) leg: Option<String>,
    /// The other leg on the same segment
    pub(super) other_leg: Option<String>,
    /// Addresses of the interface, or of the other relay
    pub(super) addresses: Option<Vec<IpAddr>>,
    /// Identifier of the other relay, another one after each start
    pub(super) relay: Option<String>,
    /// Priority of the other relay, with `--check`
    pub(super) priority: Option<u8>,
    /// Address of the box that returns copies
    pub(super) address: Option<IpAddr>,
    /// Its hardware address; null if the system could not resolve it
    pub(super) mac: Option<String>,
    /// Group or broadcast address and port that it relays
    pub(super) destination: Option<String>,
    /// Address and port of the other end of a tunnel
    pub(super) peer: Option<String>,
    /// The group
    pub(super) group: Option<String>,
    /// Why: for `not-forwarded` the name of the reason (`hop-limit`, `rate-limit`, `too-many-hops`,
    /// `too-many-paths`, `too-many-repeats`, `unreachable`), otherwise text
    pub(super) reason: Option<String>,
    /// Number of datagrams since the last such event, of refusals that the event stands for, or of rules
    pub(super) count: Option<u64>,
    /// With `would-forward`, where unicast answers of hosts go: to the relay (`relay`), from whose address the sender gets
    /// them, or to the sender itself (`sender`), as `keep-source` requires
    pub(super) answers: Option<&'static str>,
    /// Address and port of the HTTP client
    pub(super) client: Option<SocketAddr>,
    /// Only if present: number of other events like this one, within the 10 s before it, that were not printed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<u64>,
    /// The event in words
    pub(super) text: String,
    /// What to do about it
    pub(super) remedy: Option<String>,
}

impl EventRecord {
    pub(super) fn new(event: &'static str) -> Self {
        let now = SystemTime::now();
        Self { event, time: rfc3339(now), at: Some(now), ..Self::default() }
    }

    /// Returns its kind, without what others name, such as addresses.
    pub(super) fn kind(&self) -> EventKind {
        let of_rules = [&self.rule, &self.from, &self.to, &self.leg, &self.other_leg];
        let name = if self.event == "not-forwarded" { self.reason.clone() } else { None };
        (self.event, of_rules.map(Clone::clone), name)
    }

    /// Returns the address that it is about.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.address.or_else(|| self.client.map(|client| client.ip()))
    }

    pub(super) fn of(event: &DriverEvent, names: &Names) -> Self {
        let leg = |leg| Some(names.leg(leg).to_owned());
        match event {
            DriverEvent::LegUp { leg: id, addresses } => {
                Self { leg: leg(*id), addresses: Some(addresses.clone()), ..Self::new("leg-up") }
            }
            DriverEvent::LegDown { leg: id, reason } => {
                Self { leg: leg(*id), reason: Some(reason.clone()), ..Self::new("leg-down") }
            }
            DriverEvent::Problem { leg: id, problem, .. } => {
                Self { leg: leg(*id), reason: Some(problem.clone()), ..Self::new("problem") }
            }
            DriverEvent::ReceiveLost { leg: id, count } => {
                Self { leg: leg(*id), count: Some(*count), ..Self::new("receive-lost") }
            }
            DriverEvent::Amt { leg: id, event } => Self { leg: leg(*id), ..Self::of_amt(event) },
            DriverEvent::Relay(event) => Self::of_relay(event, names),
            DriverEvent::HttpListening(address) => {
                Self { to: Some(format!("http://{address}")), ..Self::new("http-listening") }
            }
            DriverEvent::HttpFailed { address, problem } => Self {
                to: Some(format!("http://{address}")),
                reason: Some(problem.clone()),
                ..Self::new("http-failed")
            },
            DriverEvent::Http(event) => Self {
                to: Some(format!("http://{}", event.listener)),
                client: Some(event.client),
                reason: Some(event.reason.name().to_owned()),
                count: Some(event.count),
                ..Self::new("http-refused")
            },
            DriverEvent::TunnelUp { leg: id, relay, address } => Self {
                leg: leg(*id),
                relay: Some(relay.to_string()),
                peer: Some(address.to_string()),
                ..Self::new("tunnel-up")
            },
            DriverEvent::TunnelDown { leg: id, reason } => {
                Self { leg: leg(*id), reason: Some(why_down(*reason).into()), ..Self::new("tunnel-down") }
            }
            DriverEvent::TunnelMoved { leg: id, address } => {
                Self { leg: leg(*id), peer: Some(address.to_string()), ..Self::new("tunnel-moved") }
            }
            DriverEvent::TunnelRefused { leg: id, reason } => Self {
                leg: leg(*id),
                reason: Some(why_refused(*reason).0.into()),
                ..Self::new("tunnel-refused")
            },
            DriverEvent::TunnelUnanswered { leg: id, host } => {
                Self { leg: leg(*id), peer: Some(host.clone()), ..Self::new("tunnel-unanswered") }
            }
            DriverEvent::WrongTunnelKey { address, count } => {
                Self { peer: Some(address.to_string()), count: Some(*count), ..Self::new("tunnel-wrong-key") }
            }
            DriverEvent::UnknownTunnel { name, address, count } => Self {
                count: Some(*count),
                leg: Some(format!("tunnel:{}", escaped(name))),
                peer: Some(address.to_string()),
                ..Self::new("tunnel-unknown")
            },
        }
    }

    fn of_amt(event: &GatewayEvent) -> Self {
        match event {
            GatewayEvent::Connected { relay } => {
                Self { address: Some(relay.ip()), ..Self::new("amt-connected") }
            }
            GatewayEvent::Lost { relay, failure } => {
                Self { address: Some(relay.ip()), reason: Some(failure.to_string()), ..Self::new("amt-lost") }
            }
            GatewayEvent::NoRelay => Self::new("amt-no-relay"),
        }
    }

    fn of_relay(event: &RelayEvent, names: &Names) -> Self {
        let leg = |leg| Some(names.leg(leg).to_owned());
        let rule = |rule| Some(names.rule(rule).to_owned());
        let relay = |relay: &mcast_relay::RelayId| Some(relay.to_string());
        match event {
            RelayEvent::PeerAppeared { relay: id, leg: on } => {
                Self { relay: relay(id), leg: leg(*on), ..Self::new("relay-appeared") }
            }
            RelayEvent::PeerDisappeared { relay: id } => {
                Self { relay: relay(id), ..Self::new("relay-disappeared") }
            }
            RelayEvent::Forwarding { rule: number, from, to } => Self {
                rule: rule(*number),
                from: leg(*from),
                to: Some(names.side(*to)),
                ..Self::new("forwarding")
            },
            RelayEvent::StandingBy { rule: number, from, to, relay: id } => Self {
                rule: rule(*number),
                from: leg(*from),
                to: Some(names.side(*to)),
                relay: relay(id),
                ..Self::new("standing-by")
            },
            RelayEvent::SameSegment { one, other } => {
                Self { leg: leg(*one), other_leg: leg(*other), ..Self::new("same-segment") }
            }
            RelayEvent::LoopFound { leg: on, source, mac, destination } => Self {
                leg: leg(*on),
                address: Some(*source),
                mac: mac.map(|mac| mac.to_string()),
                destination: Some(destination.to_string()),
                ..Self::new("loop-found")
            },
            RelayEvent::RouterFound { leg: on, home, source, destination } => Self {
                leg: leg(*on),
                other_leg: leg(*home),
                address: Some(*source),
                destination: Some(destination.to_string()),
                ..Self::new("router-found")
            },
            RelayEvent::TooManyGroups { leg: on, host, groups: _, count } => Self {
                leg: leg(*on),
                address: Some(*host),
                count: Some(*count),
                ..Self::new("too-many-groups")
            },
            RelayEvent::ChainFound { relay: id, leg: on, to } => Self {
                relay: relay(id),
                leg: leg(*on),
                to: Some(names.side(*to)),
                ..Self::new("chain-found")
            },
            RelayEvent::NotForwarded { rule: number, reason, count, culprit } => Self {
                rule: rule(*number),
                address: *culprit,
                reason: Some(reason.name().to_owned()),
                count: Some(*count),
                ..Self::new("not-forwarded")
            },
            RelayEvent::SourceReplaced { rule: number, leg: on, source } => Self {
                rule: rule(*number),
                leg: leg(*on),
                address: Some(*source),
                ..Self::new("source-replaced")
            },
            RelayEvent::OtherSources { leg: on, group } => {
                Self { leg: leg(*on), group: Some(group.to_string()), ..Self::new("other-sources") }
            }
            RelayEvent::NoReports { leg: on } => Self { leg: leg(*on), ..Self::new("no-reports") },
        }
    }
}

/// One object at the end.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Summary {
    /// Duration in seconds
    seconds: f64,
    /// The rules
    rules: Vec<RuleSummary>,
    /// The tunnels
    tunnels: Vec<TunnelSummary>,
    /// Datagrams at the sockets of tunnels that were dropped, by reason
    tunnels_dropped: Vec<RefusedCount>,
    /// Datagrams that the system dropped, because a receive buffer of the relay was full; a coalesced buffer of several
    /// counts once
    lost: u64,
    /// Copies and replies that the system did not take
    unsent: u64,
    /// Datagrams to the port of announcements that were not valid announcements
    invalid_announcements: u64,
    /// Loops found
    loops: u64,
    /// What HTTP clients have been served
    http: HttpSummary,
    /// What was received from and sent by AMT
    amt: AmtSummary,
    /// With `--wire`: how each group was received at the end
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wire: Vec<WireGroup>,
}

/// What HTTP clients have been served.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct HttpSummary {
    /// Streams that clients have received
    served: u64,
    /// Datagrams received for them
    datagrams: u64,
    /// Bytes sent to clients
    sent_bytes: u64,
    /// Datagrams that were not sent to a client because it had fallen behind
    skipped: u64,
    /// Requests that were refused and clients that were dropped, by reason
    refused: Vec<RefusedCount>,
}

/// The gateways served, and what arrived from relays and gateways of AMT.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct AmtSummary {
    /// Gateways of AMT that have joined something here
    gateways: u64,
    /// Datagrams sent to gateways
    sent: u64,
    /// Datagrams to gateways that the system did not take
    unsent: u64,
    /// Datagrams of relays and gateways of AMT that were not used, by reason
    refused: Vec<RefusedCount>,
}

/// A rule
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RuleSummary {
    /// The rule
    rule: String,
    /// Datagrams that arrived
    arrived: u64,
    /// Copies sent
    copies: u64,
    /// Bytes of payload in the copies
    bytes: u64,
    /// Replies sent to senders, and answers of senders to these
    replies: u64,
    /// Datagrams that were not forwarded, by reason
    refused: Vec<RefusedCount>,
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

impl Summary {
    pub(super) fn new(driver: &Driver, loops: u64, time: Duration, wire: &[WireStatus]) -> Self {
        let rule = |(rule, counts): (&mcast_relay::Rule, &RuleCounts)| RuleSummary {
            rule: rule.to_string(),
            arrived: counts.arrived,
            copies: counts.copies,
            bytes: counts.bytes,
            replies: counts.replies,
            refused: counts
                .refusals()
                .map(|(reason, count)| RefusedCount { reason: reason.name(), count })
                .collect(),
        };
        Self {
            seconds: time.as_secs_f64(),
            rules: driver.relay().rules().map(rule).collect(),
            tunnels: driver.tunnels().map(TunnelSummary::from).collect(),
            tunnels_dropped: dropped(driver),
            lost: driver.counts().lost,
            unsent: driver.counts().unsent,
            invalid_announcements: driver.counts().invalid_announcements,
            loops,
            http: HttpSummary::new(&driver.http_counts()),
            amt: AmtSummary::new(driver),
            wire: wire_groups(wire),
        }
    }
}

impl HttpSummary {
    fn new(counts: &HttpCounts) -> Self {
        let refused = counts.refusals().map(|(reason, count)| RefusedCount { reason: reason.name(), count });
        Self {
            served: counts.served,
            datagrams: counts.datagrams,
            sent_bytes: counts.sent_bytes,
            skipped: counts.skipped,
            refused: refused.collect(),
        }
    }
}

impl AmtSummary {
    fn new(driver: &Driver) -> Self {
        let AmtStatistics { gateways, sent, unsent, refused } = driver.amt();
        let refused = refused.into_iter().map(|(reason, count)| RefusedCount { reason, count }).collect();
        Self { gateways, sent, unsent, refused }
    }
}

/// Returns a text of others, so that it cannot control the terminal that shows it.
pub(super) fn escaped(text: &str) -> SafeText<'_> {
    SafeText::new(text.as_bytes())
}

/// Returns what follows the last of several that are reported together.
pub(super) fn others(count: u64) -> String {
    if count > 1 { format!(", the last of {}", crate::output::count(count)) } else { String::new() }
}

pub(super) const fn why_down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Silence => "nothing arrives from its other end",
        DownReason::Goodbye => "its other end has stopped",
        DownReason::KeyRemoved => "its key is no longer in the key file",
        DownReason::Removed => "no rule names it any longer",
    }
}

pub(super) const fn why_refused(reason: RefusedBy) -> (&'static str, &'static str) {
    match reason {
        RefusedBy::UnknownName => {
            ("no rule there names it", "name it in a rule there, or correct the name here")
        }
        RefusedBy::InUse => (
            "another relay uses it",
            "if that is a second relay of this site, it stands by, and takes over when the first one stops; otherwise \
             give every site a tunnel of its own",
        ),
    }
}

/// A tunnel
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct TunnelSummary {
    /// Its name
    tunnel: String,
    /// Whether it is up
    up: bool,
    /// Address and port of its other end, while it is up
    peer: Option<String>,
    /// Round trip in milliseconds
    round_trip_ms: Option<f64>,
    /// Datagrams sent into it
    sent: u64,
    /// Datagrams received from it
    received: u64,
    /// Bytes sent to the other end
    sent_bytes: u64,
    /// Bytes received from the other end
    received_bytes: u64,
    /// Pieces sent again because the other end requested them
    repairs_sent: u64,
    /// Missing pieces that arrived after a request
    repaired: u64,
    /// Missing pieces that did not arrive in time
    lost: u64,
    /// Datagrams of which pieces were missing for too long
    incomplete: u64,
    /// Records that could not be read
    malformed: u64,
}

impl From<LinkStatus> for TunnelSummary {
    fn from(status: LinkStatus) -> Self {
        let LinkCounts {
            sent,
            received,
            sent_bytes,
            received_bytes,
            repairs_sent,
            repaired,
            lost,
            incomplete,
            malformed,
        } = status.counts;
        Self {
            tunnel: status.name,
            up: status.peer.is_some(),
            peer: status.peer.map(|(_, address)| address.to_string()),
            round_trip_ms: status.round_trip.map(|time| time.as_secs_f64() * 1e3),
            sent,
            received,
            sent_bytes,
            received_bytes,
            repairs_sent,
            repaired,
            lost,
            incomplete,
            malformed,
        }
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
        for (number, what) in [(counts.repaired, "repaired"), (counts.lost, "lost")] {
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

/// A counter of tunnels.
type TunnelMetric = (&'static str, &'static str, fn(&LinkCounts) -> u64);

const TUNNEL_METRICS: [TunnelMetric; 9] = [
    ("mcast_relay_tunnel_sent_total", "Datagrams sent into a tunnel.", |counts| counts.sent),
    ("mcast_relay_tunnel_received_total", "Datagrams received from a tunnel.", |counts| counts.received),
    ("mcast_relay_tunnel_sent_bytes_total", "Bytes sent to the other end.", |counts| counts.sent_bytes),
    ("mcast_relay_tunnel_received_bytes_total", "Bytes received from the other end.", |counts| {
        counts.received_bytes
    }),
    ("mcast_relay_tunnel_repairs_sent_total", "Pieces sent again.", |counts| counts.repairs_sent),
    ("mcast_relay_tunnel_repaired_total", "Missing pieces that arrived in time.", |counts| counts.repaired),
    ("mcast_relay_tunnel_lost_total", "Missing pieces that did not arrive in time.", |counts| counts.lost),
    ("mcast_relay_tunnel_incomplete_total", "Datagrams of which pieces were missing.", |counts| {
        counts.incomplete
    }),
    ("mcast_relay_tunnel_malformed_total", "Records that could not be read.", |counts| counts.malformed),
];

impl TunnelFigures {
    pub(super) fn of(driver: &Driver) -> Self {
        Self { tunnels: driver.tunnels().collect(), dropped: driver.dropped_by_tunnels() }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        if self.tunnels.is_empty() {
            return;
        }
        let mut family = out.family("mcast_relay_tunnel_up", MetricKind::Gauge, "1 while a tunnel is up.");
        for tunnel in &self.tunnels {
            family.sample(&[("tunnel", &tunnel.name)], u8::from(tunnel.peer.is_some()));
        }
        for (name, help, number) in TUNNEL_METRICS {
            let mut family = out.family(name, MetricKind::Counter, help);
            for tunnel in &self.tunnels {
                family.sample(&[("tunnel", &tunnel.name)], number(&tunnel.counts));
            }
        }
        let help = "Datagrams that were dropped at the sockets of tunnels.";
        let mut family = out.family("mcast_relay_tunnel_dropped_total", MetricKind::Counter, help);
        for (reason, count) in &self.dropped {
            family.sample(&[("reason", &reason.name())], *count);
        }
    }
}

/// What the numbers in events stand for.
#[derive(Clone, Debug)]
pub(super) struct Names {
    legs: Vec<String>,
    rules: Vec<String>,
}

impl Names {
    pub(super) fn of(relay: &Relay) -> Self {
        Self {
            legs: relay.legs().map(|(_, leg)| leg.to_string()).collect(),
            rules: relay.rules().map(|(rule, _)| rule.to_string()).collect(),
        }
    }

    pub(super) fn leg(&self, leg: LegId) -> &str {
        self.legs.get(usize::from(leg.0)).map_or("?", String::as_str)
    }

    pub(super) fn side(&self, side: PathSide) -> String {
        match side {
            PathSide::Leg(leg) => self.leg(leg).to_owned(),
            PathSide::Route(target) => format!("udp://{target}"),
            PathSide::AmtGateways(address) => format!("amt-listen:{address}"),
        }
    }

    pub(super) fn rule(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or("?", String::as_str)
    }
}

/// The schemas of its records.
#[cfg(feature = "schema")]
pub(crate) fn schemas() -> Vec<mcast_json::RecordSchema> {
    use mcast_json::RecordSchema;

    vec![
        RecordSchema::new::<EventRecord>("relay-event", "Relay event (`mcast relay --json`)")
            .events([
                "leg-up",
                "leg-down",
                "problem",
                "relay-appeared",
                "relay-disappeared",
                "forwarding",
                "standing-by",
                "same-segment",
                "loop-found",
                "router-found",
                "chain-found",
                "too-many-groups",
                "receive-lost",
                "not-forwarded",
                "source-replaced",
                "other-sources",
                "no-reports",
                "tunnel-up",
                "tunnel-down",
                "tunnel-moved",
                "tunnel-refused",
                "tunnel-unanswered",
                "tunnel-wrong-key",
                "tunnel-unknown",
                "amt-connected",
                "amt-lost",
                "amt-no-relay",
                "reloaded",
                "not-reloaded",
                "would-forward",
                "would-stand-by",
                "cannot-forward",
                "http-listening",
                "http-failed",
                "http-refused",
                "would-serve",
                "cannot-serve",
            ])
            .describe("addresses[]", "An address"),
        RecordSchema::new::<Summary>("relay-summary", "Summary of a relay (`mcast relay --json`)")
            .event("summary")
            .describe("event", "Type of the record")
            .describe("http.refused[].count", "Number of requests or clients"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_tunnel_from_the_other_end_cannot_control_a_terminal() {
        let names = Names { legs: Vec::new(), rules: Vec::new() };
        let name = "\x1b[31mevil\n".to_owned();
        let event = DriverEvent::UnknownTunnel { name, address: ([10, 0, 0, 7], 5700).into(), count: 1 };
        let (text, remedy) = super::super::text::describe(&event, &names);
        let leg = EventRecord::of(&event, &names).leg.unwrap();
        for text in [text, remedy.unwrap(), leg] {
            assert!(text.contains("evil") && !text.contains(['\x1b', '\n']), "{text:?}");
        }
    }
}
