//! How a publisher ends: which subscribers it waits for, and for how long.
//!
//! Time in which the publisher does not run does not count.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::PublisherMachine;
use super::members::Role;
use crate::ClockTime;
use crate::times::publisher::{END_INTERVAL, JOIN_TIMEOUT, ONE_WAY_END_INTERVAL, READ_TIMEOUT};
use crate::wire::{FlowControl, SubscriberId};

/// How often the end of the stream is repeated: best-effort subscribers, which request no repairs, learn of it only by
/// this. At 20 % loss, 1 of 390,625 subscribers misses all repetitions.
const END_REPEATS: u32 = 8;
/// Subscribers that are expected, remembered one by one. Others are waited for once they have joined.
const MAX_JOINING: usize = 64;

/// How far a publisher is with its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It does not end.
    #[default]
    Open,
    /// It waits until all subscribers have received everything, and have read their histories.
    Receiving,
    /// It waits since this time for applications that have not read everything.
    Reading { since: ClockTime },
    /// The end is repeated this often, next at this time.
    Repeating { left: u32, at: ClockTime },
    /// Nothing is waited for any more.
    Over,
}

/// A subscriber that has sent something, and no status yet.
#[derive(Clone, Copy, Debug)]
enum Joining {
    /// Its first status is expected; since when.
    Expected { since: ClockTime },
    /// It was expected for long enough: what else it sends without a status holds nothing up.
    Expired,
}

/// The end of a publisher.
#[derive(Debug, Default)]
pub(super) struct Ending {
    phase: Phase,
    /// For how long it waits.
    timeout: Duration,
    /// Since when: at a low rate, sending may take longer than the timeout.
    since: ClockTime,
    /// The data datagrams that had been sent at that time.
    sent: u64,
    /// Subscribers that have sent something, and no status yet.
    joining: BTreeMap<SubscriberId, Joining>,
}

impl Ending {
    /// Notes that time has passed in which the publisher did not run.
    pub(super) fn extend_deadlines(&mut self, now: ClockTime, pause: Duration) {
        // What began during the pause begins now at the latest.
        let later = |at: ClockTime| (at + pause).min(now);
        self.since = later(self.since);
        if let Phase::Reading { since } = &mut self.phase {
            *since = later(*since);
        }
        for joining in self.joining.values_mut() {
            if let Joining::Expected { since } = joining {
                *since = later(*since);
            }
        }
    }

    /// Notes that a subscriber has sent a status.
    pub(super) fn record_joined(&mut self, id: SubscriberId) {
        self.joining.remove(&id);
    }

    /// Returns when to call [`PublisherMachine::poll`] again.
    pub(super) const fn deadline(&self) -> ClockTime {
        match self.phase {
            Phase::Repeating { at, .. } => at,
            // Feedback, and the regular checks of the subscribers, are often enough.
            Phase::Open | Phase::Receiving | Phase::Reading { .. } | Phase::Over => ClockTime::NEVER,
        }
    }

    /// Whether the first status of a subscriber is expected.
    fn is_expecting(&self) -> bool {
        self.joining.values().any(|joining| matches!(joining, Joining::Expected { .. }))
    }

    fn left(&self, now: ClockTime) -> Duration {
        self.timeout.saturating_sub(now.since(self.since).min(self.timeout))
    }
}

impl PublisherMachine {
    /// Sets for how long the publisher waits for its subscribers at the end: from now on, or from when the last datagram is
    /// sent, if that is later.
    pub fn wait_at_end(&mut self, now: ClockTime, timeout: Duration) {
        self.subscribers.ending.timeout = timeout;
        (self.subscribers.ending.since, self.subscribers.ending.sent) =
            (now, self.context.statistics.datagrams);
    }

    /// Returns how much of the time is left for which it [waits at the end](Self::wait_at_end).
    pub fn left_at_end(&mut self, now: ClockTime) -> Duration {
        self.run_timers(now);
        self.subscribers.ending.left(now)
    }

