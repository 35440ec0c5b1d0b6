//! The receivers that a sender keeps accounts of: those that are there, and those that have gone.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::net::SocketAddr;

use super::congestion::RateControl;
use super::pacing::Mark;
use super::repair::RepairFlow;
use crate::replay::Counts;
use crate::seal::{Cipher, Purpose};
use crate::wire::{NAK_INTERVAL, ReceiverId, Status};

/// What a receiver is to the flow of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has requested repairs, and not yet said what it has.
    #[default]
    Unknown,
    /// It requests no repairs, so that nobody waits for it.
    BestEffort,
    /// It is waited for.
    Awaited,
    /// It kept the others waiting, and is not waited for until it has caught up and has room again.
    Evicted,
}

/// What a receiver has said of the end of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Nothing.
    #[default]
    Unconfirmed,
    /// It has received everything. Its application may still have to read some of it.
    Received,
    /// Its application has taken everything.
    Delivered,
}

impl End {
    pub(crate) const fn of(status: &Status) -> Self {
        match status.flags {
            flags if flags & Status::DELIVERED != 0 => Self::Delivered,
            flags if flags & Status::ENDED != 0 => Self::Received,
            _ => Self::Unconfirmed,
        }
    }
}

/// What a receiver has said of what it has. It survives the receiver's departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The datagram before which it has, or has given up, everything.
    pub(crate) next: u64,
    pub(crate) given_up: u64,
    pub(crate) lost_messages: u64,
    pub(crate) end: End,
    /// Datagrams of other kinds that it has sent: what comes twice is not looked at.
    pub(crate) counts: Counts,
}

impl Progress {
    pub(crate) const fn is_short(&self) -> bool {
        self.given_up > 0 || self.lost_messages > 0
    }
}

/// How a receiver went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It said so.
    Left,
    /// It said nothing for too long.
    Silent,
}

/// A receiver that has proven its address.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    pub(crate) role: Role,
    pub(crate) progress: Progress,
    /// From `progress.next` on, so many datagrams have room.
    pub(crate) window: u32,
    /// The most that it ever had room for: what is missing from it waits for the application.
    widest: u32,
    /// Where its room ended when it was last seen to get on, and when that was.
    pub(crate) advanced: (u64, u64),
    /// When it last came back after an eviction.
    pub(crate) returned: Option<u64>,
    pub(crate) heard: u64,
    /// The round-trip time; 0 before it is known.
    pub(crate) round_trip: u64,
    /// The last sample of it, in which queues on the way show.
    last_sample: u64,
    /// Samples of it: how many, the least of the last eight, the least since.
    samples: (u32, u64, u64),
    /// Datagrams that it has received, and when it said so.
    pub(crate) received: u64,
    pub(crate) highest: u64,
    /// When it was first known to have heard of that.
    highest_at: u64,
    /// Datagrams that it noticed to be missing, as a count that wraps.
    pub(crate) missed: u32,
    pub(super) mark: Mark,
    /// How fast its link lets everybody go.
    pub(crate) control: RateControl,
    /// Naks that it may still send, and when that was.
    naks_left: (u32, u64),
    pub(crate) repairs: RepairFlow,
    pub(crate) cipher: Option<(Purpose, Box<dyn Cipher>)>,
}

impl Member {
    pub(crate) fn new(address: SocketAddr, now: u64, progress: Progress, repairs: RepairFlow) -> Self {
        Self {
            address,
            role: Role::Unknown,
            progress,
            window: 0,
            widest: 0,
            advanced: (0, now),
            returned: None,
            heard: now,
            round_trip: 0,
            last_sample: 0,
            samples: (0, 0, 0),
            received: 0,
            highest: 0,
            highest_at: now,
            missed: 0,
            mark: Mark::default(),
            control: RateControl::new(SLOWEST),
            naks_left: (NAK_BURST, now),
            repairs,
            cipher: None,
        }
    }

