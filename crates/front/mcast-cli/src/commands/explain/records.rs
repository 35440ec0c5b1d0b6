//! The records of `mcast explain --json`.

use mcast::Group;
use mcast::group::{Advice, Assignment, Explanation, GroupRange, WellKnown, WithReference};
use mcast_doctor::Id;
use serde::Serialize;

use super::{Part, RangeExplanation, Term};
use crate::output::{as_text, record};

record! {
    pub(super) fn new(explanation: &'a Explanation) {}

    /// One object per group.
    pub(super) struct ExplanationRecord<'a> {
        /// Group
        #[serde(serialize_with = "as_text")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        group: Group = explanation.group,
        /// Address family
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["IPv4", "IPv6"])))]
        family: &'static str = match explanation.group.family() {
            mcast::Family::V4 => "IPv4",
            mcast::Family::V6 => "IPv6",
        },
        /// Scope of the group
        scope: StatementRecord = StatementRecord::new(explanation.scope),
        /// Kind of group
        kind: StatementRecord = StatementRecord::new(explanation.kind),
        /// Flags of an IPv6 group; null for IPv4
        flags: Option<StatementRecord> = explanation.flags.map(StatementRecord::new),
        /// Offset from the top of the administrative scope; null unless the group is among the last 256 addresses
        /// of such a scope
        relative: Option<StatementRecord> = explanation.relative.map(StatementRecord::new),
        /// Ethernet address of the group
        ethernet: StatementRecord = StatementRecord::new(explanation.ethernet),
        /// Other IPv4 groups with the same Ethernet address; empty for IPv6, where there are too many
        ethernet_aliases: Vec<String> =
            explanation.ethernet_aliases.iter().map(ToString::to_string).collect(),
        /// Control group with the same Ethernet address; null if there is none
        control_alias: Option<StatementRecord> = explanation.control_alias.map(StatementRecord::new),
        /// Names of the group, registered names first
        names: Vec<AssignmentRecord<'a>> =
            explanation.assignments.iter().map(AssignmentRecord::new).collect(),
        /// Short names that the command accepts for the group
        short_names: Vec<ShortNameRecord<'a>> =
            explanation.well_known.iter().copied().map(ShortNameRecord::new).collect(),
        /// Date of the IANA registry that the names are from
        registry_date: &'static str = explanation.registry_date,
        /// Advice on using the group, most severe first
        advice: Vec<AdviceRecord> = explanation.advice.iter().map(AdviceRecord::new).collect(),
    }
}

/// A statement and its reference.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct StatementRecord {
    /// Statement
    value: String,
    /// Document that states it
    reference: String,
}

record! {
    fn new(assignment: &'a Assignment) {}

    /// Name
    struct AssignmentRecord<'a> {
        /// Name, as in the registry
        name: &'a str = assignment.name,
        /// Whether the name is registered with IANA
        registered: bool = assignment.standing.is_registered(),
        /// Registration status, with its date, as text
        standing: String = assignment.standing.to_string(),
        /// Addresses that the name covers
        addresses: String = assignment.addresses.to_string(),
        /// UDP ports used with the name
        ports: &'a [u16] = assignment.ports,
        /// References of the registry; for a name that is not registered, the document that describes its use
        references: Vec<String> = assignment.references.iter().map(ToString::to_string).collect(),
    }
}

record! {
    fn new(known: &'a WellKnown) {}

    /// Short name
    struct ShortNameRecord<'a> {
        /// Short name
        name: &'a str = known.name,
        /// UDP ports of the protocol
        ports: &'a [u16] = known.ports,
        /// Hop limit that the protocol requires of senders; null if it requires none
        hop_limit: Option<u8> = known.hop_limit,
        /// Document that defines the group, the ports and the hop limit
        reference: String = known.reference.to_string(),
    }
}

record! {
    fn new(advice: &Advice) {}

