//! Serving Prometheus metrics.

use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_metrics::{BoundExporter, Exporter, ExporterAddress, Exposition, Health};

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
