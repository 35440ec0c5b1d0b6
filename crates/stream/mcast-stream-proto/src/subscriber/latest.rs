//! The latest delivered message of each key.

use alloc::collections::BTreeMap;

use crate::wire::{MessageKey, MessageNumber};

#[derive(Debug)]
pub(super) struct Latest {
    all: BTreeMap<MessageKey, MessageNumber>,
    most: usize,
}

impl Latest {
    pub(super) const fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Notes a message; returns `false` if it or a later one of its key was delivered. A publisher that continues the stream
    /// may send again what was delivered early.
    pub(super) fn is_latest(&mut self, key: MessageKey, number: MessageNumber) -> bool {
        match self.all.get_mut(&key) {
            Some(known) if *known >= number => false,
            Some(known) => {
                *known = number;
                true
            }
            None => {
                if self.all.len() >= self.most {
                    // A forgotten key may deliver an outdated message once; the alternative is unbounded memory.
                    self.all.pop_first();
                }
                self.all.insert(key, number);
                true
            }
        }
    }
}
