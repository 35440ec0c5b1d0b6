//! Events, as text and as JSON.

use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use mcast_watch::{ObservedQuerier, ObservedQuery};
use serde::Serialize;

use super::interfaces::QuerierInterface;
use crate::console::{Console, Output};
use crate::output::{clock_time, rfc3339, write_json};

/// An event as JSON: `schemas/querier-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) event: &'static str,
    pub(super) time: String,
    pub(super) interface: String,
    pub(super) protocol: String,
    pub(super) address: Option<IpAddr>,
    pub(super) version: Option<u8>,
    pub(super) group: Option<IpAddr>,
    pub(super) queries: Option<u64>,
    pub(super) interval_seconds: Option<f64>,
    pub(super) observed_interval_seconds: Option<f64>,
    pub(super) robustness: Option<u8>,
    pub(super) max_response_seconds: Option<f64>,
    pub(super) expires_seconds: Option<f64>,
}

impl Event {
    pub(super) fn new(event: &'static str, target: &QuerierInterface) -> Self {
        Self {
            event,
            time: rfc3339(SystemTime::now()),
            interface: target.name.clone(),
            protocol: target.protocol().to_ascii_lowercase(),
            ..Self::default()
        }
    }

    /// Creates the event of a received query.
    pub(super) fn query(target: &QuerierInterface, query: &ObservedQuery, time: SystemTime) -> Self {
        Self { time: rfc3339(time), ..Self::new("query-received", target).with_query(query) }
    }

    /// Creates the event of a known querier.
    pub(super) fn known(target: &QuerierInterface, known: &ObservedQuerier) -> Self {
        Self {
            queries: Some(known.queries),
            observed_interval_seconds: known.mean_interval.map(|interval| interval.as_secs_f64()),
            expires_seconds: Some(known.expires.as_secs_f64()),
            ..Self::new("querier", target).with_query(&known.query)
        }
    }

    fn with_query(self, query: &ObservedQuery) -> Self {
        Self {
            address: Some(query.source),
            version: Some(query.version),
            group: query.group,
            interval_seconds: query.interval.map(|interval| interval.as_secs_f64()),
            robustness: query.robustness,
            max_response_seconds: Some(query.max_response_time.as_secs_f64()),
            ..self
        }
    }
}

/// Prints events, as lines of text or as JSON.
pub(super) struct EventPrinter<'a> {
    pub(super) console: &'a Console,
    pub(super) json: bool,
    out: Output,
}

impl<'a> EventPrinter<'a> {
    pub(super) fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output() }
    }

    /// Prints an event: as JSON, or as `words` after the time and the interface.
    pub(super) fn print(&mut self, event: &Event, time: SystemTime, words: &str) -> anyhow::Result<()> {
        if self.json {
            return self.print_json(event);
        }
        let palette = self.console.palette();
        let (dim, interface) = (palette.dim, palette.interface);
        let by = &event.interface;
        writeln!(self.out, "{dim}{}{dim:#} {interface}{by}{interface:#} {words}", clock_time(time))?;
        Ok(self.out.flush()?)
    }

    /// Prints an event if the output is JSON.
    pub(super) fn print_json(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, event)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Returns the output.
    pub(super) fn out(&mut self) -> &mut Output {
        &mut self.out
    }
}
