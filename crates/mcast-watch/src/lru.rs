//! A bounded map that evicts the least recently used entry.
//!
//! Entries are in one of two lists, newcomers and proven. A new entry evicts the oldest newcomer, or the
//! oldest proven entry if there are no newcomers; the proven list is limited to three quarters of the
//! capacity. A flood of keys that occur once therefore leaves long-lived entries in index.

use std::collections::HashMap;
use std::hash::Hash;

/// A map with a fixed maximum number of entries.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    indices: HashMap<K, usize>,
    nodes: Vec<Node<K, V>>,
    newcomers: List,
    proven: List,
    capacity: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    older: Option<usize>,
    newer: Option<usize>,
    proven: bool,
}

/// The ends of a doubly linked list of nodes.
#[derive(Debug, Default)]
struct List {
    oldest: Option<usize>,
    newest: Option<usize>,
    length: usize,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    /// Creates a map for at most `capacity` entries; at least 4.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            indices: HashMap::new(),
            nodes: Vec::new(),
            newcomers: List::default(),
            proven: List::default(),
            capacity: capacity.max(4),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.indices.get(key).map(|index| &self.nodes[*index].value)
    }

    /// Returns the value for `key`, inserting `make()` if it is absent, and whether another entry was evicted
    /// for it. The entry becomes the most recently used one of its list.
    pub(crate) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let (index, evicted) = match self.indices.get(&key) {
            Some(index) => (*index, false),
            None => self.insert(key, make()),
        };
        self.unlink(index);
        self.link_newest(index);
        (&mut self.nodes[index].value, evicted)
    }

    /// Moves an entry to the proven list. If that list is then too long, its oldest entry returns to the
    /// newcomers.
    pub(crate) fn prove(&mut self, key: &K) {
        let Some(index) = self.indices.get(key).copied().filter(|index| !self.nodes[*index].proven) else {
            return;
        };
        self.move_to_list(index, true);
        let limit = self.capacity - self.capacity / 4;
        if self.proven.length > limit
            && let Some(oldest) = self.proven.oldest
        {
            self.move_to_list(oldest, false);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.indices.remove(key)?;
        self.unlink(index);
        let removed = self.nodes.swap_remove(index);
        if index < self.nodes.len() {
            self.relink(index);
        }
        Some(removed.value)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().map(|node| (&node.key, &node.value))
    }

    /// Removes all entries for which `keep` returns false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let removed: Vec<K> =
            self.iter().filter(|(key, value)| !keep(key, value)).map(|(key, _)| *key).collect();
        for key in removed {
            self.remove(&key);
        }
    }

    /// Inserts a newcomer, and returns its index and whether another entry was evicted.
    fn insert(&mut self, key: K, value: V) -> (usize, bool) {
        let evicted = self.len() >= self.capacity && self.evict();
        let index = self.nodes.len();
        self.nodes.push(Node { key, value, older: None, newer: None, proven: false });
        self.indices.insert(key, index);
        self.link_newest(index);
        (index, evicted)
    }

    /// Evicts the least recently used entry, preferring newcomers.
    fn evict(&mut self) -> bool {
        let oldest = self.newcomers.oldest.or(self.proven.oldest);
        let key = oldest.map(|index| self.nodes[index].key);
        key.and_then(|key| self.remove(&key)).is_some()
    }

    fn move_to_list(&mut self, index: usize, proven: bool) {
        self.unlink(index);
        self.nodes[index].proven = proven;
        self.link_newest(index);
    }

    /// Updates the references to the node that `swap_remove` has moved to `index`.
    fn relink(&mut self, index: usize) {
        let Node { key, older, newer, proven, .. } = self.nodes[index];
        self.indices.insert(key, index);
        match older {
            Some(older) => self.nodes[older].newer = Some(index),
            None => self.list(proven).oldest = Some(index),
        }
        match newer {
            Some(newer) => self.nodes[newer].older = Some(index),
            None => self.list(proven).newest = Some(index),
        }
    }

    fn list(&mut self, proven: bool) -> &mut List {
        if proven { &mut self.proven } else { &mut self.newcomers }
    }

    fn link_newest(&mut self, index: usize) {
        let proven = self.nodes[index].proven;
        let list = self.list(proven);
        let before = list.newest.replace(index);
        list.oldest.get_or_insert(index);
        list.length += 1;
        self.nodes[index].older = before;
        self.nodes[index].newer = None;
        if let Some(before) = before {
            self.nodes[before].newer = Some(index);
        }
    }

    fn unlink(&mut self, index: usize) {
        let Node { older, newer, proven, .. } = self.nodes[index];
        let list = self.list(proven);
        list.length -= 1;
        if newer.is_none() {
            list.newest = older;
        }
        if older.is_none() {
            list.oldest = newer;
        }
        if let Some(older) = older {
            self.nodes[older].newer = newer;
        }
        if let Some(newer) = newer {
            self.nodes[newer].older = older;
        }
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
