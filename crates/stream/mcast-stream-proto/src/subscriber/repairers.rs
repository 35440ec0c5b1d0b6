//! Repairs among subscribers: which other one is asked, and for how long, and what this one repairs for others.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;

use super::SubscriberMachine;
use super::config::{LocalRepair, SubscriberConfig};
use super::event::BodyLocation;
use super::naks::Arrival;
use super::peer::Peer;
use crate::ClockTime;
use crate::outbox::Target;
use crate::random::Random;
use crate::repairer::{Answer, Repairer, Request};
use crate::wire::{
    AddressToken, DatagramView, Kind, ListedRepairer, Probe, RepairerList, Sequence, SubscriberId,
};

/// A repairer that leaves this many requests in succession without an answer is avoided.
const MAX_UNANSWERED: u32 = 3;
/// It is avoided for this time at first, which doubles each time, up to `MAX_DOUBLINGS` times.
const AVOIDED_TIME: Duration = Duration::from_secs(10);
const MAX_DOUBLINGS: u32 = 6;
/// Repairers that were given up and are remembered.
const MAX_AVOIDED: usize = 16;
/// A repairer is asked if the round trip to it is longer than that to the publisher by no more than a quarter and this.
const SLACK: Duration = Duration::from_micros(200);
/// In a large group, subscribers do not all choose their repairers at once.
const CHOICE_SPACING: Duration = Duration::from_micros(500);

/// A repairer that was given up. What it sends later is recognized, and not taken for the publisher's.
#[derive(Clone, Copy, Debug)]
struct Avoided {
    address: SocketAddr,
    until: ClockTime,
    times: u32,
}

/// The repairer that was chosen.
#[derive(Debug)]
struct Chosen {
    peer: Peer,
    address: SocketAddr,
    /// The time of the first request that is not answered yet.
    unanswered_since: Option<ClockTime>,
    /// Requests in succession without an answer.
    unanswered: u32,
}

/// A repairer that may be asked now.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsableRepairer {
    pub(super) address: SocketAddr,
    pub(super) token: AddressToken,
    pub(super) round_trip: Duration,
}

/// The repairers that the publisher lists, and the one that was chosen.
#[derive(Debug)]
pub(super) struct Repairers {
    random: Random,
    listed: RepairerList,
    chosen: Option<Chosen>,
    avoided: VecDeque<Avoided>,
    /// What this subscriber repairs for others, if it does.
    own: Option<Box<Repairer>>,
}

impl Repairers {
    pub(super) fn new(config: &SubscriberConfig, now: ClockTime) -> Self {
        let own = config.repair_for_others.filter(|_| config.repairs());
        Self {
            own: own.map(|LocalRepair { bytes, seed }| Box::new(Repairer::new(bytes, seed, now))),
            ..Self::asking(config.seed)
        }
    }

    /// Returns what is known of others at first.
    const fn asking(seed: u64) -> Self {
        Self {
            random: Random::new(!seed),
            listed: RepairerList::EMPTY,
            chosen: None,
            avoided: VecDeque::new(),
            own: None,
        }
    }

    /// Begins with another incarnation of the publisher.
    pub(super) fn begin(&mut self) {
        (self.listed, self.chosen) = (RepairerList::EMPTY, None);
        self.avoided.clear();
        if let Some(own) = &mut self.own {
            own.begin();
        }
    }

    /// Retains a datagram for others, if this subscriber repairs for them.
    #[inline]
    pub(super) fn retain(&mut self, sequence: Sequence, datagram: &[u8]) {
        if let Some(own) = &mut self.own {
            own.retain(sequence, datagram);
        }
    }

    /// Forgets a datagram that was discarded.
    pub(super) fn discard(&mut self, sequence: Sequence) {
        if let Some(own) = &mut self.own {
            own.discard(sequence);
        }
    }

    /// Forgets the ciphers, because the keys have changed.
    pub(super) fn forget_keys(&mut self) {
        if let Some(own) = &mut self.own {
            own.forget_keys();
        }
    }

