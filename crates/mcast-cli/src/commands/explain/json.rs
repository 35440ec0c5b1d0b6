//! Explanations as JSON.

use mcast::Group;
use mcast::group::{Explanation, WellKnown, WithReference};
use mcast_doctor::Id;
use serde::Serialize;

use crate::output::as_text;

/// An explanation: `schemas/explanation.json`.
#[derive(Serialize)]
pub(super) struct ExplanationRecord<'a> {
    #[serde(serialize_with = "as_text")]
    group: Group,
    family: &'static str,
    scope: StatementRecord,
    kind: StatementRecord,
    flags: Option<StatementRecord>,
    relative: Option<StatementRecord>,
    ethernet: StatementRecord,
    ethernet_aliases: Vec<String>,
    control_alias: Option<StatementRecord>,
    names: Vec<AssignmentRecord<'a>>,
    short_names: Vec<ShortNameRecord<'a>>,
    registry_date: &'static str,
    advice: Vec<AdviceRecord>,
}

/// A statement and its reference.
#[derive(Serialize)]
struct StatementRecord {
    value: String,
    reference: String,
}

#[derive(Serialize)]
struct AssignmentRecord<'a> {
    name: &'a str,
    registered: bool,
    standing: String,
    addresses: String,
    ports: &'a [u16],
    references: Vec<String>,
}

#[derive(Serialize)]
struct ShortNameRecord<'a> {
    name: &'a str,
    ports: &'a [u16],
    hop_limit: Option<u8>,
    reference: String,
}

#[derive(Serialize)]
struct AdviceRecord {
    severity: String,
    text: String,
    reference: String,
}

impl StatementRecord {
    fn new<T: ToString>(cited: WithReference<T>) -> Self {
        Self { value: cited.value.to_string(), reference: cited.reference.to_string() }
    }
}

impl<'a> ExplanationRecord<'a> {
    pub(super) fn new(explanation: &'a Explanation) -> Self {
        let names = explanation.assignments.iter().map(|assignment| AssignmentRecord {
            name: assignment.name,
            registered: assignment.standing.is_registered(),
            standing: assignment.standing.to_string(),
            addresses: assignment.addresses.to_string(),
            ports: assignment.ports,
            references: assignment.references.iter().map(ToString::to_string).collect(),
        });
        let short_names = explanation.well_known.iter().map(|known| ShortNameRecord {
            name: known.name,
            ports: known.ports,
            hop_limit: known.hop_limit,
            reference: known.reference.to_string(),
        });
        let advice = explanation.advice.iter().map(|advice| AdviceRecord {
            severity: advice.severity.to_string(),
            text: advice.statement.to_string(),
            reference: advice.reference.to_string(),
        });
        Self {
            group: explanation.group,
            family: match explanation.group.family() {
                mcast::Family::V4 => "IPv4",
                mcast::Family::V6 => "IPv6",
            },
            scope: StatementRecord::new(explanation.scope),
            kind: StatementRecord::new(explanation.kind),
            flags: explanation.flags.map(StatementRecord::new),
            relative: explanation.relative.map(StatementRecord::new),
            ethernet: StatementRecord::new(explanation.ethernet),
            ethernet_aliases: explanation.ethernet_aliases.iter().map(ToString::to_string).collect(),
            control_alias: explanation.control_alias.map(StatementRecord::new),
            names: names.collect(),
            short_names: short_names.collect(),
            registry_date: explanation.registry_date,
            advice: advice.collect(),
        }
    }
}

/// A group and its name: `schemas/name.json`.
#[derive(Serialize)]
pub(super) struct NameRecord {
    name: &'static str,
    #[serde(serialize_with = "as_text")]
    group: Group,
    ports: &'static [u16],
    hop_limit: Option<u8>,
    reference: String,
}

impl NameRecord {
    pub(super) fn new(known: &WellKnown) -> Self {
        let WellKnown { name, group, ports, hop_limit, reference, .. } = *known;
        Self { name, group, ports, hop_limit, reference: reference.to_string() }
    }
}

/// The page of a finding: `schemas/finding-page.json`.
#[derive(Serialize)]
pub(super) struct PageRecord {
    finding: Id,
    summary: String,
    references: &'static [&'static str],
    text: String,
}

impl PageRecord {
    pub(super) fn new(id: Id) -> Self {
        Self { finding: id, summary: id.summary(), references: id.references(), text: id.page() }
    }
}
