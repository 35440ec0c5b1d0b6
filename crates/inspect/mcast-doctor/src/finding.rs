//! Findings: the cause, the evidence for it, and the remedies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::netfilter::Hook;
use crate::singular::agreeing;
use crate::wire::Flow;
use crate::{Id, Remedy, Tool};

/// A cause that the doctor found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "FindingRecord")]
#[non_exhaustive]
pub struct Finding {
    /// The id of the cause.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub id: Id,
    /// The severity.
    pub severity: Severity,
    /// The cause in one sentence.
    pub cause: String,
    /// The evidence that supports the finding.
    pub evidence: Vec<Evidence>,
    /// The remedies, best first.
    pub remedies: Vec<Remedy>,
    /// The interface, group, source and program that the finding concerns.
    pub subject: Subject,
    /// The flows whose loss it explains; empty if those are all flows of the subject.
    pub flows: Vec<ExplainedFlow>,
    /// The RFCs and other documents on the cause, and on the protocol that it concerns.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub references: Vec<String>,
    /// The hook of the packet filter that takes the datagrams, if one does.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) hook: Option<Hook>,
}

/// A flow whose loss a finding explains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExplainedFlow {
    /// Group and port
    #[serde(rename = "group")]
    pub destination: SocketAddr,
    /// Source address; omitted for every source
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Interface on which it arrives
    pub interface: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Information only.
    Note,
    /// It can cause trouble, or does under some conditions.
    Warning,
    /// It is the reason why something does not work.
    Fault,
}

/// What a finding concerns. What does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "SubjectRecord")]
#[non_exhaustive]
pub struct Subject {
    /// The names of the interfaces.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub interfaces: Vec<String>,
    /// The groups, with their ports if those matter.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub groups: Vec<Endpoint>,
    /// The sources, with their ports if those are known.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub sources: Vec<Endpoint>,
    /// The program, as `name (pid)`.
    pub program: Option<String>,
}

/// A group or a source: an address, with a port if it is known and matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port; `None` for any, and for an unknown one.
    pub port: Option<u16>,
}

/// A subject as it is serialized: lists are separated by `, `.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Subject"))]
struct SubjectRecord {
    /// Interface
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// Group, with its port if the port matters
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Source address, with its port if known
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Program, as `name (pid)`
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
}

/// An observed value, with the earlier value if it changed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// Kind of evidence: counter, setting, packet, socket, table, interface, route, rule, answer or machine
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub kind: EvidenceKind,
    /// Where to look it up, such as a file, a counter or a setting
    pub location: String,
    /// Earlier value; omitted unless the evidence is a change
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_value: Option<String>,
    /// Current value
    pub value: String,
}

/// The kind of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A counter that increased.
    Counter,
    /// A system setting.
    Setting,
    /// Captured packets.
    Packet,
    /// A socket and its options.
    Socket,
    /// A kernel table.
    Table,
    /// An interface.
    Interface,
    /// A route.
    Route,
    /// A firewall rule.
    Rule,
    /// The system's response to an attempt.
    Answer,
    /// A property of the machine.
    Machine,
}

