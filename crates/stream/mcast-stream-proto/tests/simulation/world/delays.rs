//! Limits of delays and of traffic, and their causes.

use mcast_stream_proto::wire::{DatagramView, Kind, Sequence, Status, SubscriberId};

use super::meter::Meter;
use super::subscribers::address;
use super::{Delivery, World};
use crate::plan::{MILLISECOND, SECOND, Stuck, SubscriberPlan};

/// The default eviction time. For a subscriber that was evicted before, it is an eighth.
const EVICTION_TIME: u64 = 2_000 * MILLISECOND;
/// The eviction time, and half a second until a publisher notices.
pub(crate) const EVICTION: u64 = EVICTION_TIME + 500 * MILLISECOND;
/// A subscriber that is gone is forgotten after this silence at the latest.
const SILENCE: u64 = 5_500 * MILLISECOND;
/// Without distant subscribers, the longest run, and the longest time with good links in which nothing is published or
/// delivered.
const MAX_TIME: u64 = 900 * SECOND;
const MAX_STANDSTILL: u64 = 60 * SECOND;
/// Tolerance for timers.
const SLACK: u64 = 100 * MILLISECOND;
/// The credit with which subscribers begin, before any of them has reported what arrives of the repairs.
const FIRST_CREDIT: u64 = 524_288;
/// The greatest number of subscribers of a small group.
const SMALL_GROUP: usize = 8;
/// The NAKs of a small group take one byte for this many bytes of data; one of the usual length has this many.
const BYTES_PER_NAK_BYTE: u64 = 20;
const NAK_LENGTH: u64 = 72;
/// The publisher bears this many NAKs of a small group per second, and one more for this many datagrams.
const NAKS_PER_SECOND: u64 = 5_000;
const DATAGRAMS_PER_NAK: u64 = 64;

/// The progress that a subscriber has reported to the present publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReportedProgress {
    incarnation: u32,
    room_end: Sequence,
    received: u64,
    /// When a status last showed progress, by the publisher's clock, which may jump.
    at: u64,
}

impl ReportedProgress {
    /// Adds a status: there is progress if the room has moved, or if repairs arrive; but not repairs of what
    /// follows the last manifest, because a subscriber that verifies cannot use them without the next one.
    fn with(self, status: &Status, now: u64, verified_through: Option<Sequence>) -> Self {
        let room_end = status.next + u64::from(status.window);
        let lacks_repairs = status.next < status.highest && verified_through != Some(status.next);
        let gets_repairs = lacks_repairs && status.received > self.received;
        let at = if room_end > self.room_end || gets_repairs { now } else { self.at };
        let received = self.received.max(status.received);
        Self { room_end: self.room_end.max(room_end), received, at, ..self }
    }
}

