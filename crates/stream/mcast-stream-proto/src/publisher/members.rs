//! The subscribers known to a publisher: the present ones, and a bounded number of departed ones.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::acknowledgements::AckRecord;
use super::auto_rate::Link;
use super::parity::LossMeter;
use super::ranking::Ranking;
use super::repair_flow::RepairFlow;
use crate::ClockTime;
use crate::proof::{Counts, NakLimit};
use crate::seal::{Cipher, Purpose};
use crate::span::times;
use crate::times::publisher::{LONGEST_QUEUE, MIN_HOLDOFF, STATUS_SPACING};
use crate::wire::{MessageNumber, Sequence, Status, SubscriberId};

/// The role of a subscriber in flow control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has requested repairs, and has not sent a status yet.
    #[default]
    Unknown,
    /// It requests no repairs, so the publisher does not wait for it.
    BestEffort,
    /// The publisher waits for it.
    Awaited,
    /// It was too slow. The publisher does not wait for it until it has caught up and has room again.
    Evicted,
}

/// What a subscriber has confirmed of the end of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It has confirmed nothing.
    #[default]
    Unconfirmed,
    /// It has received everything; its application may not have read all of it.
    Received,
    /// Its application has read everything.
    Delivered,
}

impl End {
    pub(crate) const fn of(status: &Status) -> Self {
        match status.flags {
            // What it reads from a history is not delivered yet.
            flags if flags & Status::DELIVERED != 0 && flags & Status::READING == 0 => Self::Delivered,
            flags if flags & Status::ENDED != 0 => Self::Received,
            _ => Self::Unconfirmed,
        }
    }
}

/// The progress that a subscriber has reported. It is kept after the subscriber's departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The first datagram that it has neither received nor given up.
    pub(crate) next: Sequence,
    pub(crate) given_up: u64,
    pub(crate) lost_messages: u64,
    pub(crate) end: End,
    /// When it left: its application was given the messages before this one.
    pub(crate) given: Option<MessageNumber>,
    /// Whether it reads a history, by its latest status.
    pub(crate) is_reading: bool,
    /// Whether it has reported an unknown loss.
    pub(crate) is_loss_unknown: bool,
    /// The count of that status.
    latest: u64,
    /// The counts of the control datagrams received from it, to detect replays.
    pub(crate) counts: Counts,
    pub(crate) acknowledgements: AckRecord,
}

impl Progress {
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.given_up > 0 || self.lost_messages > 0 || self.is_loss_unknown
    }

    /// Notes whether it reads a history, and has reported an unknown loss, unless a later status has arrived.
    pub(crate) const fn record_reading(&mut self, status: &Status, count: u64) {
        // Unlike progress, these may become false again, so that the order of the statuses matters.
        if count > self.latest {
            self.latest = count;
            self.is_reading = status.flags & Status::READING != 0;
            self.is_loss_unknown = status.flags & Status::UNKNOWN_LOSS != 0;
        }
    }
}

/// How a subscriber departed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It announced that it leaves.
    Left,
    /// It announced that it leaves because of an error.
    Failed,
    /// Nothing was received from it for too long.
    Silent,
}

/// A subscriber that has proven its address.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    pub(crate) role: Role,
    /// Its role when it last departed.
    former: Role,
    pub(crate) progress: Progress,
    /// The first datagram that it has no room for. A status that was overtaken on the way must not change it.
    room_end: Sequence,
    /// The largest window that it ever reported: a smaller one means that datagrams wait for the application.
    widest: u32,
    /// The end of its room when it last made progress, and the time of that.
    pub(crate) advanced: (Sequence, ClockTime),
    /// When it last returned after an eviction.
    pub(crate) returned: Option<ClockTime>,
    pub(crate) last_heard: ClockTime,
    /// The round-trip time; 0 before the first sample.
    pub(crate) round_trip: Duration,
    /// The last sample of the round-trip time, which includes queues on the way.
    last_sample: Duration,
    /// Samples of the round-trip time: their number, the least of the last full eight, the least since.
    samples: (u32, Duration, Duration),
    /// Datagrams that it has received, and one past the greatest sequence that it knows of.
    pub(crate) received: u64,
    pub(crate) highest: Sequence,
    /// When it first reported that sequence.
    highest_at: ClockTime,
    /// Datagrams that it detected as missing: a count that wraps.
    pub(crate) missed: u32,
    pub(super) loss: LossMeter,
    /// What its link carries.
    pub(super) link: Link,
    naks: NakLimit,
    pub(crate) repairs: RepairFlow,
    /// Whether it repairs for others, and can do so at present.
    pub(crate) repairs_for_others: bool,
    pub(crate) cipher: Option<(Purpose, Box<dyn Cipher>)>,
    /// Whether the rankings contain it.
    is_ranked: bool,
}

