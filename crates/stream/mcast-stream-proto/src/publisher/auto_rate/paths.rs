//! The automatic rate: as much as the path to the slowest subscriber carries, with little queueing, and about as much as
//! one TCP flow beside others.
//!
//! A [`PathModel`] per subscriber derives a rate from its statuses. The least rate of all subscribers that the publisher
//! waits for is the rate of the stream (as in PGMCC and TFMCC, RFC 4654). The reasons are in
//! `docs/design/023-automatic-rate.md`.

use alloc::vec::Vec;
use core::time::Duration;

use super::model::{Effect, PathModel, Reported, SLOWEST, Sent};
use super::{Link, LinkRates};
use crate::ClockTime;
use crate::publisher::members::{Member, Members, Role};
use crate::publisher::{PublisherConfig, PublisherEvent, Publishing};
use crate::span::per_second;
use crate::wire::{Sequence, Status, SubscriberId};

/// The rate without any subscriber, in bytes per second: nothing is known of the network.
const UNKNOWN: u64 = 125_000;
/// Datagrams in each `FIRST_TIME` until the first sample (RFC 6928).
const FIRST_DATAGRAMS: u64 = 10;
const FIRST_TIME: Duration = Duration::from_millis(10);
/// The time between trials of a stream that is alone: each empties the queue, so that the round-trip time without one is
/// seen.
const TRIAL_INTERVAL: Duration = Duration::from_secs(3);
/// The least time between trials that a path wants because of losses or a long queue.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// In a trial, this many quarters of the rate are sent.
const TRIAL_QUARTERS: u64 = 3;
/// The shortest time between two events about the limiting subscriber.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Less is sent, to see whether losses depend on the rate, and how long the way is without a queue.
#[derive(Clone, Copy, Debug)]
struct Trial {
    rate: u64,
    from: Sequence,
    until: ClockTime,
}

/// The state of the automatic rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct AutoControl {
    evict_below: Option<u64>,
    rate: u64,
    limiting: Option<SubscriberId>,
    queue: Duration,
    trial: Option<Trial>,
    last_trial: ClockTime,
    /// The subscriber in the last event, and when that was.
    reported: (Option<SubscriberId>, ClockTime),
}

impl AutoControl {
    /// Returns the state of a publisher with these settings, if its rate is automatic.
    pub(super) fn of(config: &PublisherConfig, now: ClockTime) -> Option<Self> {
        config.rate.auto().map(|auto| Self::new(auto.evict_below, now))
    }

    const fn new(evict_below: Option<u64>, now: ClockTime) -> Self {
        Self {
            evict_below,
            rate: UNKNOWN,
            limiting: None,
            queue: Duration::ZERO,
            trial: None,
            last_trial: now,
            reported: (None, now),
        }
    }

    /// Returns the subscriber whose path limits the rate, and the queueing delay on it.
    pub(super) const fn limiting(&self) -> (Option<SubscriberId>, Duration) {
        (self.limiting, self.queue)
    }
}

impl LinkRates {
    /// Takes a status of an awaited subscriber.
    pub(super) fn observe_path(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        status: &Status,
        is_steady: bool,
        at: &mut Publishing<'_>,
    ) {
        let Some(auto) = self.auto else { return };
        let (bytes, data_bytes) = (at.pacer.taken, at.bytes_ahead());
        let average = at.average_length();
        let single_bytes = at.repairs.group.sent.single_bytes;
        let held_back = at.pacer.held_back;
        let Some(member) = at.members.get_mut(id).filter(|member| member.is_measured()) else { return };
        if !is_steady {
            return member.link.path.interrupt();
        }
        let held = Duration::from_micros(status.held.into());
        let since_heartbeat = now.since(ClockTime(status.clock));
        let is_timed = status.clock != 0 && held < since_heartbeat;
        if is_timed {
            member.link.path.record_round_trip(now, since_heartbeat.saturating_sub(held));
        }
        let sent = Sent {
            bytes,
            data_bytes,
            elsewhere: single_bytes - member.repairs.credit.single_bytes,
            held_back,
            average,
            rate: auto.rate,
            trial: auto.trial.map(|trial| trial.from),
        };
        let reported = Reported {
            received: member.received,
            highest: member.highest,
            missed: member.missed,
            until: is_timed.then(|| ClockTime(status.clock) + held),
        };
        if member.link.path.observe(now, sent, reported) == Effect::Updated {
            self.update_auto_rate(now, at);
        }
    }