impl World<'_> {
    /// Notes a subscriber's status, if it is not sealed.
    pub(super) fn record_status(&mut self, bytes: &[u8]) {
        let Ok(view) = DatagramView::parse(bytes) else { return };
        if self.plan.sealed || view.header.kind != Kind::Status {
            return;
        }
        if let (Some(id), Ok(status)) = (view.subscriber(), Status::read(view.body)) {
            let none = ReportedProgress { incarnation: self.incarnation, ..ReportedProgress::default() };
            let known = self.progress.get(&id).filter(|known| known.incarnation == self.incarnation);
            if view.header.incarnation.0 == self.incarnation {
                let progress =
                    known.copied().unwrap_or(none).with(&status, self.publisher_now(), self.verified_through);
                self.progress.insert(id, progress);
                self.statuses.insert(id, status);
            }
        }
    }

    /// Notes that the publisher waits for this subscriber.
    pub(super) fn record_waiting(&mut self, subscriber: SubscriberId) {
        self.waited += MILLISECOND;
        if !self.nodes.iter().any(|node| node.id == Some(subscriber) && !node.has_left) {
            *self.waited_for_absent.entry(subscriber).or_default() += MILLISECOND;
        }
    }

    /// Checks an eviction: only subscribers without room, or that lack datagrams that a manifest verifies, may be
    /// evicted, and only if their reports show no progress.
    pub(super) fn record_eviction(&mut self, id: SubscriberId) {
        let (sent, verified_through) = self.before_sending;
        let known = self.progress.get(&id).filter(|known| known.incarnation == self.incarnation);
        let has_all = |status: &Status| status.next >= sent || verified_through == Some(status.next);
        let room_end = |status: &Status| status.next + u64::from(status.window);
        let has_room = |status: &&Status| known.is_some() && has_all(status) && room_end(status) > sent;
        if let Some(status) = self.statuses.get(&id).filter(has_room) {
            self.violations
                .push(format!("a subscriber with room was evicted at {}: {status:?} of {sent}", self.now));
        }
        let was_evicted = self.evicted.iter().any(|index| self.nodes[*index].id == Some(id));
        let least = if was_evicted { EVICTION_TIME / 8 } else { EVICTION_TIME };
        if let Some(progress) = known.filter(|known| self.publisher_now() < known.at + least) {
            self.violations.push(format!("a subscriber was evicted at {} despite {progress:?}", self.now));
        }
    }

    /// Checks that no subscriber joins at an unproven address.
    pub(super) fn record_joined(&mut self, id: SubscriberId, from: core::net::SocketAddr) {
        if from == address(self.nodes.len()) {
            self.violations.push(format!("{id} has joined at the unproven address {from}"));
        }
    }

    pub(super) fn judge_delays(&self) -> Result<(), String> {
        if let Some(violation) = self.violations.first() {
            return Err(violation.clone());
        }
        if let Some((id, time)) = self.waited_for_absent.iter().find(|(_, time)| **time > SILENCE) {
            return Err(format!("the publisher waited {time} ns (limit {SILENCE}) for {id}, which is gone"));
        }
        let stuck = self.plan.subscribers.iter().filter_map(|subscriber| subscriber.stuck);
        // While a small window is full, the publisher waits for a round trip, which counts as a millisecond.
        let most = SLACK
            + self.smallest_windows() * MILLISECOND
            + stuck.map(|Stuck { time, .. }| time.min(EVICTION) + SLACK).sum::<u64>();
        if self.plan.is_calm() && self.waited > most {
            return Err(format!("the publisher waited for {} ns (limit {most})", self.waited));
        }
        Ok(())
    }

    /// Returns how often the smallest window, or the retransmission buffer, has been sent.
    pub(super) fn smallest_windows(&self) -> u64 {
        let windows = self.plan.subscribers.iter().map(|subscriber| subscriber.window);
        let smallest = windows.fold(self.plan.slots, usize::min);
        self.meter.data_datagrams / smallest.max(1) as u64
    }

    /// Returns the time in which the longest round trip passes for each window.
    fn time_of_windows(&self) -> u64 {
        let round_trips = self.plan.subscribers.iter().map(|one| one.down.delay + one.up.delay);
        self.smallest_windows() * round_trips.max().unwrap_or(0)
    }

    /// Returns whether a run takes too long: in all, with as much time for repairs as for data, or since something was
    /// last published or delivered. A subscriber whose snapshot covers everything delivers nothing while it catches up, and a
    /// publisher with a low rate, of which parity takes most, publishes nothing while it sends.
    pub(super) fn takes_too_long(&self) -> bool {
        let progress_at = self.progress_at.max(self.new_data_at).max(self.plan.good_from);
        // Most runs end long before.
        let is_late =
            |limit: u64, windows| self.now > limit && self.now > limit + windows * self.time_of_windows();
        is_late(MAX_TIME, 2) || is_late(progress_at + MAX_STANDSTILL, 1)
    }

    /// Checks the traffic that intruders and narrow links cause, and the feedback.
    pub(super) fn judge_traffic(&self) -> Result<(), String> {
        let intruder = self.intruder;
        if intruder.answered > intruder.bytes {
            return Err(format!("a stranger got more bytes than it sent: {intruder:?}"));
        }
        // Loss that ends by chance while the publisher has slowed down looks like that of a narrow link.
        if self.slowed > 3 && self.plan.is_uncongested() {
            return Err("the publisher slowed down although no link was too narrow".into());
        }
        let (repairs, most) = (self.meter.repair_bytes, self.most_repairs());
        if self.bottleneck.is_some() && repairs > most {
            return Err(format!(
                "{repairs} bytes of repairs behind a bottleneck (limit {most}) that dropped {}: {:?} at {}",
                self.dropped,
                self.publisher.statistics(),
                self.now
            ));
        }
        // Two publishers of one stream have a rate each.
        if self.plan.overlap.is_none() {
            self.meter.judge()?;
        }
        self.judge_feedback()
    }

    /// Returns the limit for bytes of repairs behind a bottleneck. A repair to the group serves all that lack a datagram
    /// at the same time; those who lack it at another time need their own.
    fn most_repairs(&self) -> u64 {
        let count = |filter: &dyn Fn(&&SubscriberPlan) -> bool| {
            self.plan.subscribers.iter().filter(filter).count() as u64
        };
        let late = count(&|subscriber| subscriber.joins > 0);
        // Without flow control, the publisher continues when a small window is full: that subscriber requests what was
        // dropped, and what it had no room for, when the others have long got it.
        let narrow = count(&|subscriber| !self.plan.waits && subscriber.window < self.plan.slots);
        let dropped = 2 * self.dropped * (1 + narrow);
        // What a member forged took the place of a datagram, or of its repair.
        let forged = self.discarded * self.plan.datagram as u64;
        dropped + forged + self.without_room + late * self.meter.data_bytes * 3 / 2 + FIRST_CREDIT
    }

    /// Checks for at most about 200 statuses and NAKs per second of all subscribers, plus a few of each subscriber per
    /// window and at the start and the end. In a small group, NAKs may take a part of the bytes in addition.
    fn judge_feedback(&self) -> Result<(), String> {
        let seconds = self.now / SECOND + 1;
        let windows = |window: usize| self.meter.data_datagrams / window.min(self.plan.slots) as u64 + 1;
        // A window that is full concerns its subscriber alone.
        let few: u64 =
            self.plan.subscribers.iter().map(|subscriber| 60 + 8 * windows(subscriber.window)).sum();
        let (feedback, heartbeats) = (self.meter.all_feedback(), self.meter.heartbeats);
        // Two publishers of one stream divide it among their subscribers each.
        let publishers = 1 + u64::from(self.plan.overlap.is_some());
        let most = 220 * seconds * publishers + few * 11 / 10;
        let is_small = self.plan.subscribers.len() <= SMALL_GROUP;
        let counted = if is_small { feedback - self.naks } else { feedback };
        if counted > most {
            return Err(format!(
                "{counted} statuses and NAKs, {} of them NAKs (limit {most}) in {seconds} s",
                feedback - counted
            ));
        }
        if is_small {
            self.judge_naks(seconds * publishers, most)?;
        }
        // Each subscriber has the share of one of eight, and a burst.
        let subscribers = self.plan.subscribers.len() as u64;
        let received = self.meter.data_datagrams * u64::from(self.plan.paths) / 64 / subscribers.min(8);
        let local = subscribers * (80 * seconds / subscribers.min(8) + 2 * 64 + 2 * received);
        if self.meter.local_naks > local {
            return Err(format!(
                "{} NAKs to repairers (limit {local}) in {seconds} s",
                self.meter.local_naks
            ));
        }
        match heartbeats > most * 5 / 4 {
            true => Err(format!("{heartbeats} heartbeats (limit {most}) in {seconds} s")),
            false => Ok(()),
        }
    }

    /// Checks that the NAKs of a small group take at most 5 % of the bytes that it receives, and of the publisher's processor what
    /// it can bear, in addition to `few`.
    fn judge_naks(&self, seconds: u64, few: u64) -> Result<(), String> {
        let Meter { nak_bytes, received_bytes, data_datagrams, .. } = self.meter;
        let most = received_bytes / BYTES_PER_NAK_BYTE + few * NAK_LENGTH * 3 / 2;
        if nak_bytes > most {
            return Err(format!("{nak_bytes} bytes of NAKs (limit {most}) for {received_bytes} of data"));
        }
        let most = NAKS_PER_SECOND * seconds + data_datagrams / DATAGRAMS_PER_NAK + few;
        match self.naks > most {
            true => Err(format!("{} NAKs (limit {most}) in {seconds} s", self.naks)),
            false => Ok(()),
        }
    }
}

/// Returns the totals of a subscriber.
pub(super) fn delivery(mut node: super::Node) -> Delivery {
    node.latencies.sort_unstable();
    let lost = node.audit.lost.iter().map(|(_, first, end, _)| end.ahead_of(*first)).sum();
    Delivery { messages: node.audit.messages, lost, latencies: node.latencies }
}
