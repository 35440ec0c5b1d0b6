//! When to send a status, what the last one reported, and which conditions the application knows already.

use core::time::Duration;

use crate::ClockTime;
use crate::wire::{KeyEpoch, Sequence, Status};

/// How often the end of a stream is confirmed.
const END_CONFIRMATIONS: u8 = 8;
/// The interval of confirmations doubles up to this, so that they outlast a short outage.
const LONGEST_CONFIRMATION_INTERVAL: Duration = Duration::from_millis(500);

/// The schedule of the statuses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusScheduler {
    at: Option<ClockTime>,
    last: ClockTime,
    reported: Status,
    /// How often it was repeated.
    repeats: u32,
    /// How often the end is still to be confirmed. Confirmations are not acknowledged, so they are repeated.
    end_confirmations: u8,
    /// How much later than others, in datagrams, the next status for progress is due.
    spread: u64,
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

    /// Returns when the last status was sent.
    pub(super) const fn last(&self) -> ClockTime {
        self.last
    }

    /// Returns the last status of this incarnation.
    pub(super) const fn reported(&self) -> &Status {
        &self.reported
    }

    /// Returns after which time the last status is repeated: first after `shortest`, then after twice that time, and so on.
    pub(super) fn repeat_interval(&self, shortest: Duration, longest: Duration) -> Duration {
        shortest.saturating_mul(1 << self.repeats.min(16)).min(longest)
    }

    /// Returns the end of the room that the last status reported.
    pub(super) fn reported_room(&self) -> Sequence {
        self.reported.next + u64::from(self.reported.window)
    }

    /// Returns how much later than others, in datagrams, the next status for progress is due.
    pub(super) const fn spread(&self) -> u64 {
        self.spread
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

    /// Notes that a status was sent. While the end is to be confirmed, the next one follows after
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

    /// Notes that an unknown incarnation was asked for a heartbeat.
    pub(super) const fn record_join_request(&mut self, now: ClockTime) {
        self.last = now;
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

/// The conditions that were reported.
#[derive(Debug)]
pub(super) struct Reported {
    /// All gaps noticed until then were reported as one stall.
    stalled_at: ClockTime,
    /// A recording that somebody replays.
    stale: bool,
    /// What a publisher sent last, before it fell silent, is unknown.
    unknown_loss: bool,
    missing_key: KeyEpoch,
    wrong_key: KeyEpoch,
    /// The stream is signed, and nothing verifies it.
    signed: bool,
}

impl Reported {
    pub(super) const fn nothing() -> Self {
        Self {
            stalled_at: ClockTime(0),
            stale: false,
            unknown_loss: false,
            missing_key: KeyEpoch::CLEAR,
            wrong_key: KeyEpoch::CLEAR,
            signed: false,
        }
    }

    /// Whether a gap that was noticed at this time may still be reported as a stall.
    pub(super) fn is_new_stall(&self, noticed: ClockTime) -> bool {
        noticed > self.stalled_at
    }

    pub(super) const fn record_stall(&mut self, now: ClockTime) {
        self.stalled_at = now;
    }

    /// Notes a recording; returns whether it is the first.
    pub(super) const fn record_stale(&mut self) -> bool {
        !core::mem::replace(&mut self.stale, true)
    }

    /// Forgets recordings: the clock that they were compared with has changed.
    pub(super) const fn forget_stale(&mut self) {
        self.stale = false;
    }

    pub(super) const fn has_unknown_loss(&self) -> bool {
        self.unknown_loss
    }

    pub(super) const fn record_unknown_loss(&mut self) {
        self.unknown_loss = true;
    }

    /// Notes that the key of this epoch is missing; returns whether that is new.
    pub(super) fn record_missing_key(&mut self, epoch: KeyEpoch) -> bool {
        core::mem::replace(&mut self.missing_key, epoch) != epoch
    }

    /// Notes that the key of this epoch is another one; returns whether that is new.
    pub(super) fn record_wrong_key(&mut self, epoch: KeyEpoch) -> bool {
        core::mem::replace(&mut self.wrong_key, epoch) != epoch
    }

    /// Notes that the stream is signed and not verified; returns whether that is new.
    pub(super) const fn record_signed(&mut self) -> bool {
        !core::mem::replace(&mut self.signed, true)
    }

    /// Forgets keys: there are new ones.
    pub(super) const fn forget_keys(&mut self) {
        (self.missing_key, self.wrong_key) = (KeyEpoch::CLEAR, KeyEpoch::CLEAR);
    }
}
