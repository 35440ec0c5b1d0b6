//! The rate and the credit of the repairs that one subscriber requests: those that do not arrive show that the rate exceeds
//! the capacity of its link. It reports how many repairs arrived, and gets credit for more.

use core::time::Duration;

use mcast_pace::TokenBucket;

use super::congestion::{LONGEST_SILENCE, RateChange, RateControl, Sample};
use super::sent_log::SentLog;
use crate::ClockTime;
use crate::publisher::pacing::RepairPace;
use crate::span::per_second;

/// The credit in bytes with which subscribers begin. They share it, because they may all be behind the same link, but
/// each has at least `LEAST_CREDIT`.
const CREDIT: u64 = 524_288;
const LEAST_CREDIT: u64 = CREDIT / 4;
/// The most credit that a subscriber can accumulate, unless it reports more repairs at once.
const MAX_CREDIT: u64 = 2 * CREDIT;
/// Credit for each byte of repairs that arrived, in millionths, unless a trial showed that loss does not depend on the
/// rate. Behind a bottleneck, at most this many bytes are sent per byte that arrives.
const GAIN: u64 = 1_500_000;
/// The greatest loss that the gain makes up for, in parts per million.
const MAX_LOSS: u32 = 750_000;
/// The least number of repairs in a sample, and its least duration: a busy subscriber reads a heartbeat up to some tens
/// of milliseconds before repairs that were sent earlier, because they wait in different sockets.
const SAMPLE_REPAIRS: u64 = 64;
const SAMPLE_TIME: Duration = Duration::from_millis(100);
/// Repairs are not limited to less than this part of the rate of new data that arrives: their link carries that, so few of a
/// short burst that arrive say nothing about it, and new data waits for its repairs.
const DATA_SHARE: u64 = 4;

impl RepairPace {
    /// Limits the rate to what the links carry, or no longer.
    pub(super) fn limit(&mut self, rate: Option<u64>) {
        self.is_limited = rate.is_some();
        self.bucket.set_rate(rate.map_or(self.floor, |rate| rate.min(self.floor)));
    }
}

/// The repairs that were sent: to the group, and the bytes of those to single subscribers.
#[derive(Debug)]
pub(in crate::publisher) struct SentRepairs {
    pub(super) group: SentLog,
    pub(super) single_bytes: u64,
}

impl SentRepairs {
    pub(in crate::publisher) const fn new() -> Self {
        Self { group: SentLog::of_group(), single_bytes: 0 }
    }
}

/// What a status says about repairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepairReport {
    /// The lower half of the number of repairs that arrived.
    pub(super) arrived: u32,
    /// The number of datagrams that arrived, repairs among them.
    pub(super) received: u64,
    /// The subscriber has counted, or lost, what was sent until this time.
    pub(super) until: ClockTime,
    /// Whether the subscriber has received continuously since its last status.
    pub(super) is_steady: bool,
    /// The number of subscribers.
    pub(super) subscribers: u64,
    /// The average length of a datagram of new data.
    pub(super) average: u64,
    pub(super) round_trip: Duration,
    /// Whether a trial of the repairs of another subscriber is running.
    pub(super) other_on_trial: bool,
    /// How often a repair to the group had to wait.
    pub(super) group_denied: u64,
}

/// The counts at the last status.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    at: ClockTime,
    /// What was sent until this time had arrived or was lost.
    until: ClockTime,
    /// Repairs that passed the subscriber's link, and those of them that it requested, until that time.
    sent: u64,
    paid: u64,
    /// The last count that it reported, and how many of those were sent to it.
    count: u32,
    arrived: u64,
    received: u64,
}

/// The repairs since the present rate was set, or since the last sample.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// Repairs that were sent before this time are not counted.
    from: ClockTime,
    /// The time in which repairs were sent or arrived.
    elapsed: Duration,
    sent: u64,
    arrived: u64,
    /// Datagrams that arrived, repairs among them, and the time in which they did.
    received: u64,
    duration: Duration,
    /// How often repairs had had to wait before.
    denied: u64,
}

