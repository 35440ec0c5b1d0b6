//! How fast everything goes: data, repairs and heartbeats together keep to the configured rate, and to what the
//! receivers' links are found to take.

use super::bucket::{Bucket, SECOND};
use super::congestion::{Change, Sample};
use super::members::{Member, Role};
use super::{Congestion, PACE_BURST, Sender, SenderEvent};
use crate::wire::ReceiverId;

/// Datagrams that are sent before anybody has said what arrives, and what that grows to before it is no limit any more.
const FIRST_FLIGHT: u64 = 256;
const LAST_FLIGHT: u64 = 16_384;
/// Who is far away, or does not answer, holds up the next flight for no longer than this; that grows no more then.
const LONGEST_FLIGHT: u64 = SECOND / 20;
/// A sample of losses has so many datagrams, and takes so long.
const SAMPLE_DATAGRAMS: u64 = 128;
/// Fewer are enough while nothing is known, and for a trial, which everybody waits for.
const FIRST_SAMPLE: u64 = 64;
const SAMPLE_TIME: u64 = SECOND / 20;
/// Fewer are enough when they take a second.
const FEWEST_DATAGRAMS: u64 = 32;
/// Each kind of datagram other than data takes at most one part in so many of the rate.
const CONTROL_SHARE: u64 = 16;
/// A rate that was lowered is doubled when nothing tells anything about it for so long.
const LONGEST_SILENCE: u64 = 2 * SECOND;
/// A slowed sender sends what so long a time allows at once.
const BURST_TIME: u64 = 100;

/// How far a sender may go that does not know yet what the links take: twice as far whenever all of it was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    size: u64,
    pub(super) end: u64,
    since: u64,
}

/// What a receiver had said when its losses were last looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    highest: u64,
    received: u64,
    missed: u32,
    /// Bytes of repairs that had been sent to others alone.
    others: u64,
    /// How often the rate had held something back.
    held_back: u64,
    at: u64,
    /// When a sample was last taken, and what had been received then.
    judged: (u64, u64),
    /// Losses of what was sent before this tell nothing of the present rate.
    from: u64,
}

impl Mark {
    /// What is missing of what was sent so far has another cause than the rate.
    const fn begin_at(&mut self, sent: u64) {
        (self.at, self.from) = (0, sent);
    }
}

/// Whether what a status says of losses tells anything about the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It hears the stream as it is sent.
    Steady,
    /// It has just begun, and asks for what was sent before.
    CatchingUp,
    /// It has heard nothing for a while: it was stopped, cut off, or did not have the key.
    Interrupted,
}

impl Sender {
    /// The first datagram that may not be sent yet.
    pub(super) fn data_limit(&mut self, now: u64) -> u64 {
        if self.flight.is_some_and(|flight| self.ring.sent >= flight.end) {
            self.extend_flight(now);
        }
        let flight = self.flight.map_or(u64::MAX, |flight| flight.end);
        if self.waits() { self.members.limit().min(flight) } else { u64::MAX }
    }

    /// The first receiver has joined: nothing is known of the links.
    pub(super) fn begin_flights(&mut self, now: u64) {
        let awaited = self.members.iter().filter(|(_, member)| member.role == Role::Awaited);
        if self.adapts() && self.waits() && awaited.count() == 1 {
            self.flight = Some(Flight { size: FIRST_FLIGHT, end: self.ring.sent + FIRST_FLIGHT, since: now });
        }
    }

    /// Goes twice as far when all have heard of everything so far.
    pub(super) fn extend_flight(&mut self, now: u64) {
        let Some(flight) = self.flight else { return };
        let is_over = self.members.least_heard() >= flight.end.min(self.ring.next);
        if !is_over && now < flight.since + LONGEST_FLIGHT {
            return;
        }
        let is_used = is_over && self.ring.sent >= flight.end;
        let size = if is_used { 2 * flight.size } else { flight.size };
        let next = Flight { size, end: self.ring.sent + size, since: now };
        self.flight = Some(next).filter(|flight| flight.size <= LAST_FLIGHT && self.members.rate().is_none());
    }

    /// When the next flight may begin although nobody has answered.
    pub(super) fn next_flight_time(&self) -> u64 {
        let waits = self.ring.sent < self.ring.next;
        let blocking = self.flight.filter(|flight| waits && self.ring.sent >= flight.end);
        blocking.map_or(u64::MAX, |flight| flight.since + LONGEST_FLIGHT)
    }

    /// Looks at what a receiver has lost of late.
    pub(super) fn observe_loss(&mut self, now: u64, id: ReceiverId, hearing: Hearing) {
        if !self.adapts() {
            return;
        }
        let average = self.statistics.datagram_bytes / self.statistics.datagrams.max(1);
        let (single_bytes, held_back, sent) = (self.single_bytes, self.held_back, self.ring.sent);
        let is_starting = self.flight.is_some();
        let Some(member) = self.members.get_mut(id).filter(|member| member.role == Role::Awaited) else {
            return;
        };
        match hearing {
            Hearing::CatchingUp if member.mark.at == 0 => return,
            // The last datagrams before a heartbeat were lost.
            Hearing::CatchingUp | Hearing::Steady => {}
            Hearing::Interrupted => return member.mark.begin_at(sent),
        }
        let was_held_back = member.mark.held_back != held_back;
        let Some(sample) = member.sample(now, average, single_bytes, is_starting) else { return };
        member.mark.held_back = held_back;
        let before = member.control.rate();
        let is_full = was_held_back && before == self.members.rate();
        let others_try = self.others_try(id);
        let Some(member) = self.members.get_mut(id) else { return };
        let change = member.control.observe(now, sample, is_full, others_try);
        if member.control.rate() != before {
            member.mark.from = sent;
        }
        self.members.changed();
        self.keep_pace(now);
        match change {
            Some(Change::Cleared { loss, until, immunity }) => {
                let others = self.members.iter_mut();
                others.for_each(|(_, member)| member.control.learn(loss, until, immunity));
            }
            Some(change) => self.report_pace(change),
            None => {}
        }
    }

