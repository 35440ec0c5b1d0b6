//! What is known of the incarnation that is followed. When another one is followed, it is replaced whole, so that nothing
//! of the former is left.

use core::mem;

use super::assembly::Assembly;
use super::config::SubscriberConfig;
use super::deliver::Current;
use super::naks::NakScheduler;
use super::recovery::Recovery;
use super::verify::Verification;
use super::window::Window;
use crate::wire::{Heartbeat, MessageNumber, Sequence};
use crate::{ClockTime, Nanos};

/// Credit until the heartbeats of a publisher that has just started show how much it retains, in datagrams.
const MIN_CREDIT: u64 = 256;
/// The minimum transit time is taken over two periods of this length, so that clocks may drift.
const PERIOD: Nanos = Nanos::from_secs(5);
/// No queue delays a datagram for longer. A longer delay is a clock that was stepped.
const MAX_QUEUEING: Nanos = Nanos::SECOND;

/// The incarnation that is followed: what its publisher shows, what has arrived, and what is missing.
pub(super) struct Followed {
    pub(super) heartbeat: Heartbeat,
    pub(super) liveness: Liveness,
    pub(super) transit: Transit,
    /// The next datagram to deliver.
    pub(super) base: Sequence,
    /// One past the last datagram that is known to have been sent.
    pub(super) highest: Sequence,
    /// The oldest datagram that the publisher retains: those before it cannot be repaired.
    pub(super) oldest_retained: Sequence,
    /// How far the publisher may send beyond the last status: what it retains, or the window if that is less.
    pub(super) credit: u64,
    /// Where the stream ends: one past the last datagram, and the number of messages.
    pub(super) end: Option<(Sequence, MessageNumber)>,
    pub(super) window: Window,
    pub(super) recovery: Recovery,
    pub(super) naks: NakScheduler,
    pub(super) verification: Verification,
    pub(super) assembly: Assembly,
    /// The datagram whose messages are being delivered.
    pub(super) current: Option<Current>,
}

impl Followed {
    /// Returns what a subscriber knows that has received no heartbeat since `now`.
    pub(super) fn nothing(config: &SubscriberConfig, now: ClockTime) -> Self {
        Self {
            heartbeat: Heartbeat { round_trip: 1_000, ..Heartbeat::default() },
            liveness: Liveness::new(now),
            transit: Transit::default(),
            base: Sequence::default(),
            highest: Sequence::default(),
            oldest_retained: Sequence::default(),
            credit: MIN_CREDIT,
            end: None,
            window: Window::new(config.slots(), config.window_bytes),
            recovery: Recovery::new(config.window_bytes / 4),
            naks: NakScheduler::new(now),
            verification: Verification::new(config, now),
            assembly: Assembly::default(),
            current: None,
        }
    }

    /// Follows another incarnation from the datagram `base` on, by the first heartbeat of its publisher. Memory, the
    /// measured times of repairs, and limits against forgers outlive the former incarnation; nothing else does.
    pub(super) fn begin(&mut self, now: ClockTime, heartbeat: Heartbeat, base: Sequence) {
        let mut window = mem::take(&mut self.window);
        window.clear();
        let mut recovery = mem::take(&mut self.recovery);
        recovery.clear();
        recovery.set_on(heartbeat.block > 0);
        let mut naks = mem::replace(&mut self.naks, NakScheduler::new(now));
        naks.clear();
        let mut verification = mem::replace(&mut self.verification, Verification::nothing(now));
        verification.begin();
        let mut assembly = mem::take(&mut self.assembly);
        assembly.abandon();
        let mut transit = Transit::default();
        transit.note(now, heartbeat.clock);
        // Without the rest of the former value: a new field does not compile until it is given a value here.
        *self = Self {
            heartbeat,
            liveness: Liveness::new(now),
            transit,
            base,
            highest: base,
            oldest_retained: heartbeat.oldest_retained,
            credit: MIN_CREDIT,
            end: None,
            window,
            recovery,
            naks,
            verification,
            assembly,
            current: None,
        };
    }
}

/// When the last heartbeat arrived, and whether the publisher counts as silent since.
#[derive(Debug)]
pub(super) struct Liveness {
    heartbeat_at: ClockTime,
    is_silent: bool,
}

impl Liveness {
    pub(super) const fn new(now: ClockTime) -> Self {
        Self { heartbeat_at: now, is_silent: false }
    }

    /// Notes a heartbeat that says something new.
    pub(super) const fn record_heartbeat(&mut self, now: ClockTime) {
        self.heartbeat_at = now;
    }

    /// Notes a sign of life; returns whether the publisher was silent before.
    pub(super) const fn record_heard(&mut self) -> bool {
        core::mem::replace(&mut self.is_silent, false)
    }

    /// Notes that the publisher counts as silent from now on; returns whether it did not before.
    pub(super) const fn record_silence(&mut self) -> bool {
        !core::mem::replace(&mut self.is_silent, true)
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns when the last heartbeat will have been this long ago.
    pub(super) fn after(&self, silence: Nanos) -> ClockTime {
        self.heartbeat_at + silence
    }

    /// Returns the time since the last heartbeat.
    pub(super) const fn elapsed(&self, now: ClockTime) -> Nanos {
        now.since(self.heartbeat_at)
    }
}

/// Transit times measured with two clocks, of which only differences are meaningful.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transit {
    /// The minimum of the previous period and of this one.
    least: Option<(i128, i128)>,
    began: ClockTime,
    queueing: Nanos,
}

impl Transit {
    /// Notes a heartbeat that was sent at `sent` by the publisher's clock.
    pub(super) fn note(&mut self, now: ClockTime, sent: u64) {
        let time = i128::from(now.0) - i128::from(sent);
        let (before, current) = self.least.unwrap_or((time, time));
        let (before, current) = match now.since(self.began) >= PERIOD {
            true => {
                self.began = now;
                (current, time)
            }
            false => (before, current.min(time)),
        };
        self.least = Some((before, current));
        let waited = time - before.min(current);
        self.queueing = Nanos(u64::try_from(waited).unwrap_or(0)).min(MAX_QUEUEING);
    }

    /// The queueing delay of the last heartbeat.
    pub(super) const fn queueing(&self) -> Nanos {
        self.queueing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queueing_is_the_transit_time_above_the_minimum() {
        let mut transit = Transit::default();
        for (now, sent, queueing) in
            [(1_000, 900_000, 0), (2_000, 901_000, 0), (3_500, 902_000, 500), (4_000, 903_000, 0)]
        {
            transit.note(ClockTime(now), sent);
            assert_eq!(transit.queueing(), Nanos(queueing));
        }
    }

    #[test]
    fn a_clock_step_is_forgotten_after_two_periods() {
        let mut transit = Transit::default();
        transit.note(ClockTime(0), 0);
        for second in 1..20_u64 {
            transit.note(ClockTime(second * 1_000_000_000 + 30_000_000_000), second * 1_000_000_000);
            assert!(transit.queueing() <= MAX_QUEUEING);
        }
        assert_eq!(transit.queueing(), Nanos::ZERO);
    }
}
