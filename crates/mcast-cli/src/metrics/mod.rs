//! Prometheus metrics: the text format, and the server.
//!
//! A subcommand with metrics builds an [`Exposition`] of them on request; an [`Exporter`] requests one whenever a
//! client fetches `/metrics`.

mod exporter;
mod exposition;
mod request;

pub(crate) use exporter::{Bound, Exporter, Listen};
pub(crate) use exposition::{Exposition, Kind};
