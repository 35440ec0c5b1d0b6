//! The memberships requested for each group on each interface, and their combined filter.

use std::collections::BTreeMap;

use mcast_group::{GroupAddr, InterfaceIndex, SourceFilter};

/// A group and port on one interface: the unit that the kernel joins.
pub(crate) type Key = (GroupAddr, InterfaceIndex);

/// A membership's number, unique within its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MembershipId(pub(crate) u64);

/// All requests of a receiver's memberships. Requests for the same group on the same interface are
/// merged: a source that either admits is admitted.
#[derive(Debug, Default)]
pub(crate) struct RequestedMemberships {
    by_key: BTreeMap<Key, BTreeMap<MembershipId, SourceFilter>>,
}

impl RequestedMemberships {
    /// Adds or replaces the request of a membership at this key.
    pub(crate) fn insert(&mut self, key: Key, membership: MembershipId, filter: SourceFilter) {
        self.by_key.entry(key).or_default().insert(membership, filter);
    }

    /// Removes the request of a membership at this key.
    pub(crate) fn remove(&mut self, key: Key, membership: MembershipId) {
        if let Some(requested) = self.by_key.get_mut(&key) {
            requested.remove(&membership);
            if requested.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// Returns the union of all requests at this key; `None` if there is none.
    pub(crate) fn effective(&self, key: Key) -> Option<SourceFilter> {
        let requested = self.by_key.get(&key)?;
        requested.values().cloned().reduce(|a, b| a.union(&b))
    }

    /// Returns the memberships that request this key.
    pub(crate) fn memberships(&self, key: Key) -> impl Iterator<Item = MembershipId> + '_ {
        self.by_key.get(&key).into_iter().flat_map(|requested| requested.keys().copied())
    }

    /// Returns all requested keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.by_key.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("239.1.2.3:7000".parse().unwrap(), InterfaceIndex::new(2).unwrap())
    }

    fn only(source: &str) -> SourceFilter {
        SourceFilter::Include([source.parse().unwrap()].into())
    }

    #[test]
    fn two_memberships_admit_the_sources_of_either() {
        let mut requested = RequestedMemberships::default();
        requested.insert(key(), MembershipId(1), only("10.0.0.1"));
        requested.insert(key(), MembershipId(2), only("10.0.0.2"));
        assert_eq!(requested.effective(key()), Some(only("10.0.0.1").union(&only("10.0.0.2"))));

        requested.remove(key(), MembershipId(1));
        assert_eq!(requested.effective(key()), Some(only("10.0.0.2")));

        requested.remove(key(), MembershipId(2));
        assert_eq!(requested.effective(key()), None);
        assert_eq!(requested.keys().count(), 0);
    }
}
