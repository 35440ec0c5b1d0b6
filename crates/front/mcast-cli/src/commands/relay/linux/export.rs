//! Prometheus metrics.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};
use mcast_relay::driver::{AmtStatistics, Driver, DriverCounts};
use mcast_relay::http::HttpCounts;
use mcast_relay::{PairState, RelayNames, RuleCounts};

use super::json::TunnelFigures;
use crate::metrics::{self, Pulse};

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
    tunnels: TunnelFigures,
    http: HttpCounts,
    amt: AmtStatistics,
    pulse: Pulse,
}

impl Figures {
    /// Starts to serve them.
    pub(super) fn serve(&self, bound: BoundExporter) -> anyhow::Result<Exporter> {
        let state = Arc::clone(&self.0);
        let health = Arc::clone(&self.0);
        metrics::start_with_health(
            bound,
            move || state.lock().unwrap_or_else(PoisonError::into_inner).exposition(),
            move || health.lock().unwrap_or_else(PoisonError::into_inner).health(),
        )
    }

    /// Starts to serve them to `mcast doctor` on this machine.
    pub(super) fn serve_locally(&self) -> io::Result<()> {
        let state = Arc::clone(&self.0);
        let name = format!("mcast-relay.{}", std::process::id());
        let figures = move || state.lock().unwrap_or_else(PoisonError::into_inner).exposition();
        mcast_metrics::serve_locally(&name, figures)
    }

    /// Replaces them.
    pub(super) fn update(&self, driver: &Driver, names: &RelayNames, loops: u64) {
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
            tunnels: TunnelFigures::of(driver),
            http: driver.http_counts(),
            amt: driver.amt(),
            pulse: Pulse::now(),
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
    fn health(&self) -> Health {
        let down: Vec<&str> =
            self.legs.iter().filter(|(_, is_up)| !is_up).map(|(leg, _)| leg.as_str()).collect();
        self.pulse.health((!down.is_empty()).then(|| format!("down: {}", down.join(", "))))
    }

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
        if self.counts.lost > 0 {
            let labels: [(&str, &dyn Display); 2] =
                [("rule", &"all rules"), ("reason", &"receive-buffer-full")];
            family.sample(&labels, self.counts.lost);
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
        let help = "Datagrams or coalesced buffers that the system dropped, because a receive buffer of the relay was full.";
        one("mcast_relay_lost_datagrams_total", MetricKind::Counter, help, self.counts.lost);
        let help = "Copies and replies that the system did not take.";
        one("mcast_relay_unsent_total", MetricKind::Counter, help, self.counts.unsent);
        let help = "Datagrams to the port of announcements that were not valid announcements.";
        one(
            "mcast_relay_invalid_announcements_total",
            MetricKind::Counter,
            help,
            self.counts.invalid_announcements,
        );
        let help = "Gateways of AMT that have joined something here.";
        one("mcast_relay_amt_gateways", MetricKind::Gauge, help, self.amt.gateways);
        let help = "Datagrams sent to gateways of AMT.";
        one("mcast_relay_amt_sent_total", MetricKind::Counter, help, self.amt.sent);
        let help = "Datagrams to gateways of AMT that the system did not take.";
        one("mcast_relay_amt_unsent_total", MetricKind::Counter, help, self.amt.unsent);
        let help = "Datagrams of relays and gateways of AMT that were not used.";
        let mut family = out.family("mcast_relay_amt_refused_total", MetricKind::Counter, help);
        self.amt.refused.iter().for_each(|(reason, count)| family.sample(&[("reason", reason)], *count));
        self.add_http(&mut out);
        self.tunnels.write(&mut out);
        out
    }

    fn add_http(&self, out: &mut Exposition) {
        let HttpCounts { clients, groups, served, datagrams, sent_bytes, skipped, .. } = &self.http;
        let mut one = |name, kind, help, value: u64| out.family(name, kind, help).sample(&[], value);
        let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
        one("mcast_relay_http_clients", gauge, "HTTP clients that receive a stream.", *clients as u64);
        one("mcast_relay_http_groups", gauge, "Groups received for HTTP clients.", *groups as u64);
        one("mcast_relay_http_served_total", counter, "Streams served to HTTP clients.", *served);
        one("mcast_relay_http_datagrams_total", counter, "Datagrams for HTTP clients.", *datagrams);
        one("mcast_relay_http_sent_bytes_total", counter, "Bytes sent to HTTP clients.", *sent_bytes);
        let help = "Datagrams not sent to an HTTP client that had fallen behind.";
        one("mcast_relay_http_skipped_datagrams_total", counter, help, *skipped);
        let help = "Requests of HTTP clients that were refused, and clients that were dropped.";
        let mut family = out.family("mcast_relay_http_refused_total", counter, help);
        for (reason, count) in self.http.refusals() {
            family.sample(&[("reason", &reason.name())], count);
        }
    }
}
