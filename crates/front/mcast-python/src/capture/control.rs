//! IGMP and MLD messages.

use std::net::IpAddr;

use mcast_packet::gmp::{Address, GmpMessage, Query, Record, RecordKind};
use pyo3::prelude::*;

/// An IGMP or MLD message; str() describes it.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ControlMessage {
    /// "igmp" or "mld".
    #[pyo3(get)]
    protocol: &'static str,
    /// The protocol version that defines this message: 1 to 3 for IGMP, 1 or 2 for MLD; 0 for router discovery.
    #[pyo3(get)]
    version: u8,
    /// "query", "report", "leave" or "router-discovery".
    #[pyo3(get)]
    kind: &'static str,
    /// Its group; None for a general query, and for a report with records.
    #[pyo3(get)]
    group: Option<IpAddr>,
    /// The sources of a group-and-source-specific query.
    #[pyo3(get)]
    sources: Vec<IpAddr>,
    /// The group records of an IGMPv3 or MLDv2 report.
    #[pyo3(get)]
    records: Vec<ControlRecord>,
    /// Of a query: the maximum response time in seconds.
    #[pyo3(get)]
    max_response_time: Option<f64>,
    text: String,
}

/// A group record of an IGMPv3 or MLDv2 report.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlRecord {
    /// "mode-is-include", "mode-is-exclude", "change-to-include" (without sources: a leave),
    /// "change-to-exclude" (without sources: a join), "allow-new-sources", "block-old-sources", or
    /// "unknown".
    #[pyo3(get)]
    kind: &'static str,
    /// The group.
    #[pyo3(get)]
    group: IpAddr,
    /// The sources.
    #[pyo3(get)]
    sources: Vec<IpAddr>,
    text: String,
}

impl ControlMessage {
    pub(super) fn of<A: Address>(protocol: &'static str, message: &GmpMessage<'_, A>) -> Self {
        let empty = Self {
            protocol,
            version: message.version(),
            kind: "report",
            group: None,
            sources: Vec::new(),
            records: Vec::new(),
            max_response_time: None,
            text: message.to_string(),
        };
        match message {
            GmpMessage::Query(query) => Self {
                kind: "query",
                group: query.group.map(Into::into),
                sources: sources_of(query),
                max_response_time: Some(query.max_response_time.as_secs_f64()),
                ..empty
            },
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => {
                Self { group: Some((*group).into()), ..empty }
            }
            GmpMessage::Leave { group } => Self { kind: "leave", group: Some((*group).into()), ..empty },
            GmpMessage::V3Report(records) => {
                Self { records: records.iter().map(|record| ControlRecord::of(&record)).collect(), ..empty }
            }
            GmpMessage::RouterDiscovery(_) => Self { kind: "router-discovery", ..empty },
        }
    }
}

fn sources_of<A: Address>(query: &Query<'_, A>) -> Vec<IpAddr> {
    let sources = query.source_query.map(|query| query.sources.iter().map(Into::into).collect());
    sources.unwrap_or_default()
}

impl ControlRecord {
    fn of<A: Address>(record: &Record<'_, A>) -> Self {
        Self {
            kind: match record.kind {
                RecordKind::ModeIsInclude => "mode-is-include",
                RecordKind::ModeIsExclude => "mode-is-exclude",
                RecordKind::ChangeToInclude => "change-to-include",
                RecordKind::ChangeToExclude => "change-to-exclude",
                RecordKind::AllowNewSources => "allow-new-sources",
                RecordKind::BlockOldSources => "block-old-sources",
                RecordKind::Unknown(_) => "unknown",
            },
            group: record.group.into(),
            sources: record.sources.iter().map(Into::into).collect(),
            text: record.to_string(),
        }
    }
}

#[pymethods]
impl ControlMessage {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<ControlMessage {}>", self.text)
    }
}

#[pymethods]
impl ControlRecord {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<ControlRecord {}>", self.text)
    }
}
