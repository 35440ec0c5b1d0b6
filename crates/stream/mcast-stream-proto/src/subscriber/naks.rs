//! Which datagrams are missing, and when to request them.

use core::ops::Range;
use core::time::Duration;

use mcast_pace::TokenBucket;

use crate::ClockTime;
use crate::gaps::{Gap, Gaps};
use crate::random::SMALL_GROUP;
use crate::span::{amount, per_second, times};
use crate::times::subscriber::{
    CROWD_URGENT_INTERVAL, LONGEST_REFILL, MAX_REORDERING, MAX_REPAIR, MIN_REORDER_GUARD,
    MIN_REPAIRER_TIMEOUT, NAK_RETRY, SHRINK_INTERVAL, URGENT_INTERVAL,
};
use crate::wire::{CROWD_NAK_RATE, DATAGRAMS_PER_CROWD_NAK, NAK_INTERVAL, Sequence};

/// What is known of reordering shrinks by one part in this many at a time.
const SHRINKING: u32 = 64;
/// A subscriber of a small group may send NAKs of one byte for each `BYTES_PER_NAK_BYTE` bytes of data that it receives: they
/// take 5 % of what the stream takes of its link. Where little is received, all of the group may send `NAK_RATE` per second.
const BYTES_PER_NAK_BYTE: u64 = 20;
const NAK_RATE: u64 = 75;
/// A NAK with one entry has this length, and counts as one; a longer one counts as more.
const NAK_LENGTH: u64 = 72;
/// The NAKs of a small group together are at most one in `NAK_INTERVAL`, or one per `DATAGRAMS_PER_NAK` datagrams if that is
/// more: each costs the publisher about as much of its processor as sending a datagram does.
const DATAGRAMS_PER_NAK: u64 = 64;
/// The NAKs of all subscribers in a burst; each subscriber may always send `MIN_NAK_BURST`.
const NAK_BURST: u64 = 64;
const MIN_NAK_BURST: u64 = 4;
/// The allowance is counted in millionths of a NAK.
const NAK: u64 = 1_000_000;

/// The gaps, the schedule of the NAKs for them, and what it depends on.
#[derive(Debug)]
pub(super) struct NakScheduler {
    gaps: Gaps<Sequence>,
    /// When the next NAK is due; recomputed when gaps change.
    at: ClockTime,
    /// No NAK is sent before this time.
    not_before: ClockTime,
    /// The NAKs that may be sent to the publisher, and to repairers.
    allowance: Allowance,
    repairer_allowance: Allowance,
    /// What has arrived.
    arrived: Arrived,
    /// The number of NAKs since a datagram arrived.
    unanswered: u32,
    /// How late datagrams that were out of order have recently arrived.
    reordering: Duration,
    /// When that shrank last.
    shrank_at: ClockTime,
    /// The time from a NAK to its repair: of the publisher, and of the repairer that is asked first.
    publisher: RepairTime,
    repairer: RepairTime,
    /// Whether gaps may wait for the repairer.
    may_await_repairer: bool,
}

/// What has arrived of the data: datagrams, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    datagrams: u64,
    bytes: u64,
}

/// NAKs that were sent, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentNaks {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl SentNaks {
    pub(super) const fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length as u64;
    }
}

/// NAKs that may be sent, in millionths, and the time and what had arrived at the last refill.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    bucket: TokenBucket,
    at: ClockTime,
    arrived: Arrived,
    /// How much was added per second before the last refill.
    rate: u64,
    /// Whether each NAK counts as one, however long it is.
    is_crowd: bool,
}

impl Allowance {
    const fn new(now: ClockTime) -> Self {
        let bucket = TokenBucket::new(0, NAK_BURST * NAK, now.0);
        Self { bucket, at: now, arrived: Arrived { datagrams: 0, bytes: 0 }, rate: 0, is_crowd: false }
    }

