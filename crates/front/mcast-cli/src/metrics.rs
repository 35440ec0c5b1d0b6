//! Serving Prometheus metrics.

use anyhow::Context;
use mcast_metrics::{BoundExporter, Exporter, ExporterAddress, Exposition};

use crate::exit::Failure;

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
