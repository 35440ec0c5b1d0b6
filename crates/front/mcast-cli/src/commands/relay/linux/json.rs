//! Events, tunnels and the summary as JSON.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_metrics::{Exposition, MetricKind};
use mcast_relay::amt::GatewayEvent;
use mcast_relay::driver::{AmtStatistics, Driver, DriverEvent};
use mcast_relay::http::HttpCounts;
use mcast_relay::{LegId, PathSide, Relay, RelayEvent, RuleCounts};
use mcast_tunnel::{DownReason, DropReason, LinkCounts, LinkStatus, RefusedBy};
use serde::Serialize;

use crate::output::{count, count_of, rfc3339};

/// What is limited together: the name of an event, what it is about in the rules, and a reason.
pub(super) type EventKind = (&'static str, [Option<String>; 5], Option<String>);

/// An event: `schemas/relay-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct EventRecord {
    pub(super) event: &'static str,
    pub(super) time: String,
    /// The same, for text.
    #[serde(skip)]
    pub(super) at: Option<SystemTime>,
    pub(super) rule: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) leg: Option<String>,
    pub(super) other_leg: Option<String>,
    pub(super) addresses: Option<Vec<IpAddr>>,
    pub(super) relay: Option<String>,
    pub(super) priority: Option<u8>,
    pub(super) address: Option<IpAddr>,
    pub(super) mac: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) group: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) count: Option<u64>,
    pub(super) client: Option<SocketAddr>,
    /// How many like it were withheld before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<u64>,
    /// The event in words.
    pub(super) text: String,
    /// What to do about it.
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
            DriverEvent::Problem { leg: id, problem } => {
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
            _ => record(event, names).unwrap_or_else(|| Self::new("other")),
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
            _ => Self::new("other"),
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
            RelayEvent::OtherSources { leg: on, group } => {
                Self { leg: leg(*on), group: Some(group.to_string()), ..Self::new("other-sources") }
            }
            RelayEvent::NoReports { leg: on } => Self { leg: leg(*on), ..Self::new("no-reports") },
            _ => Self::new("other"),
        }
    }
}

/// The summary: `schemas/relay-summary.json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    seconds: f64,
    rules: Vec<RuleSummary>,
    tunnels: Vec<TunnelSummary>,
    tunnels_dropped: Vec<RefusedCount>,
    lost: u64,
    unsent: u64,
    invalid_announcements: u64,
    loops: u64,
    http: HttpSummary,
    amt: AmtSummary,
}

/// What HTTP clients have been served.
#[derive(Debug, Serialize)]
struct HttpSummary {
    served: u64,
    datagrams: u64,
    sent_bytes: u64,
    skipped: u64,
    refused: Vec<RefusedCount>,
}

/// The gateways served, and what arrived from relays and gateways of AMT.
#[derive(Debug, Serialize)]
struct AmtSummary {
    gateways: u64,
    sent: u64,
    unsent: u64,
    refused: Vec<RefusedCount>,
}

/// What a rule has forwarded and refused.
#[derive(Debug, Serialize)]
struct RuleSummary {
    rule: String,
    arrived: u64,
    copies: u64,
    bytes: u64,
    replies: u64,
    refused: Vec<RefusedCount>,
}

/// The datagrams or requests that were refused for one reason.
#[derive(Debug, Serialize)]
pub(super) struct RefusedCount {
    pub(super) reason: &'static str,
    pub(super) count: u64,
}

