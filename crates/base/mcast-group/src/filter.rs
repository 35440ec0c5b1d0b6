//! Source filters.

use alloc::collections::BTreeSet;
use core::net::IpAddr;

/// The sources that a membership admits (RFC 3376 section 2).
///
/// An any-source membership is `Exclude` of an empty set; a source-specific one is `Include`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFilter {
    /// Only these sources. An empty set admits nothing, which is equivalent to no membership.
    Include(BTreeSet<IpAddr>),
    /// Every source except these.
    Exclude(BTreeSet<IpAddr>),
}

impl SourceFilter {
    /// Admits every source: an any-source membership.
    pub const ANY: Self = Self::Exclude(BTreeSet::new());
    /// Admits no source: equivalent to no membership.
    pub const NONE: Self = Self::Include(BTreeSet::new());

    /// Returns whether every source is admitted.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// Returns whether no source is admitted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns whether this source is admitted.
    #[must_use]
    pub fn admits(&self, source: IpAddr) -> bool {
        match self {
            Self::Include(sources) => sources.contains(&source),
            Self::Exclude(sources) => !sources.contains(&source),
        }
    }

    /// Returns the sources that the filter lists, in ascending order.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        let (Self::Include(sources) | Self::Exclude(sources)) = self;
        sources.iter().copied()
    }

    /// Returns a filter that admits the sources that both filters admit.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Include(a), Self::Include(b)) => Self::Include(a & b),
            (Self::Exclude(a), Self::Exclude(b)) => Self::Exclude(a | b),
            (Self::Exclude(excluded), Self::Include(included))
            | (Self::Include(included), Self::Exclude(excluded)) => Self::Include(included - excluded),
        }
    }

    /// Returns a filter that admits the sources that either filter admits. Hosts merge the filters of their
    /// sockets by this rule (RFC 3376 section 3.2).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Include(a), Self::Include(b)) => Self::Include(a | b),
            (Self::Exclude(a), Self::Exclude(b)) => Self::Exclude(a & b),
            (Self::Exclude(excluded), Self::Include(included))
            | (Self::Include(included), Self::Exclude(excluded)) => Self::Exclude(excluded - included),
        }
    }
}
