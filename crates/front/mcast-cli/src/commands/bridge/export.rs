//! Prometheus metrics of bridges into engines.

use std::time::Duration;

use mcast_bridge::{BridgeStatistics, StreamBridge};
use mcast_metrics::{Exposition, MetricKind};
use mcast_stream::HistoryServerStatistics;

use super::figures::{Name, labels};
use crate::metrics::Pulse;

/// The latest figures of a bridge into an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    statistics: BridgeStatistics,
    lag: Duration,
    pub(super) is_connected: bool,
    pub(super) pulse: Pulse,
    /// If a history is served.
    history: Option<HistoryServerStatistics>,
}

/// A metric with its help.
type Metric = (&'static str, &'static str, fn(&BridgeStatistics) -> u64);

const COUNTERS: [Metric; 9] = [
    ("mcast_bridge_messages_total", "Messages received.", |counts| counts.messages),
    ("mcast_bridge_message_bytes_total", "Bytes of messages received.", |counts| counts.message_bytes),
    ("mcast_bridge_appended_records_total", "Records appended.", |counts| counts.appended),
    ("mcast_bridge_already_stored_records_total", "Records that had been stored before.", |counts| {
        counts.already_stored
    }),
    ("mcast_bridge_refused_batches_total", "Batches refused, because another bridge was first.", |counts| {
        counts.refused
    }),
    ("mcast_bridge_gap_records_total", "Gap records appended.", |counts| counts.gaps),
    ("mcast_bridge_missing_messages_total", "Messages in gap records.", |counts| counts.missing),
    ("mcast_bridge_engine_losses_total", "Losses of stored records by the engine.", |counts| {
        counts.engine_losses
    }),
    ("mcast_bridge_superseded_messages_total", "Messages of incarnations that were over.", |counts| {
        counts.superseded
    }),
];

/// A metric of the history server.
type HistoryMetric = (&'static str, &'static str, fn(&HistoryServerStatistics) -> u64);

const HISTORY: [HistoryMetric; 5] = [
    ("mcast_bridge_history_requests_total", "Requests for the history.", |counts| counts.requests),
    ("mcast_bridge_history_records_total", "Records of the history sent.", |counts| counts.records),
    ("mcast_bridge_history_bytes_total", "Bytes of the history sent.", |counts| counts.bytes),
    (
        "mcast_bridge_history_postponed_total",
        "Requests for the history postponed because others were served first.",
        |counts| counts.postponed,
    ),
    ("mcast_bridge_history_refused_total", "Requests for the history refused.", |counts| counts.refused),
];

const GAUGES: [Metric; 5] = [
    (
        "mcast_bridge_not_stored_messages",
        "Messages of the present incarnation that are stored nowhere.",
        |counts| counts.not_stored,
    ),
    ("mcast_bridge_pending_records", "Records that are not stored.", |counts| counts.pending as u64),
    ("mcast_bridge_pending_bytes", "Bytes of records that are not stored.", |counts| {
        counts.pending_bytes as u64
    }),
    ("mcast_bridge_buffered_bytes", "Bytes of records in memory.", |counts| counts.buffered_bytes as u64),
    ("mcast_bridge_requests_in_flight", "Requests without a response.", |counts| counts.in_flight as u64),
];

impl State {
    pub(super) fn of(bridge: &StreamBridge, history: Option<HistoryServerStatistics>) -> Self {
        let (statistics, lag) = bridge.statistics();
        Self { statistics, lag, is_connected: bridge.is_connected(), history, pulse: Pulse::now() }
    }
}

/// Adds the figures of these bridges.
pub(super) fn add(states: &[(Name<'_>, &State)], out: &mut Exposition) {
    for (metrics, kind) in [(&COUNTERS[..], MetricKind::Counter), (&GAUGES[..], MetricKind::Gauge)] {
        for (name, help, value) in metrics {
            let mut family = out.family(name, kind, help);
            states.iter().for_each(|(of, state)| family.sample(&labels(of), value(&state.statistics)));
        }
    }
    let histories: Vec<_> =
        states.iter().filter_map(|(of, state)| state.history.as_ref().map(|history| (of, history))).collect();
    for (name, help, value) in HISTORY.iter().filter(|_| !histories.is_empty()) {
        let mut family = out.family(name, MetricKind::Counter, help);
        histories.iter().for_each(|(of, history)| family.sample(&labels(of), value(history)));
    }
    let help = "How long the oldest record that is not stored has been waiting.";
    let mut family = out.family("mcast_bridge_lag_seconds", MetricKind::Gauge, help);
    states.iter().for_each(|(of, state)| family.sample(&labels(of), state.lag.as_secs_f64()));
}
