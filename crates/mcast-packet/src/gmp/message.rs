//! The messages of IGMP and MLD, all versions.

use core::time::Duration;

use super::{Address, Records, RouterDiscovery, Sources};

/// A message of IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a, A: Address> {
    /// A router asks who is a member.
    Query(Query<'a, A>),
    /// A host is a member of a group, in the words of IGMPv1 (RFC 1112). MLD has no like of it.
    FirstReport {
        /// The group.
        group: A,
    },
    /// A host is a member of a group: IGMPv2 (RFC 2236), MLDv1 (RFC 2710).
    Report {
        /// The group.
        group: A,
    },
    /// A host may have been the last member of a group: IGMPv2's leave, MLDv1's done.
    Leave {
        /// The group.
        group: A,
    },
    /// A host tells or changes what it wants: IGMPv3 (RFC 3376), MLDv2 (RFC 3810).
    SourceReport(Records<'a, A>),
    /// A multicast router shows itself, or is looked for (RFC 4286).
    RouterDiscovery(RouterDiscovery),
}

impl<A: Address> Message<'_, A> {
    /// The version of the protocol that has this message: 1 to 3 for IGMP, 1 or 2 for MLD; 0 for router
    /// discovery, which has no versions.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self {
            Self::Query(query) => query.version(),
            Self::FirstReport { .. } => 1,
            Self::Report { .. } | Self::Leave { .. } => A::SOURCE_VERSION - 1,
            Self::SourceReport(_) => A::SOURCE_VERSION,
            Self::RouterDiscovery(_) => 0,
        }
    }

    /// Where the RFCs have the message sent to.
    #[must_use]
    pub fn destination(&self) -> A {
        match self {
            Self::Query(query) => query.group.unwrap_or(A::ALL_NODES),
            Self::FirstReport { group } | Self::Report { group } => *group,
            Self::Leave { .. } => A::ALL_ROUTERS,
            Self::SourceReport(_) => A::ALL_REPORT_ROUTERS,
            Self::RouterDiscovery(discovery) => discovery.destination(),
        }
    }
}

/// A router's question who is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a, A: Address> {
    /// The group asked about; `None` in a general query, which asks about all of them.
    pub group: Option<A>,
    /// How long hosts may wait before they answer. In steps of 100 ms in IGMP, 1 ms in MLD, coarser
    /// when long. Zero in IGMPv1, where it means 10 s.
    pub max_response_time: Duration,
    /// What IGMPv3 and MLDv2 add; `None` in a query of an older version.
    pub source_query: Option<SourceQuery<'a, A>>,
}

impl<A: Address> Query<'_, A> {
    /// The version of the protocol that has this query (RFC 3376 section 7.1, RFC 3810 section 8.1).
    #[must_use]
    pub const fn version(&self) -> u8 {
        let older = A::SOURCE_VERSION - 1;
        match self.source_query {
            Some(_) => A::SOURCE_VERSION,
            None if A::FIRST_REPORT.is_some() && self.max_response_time.is_zero() => 1,
            None => older,
        }
    }
}

/// The part of a query that IGMPv3 and MLDv2 have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceQuery<'a, A: Address> {
    /// Whether other routers should leave their timers alone (the S flag).
    pub suppress: bool,
    /// The querier's robustness variable, up to 7; 0 when it is larger or not said.
    pub robustness: u8,
    /// How often the querier asks, in steps of a second, coarser when long.
    pub interval: Duration,
    /// The sources asked about; none asks about the whole group.
    pub sources: Sources<'a, A>,
}
