//! Whether the publisher is heard.

use crate::{ClockTime, Nanos};
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
