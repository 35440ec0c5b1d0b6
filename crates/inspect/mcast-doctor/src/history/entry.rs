//! One line of a history: the result of one examination.

use std::time::SystemTime;

use jiff::Timestamp;
use mcast::GroupAddr;
use serde::{Deserialize, Serialize};

use super::timeline::date_and_time;
use crate::{
    Finding, FleetFinding, FleetPair, FleetReport, FleetVerdict, FlowStatus, PathOutcome, QuerierSighting,
    Report, Verdict,
};

/// The number of paths in one line, which is shorter than a history reads.
const MAX_PATHS: usize = 256;

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
    /// The paths between the machines of a fleet on which not everything arrives, up to a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HistoryPath>,
}

/// A path between two machines of a fleet, on which not everything arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HistoryPath {
    /// The machine that sends.
    pub from: String,
    /// The machine that should receive.
    pub to: String,
    /// The group and port.
    pub group: String,
    /// What became of the probes, as in `schemas/doctor-fleet-path.json`.
    pub outcome: String,
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
            paths: Vec::new(),
        }
    }

    pub(crate) fn of_fleet(report: &FleetReport) -> Self {
        let hosts = report.hosts.len();
        let pairs = || (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let targets = report.matrix.targets.iter().enumerate();
        let cells = targets.flat_map(|(target, of)| pairs().map(move |pair| (target, of.group, pair)));
        let path = |(target, group, (from, to)): (usize, GroupAddr, FleetPair)| {
            let outcome = report.matrix.outcome(target, (from, to));
            let name = |host: usize| report.hosts.get(host).map(|host| host.name.clone()).unwrap_or_default();
            (from != to && outcome != PathOutcome::Complete).then(|| HistoryPath {
                from: name(from),
                to: name(to),
                group: group.to_string(),
                outcome: outcome.as_str().to_owned(),
            })
        };
        Self {
            time: rfc3339(SystemTime::now()),
            verdict: fleet_verdict(report.verdict()).to_owned(),
            findings: fleet_findings(report),
            paths: cells.filter_map(path).take(MAX_PATHS).collect(),
            ..Self::default()
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

    pub(crate) fn has_same_outcome(&self, other: &Self) -> bool {
        (&self.verdict, &self.findings, &self.paths) == (&other.verdict, &other.findings, &other.paths)
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

/// Returns the findings of a fleet with the machines: `no-route  on a`, `unicast-only  from a, b to c`.
fn fleet_findings(report: &FleetReport) -> Vec<String> {
    let own = report.hosts.iter().flat_map(|host| {
        host.findings.iter().map(move |finding| format!("{}  on {}", finding.id, host.name))
    });
    let paths = report.findings.iter().map(|FleetFinding { finding, from, to, .. }| {
        format!("{}  from {} to {}", finding.id, from.join(", "), to.join(", "))
    });
    own.chain(paths).collect()
}

const fn fleet_verdict(of: FleetVerdict) -> &'static str {
    verdict(match of {
        FleetVerdict::Healthy => Verdict::Healthy,
        FleetVerdict::Warnings => Verdict::Warnings,
        FleetVerdict::Unknown | FleetVerdict::NeedsRights => Verdict::Unknown,
        FleetVerdict::Faults => Verdict::Faults,
    })
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
