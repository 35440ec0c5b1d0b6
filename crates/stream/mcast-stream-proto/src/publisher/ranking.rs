//! Subscribers in the order of a number.

use alloc::collections::BinaryHeap;
use alloc::collections::binary_heap::PeekMut;
use core::cmp::Reverse;

use crate::wire::{Sequence, SubscriberId};

/// Subscribers by a number that only grows while they are in it, the least first.
///
/// An entry may have an older number, or be of a subscriber that no longer counts: that is corrected when it is the
/// first one. So a status costs time that grows with the logarithm of the number of subscribers.
#[derive(Debug)]
pub(super) struct Ranking(BinaryHeap<Reverse<(Sequence, SubscriberId)>>);

impl Ranking {
    pub(super) const fn new() -> Self {
        Self(BinaryHeap::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, id: SubscriberId, number: Sequence) {
        self.0.push(Reverse((number, id)));
    }

    /// Returns the subscriber with the least number. `number_of` returns the present number of a subscriber, and `None` if
    /// it does not count.
    pub(super) fn least(
        &mut self,
        number_of: impl Fn(SubscriberId) -> Option<Sequence>,
    ) -> Option<(SubscriberId, Sequence)> {
        while let Some(mut first) = self.0.peek_mut() {
            let Reverse((known, id)) = *first;
            match number_of(id) {
                Some(number) if number == known => return Some((id, known)),
                // Numbers only grow: an entry that is out of date is too small, and so comes up here.
                Some(number) => *first = Reverse((number, id)),
                None => _ = PeekMut::pop(first),
            }
        }
        None
    }
}

impl FromIterator<(SubscriberId, Sequence)> for Ranking {
    fn from_iter<I: IntoIterator<Item = (SubscriberId, Sequence)>>(all: I) -> Self {
        Self(all.into_iter().map(|(id, number)| Reverse((number, id))).collect())
    }
}
