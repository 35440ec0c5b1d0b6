//! Lives of the sender that a receiver followed earlier.
//!
//! Two publishers that share a stream, or a clock that was set back, make a receiver leave a life and come back to it.
//! Without a memory of it, what was lost of that life would be forgotten in its reports, messages would be delivered
//! twice, and a replayed heartbeat would lead it back to a life that is over.

use alloc::collections::VecDeque;

use crate::wire::Incarnation;

/// How many are remembered; the oldest is forgotten.
const MOST: usize = 8;

/// A life that was followed, as it was left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    pub(super) incarnation: Incarnation,
    /// The clock of the last heartbeat of it.
    pub(super) clock: u64,
    /// The next datagram, and the first message that begins in it or behind it.
    pub(super) position: (u64, u64),
    /// Datagrams that were given up.
    pub(super) given_up: u64,
    /// Messages that were reported as lost.
    pub(super) lost_messages: u64,
}

#[derive(Debug, Default)]
pub(super) struct FormerLives(VecDeque<Former>);

impl FormerLives {
    pub(super) fn keep(&mut self, former: Former) {
        self.0.retain(|known| known.incarnation != former.incarnation);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(former);
    }

    pub(super) fn find(&self, incarnation: Incarnation) -> Option<&Former> {
        self.0.iter().find(|known| known.incarnation == incarnation)
    }

    /// Whether a heartbeat was sent before the life was left, so that it is late or replayed.
    pub(super) fn is_replayed(&self, incarnation: Incarnation, clock: u64) -> bool {
        self.find(incarnation).is_some_and(|former| clock <= former.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former(incarnation: u32, clock: u64) -> Former {
        let incarnation = Incarnation(incarnation);
        Former { incarnation, clock, position: (0, 0), given_up: 0, lost_messages: 0 }
    }

    #[test]
    fn only_later_heartbeats_of_a_life_that_was_left_count() {
        let mut lives = FormerLives::default();
        lives.keep(former(1, 100));
        assert!(lives.is_replayed(Incarnation(1), 100));
        assert!(!lives.is_replayed(Incarnation(1), 101));
        assert!(!lives.is_replayed(Incarnation(2), 1), "it was never followed");
        lives.keep(former(1, 200));
        assert!(lives.is_replayed(Incarnation(1), 200));
    }

    #[test]
    fn the_last_few_are_remembered() {
        let mut lives = FormerLives::default();
        (0..100).for_each(|life| lives.keep(former(life, life.into())));
        assert_eq!(lives.0.len(), MOST);
        assert!(lives.find(Incarnation(91)).is_none() && lives.find(Incarnation(92)).is_some());
    }
}
