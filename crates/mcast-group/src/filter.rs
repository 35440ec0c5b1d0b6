//! Which sources of a group are admitted.

use alloc::collections::BTreeSet;
use core::net::IpAddr;

/// The sources that a membership admits: the filter of RFC 3376 section 2, as a value.
///
/// Any-source is `Exclude` of nobody; source-specific is `Include`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceFilter {
    /// Only these sources. Of nobody: nothing is admitted, which is no membership at all.
    Include(BTreeSet<IpAddr>),
    /// Every source but these.
    Exclude(BTreeSet<IpAddr>),
}

impl SourceFilter {
    /// Every source is admitted: an any-source membership.
    pub const ANY: Self = Self::Exclude(BTreeSet::new());
    /// No source is admitted: no membership.
    pub const NONE: Self = Self::Include(BTreeSet::new());

    /// Whether every source is admitted.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// Whether no source is admitted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether this source is admitted.
    #[must_use]
    pub fn admits(&self, source: IpAddr) -> bool {
        match self {
            Self::Include(sources) => sources.contains(&source),
            Self::Exclude(sources) => !sources.contains(&source),
        }
    }

    /// The sources named by the filter, in order.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        let (Self::Include(sources) | Self::Exclude(sources)) = self;
        sources.iter().copied()
    }

    /// What is admitted by either: the rule by which a host merges its sockets' filters
    /// (RFC 3376 section 3.2).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Include(a), Self::Include(b)) => Self::Include(a | b),
            (Self::Exclude(a), Self::Exclude(b)) => Self::Exclude(a & b),
            (Self::Exclude(out), Self::Include(admitted)) | (Self::Include(admitted), Self::Exclude(out)) => {
                Self::Exclude(out - admitted)
            }
        }
    }
}
