//! Serving Prometheus metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_metrics::{BoundExporter, Exporter, ExporterAddress, Exposition, Health};
use mcast_terminal::Console;

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

/// As [`start`] for a service: prints where, also counts the lines of its log that were withheld, and `/live` and `/ready` are answered with what `health` returns.
pub(crate) fn start_with_health(
    bound: BoundExporter,
    figures: impl Fn() -> Exposition + Send + Sync + 'static,
    health: impl Fn() -> Health + Send + Sync + 'static,
    console: &Console,
) -> anyhow::Result<Exporter> {
    let figures = move || {
        let mut figures = figures();
        log_lines::export(&mut figures);
        figures
    };
    let exporter = Exporter::start_with_health(bound, figures, health);
    let exporter = exporter.context("cannot start the thread that serves metrics")?;
    console.note(format_args!("metrics at http://{}/metrics", exporter.address()));
    Ok(exporter)
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
            return Health::Stuck(format!("its main loop has not run for {} s", last.elapsed().as_secs()));
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
    metrics: Exposition,
    pulse: Pulse,
    not_ready: Option<String>,
}

impl StreamMetrics {
    /// Starts to serve them.
    pub(crate) fn serve(address: &ExporterAddress, console: &Console) -> anyhow::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (figures, health) = (Arc::clone(&state), Arc::clone(&state));
        let bound = bind(address)?;
        start_with_health(
            bound,
            move || locked(&figures).metrics.clone(),
            move || locked(&health).health(),
            console,
        )?;
        Ok(Self { state, next: Instant::now(), calls: 0 })
    }

    /// Replaces them once per second by what `add` adds; it returns why the stream is not ready, if it is not.
    pub(crate) fn poll(&mut self, is_idle: bool, add: impl FnOnce(&mut Exposition) -> Option<String>) {
        self.calls = self.calls.wrapping_add(1);
        if !is_idle && !self.calls.is_multiple_of(BUSY_CALLS) {
            return;
        }
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let mut metrics = Exposition::default();
        let not_ready = add(&mut metrics);
        *locked(&self.state) = State { metrics, pulse: Pulse::now(), not_ready };
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn health(&self) -> Health {
        self.pulse.health(self.not_ready.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_not_ready_before_its_loop_has_come_around() {
        assert_eq!(State::default().health(), Health::NotReady("it is starting".into()));
        let state = State { pulse: Pulse::now(), ..State::default() };
        assert_eq!(state.health(), Health::Ready);
    }
}
