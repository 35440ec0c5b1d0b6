//! Prometheus metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcast_bridge::{BridgeStatistics, StreamBridge};
use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};
use mcast_stream::HistoryServerStatistics;

use crate::metrics::{self, Pulse};

/// The latest figures of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    statistics: BridgeStatistics,
    lag: Duration,
    is_connected: bool,
    pulse: Pulse,
    /// If a history is served.
    history: Option<HistoryServerStatistics>,
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

    /// Replaces them.
    pub(super) fn update(&self, bridge: &StreamBridge, history: Option<HistoryServerStatistics>) {
        let (statistics, lag) = bridge.statistics();
        let state =
            State { statistics, lag, is_connected: bridge.is_connected(), history, pulse: Pulse::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
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
    fn health(&self) -> Health {
        self.pulse.health((!self.is_connected).then(|| "there is no connection to the engine".into()))
    }

    fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        for (metrics, kind) in [(&COUNTERS[..], MetricKind::Counter), (&GAUGES[..], MetricKind::Gauge)] {
            for (name, help, value) in metrics {
                out.family(name, kind, help).sample(&[], value(&self.statistics));
            }
        }
        if let Some(history) = &self.history {
            for (name, help, value) in HISTORY {
                out.family(name, MetricKind::Counter, help).sample(&[], value(history));
            }
        }
        let help = "How long the oldest record that is not stored has been waiting.";
        out.family("mcast_bridge_lag_seconds", MetricKind::Gauge, help).sample(&[], self.lag.as_secs_f64());
        let help = "1 while there is a connection to the engine.";
        let is_connected = u8::from(self.is_connected);
        out.family("mcast_bridge_engine_connected", MetricKind::Gauge, help).sample(&[], is_connected);
        out
    }
}