    /// Computes the rate of the stream, and begins and ends trials.
    pub(super) fn update_auto_rate(&mut self, now: ClockTime, at: &mut Publishing<'_>) {
        let Some(mut auto) = self.auto else { return };
        let awaited = || at.members.iter().filter(|(_, member)| member.role == Role::Awaited);
        let known = |(id, member): (SubscriberId, &Member)| {
            Some((member.link.path.rate()?, id, member.link.path.queue()))
        };
        let least = |counts: &dyn Fn(&Member) -> bool| {
            awaited().filter(|(_, member)| counts(member)).filter_map(known).min_by_key(|(rate, ..)| *rate)
        };
        // Without flow control, nobody waits for a subscriber that has stopped reading.
        let least = least(&|member| !member.link.path.is_stalled(now)).or_else(|| least(&|_| true));
        let has_subscribers = awaited().next().is_some();
        let Some((rate, limiting, queue)) = least else {
            let first = per_second(FIRST_DATAGRAMS * at.context.config.datagram as u64, FIRST_TIME);
            auto.rate = if has_subscribers { first } else { UNKNOWN };
            (auto.limiting, auto.queue, auto.trial) = (None, Duration::ZERO, None);
            self.apply_auto_rate(now, auto, at);
            return;
        };
        (auto.limiting, auto.queue) = (Some(limiting), queue);
        match auto.trial {
            Some(trial) => {
                let is_drained = at.members.get(limiting).is_some_and(|member| member.link.path.is_drained());
                let is_known = at
                    .members
                    .iter()
                    .all(|(_, member)| !member.is_measured() || member.link.path.has_tried());
                let is_timed_out = now >= trial.until;
                if is_drained && is_known || is_timed_out {
                    (auto.trial, auto.last_trial) = (None, now);
                    at.members
                        .iter_mut()
                        .for_each(|(_, member)| member.link.path.end_trial(now, is_timed_out));
                }
            }
            None => {
                let since = now.since(auto.last_trial);
                let path = at.members.get(limiting).map(|member| &member.link.path);
                let is_due = path.is_some_and(PathModel::is_alone) && since >= TRIAL_INTERVAL;
                let is_wanted = since >= SHORTEST_INTERVAL
                    && at.members.iter().any(|(_, member)| member.link.path.wants_trial());
                if is_due || is_wanted {
                    let delay = path.map_or(Duration::ZERO, |path| path.delay(at.members.status_interval()));
                    let until = now + 4 * delay + Duration::from_millis(100);
                    let rate = (rate / 4 * TRIAL_QUARTERS).max(SLOWEST);
                    auto.trial = Some(Trial { rate, from: at.ring.sent, until });
                    at.members.iter_mut().for_each(|(_, member)| member.link.path.begin_trial());
                }
            }
        }
        auto.rate = auto.trial.map_or(rate, |trial| trial.rate.min(rate));
        self.apply_auto_rate(now, auto, at);
    }

    fn apply_auto_rate(&mut self, now: ClockTime, mut auto: AutoControl, at: &mut Publishing<'_>) {
        let (reported, reported_at) = auto.reported;
        if let Some(subscriber) = auto.limiting
            && reported != auto.limiting
            && (reported.is_none() || now.since(reported_at) >= EVENT_INTERVAL)
        {
            auto.reported = (auto.limiting, now);
            at.context.events.push(PublisherEvent::Limited { subscriber, rate: auto.rate });
        }
        at.pacer.set_rate(now, auto.rate);
        self.auto = Some(auto);
    }

    /// Whether the path of a subscriber was found to carry less than the rate below which the publisher does not slow down for a
    /// single subscriber.
    pub(in crate::publisher) fn is_below_floor(&self, link: &Link) -> bool {
        let floor = self.auto.and_then(|auto| auto.evict_below);
        floor.zip(link.path.rate()).is_some_and(|(floor, rate)| rate < floor)
    }

    /// Returns the subscribers whose paths have carried less than the configured floor for the eviction time, if
    /// others carry more: the publisher does not slow down for them.
    pub(in crate::publisher) fn below_floor(
        &self,
        now: ClockTime,
        members: &mut Members,
        eviction: Duration,
    ) -> Vec<SubscriberId> {
        if self.auto.and_then(|auto| auto.evict_below).is_none() {
            return Vec::new();
        }
        let is_below = |member: &Member| self.is_below_floor(&member.link);
        let is_common = members.iter().all(|(_, member)| member.role != Role::Awaited || is_below(member));
        let mut evicted = Vec::new();
        for (id, member) in members.iter_mut() {
            let slow = is_below(member) && !is_common && member.role == Role::Awaited;
            member.link.slow_since = slow.then(|| member.link.slow_since.unwrap_or(now));
            if member.link.slow_since.is_some_and(|since| now.since(since) >= eviction) {
                evicted.push(id);
            }
        }
        evicted
    }
}

impl Member {
    /// Whether its statuses show what its path carries. That of an evicted one may have become faster.
    fn is_measured(&self) -> bool {
        matches!(self.role, Role::Awaited | Role::Evicted)
    }
}
