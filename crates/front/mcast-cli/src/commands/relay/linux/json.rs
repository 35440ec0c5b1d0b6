//! Events and the summary as JSON.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use mcast_relay::amt::GatewayEvent;
use mcast_relay::driver::{AmtStatistics, Driver, DriverEvent};
use mcast_relay::http::HttpCounts;
use mcast_relay::{RelayEvent, RuleCounts};
use serde::Serialize;

use super::names::Names;
use super::tunnels::TunnelSummary;
use crate::output::rfc3339;

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
            _ => super::tunnels::record(event, names).unwrap_or_else(|| Self::new("other")),
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
            tunnels_dropped: super::tunnels::dropped(driver),
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