impl Summary {
    pub(super) fn new(driver: &Driver, loops: u64, time: Duration) -> Self {
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

/// Returns an event of a tunnel in words, and what to do about it.
pub(super) fn describe(event: &DriverEvent, names: &Names) -> Option<(String, Option<String>)> {
    let plain = |text: String| Some((text, None));
    match event {
        DriverEvent::TunnelUp { leg, relay, address } => {
            plain(format!("{} is up: relay {relay} at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelDown { leg, reason } => {
            plain(format!("{} is down: {}", names.leg(*leg), why_down(*reason)))
        }
        DriverEvent::TunnelMoved { leg, address } => {
            plain(format!("the other end of {} is now at {address}", names.leg(*leg)))
        }
        DriverEvent::TunnelRefused { leg, reason } => {
            let (why, remedy) = why_refused(*reason);
            Some((format!("the other end refuses {}: {why}", names.leg(*leg)), Some(remedy.to_owned())))
        }
        DriverEvent::TunnelUnanswered { leg, host } => Some((
            format!("{host} does not answer for {}", names.leg(*leg)),
            Some("check that the relay there runs with --listen-tunnel and the same key file, and that UDP to it passes".into()),
        )),
        DriverEvent::WrongTunnelKey { address, count } => Some((
            format!("{address}{} dials a tunnel with another key", others(*count)),
            Some("give both ends the same key file, and send SIGHUP to both".into()),
        )),
        DriverEvent::UnknownTunnel { name, address, count } => Some((
            format!("{address}{} dials tunnel:{name}, which no rule here names", others(*count)),
            Some(format!("add a rule with tunnel:{name} here, or correct the name there")),
        )),
        _ => None,
    }
}

/// Returns what follows the last of several that are reported together.
pub(super) fn others(count: u64) -> String {
    if count > 1 { format!(", the last of {}", crate::output::count(count)) } else { String::new() }
}

const fn why_down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Silence => "nothing arrives from its other end",
        DownReason::Goodbye => "its other end has stopped",
        DownReason::KeyRemoved => "its key is no longer in the key file",
        DownReason::Removed => "no rule names it any longer",
    }
}

const fn why_refused(reason: RefusedBy) -> (&'static str, &'static str) {
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

/// Returns an event of a tunnel as a record.
pub(super) fn record(event: &DriverEvent, names: &Names) -> Option<EventRecord> {
    let leg = |leg| Some(names.leg(leg).to_owned());
    Some(match event {
        DriverEvent::TunnelUp { leg: id, relay, address } => EventRecord {
            leg: leg(*id),
            relay: Some(relay.to_string()),
            peer: Some(address.to_string()),
            ..EventRecord::new("tunnel-up")
        },
        DriverEvent::TunnelDown { leg: id, reason } => EventRecord {
            leg: leg(*id),
            reason: Some(why_down(*reason).into()),
            ..EventRecord::new("tunnel-down")
        },
        DriverEvent::TunnelMoved { leg: id, address } => {
            EventRecord { leg: leg(*id), peer: Some(address.to_string()), ..EventRecord::new("tunnel-moved") }
        }
        DriverEvent::TunnelRefused { leg: id, reason } => EventRecord {
            leg: leg(*id),
            reason: Some(why_refused(*reason).0.into()),
            ..EventRecord::new("tunnel-refused")
        },
        DriverEvent::TunnelUnanswered { leg: id, host } => {
            EventRecord { leg: leg(*id), peer: Some(host.clone()), ..EventRecord::new("tunnel-unanswered") }
        }
        DriverEvent::WrongTunnelKey { address, count } => EventRecord {
            peer: Some(address.to_string()),
            count: Some(*count),
            ..EventRecord::new("tunnel-wrong-key")
        },
        DriverEvent::UnknownTunnel { name, address, count } => EventRecord {
            count: Some(*count),
            leg: Some(format!("tunnel:{name}")),
            peer: Some(address.to_string()),
            ..EventRecord::new("tunnel-unknown")
        },
        _ => return None,
    })
}

/// What a tunnel has carried, in the summary.
#[derive(Debug, Serialize)]
pub(super) struct TunnelSummary {
    tunnel: String,
    up: bool,
    peer: Option<String>,
    round_trip_ms: Option<f64>,
    sent: u64,
    received: u64,
    sent_bytes: u64,
    received_bytes: u64,
    repairs_sent: u64,
    repaired: u64,
    lost: u64,
    incomplete: u64,
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
