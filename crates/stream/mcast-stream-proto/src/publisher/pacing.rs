//! The rate of the stream, to which data, repairs and control datagrams keep together, and how far it slows down to
//! what the links of the subscribers carry, from what they report as lost.

use core::time::Duration;

use mcast_pace::TokenBucket;

use super::congestion::{LONGEST_SILENCE, RateChange, Sample};
use super::members::{Member, Role};
use super::record::{LossMark, newly_missed};
use super::repair_flow::RepairReport;
use super::{Congestion, PublisherEvent, PublisherMachine};
use crate::ClockTime;
use crate::span::{amount, time_for};
use crate::wire::{Sequence, Status, SubscriberId};

/// The least number of datagrams in a loss sample, and its least duration.
const SAMPLE_DATAGRAMS: u64 = 128;
/// The least number while the links are unknown, and in a trial, because a trial slows down all subscribers.
const FIRST_SAMPLE: u64 = 64;
const SAMPLE_TIME: Duration = Duration::from_millis(50);
/// The least number in a sample that takes a second.
const FEWEST_DATAGRAMS: u64 = 32;

/// How a subscriber receives the stream, which decides whether its losses count against the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    /// It receives the stream as it is sent.
    Steady,
    /// It has just joined, and requests older datagrams.
    CatchingUp,
    /// It received nothing for a while: it was stopped, cut off, or had no key.
    Interrupted,
}

impl PublisherMachine {
    /// Returns the first datagram that must not be sent yet.
    pub(super) fn data_limit(&mut self, now: ClockTime) -> Sequence {
        match self.has_flow_control() {
            true => self.flow.limit(now, &self.ring, &mut self.members),
            false => Sequence::MAX,
        }
    }

    /// Takes a loss sample of a subscriber, if enough was sent, and adapts the rate.
    pub(super) fn observe_loss(&mut self, now: ClockTime, id: SubscriberId, reception: Reception) {
        if !self.adapts_rate() {
            return;
        }
        let average = self.average_length();
        let with_parity = self.bytes_ahead() / self.statistics.datagrams.max(1);
        let (single_bytes, held_back, sent) =
            (self.repairs.single_bytes(), self.pacer.held_back(), self.ring.sent);
        let is_starting = self.flow.is_starting();
        let Some(member) = self.members.get_mut(id).filter(|member| member.role == Role::Awaited) else {
            return;
        };
        match reception {
            Reception::CatchingUp if member.mark.since.is_none() => return,
            // A subscriber that has been sampled before lost the last datagrams before a heartbeat.
            Reception::CatchingUp | Reception::Steady => {}
            // What it lost while it was away is not a loss of the link.
            Reception::Interrupted => return member.mark.begin_at(sent),
        }
        let was_held_back = member.mark.held_back != held_back;
        let Some(sample) = member.sample(now, average, with_parity, single_bytes, is_starting) else {
            return;
        };
        member.mark.held_back = held_back;
        let before = member.control.rate();
        // Where another link is slower, the rate of that one has held the data back.
        let is_full = was_held_back && before == self.members.rate();
        let other_on_trial = self.other_on_trial(id);
        let Some(member) = self.members.get_mut(id) else { return };
        let change = member.control.observe(now, sample, is_full, other_on_trial);
        if member.control.rate() != before {
            member.mark.from = sent;
            self.members.rate_changed();
        }
        self.keep_pace(now);
        match change {
            Some(RateChange::Cleared { loss, until, immunity, certain }) => {
                let others = self.members.iter_mut();
                others.for_each(|(_, member)| member.control.learn(loss, until, immunity, certain));
            }
            Some(RateChange::Slowed { loss, rate }) => self.report_slowdown(id, loss, rate),
            Some(RateChange::Recovered) => self.report_recovery(),
            None => {}
        }
    }

