//! Prometheus metrics: the text format, and the server.
//!
//! A subcommand that has figures makes an [`Exposition`] of them when asked; an [`Exporter`] asks, whenever
//! somebody fetches `/metrics`.

mod exporter;
mod exposition;
mod request;

pub(crate) use exporter::{Bound, Exporter, Listen};
pub(crate) use exposition::{Exposition, Kind};