/// What is known of the repairs that one subscriber requests.
#[derive(Debug)]
pub(in crate::publisher) struct RepairCredit {
    /// Bytes that may be sent before more repairs are known to have arrived. It bounds what is sent in vain, however
    /// late the losses are reported.
    credit: TokenBucket,
    pub(super) control: RateControl,
    /// The lowest rate without new data, in bytes per second.
    slowest: u64,
    /// The repairs sent to this subscriber alone, and those that it requested, for it or for the group.
    singles: SentLog,
    paid: SentLog,
    /// Repairs sent to the group before it joined.
    group_before: u64,
    /// Bytes sent to this subscriber alone.
    pub(super) single_bytes: u64,
    /// The bytes of recent repairs that it requested, and their number.
    lengths: (u64, u64),
    reported: Reported,
    pending: Pending,
    /// Recent repairs that it requested, and those that passed its link.
    recent: (u64, u64),
    /// When a repair was last on its way to it, if one ever was.
    active_at: Option<ClockTime>,
}

impl RepairCredit {
    pub(in crate::publisher) fn new(datagram: usize, sent: &SentRepairs, now: ClockTime) -> Self {
        let slowest = 64 * datagram as u64;
        Self {
            credit: TokenBucket::new(8 * datagram as u64, 0, now.0),
            control: RateControl::new(slowest),
            slowest,
            singles: SentLog::of_subscriber(),
            paid: SentLog::of_subscriber(),
            group_before: sent.group.total(),
            single_bytes: 0,
            lengths: (0, 0),
            reported: Reported { at: now, ..Reported::default() },
            pending: Pending::default(),
            recent: (0, 0),
            active_at: None,
        }
    }

    /// Returns whether a trial of its rate is running; a trial without recent repairs is not.
    pub(super) fn is_on_trial(&self, now: ClockTime) -> bool {
        let is_active = |at| now.since(at) < LONGEST_SILENCE;
        self.control.is_on_trial() && self.active_at.is_some_and(is_active)
    }

    /// Returns whether this many bytes may be sent.
    ///
    /// # Errors
    /// When they may.
    pub(in crate::publisher) fn admit(
        &mut self,
        bytes: u64,
        now: ClockTime,
        subscribers: u64,
        pace: &mut RepairPace,
    ) -> Result<(), ClockTime> {
        self.end_pause(now, subscribers, pace);
        self.credit.refill(now.0);
        match self.credit.has(bytes) {
            true => Ok(()),
            false => Err(ClockTime(self.credit.available_at(bytes))),
        }
    }

    /// Notes that a repair of this many bytes was sent.
    pub(in crate::publisher) fn record_sent(
        &mut self,
        now: ClockTime,
        bytes: u64,
        is_for_group: bool,
        sent: &mut SentRepairs,
    ) {
        match is_for_group {
            true => sent.group.note(now),
            false => {
                self.singles.note(now);
                self.single_bytes += bytes;
                sent.single_bytes += bytes;
            }
        }
        self.paid.note(now);
        self.credit.take(bytes);
        if self.lengths.1 >= 8 * SAMPLE_REPAIRS {
            self.lengths = (self.lengths.0 / 2, self.lengths.1 / 2);
        }
        self.lengths = (self.lengths.0 + bytes, self.lengths.1 + 1);
    }

    /// Gives the first credit, also after a pause without repairs, which ends the sample, and the limit as far as it is
    /// out of date.
    fn end_pause(&mut self, now: ClockTime, subscribers: u64, pace: &mut RepairPace) {
        let before = self.active_at.replace(now);
        let pause = before.map_or(Duration::MAX, |at| now.since(at));
        if pause < LONGEST_SILENCE {
            return;
        }
        let first = (CREDIT / subscribers.max(1)).max(LEAST_CREDIT);
        self.credit.set_capacity(MAX_CREDIT);
        self.credit.add(first.saturating_sub(self.credit.level()));
        if before.is_some() {
            self.pending = Pending { from: now, ..Pending::default() };
            self.control.relax_after(pause);
            pace.limit(self.control.rate());
        }
    }