    /// Notes which repairs arrived, and adapts their rate.
    pub(super) fn observe_repairs(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        status: &Status,
        reception: Reception,
    ) {
        let average = self.average_length();
        let other_on_trial =
            self.members.iter().any(|(other, member)| other != id && member.repairs.is_on_trial(now));
        let subscribers = self.members.len() as u64;
        let Some(member) = self.members.get_mut(id) else { return };
        let until = match status.clock {
            0 => now - member.answer_time(),
            // As long after that heartbeat was sent as this status after it arrived.
            clock => (ClockTime(clock) + Duration::from_micros(status.held.into())).min(now),
        };
        let is_steady = reception != Reception::Interrupted;
        let report = RepairReport {
            arrived: status.repairs,
            received: status.received,
            until,
            is_steady,
            subscribers,
        };
        let before = member.repairs.rate();
        let change = self.repairs.record_report(now, member, report, average, other_on_trial);
        if member.repairs.rate() != before {
            self.members.rate_changed();
        }
        if let Some(RateChange::Cleared { loss, until, immunity, certain }) = change {
            let others = self.members.iter_mut();
            others.for_each(|(_, member)| member.repairs.learn(loss, until, immunity, certain));
        }
        self.pace_group_repairs();
    }

    /// Limits repairs to the group to the rate that the links of awaited subscribers carry.
    fn pace_group_repairs(&mut self) {
        let rate = match self.has_flow_control() {
            true => self.members.repair_rate(),
            false => self.members.repair_rate_of_all(),
        };
        self.repairs.limit_group(rate);
    }

    /// Returns the average length of a datagram of data or parity.
    pub(super) fn average_length(&self) -> u64 {
        self.bytes_ahead() / (self.statistics.datagrams + self.statistics.parity).max(1)
    }

    /// Returns the bytes of new data, and of the parity that was sent for it without a request.
    pub(super) const fn bytes_ahead(&self) -> u64 {
        self.statistics.datagram_bytes + self.statistics.parity_bytes
    }

    fn other_on_trial(&self, id: SubscriberId) -> bool {
        self.members.iter().any(|(other, member)| {
            other != id && member.role == Role::Awaited && member.control.is_on_trial()
        })
    }

    /// Reports a slowdown, once for all subscribers behind the same link.
    fn report_slowdown(&mut self, subscriber: SubscriberId, loss: u32, rate: u64) {
        if self.slowed_to.is_none_or(|before| rate < before / 4 * 3) {
            self.slowed_to = Some(rate);
            self.events.push(PublisherEvent::Slowed { subscriber, loss, rate });
        }
    }

    /// Reports the recovery from a slowdown, when no link limits the rate any more.
    fn report_recovery(&mut self) {
        if self.members.rate().is_none() && self.slowed_to.take().is_some() {
            self.events.push(PublisherEvent::Recovered);
        }
    }

    /// Raises limited rates without recent samples: repairs and pauses yield none. A low rate must not persist when the
    /// data arrives, or when nothing is sent.
    pub(super) fn relax(&mut self, now: ClockTime) {
        let average = self.average_length();
        let mut has_changed = false;
        for (_, member) in self.members.iter_mut() {
            let Some(rate) = member.control.rate() else { continue };
            let (last_sample, received) = member.mark.last_sample;
            let elapsed = now.since(last_sample);
            if elapsed < LONGEST_SILENCE {
                continue;
            }
            let bytes = member.received.saturating_sub(received).saturating_mul(average);
            let allowed = amount(rate, elapsed);
            if bytes == 0 || bytes >= allowed / 4 * 3 {
                member.control.relax_after(LONGEST_SILENCE);
                has_changed = true;
            }
            member.mark.last_sample = (now, member.received);
        }
        if has_changed {
            self.report_recovery();
        }
    }

    /// Applies the rate that follows from the configured one and from the subscribers' links.
    pub(super) fn keep_pace(&mut self, now: ClockTime) {
        if self.auto.is_some() {
            self.update_auto_rate(now);
            return self.pace_group_repairs();
        }
        // Without flow control nobody is waited for, so that one slow link does not limit the others.
        let found = if self.has_flow_control() { self.members.rate() } else { self.members.rate_of_all() };
        if self.pacer.limit(now, found) && self.has_flow_control() {
            // More than the limit was never tried: what the links carry is unknown again.
            self.flow.begin_flight(now, &self.ring);
        }
        self.pace_group_repairs();
    }

    pub(super) fn adapts_rate(&self) -> bool {
        self.config.congestion == Congestion::Adapt && self.auto.is_none()
    }
}