impl Member {
    /// Returns its role in what is reported of it. When it returns, and has sent no status yet, it lacks what it lacked
    /// when it departed.
    pub(crate) fn role_in_reports(&self) -> Role {
        if self.role == Role::Unknown { self.former } else { self.role }
    }

    pub(crate) fn new(address: SocketAddr, now: ClockTime, progress: Progress, repairs: RepairFlow) -> Self {
        Self {
            address,
            role: Role::Unknown,
            former: Role::Unknown,
            progress,
            room_end: Sequence::default(),
            widest: 0,
            advanced: (Sequence::default(), now),
            returned: None,
            last_heard: now,
            round_trip: Duration::ZERO,
            last_sample: Duration::ZERO,
            samples: (0, Duration::ZERO, Duration::ZERO),
            received: 0,
            highest: Sequence::default(),
            highest_at: now,
            missed: 0,
            loss: LossMeter::default(),
            link: Link::new(),
            naks: NakLimit::new(now),
            repairs,
            repairs_for_others: false,
            cipher: None,
            is_ranked: false,
        }
    }

    /// Records a status; returns for how long the subscriber had received nothing new of the stream before it. `sent` is one past
    /// the last datagram that was sent, and `verified_through` one past the last manifest, if the publisher signs.
    pub(crate) fn record(
        &mut self,
        status: &Status,
        now: ClockTime,
        expected: Duration,
        sent: Sequence,
        verified_through: Option<Sequence>,
    ) -> Duration {
        let progress = &mut self.progress;
        // A status that was overtaken on the way must not revert progress.
        progress.next = progress.next.max(status.next);
        progress.end = progress.end.max(End::of(status));
        progress.given_up = progress.given_up.max(status.given_up);
        progress.lost_messages = progress.lost_messages.max(status.lost_messages);
        let has_received = status.received > self.received;
        let mut silence = Duration::ZERO;
        if status.highest > self.highest {
            silence = now.since(self.highest_at);
            self.highest_at = now;
        }
        // `missed` wraps, so that the greater count is not always the later one.
        if status.highest >= self.highest {
            (self.received, self.highest, self.missed) = (status.received, status.highest, status.missed);
        }
        self.room_end = self.room_end.max(status.next + u64::from(status.window));
        self.widest = self.widest.max(status.window);
        // Room alone is not progress for a subscriber that lacks datagrams: it may have all of it, and an application
        // that has stopped reading. Repairs are, even if the first missing datagram is not among them: behind a
        // bottleneck, its repairs may be dropped again and again. Repairs of what follows the last manifest are not: when
        // no room is left for the next manifest, a subscriber that verifies discards that data and requests it, in vain.
        let lacks_nothing = status.next >= status.highest;
        // To have read everything that it knows of is none for a subscriber that learns of nothing any more, because the group
        // does not reach it: it would block the publisher for as long as its statuses arrive.
        let has_read_all =
            status.next >= sent && self.window() > 0 && self.window() == u64::from(self.widest);
        if has_read_all || self.room_end > self.advanced.0 {
            self.advanced = (self.room_end, now);
        } else if has_received && !lacks_nothing && verified_through != Some(status.next) {
            self.advanced.1 = now;
        }
        if status.clock != 0 {
            let held = Duration::from_micros(status.held.into());
            let sample =
                ((now.since(ClockTime(status.clock))).saturating_sub(held)).max(Duration::from_nanos(1));
            self.measure(sample, expected);
        }
        silence
    }

