//! Events and the summary as JSON.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_relay::driver::{Driver, DriverEvent};
use mcast_relay::{RelayEvent, RuleCounts};
use serde::Serialize;

use super::names::Names;
use crate::output::rfc3339;

/// An event: `schemas/relay-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct EventRecord {
    pub(super) event: &'static str,
    pub(super) time: String,
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
    pub(super) group: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) count: Option<u64>,
    /// The event in words.
    pub(super) text: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

impl EventRecord {
    pub(super) fn new(event: &'static str) -> Self {
        Self { event, time: rfc3339(SystemTime::now()), ..Self::default() }
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
            DriverEvent::Relay(event) => Self::of_relay(event, names),
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
            RelayEvent::NotForwarded { rule: number, reason, count } => Self {
                rule: rule(*number),
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
    unsent: u64,
    invalid_announcements: u64,
    loops: u64,
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

/// The datagrams that were not forwarded for one reason.
#[derive(Debug, Serialize)]
struct RefusedCount {
    reason: &'static str,
    count: u64,
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
            unsent: driver.counts().unsent,
            invalid_announcements: driver.counts().invalid_announcements,
            loops,
        }
    }
}