impl Member {
    /// Returns a loss sample of what was sent since the last one, if that is enough. `average` is the average length of a
    /// datagram of data or parity, `with_parity` that of a datagram of data plus its share of the parity.
    fn sample(
        &mut self,
        now: ClockTime,
        average: u64,
        with_parity: u64,
        single_bytes: u64,
        is_starting: bool,
    ) -> Option<Sample> {
        let other_repairs = single_bytes - self.repairs.single_bytes();
        let mark = self.mark;
        let Some(since) = mark.since.filter(|_| mark.highest >= mark.from) else {
            let begins = mark.since.is_none() || self.highest >= mark.from;
            if begins {
                self.set_mark(now, other_repairs, 0);
            }
            return None;
        };
        let (sent, elapsed) = (self.highest.ahead_of(mark.highest), now.since(since));
        let received = self.received.saturating_sub(mark.received);
        let lost = u64::from(newly_missed(mark.missed, self.missed));
        // A subscriber that knows of a datagram may not count it as lost yet, because it may be merely late. Its fate
        // belongs to the sample in which it is reported: else a small sample after a large one has the losses of both.
        let decided = (sent + mark.undecided).min(lost.saturating_add(received));
        let least = if is_starting { Duration::ZERO } else { SAMPLE_TIME.max(4 * self.round_trip) };
        let needed = if is_starting || self.control.is_on_trial() { FIRST_SAMPLE } else { SAMPLE_DATAGRAMS };
        let known = sent.min(decided);
        let is_enough = known >= needed || known >= FEWEST_DATAGRAMS && elapsed >= Duration::from_secs(1);
        if !is_enough || elapsed < least {
            return None;
        }
        // Repairs to other subscribers did not pass this subscriber's link.
        let other_repairs_since = other_repairs.saturating_sub(mark.other_repairs);
        let arrived_bytes = received.saturating_mul(average).saturating_add(other_repairs_since);
        self.set_mark(now, other_repairs, sent.saturating_sub(decided));
        self.mark.last_sample = (now, self.received);
        let sent_bytes = sent.saturating_mul(with_parity);
        Some(Sample { sent: decided, lost: lost.min(decided), sent_bytes, arrived_bytes, elapsed })
    }

    fn set_mark(&mut self, now: ClockTime, other_repairs: u64, undecided: u64) {
        let (highest, received, missed) = (self.highest, self.received, self.missed);
        let since = Some(now);
        self.mark = LossMark { highest, received, missed, undecided, other_repairs, since, ..self.mark };
    }
}

/// Bytes that pacing admits at once.
const BURST: u64 = 65_536;
/// The burst of a slowed publisher is this fraction of its rate per second.
const BURST_TIME: u64 = 100;
/// The same for an automatic rate.
const AUTO_BURST_TIME: u64 = 500;
/// Each kind of control datagram uses at most one part in this many of the rate.
const CONTROL_SHARE: u64 = 16;

/// Holds back what exceeds the rate, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    bucket: Option<TokenBucket>,
    rate: Option<u64>,
    /// The configured rate, and the length of the longest datagram.
    configured: Option<u64>,
    longest: u64,
    /// How often a datagram of data was delayed.
    held_back: u64,
    /// Bytes that were counted.
    taken: u64,
}

impl Pacer {
    /// Creates the pacer of a publisher with this configured rate, whose datagrams are at most `longest` bytes.
    pub(super) fn new(configured: Option<u64>, longest: usize, now: ClockTime) -> Self {
        let longest = longest as u64;
        let bucket = configured.map(|rate| TokenBucket::new(rate, BURST.max(longest), now.0));
        Self { bucket, rate: configured, configured, longest, held_back: 0, taken: 0 }
    }

    /// Returns the present rate in bytes per second.
    pub(super) const fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Returns how often data was delayed.
    pub(super) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Returns how many bytes were sent.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Sets the automatic rate, whose bursts are short.
    pub(super) fn set_rate(&mut self, now: ClockTime, rate: u64) {
        if self.rate == Some(rate) {
            return;
        }
        self.rate = Some(rate);
        let burst = (rate / AUTO_BURST_TIME).clamp(2 * self.longest, BURST.max(2 * self.longest));
        let mut bucket = self.bucket.unwrap_or_else(|| TokenBucket::new(rate, burst, now.0));
        bucket.refill(now.0);
        bucket.set_rate(rate);
        bucket.set_capacity(burst);
        self.bucket = Some(bucket);
    }

    #[inline]
    pub(super) fn refill(&mut self, now: ClockTime) {
        if let Some(bucket) = &mut self.bucket {
            bucket.refill(now.0);
        }
    }