    /// Advice
    struct AdviceRecord {
        /// Severity
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["note", "caution", "avoid"])))]
        severity: String = advice.severity.to_string(),
        /// Text of the advice
        text: String = advice.statement.to_string(),
        /// Document that the advice is from
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

    /// One object per name and group.
    pub(super) struct NameRecord {
        /// Short name
        name: &'static str = known.name,
        /// Group; a name has at most one group per address family
        #[serde(serialize_with = "as_text")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        group: Group = known.group,
        /// UDP ports of the protocol; empty if it does not run over UDP
        ports: &'static [u16] = known.ports,
        /// Hop limit that the protocol requires of senders; null if it requires none
        hop_limit: Option<u8> = known.hop_limit,
        /// Document that defines the group, the ports and the hop limit
        reference: String = known.reference.to_string(),
    }
}

record! {
    pub(super) fn new(id: Id) {}

    /// One object per cause: what it means in general, not a finding on this machine.
    pub(super) struct PageRecord {
        /// Stable ID of the cause
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        finding: Id = id,
        /// Summary of the cause, in one sentence
        summary: String = id.summary(),
        /// RFCs and other documents on the cause
        references: &'static [&'static str] = id.references(),
        /// Guide page, in Markdown
        text: String = id.page(),
    }
}

record! {
    pub(super) fn new(explanation: &RangeExplanation) {}

    /// One object per range.
    pub(super) struct RangeRecord {
        /// First group
        first: String = explanation.range.first.to_string(),
        /// Last group (inclusive)
        last: String = explanation.range.last.to_string(),
        /// Number of groups, as text because it may exceed 2^53
        groups: String = explanation.range.count().to_string(),
        /// Whether parts and names are complete; of a range of more than 65,536 groups, parts are its first and its
        /// last group, and names only the short ones
        is_complete: bool = explanation.is_complete,
        /// Consecutive groups of the same kind and scope, in ascending order
        parts: Vec<PartRecord> = explanation.parts.iter().map(PartRecord::new).collect(),
        /// Names of groups in the range, in ascending order
        names: Vec<RangeNameRecord> = explanation.names.iter().map(RangeNameRecord::new).collect(),
    }
}

record! {
    fn new(part: &Part) {}

    /// Part of the range
    struct PartRecord {
        /// First group
        first: String = part.range.first.to_string(),
        /// Last group (inclusive)
        last: String = part.range.last.to_string(),
        /// Kind of the groups
        kind: StatementRecord = StatementRecord::new(part.kind),
        /// Scope of the groups
        scope: StatementRecord = StatementRecord::new(part.scope),
    }
}

record! {
    fn new(named: &(GroupRange, &'static str)) {}

    /// Named groups
    struct RangeNameRecord {
        /// Group, or first and last group, to which the name applies
        addresses: String = named.0.to_string(),
        /// Name
        name: &'static str = named.1,
    }
}

record! {
    pub(super) fn new(term: &Term) {}

    /// One object per term.
    pub(super) struct TermRecord {
        /// Term, and its synonyms
        names: &'static [&'static str] = term.names,
        /// Explanation, in Markdown
        text: &'static str = term.text,
    }
}

mcast_json::schemas! { pub(in crate::commands),
    RecordSchema::new::<ExplanationRecord<'_>>(
        "explanation",
        "Explanation of a group (`mcast explain --json`)",
    )
    .describe("ethernet_aliases[]", "Group")
    .describe("names[].ports[]", "UDP port")
    .describe("names[].references[]", "Reference")
    .describe("short_names[].ports[]", "UDP port")
    .event("explanation"),
    RecordSchema::new::<NameRecord>("name", "Short name of a group (`mcast explain --names --json`)")
        .describe("ports[]", "UDP port")
        .event("name"),
    RecordSchema::new::<PageRecord>("finding-page", "Guide page on a cause (`mcast explain --json`)")
        .describe("references[]", "Reference")
        .event("page"),
    RecordSchema::new::<RangeRecord>("range", "Explanation of a range of groups (`mcast explain --json`)")
        .event("range"),
    RecordSchema::new::<TermRecord>("term", "Explanation of a term (`mcast explain --json`)")
        .describe("names[]", "Name")
        .event("term"),
}
