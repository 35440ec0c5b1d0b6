//! What can be said of a group before using it.

use core::fmt;
use core::net::Ipv4Addr;

use crate::{Assignment, Group, Malformation, Prefix, Reference, Relative, SourceSpecificRange};

/// One thing to mind about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub statement: Statement,
    /// Where it is written.
    pub reference: Reference,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.statement, self.reference)
    }
}

/// How much a piece of advice matters, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Fine for some uses and not for others.
    Caution,
    /// Take another group.
    Avoid,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Caution => "caution",
            Self::Avoid => "avoid",
        })
    }
}

/// What there is to mind. `Display` writes a sentence without its full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// The group or its range is reserved.
    Reserved,
    /// The scope is reserved.
    ReservedScope(u8),
    /// Flags and fields contradict one another.
    Malformed(Malformation),
    /// IANA assigns the groups of the block, and has not assigned this one.
    Unassigned,
    /// A part of the source-specific range that is not free to use.
    SourceSpecificNotFree(SourceSpecificRange),
    /// Documents and examples only.
    Documentation,
    /// Registered.
    RegisteredTo(Assignment),
    /// In use although nobody registered it.
    InUseBy(Assignment),
    /// Only the holder of the autonomous system may assign it.
    BelongsToAutonomousSystem(u16),
    /// Only the holder of the IPv4 network may assign it.
    BelongsToNetwork(Ipv4Addr),
    /// Only the holder of the IPv6 prefix may assign it.
    BelongsToPrefix(Prefix),
    /// Only the node with the interface identifier may assign it.
    BelongsToInterface(u64),
    /// Kept until another scope is full.
    KeptForExpansion,
    /// In the top of the scope, where only IANA assigns.
    RelativeAddress(Relative),
    /// On Ethernet it looks like a control group.
    SharesControlAddress(Group),
    /// Receivers must name a source.
    NeedsSource,
    /// It never leaves the host.
    StaysInHost,
    /// No router forwards it.
    NeverForwarded,
    /// The identifier is from the part that IANA assigns.
    LowGroupId(u32),
    /// Any-source multicast between domains is deprecated.
    AnySourceBetweenDomains,
    /// The protocol of the group sends with this hop limit.
    ExpectsHopLimit(u8),
    /// It crosses no router with the default hop limit.
    NeedsHopLimit,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("it is reserved; nobody may use it"),
            Self::ReservedScope(0xf) => f.write_str("scope f is reserved; use scope e for global groups"),
            Self::ReservedScope(nibble) => {
                write!(f, "scope {nibble:x} is reserved; datagrams to it are dropped")
            }
            Self::Malformed(what) => write!(f, "the address contradicts itself: {what}"),
            Self::Unassigned => f.write_str("only IANA assigns groups here, and this one is not assigned"),
            Self::SourceSpecificNotFree(range) => {
                write!(f, "this part of the source-specific range is {range}")
            }
            Self::Documentation => f.write_str("for documents and examples; never to be sent to"),
            Self::RegisteredTo(assignment) => {
                write!(f, "registered for {}; use it for nothing else", assignment.name)
            }
            Self::InUseBy(assignment) => {
                write!(f, "{} uses it, though nobody registered it", assignment.name)
            }
            Self::BelongsToAutonomousSystem(number) => {
                write!(f, "only the holder of AS {number} may assign it")
            }
            Self::BelongsToNetwork(network) => write!(f, "only the holder of {network}/24 may assign it"),
            Self::BelongsToPrefix(prefix) => write!(f, "only the holder of {prefix} may assign it"),
            Self::BelongsToInterface(id) => {
                write!(f, "only the node with interface identifier {id:016x} may assign it")
            }
            Self::KeptForExpansion => {
                f.write_str("kept until the scopes in use are full; take 239.255.0.0/16 or 239.192.0.0/14")
            }
            Self::RelativeAddress(relative) => {
                write!(f, "only IANA assigns the top of a scope, and {relative} is there")
            }
            Self::SharesControlAddress(group) => {
                write!(f, "on Ethernet it looks like {group}, which switches send to every port")
            }
            Self::NeedsSource => {
                f.write_str("receivers join it together with a source; joined without one, routers ignore it")
            }
            Self::StaysInHost => f.write_str("it never leaves the host"),
            Self::NeverForwarded => {
                f.write_str("no router forwards it, whatever its hop limit; switches send it to every port")
            }
            Self::LowGroupId(id) => {
                write!(f, "identifier {id:x} is from the part that IANA assigns; choose one from 80000000 up")
            }
            Self::AnySourceBetweenDomains => f.write_str(
                "any-source multicast between domains is deprecated; source-specific groups do it",
            ),
            Self::ExpectsHopLimit(limit) => write!(f, "its protocol sends with hop limit {limit}"),
            Self::NeedsHopLimit => {
                f.write_str("with the default hop limit of 1 it stays on the link; raise it to cross routers")
            }
        }
    }
}