    /// Takes the rate of the stream, in bytes per second.
    pub(super) fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if let Some(own) = &mut self.own {
            own.set_rate(now, rate);
        }
    }

    /// Takes the list of a heartbeat.
    pub(super) const fn record_list(&mut self, list: RepairerList) {
        self.listed = list;
    }

    /// Returns whether a repairer is to be chosen, and may be.
    pub(super) const fn is_to_choose(&self) -> bool {
        self.chosen.is_none() && !self.listed.is_empty()
    }

    /// Chooses one of the listed repairers at random, but not this subscriber, nor the publisher.
    pub(super) fn choose(
        &mut self,
        now: ClockTime,
        own: SubscriberId,
        publisher: Option<SocketAddr>,
        group_size: u32,
    ) {
        let Self { random, listed, avoided, .. } = self;
        let is_avoided =
            |address| avoided.iter().any(|avoided| avoided.address == address && now < avoided.until);
        let is_free = |each: &ListedRepairer| {
            each.tag != ListedRepairer::tag_of(own)
                && Some(each.address) != publisher
                && !is_avoided(each.address)
        };
        let count = listed.iter().filter(is_free).count();
        let Some(repairer) = listed.iter().filter(is_free).nth(random.index(count)) else {
            // They are looked at again when others are listed.
            self.listed = RepairerList::EMPTY;
            return;
        };
        let mut peer = Peer::unknown(now);
        let spread = group_size * CHOICE_SPACING;
        peer.change(now + random.below(spread), repairer.address);
        self.chosen = Some(Chosen { peer, address: repairer.address, unanswered_since: None, unanswered: 0 });
    }

    /// Returns when the next probe of the chosen repairer is due.
    pub(super) fn probe_at(&self) -> ClockTime {
        self.chosen.as_ref().map_or(ClockTime::NEVER, |chosen| chosen.peer.probe_at())
    }

    /// Notes that a probe is sent, and returns its destination; gives the repairer up if it has answered none of many.
    pub(super) fn probe(&mut self, now: ClockTime) -> Option<SocketAddr> {
        let chosen = self.chosen.as_mut()?;
        if chosen.peer.is_unprovable() {
            self.give_up(now);
            return None;
        }
        chosen.peer.record_probe(now);
        Some(chosen.address)
    }

    /// Handles the echo of a repairer. One that is farther than the publisher, to which the round trip takes this time, is
    /// given up; returns whether it was.
    pub(super) fn record_echo(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        echo: &Probe,
        publisher: Duration,
    ) -> bool {
        let Some(chosen) = self.chosen.as_mut().filter(|chosen| chosen.address == from) else {
            return false;
        };
        if !chosen.peer.is_expected(now, echo) {
            return false;
        }
        chosen.peer.record_echo(now, echo);
        let is_far = chosen.peer.round_trip() > publisher + publisher / 4 + SLACK;
        if is_far {
            self.give_up(now);
        }
        is_far
    }

    /// Returns the repairer to which this subscriber has proven its address.
    pub(super) fn usable(&self) -> Option<UsableRepairer> {
        let Chosen { peer, address, .. } = self.chosen.as_ref().filter(|chosen| chosen.peer.is_proven())?;
        Some(UsableRepairer { address: *address, token: peer.token(), round_trip: peer.round_trip() })
    }

    /// Returns whether datagrams from this address come from a repairer that was chosen at some time.
    #[inline]
    pub(super) fn knows(&self, address: SocketAddr) -> bool {
        self.is_chosen(address) || self.avoided.iter().any(|avoided| avoided.address == address)
    }

    /// Returns whether this is the address of the repairer that was chosen.
    #[inline]
    pub(super) fn is_chosen(&self, address: SocketAddr) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| chosen.address == address)
    }

    /// Notes that a NAK was sent to the repairer.
    pub(super) fn record_request(&mut self, now: ClockTime) {
        if let Some(chosen) = &mut self.chosen {
            chosen.unanswered_since.get_or_insert(now);
        }
    }

    /// Notes that the repairer has sent a repair.
    pub(super) fn record_answer(&mut self) {
        if let Some(chosen) = &mut self.chosen {
            (chosen.unanswered_since, chosen.unanswered) = (None, 0);
            let address = chosen.address;
            // If it is given up again, that is for the shortest time.
            self.avoided
                .iter_mut()
                .filter(|known| known.address == address)
                .for_each(|known| known.times = 0);
        }
    }

    /// Notes that what was requested at this time did not arrive in time. Returns whether the repairer is given up for that.
    pub(super) fn record_unanswered(&mut self, now: ClockTime, asked: ClockTime) -> bool {
        let Some(chosen) = &mut self.chosen else { return false };
        // An answer since this request has cleared it: then only this request was lost, or its repair.
        if chosen.unanswered_since.take_if(|since| *since <= asked).is_none() {
            return false;
        }
        chosen.unanswered += 1;
        let is_over = chosen.unanswered >= MAX_UNANSWERED;
        if is_over {
            self.give_up(now);
        }
        is_over
    }

    /// Gives the repairer up, and avoids it for a while.
    pub(super) fn give_up(&mut self, now: ClockTime) {
        let Some(Chosen { address, .. }) = self.chosen.take() else { return };
        let known = self.avoided.iter().position(|avoided| avoided.address == address);
        let times = known.and_then(|at| self.avoided.remove(at)).map_or(0, |avoided| avoided.times);
        if self.avoided.len() == MAX_AVOIDED {
            // The one that would be free first is forgotten.
            let first = (0..MAX_AVOIDED).min_by_key(|at| self.avoided.get(*at).map(|avoided| avoided.until));
            first.and_then(|at| self.avoided.remove(at));
        }
        let until = now + (1 << times.min(MAX_DOUBLINGS)) * AVOIDED_TIME;
        self.avoided.push_back(Avoided { address, until, times: times + 1 });
    }
}

