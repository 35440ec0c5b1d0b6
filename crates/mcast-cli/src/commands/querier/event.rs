//! Events, as text and as JSON.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::interfaces::QuerierInterface;
use super::queriers::{ActiveQuerier, Question};
use crate::console::{Console, Output};
use crate::output::{clock_time, rfc3339, write_json};

/// What happened: `schemas/querier-event.json`. Fields that an event has nothing to say about are null.
#[derive(Clone, Debug, Serialize)]
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
    pub(super) fn new(event: &'static str, place: &QuerierInterface) -> Self {
        Self {
            event,
            time: rfc3339(SystemTime::now()),
            interface: place.name.clone(),
            protocol: place.protocol().to_ascii_lowercase(),
            address: None,
            version: None,
            group: None,
            queries: None,
            interval_seconds: None,
            observed_interval_seconds: None,
            robustness: None,
            max_response_seconds: None,
            expires_seconds: None,
        }
    }

    /// A query that was heard at this time.
    pub(super) fn heard(place: &QuerierInterface, question: &Question, time: SystemTime) -> Self {
        Self { time: rfc3339(time), ..Self::new("heard", place).asked(question) }
    }

    /// One who asks, at the end.
    pub(super) fn known(place: &QuerierInterface, known: &ActiveQuerier, expires: Duration) -> Self {
        Self {
            queries: Some(known.queries),
            observed_interval_seconds: known.observed_interval().map(|interval| interval.as_secs_f64()),
            expires_seconds: Some(expires.as_secs_f64()),
            ..Self::new("querier", place).asked(&known.question)
        }
    }

    fn asked(self, question: &Question) -> Self {
        Self {
            address: Some(question.source),
            version: Some(question.version),
            group: question.group,
            interval_seconds: question.interval.map(|interval| interval.as_secs_f64()),
            robustness: question.robustness,
            max_response_seconds: Some(question.max_response.as_secs_f64()),
            ..self
        }
    }
}

/// Tells events, as lines for people or as objects.
pub(super) struct Teller<'a> {
    pub(super) console: &'a Console,
    pub(super) json: bool,
    out: Output,
}

impl<'a> Teller<'a> {
    pub(super) fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output() }
    }

    /// An event: the object, or else the words behind the time and the interface.
    pub(super) fn tell(&mut self, event: &Event, time: SystemTime, words: &str) -> anyhow::Result<()> {
        if self.json {
            return self.object(event);
        }
        let palette = self.console.palette();
        let (dim, interface) = (palette.dim, palette.interface);
        let by = &event.interface;
        writeln!(self.out, "{dim}{}{dim:#} {interface}{by}{interface:#} {words}", clock_time(time))?;
        Ok(self.out.flush()?)
    }

    /// An object, for those who want them.
    pub(super) fn object(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, event)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Where data is written.
    pub(super) fn out(&mut self) -> &mut Output {
        &mut self.out
    }
}
