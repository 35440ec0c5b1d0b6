//! The messages of all versions of IGMP and MLD.

use core::time::Duration;

use super::{Address, Records, RouterDiscovery, Sources};

/// A message of IGMP (`A` is `Ipv4Addr`) or MLD (`A` is `Ipv6Addr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GmpMessage<'a, A: Address> {
    /// A membership query.
    Query(Query<'a, A>),
    /// An IGMPv1 membership report (RFC 1112). MLD has no equivalent.
    V1Report {
        /// The group.
        group: A,
    },
    /// An IGMPv2 (RFC 2236) or MLDv1 (RFC 2710) membership report.
    Report {
        /// The group.
        group: A,
    },
    /// An IGMPv2 leave or MLDv1 done message: the host may have been the last member of the group.
    Leave {
        /// The group.
        group: A,
    },
    /// An IGMPv3 (RFC 3376) or MLDv2 (RFC 3810) membership report, with source lists.
    V3Report(Records<'a, A>),
    /// A message of multicast router discovery (RFC 4286).
    RouterDiscovery(RouterDiscovery),
}

impl<A: Address> GmpMessage<'_, A> {
    /// Returns the protocol version that defines this message: 1 to 3 for IGMP, 1 or 2 for MLD, and 0 for
    /// router discovery, which has no versions.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self {
            Self::Query(query) => query.version(),
            Self::V1Report { .. } => 1,
            Self::Report { .. } | Self::Leave { .. } => A::SOURCE_VERSION - 1,
            Self::V3Report(_) => A::SOURCE_VERSION,
            Self::RouterDiscovery(_) => 0,
        }
    }

    /// Returns the destination that the RFCs define for the message.
    #[must_use]
    pub fn destination(&self) -> A {
        match self {
            Self::Query(query) => query.group.unwrap_or(A::ALL_NODES),
            Self::V1Report { group } | Self::Report { group } => *group,
            Self::Leave { .. } => A::ALL_ROUTERS,
            Self::V3Report(_) => A::ALL_REPORT_ROUTERS,
            Self::RouterDiscovery(discovery) => discovery.destination(),
        }
    }
}

/// A membership query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a, A: Address> {
    /// The queried group; `None` in a general query.
    pub group: Option<A>,
    /// The maximum time that hosts may wait before they report. The resolution is 100 ms in IGMP and 1 ms in
    /// MLD, and coarser for long times. IGMPv1 queries contain zero, which means 10 s.
    pub max_response_time: Duration,
    /// The fields added by IGMPv3 and MLDv2; `None` in a query of an older version.
    pub source_query: Option<SourceQuery<'a, A>>,
}

impl<A: Address> Query<'_, A> {
    /// Returns the protocol version of this query (RFC 3376 section 7.1, RFC 3810 section 8.1).
    #[must_use]
    pub const fn version(&self) -> u8 {
        let older = A::SOURCE_VERSION - 1;
        match self.source_query {
            Some(_) => A::SOURCE_VERSION,
            None if A::V1_REPORT.is_some() && self.max_response_time.is_zero() => 1,
            None => older,
        }
    }

    /// Returns the robustness of the querier, if the query states it.
    #[must_use]
    pub fn robustness(&self) -> Option<u8> {
        self.source_query.map(|query| query.robustness).filter(|robustness| *robustness > 0)
    }

    /// Returns the query interval of the querier, if the query states it.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.source_query.map(|query| query.interval).filter(|interval| !interval.is_zero())
    }
}

/// The fields of a query that IGMPv3 and MLDv2 add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceQuery<'a, A: Address> {
    /// Whether routers suppress the timer updates for this query (the S flag).
    pub suppress: bool,
    /// The querier's robustness variable (QRV), up to 7; 0 if it is larger or not stated.
    pub robustness: u8,
    /// The querier's query interval (QQI), with a resolution of 1 s, coarser for long intervals.
    pub interval: Duration,
    /// The queried sources. An empty list queries the whole group.
    pub sources: Sources<'a, A>,
}