    /// Limits the rate to what the links of the subscribers were found to carry, or no longer. Returns whether it was
    /// limited before and is not now.
    pub(super) fn limit(&mut self, now: ClockTime, found: Option<u64>) -> bool {
        let rate = [found, self.configured].into_iter().flatten().min();
        if rate == self.rate {
            return false;
        }
        self.rate = rate;
        let burst = match rate {
            Some(rate) if rate != self.configured.unwrap_or(u64::MAX) => {
                (rate / BURST_TIME).clamp(2 * self.longest, BURST.max(2 * self.longest))
            }
            _ => BURST.max(self.longest),
        };
        self.bucket = match (self.bucket, rate) {
            (Some(mut bucket), Some(rate)) => {
                bucket.refill(now.0);
                bucket.set_rate(rate);
                bucket.set_capacity(burst);
                Some(bucket)
            }
            (None, Some(rate)) => Some(TokenBucket::new(rate, burst, now.0)),
            (_, None) => None,
        };
        rate == self.configured
    }

    /// Takes the bytes of a datagram of data, if the rate admits them.
    #[inline]
    pub(super) const fn take_data(&mut self, bytes: u64) -> bool {
        let is_admitted = self.take(bytes);
        if !is_admitted {
            self.held_back += 1;
        }
        is_admitted
    }

    /// Takes this many bytes, if the rate admits them.
    #[inline]
    pub(super) const fn take(&mut self, bytes: u64) -> bool {
        let is_admitted = match &mut self.bucket {
            Some(bucket) => bucket.take(bytes),
            None => true,
        };
        if is_admitted {
            self.taken += bytes;
        }
        is_admitted
    }

    /// Takes the bytes of a control datagram, which is sent at once.
    pub(super) const fn charge(&mut self, bytes: u64) {
        self.taken += bytes;
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(bytes);
        }
    }

    /// Returns whether the rate admits this many bytes now.
    pub(super) const fn has(&self, bytes: u64) -> bool {
        match &self.bucket {
            Some(bucket) => bucket.has(bytes),
            None => true,
        }
    }

    /// Returns when the rate admits this many bytes.
    pub(super) fn when(&self, bytes: u64) -> ClockTime {
        self.bucket.as_ref().map_or(ClockTime(0), |bucket| ClockTime(bucket.available_at(bytes)))
    }

    /// Returns the shortest time between control datagrams of this size, so that they use little of the rate.
    pub(super) fn spacing(&self, bytes: u64) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| time_for(bytes.saturating_mul(CONTROL_SHARE), rate))
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::super::members::Progress;
    use super::super::repair_flow::RepairFlow;
    use super::*;

    #[test]
    fn a_count_of_missing_datagrams_may_wrap_and_fall() {
        assert_eq!(newly_missed(5, 8), 3);
        assert_eq!(newly_missed(u32::MAX, 1), 2);
        assert_eq!(newly_missed(8, 5), 0);
        assert_eq!(newly_missed(1, u32::MAX), 0);
    }

    /// What a subscriber knows of and does not count as missing yet may be merely late.
    #[test]
    fn losses_count_among_the_datagrams_reported_with_them() {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7000);
        let repairs = RepairFlow::new(1_000, 1_000, 0, ClockTime(1));
        let mut member = Member::new(address, ClockTime(1), Progress::default(), repairs);
        let mut sample = |seconds: u64, highest, received, missed| {
            (member.highest, member.received, member.missed) = (Sequence(highest), received, missed);
            let sample = member.sample(ClockTime(seconds * 1_000_000_000), 1_000, 1_000, 0, false);
            sample.map(|sample| (sample.sent, sample.lost))
        };
        assert_eq!(sample(1, 0, 0, 0), None);
        assert_eq!(sample(2, 200, 20, 0), None, "a sample of datagrams whose fate is unknown");
        assert_eq!(sample(3, 200, 150, 0), Some((150, 0)));
        assert_eq!(sample(4, 330, 300, 30), Some((180, 30)), "the fate of 50 datagrams was reported late");
        // What arrives late after all was counted before.
        assert_eq!(sample(5, 460, 460, 30), Some((130, 0)));
        // Numbers that cannot be.
        assert_eq!(sample(6, 590, u64::MAX, 29), Some((130, 0)));
        assert_eq!(sample(7, 720, 0, u32::MAX / 2), Some((130, 130)));
    }
}