impl Finding {
    /// Returns a finding without evidence and remedies.
    #[must_use]
    pub fn new(id: Id, severity: Severity, cause: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            cause: agreeing(cause),
            evidence: Vec::new(),
            remedies: Vec::new(),
            subject: Subject::default(),
            flows: Vec::new(),
            references: id.references().iter().map(ToString::to_string).collect(),
            hook: None,
        }
    }

    /// Returns a fault.
    #[must_use]
    pub fn fault(id: Id, cause: impl Into<String>) -> Self {
        Self::new(id, Severity::Fault, cause)
    }

    /// Returns a warning.
    #[must_use]
    pub fn warning(id: Id, cause: impl Into<String>) -> Self {
        Self::new(id, Severity::Warning, cause)
    }

    /// Returns a note.
    #[must_use]
    pub fn note(id: Id, cause: impl Into<String>) -> Self {
        Self::new(id, Severity::Note, cause)
    }

    /// Sets the hook of the packet filter that takes the datagrams.
    pub(crate) fn at_hook(self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// Returns whether this is the same finding as one of an earlier examination. Evidence is ignored, because it
    /// changes with each examination.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.id, self.severity, &self.subject) == (other.id, other.severity, &other.subject)
    }

    /// Returns whether it has the rule of another finding of its cause as evidence.
    pub(crate) fn names_the_rule_of(&self, other: &Self) -> bool {
        let rules = |finding: &Self| {
            let rules = finding.evidence.iter().filter(|evidence| evidence.kind == EvidenceKind::Rule);
            rules.map(|evidence| evidence.location.clone()).collect::<Vec<_>>()
        };
        let others = rules(other);
        self.id == other.id && rules(self).iter().any(|rule| others.contains(rule))
    }

    /// Returns whether both have the same cause for one flow, whichever program gets it.
    pub(crate) fn is_about_flow_of(&self, other: &Self) -> bool {
        let is_of_flow = self.subject.source().is_some() && self.subject.program.is_none();
        is_of_flow && (self.id, &self.subject) == (other.id, &other.subject)
    }

    /// Returns whether it explains why the datagrams of a flow do not arrive. Only a fault does, and only if its cause
    /// loses datagrams. A warning is enough for datagrams that wait at the socket, where the program may read them later.
    pub(crate) fn explains(&self, flow: &FlowStatus) -> bool {
        let covers = || match self.flows.as_slice() {
            [] => self.subject.covers(flow),
            flows => flows.iter().any(|explained| explained.covers(flow)),
        };
        let enough = if flow.depth == Depth::AtSocket { Severity::Warning } else { Severity::Fault };
        self.severity >= enough && self.id.loses_datagrams() && covers()
    }

    /// Sets the flows whose loss it explains.
    #[must_use]
    pub fn explaining(self, flows: impl IntoIterator<Item = ExplainedFlow>) -> Self {
        Self { flows: flows.into_iter().collect(), ..self }
    }

    /// Adds a piece of evidence.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Adds evidence of a current value.
    #[must_use]
    pub fn evidence(self, kind: EvidenceKind, location: impl Into<String>, now: impl fmt::Display) -> Self {
        self.with_evidence(Evidence::new(kind, location, now))
    }

    /// Adds evidence of a value that changed.
    #[must_use]
    pub fn change(
        self,
        kind: EvidenceKind,
        location: impl Into<String>,
        before: impl fmt::Display,
        now: impl fmt::Display,
    ) -> Self {
        self.with_evidence(Evidence::change(kind, location, before, now))
    }

    /// Adds advice.
    #[must_use]
    pub fn advise(self, tool: Tool, advice: impl Into<String>) -> Self {
        self.with_remedies([Remedy::advice(tool, advice)])
    }

    /// Adds evidence.
    #[must_use]
    pub fn with_all_evidence(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// Adds remedies.
    #[must_use]
    pub fn with_remedies(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }

    /// Sets the interface that the finding concerns.
    #[must_use]
    pub fn on_interface(self, interface: impl Into<String>) -> Self {
        self.on_interfaces([interface])
    }

    /// Sets the interfaces that the finding concerns.
    #[must_use]
    pub fn on_interfaces(mut self, interfaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subject.interfaces = interfaces.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the group that the finding concerns.
    #[must_use]
    pub fn for_group(self, group: impl Into<Endpoint>) -> Self {
        self.for_groups([group])
    }

    /// Sets the groups that the finding concerns.
    #[must_use]
    pub fn for_groups(mut self, groups: impl IntoIterator<Item = impl Into<Endpoint>>) -> Self {
        self.subject.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the interface and the group that the finding concerns.
    #[must_use]
    pub(crate) fn concerning(self, interface: impl Into<String>, group: impl Into<Endpoint>) -> Self {
        self.on_interface(interface).for_group(group)
    }

    /// Sets the source that the finding concerns.
    #[must_use]
    pub fn from_source(self, source: impl Into<Endpoint>) -> Self {
        self.from_sources([source])
    }

    /// Sets the sources that the finding concerns.
    #[must_use]
    pub fn from_sources(mut self, sources: impl IntoIterator<Item = impl Into<Endpoint>>) -> Self {
        self.subject.sources = sources.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the interface, group and source that the finding concerns.
    #[must_use]
    pub(crate) fn about(
        self,
        interface: impl Into<String>,
        group: impl Into<Endpoint>,
        source: impl Into<Endpoint>,
    ) -> Self {
        self.concerning(interface, group).from_source(source)
    }

    /// Sets the interface, group and source of a flow.
    #[must_use]
    pub(crate) fn about_flow(self, interface: &str, flow: &Flow) -> Self {
        self.about(interface, flow.destination(), flow.key.source)
    }

    /// Adds something where it is known.
    #[must_use]
    pub(crate) fn with<T>(self, known: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match known {
            Some(known) => add(self, known),
            None => self,
        }
    }

    /// Sets the program that the finding concerns.
    #[must_use]
    pub fn in_program(mut self, program: impl fmt::Display) -> Self {
        self.subject.program = Some(program.to_string());
        self
    }
}

/// Writes the fields that apply: `on eth0, 239.255.2.3:5000, from 10.0.0.7, player (4711)`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface().map(|interface| format!("on {interface}"));
        let source = self.source().map(|source| format!("from {source}"));
        let parts = [interface, self.group(), source, self.program.clone()];
        f.write_str(&list(parts.into_iter().flatten()))
    }
}

impl Subject {
    /// Returns the interfaces as text.
    #[must_use]
    pub fn interface(&self) -> Option<String> {
        shown(&self.interfaces)
    }

    /// Returns the groups as text.
    #[must_use]
    pub fn group(&self) -> Option<String> {
        shown(&self.groups)
    }

    /// Returns the sources as text.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        shown(&self.sources)
    }

    /// Returns whether it includes an interface.
    pub(crate) fn has_interface(&self, name: &str) -> bool {
        self.interfaces.is_empty() || self.interfaces.iter().any(|own| own == name)
    }

    /// Returns whether it includes a group, on this port.
    pub(crate) fn has_group(&self, to: SocketAddr) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|own| own.covers(to))
    }

    /// Returns whether it includes a source.
    pub(crate) fn has_source(&self, source: SocketAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|own| own.covers(source))
    }

    /// Returns whether it includes a flow. A silent flow has no source, and may be sent to another interface.
    fn covers(&self, flow: &FlowStatus) -> bool {
        let has_interface = self.has_interface(&flow.interface);
        self.has_group(flow.destination)
            && match flow.source {
                Some(source) => has_interface && self.has_source(source),
                None => has_interface || !self.groups.is_empty(),
            }
    }
}