/// The longest time before the same datagram is sent to the same subscriber again.
const MAX_HOLDOFF: Duration = Duration::from_secs(1);

impl SubscriberMachine {
    pub(super) fn repairs_for_others(&self) -> bool {
        self.repairers.own.is_some()
            && !self.sends_nothing()
            && !self.has_left
            && !self.delivery.has_stopped()
    }

    /// Handles the probe or the NAK of another subscriber.
    pub(super) fn on_request(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        let header = view.header;
        let is_request = matches!(header.kind, Kind::Probe | Kind::Nak)
            && self.incarnations.is_current(header.incarnation)
            && self.repairs_for_others();
        let other = view.subscriber().filter(|id| is_request && *id != self.id);
        let round_trip = self.group_round_trip().min(MAX_HOLDOFF);
        let (Some(subscriber), Some(repairer)) = (other, &mut self.repairers.own) else {
            self.statistics.foreign += 1;
            return;
        };
        let request = Request { now, subscriber, from, view, datagram };
        let stage = &self.followed.verification.stage;
        match repairer.handle(&request, &self.config.keys, round_trip, |sequence| stage.has(sequence)) {
            Answer::Echo(clock, token) => {
                let echo = Probe { clock, token, subscriber };
                self.push_control(Target::Aside(from), header.incarnation, Kind::Echo, |writer| {
                    echo.write(writer)
                });
            }
            Answer::Repairs(repaired, refused) => {
                self.statistics.local_naks += u64::from(repaired > 0);
                self.statistics.local_refused += refused;
            }
            Answer::Refused => self.statistics.local_refused += 1,
        }
    }

    /// Queues the next repair for another subscriber.
    pub(super) fn send_local_repair(&mut self, now: ClockTime) {
        if !self.repairs_for_others() {
            return;
        }
        if let Some((to, datagram)) = self.repairers.own.as_mut().and_then(|repairer| repairer.next(now)) {
            self.statistics.local_repairs += 1;
            self.statistics.local_repair_bytes += datagram.len() as u64;
            self.outbox.push_copy(Target::Aside(to), datagram);
        }
    }

    /// Returns when the next repair for another subscriber is due.
    pub(super) fn local_repair_at(&self) -> ClockTime {
        let repairer = self.repairers.own.as_ref().filter(|_| self.repairs_for_others());
        repairer.map_or(ClockTime::NEVER, |repairer| repairer.next_time())
    }

    /// Takes the list of repairers in a heartbeat, if it has one, and chooses one of them if none is chosen.
    pub(super) fn record_repairers(&mut self, now: ClockTime, view: &DatagramView<'_>) {
        if let Some(list) = RepairerList::of(view) {
            self.repairers.record_list(list);
        }
        self.choose_repairer(now);
    }

