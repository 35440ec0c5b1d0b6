//! The publisher's report on the delivery to each subscriber, based only on what subscribers confirmed.

use core::net::SocketAddr;

use super::PublisherMachine;
use super::members::{Departed, Departure, End, Member, Progress, Role};
use crate::wire::{Sequence, SubscriberId};

/// The delivery state of a subscriber. Best-effort subscribers have none: they request no repairs, and the publisher
/// does not wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriberProgress {
    /// It has received everything that was sent since it joined. If the stream is closed, its application has read all
    /// of it, and the end.
    Complete,
    /// Its application is still reading: what is left of a closed stream that was received completely, or a history.
    Unread,
    /// It is present, and has not yet confirmed some datagrams, or the end of a closed stream.
    Behind {
        /// The number of unconfirmed datagrams.
        datagrams: u64,
    },
    /// It has given up some datagrams, which it never gets, or reported losses. Both numbers are 0 if it is not known how many.
    Incomplete {
        /// Datagrams given up.
        datagrams: u64,
        /// Messages reported as lost to its application so far.
        messages: u64,
    },
    /// It left before its application was given all messages.
    Left,
    /// It left because of an error.
    Failed,
    /// It fell silent before its application had read everything: how much it received is unknown.
    Unknown,
}

/// The number of subscribers in each state, including departed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Audience {
    /// [`SubscriberProgress::Complete`].
    pub complete: u64,
    /// [`SubscriberProgress::Unread`].
    pub unread: u64,
    /// [`SubscriberProgress::Behind`].
    pub behind: u64,
    /// [`SubscriberProgress::Incomplete`].
    pub incomplete: u64,
    /// [`SubscriberProgress::Left`].
    pub left: u64,
    /// [`SubscriberProgress::Failed`].
    pub failed: u64,
    /// [`SubscriberProgress::Unknown`].
    pub unknown: u64,
}

impl Audience {
    /// Returns the number of all subscribers.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.complete + self.unread + self.behind + self.incomplete + self.left + self.failed + self.unknown
    }

    pub(super) fn add(&mut self, standing: SubscriberProgress) {
        *match standing {
            SubscriberProgress::Complete => &mut self.complete,
            SubscriberProgress::Unread => &mut self.unread,
            SubscriberProgress::Behind { .. } => &mut self.behind,
            SubscriberProgress::Incomplete { .. } => &mut self.incomplete,
            SubscriberProgress::Left => &mut self.left,
            SubscriberProgress::Failed => &mut self.failed,
            SubscriberProgress::Unknown => &mut self.unknown,
        } += 1;
    }
}

impl PublisherMachine {
    /// Returns the number of subscribers in each state, including departed ones.
    #[must_use]
    pub fn audience(&self) -> Audience {
        let mut audience = self.subscribers.forgotten;
        self.subscriber_progress().for_each(|(.., standing)| audience.add(standing));
        audience
    }

    /// Returns the address and the state of each subscriber. The last 4,096 departed subscribers are listed one by one;
    /// older ones only count in [`audience`](Self::audience).
    pub fn subscriber_progress(
        &self,
    ) -> impl Iterator<Item = (SubscriberId, SocketAddr, SubscriberProgress)> {
        let present = self.subscribers.members.iter();
        let present =
            present.filter_map(|(id, member)| Some((id, member.address, self.standing_of_member(member)?)));
        let departed = self.subscribers.members.departed();
        let departed = departed
            .filter_map(|(id, departed)| Some((id, departed.address, self.standing_of_departed(departed)?)));
        present.chain(departed)
    }

    /// Returns how many subscribers that request repairs are present, and how many of all subscribers, departed ones
    /// included, are complete.
    #[must_use]
    pub fn subscribers(&self) -> (usize, usize) {
        let present = self
            .subscribers
            .members
            .iter()
            .filter(|(_, member)| self.standing_of_member(member).is_some())
            .count();
        (present, self.audience().complete as usize)
    }

    /// Returns the present subscribers that have not confirmed everything, or not the end of a closed stream, or that read a
    /// history, each with its number of unconfirmed datagrams. Evicted subscribers are included until they depart.
    pub fn behind(&self) -> impl Iterator<Item = (SubscriberId, u64)> {
        let counted =
            self.subscribers.members.iter().filter(|(_, member)| self.standing_of_member(member).is_some());
        let waiting = counted.filter(|(_, member)| !self.has_confirmed_all(&member.progress));
        waiting.map(|(id, member)| (id, self.ring.next.ahead_of(member.progress.next)))
    }

    /// Returns the present subscribers: identifier, address, the first datagram that is not confirmed, and whether the
    /// publisher waits for it.
    pub fn known(&self) -> impl Iterator<Item = (SubscriberId, SocketAddr, Sequence, bool)> {
        self.subscribers
            .members
            .iter()
            .map(|(id, member)| (id, member.address, member.progress.next, member.role == Role::Awaited))
    }

    /// Returns whether a subscriber has confirmed everything, so that it needs nothing more.
    fn has_confirmed_all(&self, progress: &Progress) -> bool {
        progress.next >= self.ring.next
            && (progress.end >= End::Received || !self.intake.is_closed())
            && !progress.is_reading
    }

    /// Returns whether its application is reading: it may yet get what it lacks.
    pub(super) fn is_unread(&self, member: &Member) -> bool {
        let progress = &member.progress;
        let is_counted = !matches!(member.role_in_reports(), Role::Unknown | Role::BestEffort);
        let has_yet_to_read = progress.is_reading
            || self.intake.is_closed() && self.has_confirmed_all(progress) && progress.end < End::Delivered;
        is_counted && has_yet_to_read
    }

    fn standing_of_member(&self, member: &Member) -> Option<SubscriberProgress> {
        let progress = &member.progress;
        match member.role_in_reports() {
            Role::Unknown | Role::BestEffort => None,
            _ if self.is_unread(member) => Some(SubscriberProgress::Unread),
            _ if progress.is_incomplete() => Some(incomplete(progress)),
            _ if !self.has_confirmed_all(progress) => {
                Some(SubscriberProgress::Behind { datagrams: self.ring.next.ahead_of(progress.next) })
            }
            _ => Some(SubscriberProgress::Complete),
        }
    }

    /// Returns whether a subscriber that has left had been given all messages by then.
    fn had_all(&self, progress: &Progress) -> bool {
        progress.given == Some(self.intake.next_message())
    }

    pub(super) fn standing_of_departed(&self, departed: &Departed) -> Option<SubscriberProgress> {
        let progress = &departed.progress;
        match (departed.role, departed.departure) {
            (Role::Unknown | Role::BestEffort, _) => None,
            (_, Departure::Failed) => Some(SubscriberProgress::Failed),
            _ if progress.is_incomplete() => Some(incomplete(progress)),
            _ if self.intake.is_closed() && (progress.end == End::Delivered || self.had_all(progress)) => {
                Some(SubscriberProgress::Complete)
            }
            (_, Departure::Left) => Some(SubscriberProgress::Left),
            (_, Departure::Silent) => Some(SubscriberProgress::Unknown),
        }
    }
}

const fn incomplete(progress: &Progress) -> SubscriberProgress {
    SubscriberProgress::Incomplete { datagrams: progress.given_up, messages: progress.lost_messages }
}
