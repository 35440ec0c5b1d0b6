//! Prometheus metrics.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};
use mcast_relay::driver::{AmtStatistics, Driver, DriverCounts};
use mcast_relay::http::HttpCounts;
use mcast_relay::{PairState, RelayNames, RuleCounts};
use mcast_terminal::Console;

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
    pub(super) fn serve(&self, bound: BoundExporter, console: &Console) -> anyhow::Result<Exporter> {
        let state = Arc::clone(&self.0);
        let health = Arc::clone(&self.0);
        metrics::start_with_health(
            bound,
            move || state.lock().unwrap_or_else(PoisonError::into_inner).exposition(),
            move || health.lock().unwrap_or_else(PoisonError::into_inner).health(),
            console,
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

impl State {
    fn health(&self) -> Health {
        let down: Vec<&str> =
            self.legs.iter().filter(|(_, is_up)| !is_up).map(|(leg, _)| leg.as_str()).collect();
        self.pulse.health((!down.is_empty()).then(|| format!("down: {}", down.join(", "))))
    }

    fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        for (rule, counts) in &self.rules {
            out.add_figures("mcast_relay_", &[("rule", rule)], counts.figures());
        }
        let help = "Datagrams that were not forwarded.";
        let family = out.family("mcast_relay_refused_datagrams_total", MetricKind::Counter, help);
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
        let family = out.family("mcast_relay_forwarding", MetricKind::Gauge, help);
        for (rule, from, to, is_forwarding) in &self.pairs {
            let labels: [(&str, &dyn Display); 3] = [("rule", rule), ("from", from), ("to", to)];
            family.sample(&labels, u8::from(*is_forwarding));
        }
        let family = out.family("mcast_relay_leg_up", MetricKind::Gauge, "1 while a leg can be used.");
        self.legs.iter().for_each(|(leg, is_up)| family.sample(&[("leg", leg)], u8::from(*is_up)));
        let mut one = |name, kind, help, value: u64| out.family(name, kind, help).sample(&[], value);
        one("mcast_relay_peers", MetricKind::Gauge, "Other relays.", self.peers as u64);
        one("mcast_relay_loops_total", MetricKind::Counter, "Loops found.", self.loops);
        out.add_figures("mcast_relay_", &[], self.counts.figures());
        out.add_figures("mcast_relay_amt_", &[], self.amt.figures());
        let help = "Datagrams of relays and gateways of AMT that were not used.";
        let family = out.family("mcast_relay_amt_refused_total", MetricKind::Counter, help);
        self.amt.refused.iter().for_each(|(reason, count)| family.sample(&[("reason", reason)], *count));
        out.add_figures("mcast_relay_http_", &[], self.http.figures());
        let help = "Requests of HTTP clients that were refused, and clients that were dropped.";
        let family = out.family("mcast_relay_http_refused_total", MetricKind::Counter, help);
        for (reason, count) in self.http.refusals() {
            family.sample(&[("reason", &reason.name())], count);
        }
        self.tunnels.write(&mut out);
        out
    }
}
