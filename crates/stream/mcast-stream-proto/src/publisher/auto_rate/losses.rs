//! What subscribers report as lost, and how far the rate slows down because of it.

use core::time::Duration;

use super::LinkRates;
use super::congestion::{LONGEST_SILENCE, RateChange, Sample};
use super::link::LossMark;
use super::model::newly_missed;
use crate::ClockTime;
use crate::publisher::feedback::Reception;
use crate::publisher::members::{Member, Role};
use crate::publisher::{PublisherEvent, Publishing};
use crate::span::amount;
use crate::wire::SubscriberId;

/// The least number of datagrams in a loss sample, and its least duration.
const SAMPLE_DATAGRAMS: u64 = 128;
/// The least number while the links are unknown, and in a trial, because a trial slows down all subscribers.
const FIRST_SAMPLE: u64 = 64;
const SAMPLE_TIME: Duration = Duration::from_millis(50);
/// The least number in a sample that takes a second.
const FEWEST_DATAGRAMS: u64 = 32;

impl LinkRates {
    /// Takes a loss sample of a subscriber, if enough was sent, and adapts the rate.
    pub(super) fn observe_loss(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        reception: Reception,
        at: &mut Publishing<'_>,
    ) {
        let average = at.average_length();
        let with_parity = at.bytes_ahead() / at.context.statistics.datagrams.max(1);
        let (single_bytes, held_back, sent) =
            (at.repairs.group.sent.single_bytes, at.pacer.held_back, at.ring.sent);
        let is_starting = self.flight.is_some();
        let Some(member) = at.members.get_mut(id).filter(|member| member.role == Role::Awaited) else {
            return;
        };
        match reception {
            Reception::CatchingUp if member.link.mark.since.is_none() => return,
            // A subscriber that has been sampled before lost the last datagrams before a heartbeat.
            Reception::CatchingUp | Reception::Steady => {}
            // What it lost while it was away is not a loss of the link.
            Reception::Interrupted => return member.link.mark.begin_at(sent),
        }
        let was_held_back = member.link.mark.held_back != held_back;
        let Some(sample) = member.sample(now, average, with_parity, single_bytes, is_starting) else {
            return;
        };
        member.link.mark.held_back = held_back;
        let before = member.link.control.rate();
        // Where another link is slower, the rate of that one has held the data back.
        let is_full = was_held_back && before == self.limits(at.members).rate;
        let is_on_trial = |member: &Member| member.role == Role::Awaited && member.link.control.is_on_trial();
        let other_on_trial = at.members.iter().any(|(other, member)| other != id && is_on_trial(member));
        let Some(member) = at.members.get_mut(id) else { return };
        let change = member.link.control.observe(now, sample, is_full, other_on_trial);
        if member.link.control.rate() != before {
            member.link.mark.from = sent;
            at.members.rates_are_stale = true;
        }
        self.keep_pace(now, at);
        match change {
            Some(RateChange::Cleared { loss, until, immunity, certain }) => {
                let others = at.members.iter_mut();
                others.for_each(|(_, member)| member.link.control.learn(loss, until, immunity, certain));
            }
            Some(RateChange::Slowed { loss, rate }) => self.report_slowdown(id, loss, rate, at),
            Some(RateChange::Recovered) => self.report_recovery(at),
            None => {}
        }
    }

    /// Reports a slowdown, once for all subscribers behind the same link.
    fn report_slowdown(&mut self, subscriber: SubscriberId, loss: u32, rate: u64, at: &mut Publishing<'_>) {
        if self.slowed_to.is_none_or(|before| rate < before / 4 * 3) {
            self.slowed_to = Some(rate);
            at.context.events.push(PublisherEvent::Slowed { subscriber, loss, rate });
        }
    }

    /// Reports the recovery from a slowdown, when no link limits the rate any more.
    fn report_recovery(&mut self, at: &mut Publishing<'_>) {
        if self.limits(at.members).rate.is_none() && self.slowed_to.take().is_some() {
            at.context.events.push(PublisherEvent::Recovered);
        }
    }

    /// Raises limited rates without recent samples: repairs and pauses yield none. A low rate must not persist when the
    /// data arrives, or when nothing is sent.
    pub(super) fn relax(&mut self, now: ClockTime, at: &mut Publishing<'_>) {
        let average = at.average_length();
        let mut has_changed = false;
        for (_, member) in at.members.iter_mut() {
            let Some(rate) = member.link.control.rate() else { continue };
            let (last_sample, received) = member.link.mark.last_sample;
            let elapsed = now.since(last_sample);
            if elapsed < LONGEST_SILENCE {
                continue;
            }
            let bytes = member.received.saturating_sub(received).saturating_mul(average);
            let allowed = amount(rate, elapsed);
            if bytes == 0 || bytes >= allowed / 4 * 3 {
                member.link.control.relax_after(LONGEST_SILENCE);
                has_changed = true;
            }
            member.link.mark.last_sample = (now, member.received);
        }
        if has_changed {
            self.report_recovery(at);
        }
    }

    /// Applies the rate that follows from the configured one and from the subscribers' links.
    pub(super) fn keep_pace(&mut self, now: ClockTime, at: &mut Publishing<'_>) {
        if self.auto.is_some() {
            self.update_auto_rate(now, at);
            return self.pace_group_repairs(at);
        }
        // Without flow control nobody is waited for, so that one slow link does not limit the others.
        let found = if at.context.config.has_flow_control() {
            self.limits(at.members).rate
        } else {
            self.limits(at.members).rate_of_all
        };
        if at.pacer.limit(now, found) && at.context.config.has_flow_control() {
            // More than the limit was never tried: what the links carry is unknown again.
            self.begin_flight(now, at.ring);
        }
        self.pace_group_repairs(at);
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
        let other_repairs = single_bytes - self.repairs.credit.single_bytes;
        let mark = self.link.mark;
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
        let needed =
            if is_starting || self.link.control.is_on_trial() { FIRST_SAMPLE } else { SAMPLE_DATAGRAMS };
        let known = sent.min(decided);
        let is_enough = known >= needed || known >= FEWEST_DATAGRAMS && elapsed >= Duration::from_secs(1);
        if !is_enough || elapsed < least {
            return None;
        }
        // Repairs to other subscribers did not pass this subscriber's link.
        let other_repairs_since = other_repairs.saturating_sub(mark.other_repairs);
        let arrived_bytes = received.saturating_mul(average).saturating_add(other_repairs_since);
        self.set_mark(now, other_repairs, sent.saturating_sub(decided));
        self.link.mark.last_sample = (now, self.received);
        let sent_bytes = sent.saturating_mul(with_parity);
        Some(Sample { sent: decided, lost: lost.min(decided), sent_bytes, arrived_bytes, elapsed })
    }

    fn set_mark(&mut self, now: ClockTime, other_repairs: u64, undecided: u64) {
        let (highest, received, missed) = (self.highest, self.received, self.missed);
        let since = Some(now);
        self.link.mark =
            LossMark { highest, received, missed, undecided, other_repairs, since, ..self.link.mark };
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::super::SentRepairs;
    use super::*;
    use crate::publisher::members::Progress;
    use crate::publisher::repair_flow::RepairFlow;
    use crate::wire::Sequence;

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
        let repairs = RepairFlow::new(1_000, 1_000, &SentRepairs::new(), ClockTime(1));
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
