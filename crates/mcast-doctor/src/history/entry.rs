//! One line of a history: the result of one examination.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::timeline::date_and_time;
use crate::{Finding, FlowStatus, QuerierSighting, Report, Verdict};

/// The result of one examination, as a [`History`](super::History) keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "history")]
pub struct HistoryEntry {
    /// The time of the examination, as in RFC 3339.
    pub time: String,
    /// The verdict.
    pub verdict: String,
    /// The findings with their subjects.
    pub findings: Vec<String>,
    /// The streams of which datagrams were received.
    pub streams: Vec<HistoryStream>,
    /// The queriers heard since the history was opened.
    pub queriers: Vec<HistoryQuerier>,
}

/// A stream of which an examination received datagrams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HistoryStream {
    /// The interface.
    pub interface: String,
    /// The source address and port.
    pub source: String,
    /// The group and port.
    pub group: String,
}

/// A querier, and when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuerier {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: String,
    /// The time of its last query, as in RFC 3339.
    pub last_heard: String,
}

impl HistoryEntry {
    pub(super) fn new(report: &Report, queriers: &[QuerierSighting]) -> Self {
        let has_arrived = |flow: &&FlowStatus| flow.on_wire.or(flow.received).is_some_and(|count| count > 0);
        let stream = |flow: &FlowStatus| {
            Some(HistoryStream {
                interface: flow.interface.clone(),
                source: flow.source?.to_string(),
                group: flow.destination.to_string(),
            })
        };
        let mut streams: Vec<_> = report.flows.iter().filter(has_arrived).filter_map(stream).collect();
        streams.sort();
        streams.dedup();
        let querier = |sighting: &QuerierSighting| HistoryQuerier {
            interface: sighting.interface.clone(),
            address: sighting.address.to_string(),
            last_heard: rfc3339(sighting.last),
        };
        Self {
            time: rfc3339(SystemTime::now()),
            verdict: verdict(report.verdict()).to_owned(),
            findings: report.findings.iter().map(description).collect(),
            streams,
            queriers: queriers.iter().map(querier).collect(),
        }
    }

    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// Returns the time of the examination as `2026-11-21 02:14:05Z`; `None` if it is not valid.
    #[must_use]
    pub fn date_and_time(&self) -> Option<String> {
        self.timestamp().map(date_and_time)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.verdict == verdict(Verdict::Healthy)
    }

    pub(super) fn has_same_outcome(&self, other: &Self) -> bool {
        (&self.verdict, &self.findings) == (&other.verdict, &other.findings)
    }
}

/// Returns a finding with its subject: `no-route  on eth0, 239.1.2.3:5000`.
fn description(finding: &Finding) -> String {
    match finding.subject.to_string() {
        subject if subject.is_empty() => finding.id.to_string(),
        subject => format!("{}  {subject}", finding.id),
    }
}

/// Returns a time as in RFC 3339, in UTC with nanoseconds.
fn rfc3339(time: SystemTime) -> String {
    let is_past = time < SystemTime::UNIX_EPOCH;
    let time = Timestamp::try_from(time).unwrap_or(if is_past { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.9}")
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
