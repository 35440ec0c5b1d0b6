//! Kinds of groups: the block that an address is from and the information encoded in it.

mod v4;
mod v6;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Group, WithReference};

/// The kind of group that an address is, with the information encoded in the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GroupKind {
    /// 224.0.0.0/24: protocols that stay on the link regardless of their TTL (RFC 5771 section 4).
    LocalNetworkControl,
    /// 224.0.1.0/24: protocols that may cross the Internet (RFC 5771 section 5).
    InternetworkControl,
    /// One of the AD-HOC blocks (RFC 5771 section 6).
    AdHoc(AdHocBlock),
    /// 224.2.0.0/16: conferences announced by SDP and SAP (RFC 5771 section 7).
    SdpSap,
    /// 224.252.0.0/14: transient groups of Distributed Interactive Simulation (IEEE 1278).
    DisTransient,
    /// An IPv4 range that IANA reserves (RFC 5771).
    Reserved,
    /// 232.0.0.0/8 or `ff3x::/32`: joined together with a source (RFC 4607).
    SourceSpecific(SourceSpecificRange),
    /// 233.0.0.0 to 233.251.255.255: 256 groups for every 16-bit autonomous system (RFC 3180).
    Glop {
        /// The autonomous system to which the group belongs.
        autonomous_system: u16,
    },
    /// 234.0.0.0/8: groups that belong to the holder of a unicast prefix (RFC 6034).
    ///
    /// The address does not contain the length of the prefix; it is at most 24.
    UnicastPrefixV4 {
        /// The first address of the /24 that lies within the holder's prefix.
        network: Ipv4Addr,
    },
    /// 239.0.0.0/8: free for use within boundaries set by administrators (RFC 2365).
    AdministrativelyScoped(AdministrativeRange),
    /// For documentation and examples: 233.252.0.0/24, `ff0x::db8:0:0/96` (RFC 6676).
    Documentation,
    /// `ff02::1:ff00:0/104`: neighbor discovery sends its solicitations here (RFC 4291 section 2.7.1).
    SolicitedNode {
        /// The last 24 bits of the solicited address.
        low_bits: u32,
    },
    /// `ff02::2:ff00:0/104`: node information queries (RFC 4620).
    NodeInformation {
        /// 24 bits of the hash of the queried name.
        name_hash: u32,
    },
    /// IPv6, T = 0: a group permanently assigned by IANA (RFC 4291 section 2.7).
    Permanent,
    /// IPv6, only T = 1: a group without a permanent assignment (RFC 4291 section 2.7).
    Transient {
        /// The last 32 bits: the group identifier (RFC 3307).
        group_id: u32,
    },
    /// IPv6, P = T = 1: a group that belongs to the holder of the prefix (RFC 3306).
    UnicastPrefixV6 {
        /// The unicast prefix.
        prefix: Prefix,
        /// The last 32 bits: the group identifier, chosen by the holder of the prefix.
        group_id: u32,
    },
    /// IPv6, P = T = 1 and prefix length 255: a group that belongs to one interface of one node (RFC 4489).
    LinkScoped {
        /// The interface identifier: the last 64 bits of the node's link-local address.
        interface_id: u64,
        /// The last 32 bits: the group identifier, chosen by the node.
        group_id: u32,
    },
    /// IPv6, R = P = T = 1: the address of the rendezvous point is embedded in the group (RFC 3956).
    EmbeddedRp {
        /// The rendezvous point.
        rendezvous_point: Ipv6Addr,
        /// The prefix of its network.
        prefix: Prefix,
        /// The last 32 bits: the group identifier, chosen by the network.
        group_id: u32,
    },
    /// An IPv6 group whose flags and fields contradict the standards.
    Malformed(Malformation),
}

