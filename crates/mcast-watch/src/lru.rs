//! A map of bounded size that gives up what has not been used for longest.
//!
//! It has two parts: newcomers, and what has proved itself. A newcomer only ever drives out another
//! newcomer, or what has been silent the longest of the proven, as long as the proven fill no more than
//! three quarters. So a flood of keys that come once leaves what lasts where it is.

use std::collections::HashMap;
use std::hash::Hash;

/// A map of at most so many entries.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    places: HashMap<K, usize>,
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

/// The ends of a list of nodes.
#[derive(Debug, Default)]
struct List {
    oldest: Option<usize>,
    newest: Option<usize>,
    length: usize,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    /// For so many entries; at least 4.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            places: HashMap::new(),
            nodes: Vec::new(),
            newcomers: List::default(),
            proven: List::default(),
            capacity: capacity.max(4),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.places.get(key).map(|place| &self.nodes[*place].value)
    }

    /// The value, made if it is not there, and whether another had to go for it. It is now the last to
    /// be given up.
    pub(crate) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let (place, evicted) = match self.places.get(&key) {
            Some(place) => (*place, false),
            None => self.insert(key, make()),
        };
        self.unlink(place);
        self.link_newest(place);
        (&mut self.nodes[place].value, evicted)
    }

    /// Takes it among what has proved itself.
    pub(crate) fn prove(&mut self, key: &K) {
        let Some(place) = self.places.get(key).copied().filter(|place| !self.nodes[*place].proven) else {
            return;
        };
        self.move_to(place, true);
        let most = self.capacity - self.capacity / 4;
        if self.proven.length > most
            && let Some(oldest) = self.proven.oldest
        {
            self.move_to(oldest, false);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.unlink(place);
        let removed = self.nodes.swap_remove(place);
        if place < self.nodes.len() {
            self.moved_to(place);
        }
        Some(removed.value)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().map(|node| (&node.key, &node.value))
    }

    /// Keeps only what is wanted.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&K, &V) -> bool) {
        let unwanted: Vec<K> =
            self.iter().filter(|(key, value)| !wanted(key, value)).map(|(key, _)| *key).collect();
        for key in unwanted {
            self.remove(&key);
        }
    }

    /// Makes a newcomer, and says where it is and whether another had to go.
    fn insert(&mut self, key: K, value: V) -> (usize, bool) {
        let evicted = self.len() >= self.capacity && self.evict();
        let place = self.nodes.len();
        self.nodes.push(Node { key, value, older: None, newer: None, proven: false });
        self.places.insert(key, place);
        self.link_newest(place);
        (place, evicted)
    }

    /// Gives up the entry that has not been used for longest, a newcomer if there is one.
    fn evict(&mut self) -> bool {
        let oldest = self.newcomers.oldest.or(self.proven.oldest);
        let key = oldest.map(|place| self.nodes[place].key);
        key.and_then(|key| self.remove(&key)).is_some()
    }

    fn move_to(&mut self, place: usize, proven: bool) {
        self.unlink(place);
        self.nodes[place].proven = proven;
        self.link_newest(place);
    }

    /// The last node has taken this place: who named it by its old one names it by the new one.
    fn moved_to(&mut self, place: usize) {
        let Node { key, older, newer, proven, .. } = self.nodes[place];
        self.places.insert(key, place);
        match older {
            Some(older) => self.nodes[older].newer = Some(place),
            None => self.list(proven).oldest = Some(place),
        }
        match newer {
            Some(newer) => self.nodes[newer].older = Some(place),
            None => self.list(proven).newest = Some(place),
        }
    }

    fn list(&mut self, proven: bool) -> &mut List {
        if proven { &mut self.proven } else { &mut self.newcomers }
    }

    fn link_newest(&mut self, place: usize) {
        let proven = self.nodes[place].proven;
        let list = self.list(proven);
        let before = list.newest.replace(place);
        list.oldest.get_or_insert(place);
        list.length += 1;
        self.nodes[place].older = before;
        self.nodes[place].newer = None;
        if let Some(before) = before {
            self.nodes[before].newer = Some(place);
        }
    }

    fn unlink(&mut self, place: usize) {
        let Node { older, newer, proven, .. } = self.nodes[place];
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
    fn what_was_not_used_for_longest_goes_first() {
        let mut map = Lru::new(4);
        for key in [1, 2, 3, 4, 1] {
            assert!(!map.touch(key, || ()).1);
        }
        assert!(map.touch(5, || ()).1);
        assert_eq!(keys(&map), [1, 3, 4, 5]);
    }

    #[test]
    fn a_flood_of_newcomers_leaves_the_proven() {
        let mut map = Lru::new(8);
        for key in 0..6 {
            map.touch(key, || ());
            map.prove(&key);
        }
        let gone = (100..10_000).filter(|key| map.touch(*key, || ()).1).count();
        assert_eq!(keys(&map), [0, 1, 2, 3, 4, 5, 9_998, 9_999]);
        assert_eq!(gone, 9_900 - 2);
    }

    #[test]
    fn the_proven_leave_room_for_newcomers() {
        let mut map = Lru::new(8);
        for key in 0..8 {
            map.touch(key, || ());
            map.prove(&key);
        }
        map.touch(8, || ());
        // 0 and 1 had gone back among the newcomers, and 0 is the older of them.
        assert_eq!(keys(&map), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Touch(u32),
        Prove(u32),
        Remove(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..40_u32).prop_map(Step::Touch),
            2 => (0..40_u32).prop_map(Step::Prove),
            1 => (0..40_u32).prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn it_does_what_two_plain_lists_do(steps in steps(), capacity in 4_usize..20) {
            let mut map = Lru::new(capacity);
            // The oldest first.
            let (mut newcomers, mut proven) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Touch(key) => {
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
                    Step::Prove(key) => {
                        if newcomers.contains(&key) {
                            newcomers.retain(|other| *other != key);
                            proven.push(key);
                            if proven.len() > capacity - capacity / 4 {
                                newcomers.push(proven.remove(0));
                            }
                        }
                        map.prove(&key);
                    }
                    Step::Remove(key) => {
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
