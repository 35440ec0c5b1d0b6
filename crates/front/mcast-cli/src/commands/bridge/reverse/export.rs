//! Prometheus metrics of bridges out of engines.

use mcast_bridge::ReverseStatistics;
use mcast_metrics::{Exposition, MetricKind};

use super::running::Running;
use crate::commands::bridge::figures::{Name, labels};
use crate::metrics::Pulse;

/// The latest figures of a bridge out of an engine.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands::bridge) struct State {
    statistics: ReverseStatistics,
    subscribers: u64,
    is_publishing: bool,
    pub(in crate::commands::bridge) is_connected: bool,
    pub(in crate::commands::bridge) pulse: Pulse,
}

impl State {
    pub(super) fn of(bridge: &Running) -> Self {
        let publisher = bridge.publisher();
        Self {
            statistics: bridge.statistics(),
            subscribers: publisher.map_or(0, |publisher| publisher.statistics().subscribers),
            is_publishing: bridge.is_publishing(),
            is_connected: bridge.is_connected(),
            pulse: Pulse::now(),
        }
    }
}

/// A metric with its type and help.
type Metric = (&'static str, MetricKind, &'static str, fn(&State) -> u64);

const METRICS: [Metric; 7] = [
    ("mcast_bridge_published_messages_total", MetricKind::Counter, "Messages published.", |state| {
        state.statistics.messages
    }),
    ("mcast_bridge_published_bytes_total", MetricKind::Counter, "Bytes of messages published.", |state| {
        state.statistics.message_bytes
    }),
    ("mcast_bridge_gaps_total", MetricKind::Counter, "Gaps in the engine.", |state| state.statistics.gaps),
    ("mcast_bridge_missing_total", MetricKind::Counter, "Messages in these gaps.", |state| {
        state.statistics.missing
    }),
    (
        "mcast_bridge_takeovers_total",
        MetricKind::Counter,
        "How often this bridge took over from another one.",
        |state| state.statistics.takeovers,
    ),
    ("mcast_bridge_subscribers", MetricKind::Gauge, "Subscribers of this bridge.", |state| state.subscribers),
    (
        "mcast_bridge_publishing",
        MetricKind::Gauge,
        "1 while this bridge publishes, and 0 while it stands by.",
        |state| state.is_publishing.into(),
    ),
];

/// Adds the figures of these bridges.
pub(in crate::commands::bridge) fn add(states: &[(Name<'_>, &State)], out: &mut Exposition) {
    for (name, kind, help, value) in METRICS {
        let mut family = out.family(name, kind, help);
        states.iter().for_each(|(of, state)| family.sample(&labels(of), value(state)));
    }
}