    /// Takes note of a status; returns for how long it had heard nothing new of the stream before that.
    pub(crate) fn record(&mut self, status: &Status, now: u64, expected: u64) -> u64 {
        let progress = &mut self.progress;
        // One that was overtaken on the way takes nothing back.
        progress.next = progress.next.max(status.next);
        progress.end = progress.end.max(End::of(status));
        progress.given_up = progress.given_up.max(status.given_up);
        progress.lost_messages = progress.lost_messages.max(status.lost_messages);
        let mut silence = 0;
        if status.highest > self.highest {
            silence = now.saturating_sub(self.highest_at);
            self.highest_at = now;
        }
        if status.highest >= self.highest {
            (self.received, self.highest, self.missed) = (status.received, status.highest, status.missed);
        }
        self.window = status.window;
        self.widest = self.widest.max(status.window);
        let has_read_all = self.window > 0 && self.window == self.widest;
        if has_read_all || self.room_end() > self.advanced.0 {
            self.advanced = (self.room_end(), now);
        }
        if status.clock != 0 {
            let held = u64::from(status.held) * 1_000;
            let sample = now.saturating_sub(status.clock).saturating_sub(held).max(1);
            self.measure(sample, expected);
        }
        silence
    }

    /// The first datagram that it has no room for.
    pub(crate) fn room_end(&self) -> u64 {
        self.progress.next.saturating_add(u64::from(self.window))
    }

    /// Whether it has so much room that waiting for it delays nobody soon.
    pub(crate) const fn has_ample_room(&self) -> bool {
        self.window >= self.widest / 4
    }

    /// The least of the last eight to sixteen: what is longer waited somewhere, and is no long way.
    fn measure(&mut self, sample: u64, expected: u64) {
        self.last_sample = sample;
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

    /// How long what is sent now may take to be answered: queues on the way included, as far as that can be believed.
    pub(crate) fn answer_time(&self) -> u64 {
        self.round_trip.max(self.last_sample.min(LONGEST_QUEUE))
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

/// A queue holds nothing for longer; what takes longer was asleep.
const LONGEST_QUEUE: u64 = 1_000_000_000;
/// No link makes a sender slower than this, in bytes per second.
const SLOWEST: u64 = 65_536;
/// Naks that one receiver may send at once.
const NAK_BURST: u32 = 64;
/// Departed receivers that are remembered one by one; of older ones only the sums.
const MOST_DEPARTED: usize = 4096;

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("address", &self.address)
            .field("role", &self.role)
            .field("progress", &self.progress)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// A receiver that is no longer there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departed {
    pub(crate) address: SocketAddr,
    pub(crate) departure: Departure,
    pub(crate) progress: Progress,
    pub(crate) role: Role,
}

/// All receivers that a sender knows, and what follows from all of them together.
#[derive(Debug)]
pub(crate) struct Members {
    all: BTreeMap<ReceiverId, Member>,
    departed: BTreeMap<ReceiverId, Departed>,
    /// Who departed, the first first. Who returned and departed again stands here twice.
    order: VecDeque<ReceiverId>,
    limits: Limits,
    stale: bool,
}

/// How far the sender may go.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Who has confirmed least, and where that ends.
    slowest: Option<(ReceiverId, u64)>,
    /// Who has least room, and where that ends.
    narrowest: Option<(ReceiverId, u64)>,
    /// What everybody has heard of.
    least_heard: u64,
    /// What the slowest link takes, and what the fastest does if all have a limit. Bytes per second.
    rate: Option<u64>,
    rate_of_all: Option<u64>,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            departed: BTreeMap::new(),
            order: VecDeque::new(),
            limits: Limits {
                slowest: None,
                narrowest: None,
                least_heard: u64::MAX,
                rate: None,
                rate_of_all: None,
            },
            stale: false,
        }
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

    /// Whether a receiver has not sent the datagram of this number before, as far as is remembered.
    pub(crate) fn is_new(&self, id: ReceiverId, count: u64) -> bool {
        let known = self.all.get(&id).map(|member| &member.progress);
        let known = known.or_else(|| self.departed.get(&id).map(|departed| &departed.progress));
        known.is_none_or(|progress| progress.counts.is_new(count))
    }

    /// Takes in a receiver; what it had said before it departed still counts.
    pub(crate) fn join(&mut self, id: ReceiverId, address: SocketAddr, now: u64, repairs: RepairFlow) {
        let progress = self.departed.remove(&id).map(|departed| departed.progress).unwrap_or_default();
        self.all.insert(id, Member::new(address, now, progress, repairs));
        self.stale = true;
    }

    /// Moves a receiver to those that are no longer there. What is no longer remembered of an older one is returned.
    pub(crate) fn depart(&mut self, id: ReceiverId, departure: Departure) -> Option<Departed> {
        self.stale = true;
        let Member { address, progress, role, .. } = self.all.remove(&id)?;
        self.departed.insert(id, Departed { address, departure, progress, role });
        self.order.push_back(id);
        // Each entry of the order is dropped in turn, so that it stays bounded, too.
        let forgets = self.order.len() > MOST_DEPARTED;
        let oldest = if forgets { self.order.pop_front() } else { None };
        oldest.filter(|oldest| !self.order.contains(oldest)).and_then(|oldest| self.departed.remove(&oldest))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReceiverId, &Member)> {
        self.all.iter().map(|(id, member)| (*id, member))
    }