impl From<Subject> for SubjectRecord {
    fn from(subject: Subject) -> Self {
        let (interface, group, source) = (subject.interface(), subject.group(), subject.source());
        Self { interface, group, source, program: subject.program }
    }
}

impl Endpoint {
    /// Returns the address with its port, if it has one.
    pub(crate) fn socket_address(self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.address, port))
    }

    /// Returns whether it is this address, with this port if it has one.
    fn covers(self, other: SocketAddr) -> bool {
        self.address == other.ip() && self.port.is_none_or(|port| port == other.port())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip(), port: Some(address.port()) }
    }
}

impl From<IpAddr> for Endpoint {
    fn from(address: IpAddr) -> Self {
        Self { address, port: None }
    }
}

impl From<mcast::Group> for Endpoint {
    fn from(group: mcast::Group) -> Self {
        group.addr().into()
    }
}

impl From<mcast::GroupAddr> for Endpoint {
    fn from(address: mcast::GroupAddr) -> Self {
        Self { address: address.group.addr(), port: Some(address.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}

impl ExplainedFlow {
    pub(crate) fn covers(&self, flow: &FlowStatus) -> bool {
        let has_source =
            || self.source.is_none_or(|own| flow.source.is_some_and(|source| source.ip() == own));
        self.destination == flow.destination && self.interface == flow.interface && has_source()
    }
}

impl From<&FlowStatus> for ExplainedFlow {
    fn from(flow: &FlowStatus) -> Self {
        Self {
            destination: flow.destination,
            source: flow.source.map(|source| source.ip()),
            interface: flow.interface.clone(),
        }
    }
}

impl Evidence {
    /// Returns evidence of a current value.
    #[must_use]
    pub fn new(kind: EvidenceKind, location: impl Into<String>, value: impl fmt::Display) -> Self {
        Self { kind, location: location.into(), previous_value: None, value: agreeing(value.to_string()) }
    }

    /// Returns evidence of a value that changed from `previous` to `value`.
    #[must_use]
    pub fn change(
        kind: EvidenceKind,
        location: impl Into<String>,
        previous: impl fmt::Display,
        value: impl fmt::Display,
    ) -> Self {
        Self { previous_value: Some(agreeing(previous.to_string())), ..Self::new(kind, location, value) }
    }
}

/// Returns the first of several items as text, and how many others there are; `None` without any.
fn shown(items: &[impl fmt::Display]) -> Option<String> {
    const MAX_SHOWN: usize = 5;
    let first = list(items.iter().take(MAX_SHOWN));
    match items.len() {
        0 => None,
        count if count <= MAX_SHOWN => Some(first),
        count => Some(format!("{first} and {} others", count - MAX_SHOWN)),
    }
}

/// Returns items as a list in a sentence.
pub(crate) fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A finding as it is serialized.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct FindingRecord {
    /// Stable ID of the cause; `mcast explain ID` describes it
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    id: Id,
    /// Severity
    severity: Severity,
    /// Cause, in one sentence
    cause: String,
    /// What the finding concerns; fields that do not apply are omitted
    subject: Subject,
    /// Evidence that supports the finding
    evidence: Vec<Evidence>,
    /// Remedies, best first
    remedies: Vec<Remedy>,
    /// RFCs and other documents on the cause
    references: Vec<String>,
    /// Flows whose loss the finding explains; omitted if those are all flows of the subject
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flows: Vec<ExplainedFlow>,
}

impl From<Finding> for FindingRecord {
    fn from(finding: Finding) -> Self {
        let Finding { id, severity, cause, subject, evidence, remedies, flows, references, .. } = finding;
        Self { id, severity, cause, subject, evidence, remedies, references, flows }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.previous_value {
            Some(previous) => write!(f, "{}: {previous} -> {}", self.location, self.value),
            None => write!(f, "{}: {}", self.location, self.value),
        }
    }
}

/// How far the datagrams of a flow came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Depth {
    /// This machine sends them by an interface on which the group is not joined.
    OtherInterface,
    /// None was on the wire of the joined interface.
    NotOnWire,
    /// They were on the wire, and nothing shows that the IP layer accepted them.
    OnWire,
    /// The IP layer accepted them, and they did not reach the socket.
    AtIp,
    /// They reached the socket, and the program did not read them.
    AtSocket,
    /// They were read, apart from losses below 5 %.
    Arrives,
    /// They left this machine, whose program sends them.
    Leaves,
    /// Not observed.
    Unknown,
}

/// Whether datagrams are received by the socket that has joined the group. It follows from [`Report::flows`](crate::Report::flows).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ArrivalStatus {
    /// The datagrams of every expected flow arrive.
    Arrives,
    /// They arrived, and at least one stream has stopped since (`stream-stopped`).
    Stopped,
    /// Some flows arrive, and others do not.
    Incomplete,
    /// No flow arrives.
    Nothing,
    /// Not observed: a machine or a file was examined, or the examination could not see it.
    #[default]
    NotObserved,
}

/// An expected flow, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FlowStatus {
    /// Group and port; the group alone if the protocol has no ports, or the socket none yet
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[serde(rename = "group", serialize_with = "without_zero")]
    pub destination: SocketAddr,
    /// Source address and port; the address alone if the protocol has no ports; omitted if no datagram was seen
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "each_without_zero")]
    pub source: Option<SocketAddr>,
    /// Interface on which the group is joined, or by which it is sent
    pub interface: String,
    /// Program that should receive it, as `name (pid)`; omitted for the doctor itself
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Number of complete datagrams on the wire; omitted if the wire was not captured
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_wire: Option<u64>,
    /// Number of datagrams that the doctor's own socket received; omitted if another program should receive them
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// How far the datagrams came: sent by another interface of this machine, not on the wire, on the wire and not
    /// accepted by the IP layer, accepted and not at the socket, at the socket and not read, read, sent by the
    /// examined program, or not observed
    pub depth: Depth,
    /// Whether some of them arrive although others are lost.
    #[serde(skip)]
    pub(crate) some_arrive: bool,
}

