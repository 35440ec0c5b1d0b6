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

/// The severity of a finding about a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanSeverity {
    /// Information only.
    Note,
    /// It can cause trouble.
    Warning,
    /// Traffic is lost, or goes where it should not.
    Fault,
}

/// What a plan is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PlanCheck {
    /// The line cannot be parsed.
    Unreadable,
    /// Another line has the same name.
    NameTwice,
    /// Receivers of another line receive the same datagrams.
    Overlap,
    /// The address does not have the form that its block requires.
    Malformed,
    /// The group is reserved.
    Reserved,
    /// The group is in a block that is assigned group by group, and has no assignment.
    Unassigned,
    /// The group is for documentation.
    Documentation,
    /// The group is source-specific, and the line gives no source.
    SsmWithoutSource,
    /// The group has the Ethernet address of a control group.
    MacAliasOfControl,
    /// The group stays on its network, and the line's hop limit is larger.
    ScopeTooSmall,
    /// The pair has only one feed.
    PairAlone,
    /// Feeds of a pair have the same group.
    PairSameGroup,
    /// Feeds of a pair have groups with the same Ethernet address.
    PairAlias,
    /// The group is registered for a protocol.
    Registered,
    /// A protocol uses the group without registration.
    InUse,
    /// The block of the group is assigned to another organization.
    NotYours,
    /// The group has the Ethernet address of another line's group.
    MacAlias,
    /// Another line has the group on another port.
    SameGroup,
    /// Feeds of a pair have the same port.
    PairSamePort,
    /// Feeds of a pair have the same interface.
    PairSameInterface,
    /// Feeds of a pair have the same source.
    PairSameSource,
    /// Feeds of a pair have different scopes.
    PairScopes,
    /// The group is in the block of its scope that is for protocols of the whole scope.
    ScopeTop,
    /// The block of the group is kept for the expansion of a scope.
    Kept,
    /// Another line has the same port.
    SharedPort,
}

impl PlanCheck {
    /// All checks, the most severe first.
    pub const ALL: [Self; 25] = [
        Self::Unreadable,
        Self::NameTwice,
        Self::Overlap,
        Self::Malformed,
        Self::Reserved,
        Self::Unassigned,
        Self::Documentation,
        Self::SsmWithoutSource,
        Self::MacAliasOfControl,
        Self::ScopeTooSmall,
        Self::PairAlone,
        Self::PairSameGroup,
        Self::PairAlias,
        Self::Registered,
        Self::InUse,
        Self::NotYours,
        Self::MacAlias,
        Self::SameGroup,
        Self::PairSamePort,
        Self::PairSameInterface,
        Self::PairSameSource,
        Self::PairScopes,
        Self::ScopeTop,
        Self::Kept,
        Self::SharedPort,
    ];

    /// Returns the id, which `allow=` in a line refers to.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NameTwice => "name-twice",
            Self::Overlap => "overlap",
            Self::Malformed => "malformed",
            Self::Reserved => "reserved",
            Self::Unassigned => "unassigned",
            Self::Documentation => "documentation",
            Self::SsmWithoutSource => "ssm-without-source",
            Self::MacAliasOfControl => "mac-alias-of-control",
            Self::ScopeTooSmall => "scope-too-small",
            Self::PairAlone => "pair-alone",
            Self::PairSameGroup => "pair-same-group",
            Self::PairAlias => "pair-alias",
            Self::Registered => "registered",
            Self::InUse => "in-use",
            Self::NotYours => "not-yours",
            Self::MacAlias => "mac-alias",
            Self::SameGroup => "same-group",
            Self::PairSamePort => "pair-same-port",
            Self::PairSameInterface => "pair-same-interface",
            Self::PairSameSource => "pair-same-source",
            Self::PairScopes => "pair-scopes",
            Self::ScopeTop => "scope-top",
            Self::Kept => "kept",
            Self::SharedPort => "shared-port",
        }
    }

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

impl fmt::Display for PlanCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl fmt::Display for PlanSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}
