//! The latest figures of the bridges of a process, their metrics and their health.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcast_bridge::{BridgeStatistics, ReverseStatistics, StreamBridge};
use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};
use mcast_stream::HistoryServerStatistics;

use crate::metrics::{self, Pulse};

/// The latest figures of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Arc<Mutex<Latest>>);

#[derive(Clone, Debug, Default)]
pub(super) enum Latest {
    #[default]
    Starting,
    /// It keeps a stream in an engine.
    Keeping(KeepingState),
    /// It publishes one from there.
    Publishing(PublishingState),
    /// It does not run, for this reason.
    Failed(Arc<str>),
}

/// The name of a bridge, if it is one of several.
pub(super) type Name<'a> = Option<&'a str>;

/// Returns the labels of a bridge.
pub(super) fn labels<'a>(name: &'a Name<'_>) -> Vec<(&'a str, &'a dyn Display)> {
    name.as_ref().map(|name| ("bridge", name as &dyn Display)).into_iter().collect()
}

impl Figures {
    /// Starts to serve those of a bridge that is alone in its process.
    pub(super) fn serve(&self, bound: BoundExporter) -> anyhow::Result<Exporter> {
        let (figures, states) = (self.clone(), self.clone());
        let exposition = move || exposition(&[(None, figures.latest())]);
        metrics::start_with_health(bound, exposition, move || states.latest().health())
    }

    /// Replaces them.
    pub(super) fn set(&self, latest: Latest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = latest;
    }

    pub(super) fn latest(&self) -> Latest {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Latest {
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Starting | Self::Failed(_) => false,
            Self::Keeping(state) => state.is_connected,
            Self::Publishing(state) => state.is_connected,
        }
    }

    pub(super) fn health(&self) -> Health {
        let pulse = match self {
            Self::Starting => return Health::NotReady("it is starting".into()),
            Self::Failed(reason) => return Health::NotReady(reason.to_string()),
            Self::Keeping(state) => state.pulse,
            Self::Publishing(state) => state.pulse,
        };
        pulse.health((!self.is_connected()).then(|| "there is no connection to the engine".into()))
    }
}

/// Returns the figures of bridges with their names.
pub(super) fn exposition(bridges: &[(Name<'_>, Latest)]) -> Exposition {
    let (mut kept, mut published) = (Vec::new(), Vec::new());
    for (name, latest) in bridges {
        match latest {
            Latest::Keeping(state) => kept.push((*name, state)),
            Latest::Publishing(state) => published.push((*name, state)),
            Latest::Starting | Latest::Failed(_) => {}
        }
    }
    let mut out = Exposition::default();
    if !kept.is_empty() {
        add_keeping(&kept, &mut out);
    }
    if !published.is_empty() {
        add_publishing(&published, &mut out);
    }
    let help = "1 while there is a connection to the engine.";
    let mut family = out.family("mcast_bridge_engine_connected", MetricKind::Gauge, help);
    for (name, latest) in bridges {
        family.sample(&labels(name), u8::from(latest.is_connected()));
    }
    out
}

/// Returns the health of several bridges: that of the worst.
pub(super) fn health(bridges: &[(Arc<str>, Latest)]) -> Health {
    let mut worst = Health::Ready;
    for (name, latest) in bridges {
        match latest.health() {
            Health::Stuck(reason) => return Health::Stuck(format!("{name}: {reason}")),
            Health::NotReady(reason) if worst == Health::Ready => {
                worst = Health::NotReady(format!("{name}: {reason}"));
            }
            Health::NotReady(_) | Health::Ready => {}
        }
    }
    worst
}

/// The latest figures of a bridge into an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepingState {
    statistics: BridgeStatistics,
    lag: Duration,
    pub(super) is_connected: bool,
    pub(super) pulse: Pulse,
    /// If a history is served.
    history: Option<HistoryServerStatistics>,
}

/// A metric with its help.
type KeepingMetric = (&'static str, &'static str, fn(&BridgeStatistics) -> u64);

const KEEPING_COUNTERS: [KeepingMetric; 10] = [
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
    ("mcast_bridge_unstorable_messages_total", "Messages that the engine can never take.", |counts| {
        counts.unstorable
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

const KEEPING_GAUGES: [KeepingMetric; 5] = [
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

impl KeepingState {
    pub(super) fn of(bridge: &StreamBridge, history: Option<HistoryServerStatistics>) -> Self {
        let (statistics, lag) = bridge.statistics();
        Self { statistics, lag, is_connected: bridge.is_connected(), history, pulse: Pulse::now() }
    }
}

/// Adds the figures of these bridges.
fn add_keeping(states: &[(Name<'_>, &KeepingState)], out: &mut Exposition) {
    for (metrics, kind) in
        [(&KEEPING_COUNTERS[..], MetricKind::Counter), (&KEEPING_GAUGES[..], MetricKind::Gauge)]
    {
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

/// The latest figures of a bridge out of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishingState {
    pub(super) statistics: ReverseStatistics,
    pub(super) subscribers: u64,
    pub(super) is_publishing: bool,
    pub(super) is_connected: bool,
    pub(super) pulse: Pulse,
}

/// A metric with its type and help.
type PublishingMetric = (&'static str, MetricKind, &'static str, fn(&PublishingState) -> u64);

const PUBLISHING: [PublishingMetric; 7] = [
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
fn add_publishing(states: &[(Name<'_>, &PublishingState)], out: &mut Exposition) {
    for (name, kind, help, value) in PUBLISHING {
        let mut family = out.family(name, kind, help);
        states.iter().for_each(|(of, state)| family.sample(&labels(of), value(state)));
    }
}
