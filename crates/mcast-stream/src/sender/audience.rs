//! What became of each receiver: the sender's report, from what the receivers said and from nothing else.

use core::net::SocketAddr;

use super::Sender;
use super::members::{Departed, Departure, End, Member, Progress, Role};
use crate::wire::ReceiverId;

/// Where a receiver stands. Best-effort receivers stand nowhere: they request nothing, and nobody waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It has received everything that was sent since it joined. Of a closed stream, its application has taken all of it
    /// and the end.
    Complete,
    /// It has received all of a closed stream, and its application has not taken all of that yet.
    Unread,
    /// It is there, and has not yet confirmed so many datagrams, or the end of a closed stream.
    Behind {
        /// How many datagrams.
        datagrams: u64,
    },
    /// It has given up something: it will never have everything.
    Short {
        /// Datagrams that it has given up.
        datagrams: u64,
        /// Messages that it has reported as lost to its application so far.
        messages: u64,
    },
    /// It left before the stream was closed, or before it had all of it.
    Left,
    /// It fell silent before its application had taken everything: what it has is not known.
    Unknown,
}

/// How many receivers stand where, those included that have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audience {
    /// [`Standing::Complete`].
    pub complete: u64,
    /// [`Standing::Unread`].
    pub unread: u64,
    /// [`Standing::Behind`].
    pub behind: u64,
    /// [`Standing::Short`].
    pub short: u64,
    /// [`Standing::Left`].
    pub left: u64,
    /// [`Standing::Unknown`].
    pub unknown: u64,
}

impl Audience {
    /// How many receivers there were.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.complete + self.unread + self.behind + self.short + self.left + self.unknown
    }

    pub(super) fn add(&mut self, standing: Standing) {
        *match standing {
            Standing::Complete => &mut self.complete,
            Standing::Unread => &mut self.unread,
            Standing::Behind { .. } => &mut self.behind,
            Standing::Short { .. } => &mut self.short,
            Standing::Left => &mut self.left,
            Standing::Unknown => &mut self.unknown,
        } += 1;
    }
}

impl Sender {
    /// How many receivers stand where, those included that have gone.
    #[must_use]
    pub fn audience(&self) -> Audience {
        let mut audience = self.forgotten;
        self.standings().for_each(|(.., standing)| audience.add(standing));
        audience
    }

    /// Where each receiver stands, and its address. Of receivers that have gone, the last 4,096 are remembered one by
    /// one; older ones count in [`audience`](Self::audience) alone.
    pub fn standings(&self) -> impl Iterator<Item = (ReceiverId, SocketAddr, Standing)> {
        let there = self.members.iter();
        let there =
            there.filter_map(|(id, member)| Some((id, member.address, self.standing_of_member(member)?)));
        let gone = self.members.departed();
        let gone = gone.filter_map(|(id, gone)| Some((id, gone.address, self.standing_of_departed(gone)?)));
        there.chain(gone)
    }

    /// How many receivers that request repairs are there, and how many of all that ever were have everything.
    #[must_use]
    pub fn receivers(&self) -> (usize, usize) {
        let there =
            self.members.iter().filter(|(_, member)| self.standing_of_member(member).is_some()).count();
        (there, self.audience().complete as usize)
    }

    /// Those that are there and may still get on: who has not confirmed everything, with how many datagrams, and of
    /// a closed stream who has not confirmed its end. Evicted ones are among them while they speak.
    pub fn behind(&self) -> impl Iterator<Item = (ReceiverId, u64)> {
        let counted = self.members.iter().filter(|(_, member)| self.standing_of_member(member).is_some());
        let waiting = counted.filter(|(_, member)| !self.is_settled(&member.progress));
        waiting.map(|(id, member)| (id, self.ring.next.saturating_sub(member.progress.next)))
    }

    /// The receivers that are there: who, where, the datagram before which each has confirmed everything, whether it
    /// is waited for.
    pub fn known(&self) -> impl Iterator<Item = (ReceiverId, SocketAddr, u64, bool)> {
        self.members
            .iter()
            .map(|(id, member)| (id, member.address, member.progress.next, member.role == Role::Awaited))
    }

    /// Whether a receiver needs nothing more: it has confirmed that it has received all there is.
    fn is_settled(&self, progress: &Progress) -> bool {
        progress.next >= self.ring.next && (progress.end >= End::Received || !self.closed)
    }

    fn standing_of_member(&self, member: &Member) -> Option<Standing> {
        let progress = &member.progress;
        match member.role {
            Role::Unknown | Role::BestEffort => None,
            _ if progress.is_short() => Some(short(progress)),
            _ if !self.is_settled(progress) => {
                Some(Standing::Behind { datagrams: self.ring.next.saturating_sub(progress.next) })
            }
            _ if self.closed && progress.end < End::Delivered => Some(Standing::Unread),
            _ => Some(Standing::Complete),
        }
    }

    pub(super) fn standing_of_departed(&self, departed: &Departed) -> Option<Standing> {
        let progress = &departed.progress;
        match (departed.role, departed.departure) {
            (Role::Unknown | Role::BestEffort, _) => None,
            _ if progress.is_short() => Some(short(progress)),
            _ if self.closed && progress.end == End::Delivered => Some(Standing::Complete),
            (_, Departure::Left) => Some(Standing::Left),
            (_, Departure::Silent) => Some(Standing::Unknown),
        }
    }
}

const fn short(progress: &Progress) -> Standing {
    Standing::Short { datagrams: progress.given_up, messages: progress.lost_messages }
}
