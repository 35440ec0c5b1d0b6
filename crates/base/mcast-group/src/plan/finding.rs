//! Findings about a plan.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use super::PlanEntry;

/// A finding about a line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanFinding {
    /// The line that it concerns.
    pub line: PlanLine,
    /// What it is. Its severity follows from this.
    pub check: PlanCheck,
    /// The name that the line gives; `None` if the line could not be parsed.
    pub name: Option<String>,
    /// The finding in one sentence.
    pub message: String,
    /// The document that supports it.
    pub reference: Option<String>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanLine {
    /// The name of the file.
    pub file: String,
    /// The number of the line, from 1.
    pub number: usize,
}

crate::named! {
    /// The severity of a finding about a plan.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum PlanSeverity {
        /// Information only.
        Note = "note",
        /// It can cause trouble.
        Warning = "warning",
        /// Traffic is lost, or goes where it should not.
        Fault = "fault",
    }
}

crate::named! {
    /// What a plan is checked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum PlanCheck {
        /// The line cannot be parsed.
        Unreadable = "unreadable",
        /// Another line has the same name.
        NameTwice = "name-twice",
        /// Receivers of another line receive the same datagrams.
        Overlap = "overlap",
        /// The address does not have the form that its block requires.
        Malformed = "malformed",
        /// The group is reserved.
        Reserved = "reserved",
        /// The group is in a block that is assigned group by group, and has no assignment.
        Unassigned = "unassigned",
        /// The group is for documentation.
        Documentation = "documentation",
        /// The group is source-specific, and the line gives no source.
        SsmWithoutSource = "ssm-without-source",
        /// The group has the Ethernet address of a control group.
        MacAliasOfControl = "mac-alias-of-control",
        /// The group stays on its network, and the line's hop limit is larger.
        ScopeTooSmall = "scope-too-small",
        /// The pair has only one feed.
        PairAlone = "pair-alone",
        /// Feeds of a pair have the same group.
        PairSameGroup = "pair-same-group",
        /// Feeds of a pair have groups with the same Ethernet address.
        PairAlias = "pair-alias",
        /// The group is registered for a protocol.
        Registered = "registered",
        /// A protocol uses the group without registration.
        InUse = "in-use",
        /// The block of the group is assigned to another organization.
        NotYours = "not-yours",
        /// The group has the Ethernet address of another line's group.
        MacAlias = "mac-alias",
        /// Another line has the group on another port.
        SameGroup = "same-group",
        /// Feeds of a pair have the same port.
        PairSamePort = "pair-same-port",
        /// Feeds of a pair have the same interface.
        PairSameInterface = "pair-same-interface",
        /// Feeds of a pair have the same source.
        PairSameSource = "pair-same-source",
        /// Feeds of a pair have different scopes.
        PairScopes = "pair-scopes",
        /// The group is in the block of its scope that is for protocols of the whole scope.
        ScopeTop = "scope-top",
        /// The block of the group is kept for the expansion of a scope.
        Kept = "kept",
        /// Another line has the same port.
        SharedPort = "shared-port",
    }
    /// Returns the id, which `allow=` in a line refers to.
    fn id;
}

impl PlanCheck {
    /// Returns how severe a finding of this check is.
    #[must_use]
    pub const fn severity(self) -> PlanSeverity {
        match self {
            Self::Kept | Self::SharedPort => PlanSeverity::Note,
            Self::Registered
            | Self::InUse
            | Self::NotYours
            | Self::MacAlias
            | Self::SameGroup
            | Self::PairSamePort
            | Self::PairSameInterface
            | Self::PairSameSource
            | Self::PairScopes
            | Self::ScopeTop => PlanSeverity::Warning,
            _ => PlanSeverity::Fault,
        }
    }

    /// Returns the check with this id.
    pub(super) fn with_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.id() == id)
    }
}

impl PlanFinding {
    /// Returns a finding about a line that could not be parsed.
    pub(super) fn unreadable(line: PlanLine, message: String) -> Self {
        Self { line, check: PlanCheck::Unreadable, name: None, message, reference: None }
    }

    /// Returns a finding about an entry.
    pub(super) fn of(entry: &PlanEntry, check: PlanCheck, message: String) -> Self {
        Self { line: entry.line.clone(), check, name: Some(entry.name.clone()), message, reference: None }
    }

    pub(super) fn with_reference(self, reference: String) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// Returns the severity of its check.
    #[must_use]
    pub const fn severity(&self) -> PlanSeverity {
        self.check.severity()
    }
}

impl PlanLine {
    pub(super) fn new(file: &str, number: usize) -> Self {
        Self { file: file.to_owned(), number }
    }
}

impl fmt::Display for PlanLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}
