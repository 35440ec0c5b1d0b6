//! When to send a status, and what the last one reported.

use core::time::Duration;

use crate::ClockTime;
use crate::times::subscriber::LONGEST_CONFIRMATION_INTERVAL;
use crate::wire::{Sequence, Status};

/// How often the end of a stream is confirmed.
const END_CONFIRMATIONS: u8 = 8;

/// The schedule of the statuses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusScheduler {
    at: Option<ClockTime>,
    /// When the last one was sent, or an unknown incarnation was asked for a heartbeat.
    pub(super) last: ClockTime,
    /// The last one of this incarnation.
    pub(super) reported: Status,
    /// How often it was repeated.
    repeats: u32,
    /// How often the end is still to be confirmed. Confirmations are not acknowledged, so they are repeated.
    end_confirmations: u8,
    /// How much later than others, in datagrams, the next status for progress is due.
    pub(super) spread: u64,
}

impl StatusScheduler {
    /// Begins again, for an incarnation of which nothing was reported yet.
    pub(super) fn restart(&mut self, window: u32) {
        self.reported = Status { window, ..Status::default() };
        self.end_confirmations = 0;
    }

    /// Returns when the next status is due; a subscriber without news sends one in each `idle_interval`.
    pub(super) fn deadline(&self, idle_interval: Duration) -> ClockTime {
        self.at.unwrap_or(ClockTime::NEVER).min(self.last + idle_interval)
    }

    /// Returns whether a status is scheduled, besides those of an idle subscriber.
    pub(super) const fn is_scheduled(&self) -> bool {
        self.at.is_some()
    }

    /// Returns after which time the last status is repeated: first after `shortest`, then after twice that time, and so on.
    pub(super) fn repeat_interval(&self, shortest: Duration, longest: Duration) -> Duration {
        shortest.saturating_mul(1 << self.repeats.min(16)).min(longest)
    }

    /// Returns the end of the room that the last status reported.
    pub(super) fn reported_room(&self) -> Sequence {
        self.reported.next + u64::from(self.reported.window)
    }

    /// Schedules a status by this time.
    #[inline]
    pub(super) fn schedule(&mut self, at: ClockTime) {
        self.at = Some(self.at.map_or(at, |known| known.min(at)));
    }

    /// Schedules the next status for this time, whatever was scheduled before.
    pub(super) const fn reschedule(&mut self, at: ClockTime) {
        self.at = Some(at);
    }

    /// Notes that a status was sent. While the end must be confirmed, the next one follows after
    /// `confirmation_interval`, then after twice that time, and so on. The next one for progress is due `spread` datagrams later than it is otherwise.
    pub(super) fn record_sent(
        &mut self,
        now: ClockTime,
        status: Status,
        confirmation_interval: Duration,
        spread: u64,
    ) {
        let has_progress = status.next != self.reported.next || status.window != self.reported.window;
        self.repeats = if has_progress { 0 } else { self.repeats.saturating_add(1) };
        (self.last, self.reported, self.spread) = (now, status, spread);
        self.end_confirmations = self.end_confirmations.saturating_sub(1);
        let doublings = (END_CONFIRMATIONS - 1).saturating_sub(self.end_confirmations);
        let longest = LONGEST_CONFIRMATION_INTERVAL.max(confirmation_interval);
        let interval = ((1_u32 << doublings) * confirmation_interval).min(longest);
        self.at = (self.end_confirmations > 0).then_some(now + interval);
    }

    /// Confirms the end several times, from this time on.
    pub(super) const fn confirm_end(&mut self, at: ClockTime) {
        (self.end_confirmations, self.at) = (END_CONFIRMATIONS, Some(at));
    }

    /// Confirms the end no more, because the publisher knows of it.
    pub(super) const fn stop_confirming(&mut self) {
        if self.end_confirmations > 0 {
            (self.end_confirmations, self.at) = (0, None);
        }
    }

    /// Returns whether the end need not be confirmed, or not any more.
    pub(super) const fn is_end_confirmed(&self) -> bool {
        self.end_confirmations == 0
    }
}
