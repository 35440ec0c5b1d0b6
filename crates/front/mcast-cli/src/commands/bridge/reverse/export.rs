//! Prometheus metrics.

use std::sync::{Arc, Mutex, PoisonError};

use mcast_bridge::ReverseStatistics;
use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};

use super::running::Running;
use crate::metrics::{self, Pulse};

/// The latest figures of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    statistics: ReverseStatistics,
    subscribers: u64,
    is_publishing: bool,
    is_connected: bool,
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

    /// Replaces them.
    pub(super) fn update(&self, bridge: &Running) {
        let publisher = bridge.publisher();
        let state = State {
            statistics: bridge.statistics(),
            subscribers: publisher.map_or(0, |publisher| publisher.statistics().subscribers),
            is_publishing: bridge.is_publishing(),
            is_connected: bridge.is_connected(),
            pulse: Pulse::now(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl State {
    fn health(&self) -> Health {
        self.pulse.health((!self.is_connected).then(|| "there is no connection to the engine".into()))
    }

    fn exposition(&self) -> Exposition {
        let ReverseStatistics { messages, message_bytes, gaps, missing, takeovers, .. } = self.statistics;
        let rows = [
            ("mcast_bridge_published_messages_total", MetricKind::Counter, "Messages published.", messages),
            (
                "mcast_bridge_published_bytes_total",
                MetricKind::Counter,
                "Bytes of messages published.",
                message_bytes,
            ),
            ("mcast_bridge_gaps_total", MetricKind::Counter, "Gaps in the engine.", gaps),
            ("mcast_bridge_missing_total", MetricKind::Counter, "Messages in these gaps.", missing),
            (
                "mcast_bridge_takeovers_total",
                MetricKind::Counter,
                "How often this bridge took over from another one.",
                takeovers,
            ),
            ("mcast_bridge_subscribers", MetricKind::Gauge, "Subscribers of this bridge.", self.subscribers),
            (
                "mcast_bridge_publishing",
                MetricKind::Gauge,
                "1 while this bridge publishes, and 0 while it stands by.",
                self.is_publishing.into(),
            ),
            (
                "mcast_bridge_engine_connected",
                MetricKind::Gauge,
                "1 while there is a connection to the engine.",
                self.is_connected.into(),
            ),
        ];
        let mut out = Exposition::default();
        for (name, kind, help, value) in rows {
            out.family(name, kind, help).sample(&[], value);
        }
        out
    }
}