    /// Returns the share of one of `group` subscribers, at which this much has arrived so far, of the NAKs to this responder. At
    /// least `urgent` millionths of a NAK are added per second.
    fn share(&mut self, now: ClockTime, to: Responder, group: u64, arrived: Arrived, urgent: u64) -> u64 {
        let before = core::mem::replace(&mut self.arrived, arrived);
        let new =
            Arrived { datagrams: arrived.datagrams - before.datagrams, bytes: arrived.bytes - before.bytes };
        let elapsed = now.since(core::mem::replace(&mut self.at, now)).min(LONGEST_REFILL);
        self.is_crowd = group > u64::from(SMALL_GROUP);
        let rate = if self.is_crowd { CROWD_NAK_RATE } else { NAK_RATE } * NAK;
        self.bucket.set_rate((rate / group).max(urgent));
        self.bucket.set_capacity((NAK_BURST / group).max(MIN_NAK_BURST) * NAK);
        let before = self.bucket.level();
        self.bucket.refill(now.0);
        let gained = self.bucket.level() - before;
        let earned = match to {
            // The bucket fills for a second at most, and the share of one of many is less than a NAK in that time.
            _ if self.is_crowd => (earned_by_crowd(elapsed, new) / group).saturating_sub(gained),
            Responder::Publisher => earned_by_bytes(new).min(earned_by_processor(elapsed, new) / group),
            // What a repairer is not asked for, the publisher is, at once.
            Responder::Repairer => earned_by_datagrams(new) / group,
        };
        self.bucket.add(earned);
        if elapsed > Duration::ZERO {
            self.rate = per_second(gained + earned, elapsed);
        }
        self.bucket.level() / NAK
    }

    /// Takes what was sent.
    const fn spend(&mut self, sent: SentNaks) {
        let by_bytes = sent.bytes.saturating_mul(NAK) / NAK_LENGTH;
        let by_count = sent.count * NAK;
        self.bucket.spend(if self.is_crowd || by_bytes < by_count { by_count } else { by_bytes });
    }

    /// Returns when another NAK may be sent if as much is added as before.
    fn available_at(&self) -> ClockTime {
        let mut bucket = self.bucket;
        let by_time = bucket.available_at(NAK);
        bucket.set_rate(self.rate);
        ClockTime(bucket.available_at(NAK).min(by_time))
    }
}

/// Returns what the data adds to the allowance of one subscriber of a small group.
const fn earned_by_bytes(new: Arrived) -> u64 {
    new.bytes.saturating_mul(NAK) / (BYTES_PER_NAK_BYTE * NAK_LENGTH)
}

/// Returns what a processor that has sent the data can bear of all subscribers of a small group.
const fn earned_by_datagrams(new: Arrived) -> u64 {
    new.datagrams.saturating_mul(NAK) / DATAGRAMS_PER_NAK
}

/// Returns what the publisher's processor can bear.
fn earned_by_processor(elapsed: Duration, new: Arrived) -> u64 {
    amount(per_second(NAK, NAK_INTERVAL), elapsed).max(earned_by_datagrams(new))
}

/// Returns the allowance of all subscribers of a crowd.
fn earned_by_crowd(elapsed: Duration, new: Arrived) -> u64 {
    let by_data = new.datagrams.saturating_mul(NAK) / DATAGRAMS_PER_CROWD_NAK;
    amount(CROWD_NAK_RATE * NAK, elapsed).max(by_data)
}

/// Who answers NAKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Responder {
    Publisher,
    /// Another subscriber.
    Repairer,
}

/// How a datagram reached the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// On this path.
    Path(u8),
    /// Another subscriber has sent it on request.
    Repairer,
    /// It was recovered from parity.
    Recovered,
}

impl Arrival {
    /// Returns the party that repaired a datagram that arrived like this, if it is a repair. What was recovered was answered with
    /// parity.
    pub(super) const fn repaired_by(self, is_marked: bool) -> Option<Responder> {
        match self {
            Self::Repairer => Some(Responder::Repairer),
            Self::Path(_) if !is_marked => None,
            Self::Path(_) | Self::Recovered => Some(Responder::Publisher),
        }
    }
}

/// The smoothed time from a NAK to its repair, and its mean deviation.
#[derive(Clone, Copy, Debug, Default)]
struct RepairTime {
    smoothed: Duration,
    spread: Duration,
}

impl RepairTime {
    /// Returns the time in which the repair for a NAK is expected.
    fn timeout(&self, round_trip: Duration) -> Duration {
        // The round trip is all that is known before the first repair, and the least afterwards.
        (3 * round_trip / 2).max(self.smoothed + 4 * self.spread)
    }

