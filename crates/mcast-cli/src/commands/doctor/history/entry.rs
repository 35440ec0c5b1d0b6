//! One line of a history: the result of one examination.

use std::time::SystemTime;

use jiff::Timestamp;
use mcast_doctor::{FlowStatus, QuerierSighting, Report, Verdict};
use serde::{Deserialize, Serialize};

use crate::output::rfc3339;

/// `schemas/doctor-history.json`, without the event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) time: String,
    pub(super) verdict: String,
    pub(super) findings: Vec<String>,
    pub(super) streams: Vec<Stream>,
    pub(super) queriers: Vec<Querier>,
}

/// A stream of which an examination received datagrams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stream {
    pub(super) interface: String,
    pub(super) source: String,
    pub(super) group: String,
}

/// A querier, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Querier {
    pub(super) interface: String,
    pub(super) address: String,
    pub(super) last_heard: String,
}

impl Entry {
    pub(super) fn new(report: &Report, queriers: &[QuerierSighting]) -> Self {
        let has_arrived = |flow: &&FlowStatus| flow.on_wire.or(flow.received).is_some_and(|count| count > 0);
        let stream = |flow: &FlowStatus| {
            Some(Stream {
                interface: flow.interface.clone(),
                source: flow.source?.to_string(),
                group: flow.destination.to_string(),
            })
        };
        let mut streams: Vec<_> = report.flows.iter().filter(has_arrived).filter_map(stream).collect();
        streams.sort();
        streams.dedup();
        let querier = |sighting: &QuerierSighting| Querier {
            interface: sighting.interface.clone(),
            address: sighting.address.to_string(),
            last_heard: rfc3339(sighting.last),
        };
        Self {
            time: rfc3339(SystemTime::now()),
            verdict: verdict(report.verdict()).to_owned(),
            findings: report
                .findings
                .iter()
                .map(|finding| format!("{}{}", finding.id, super::super::text::about(finding)))
                .collect(),
            streams,
            queriers: queriers.iter().map(querier).collect(),
        }
    }

    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.verdict == verdict(Verdict::Healthy)
    }

    pub(super) fn has_same_outcome(&self, other: &Self) -> bool {
        (&self.verdict, &self.findings) == (&other.verdict, &other.findings)
    }
}

/// Returns a verdict as in JSON.
const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Warnings => "warnings",
        Verdict::Faults => "faults",
        _ => "unknown",
    }
}