    /// Ends the stream like [`close`](Self::close), and then waits for the subscribers, for at most this time: until all have
    /// received everything and have read their histories, and for one second of it until their applications have read
    /// everything. [`is_over`](Self::is_over) returns when that is done.
    pub fn finish(&mut self, now: ClockTime, timeout: Duration) {
        self.close(now);
        self.wait_at_end(now, timeout);
        // One whose echoes were lost for that time may be joining still: it probes again once it learns of the end.
        self.subscribers.ending.joining.retain(|_, joining| matches!(joining, Joining::Expected { .. }));
        self.subscribers.ending.phase = Phase::Receiving;
    }

    /// Returns whether the publisher has [finished](Self::finish), or was [halted](Self::halt): nothing is waited for any
    /// more.
    pub fn is_over(&mut self, now: ClockTime) -> bool {
        if self.is_halted() {
            return true;
        }
        self.run_timers(now);
        self.subscribers.ending.phase == Phase::Over
    }

    /// Returns whether all subscribers have everything that was published and, after the end of the stream, know that it
    /// has ended; those that read a history have read it, and nobody is about to join, or to report to a publisher that has
    /// restarted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_sent()
            && !self.continuation.awaits_claims()
            && self.behind().next().is_none()
            && !self.subscribers.ending.is_expecting()
    }

    /// Returns whether the applications of all subscribers have read everything.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_complete() && !self.subscribers.members.iter().any(|(_, member)| self.is_unread(member))
    }

    /// Notes that a subscriber has sent something that shows that it joins, or has joined.
    pub(super) fn record_joining(&mut self, now: ClockTime, id: SubscriberId) {
        let is_known = self.subscribers.members.get(id).is_some_and(|member| member.role != Role::Unknown);
        if is_known || self.subscribers.ending.joining.contains_key(&id) {
            return;
        }
        if self.subscribers.ending.joining.len() >= MAX_JOINING {
            // Expired ones are remembered as long as there is room, so that they are not expected again.
            self.subscribers.ending.joining.retain(|_, joining| matches!(joining, Joining::Expected { .. }));
        }
        if self.subscribers.ending.joining.len() < MAX_JOINING {
            self.subscribers.ending.joining.insert(id, Joining::Expected { since: now });
        }
    }

    /// Does what is due of the end.
    pub(super) fn advance_ending(&mut self, now: ClockTime) {
        for joining in self.subscribers.ending.joining.values_mut() {
            if matches!(joining, Joining::Expected { since } if now.since(*since) >= JOIN_TIMEOUT) {
                *joining = Joining::Expired;
            }
        }
        // At its end, the time is a limit.
        if self.subscribers.ending.phase == Phase::Open
            && self.context.statistics.datagrams != self.subscribers.ending.sent
        {
            (self.subscribers.ending.since, self.subscribers.ending.sent) =
                (now, self.context.statistics.datagrams);
        }
        loop {
            let is_time_over = self.subscribers.ending.left(now) == Duration::ZERO;
            let repeat_first = Phase::Repeating { left: END_REPEATS, at: now + self.end_interval() };
            let next = match self.subscribers.ending.phase {
                Phase::Open | Phase::Over => return,
                // Those that were not waited for long enough learn at least that the stream has ended.
                Phase::Receiving if is_time_over => repeat_first,
                Phase::Receiving if self.is_complete() => Phase::Reading { since: now },
                Phase::Receiving => return,
                // One that has joined since, or that reads what it has lost, gets the whole time.
                Phase::Reading { .. } if !is_time_over && !self.is_complete() => Phase::Receiving,
                Phase::Reading { since } if is_time_over || self.is_read() || now >= since + READ_TIMEOUT => {
                    repeat_first
                }
                Phase::Reading { .. } => return,
                // A subscriber has become known meanwhile.
                Phase::Repeating { .. } if !is_time_over && !self.is_complete() => Phase::Receiving,
                Phase::Repeating { left: 0, .. } => Phase::Over,
                Phase::Repeating { left, at } if now >= at => {
                    self.close(now);
                    Phase::Repeating { left: left - 1, at: now + self.end_interval() }
                }
                Phase::Repeating { .. } => return,
            };
            self.subscribers.ending.phase = next;
        }
    }

    /// Returns the time between two repetitions of the end.
    fn end_interval(&self) -> Duration {
        if self.context.config.flow == FlowControl::OneWay { ONE_WAY_END_INTERVAL } else { END_INTERVAL }
    }
}