    /// Chooses a repairer, if this subscriber has lost anything, and knows how far the publisher is.
    fn choose_repairer(&mut self, now: ClockTime) {
        let is_needed = self.requests_repairs()
            && self.publisher.round_trip() > Duration::ZERO
            && self.losses.missed(&self.statistics) > 0;
        if is_needed && self.repairers.is_to_choose() {
            self.followed.naks.forget_repairer();
            self.repairers.choose(now, self.id, self.publisher.get(), self.followed.heartbeat.group_size);
        }
    }

    /// Gives up the repairer, which has sent what the publisher did not.
    pub(super) fn distrust_repairer(&mut self, now: ClockTime) {
        self.repairers.give_up(now);
        self.replace_repairer(now);
    }

    /// Requests of the publisher what was requested of a repairer that was given up, and chooses another one.
    fn replace_repairer(&mut self, now: ClockTime) {
        self.followed.naks.stop_awaiting_repairer(now);
        self.choose_repairer(now);
    }

    /// Returns when the next probe of the repairer is due.
    pub(super) fn repairer_probe_at(&self) -> ClockTime {
        let is_idle =
            self.followed.liveness.is_silent() || self.delivery.has_ended() || !self.requests_repairs();
        if is_idle { ClockTime::NEVER } else { self.repairers.probe_at() }
    }

    /// Proves this subscriber's address to the repairer, and measures the round trip to it.
    pub(super) fn probe_repairer(&mut self, now: ClockTime) {
        let Some(incarnation) = self.incarnations.current() else { return };
        match self.repairers.probe(now) {
            Some(to) => {
                let probe = Probe { clock: now.0, token: AddressToken::NONE, subscriber: self.id };
                self.push_control(Target::Aside(to), incarnation, Kind::Probe, |writer| probe.write(writer));
            }
            None => self.replace_repairer(now),
        }
    }

    /// Handles the echo of a repairer.
    pub(super) fn on_repairer_echo(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
        view: &DatagramView<'_>,
    ) {
        if !self.repairers.is_chosen(from) || !self.incarnations.is_current(view.header.incarnation) {
            self.statistics.other += 1;
            return;
        }
        let Some((location, range)) = self.open(view, datagram) else { return };
        let body = match location {
            BodyLocation::Decrypted => self.decrypted.get(range),
            _ => datagram.get(range),
        };
        let Ok(echo) = Probe::read(body.unwrap_or_default()) else {
            self.statistics.malformed += 1;
            return;
        };
        let publisher = self.publisher.round_trip();
        if echo.subscriber == self.id && self.repairers.record_echo(now, from, &echo, publisher) {
            self.replace_repairer(now);
        }
    }