    pub(crate) fn departed(&self) -> impl Iterator<Item = (ReceiverId, &Departed)> {
        self.departed.iter().map(|(id, departed)| (*id, departed))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ReceiverId, &mut Member)> {
        self.stale = true;
        self.all.iter_mut().map(|(id, member)| (*id, member))
    }

    /// What somebody's state follows from has changed.
    pub(crate) fn changed(&mut self) {
        self.stale = true;
    }

    /// Who is waited for and has confirmed least, and where that ends.
    pub(crate) fn slowest(&mut self) -> Option<(ReceiverId, u64)> {
        self.refresh().slowest
    }

    /// Who is waited for and has least room, and where that ends.
    pub(crate) fn narrowest(&mut self) -> Option<(ReceiverId, u64)> {
        self.refresh().narrowest
    }

    /// Everybody who is waited for has heard of what is before this datagram.
    pub(crate) fn least_heard(&mut self) -> u64 {
        self.refresh().least_heard
    }

    /// Bytes per second that the slowest link takes, if one was found to be too slow.
    pub(crate) fn rate(&mut self) -> Option<u64> {
        self.refresh().rate
    }

    /// Bytes per second that the fastest link takes, if all were found to be too slow.
    pub(crate) fn rate_of_all(&mut self) -> Option<u64> {
        self.refresh().rate_of_all
    }

    /// The first datagram that somebody who is waited for has no room for.
    pub(crate) fn limit(&mut self) -> u64 {
        self.narrowest().map_or(u64::MAX, |(_, end)| end)
    }

    fn refresh(&mut self) -> Limits {
        if self.stale {
            self.stale = false;
            let awaited = || self.all.iter().filter(|(_, member)| member.role == Role::Awaited);
            let slowest =
                awaited().map(|(id, member)| (*id, member.progress.next)).min_by_key(|(_, end)| *end);
            let narrowest =
                awaited().map(|(id, member)| (*id, member.room_end())).min_by_key(|(_, end)| *end);
            let least_heard = awaited().map(|(_, member)| member.highest).min().unwrap_or(u64::MAX);
            let rates = || awaited().map(|(_, member)| member.control.rate());
            let rate = rates().flatten().min();
            let rate_of_all = rates().flatten().max().filter(|_| rates().all(|rate| rate.is_some()));
            self.limits = Limits { slowest, narrowest, least_heard, rate, rate_of_all };
        }
        self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: SocketAddr =
        SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)), 7000);

    const fn repairs() -> RepairFlow {
        RepairFlow::new(1_000, 1_000, 1)
    }

    #[test]
    fn a_status_that_was_overtaken_takes_nothing_back() {
        let mut member = Member::new(HOME, 1, Progress::default(), repairs());
        let status = |next, flags, given_up| Status { next, flags, given_up, ..Status::default() };
        member.record(&status(5, Status::ENDED, 2), 2, 1);
        member.record(&status(3, 0, 0), 3, 1);
        let Progress { next, end, given_up, .. } = member.progress;
        assert_eq!((next, end, given_up), (5, End::Received, 2));
    }

    #[test]
    fn the_departed_are_remembered_within_bounds() {
        let mut members = Members::new();
        let mut forgotten = 0;
        for number in 0..3 * MOST_DEPARTED as u64 {
            let id = ReceiverId(number);
            members.join(id, HOME, 1, repairs());
            members.get_mut(id).unwrap().progress.counts.note(9);
            forgotten += usize::from(members.depart(id, Departure::Left).is_some());
        }
        assert_eq!((members.departed.len(), forgotten), (MOST_DEPARTED, 2 * MOST_DEPARTED));
        let last = ReceiverId(3 * MOST_DEPARTED as u64 - 1);
        assert!(!members.is_new(last, 9), "a replay is taken for new");
        for _ in 0..3 * MOST_DEPARTED {
            members.join(last, HOME, 1, repairs());
            members.depart(last, Departure::Silent);
        }
        assert!(members.order.len() <= MOST_DEPARTED);
        assert!(!members.is_new(last, 9) && members.departed.len() <= MOST_DEPARTED);
    }
}
