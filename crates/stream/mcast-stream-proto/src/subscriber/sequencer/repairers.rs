//! Repairs among subscribers: which other one is asked, and for how long, and what this one repairs for others.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;

use super::Sequencer;
use crate::ClockTime;
use crate::outbox::Target;
use crate::random::Random;
use crate::repairer::{Answer, Repairer, Request};
use crate::subscriber::SubscriberMachine;
use crate::subscriber::arrived::Arrived;
use crate::subscriber::config::{LocalRepair, SubscriberConfig};
use crate::subscriber::context::Context;
use crate::subscriber::naks::Arrival;
use crate::subscriber::peer::Peer;
use crate::times::subscriber::{AVOIDED_TIME, CHOICE_SPACING, MAX_HOLDOFF, SLACK};
use crate::wire::{
    AddressToken, DatagramView, Kind, ListedRepairer, Probe, RepairerList, Sequence, SubscriberId,
};

/// A repairer that leaves this many requests in succession without an answer is avoided.
const MAX_UNANSWERED: u32 = 3;
/// The time for which it is avoided doubles this often.
const MAX_DOUBLINGS: u32 = 6;
/// Repairers that were given up and are remembered.
const MAX_AVOIDED: usize = 16;

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
pub(in crate::subscriber) struct UsableRepairer {
    pub(in crate::subscriber) address: SocketAddr,
    pub(in crate::subscriber) token: AddressToken,
    pub(in crate::subscriber) round_trip: Duration,
}

/// The repairers that the publisher lists, and the one that was chosen.
#[derive(Debug)]
pub(in crate::subscriber) struct Repairers {
    random: Random,
    listed: RepairerList,
    chosen: Option<Chosen>,
    avoided: VecDeque<Avoided>,
    /// What this subscriber repairs for others, if it does.
    own: Option<Box<Repairer>>,
}

impl Repairers {
    pub(in crate::subscriber) fn new(config: &SubscriberConfig, now: ClockTime) -> Self {
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
    pub(in crate::subscriber) fn begin(&mut self) {
        (self.listed, self.chosen) = (RepairerList::EMPTY, None);
        self.avoided.clear();
        if let Some(own) = &mut self.own {
            own.begin();
        }
    }

    /// Retains a datagram for others, if this subscriber repairs for them.
    #[inline]
    pub(in crate::subscriber) fn retain(&mut self, sequence: Sequence, datagram: &[u8]) {
        if let Some(own) = &mut self.own {
            own.retain(sequence, datagram);
        }
    }

    /// Forgets a datagram that was discarded.
    pub(in crate::subscriber) fn discard(&mut self, sequence: Sequence) {
        if let Some(own) = &mut self.own {
            own.discard(sequence);
        }
    }

    /// Forgets the ciphers, because the keys have changed.
    pub(in crate::subscriber) fn forget_keys(&mut self) {
        if let Some(own) = &mut self.own {
            own.forget_keys();
        }
    }

    /// Takes the rate of the stream, in bytes per second.
    pub(in crate::subscriber) fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if let Some(own) = &mut self.own {
            own.set_rate(now, rate);
        }
    }

    /// Takes the list of a heartbeat.
    pub(in crate::subscriber) const fn record_list(&mut self, list: RepairerList) {
        self.listed = list;
    }

    /// Returns whether a repairer must be chosen, and may be.
    pub(in crate::subscriber) const fn is_to_choose(&self) -> bool {
        self.chosen.is_none() && !self.listed.is_empty()
    }

