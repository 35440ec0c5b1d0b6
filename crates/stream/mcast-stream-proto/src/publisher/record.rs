//! What is recorded of each subscriber: what it has acknowledged, and the order of all by a number.

use alloc::collections::BinaryHeap;
use alloc::collections::binary_heap::PeekMut;
use core::cmp::Reverse;

use crate::wire::{Acknowledgement, MessageNumber, Sequence, SubscriberId, SubscriberName};

/// What a subscriber has reported about acknowledgements. It is kept after the subscriber's departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckRecord {
    pub(super) name: Option<SubscriberName>,
    /// Whether it was reported that another subscriber uses its name.
    pub(super) is_name_reported: bool,
    pub(super) reported: Option<Acknowledgement>,
    /// The first message that was published after it joined, and the first after it departed.
    pub(super) owes: (MessageNumber, Option<MessageNumber>),
}

impl AckRecord {
    /// Notes that the subscriber joined, or returned, before this message was published.
    pub(super) fn join(&mut self, next: MessageNumber) {
        match self.owes {
            (_, Some(_)) => self.owes.1 = None,
            _ => self.owes = (next, None),
        }
    }

    /// Notes that the subscriber departed before this message was published.
    pub(super) const fn depart(&mut self, next: MessageNumber) {
        self.owes.1 = Some(next);
    }

    /// Takes a report. Statuses may be overtaken on the way: the ranges of a subscriber only move forward.
    ///
    /// `was_expected`: the publisher has just started, so that a subscriber that begins with an earlier message than the next one
    /// when it was first heard was there before.
    pub(super) fn record(&mut self, report: Acknowledgement, has_lost: bool, was_expected: bool) {
        let known = match self.reported {
            // A snapshot may cover messages that were published after the subscriber joined.
            None if !has_lost => {
                let least = if was_expected { MessageNumber(0) } else { self.owes.0 };
                self.owes.0 = report.since.max(least);
                report
            }
            None => report,
            Some(known) if report.since < known.since => return,
            Some(known) if report.since > known.since => {
                // After a loss, everything before it counts no more, unless it is settled.
                if report.received < known.received {
                    return;
                }
                report
            }
            Some(known) => Acknowledgement {
                since: known.since,
                received: known.received.max(report.received),
                processed: known.processed.max(report.processed),
            },
        };
        self.reported = Some(known);
    }
}

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