    /// Handles the count in a status: gives credit for what arrived, and adapts the rate to the share that did not,
    /// once a sample is complete.
    pub(super) fn record_report(
        &mut self,
        now: ClockTime,
        report: RepairReport,
        sent_repairs: &SentRepairs,
        pace: &mut RepairPace,
    ) -> Option<RateChange> {
        let before = self.reported;
        // A lower count was overtaken on the way, or has wrapped.
        let arrived = report.arrived.saturating_sub(before.count);
        // Not more than were sent, whatever the status says.
        let all_sent = self.singles.total() + sent_repairs.group.total() - self.group_before;
        let arrived = u64::from(arrived).min(all_sent.saturating_sub(before.arrived));
        let until = report.until.max(before.until);
        let sent_until = self.singles.until(until) + sent_repairs.group.until(until);
        self.reported = Reported {
            at: now,
            until,
            sent: sent_until.saturating_sub(self.group_before).max(before.sent),
            paid: self.paid.until(until).max(before.paid),
            count: report.arrived,
            arrived: before.arrived + arrived,
            received: report.received.max(before.received),
        };
        self.singles.forget(until);
        self.paid.forget(until);
        let (sent, paid) = (self.reported.sent - before.sent, self.reported.paid - before.paid);
        // Repairs to the group that others have requested pass this link, too.
        if sent > 0 {
            self.end_pause(now, report.subscribers, pace);
        }
        // Its repairs may be longer than new data, of which a publisher that recalls its log may have none.
        let (bytes, repairs) = self.lengths;
        let average_repair = bytes.checked_div(repairs).unwrap_or(report.average);
        self.give_credit(arrived, paid, sent, average_repair);
        let denied = pace.denied + report.group_denied;
        // What was received or lost during a pause says nothing about the link.
        if !report.is_steady {
            self.pending = Pending { from: now, denied, ..Pending::default() };
            return None;
        }
        if before.until < self.pending.from {
            self.pending.denied = denied;
            return None;
        }
        if sent > 0 || arrived > 0 {
            self.pending.elapsed += now.since(before.at);
        }
        self.pending.sent += sent;
        self.pending.arrived += arrived;
        // The first count includes what arrived before.
        if before.received > 0 {
            self.pending.received += self.reported.received - before.received;
        }
        self.pending.duration += now.since(before.at);
        let Pending { sent, arrived, elapsed, denied: denied_before, .. } = self.pending;
        if sent < SAMPLE_REPAIRS || elapsed < SAMPLE_TIME.max(4 * report.round_trip) {
            return None;
        }
        let lost = sent.saturating_sub(arrived);
        let (sent_bytes, arrived_bytes) = (sent * average_repair, arrived.min(sent) * average_repair);
        let sample = Sample { sent, lost, sent_bytes, arrived_bytes, elapsed };
        // Not more than without a limit, whatever the status says.
        let share = (self.data_rate(report.average) / DATA_SHARE).min(pace.floor);
        self.control.set_slowest(self.slowest.max(share));
        let rate = self.control.rate();
        let change = self.control.observe(now, sample, denied > denied_before, report.other_on_trial);
        // What was sent at another rate says nothing about the new one.
        let from = if self.control.rate() == rate { self.pending.from } else { now };
        self.pending = Pending { from, denied, ..Pending::default() };
        pace.limit(self.control.rate());
        change
    }

    /// Returns the rate of new data that arrived, in bytes per second.
    fn data_rate(&self, average: u64) -> u64 {
        let Pending { arrived, received, duration, .. } = self.pending;
        per_second(received.saturating_sub(arrived).saturating_mul(average), duration)
    }

