//! Prometheus metrics.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use mcast_metrics::{BoundExporter, Exporter, Exposition, MetricKind};
use mcast_relay::driver::{Driver, DriverCounts};
use mcast_relay::{PairState, RuleCounts};

use super::names::Names;
use crate::metrics;

/// The latest figures of a relay.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<(String, RuleCounts)>,
    pairs: Vec<(String, String, String, bool)>,
    legs: Vec<(String, bool)>,
    peers: usize,
    loops: u64,
    counts: DriverCounts,
}

impl Figures {
    /// Starts to serve them.
    pub(super) fn serve(&self, bound: BoundExporter) -> anyhow::Result<Exporter> {
        let state = Arc::clone(&self.0);
        metrics::start(bound, move || state.lock().unwrap_or_else(PoisonError::into_inner).exposition())
    }

    /// Replaces them.
    pub(super) fn update(&self, driver: &Driver, names: &Names, loops: u64) {
        let relay = driver.relay();
        let is_forwarding = |state| state == PairState::Forwarding;
        let rule = |rule: usize| names.rule(rule).to_owned();
        let state = State {
            rules: relay.rules().map(|(rule, counts)| (rule.to_string(), counts.clone())).collect(),
            pairs: relay
                .pairs()
                .map(|pair| {
                    let (from, to) = (names.leg(pair.from).to_owned(), names.side(pair.to));
                    (rule(pair.rule), from, to, is_forwarding(pair.state))
                })
                .collect(),
            legs: relay.legs().map(|(id, leg)| (leg.to_string(), driver.is_up(id))).collect(),
            peers: driver.peers().len(),
            loops,
            counts: driver.counts(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// A counter of rules.
type RuleMetric = (&'static str, &'static str, fn(&RuleCounts) -> u64);

const RULE_METRICS: [RuleMetric; 4] = [
    ("mcast_relay_received_datagrams_total", "Datagrams that a rule names.", |counts| counts.arrived),
    ("mcast_relay_copies_total", "Copies sent.", |counts| counts.copies),
    ("mcast_relay_copied_bytes_total", "Bytes of payload in the copies.", |counts| counts.bytes),
    ("mcast_relay_replies_total", "Replies sent to senders, and answers to these.", |counts| counts.replies),
];

impl State {
    fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        for (name, help, number) in RULE_METRICS {
            let mut family = out.family(name, MetricKind::Counter, help);
            self.rules.iter().for_each(|(rule, counts)| family.sample(&[("rule", rule)], number(counts)));
        }
        let help = "Datagrams that were not forwarded.";
        let mut family = out.family("mcast_relay_refused_datagrams_total", MetricKind::Counter, help);
        for (rule, counts) in &self.rules {
            for (reason, count) in counts.refusals() {
                family.sample(&[("rule", rule), ("reason", &reason.name())], count);
            }
        }
        let help =
            "1 while this relay forwards a rule from a leg to another, 0 while it stands by or cannot.";
        let mut family = out.family("mcast_relay_forwarding", MetricKind::Gauge, help);
        for (rule, from, to, is_forwarding) in &self.pairs {
            let labels: [(&str, &dyn Display); 3] = [("rule", rule), ("from", from), ("to", to)];
            family.sample(&labels, u8::from(*is_forwarding));
        }
        let mut family = out.family("mcast_relay_leg_up", MetricKind::Gauge, "1 while a leg can be used.");
        self.legs.iter().for_each(|(leg, is_up)| family.sample(&[("leg", leg)], u8::from(*is_up)));
        let mut one = |name, kind, help, value: u64| out.family(name, kind, help).sample(&[], value);
        one("mcast_relay_peers", MetricKind::Gauge, "Other relays.", self.peers as u64);
        one("mcast_relay_loops_total", MetricKind::Counter, "Loops found.", self.loops);
        let help = "Copies and replies that the system did not take.";
        one("mcast_relay_unsent_total", MetricKind::Counter, help, self.counts.unsent);
        let help = "Datagrams to the port of announcements that were not valid announcements.";
        one(
            "mcast_relay_invalid_announcements_total",
            MetricKind::Counter,
            help,
            self.counts.invalid_announcements,
        );
        out
    }
}
