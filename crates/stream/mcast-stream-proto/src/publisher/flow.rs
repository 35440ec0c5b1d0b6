//! Flow control: since when, and for how much room, the publisher waits.

use core::time::Duration;

use crate::ClockTime;

/// The state of flow control.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowState {
    /// Since when it has stopped the publisher.
    blocked: Option<ClockTime>,
    /// How many datagrams the publisher needs room for.
    room_needed: u64,
}

impl FlowState {
    pub(super) const fn new() -> Self {
        Self { blocked: None, room_needed: 1 }
    }

    /// Returns since when flow control has stopped the publisher.
    pub(super) const fn blocked_since(&self) -> Option<ClockTime> {
        self.blocked
    }

    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Notes that flow control stops the publisher; returns whether it did not before.
    pub(super) const fn block(&mut self, now: ClockTime) -> bool {
        let is_new = self.blocked.is_none();
        if is_new {
            self.blocked = Some(now);
        }
        is_new
    }

    pub(super) const fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Notes that the publisher did not run for some time.
    pub(super) fn extend_deadlines(&mut self, now: ClockTime, pause: Duration) {
        self.blocked = self.blocked.map(|since| (since + pause).min(now));
    }

    /// Notes how many datagrams there must be room for.
    pub(super) const fn need_room(&mut self, count: u64) {
        self.room_needed = count;
    }

    pub(super) const fn room_needed(&self) -> u64 {
        self.room_needed
    }
}
