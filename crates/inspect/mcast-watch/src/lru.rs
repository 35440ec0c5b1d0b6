//! A bounded map that evicts the least recently used entry.
//!
//! Entries are in one of two lists, newcomers and proven. A new entry evicts the oldest newcomer, or the
//! oldest proven entry if there are no newcomers; the proven list is limited to three quarters of the
//! capacity. A flood of keys that occur once therefore leaves long-lived entries in place.

use std::hash::{Hash, RandomState};

use lru::LruCache;

/// A map with a fixed maximum number of entries.
#[derive(Debug)]
pub(crate) struct Lru<K: Eq + Hash, V> {
    newcomers: List<K, V>,
    proven: List<K, V>,
    /// The key that was found last, if it is proven: packets come in bursts of one flow, and hashing a key takes longer than
    /// comparing it.
    latest_proven: Option<K>,
    capacity: usize,
}

/// Unbounded, because the limits are on both lists. Hashed with a random key, because packets determine the keys.
type List<K, V> = LruCache<K, V, RandomState>;

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// Creates a map for at most `capacity` entries; at least 4.
    pub(crate) fn new(capacity: usize) -> Self {
        let list = || List::unbounded_with_hasher(RandomState::new());
        Self { newcomers: list(), proven: list(), latest_proven: None, capacity: capacity.max(4) }
    }

    pub(crate) fn len(&self) -> usize {
        self.newcomers.len() + self.proven.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.proven.peek(key).or_else(|| self.newcomers.peek(key))
    }

    /// Returns a value without changing what is evicted first.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.proven.peek_mut(key).or_else(|| self.newcomers.peek_mut(key))
    }

    /// Makes an entry the most recently used one of its list.
    pub(crate) fn promote(&mut self, key: &K) {
        self.proven.promote(key);
        self.newcomers.promote(key);
    }

    pub(crate) fn has_newcomers(&self) -> bool {
        !self.newcomers.is_empty()
    }

    /// Returns the key that would be evicted first.
    pub(crate) fn first_to_evict(&self) -> Option<&K> {
        self.newcomers.peek_lru().or_else(|| self.proven.peek_lru()).map(|(key, _)| key)
    }

    /// Returns the value for `key`, inserting `make()` if it is absent, and whether another entry was evicted
    /// for it. The entry becomes the most recently used one of its list.
    pub(crate) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        if self.latest_proven.as_ref() == Some(&key) || self.proven.contains(&key) {
            if self.latest_proven.as_ref() != Some(&key) {
                self.latest_proven = Some(key.clone());
            }
            return (self.proven.get_or_insert_mut(key, make), false);
        }
        let evicted = self.len() >= self.capacity && !self.newcomers.contains(&key) && self.evict();
        (self.newcomers.get_or_insert_mut(key, make), evicted)
    }

    /// Moves an entry to the proven list. If that list is then too long, its oldest entry returns to the
    /// newcomers.
    pub(crate) fn prove(&mut self, key: &K) {
        if self.latest_proven.as_ref() == Some(key) {
            return;
        }
        let Some((key, value)) = self.newcomers.pop_entry(key) else { return };
        self.latest_proven = None;
        self.proven.put(key, value);
        if self.proven.len() > self.capacity - self.capacity / 4
            && let Some((key, value)) = self.proven.pop_lru()
        {
            self.newcomers.put(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.latest_proven = None;
        self.proven.pop(key).or_else(|| self.newcomers.pop(key))
    }

    pub(crate) fn clear(&mut self) {
        self.latest_proven = None;
        self.newcomers.clear();
        self.proven.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.newcomers.iter().chain(self.proven.iter())
    }

    /// Removes all entries for which `keep` returns false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let removed: Vec<K> =
            self.iter().filter(|(key, value)| !keep(key, value)).map(|(key, _)| key.clone()).collect();
        for key in removed {
            self.remove(&key);
        }
    }

    /// Evicts the least recently used entry, preferring newcomers.
    fn evict(&mut self) -> bool {
        self.latest_proven = None;
        self.newcomers.pop_lru().or_else(|| self.proven.pop_lru()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(map: &Lru<u32, ()>) -> Vec<u32> {
        let mut keys: Vec<u32> = map.iter().map(|(key, ())| *key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn least_recently_used_entry_is_evicted_first() {
        let mut map = Lru::new(4);
        for key in [1, 2, 3, 4, 1] {
            assert!(!map.touch(key, || ()).1);
        }
        assert!(map.touch(5, || ()).1);
        assert_eq!(keys(&map), [1, 3, 4, 5]);
    }

    #[test]
    fn flood_of_newcomers_evicts_no_proven_entry() {
        let mut map = Lru::new(8);
        for key in 0..6 {
            map.touch(key, || ());
            map.prove(&key);
        }
        let evicted = (100..10_000).filter(|key| map.touch(*key, || ()).1).count();
        assert_eq!(keys(&map), [0, 1, 2, 3, 4, 5, 9_998, 9_999]);
        assert_eq!(evicted, 9_900 - 2);
    }

    #[test]
    fn proven_entries_leave_room_for_newcomers() {
        let mut map = Lru::new(8);
        for key in 0..8 {
            map.touch(key, || ());
            map.prove(&key);
        }
        map.touch(8, || ());
        // 0 and 1 had returned to the newcomers, and 0 is the older of the two.
        assert_eq!(keys(&map), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Touch(u32),
        Prove(u32),
        Remove(u32),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            4 => (0..40_u32).prop_map(Operation::Touch),
            2 => (0..40_u32).prop_map(Operation::Prove),
            1 => (0..40_u32).prop_map(Operation::Remove),
        ];
        prop::collection::vec(operation, 0..300)
    }

    proptest! {
        #[test]
        fn behaves_like_two_plain_lists(operations in operations(), capacity in 4_usize..20) {
            let mut map = Lru::new(capacity);
            // Oldest first.
            let (mut newcomers, mut proven) = (Vec::new(), Vec::new());
            for operation in operations {
                match operation {
                    Operation::Touch(key) => {
                        let is_new = !newcomers.contains(&key) && !proven.contains(&key);
                        let full = newcomers.len() + proven.len() >= capacity;
                        if is_new && full {
                            if newcomers.is_empty() { proven.remove(0) } else { newcomers.remove(0) };
                        }
                        let list = if proven.contains(&key) { &mut proven } else { &mut newcomers };
                        list.retain(|other| *other != key);
                        list.push(key);
                        prop_assert_eq!(map.touch(key, || ()).1, is_new && full);
                    }
                    Operation::Prove(key) => {
                        if newcomers.contains(&key) {
                            newcomers.retain(|other| *other != key);
                            proven.push(key);
                            if proven.len() > capacity - capacity / 4 {
                                newcomers.push(proven.remove(0));
                            }
                        }
                        map.prove(&key);
                    }
                    Operation::Remove(key) => {
                        newcomers.retain(|other| *other != key);
                        proven.retain(|other| *other != key);
                        map.remove(&key);
                    }
                }
                let mut all = [newcomers.clone(), proven.clone()].concat();
                all.sort_unstable();
                prop_assert_eq!(keys(&map), all);
            }
        }
    }
}