    /// Returns how a datagram of data, or a manifest, has arrived; `None` if a repairer sent it without a request, or was
    /// given up. Statuses must not count the repairs of others as repairs of the publisher.
    pub(super) fn arrival_of(
        &mut self,
        path: u8,
        from: SocketAddr,
        view: &DatagramView<'_>,
    ) -> Option<Arrival> {
        if !self.repairers.knows(from) || self.publisher.get() == Some(from) {
            return Some(Arrival::Path(path));
        }
        let sequence = Sequence(view.header.sequence);
        let is_requested = self.repairers.is_chosen(from)
            && self.incarnations.is_current(view.header.incarnation)
            && self.followed.naks.awaits_repairer(sequence);
        self.statistics.unrequested += u64::from(!is_requested);
        is_requested.then_some(Arrival::Repairer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OWN: SubscriberId = SubscriberId(0xabcd_0001);
    const PUBLISHER: SocketAddr =
        SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)), 9);
    const FAR: Duration = Duration::from_millis(10);

    fn listed(host: u8) -> ListedRepairer {
        ListedRepairer { tag: host.into(), address: ([10, 0, 0, host], 7000).into() }
    }

    fn repairers(hosts: &[u8]) -> Repairers {
        let mut list = RepairerList::default();
        assert!(hosts.iter().all(|host| list.add(listed(*host))));
        let mut repairers = Repairers::asking(3);
        repairers.record_list(list);
        repairers
    }

    /// Chooses a repairer, which answers after this time; returns its address if it can be asked.
    fn meet(repairers: &mut Repairers, now: ClockTime, round_trip: Duration) -> Option<SocketAddr> {
        repairers.choose(now, OWN, Some(PUBLISHER), 1);
        let address = repairers.probe(now)?;
        let echo = Probe { clock: now.0, token: AddressToken(5), subscriber: OWN };
        repairers.record_echo(now + round_trip, address, &echo, FAR);
        repairers.usable().map(|usable| usable.address)
    }

    #[test]
    fn a_subscriber_chooses_any_of_the_others() {
        let mut repairers = repairers(&[1, 2, 3, 4]);
        let chosen: BTreeSet<SocketAddr> = (0..100)
            .filter_map(|turn| {
                repairers.chosen = None;
                meet(&mut repairers, ClockTime(turn + 1), FAR)
            })
            .collect();
        // Host 1 has the tag of this subscriber.
        assert_eq!(chosen, [2, 3, 4].map(|host| listed(host).address).into());
    }

    #[test]
    fn a_repairer_that_is_farther_than_the_publisher_is_not_asked() {
        for (milliseconds, is_asked) in [(1, true), (12, true), (13, false), (500, false)] {
            let mut repairers = repairers(&[2]);
            let asked = meet(&mut repairers, ClockTime(1), Duration::from_millis(milliseconds));
            assert_eq!(asked.is_some(), is_asked, "{milliseconds} ms");
        }
    }

    #[test]
    fn a_repairer_that_does_not_answer_is_avoided_for_longer_each_time() {
        let mut repairers = repairers(&[2]);
        let list = repairers.listed;
        let mut now = ClockTime(1);
        for pause in [10, 20, 40] {
            assert!(meet(&mut repairers, now, FAR).is_some(), "after {now:?}");
            for turn in 1..=MAX_UNANSWERED {
                now = now + FAR;
                repairers.record_request(now);
                assert!(!repairers.record_unanswered(now + FAR, ClockTime(0)), "it was requested before");
                assert_eq!(repairers.record_unanswered(now + FAR, now), turn == MAX_UNANSWERED);
                assert!(!repairers.record_unanswered(now + FAR, now), "it counts once");
            }
            assert!(repairers.knows(listed(2).address) && !repairers.is_chosen(listed(2).address));
            repairers.record_list(list);
            assert_eq!(meet(&mut repairers, now + FAR + Duration::from_secs(pause - 1), FAR), None);
            repairers.record_list(list);
            now = now + FAR + Duration::from_secs(pause);
        }
    }

    #[test]
    fn of_many_repairers_that_were_given_up_the_one_that_is_free_first_is_forgotten() {
        let mut repairers = repairers(&[]);
        let mut drop_one = |host: u8, times: usize| {
            for _ in 0..times {
                let (peer, address) = (Peer::unknown(ClockTime(1)), listed(host).address);
                repairers.chosen = Some(Chosen { peer, address, unanswered_since: None, unanswered: 0 });
                repairers.give_up(ClockTime(1));
            }
        };
        drop_one(100, 5);
        (1..=20).for_each(|host| drop_one(host, 1));
        assert!(repairers.knows(listed(100).address));
        assert_eq!(repairers.avoided.len(), MAX_AVOIDED);
    }

    #[test]
    fn an_answer_forgives_what_was_not_answered() {
        let mut repairers = repairers(&[2]);
        meet(&mut repairers, ClockTime(1), FAR);
        for turn in 2..50 {
            repairers.record_request(ClockTime(turn));
            assert!(!repairers.record_unanswered(ClockTime(turn), ClockTime(turn)));
            if turn % 2 == 0 {
                repairers.record_answer();
            }
        }
    }

    #[test]
    fn a_repairer_that_answers_no_probe_is_given_up() {
        let mut repairers = repairers(&[2]);
        repairers.choose(ClockTime(1), OWN, None, 1);
        let mut now = ClockTime(1);
        let probes = core::iter::from_fn(|| {
            now = now.max(repairers.probe_at());
            repairers.probe(now)
        });
        assert_eq!(probes.take(100).count(), 6);
        assert!(repairers.chosen.is_none());
    }
}