    /// Returns the first datagram that it has no room for.
    pub(crate) const fn room_end(&self) -> Sequence {
        self.room_end
    }

    /// Returns its room for datagrams from `progress.next` on.
    fn window(&self) -> u64 {
        self.room_end.ahead_of(self.progress.next)
    }

    /// Returns whether its room is large enough that it will not block the publisher soon.
    pub(crate) fn has_ample_room(&self) -> bool {
        self.window() >= u64::from(self.widest / 4)
    }

    /// Updates the round-trip time: the least of the last eight to sixteen samples, because a longer sample shows a
    /// queue and not the length of the way.
    fn measure(&mut self, sample: Duration, expected: Duration) {
        self.last_sample = sample;
        if self.round_trip == Duration::ZERO {
            // The first sample may be wrong, too: a clock was set, or the subscriber was suspended.
            let first = sample.min(16 * expected + Duration::from_millis(10));
            self.samples = (0, first, first);
        }
        let (count, before, least) = self.samples;
        self.samples = match (count + 1) % 8 {
            0 => (count + 1, least, sample),
            _ => (count + 1, before, least.min(sample)),
        };
        self.round_trip = self.samples.1.min(self.samples.2).max(Duration::from_nanos(1));
    }

    /// Returns the time in which a repair that was sent to it arrives.
    pub(super) fn holdoff(&self) -> Duration {
        self.answer_time().max(MIN_HOLDOFF)
    }

    /// Returns the time in which an answer to a datagram sent now is expected: the round-trip time with plausible
    /// queues on the way.
    pub(crate) fn answer_time(&self) -> Duration {
        self.round_trip.max(self.last_sample.min(LONGEST_QUEUE))
    }

    /// Returns whether another NAK is within the subscriber's limit.
    pub(crate) fn may_nak(&mut self, now: ClockTime) -> bool {
        self.naks.admits(now)
    }
}

/// Departed subscribers remembered one by one; of older ones only the sums are kept.
const MAX_DEPARTED: usize = 4096;

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("address", &self.address)
            .field("role", &self.role)
            .field("progress", &self.progress)
            .field("room_end", &self.room_end)
            .finish_non_exhaustive()
    }
}

/// A departed subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departed {
    pub(crate) address: SocketAddr,
    pub(crate) departure: Departure,
    pub(crate) progress: Progress,
    pub(crate) role: Role,
}

/// All subscribers known to a publisher, and the limits that follow from them.
#[derive(Debug)]
pub(crate) struct Members {
    /// Boxed: in the nodes of the tree, which are not full, they would take twice as much memory.
    all: BTreeMap<SubscriberId, Box<Member>>,
    departed: BTreeMap<SubscriberId, Departed>,
    /// Departed subscribers in the order of departure. A subscriber that returned and departed again is listed twice.
    order: VecDeque<SubscriberId>,
    /// The awaited members by what they have confirmed, by their room, and by what they know of.
    by_next: Ranking,
    by_room_end: Ranking,
    by_highest: Ranking,
    limits: Limits,
    is_stale: bool,
    /// Whether a rate may have changed, or of which subscribers they count.
    pub(super) rates_are_stale: bool,
}

