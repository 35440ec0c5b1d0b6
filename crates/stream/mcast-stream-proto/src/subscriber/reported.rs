//! Which conditions the application knows already: each is reported once.

use crate::ClockTime;
use crate::wire::KeyEpoch;

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