    fn others_try(&self, id: ReceiverId) -> bool {
        self.members.iter().any(|(other, member)| {
            other != id && member.role == Role::Awaited && member.control.is_on_trial()
        })
    }

    /// Reports that the stream is slowed down, once for all receivers behind one narrow link, and that it no longer is.
    fn report_pace(&mut self, change: Change) {
        match change {
            Change::Slowed { loss, rate } if self.slowed_to.is_none_or(|before| rate < before / 4 * 3) => {
                self.slowed_to = Some(rate);
                self.tell(SenderEvent::Slowed { loss, rate });
            }
            Change::Recovered if self.members.rate().is_none() && self.slowed_to.take().is_some() => {
                self.tell(SenderEvent::Recovered);
            }
            Change::Slowed { .. } | Change::Recovered | Change::Cleared { .. } => {}
        }
    }

    /// Repairs, and streams that pause, give no samples. Where what is sent arrives all the same, or nothing is sent,
    /// a low rate must not stay.
    pub(super) fn relax(&mut self, now: u64) {
        let average = self.statistics.datagram_bytes / self.statistics.datagrams.max(1);
        let mut has_changed = false;
        for (_, member) in self.members.iter_mut() {
            let Some(rate) = member.control.rate() else { continue };
            let (judged, received) = member.mark.judged;
            let elapsed = now.saturating_sub(judged);
            if elapsed < LONGEST_SILENCE {
                continue;
            }
            let bytes = member.received.saturating_sub(received).saturating_mul(average);
            let allowed = u128::from(rate) * u128::from(elapsed) / u128::from(SECOND);
            if bytes == 0 || u128::from(bytes) >= allowed / 4 * 3 {
                member.control.relax();
                has_changed = true;
            }
            member.mark.judged = (now, member.received);
        }
        if has_changed {
            self.report_pace(Change::Recovered);
        }
    }

    /// Takes over the rate that follows from the configured one and the receivers' links.
    pub(super) fn keep_pace(&mut self, now: u64) {
        let found = if self.waits() { self.members.rate() } else { self.members.rate_of_all() };
        let configured = self.config.rate;
        let rate = [found, configured].into_iter().flatten().min();
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        let longest = self.config.datagram as u64;
        let burst = match rate {
            Some(rate) if rate != configured.unwrap_or(u64::MAX) => {
                (rate / BURST_TIME).clamp(2 * longest, PACE_BURST.max(2 * longest))
            }
            _ => PACE_BURST.max(longest),
        };
        self.pace = match (self.pace, rate) {
            (Some(mut pace), Some(rate)) => {
                pace.pass(now);
                pace.set_rate(rate);
                pace.set_most(burst);
                Some(pace)
            }
            (None, Some(rate)) => Some(Bucket::new(rate, burst, now)),
            (_, None) => None,
        };
    }

    /// What is not data and goes to the group goes at once, and counts.
    pub(super) fn pay(&mut self, bytes: u64) {
        if let Some(pace) = &mut self.pace {
            pace.spend(bytes);
        }
    }

    /// An interval for something that is no data, so long that it takes little of the rate.
    pub(super) fn spaced(&self, interval: u64, bytes: u64) -> u64 {
        let least = self.rate.map_or(0, |rate| bytes.saturating_mul(CONTROL_SHARE * SECOND) / rate.max(1));
        interval.max(least)
    }

    fn adapts(&self) -> bool {
        self.config.congestion == Congestion::Adapt
    }
}

impl Member {
    /// What became of what was sent since the last sample, once that is enough to tell.
    fn sample(&mut self, now: u64, average: u64, single_bytes: u64, is_starting: bool) -> Option<Sample> {
        let others = single_bytes - self.repairs.total();
        let mark = self.mark;
        if mark.at == 0 || mark.highest < mark.from {
            let begins = mark.at == 0 || self.highest >= mark.from;
            if begins {
                self.set_mark(now, others);
            }
            return None;
        }
        let (sent, elapsed) = (self.highest.saturating_sub(mark.highest), now.saturating_sub(mark.at));
        let least = if is_starting { 0 } else { SAMPLE_TIME.max(4 * self.round_trip) };
        let wanted = if is_starting || self.control.is_on_trial() { FIRST_SAMPLE } else { SAMPLE_DATAGRAMS };
        let is_enough = sent >= wanted || sent >= FEWEST_DATAGRAMS && elapsed >= SECOND;
        if !is_enough || elapsed < least {
            return None;
        }
        let lost = u64::from(self.missed.wrapping_sub(mark.missed)).min(sent);
        // What went to others alone did not have to pass its link.
        let arrived = self.received.saturating_sub(mark.received).saturating_mul(average);
        let bytes = arrived + others.saturating_sub(mark.others);
        self.set_mark(now, others);
        self.mark.judged = (now, self.received);
        Some(Sample { sent, lost, bytes, elapsed })
    }

    fn set_mark(&mut self, now: u64, others: u64) {
        let (highest, received, missed) = (self.highest, self.received, self.missed);
        self.mark = Mark { highest, received, missed, others, at: now.max(1), ..self.mark };
    }
}