    /// Chooses one of the listed repairers at random, but not this subscriber, nor the publisher.
    pub(in crate::subscriber) fn choose(
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
    pub(in crate::subscriber) fn probe_at(&self) -> ClockTime {
        self.chosen.as_ref().map_or(ClockTime::NEVER, |chosen| chosen.peer.probe_at())
    }

    /// Notes that a probe is sent, and returns its destination; gives the repairer up if it has answered none of many.
    pub(in crate::subscriber) fn probe(&mut self, now: ClockTime) -> Option<SocketAddr> {
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
    pub(in crate::subscriber) fn record_echo(
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
    pub(in crate::subscriber) fn usable(&self) -> Option<UsableRepairer> {
        let Chosen { peer, address, .. } = self.chosen.as_ref().filter(|chosen| chosen.peer.is_proven())?;
        Some(UsableRepairer { address: *address, token: peer.token(), round_trip: peer.round_trip() })
    }

    /// Returns whether datagrams from this address come from a repairer that was chosen at some time.
    #[inline]
    pub(in crate::subscriber) fn knows(&self, address: SocketAddr) -> bool {
        self.is_chosen(address) || self.avoided.iter().any(|avoided| avoided.address == address)
    }

    /// Returns whether this is the address of the repairer that was chosen.
    #[inline]
    pub(in crate::subscriber) fn is_chosen(&self, address: SocketAddr) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| chosen.address == address)
    }

    /// Notes that a NAK was sent to the repairer.
    pub(in crate::subscriber) fn record_request(&mut self, now: ClockTime) {
        if let Some(chosen) = &mut self.chosen {
            chosen.unanswered_since.get_or_insert(now);
        }
    }

    /// Notes that the repairer has sent a repair.
    pub(in crate::subscriber) fn record_answer(&mut self) {
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
    pub(in crate::subscriber) fn record_unanswered(&mut self, now: ClockTime, asked: ClockTime) -> bool {
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
    pub(in crate::subscriber) fn give_up(&mut self, now: ClockTime) {
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

impl Repairers {
    /// Whether this subscriber repairs for others, unless it is about to end.
    pub(in crate::subscriber) fn repair_for_others(&self, context: &Context, has_left: bool) -> bool {
        self.own.is_some() && !context.sends_nothing() && !has_left && !context.delivery.has_stopped()
    }
}

impl Sequencer {
    /// Takes the list of repairers in a heartbeat, if it has one, and chooses one of them if none is chosen.
    pub(in crate::subscriber) fn record_repairers(&mut self, context: &Context, view: &DatagramView<'_>) {
        if let Some(list) = RepairerList::of(view) {
            self.repairers.record_list(list);
        }
        self.choose_repairer(context);
    }

    /// Chooses a repairer, if this subscriber has lost anything, and knows how far the publisher is.
    fn choose_repairer(&mut self, context: &Context) {
        let now = context.now;
        let publisher = &context.publisher.peer;
        let is_needed = context.requests_repairs()
            && publisher.round_trip() > Duration::ZERO
            && self.losses.missed(&context.statistics) > 0;
        if is_needed && self.repairers.is_to_choose() {
            self.naks.forget_repairer();
            self.repairers.choose(now, context.id, publisher.get(), context.heartbeat().group_size);
        }
    }

    /// Gives up the repairer, which has sent what the publisher did not.
    pub(in crate::subscriber) fn distrust_repairer(&mut self, context: &Context) {
        let now = context.now;
        self.repairers.give_up(now);
        self.replace_repairer(context);
    }

    /// Requests of the publisher what was requested of a repairer that was given up, and chooses another one.
    fn replace_repairer(&mut self, context: &Context) {
        let now = context.now;
        self.naks.stop_awaiting_repairer(now);
        self.choose_repairer(context);
    }

    /// Returns when the next probe of the repairer is due.
    fn repairer_probe_at(&self, context: &Context) -> ClockTime {
        let is_idle = context.publisher.liveness.is_silent()
            || context.delivery.has_ended
            || !context.requests_repairs();
        if is_idle { ClockTime::NEVER } else { self.repairers.probe_at() }
    }

    /// Proves this subscriber's address to the repairer, and measures the round trip to it, if that is due.
    pub(in crate::subscriber) fn probe_repairer(&mut self, context: &mut Context) {
        let now = context.now;
        let current = context.publisher.incarnations.current();
        let Some(incarnation) = current.filter(|_| now >= self.repairer_probe_at(context)) else {
            return;
        };
        match self.repairers.probe(now) {
            Some(to) => context.send_probe(Target::Aside(to), incarnation),
            None => self.replace_repairer(context),
        }
    }
}

impl SubscriberMachine {
    fn repairs_for_others(&self) -> bool {
        self.sequencer.repairers.repair_for_others(&self.context, self.reporter.has_left)
    }

    /// Returns when the next probe of the repairer, or a repair for another subscriber, is due.
    pub(in crate::subscriber) fn repairers_at(&self) -> ClockTime {
        let repairer = self.sequencer.repairers.own.as_ref().filter(|_| self.repairs_for_others());
        let repair_at = repairer.map_or(ClockTime::NEVER, |repairer| repairer.next_time());
        repair_at.min(self.sequencer.repairer_probe_at(&self.context))
    }

    /// Handles the probe or the NAK of another subscriber.
    pub(in crate::subscriber) fn on_request(&mut self, arrived: &Arrived<'_>, from: SocketAddr) {
        let Arrived { datagram, view, .. } = arrived;
        let header = view.header;
        let is_request = matches!(header.kind, Kind::Probe | Kind::Nak)
            && self.context.publisher.incarnations.is_current(header.incarnation)
            && self.repairs_for_others();
        let Self { context, sequencer, .. } = self;
        let other = view.subscriber().filter(|id| is_request && *id != context.id);
        let round_trip = context.publisher.group_round_trip().min(MAX_HOLDOFF);
        let (Some(subscriber), Some(repairer)) = (other, &mut sequencer.repairers.own) else {
            context.statistics.foreign += 1;
            return;
        };
        let request = Request { now: context.now, subscriber, from, view, datagram };
        let stage = &sequencer.stage;
        match repairer.handle(&request, &context.config.keys, round_trip, |sequence| stage.has(sequence)) {
            Answer::Echo(clock, token) => {
                let echo = Probe { clock, token, subscriber };
                context
                    .send(Target::Aside(from), header.incarnation, Kind::Echo, |writer| echo.write(writer));
            }
            Answer::Repairs(repaired, refused) => {
                context.statistics.local_naks += u64::from(repaired > 0);
                context.statistics.local_refused += refused;
            }
            Answer::Refused => context.statistics.local_refused += 1,
        }
    }

    /// Queues the next repair for another subscriber.
    pub(in crate::subscriber) fn send_local_repair(&mut self) {
        if !self.repairs_for_others() {
            return;
        }
        let own = &mut self.sequencer.repairers.own;
        if let Some((to, datagram)) = own.as_mut().and_then(|repairer| repairer.next(self.context.now)) {
            self.context.statistics.local_repairs += 1;
            self.context.statistics.local_repair_bytes += datagram.len() as u64;
            self.context.outbox.push_copy(Target::Aside(to), datagram);
        }
    }

    /// Handles the echo of a repairer.
    pub(in crate::subscriber) fn on_repairer_echo(&mut self, arrived: &Arrived<'_>, from: SocketAddr) {
        let Self { context, filter, sequencer, .. } = self;
        let view = &arrived.view;
        let is_current = context.publisher.incarnations.is_current(view.header.incarnation);
        if !sequencer.repairers.is_chosen(from) || !is_current {
            context.statistics.other += 1;
            return;
        }
        let Some(body) = filter.open(context, arrived) else { return };
        let Ok(echo) = Probe::read(filter.lend(arrived.datagram).get(body)) else {
            context.statistics.malformed += 1;
            return;
        };
        let publisher = context.publisher.peer.round_trip();
        if echo.subscriber == context.id
            && sequencer.repairers.record_echo(context.now, from, &echo, publisher)
        {
            sequencer.replace_repairer(context);
        }
    }

    /// Returns how a datagram of data, or a manifest, has arrived; `None` if a repairer sent it without a request, or was
    /// given up. Statuses must not count the repairs of others as repairs of the publisher.
    pub(in crate::subscriber) fn arrival_of(
        &mut self,
        arrived: &Arrived<'_>,
        from: SocketAddr,
    ) -> Option<Arrival> {
        let Self { context, sequencer, .. } = self;
        let view = &arrived.view;
        if !sequencer.repairers.knows(from) || context.publisher.peer.get() == Some(from) {
            return Some(arrived.arrival);
        }
        let sequence = Sequence(view.header.sequence);
        let is_requested = sequencer.repairers.is_chosen(from)
            && context.publisher.incarnations.is_current(view.header.incarnation)
            && sequencer.naks.awaits_repairer(sequence);
        context.statistics.unrequested += u64::from(!is_requested);
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
