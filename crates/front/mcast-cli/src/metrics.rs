//! Serving Prometheus metrics.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_metrics::{BoundExporter, Exporter, ExporterAddress, Exposition, Health, MetricKind};
use mcast_terminal::Console;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::exit::Failure;
use crate::log_lines;

/// Starts to listen at the address of `--metrics`.
pub(crate) fn bind(address: &ExporterAddress) -> anyhow::Result<BoundExporter> {
    Ok(address.bind().map_err(|error| {
        Failure::environment(format!("cannot serve metrics at {address}: {error}"))
            .remedy("name a free port and an address of this machine, such as 127.0.0.1:9477")
    })?)
}

/// Starts to answer clients with what `figures` returns.
pub(crate) fn start(
    bound: BoundExporter,
    figures: impl Fn() -> Exposition + Send + Sync + 'static,
) -> anyhow::Result<Exporter> {
    Exporter::start(bound, figures).context("cannot start the thread that serves metrics")
}

/// As [`start`] for a service: also counts the lines of its log that were withheld, and `/live` and `/ready` are answered with what `health` returns.
pub(crate) fn start_with_health(
    bound: BoundExporter,
    figures: impl Fn() -> Exposition + Send + Sync + 'static,
    health: impl Fn() -> Health + Send + Sync + 'static,
) -> anyhow::Result<Exporter> {
    let figures = move || {
        let mut figures = figures();
        log_lines::export(&mut figures);
        figures
    };
    Exporter::start_with_health(bound, figures, health).context("cannot start the thread that serves metrics")
}

/// A main loop that has not come around for this long is stuck. It does so each second.
const STUCK: Duration = Duration::from_secs(30);

/// When a main loop came around last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse(Option<Instant>);

impl Pulse {
    /// The main loop comes around now.
    pub(crate) fn now() -> Self {
        Self(Some(Instant::now()))
    }

    /// Returns the health of a program that is ready unless there is a reason why not.
    pub(crate) fn health(self, not_ready: Option<String>) -> Health {
        let Some(last) = self.0 else { return Health::NotReady("it is starting".into()) };
        if last.elapsed() > STUCK {
            return Health::Stuck(format!(
                "its main loop has stood still for {} s",
                last.elapsed().as_secs()
            ));
        }
        not_ready.map_or(Health::Ready, Health::NotReady)
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
/// While there is always something to do, the clock is read once in this many calls.
const BUSY_CALLS: u32 = 256;

/// The metrics of a stream, which its main loop updates.
pub(crate) struct StreamMetrics {
    state: Arc<Mutex<State>>,
    next: Instant,
    calls: u32,
}

#[derive(Default)]
struct State {
    /// By name, in order.
    families: BTreeMap<String, Family>,
    pulse: Pulse,
    not_ready: Option<String>,
}

struct Family {
    kind: MetricKind,
    help: String,
    samples: Vec<(Key, Arc<AtomicU64>)>,
}

impl StreamMetrics {
    /// Starts to serve them.
    pub(crate) fn serve(address: &ExporterAddress, console: &Console) -> anyhow::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (figures, health) = (Arc::clone(&state), Arc::clone(&state));
        let bound = bind(address)?;
        let exporter: Exporter = start_with_health(
            bound,
            move || locked(&figures).exposition(),
            move || locked(&health).health(),
        )?;
        console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
        Ok(Self { state, next: Instant::now(), calls: 0 })
    }

    /// Replaces them once per second by what `export` passes to the recorder; it returns why the stream is not ready, if
    /// it is not.
    pub(crate) fn poll(&mut self, is_idle: bool, export: impl FnOnce() -> Option<String>) {
        self.calls = self.calls.wrapping_add(1);
        if !is_idle && !self.calls.is_multiple_of(BUSY_CALLS) {
            return;
        }
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let recorder = Recording::default();
        let not_ready = ::metrics::with_local_recorder(&recorder, || {
            mcast_stream::metrics::describe();
            export()
        });
        let families = recorder.into_families();
        *locked(&self.state) = State { families, pulse: Pulse::now(), not_ready };
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn health(&self) -> Health {
        self.pulse.health(self.not_ready.clone())
    }

    fn exposition(&self) -> Exposition {
        let mut out = Exposition::default();
        for (name, Family { kind, help, samples }) in &self.families {
            let mut family = out.family(name, *kind, help);
            for (key, value) in samples {
                let labels: Vec<(&str, &str)> =
                    key.labels().map(|label| (label.key(), label.value())).collect();
                let labels: Vec<(&str, &dyn Display)> =
                    labels.iter().map(|(name, value)| (*name, value as &dyn Display)).collect();
                let bits = value.load(Ordering::Relaxed);
                match kind {
                    MetricKind::Counter => family.sample(&labels, bits),
                    MetricKind::Gauge => family.sample(&labels, f64::from_bits(bits)),
                }
            }
        }
        out
    }
}

/// Takes what is exported once.
#[derive(Default)]
struct Recording {
    helps: Mutex<BTreeMap<String, SharedString>>,
    samples: Mutex<Vec<(MetricKind, Key, Arc<AtomicU64>)>>,
}

impl Recording {
    fn describe(&self, key: &KeyName, description: SharedString) {
        locked(&self.helps).insert(key.as_str().to_owned(), description);
    }

    fn register(&self, kind: MetricKind, key: &Key) -> Arc<AtomicU64> {
        let value = Arc::new(AtomicU64::new(0));
        locked(&self.samples).push((kind, key.clone(), Arc::clone(&value)));
        value
    }

    fn into_families(self) -> BTreeMap<String, Family> {
        let helps = self.helps.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut families = BTreeMap::new();
        for (kind, key, value) in self.samples.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let help = || helps.get(key.name()).map(ToString::to_string).unwrap_or_default();
            let family = families.entry(key.name().to_owned()).or_insert_with(|| Family {
                kind,
                help: help(),
                samples: Vec::new(),
            });
            family.samples.push((key, value));
        }
        families
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(MetricKind::Counter, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(MetricKind::Gauge, key))
    }

    /// The text format has gauges with the same values.
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_served_with_its_kind_help_and_labels() {
        let recording = Recording::default();
        ::metrics::with_local_recorder(&recording, || {
            ::metrics::describe_counter!("mcast_messages_total", "messages");
            ::metrics::counter!("mcast_messages_total", "stream" => "a").absolute(7);
            ::metrics::gauge!("mcast_round_trip_seconds").set(0.5);
            ::metrics::histogram!("mcast_sample_seconds").record(0.5);
        });
        let state = State { families: recording.into_families(), ..State::default() };
        assert_eq!(
            state.exposition().into_text(),
            "# HELP mcast_messages_total messages\n# TYPE mcast_messages_total counter\n\
             mcast_messages_total{stream=\"a\"} 7\n# HELP mcast_round_trip_seconds \n\
             # TYPE mcast_round_trip_seconds gauge\nmcast_round_trip_seconds 0.5\n"
        );
        assert_eq!(state.health(), Health::NotReady("it is starting".into()));
    }
}
