//! Metrics in the text format of Prometheus, and a server for them.
//!
//! A program builds an [`Exposition`] of its metrics on request; an [`Exporter`] requests one whenever a client fetches
//! `/metrics`. With [`Health`], it also responds to `/live` and `/ready`, and to nothing else. Concurrent connections, the time for each, and the bytes of a request are
//! bounded.
//!
//! ```
//! use mcast_metrics::{Exporter, ExporterAddress, Exposition, MetricKind};
//!
//! let address: ExporterAddress = "127.0.0.1:0".parse()?;
//! let exporter = Exporter::start(address.bind()?, || {
//!     let mut exposition = Exposition::default();
//!     let mut received = exposition.family("datagrams_total", MetricKind::Counter, "Datagrams received.");
//!     received.sample(&[("group", &"239.1.2.3")], 7);
//!     exposition
//! })?;
//! println!("metrics at http://{}/metrics", exporter.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod exporter;
mod exposition;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod local;

pub use exporter::{BoundExporter, Exporter, ExporterAddress, Health, InvalidAddress};
pub use exposition::{Exposition, MetricFamily, MetricKind, samples};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use local::{fetch_locally, local_exporters, serve_locally};
