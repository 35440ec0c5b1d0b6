//! The incarnations of the publisher: the one that is followed, its successor, and those that were followed before.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use crate::ClockTime;
use crate::proof::Counts;
use crate::provenance::Provenance;
use crate::times::subscriber::RIVAL_TIME;
use crate::wire::{
    DatagramView, Flags, Header, Heartbeat, Incarnation, IncarnationSalt, KeyEpoch, MessageNumber, Sequence,
};

/// What identifies an incarnation of the publisher, from the header of one of its heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct IncarnationIdentity {
    pub(super) incarnation: Incarnation,
    pub(super) salt: IncarnationSalt,
    pub(super) epoch: KeyEpoch,
    /// The sequence of that heartbeat.
    pub(super) count: u64,
    pub(super) provenance: Provenance,
    pub(super) requests_acknowledgements: bool,
}

impl IncarnationIdentity {
    pub(super) fn of(view: &DatagramView<'_>, heartbeat: &Heartbeat) -> Self {
        let Header { incarnation, epoch, sequence: count, flags, .. } = view.header;
        Self {
            incarnation,
            salt: view.salt(),
            epoch,
            count,
            provenance: Provenance::of(view, heartbeat),
            requests_acknowledgements: flags.has(Flags::ACKNOWLEDGE),
        }
    }
}

/// A new incarnation of the publisher, which is followed once all of the current one is delivered or reported as lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor {
    pub(super) identity: IncarnationIdentity,
    pub(super) heartbeat: Heartbeat,
    pub(super) from: SocketAddr,
    /// Whether it was reported that the current one may have published more.
    pub(super) is_unknown_reported: bool,
}

/// An older incarnation that sends while a newer one is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecondPublisher {
    incarnation: Incarnation,
    since: ClockTime,
    is_reported: bool,
}

/// The incarnations of the publisher.
#[derive(Debug)]
pub(super) struct Incarnations {
    /// The one that is followed, once one of its heartbeats has arrived.
    current: Option<Incarnation>,
    /// The salt that it seals with.
    salt: IncarnationSalt,
    /// The epoch of the key that it seals with.
    pub(super) epoch: KeyEpoch,
    /// Where its messages come from.
    pub(super) provenance: Provenance,
    /// The counts of its control datagrams.
    counts: Counts,
    /// A new one, which is followed once the rest of the current one is delivered.
    pub(super) successor: Option<Successor>,
    /// Those that were followed before.
    pub(super) former: FormerIncarnations,
    /// An older one that sends at the same time.
    pub(super) second_publisher: Option<SecondPublisher>,
}

impl Incarnations {
    pub(super) fn none() -> Self {
        Self {
            current: None,
            salt: IncarnationSalt::NONE,
            epoch: KeyEpoch::CLEAR,
            provenance: Provenance::NONE,
            counts: Counts::default(),
            successor: None,
            former: FormerIncarnations::default(),
            second_publisher: None,
        }
    }

    #[inline]
    pub(super) const fn current(&self) -> Option<Incarnation> {
        self.current
    }

    #[inline]
    pub(super) fn is_current(&self, incarnation: Incarnation) -> bool {
        self.current == Some(incarnation)
    }

    /// Returns the epoch of the current one's key, if one is followed.
    pub(super) fn epoch(&self) -> Option<KeyEpoch> {
        self.current.map(|_| self.epoch)
    }

    /// Whether this one has the messages of the current one, with the same numbers.
    pub(super) fn is_continued_by(&self, identity: &IncarnationIdentity) -> bool {
        self.provenance.is_same_content(&identity.provenance)
    }

    /// Whether this one has messages from before those of the current one, which subscribers have delivered.
    pub(super) fn is_ahead_of(&self, identity: &IncarnationIdentity) -> bool {
        self.provenance.is_ahead_of(&identity.provenance)
    }

    /// Whether the successor has the messages of the current one, with the same numbers.
    pub(super) fn is_continued(&self) -> bool {
        self.successor.is_some_and(|successor| self.is_continued_by(&successor.identity))
    }

    /// Returns whether a datagram with this salt is of another incarnation with the number of the current one.
    #[inline]
    pub(super) fn is_namesake(&self, incarnation: Incarnation, salt: IncarnationSalt) -> bool {
        self.is_current(incarnation) && self.salt != IncarnationSalt::NONE && salt != self.salt
    }

    /// Returns whether a control datagram of the current one is new.
    pub(super) const fn is_new(&self, count: u64) -> bool {
        self.counts.is_new(count)
    }

    /// Notes a control datagram of the current one.
    pub(super) fn record_control(&mut self, count: u64, salt: IncarnationSalt) {
        self.counts.note(count);
        if self.salt == IncarnationSalt::NONE {
            // The publisher has started to seal.
            self.salt = salt;
        }
    }

    /// Follows this one from now on.
    pub(super) fn follow(&mut self, identity: IncarnationIdentity) {
        self.current = Some(identity.incarnation);
        (self.salt, self.epoch, self.counts) = (identity.salt, identity.epoch, Counts::default());
        self.provenance = identity.provenance;
    }

    /// Notes the incarnation to follow next; of several, the latest.
    pub(super) fn set_successor(
        &mut self,
        identity: IncarnationIdentity,
        heartbeat: Heartbeat,
        from: SocketAddr,
    ) {
        let is_unknown_reported = match &self.successor {
            Some(known) if known.identity.incarnation > identity.incarnation => return,
            Some(known) => known.is_unknown_reported,
            None => false,
        };
        self.successor = Some(Successor { identity, heartbeat, from, is_unknown_reported });
    }

    /// Returns what is remembered of one that was followed.
    pub(super) fn former(&self, incarnation: Incarnation) -> Option<FormerIncarnation> {
        self.former.find(incarnation).copied()
    }

    /// Notes a heartbeat of an older one; returns whether it is a rival, and not merely late.
    pub(super) fn record_older(&mut self, now: ClockTime, incarnation: Incarnation) -> bool {
        let known =
            self.second_publisher.filter(|second_publisher| second_publisher.incarnation == incarnation);
        let second_publisher =
            known.unwrap_or(SecondPublisher { incarnation, since: now, is_reported: false });
        self.second_publisher = Some(second_publisher);
        now >= second_publisher.since + RIVAL_TIME
    }

    /// Returns whether the rival must be reported, the first time.
    pub(super) const fn report_rival(&mut self) -> bool {
        match &mut self.second_publisher {
            Some(second_publisher) => !core::mem::replace(&mut second_publisher.is_reported, true),
            None => false,
        }
    }
}

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

/// Incarnations of the publisher that were followed earlier.
///
/// Two publishers that share a stream, or a clock that was set back, make a subscriber leave an incarnation and return
/// to it. Without this memory it would omit earlier losses from its reports, deliver messages twice, and follow a
/// replayed heartbeat back to an incarnation that is over.
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