impl FlowStatus {
    /// Returns its group, with the port if it has one.
    #[must_use]
    pub fn group(&self) -> Endpoint {
        with_port(self.destination)
    }

    /// Returns its source, with the port if it has one; `None` if no datagram was seen.
    #[must_use]
    pub fn sender(&self) -> Option<Endpoint> {
        self.source.map(with_port)
    }
}

/// Returns an address with its port, unless that is zero: protocols without UDP have none.
fn with_port(address: SocketAddr) -> Endpoint {
    Endpoint { address: address.ip(), port: Some(address.port()).filter(|port| *port != 0) }
}

fn without_zero<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&with_port(*address))
}

fn each_without_zero<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    address.map(|address| with_port(address).to_string()).serialize(serializer)
}

impl Depth {
    /// Returns whether the datagrams reached this machine and were lost inside it.
    #[must_use]
    pub const fn is_lost_here(self) -> bool {
        matches!(self, Self::OnWire | Self::AtIp | Self::AtSocket)
    }

    /// Returns whether nothing reached this machine.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::NotOnWire | Self::OtherInterface)
    }
}

impl ArrivalStatus {
    /// Returns the status of two memberships together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Arrives | Self::Stopped, Self::Arrives | Self::Stopped) => Self::Stopped,
            (Self::Incomplete | Self::Arrives | Self::Stopped, Self::Incomplete | Self::Nothing)
            | (Self::Incomplete | Self::Nothing, Self::Incomplete | Self::Arrives | Self::Stopped) => {
                Self::Incomplete
            }
            (Self::NotObserved, lost @ (Self::Incomplete | Self::Nothing))
            | (lost @ (Self::Incomplete | Self::Nothing), Self::NotObserved) => lost,
            _ => Self::NotObserved,
        }
    }
}