impl Group {
    /// Returns the kind of group.
    ///
    /// ```
    /// use mcast_group::{Group, GroupKind};
    /// let group: Group = "233.8.9.1".parse()?;
    /// assert_eq!(group.kind(), GroupKind::Glop { autonomous_system: 2057 });
    /// # Ok::<(), mcast_group::ParseError>(())
    /// ```
    #[must_use]
    pub fn kind(self) -> GroupKind {
        self.kind_with_reference().value
    }

    pub(crate) fn kind_with_reference(self) -> WithReference<GroupKind> {
        match self.addr() {
            IpAddr::V4(address) => v4::kind(address),
            IpAddr::V6(address) => v6::kind(address),
        }
    }

    /// Returns whether the group is in 232.0.0.0/8 or `ff3x::/32`, and so must be joined with a source
    /// (RFC 4607 section 1).
    #[must_use]
    pub fn is_source_specific(self) -> bool {
        matches!(self.kind(), GroupKind::SourceSpecific(_))
    }

    /// Returns whether the group is for documentation only (RFC 6676): the ranges of that RFC, and groups
    /// derived from the documentation prefixes (RFC 5737, RFC 3849, RFC 9637) and autonomous systems (RFC
    /// 5398).
    #[must_use]
    pub fn is_documentation(self) -> bool {
        match self.kind() {
            GroupKind::Documentation => true,
            GroupKind::Glop { autonomous_system } => (64496..=64511).contains(&autonomous_system),
            GroupKind::UnicastPrefixV4 { network } => network.is_documentation(),
            GroupKind::UnicastPrefixV6 { prefix, .. } | GroupKind::EmbeddedRp { prefix, .. } => {
                prefix.is_documentation()
            }
            _ => false,
        }
    }
}

crate::named! {
    /// One of the AD-HOC blocks (RFC 5771 section 6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum AdHocBlock {
        /// 224.0.2.0 to 224.0.255.255.
        I = "AD-HOC block I",
        /// 224.3.0.0 to 224.4.255.255.
        II = "AD-HOC block II",
        /// 233.252.0.0 to 233.255.255.255, formerly the GLOP range of private autonomous systems.
        III = "AD-HOC block III",
    }
}

crate::named! {
    /// The parts of the source-specific ranges (RFC 4607 section 1, RFC 3307 section 4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum SourceSpecificRange {
        /// 232.0.0.0 and `ff3x::4000:0`: not to be used.
        Reserved = "reserved",
        /// 232.0.0.1 to 232.0.0.255 and `ff3x::4000:1` to `ff3x::7fff:ffff`: assigned by IANA.
        Iana = "assigned by IANA",
        /// The rest of 232.0.0.0/8, and `ff3x::8000:0` to `ff3x::ffff:ffff`: chosen by hosts.
        Host = "chosen by hosts",
        /// `ff3x::` to `ff3x::3fff:ffff`: not a valid source-specific group.
        Invalid = "not valid",
        /// The rest of `ff3x::/32`: source-specific, reserved for future use.
        Future = "reserved for future use",
    }
}

crate::named! {
    /// The parts of 239.0.0.0/8 (RFC 2365 section 6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum AdministrativeRange {
        /// 239.255.0.0/16: the local scope.
        Local = "local scope",
        /// 239.253.0.0/16 and 239.254.0.0/16: the expansion of the local scope.
        LocalExpansion = "expansion of the local scope",
        /// 239.192.0.0/14: the organization-local scope.
        OrganizationLocal = "organization-local scope",
        /// 239.0.0.0/10, 239.64.0.0/10 and 239.128.0.0/10: the expansion of the organization-local scope.
        OrganizationExpansion = "expansion of the organization-local scope",
        /// 239.196.0.0 to 239.252.255.255: no defined meaning.
        Unassigned = "unassigned",
    }
}

/// An IPv6 unicast prefix of at most 64 bits. `Display` writes `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    network: Ipv6Addr,
    length: u8,
}

