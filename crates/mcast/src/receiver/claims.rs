//! Which memberships ask for which group on which interface, and what that comes to.

use std::collections::BTreeMap;

use mcast_group::{GroupAddr, InterfaceIndex, SourceFilter};

/// A group and port on one interface: what the kernel is asked to join.
pub(crate) type Key = (GroupAddr, InterfaceIndex);

/// A membership's number, unique within its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MembershipId(pub(crate) u64);

/// All that a receiver's memberships ask for. Two that ask for the same group on the same
/// interface get what either admits.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_key: BTreeMap<Key, BTreeMap<MembershipId, SourceFilter>>,
}

impl Claims {
    /// Adds or replaces what a membership asks for at this key.
    pub(crate) fn insert(&mut self, key: Key, membership: MembershipId, filter: SourceFilter) {
        self.by_key.entry(key).or_default().insert(membership, filter);
    }

    /// Takes back what a membership asks for at this key.
    pub(crate) fn remove(&mut self, key: Key, membership: MembershipId) {
        if let Some(claims) = self.by_key.get_mut(&key) {
            claims.remove(&membership);
            if claims.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// What all memberships together admit at this key; `None` if nobody asks for it.
    pub(crate) fn effective(&self, key: Key) -> Option<SourceFilter> {
        let claims = self.by_key.get(&key)?;
        claims.values().cloned().reduce(|a, b| a.union(&b))
    }

    /// The memberships that ask for this key.
    pub(crate) fn memberships(&self, key: Key) -> impl Iterator<Item = MembershipId> + '_ {
        self.by_key.get(&key).into_iter().flat_map(|claims| claims.keys().copied())
    }

    /// All keys that somebody asks for.
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
    fn two_memberships_admit_what_either_does() {
        let mut claims = Claims::default();
        claims.insert(key(), MembershipId(1), only("10.0.0.1"));
        claims.insert(key(), MembershipId(2), only("10.0.0.2"));
        assert_eq!(claims.effective(key()), Some(only("10.0.0.1").union(&only("10.0.0.2"))));

        claims.remove(key(), MembershipId(1));
        assert_eq!(claims.effective(key()), Some(only("10.0.0.2")));

        claims.remove(key(), MembershipId(2));
        assert_eq!(claims.effective(key()), None);
        assert_eq!(claims.keys().count(), 0);
    }
}