/// Writes where the datagrams are.
impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherInterface => "left by another interface",
            Self::NotOnWire => "not on the wire",
            Self::OnWire => "on the wire, not accepted by the IP layer",
            Self::AtIp => "accepted by the IP layer, not at the socket",
            Self::AtSocket => "at the socket, not read",
            Self::Arrives => "arrives",
            Self::Leaves => "leaves this machine",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::remedy::{Instructions, Persistence, RemedyScope};
    use crate::{Action, SocketAction};

    #[test]
    fn finding_serializes_with_its_references() {
        let finding = Finding::new(Id::ReversePathFilter, Severity::Fault, "It is dropped.")
            .on_interface("eth0")
            .with_evidence(Evidence::change(EvidenceKind::Counter, "IPReversePathFilter", 3, 13))
            .with_remedies([Remedy::now(crate::Tool::Sysctl, ["-w", "x=0"])]);
        let expected = serde_json::json!({
            "id": "reverse-path-filter",
            "severity": "fault",
            "cause": "It is dropped.",
            "subject": { "interface": "eth0" },
            "evidence": [{
                "kind": "counter",
                "location": "IPReversePathFilter",
                "previous_value": "3",
                "value": "13",
            }],
            "remedies": [{
                "tool": "sysctl",
                "persistence": "until-reboot",
                "command": "sysctl -w x=0",
                "needs_root": true,
                "steps": [{ "program": "sysctl", "args": ["-w", "x=0"] }],
            }],
            "references": ["RFC 3704 section 2", "ip-sysctl: rp_filter"],
        });
        assert_eq!(serde_json::to_value(finding).unwrap(), expected);
    }

    #[test]
    fn every_field_of_a_finding_is_written_in_order() {
        let socket = SocketAction { pid: 7, socket: 12, change: "hops ipv4 16".parse().unwrap() };
        let file = Change::File { path: "/etc/x".into(), text: Some("y".into()) };
        let removal = Instructions::Actions {
            actions: vec![
                Action::Remove { path: "/etc/x".into() },
                Action::Run { program: "sysctl".into(), args: vec!["-w".into()] },
            ],
            needs_root: true,
        };
        let scope = RemedyScope::after_restart("every group of this host").warning("It can end a session.");
        let remedy = Remedy {
            undo: Some(removal),
            ..Remedy::of(crate::Tool::Socket, Persistence::Now, [Change::Socket(socket), file])
                .with_scope(scope)
        };
        let undone = Remedy {
            undo: Some(Instructions::Advice("Join again.".into())),
            ..Remedy::advice(crate::Tool::Network, "Plug it in.")
        };
        let flow = ExplainedFlow {
            destination: "239.1.2.3:5000".parse().unwrap(),
            source: Some("10.0.0.1".parse().unwrap()),
            interface: "eth0".into(),
        };
        let finding = Finding::new(Id::NoRoute, Severity::Warning, "It is lost.")
            .on_interface("eth0")
            .for_group(IpAddr::from([239, 1, 2, 3]))
            .from_source(IpAddr::from([10, 0, 0, 1]))
            .in_program("x (7)")
            .with_evidence(Evidence::new(EvidenceKind::Socket, "/proc/net/udp", 1))
            .with_remedies([remedy.clone(), undone])
            .explaining([flow]);

        let command = serde_json::to_string(&remedy.command().unwrap()).unwrap();
        let removal = serde_json::to_string(&remedy.undo.unwrap().text()).unwrap();
        let expected = [
            r#"{"id":"no-route","severity":"warning","cause":"It is lost.","#,
            r#""subject":{"interface":"eth0","group":"239.1.2.3","source":"10.0.0.1","#,
            r#""program":"x (7)"},"evidence":[{"kind":"socket","location":"/proc/net/udp","#,
            r#""value":"1"}],"remedies":[{"tool":"socket","persistence":"until-reboot","command":"#,
            &command,
            r#","needs_root":true,"steps":[{"pid":7,"socket":12,"change":"hops ipv4 16"},"#,
            r#"{"path":"/etc/x","text":"y"}],"scope":"every group of this host","#,
            r#""effective":"after-restart","warning":"It can end a session.","undo":{"command":"#,
            &removal,
            r#","needs_root":true,"steps":[{"remove":"/etc/x"},{"program":"sysctl","#,
            r#""args":["-w"]}]}},{"tool":"network","persistence":"permanent","advice":"Plug it in.","#,
            r#""undo":{"advice":"Join again."}}],"references":["RFC 1112 section 6.1"],"#,
            r#""flows":[{"group":"239.1.2.3:5000","source":"10.0.0.1","interface":"eth0"}]}"#,
        ];
        assert_eq!(serde_json::to_string(&finding).unwrap(), expected.concat());
    }
}