    /// Updates both, as in RFC 6298 section 2.
    fn note(&mut self, took: Duration) {
        let took = took.min(MAX_REPAIR);
        if self.smoothed == Duration::ZERO {
            (self.smoothed, self.spread) = (took, took / 2);
            return;
        }
        self.spread = self.spread - self.spread / 4 + self.smoothed.abs_diff(took) / 4;
        self.smoothed = self.smoothed - self.smoothed / 8 + took / 8;
    }
}

impl NakScheduler {
    pub(super) const fn new(now: ClockTime) -> Self {
        Self {
            gaps: Gaps::new(),
            at: ClockTime::NEVER,
            not_before: ClockTime(0),
            allowance: Allowance::new(now),
            repairer_allowance: Allowance::new(now),
            arrived: Arrived { datagrams: 0, bytes: 0 },
            unanswered: 0,
            reordering: Duration::ZERO,
            shrank_at: ClockTime(0),
            publisher: RepairTime { smoothed: Duration::ZERO, spread: Duration::ZERO },
            repairer: RepairTime { smoothed: Duration::ZERO, spread: Duration::ZERO },
            may_await_repairer: false,
        }
    }

    /// Returns whether nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    pub(super) fn first_gap(&self) -> Option<&Gap<Sequence>> {
        self.gaps.first()
    }

    /// Returns when the next NAK is due.
    pub(super) fn at(&self) -> ClockTime {
        self.at.max(self.not_before)
    }

    /// Returns how late datagrams that were out of order have recently arrived.
    pub(super) const fn reordering(&self) -> Duration {
        self.reordering
    }

    /// Returns how many missing datagrams may be merely late: they have been missing for less time than others were late.
    pub(super) fn maybe_late(&self, now: ClockTime) -> u64 {
        let is_recent = |gap: &&Gap<Sequence>| gap.tries == 0 && now < gap.noticed + self.reordering;
        self.gaps.iter().filter(is_recent).map(|gap| gap.end - gap.first).sum()
    }

    /// Returns how long a missing datagram may be merely out of order.
    pub(super) fn reorder_guard(&self, round_trip: Duration) -> Duration {
        MIN_REORDER_GUARD.max(2 * self.reordering).max(round_trip / 8)
    }

    /// Returns the time in which the repair for a NAK to the publisher is expected.
    pub(super) fn repair_timeout(&self, round_trip: Duration) -> Duration {
        self.publisher.timeout(round_trip)
    }

    /// Returns the time in which the repair for a NAK to the repairer is expected, from the round trips to it and to the
    /// publisher. One that answers ever later is given no more time than the publisher.
    pub(super) fn repairer_timeout(&self, round_trip: Duration, to_publisher: Duration) -> Duration {
        let longest = self.repair_timeout(to_publisher);
        self.repairer.timeout(round_trip).min(longest).max(MIN_REPAIRER_TIMEOUT)
    }

    /// Forgets how long the repairer takes: another one is asked from now on.
    pub(super) fn forget_repairer(&mut self) {
        self.repairer = RepairTime::default();
    }

    /// Returns whether gaps may wait for the repairer, so that the publisher was not asked yet.
    pub(super) const fn may_await_repairer(&self) -> bool {
        self.may_await_repairer
    }

    /// Waits for the repairer no longer: the publisher is asked now.
    pub(super) fn stop_awaiting_repairer(&mut self, now: ClockTime) {
        if !core::mem::take(&mut self.may_await_repairer) {
            return;
        }
        let waits = |gap: &&mut Gap<Sequence>| {
            gap.asked_repairer.is_some() && gap.tries == 0 && gap.due > now && gap.due != ClockTime::NEVER
        };
        for gap in self.gaps.iter_mut().filter(waits) {
            gap.due = now;
            self.at = self.at.min(now);
        }
    }

    /// Returns whether a datagram is missing that was requested of a repairer.
    pub(super) fn awaits_repairer(&self, sequence: Sequence) -> bool {
        self.gaps.find(sequence).is_some_and(|gap| gap.asked_repairer.is_some())
    }

    /// Returns when a datagram was noticed as missing, if it is.
    pub(super) fn noticed(&self, sequence: Sequence) -> Option<ClockTime> {
        self.gaps.find(sequence).map(|gap| gap.noticed)
    }

    /// Forgets all gaps.
    pub(super) fn clear(&mut self) {
        self.gaps.clear();
        self.at = ClockTime::NEVER;
    }

    /// Adds a gap after all others, to be requested at `due`.
    pub(super) fn open_gap(&mut self, missing: Range<Sequence>, now: ClockTime, due: ClockTime) {
        self.gaps.open(missing, now, due);
        self.at = self.at.min(due);
    }

    /// Adds a datagram that had arrived and was discarded, or not verified, and is waited for since `noticed`.
    pub(super) fn reopen(&mut self, sequence: Sequence, noticed: ClockTime, due: ClockTime) {
        self.gaps.reopen(sequence, noticed, due);
        self.at = self.at.min(due);
    }

    /// Forgets the gaps before `base`.
    pub(super) fn trim(&mut self, base: Sequence) {
        self.gaps.trim(base);
    }

    /// Notes the first copy of a datagram that was missing, and learns from its delay.
    pub(super) fn fill(&mut self, now: ClockTime, sequence: Sequence, repaired_by: Option<Responder>) {
        let Some(gap) = self.gaps.fill(sequence) else { return };
        let due = now + MIN_REORDER_GUARD;
        // Repairs arrive in the order of their requests, so an earlier request or its repair is lost.
        let has_overtaken = match (repaired_by, gap.asked_repairer) {
            (None, _) => {
                let late = now.since(gap.noticed).min(MAX_REORDERING);
                // One late datagram makes the guard longer at once, and it shrinks slowly: each request
                // of what is merely late costs a repair.
                if now.since(self.shrank_at) >= SHRINK_INTERVAL {
                    self.reordering -= self.reordering / SHRINKING;
                    self.shrank_at = now;
                }
                self.reordering = self.reordering.max(late);
                false
            }
            // With several requests it is unknown which one was answered (Karn's algorithm).
            (Some(Responder::Publisher), _) if gap.tries == 1 => {
                self.publisher.note(now.since(gap.asked));
                self.gaps.overtaken(gap.asked, sequence, due, |gap| (gap.tries > 0).then_some(gap.asked))
            }
            (Some(Responder::Repairer), Some(asked)) => {
                self.repairer.note(now.since(asked));
                // What the publisher was asked for meanwhile has its own timeout.
                let asked_of = |gap: &Gap<Sequence>| gap.asked_repairer.filter(|_| gap.tries == 0);
                self.gaps.overtaken(asked, sequence, due, asked_of)
            }
            _ => false,
        };
        if has_overtaken {
            self.at = self.at.min(due);
        }
        if self.gaps.is_empty() {
            self.at = ClockTime::NEVER;
        }
    }

    /// Notes that a datagram that had arrived is no longer waited for.
    pub(super) fn remove(&mut self, sequence: Sequence) {
        self.gaps.fill(sequence);
        if self.gaps.is_empty() {
            self.at = ClockTime::NEVER;
        }
    }

    /// Requests what is missing before a datagram, and was not requested yet, by this time.
    pub(super) fn schedule_soon(&mut self, before: Sequence, due: ClockTime) {
        let waits = |gap: &&mut Gap<Sequence>| gap.first < before && gap.is_unrequested() && gap.due > due;
        for gap in self.gaps.iter_mut().filter(waits) {
            gap.due = due;
            self.at = self.at.min(due);
        }
    }

    /// Postpones the requests for a range until this time.
    pub(super) fn postpone(&mut self, range: Range<Sequence>, until: ClockTime) {
        self.gaps.postpone(range, until);
    }

    /// Postpones all requests until this time.
    pub(super) fn postpone_all(&mut self, until: ClockTime) {
        self.gaps
            .iter_mut()
            // Gaps without a due time are left to delivery, which gives them up.
            .filter(|gap| gap.due != ClockTime::NEVER)
            .for_each(|gap| gap.due = gap.due.max(until));
        self.at = self.gaps.next_due().unwrap_or(ClockTime::NEVER);
    }

    /// Counts a datagram of this length that has arrived, or was recovered.
    pub(super) const fn record_arrived(&mut self, length: usize) {
        self.arrived.datagrams += 1;
        self.arrived.bytes += length as u64;
    }

    /// Returns how many NAKs this subscriber may send now: its share of the allowance of a group of this size.
    /// If its gaps are urgent, it may always send a NAK in each `urgent_interval`, which has a lower bound, because its share
    /// of what the group may send is too small.
    pub(super) fn allowed(
        &mut self,
        now: ClockTime,
        group_size: u32,
        urgent_interval: Option<Duration>,
    ) -> u64 {
        let group = u64::from(group_size.max(1));
        let is_crowd = group > u64::from(SMALL_GROUP);
        if self.arrived.datagrams > self.allowance.arrived.datagrams {
            self.unanswered = 0;
        }
        let shortest = match is_crowd {
            true => CROWD_URGENT_INTERVAL,
            false => (URGENT_INTERVAL * (1 << self.unanswered.min(8))).min(CROWD_URGENT_INTERVAL),
        };
        let urgent = urgent_interval.map_or(0, |interval| per_second(NAK, interval.max(shortest)));
        self.allowance.share(now, Responder::Publisher, group, self.arrived, urgent)
    }

    /// Returns how many NAKs this subscriber may send to a repairer now. That is not the publisher, which must bear those of
    /// the whole group: the share is that in a small group, which subscribers that ask the same repairer are.
    pub(super) fn allowed_for_repairer(&mut self, now: ClockTime, group_size: u32) -> u64 {
        let group = u64::from(group_size.clamp(1, SMALL_GROUP));
        self.repairer_allowance.share(now, Responder::Repairer, group, self.arrived, 0)
    }

    /// Waits until the allowance admits another NAK, or `retry` is over: datagrams that arrive add to it.
    pub(super) fn wait_for_allowance(&mut self, now: ClockTime, retry: Duration) {
        let latest = now + NAK_RETRY.max(retry);
        self.not_before = self.allowance.available_at().max(now + NAK_INTERVAL).min(latest);
    }

    /// Takes the gaps out, to request them; [`record_sent`](Self::record_sent) takes them back.
    pub(super) fn take_gaps(&mut self) -> Gaps<Sequence> {
        core::mem::take(&mut self.gaps)
    }

    /// Takes back the gaps, after these NAKs for them to the publisher and to a repairer, and schedules the next one.
    pub(super) fn record_sent(
        &mut self,
        now: ClockTime,
        sent: SentNaks,
        to_repairer: SentNaks,
        gaps: Gaps<Sequence>,
    ) {
        self.gaps = gaps;
        self.may_await_repairer |= to_repairer.count > 0;
        self.unanswered = self.unanswered.saturating_add(sent.count as u32);
        self.allowance.spend(sent);
        self.repairer_allowance.spend(to_repairer);
        // NAKs of one subscriber that follow each other faster are ignored.
        self.not_before = now + times((sent.count + to_repairer.count).max(1), NAK_INTERVAL);
        self.at = self.gaps.next_due().unwrap_or(ClockTime::NEVER).max(now + Duration::from_nanos(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(10);

    /// Requests datagram 1 of a repairer at this time, to request it of the publisher a second later.
    fn asked(naks: &mut NakScheduler, at: ClockTime) {
        naks.open_gap(Sequence(1)..Sequence(2), at, at);
        let mut gaps = naks.take_gaps();
        for gap in gaps.iter_mut() {
            (gap.due, gap.asked_repairer) = (at + Duration::from_secs(1), Some(at));
        }
        naks.record_sent(at, SentNaks::default(), SentNaks { count: 1, bytes: NAK_LENGTH }, gaps);
    }

    #[test]
    fn a_repairer_that_answers_ever_later_has_no_more_time_than_the_publisher() {
        let mut naks = NakScheduler::new(ClockTime(0));
        let longest = naks.repair_timeout(ROUND_TRIP);
        let mut now = ClockTime(1);
        for _ in 0..100 {
            let timeout = naks.repairer_timeout(Duration::from_millis(1), ROUND_TRIP);
            assert!(timeout <= longest, "{timeout:?}");
            asked(&mut naks, now);
            now = now + timeout;
            naks.fill(now, Sequence(1), Some(Responder::Repairer));
        }
        // Where the publisher is near, a repairer still has the time that a process needs.
        assert_eq!(naks.repairer_timeout(ROUND_TRIP, Duration::from_nanos(1)), MIN_REPAIRER_TIMEOUT);
    }

    #[test]
    fn the_publisher_is_asked_at_once_when_a_repairer_is_no_longer_awaited() {
        let mut naks = NakScheduler::new(ClockTime(0));
        let (asked_at, now) = (ClockTime(1), ClockTime(0) + ROUND_TRIP);
        asked(&mut naks, asked_at);
        assert!(naks.may_await_repairer() && naks.at() > now);
        naks.stop_awaiting_repairer(now);
        assert!(!naks.may_await_repairer());
        assert_eq!(naks.at(), now);
    }

    fn share(allowance: &mut Allowance, now: ClockTime, group: u64, arrived: Arrived, urgent: u64) -> u64 {
        allowance.share(now, Responder::Publisher, group, arrived, urgent)
    }

    /// Returns how many NAKs per second one of `group` subscribers may send, of one entry each, when this many datagrams of
    /// `length` bytes arrive per second.
    fn admitted(group: u64, length: u64, rate: u64) -> f64 {
        const SECONDS: u64 = 20;
        let mut allowance = Allowance::new(ClockTime(0));
        allowance.bucket.spend(NAK_BURST * NAK);
        let mut sent = 0;
        for millisecond in 1..=SECONDS * 1_000 {
            let datagrams = rate * millisecond / 1_000;
            let arrived = Arrived { datagrams, bytes: datagrams * length };
            let count = share(&mut allowance, ClockTime(millisecond * 1_000_000), group, arrived, 0);
            allowance.spend(SentNaks { count, bytes: count * NAK_LENGTH });
            sent += count;
        }
        sent as f64 / SECONDS as f64
    }

    /// The loss at which the NAKs for single datagrams are as many as the allowance admits, for groups of several sizes.
    fn row(length: u64, rate: u64) -> std::string::String {
        let loss = |group| match 100.0 * admitted(group, length, rate) / rate as f64 {
            100.0.. => "never".into(),
            percent @ 10.0.. => std::format!("{percent:.0} %"),
            percent @ 1.0.. => std::format!("{percent:.1} %"),
            percent => std::format!("{percent:.2} %"),
        };
        let cells: std::vec::Vec<std::string::String> = [1, 4, 8, 10, 100].map(loss).into();
        let rate = match rate {
            1_000.. => std::format!("{},000", rate / 1_000),
            _ => std::format!("{rate}"),
        };
        std::format!("| {length} | {rate} | {} |", cells.join(" | "))
    }

    #[test]
    fn the_page_says_at_which_loss_the_allowance_binds() {
        let rows = [100, 300, 1_400]
            .into_iter()
            .flat_map(|length| [200, 2_000, 20_000, 100_000].into_iter().map(move |rate| row(length, rate)));
        let table = rows.collect::<std::vec::Vec<_>>().join("\n");
        let page = include_str!("../../../../../docs/scale.md");
        assert!(page.contains(&table), "docs/scale.md does not have this table:\n{table}");
    }

    #[test]
    fn a_subscriber_may_send_nothing_for_datagrams_that_do_not_arrive() {
        assert!(admitted(8, 1_400, 0) <= NAK_RATE as f64 / 8.0);
        assert!(admitted(1, 1_400, 0) <= NAK_RATE as f64);
    }

    /// What a long NAK costs is repaid before the next one.
    #[test]
    fn a_long_nak_counts_as_its_bytes() {
        let mut allowance = Allowance::new(ClockTime(0));
        let burst = share(&mut allowance, ClockTime(1), 8, Arrived::default(), 0);
        allowance.spend(SentNaks { count: 1, bytes: 2 * burst * NAK_LENGTH });
        let half = ClockTime(500_000_000);
        assert_eq!(share(&mut allowance, half, 8, Arrived::default(), 0), 0, "it is in debt");
        let arrived = Arrived { datagrams: 1, bytes: burst * BYTES_PER_NAK_BYTE * NAK_LENGTH };
        assert_ne!(share(&mut allowance, half + Duration::from_millis(500), 8, arrived, 0), 0);
        // Of a crowd, each counts as one.
        let mut allowance = Allowance::new(ClockTime(0));
        let burst = share(&mut allowance, ClockTime(1), 100, Arrived::default(), 0);
        allowance.spend(SentNaks { count: 1, bytes: 2 * burst * NAK_LENGTH });
        assert_eq!(share(&mut allowance, ClockTime(1), 100, Arrived::default(), 0), burst - 1);
    }
}