impl Prefix {
    /// Returns the first address of the prefix.
    #[must_use]
    pub const fn network(self) -> Ipv6Addr {
        self.network
    }

    /// Returns the length of the prefix in bits, 0 to 64.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length in bits, not of a collection")]
    pub const fn len(self) -> u8 {
        self.length
    }

    /// Returns whether it is within a documentation prefix: 2001:db8::/32 (RFC 3849), 3fff::/20 (RFC 9637).
    #[must_use]
    pub const fn is_documentation(self) -> bool {
        let segments = self.network.segments();
        (self.length >= 32 && segments[0] == 0x2001 && segments[1] == 0xdb8)
            || (self.length >= 20 && segments[0] == 0x3fff && segments[1] < 0x1000)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the flags and fields of an IPv6 group are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Malformation {
    /// Flag P is set without T (RFC 3306 section 4).
    PrefixWithoutTransient,
    /// Flag R is set without P and T (RFC 3956 section 4).
    RendezvousWithoutPrefix,
    /// A prefix length above 64 that is not 255 (RFC 3306 section 4, RFC 3956 section 4).
    PrefixTooLong(u8),
    /// There is no prefix, but bits are set that must be zero in a source-specific group (RFC 3306 section
    /// 6).
    NoPrefix,
    /// An embedded rendezvous point with a prefix length of zero (RFC 3956 section 4).
    NoRendezvousPrefix,
    /// An embedded rendezvous point with interface number zero, which is an address shared by routers (RFC
    /// 3956 section 4).
    RendezvousIdZero,
    /// Prefix length 255, link-scoped, in a scope wider than the link (RFC 4489 section 3).
    LinkScopedBeyondLink,
}

impl fmt::Display for Malformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrefixWithoutTransient => "flag P without T",
            Self::RendezvousWithoutPrefix => "flag R without P and T",
            Self::PrefixTooLong(length) => return write!(f, "a prefix length of {length}, more than 64"),
            Self::NoPrefix => "a prefix length of zero with reserved bits set",
            Self::NoRendezvousPrefix => "an embedded rendezvous point without a prefix",
            Self::RendezvousIdZero => "an embedded rendezvous point with interface number zero",
            Self::LinkScopedBeyondLink => "a link-scoped group in a scope wider than the link",
        })
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalNetworkControl => f.write_str("local network control"),
            Self::InternetworkControl => f.write_str("internetwork control"),
            Self::AdHoc(block) => block.fmt(f),
            Self::SdpSap => f.write_str("SDP/SAP session"),
            Self::DisTransient => f.write_str("DIS transient"),
            Self::Reserved => f.write_str("reserved"),
            Self::SourceSpecific(range) => write!(f, "source-specific, {range}"),
            Self::Glop { autonomous_system } => write!(f, "GLOP of AS {autonomous_system}"),
            Self::UnicastPrefixV4 { network } => write!(f, "assigned by the holder of {network}/24"),
            Self::AdministrativelyScoped(range) => write!(f, "administratively scoped, {range}"),
            Self::Documentation => f.write_str("documentation"),
            Self::SolicitedNode { low_bits } => {
                write!(f, "solicited node of addresses ending in {low_bits:06x}")
            }
            Self::NodeInformation { name_hash } => {
                write!(f, "node information of names with hash {name_hash:06x}")
            }
            Self::Permanent => f.write_str("permanent, assigned by IANA"),
            Self::Transient { .. } => f.write_str("transient"),
            Self::UnicastPrefixV6 { prefix, .. } => write!(f, "assigned by the holder of {prefix}"),
            Self::LinkScoped { interface_id, .. } => {
                write!(f, "link-scoped, of the node with interface identifier {interface_id:016x}")
            }
            Self::EmbeddedRp { rendezvous_point, .. } => {
                write!(f, "embedded rendezvous point {rendezvous_point}")
            }
            Self::Malformed(malformation) => write!(f, "malformed: {malformation}"),
        }
    }
}
