//! The latest figures of the bridges of a process, their metrics and their health.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcast_bridge::{BridgeStatistics, ReverseStatistics, StreamBridge};
use mcast_metrics::{BoundExporter, Exporter, Exposition, Health, MetricKind};
use mcast_stream::HistoryServerStatistics;
use mcast_terminal::Console;

use crate::metrics::{self, Pulse};

/// The latest figures of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Arc<Mutex<Latest>>);

#[derive(Clone, Debug, Default)]
pub(super) enum Latest {
    #[default]
    Starting,
    /// It keeps a stream in a broker.
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
    pub(super) fn serve(&self, bound: BoundExporter, console: &Console) -> anyhow::Result<Exporter> {
        let (figures, states) = (self.clone(), self.clone());
        let exposition = move || exposition(&[(None, figures.latest())]);
        metrics::start_with_health(bound, exposition, move || states.latest().health(), console)
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
        pulse.health((!self.is_connected()).then(|| "there is no connection to the broker".into()))
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
    let help = "1 while there is a connection to the broker.";
    let family = out.family("mcast_bridge_engine_connected", MetricKind::Gauge, help);
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

/// The latest figures of a bridge into a broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepingState {
    statistics: BridgeStatistics,
    lag: Duration,
    pub(super) is_connected: bool,
    pub(super) pulse: Pulse,
    /// If a history is served.
    history: Option<HistoryServerStatistics>,
}

impl KeepingState {
    pub(super) fn of(bridge: &StreamBridge, history: Option<HistoryServerStatistics>) -> Self {
        let (statistics, lag) = bridge.statistics();
        Self { statistics, lag, is_connected: bridge.is_connected(), history, pulse: Pulse::now() }
    }
}

/// Adds the figures of these bridges.
fn add_keeping(states: &[(Name<'_>, &KeepingState)], out: &mut Exposition) {
    for (of, state) in states {
        out.add_figures("mcast_bridge_", &labels(of), state.statistics.figures());
        if let Some(history) = &state.history {
            out.add_figures("mcast_bridge_history_", &labels(of), history.figures());
        }
    }
    let help = "How long the oldest record that is not stored has been waiting.";
    let family = out.family("mcast_bridge_lag_seconds", MetricKind::Gauge, help);
    states.iter().for_each(|(of, state)| family.sample(&labels(of), state.lag.as_secs_f64()));
}

/// The latest figures of a bridge from a broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishingState {
    pub(super) statistics: ReverseStatistics,
    pub(super) subscribers: u64,
    pub(super) is_publishing: bool,
    pub(super) is_connected: bool,
    pub(super) pulse: Pulse,
}

/// Adds the figures of these bridges.
fn add_publishing(states: &[(Name<'_>, &PublishingState)], out: &mut Exposition) {
    for (of, state) in states {
        let labels = labels(of);
        out.add_figures("mcast_bridge_", &labels, state.statistics.figures());
        let mut gauge = |name, help, value| out.family(name, MetricKind::Gauge, help).sample(&labels, value);
        gauge("mcast_bridge_subscribers", "Subscribers of this bridge.", state.subscribers);
        let help = "1 while this bridge publishes, and 0 while it stands by.";
        gauge("mcast_bridge_publishing", help, state.is_publishing.into());
    }
}
