//! The statements of advice.

use core::fmt;
use core::net::Ipv4Addr;

use crate::{Assignment, Group, Malformation, Prefix, Reference, Relative, SourceSpecificRange};

/// A piece of advice on using a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The severity.
    pub severity: AdviceSeverity,
    /// The advice itself.
    pub statement: Statement,
    /// The document that states it.
    pub reference: Reference,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.statement, self.reference)
    }
}

/// The severity of a piece of advice, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdviceSeverity {
    /// Useful to know.
    Note,
    /// Suitable for some uses only.
    Caution,
    /// Use another group.
    Avoid,
}

impl fmt::Display for AdviceSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Caution => "caution",
            Self::Avoid => "avoid",
        })
    }
}

/// What to consider before using a group. `Display` writes a sentence without the final period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// The group or its range is reserved.
    Reserved,
    /// The scope is reserved.
    ReservedScope(u8),
    /// The flags and fields of the address are inconsistent.
    Malformed(Malformation),
    /// IANA assigns the groups of this block and has not assigned this one.
    Unassigned,
    /// The group is in a part of the source-specific range that is not free to use.
    SourceSpecificNotFree(SourceSpecificRange),
    /// The group is for documentation and examples only.
    Documentation,
    /// The group is registered.
    RegisteredTo(Assignment),
    /// The group is in use without being registered.
    InUseBy(Assignment),
    /// Only the holder of the autonomous system may assign it.
    BelongsToAutonomousSystem(u16),
    /// Only the holder of the IPv4 network may assign it.
    BelongsToNetwork(Ipv4Addr),
    /// Only the holder of the IPv6 prefix may assign it.
    BelongsToPrefix(Prefix),
    /// Only the node with the interface identifier may assign it.
    BelongsToInterface(u64),
    /// The range is reserved for the expansion of another scope, or unassigned.
    ReservedForExpansion,
    /// The group is among the relative addresses of a scope, which only IANA assigns.
    RelativeAddress(Relative),
    /// The group shares its Ethernet address with a control group.
    SharesControlAddress(Group),
    /// Receivers must join with a source.
    NeedsSource,
    /// Datagrams to the group never leave the host.
    StaysInHost,
    /// No router forwards the group.
    NeverForwarded,
    /// The group identifier is from the part that IANA assigns.
    LowGroupId(u32),
    /// Any-source multicast between domains is deprecated.
    AnySourceBetweenDomains,
    /// The protocol of the group uses this hop limit.
    ExpectsHopLimit(u8),
    /// Datagrams with the default hop limit do not cross routers.
    NeedsHopLimit,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("reserved; must not be used"),
            Self::ReservedScope(0xf) => f.write_str("scope f is reserved; use scope e for global groups"),
            Self::ReservedScope(nibble) => {
                write!(f, "scope {nibble:x} is reserved; datagrams to it are dropped")
            }
            Self::Malformed(malformation) => write!(f, "malformed address: {malformation}"),
            Self::Unassigned => {
                f.write_str("only IANA assigns groups in this block, and this one is not assigned")
            }
            Self::SourceSpecificNotFree(range) => {
                write!(f, "this part of the source-specific range is {range}")
            }
            Self::Documentation => {
                f.write_str("for documentation and examples; must not be used in a network")
            }
            Self::RegisteredTo(assignment) => {
                write!(f, "registered for {}; do not use it for anything else", assignment.name)
            }
            Self::InUseBy(assignment) => {
                write!(f, "used by {}, although not registered", assignment.name)
            }
            Self::BelongsToAutonomousSystem(number) => {
                write!(f, "only the holder of AS {number} may assign it")
            }
            Self::BelongsToNetwork(network) => write!(f, "only the holder of {network}/24 may assign it"),
            Self::BelongsToPrefix(prefix) => write!(f, "only the holder of {prefix} may assign it"),
            Self::BelongsToInterface(id) => {
                write!(f, "only the node with interface identifier {id:016x} may assign it")
            }
            Self::ReservedForExpansion => {
                f.write_str("reserved for future use; prefer 239.255.0.0/16 or 239.192.0.0/14")
            }
            Self::RelativeAddress(relative) => {
                write!(f, "only IANA assigns the last 256 addresses of a scope; this one is {relative}")
            }
            Self::SharesControlAddress(group) => {
                write!(f, "shares its Ethernet address with {group}, which switches flood to every port")
            }
            Self::NeedsSource => {
                f.write_str("source-specific: join it with a source; routers ignore a join without one")
            }
            Self::StaysInHost => f.write_str("never leaves the host"),
            Self::NeverForwarded => f.write_str(
                "never forwarded by routers, regardless of the hop limit; flooded to every port by switches",
            ),
            Self::LowGroupId(id) => {
                write!(
                    f,
                    "group identifier {id:x} is in the part that IANA assigns; choose one from 80000000 up"
                )
            }
            Self::AnySourceBetweenDomains => {
                f.write_str("any-source multicast between domains is deprecated; use a source-specific group")
            }
            Self::ExpectsHopLimit(limit) => write!(f, "its protocol uses hop limit {limit}"),
            Self::NeedsHopLimit => f.write_str(
                "datagrams with the default hop limit of 1 stay on the link; raise it to cross routers",
            ),
        }
    }
}
