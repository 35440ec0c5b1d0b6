//! Incarnations of the publisher that a subscriber followed earlier.
//!
//! Two publishers that share a stream, or a clock that was set back, make a subscriber leave an incarnation and return
//! to it. Without this memory it would omit earlier losses from its reports, deliver messages twice, and follow a
//! replayed heartbeat back to an incarnation that is over.

use alloc::collections::VecDeque;

use crate::wire::{Incarnation, MessageNumber, Sequence};

/// Number of incarnations to remember; then the oldest is forgotten.
const MAX_REMEMBERED: usize = 8;

/// The state of an incarnation when the subscriber left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormerIncarnation {
    pub(super) incarnation: Incarnation,
    /// The clock in its last heartbeat.
    pub(super) clock: u64,
    /// The next datagram, and the first message that starts in it or after it.
    pub(super) position: (Sequence, MessageNumber),
    /// Datagrams that were given up.
    pub(super) given_up: u64,
    /// Messages that were reported as lost.
    pub(super) lost_messages: u64,
}

#[derive(Debug, Default)]
pub(super) struct FormerIncarnations(VecDeque<FormerIncarnation>);

impl FormerIncarnations {
    pub(super) fn keep(&mut self, former: FormerIncarnation) {
        self.0.retain(|known| known.incarnation != former.incarnation);
        if self.0.len() == MAX_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(former);
    }

    pub(super) fn find(&self, incarnation: Incarnation) -> Option<&FormerIncarnation> {
        self.0.iter().find(|known| known.incarnation == incarnation)
    }

    /// Whether a heartbeat was sent before the subscriber left its incarnation, so that it is late or replayed.
    pub(super) fn is_replayed(&self, incarnation: Incarnation, clock: u64) -> bool {
        self.find(incarnation).is_some_and(|former| clock <= former.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former(incarnation: u32, clock: u64) -> FormerIncarnation {
        let incarnation = Incarnation(incarnation);
        FormerIncarnation {
            incarnation,
            clock,
            position: (Sequence::default(), MessageNumber(0)),
            given_up: 0,
            lost_messages: 0,
        }
    }

    #[test]
    fn heartbeats_from_before_an_incarnation_was_left_are_replays() {
        let mut former_incarnations = FormerIncarnations::default();
        former_incarnations.keep(former(1, 100));
        assert!(former_incarnations.is_replayed(Incarnation(1), 100));
        assert!(!former_incarnations.is_replayed(Incarnation(1), 101));
        assert!(!former_incarnations.is_replayed(Incarnation(2), 1), "it was never followed");
        former_incarnations.keep(former(1, 200));
        assert!(former_incarnations.is_replayed(Incarnation(1), 200));
    }

    #[test]
    fn the_oldest_incarnation_is_forgotten_first() {
        let mut former_incarnations = FormerIncarnations::default();
        (0..100).for_each(|number| former_incarnations.keep(former(number, number.into())));
        assert_eq!(former_incarnations.0.len(), MAX_REMEMBERED);
        assert!(
            former_incarnations.find(Incarnation(91)).is_none()
                && former_incarnations.find(Incarnation(92)).is_some()
        );
    }
}
