//! Explanations as JSON.

use mcast::Group;
use mcast::group::{Advice, Assignment, Explanation, WellKnown, WithReference};
use mcast_doctor::Id;
use serde::Serialize;

use crate::output::{as_text, record};

record! {
    pub(super) fn new(explanation: &'a Explanation) {}

    /// An explanation: `schemas/explanation.json`.
    pub(super) struct ExplanationRecord<'a> {
        #[serde(serialize_with = "as_text")]
        group: Group = explanation.group,
        family: &'static str = match explanation.group.family() {
            mcast::Family::V4 => "IPv4",
            mcast::Family::V6 => "IPv6",
        },
        scope: StatementRecord = StatementRecord::new(explanation.scope),
        kind: StatementRecord = StatementRecord::new(explanation.kind),
        flags: Option<StatementRecord> = explanation.flags.map(StatementRecord::new),
        relative: Option<StatementRecord> = explanation.relative.map(StatementRecord::new),
        ethernet: StatementRecord = StatementRecord::new(explanation.ethernet),
        ethernet_aliases: Vec<String> =
            explanation.ethernet_aliases.iter().map(ToString::to_string).collect(),
        control_alias: Option<StatementRecord> = explanation.control_alias.map(StatementRecord::new),
        names: Vec<AssignmentRecord<'a>> =
            explanation.assignments.iter().map(AssignmentRecord::new).collect(),
        short_names: Vec<ShortNameRecord<'a>> =
            explanation.well_known.iter().copied().map(ShortNameRecord::new).collect(),
        registry_date: &'static str = explanation.registry_date,
        advice: Vec<AdviceRecord> = explanation.advice.iter().map(AdviceRecord::new).collect(),
    }
}

/// A statement and its reference.
#[derive(Serialize)]
struct StatementRecord {
    value: String,
    reference: String,
}

record! {
    fn new(assignment: &'a Assignment) {}

    struct AssignmentRecord<'a> {
        name: &'a str = assignment.name,
        registered: bool = assignment.standing.is_registered(),
        standing: String = assignment.standing.to_string(),
        addresses: String = assignment.addresses.to_string(),
        ports: &'a [u16] = assignment.ports,
        references: Vec<String> = assignment.references.iter().map(ToString::to_string).collect(),
    }
}

record! {
    fn new(known: &'a WellKnown) {}

    struct ShortNameRecord<'a> {
        name: &'a str = known.name,
        ports: &'a [u16] = known.ports,
        hop_limit: Option<u8> = known.hop_limit,
        reference: String = known.reference.to_string(),
    }
}

record! {
    fn new(advice: &Advice) {}

    struct AdviceRecord {
        severity: String = advice.severity.to_string(),
        text: String = advice.statement.to_string(),
        reference: String = advice.reference.to_string(),
    }
}

impl StatementRecord {
    fn new<T: ToString>(cited: WithReference<T>) -> Self {
        Self { value: cited.value.to_string(), reference: cited.reference.to_string() }
    }
}

record! {
    pub(super) fn new(known: &WellKnown) {}

    /// A group and its name: `schemas/name.json`.
    pub(super) struct NameRecord {
        name: &'static str = known.name,
        #[serde(serialize_with = "as_text")]
        group: Group = known.group,
        ports: &'static [u16] = known.ports,
        hop_limit: Option<u8> = known.hop_limit,
        reference: String = known.reference.to_string(),
    }
}

record! {
    pub(super) fn new(id: Id) {}

    /// The page of a finding: `schemas/finding-page.json`.
    pub(super) struct PageRecord {
        finding: Id = id,
        summary: String = id.summary(),
        references: &'static [&'static str] = id.references(),
        text: String = id.page(),
    }
}