/// The limits that the subscribers impose on the publisher.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The subscriber that has confirmed least, and its first unconfirmed datagram.
    slowest: Option<(SubscriberId, Sequence)>,
    /// The subscriber with the least room, and the first datagram that it has no room for.
    narrowest: Option<(SubscriberId, Sequence)>,
    /// All subscribers know of the datagrams before this one.
    least_known: Sequence,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            departed: BTreeMap::new(),
            order: VecDeque::new(),
            by_next: Ranking::new(),
            by_room_end: Ranking::new(),
            by_highest: Ranking::new(),
            limits: Limits { slowest: None, narrowest: None, least_known: Sequence::MAX },
            is_stale: false,
            rates_are_stale: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut Member> {
        self.all.get_mut(&id).map(|member| &mut **member)
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<&Member> {
        self.all.get(&id).map(|member| &**member)
    }

    /// Returns whether a control datagram is new: no remembered datagram of this subscriber had the same count.
    pub(crate) fn is_new(&self, id: SubscriberId, count: u64) -> bool {
        let known = self.all.get(&id).map(|member| &member.progress);
        let known = known.or_else(|| self.departed.get(&id).map(|departed| &departed.progress));
        known.is_none_or(|progress| progress.counts.is_new(count))
    }

    /// Adds a subscriber. If it was here before, the progress that it reported still counts, and what it lost of the
    /// datagrams before `sent`, it lost because it was away.
    pub(crate) fn join(
        &mut self,
        id: SubscriberId,
        address: SocketAddr,
        now: ClockTime,
        repairs: RepairFlow,
        sent: Sequence,
    ) {
        let mut member = Member::new(address, now, Progress::default(), repairs);
        if let Some(departed) = self.departed.remove(&id) {
            (member.progress, member.former) = (departed.progress, departed.role);
            member.link.begin_at(sent);
        }
        let former = self.all.insert(id, Box::new(member));
        debug_assert!(former.is_none(), "a subscriber joins twice");
        debug_assert!(!self.departed.contains_key(&id), "a subscriber is present and departed");
        (self.is_stale, self.rates_are_stale) = (true, true);
    }

    /// Moves a subscriber to the departed ones. Returns the older one that is forgotten for it, if any.
    pub(crate) fn depart(&mut self, id: SubscriberId, departure: Departure) -> Option<Departed> {
        (self.is_stale, self.rates_are_stale) = (true, true);
        let member = self.all.remove(&id)?;
        // One that has returned, and departs before its first status, keeps the role that it had.
        let (role, Member { address, progress, .. }) = (member.role_in_reports(), *member);
        debug_assert!(self.order.len() <= MAX_DEPARTED, "more departed subscribers than are remembered");
        self.departed.insert(id, Departed { address, departure, progress, role });
        self.order.push_back(id);
        // One entry is dropped for each that is added, so that the order is bounded, too.
        let forgets = self.order.len() > MAX_DEPARTED;
        let oldest = if forgets { self.order.pop_front() } else { None };
        // One that is listed again has departed again since, and is not the oldest.
        oldest.filter(|oldest| !self.order.contains(oldest)).and_then(|oldest| self.departed.remove(&oldest))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SubscriberId, &Member)> {
        self.all.iter().map(|(id, member)| (*id, &**member))
    }

    pub(crate) fn departed(&self) -> impl Iterator<Item = (SubscriberId, &Departed)> {
        self.departed.iter().map(|(id, departed)| (*id, departed))
    }

    pub(crate) fn departed_progress(&self, id: SubscriberId) -> Option<&Progress> {
        self.departed.get(&id).map(|departed| &departed.progress)
    }

    /// Returns all subscribers, to change anything but their roles and their progress.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SubscriberId, &mut Member)> {
        self.rates_are_stale = true;
        self.all.iter_mut().map(|(id, member)| (*id, &mut **member))
    }

    /// Invalidates the limits after a change to the role or the progress of a subscriber.
    pub(crate) fn changed(&mut self, id: SubscriberId) {
        self.is_stale = true;
        let Some(member) = self.all.get_mut(&id) else { return };
        let is_awaited = member.role == Role::Awaited;
        let was_ranked = core::mem::replace(&mut member.is_ranked, is_awaited);
        // Only awaited subscribers limit the rate.
        self.rates_are_stale |= is_awaited != was_ranked;
        if is_awaited && !was_ranked {
            self.by_next.add(id, member.progress.next);
            self.by_room_end.add(id, member.room_end());
            self.by_highest.add(id, member.highest);
            self.bound_rankings();
        }
    }

    /// Removes entries of subscribers that are gone, if they are the most: their numbers may never be the least.
    fn bound_rankings(&mut self) {
        let Self { all, by_next, by_room_end, by_highest, .. } = self;
        let most = 2 * all.len() + 8;
        let ranked = || all.iter().filter(|(_, member)| member.is_ranked);
        if by_next.len().max(by_room_end.len()).max(by_highest.len()) > most {
            *by_next = ranked().map(|(id, member)| (*id, member.progress.next)).collect();
            *by_room_end = ranked().map(|(id, member)| (*id, member.room_end())).collect();
            *by_highest = ranked().map(|(id, member)| (*id, member.highest)).collect();
        }
    }

    /// Returns the shortest time between two statuses of one subscriber.
    pub(super) fn status_interval(&self) -> Duration {
        times((self.len() as u64).max(1), STATUS_SPACING)
    }

    /// Returns the awaited subscriber that has confirmed least, and its first unconfirmed datagram.
    pub(crate) fn slowest(&mut self) -> Option<(SubscriberId, Sequence)> {
        self.refresh().slowest
    }

    /// Returns the awaited subscriber with the least room, and the first datagram that it has no room for.
    pub(crate) fn narrowest(&mut self) -> Option<(SubscriberId, Sequence)> {
        self.refresh().narrowest
    }

    /// Returns the datagram before which all awaited subscribers know of everything.
    pub(crate) fn least_known(&mut self) -> Sequence {
        self.refresh().least_known
    }

    /// Returns the first datagram that an awaited subscriber has no room for.
    pub(crate) fn limit(&mut self) -> Sequence {
        self.narrowest().map_or(Sequence::MAX, |(_, end)| end)
    }

    /// Returns the limits, which are computed again only after a change: each message needs them.
    #[inline]
    fn refresh(&mut self) -> &Limits {
        if core::mem::take(&mut self.is_stale) {
            let awaited = |id| self.all.get(&id).filter(|member| member.role == Role::Awaited);
            let least_known = self.by_highest.least(|id| Some(awaited(id)?.highest));
            self.limits = Limits {
                slowest: self.by_next.least(|id| Some(awaited(id)?.progress.next)),
                narrowest: self.by_room_end.least(|id| Some(awaited(id)?.room_end())),
                least_known: least_known.map_or(Sequence::MAX, |(_, end)| end),
            };
        }
        &self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::auto_rate::SentRepairs;

    const HOME: SocketAddr =
        SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)), 7000);

    fn repairs() -> RepairFlow {
        RepairFlow::new(1_000, 1_000, &SentRepairs::new(), ClockTime(1))
    }

    /// With all its room, an application that has stopped reading may wait forever for a datagram that cannot be repaired.
    #[test]
    fn room_is_no_progress_for_a_subscriber_that_lacks_a_datagram() {
        let mut member = Member::new(HOME, ClockTime(1), Progress::default(), repairs());
        let status = |next, highest| Status {
            next: Sequence(next),
            highest: Sequence(highest),
            window: 10,
            ..Status::default()
        };
        let sent = Sequence(5);
        for now in [2, 3].map(ClockTime) {
            member.record(&status(5, 5), now, Duration::from_nanos(1), sent, None);
            assert_eq!(member.advanced, (Sequence(15), now));
        }
        let sent = Sequence(9);
        for now in [4, 5].map(ClockTime) {
            member.record(&status(5, 9), now, Duration::from_nanos(1), sent, None);
            assert_eq!(member.advanced, (Sequence(15), ClockTime(3)));
        }
        // A repair of another datagram is progress, once.
        for now in [6, 7].map(ClockTime) {
            member.record(
                &Status { received: 7, ..status(5, 9) },
                now,
                Duration::from_nanos(1),
                sent,
                Some(Sequence(4)),
            );
            assert_eq!(member.advanced, (Sequence(15), ClockTime(6)));
        }
        // It is none if nothing that follows can be verified.
        member.record(
            &Status { received: 8, ..status(5, 9) },
            ClockTime(8),
            Duration::from_nanos(1),
            sent,
            Some(Sequence(5)),
        );
        assert_eq!(member.advanced, (Sequence(15), ClockTime(6)));
    }

    /// The switch does not forward the group to it, while its statuses arrive.
    #[test]
    fn to_have_read_all_that_it_knows_of_is_no_progress_for_a_subscriber_that_learns_of_nothing() {
        let mut member = Member::new(HOME, ClockTime(1), Progress::default(), repairs());
        let (next, highest) = (Sequence(5), Sequence(5));
        let status = Status { next, highest, window: 10, ..Status::default() };
        member.record(&status, ClockTime(2), Duration::from_nanos(1), Sequence(5), None);
        for now in [3, 4].map(ClockTime) {
            member.record(&status, now, Duration::from_nanos(1), Sequence(15), None);
            assert_eq!(member.advanced, (Sequence(15), ClockTime(2)));
        }
    }

    #[test]
    fn an_overtaken_status_does_not_revert_progress() {
        let mut member = Member::new(HOME, ClockTime(1), Progress::default(), repairs());
        let status = |next, window, flags, given_up| Status {
            next: Sequence(next),
            window,
            flags,
            given_up,
            ..Status::default()
        };
        let sent = Sequence(9);
        member.record(&status(5, 4, Status::ENDED, 2), ClockTime(2), Duration::from_nanos(1), sent, None);
        member.record(&status(3, 6, 0, 0), ClockTime(3), Duration::from_nanos(1), sent, None);
        let Progress { next, end, given_up, .. } = member.progress;
        assert_eq!((next, end, given_up), (Sequence(5), End::Received, 2));
        assert_eq!(member.room_end(), Sequence(9), "an overtaken status gave it more room than it has");
    }

    /// The limits are those that a search of all subscribers finds, whatever they report and however often they depart.
    #[test]
    fn limits_follow_from_the_subscribers_that_are_awaited() {
        let mut members = Members::new();
        let mut random = crate::random::Random::new(7);
        for turn in 1..20_000_u64 {
            let id = SubscriberId(random.next() % 12);
            let window = random.next() % 8;
            match random.next() % 16 {
                0 => _ = members.depart(id, Departure::Left),
                _ if members.get(id).is_none() => {
                    members.join(id, HOME, ClockTime(1), repairs(), Sequence(1));
                }
                choice => {
                    let member = members.get_mut(id).unwrap();
                    member.role = if choice == 1 { Role::Evicted } else { Role::Awaited };
                    let next = Sequence(turn / 8 + random.next() % 8);
                    // Some claim to know of everything.
                    let highest = if choice == 2 { Sequence::MAX } else { next + random.next() % 8 };
                    let status = Status { next, highest, window: window as u32, ..Status::default() };
                    member.record(&status, ClockTime(turn), Duration::from_nanos(1), next, None);
                    members.changed(id);
                }
            }
            let awaited = || members.iter().filter(|(_, member)| member.role == Role::Awaited);
            let least = |number: fn(&Member) -> Sequence| awaited().map(|(_, member)| number(member)).min();
            let next = least(|member| member.progress.next);
            let (room, known) = (least(Member::room_end), least(|member| member.highest));
            assert_eq!(members.slowest().map(|(_, end)| end), next, "turn {turn}");
            assert_eq!(members.narrowest().map(|(_, end)| end), room, "turn {turn}");
            assert_eq!(members.least_known(), known.unwrap_or(Sequence::MAX), "turn {turn}");
            assert!(members.by_highest.len() <= 2 * 12 + 8, "{} entries", members.by_highest.len());
        }
    }

    #[test]
    fn departed_subscribers_are_remembered_within_bounds() {
        let mut members = Members::new();
        let mut forgotten = 0;
        for number in 0..3 * MAX_DEPARTED as u64 {
            let id = SubscriberId(number);
            members.join(id, HOME, ClockTime(1), repairs(), Sequence(1));
            members.get_mut(id).unwrap().progress.counts.note(9);
            forgotten += usize::from(members.depart(id, Departure::Left).is_some());
        }
        assert_eq!((members.departed.len(), forgotten), (MAX_DEPARTED, 2 * MAX_DEPARTED));
        let last = SubscriberId(3 * MAX_DEPARTED as u64 - 1);
        assert!(!members.is_new(last, 9), "a replay is accepted as new");
        for _ in 0..3 * MAX_DEPARTED {
            members.join(last, HOME, ClockTime(1), repairs(), Sequence(1));
            members.depart(last, Departure::Silent);
        }
        assert!(members.order.len() <= MAX_DEPARTED);
        assert!(!members.is_new(last, 9) && members.departed.len() <= MAX_DEPARTED);
    }
}
