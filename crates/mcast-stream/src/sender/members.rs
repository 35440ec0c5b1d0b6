//! The receivers that a sender knows.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::fmt;
use core::net::SocketAddr;

use crate::replay::Counts;
use crate::seal::{Cipher, Purpose};
use crate::wire::{NAK_INTERVAL, ReceiverId, Status};

/// A receiver, as its sender knows it.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    /// It has shown that the address is its own.
    pub(crate) proven: bool,
    /// It has told what it has, and wants to be waited for.
    pub(crate) waited: bool,
    pub(crate) evicted: bool,
    /// It has confirmed the end of the stream.
    pub(crate) ended: bool,
    pub(crate) next: u64,
    pub(crate) window: u32,
    pub(crate) heard: u64,
    /// The round-trip time; 0 before it is known.
    pub(crate) round_trip: u64,
    /// Samples of it: how many, the least of the last eight, the least since.
    samples: (u32, u64, u64),
    pub(crate) loss: u32,
    pub(crate) received: u64,
    pub(crate) counts: Counts,
    /// Naks that it may still send, and when that was.
    pub(crate) naks_left: (u32, u64),
    pub(crate) cipher: Option<(Purpose, Box<dyn Cipher>)>,
}

impl Member {
    pub(crate) fn new(address: SocketAddr, now: u64) -> Self {
        Self {
            address,
            proven: false,
            waited: false,
            evicted: false,
            ended: false,
            next: 0,
            window: 0,
            heard: now,
            round_trip: 0,
            samples: (0, 0, 0),
            loss: 0,
            received: 0,
            counts: Counts::default(),
            naks_left: (NAK_BURST, now),
            cipher: None,
        }
    }

    /// Takes note of a status.
    pub(crate) fn record(&mut self, status: &Status, now: u64, expected: u64) {
        self.next = self.next.max(status.next);
        self.window = status.window;
        // One that was overtaken on the way takes nothing back.
        self.ended |= status.flags & Status::ENDED != 0;
        self.loss = status.loss;
        self.received = status.received;
        if status.clock != 0 {
            let held = u64::from(status.held) * 1_000;
            let sample = now.saturating_sub(status.clock).saturating_sub(held).max(1);
            self.measure(sample, expected);
        }
    }

    /// The least of the last eight to sixteen: what is longer waited somewhere, and is no long way.
    fn measure(&mut self, sample: u64, expected: u64) {
        if self.round_trip == 0 {
            // A clock may have sprung, or the receiver slept, at the first one, too.
            let first = sample.min(16 * expected + 10_000_000);
            self.samples = (0, first, first);
        }
        let (count, before, least) = self.samples;
        self.samples = match (count + 1) % 8 {
            0 => (count + 1, least, sample),
            _ => (count + 1, before, least.min(sample)),
        };
        self.round_trip = self.samples.1.min(self.samples.2).max(1);
    }

    /// Whether it may send another nak: so many at once, and then so many a second.
    pub(crate) fn may_nak(&mut self, now: u64) -> bool {
        let (left, at) = self.naks_left;
        let gained = now.saturating_sub(at) / NAK_INTERVAL;
        let left = left.saturating_add(u32::try_from(gained).unwrap_or(NAK_BURST)).min(NAK_BURST);
        self.naks_left = (left.saturating_sub(1), at + gained * NAK_INTERVAL);
        left > 0
    }
}

/// Naks that one receiver may send at once.
const NAK_BURST: u32 = 64;

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("address", &self.address)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// All receivers that a sender knows, and what follows from all of them together.
#[derive(Debug)]
pub(crate) struct Members {
    all: BTreeMap<ReceiverId, Member>,
    slowest: Option<(ReceiverId, u64)>,
    limit: u64,
    stale: bool,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self { all: BTreeMap::new(), slowest: None, limit: u64::MAX, stale: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get_mut(&mut self, id: ReceiverId) -> Option<&mut Member> {
        self.all.get_mut(&id)
    }

    pub(crate) fn get(&self, id: ReceiverId) -> Option<&Member> {
        self.all.get(&id)
    }

    pub(crate) fn insert(&mut self, id: ReceiverId, member: Member) {
        self.all.insert(id, member);
        self.stale = true;
    }

    pub(crate) fn remove(&mut self, id: ReceiverId) -> Option<Member> {
        self.stale = true;
        self.all.remove(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReceiverId, &Member)> {
        self.all.iter().map(|(id, member)| (*id, member))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ReceiverId, &mut Member)> {
        self.stale = true;
        self.all.iter_mut().map(|(id, member)| (*id, member))
    }

    /// What somebody's state follows from has changed.
    pub(crate) fn changed(&mut self) {
        self.stale = true;
    }

    /// Who is waited for and has least, and what that is.
    pub(crate) fn slowest(&mut self) -> Option<(ReceiverId, u64)> {
        self.look();
        self.slowest
    }

    /// The first datagram that somebody who is waited for has no room for.
    pub(crate) fn limit(&mut self) -> u64 {
        self.look();
        self.limit
    }

    fn look(&mut self) {
        if !self.stale {
            return;
        }
        self.stale = false;
        let waited = || self.all.iter().filter(|(_, member)| member.waited && !member.evicted);
        self.slowest = waited().map(|(id, member)| (*id, member.next)).min_by_key(|(_, next)| *next);
        let limit = waited().map(|(_, member)| member.next.saturating_add(u64::from(member.window)));
        self.limit = limit.min().unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_was_overtaken_takes_nothing_back() {
        let mut member = Member::new(SocketAddr::from(([10, 0, 0, 2], 7000)), 1);
        let status = |next, flags| Status { next, flags, ..Status::default() };
        member.record(&status(5, Status::ENDED), 2, 1);
        member.record(&status(3, 0), 3, 1);
        assert_eq!((member.next, member.ended), (5, true));
    }
}