    /// Gives credit for repairs that arrived. For repairs to the group, the subscriber that requested them gets it.
    fn give_credit(&mut self, arrived: u64, paid: u64, sent: u64, average: u64) {
        let (recent_paid, recent_sent) = self.recent;
        self.recent = (recent_paid + paid, recent_sent + sent);
        if self.recent.1 > 8 * SAMPLE_REPAIRS {
            self.recent = (self.recent.0 / 2, self.recent.1 / 2);
        }
        let (paid, sent) = self.recent;
        let bytes = arrived * average;
        let own = (bytes * paid.min(sent)).checked_div(sent).unwrap_or(bytes);
        let arriving = u64::from(1_000_000 - self.control.cleared_loss().min(MAX_LOSS));
        let credit = own.saturating_mul(GAIN) / arriving;
        self.credit.set_capacity(MAX_CREDIT.max(2 * credit));
        self.credit.add(credit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::pacing::REPAIR_BURST;
    use crate::publisher::repair_flow::{GroupRepairs, RepairFlow};

    const FLOOR: u64 = 12_500_000;
    const DATAGRAM: u64 = 1_000;
    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = SECOND / 1_000;

    fn flow() -> (RepairFlow, GroupRepairs) {
        let group = GroupRepairs { pace: RepairPace::new(FLOOR, ClockTime(0)), sent: SentRepairs::new() };
        (RepairFlow::new(FLOOR, DATAGRAM as usize, &group.sent, ClockTime(0)), group)
    }

    const REPORT: RepairReport = RepairReport {
        arrived: 0,
        received: 0,
        until: ClockTime(0),
        is_steady: true,
        subscribers: 1,
        average: DATAGRAM,
        round_trip: Duration::from_nanos(MILLISECOND),
        other_on_trial: false,
        group_denied: 0,
    };

    /// Takes a repair to the subscriber alone.
    fn take(
        flow: &mut RepairFlow,
        group: &mut GroupRepairs,
        share: u64,
        now: ClockTime,
        subscribers: u64,
    ) -> Result<(), ClockTime> {
        flow.take(DATAGRAM, group, false, share, now, subscribers)
    }

    fn record_report(flow: &mut RepairFlow, group: &GroupRepairs, report: RepairReport) {
        let report = RepairReport { group_denied: group.pace.denied, ..report };
        flow.credit.record_report(report.until, report, &group.sent, &mut flow.pace);
    }

    /// Sends repairs for a second, of which this share arrives, in percent; returns how many were sent.
    fn repair_for_a_second(
        flow: &mut RepairFlow,
        group: &mut GroupRepairs,
        start: u64,
        arriving: u64,
        counts: &mut (u64, u64),
    ) {
        for now in (start..start + SECOND).step_by(MILLISECOND as usize).map(ClockTime) {
            for _ in 0..100 {
                if take(flow, group, 0, now, 1).is_ok() {
                    counts.0 += 1;
                }
            }
            counts.1 = counts.0 * arriving / 100;
            let report = RepairReport { arrived: counts.1 as u32, received: counts.1, until: now, ..REPORT };
            record_report(flow, group, report);
        }
    }

    /// Of a short burst, a subscriber that waits for the processor may lose much, whatever its link carries.
    #[test]
    fn repairs_are_not_limited_to_a_trickle_beside_a_flood_of_data() {
        let rate_with = |data: u64| {
            let (mut flow, mut group) = flow();
            for round in 1..=4_u32 {
                let now = ClockTime(u64::from(round) * 50 * MILLISECOND);
                while take(&mut flow, &mut group, 0, now, 8).is_ok() {}
                let sent = flow.credit.singles.total();
                let report = RepairReport {
                    arrived: sent as u32 / 3 * 2,
                    received: sent / 3 * 2 + u64::from(round) * data / 20,
                    until: now,
                    subscribers: 8,
                    ..REPORT
                };
                record_report(&mut flow, &group, report);
            }
            flow.credit.control.rate().unwrap()
        };
        assert!(rate_with(50_000) >= 12_000_000, "{}", rate_with(50_000));
        assert!(rate_with(0) < 4_000_000, "{}", rate_with(0));
        // A subscriber may claim anything.
        assert!(rate_with(u64::MAX / 8) <= FLOOR, "{}", rate_with(u64::MAX / 8));
    }

    /// A publisher that was restarted and has nothing new to send repairs what it recalls from its log.
    #[test]
    fn repairs_that_arrive_give_credit_although_no_new_data_was_sent() {
        let (mut flow, mut group) = flow();
        let mut sent = 0;
        for now in (0..SECOND).step_by(MILLISECOND as usize).map(ClockTime) {
            while sent < 4 * CREDIT / DATAGRAM && take(&mut flow, &mut group, 0, now, 1).is_ok() {
                sent += 1;
            }
            let arrived = sent as u32;
            let report = RepairReport { arrived, received: sent, until: now, ..REPORT };
            record_report(&mut flow, &group, RepairReport { average: 0, ..report });
        }
        assert_eq!(sent, 4 * CREDIT / DATAGRAM);
    }

    #[test]
    fn repairs_that_do_not_arrive_use_up_the_credit() {
        let (mut flow, mut group) = flow();
        let mut counts = (0, 0);
        repair_for_a_second(&mut flow, &mut group, 0, 0, &mut counts);
        assert!(counts.0 * DATAGRAM <= CREDIT + 64 * DATAGRAM, "{} repairs", counts.0);
        let mut counts = (0, 0);
        let (mut flow, mut group) = self::flow();
        repair_for_a_second(&mut flow, &mut group, 0, 100, &mut counts);
        assert!(counts.0 * DATAGRAM > FLOOR * 9 / 10, "{} repairs", counts.0);
    }

    /// Of subscribers behind one link that is too slow, none knows what the repairs of the others take there.
    #[test]
    fn subscribers_share_the_first_credit() {
        for (subscribers, part) in [(1, CREDIT), (2, CREDIT / 2), (4, CREDIT / 4), (40, LEAST_CREDIT)] {
            let (mut flow, mut group) = flow();
            for start in [0, 60 * SECOND] {
                let times = (start..start + SECOND).step_by(MILLISECOND as usize);
                let is_sent =
                    |now: &u64| take(&mut flow, &mut group, u64::MAX, ClockTime(*now), subscribers).is_ok();
                let bytes = times.filter(is_sent).count() as u64 * DATAGRAM;
                // Up to two seconds add eight datagrams each.
                let most = part + 2 * 8 * DATAGRAM;
                assert!((part - DATAGRAM..=most).contains(&bytes), "{subscribers}: {bytes} bytes");
            }
        }
    }

    /// Whatever a status claims, no more arrived than was sent.
    #[test]
    fn a_wrong_count_gives_credit_for_what_was_sent_at_most() {
        let (mut flow, mut group) = flow();
        let mut sent = 0;
        for (now, arrived) in [(1, u32::MAX), (2, 0), (3, u32::MAX), (4, 7), (5, u32::MAX)] {
            let now = ClockTime(now * MILLISECOND);
            sent +=
                (0..1_000).filter(|_| take(&mut flow, &mut group, u64::MAX, now, 1).is_ok()).count() as u64;
            let report = RepairReport { arrived, received: 0, until: now, ..REPORT };
            record_report(&mut flow, &group, report);
            assert!(flow.credit.reported.arrived <= sent, "{} of {sent}", flow.credit.reported.arrived);
        }
        take(&mut flow, &mut group, u64::MAX, ClockTime(6 * MILLISECOND), 1).unwrap();
    }

    /// What a link carried a minute ago says nothing about it now.
    #[test]
    fn a_limit_does_not_outlast_a_pause() {
        let (mut flow, mut group) = flow();
        let mut counts = (0, 0);
        repair_for_a_second(&mut flow, &mut group, 0, 50, &mut counts);
        assert!(flow.credit.control.rate().is_some(), "losing half does not limit repairs");
        let now = ClockTime(61 * SECOND);
        assert!(take(&mut flow, &mut group, 0, now, 1).is_ok());
        assert_eq!(flow.credit.control.rate(), None);
        let sent = (0..1_000).filter(|_| take(&mut flow, &mut group, 0, now, 1).is_ok()).count() as u64;
        assert_eq!(sent + 1, REPAIR_BURST / DATAGRAM, "the bucket does not fill at the full rate");
    }
}
