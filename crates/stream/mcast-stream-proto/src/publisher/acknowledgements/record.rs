//! What a subscriber has reported about acknowledgements.

use crate::wire::{Acknowledgement, MessageNumber, SubscriberName};

/// The name of a subscriber, and what it has acknowledged. It is kept after the subscriber's departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckRecord {
    pub(in crate::publisher) name: Option<SubscriberName>,
    /// Whether it was reported that another subscriber uses its name.
    pub(in crate::publisher) is_name_reported: bool,
    pub(in crate::publisher) reported: Option<Acknowledgement>,
    /// The first message that was published after it joined, and the first after it departed.
    pub(in crate::publisher) owes: (MessageNumber, Option<MessageNumber>),
}

impl AckRecord {
    /// Notes that the subscriber joined, or returned, before this message was published.
    pub(in crate::publisher) fn join(&mut self, next: MessageNumber) {
        match self.owes {
            (_, Some(_)) => self.owes.1 = None,
            _ => self.owes = (next, None),
        }
    }

    /// Notes that the subscriber departed before this message was published.
    pub(in crate::publisher) const fn depart(&mut self, next: MessageNumber) {
        self.owes.1 = Some(next);
    }

    /// Takes a report. Statuses may be overtaken on the way: the ranges of a subscriber only move forward.
    ///
    /// `was_expected`: the publisher has just started, so that a subscriber that begins with an earlier message than the next one
    /// when it was first heard was there before.
    pub(in crate::publisher) fn record(
        &mut self,
        report: Acknowledgement,
        has_lost: bool,
        was_expected: bool,
    ) {
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
