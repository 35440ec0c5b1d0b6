//! Figures and events that are declared once, metrics in the text format of Prometheus, and a server for them.
//!
//! [`figures!`] declares a set of counters: the struct, and a list of their names, descriptions and values, from which
//! metrics, tables and attributes derive. [`events!`] and [`event_reports!`] do so for events: their names, how severe they are,
//! their fields and sentences. A program builds an [`Exposition`] of its metrics on request; with the feature
//! `server`, an [`Exporter`] requests one whenever a client fetches `/metrics`. With [`Health`], it also responds to
//! `/live` and `/ready`, and to nothing else. Concurrent connections, the time for each, and the bytes of a request are
//! bounded. Without its default features, the crate is `no_std` with `alloc`.
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use mcast_metrics::{Exporter, ExporterAddress, Exposition, MetricKind};
//!
//! let address: ExporterAddress = "127.0.0.1:0".parse()?;
//! let exporter = Exporter::start(address.bind()?, || {
//!     let mut exposition = Exposition::default();
//!     let received = exposition.family("datagrams_total", MetricKind::Counter, "Datagrams received.");
//!     received.sample(&[("group", &"239.255.2.3")], 7_u64);
//!     exposition
//! })?;
//! println!("metrics at http://{}/metrics", exporter.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(any(test, feature = "server")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod event;
#[cfg(feature = "server")]
mod exporter;
mod exposition;
mod figure;
#[cfg(all(feature = "server", any(target_os = "linux", target_os = "android")))]
mod local;
mod number;

pub use event::{EventDeclaration, EventDeclarations, EventField, EventReport, EventSeverity, EventValue};
#[cfg(feature = "server")]
pub use exporter::{BoundExporter, Exporter, ExporterAddress, Health, InvalidAddress};
pub use exposition::{Exposition, MetricFamily, MetricKind, MetricSample, MetricValue, samples};
pub use figure::{Figure, FigureValue};
#[cfg(all(feature = "server", any(target_os = "linux", target_os = "android")))]
pub use local::{fetch_locally, local_exporters, serve_locally};
pub use number::{count, count_of, seconds};
