//! The extent of a session: up to which message it is believed to exist.

use core::cmp::Ordering;
use core::time::Duration;

use mcast_stream_proto::ClockTime;

/// The claim of a datagram that all messages before `first` exist, and its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) first: u64,
    pub(super) at: ClockTime,
}

/// The extent of a session.
///
/// Every datagram claims that all messages before its first one exist. A single claim may be forged or corrupt, so two
/// datagrams must agree: the second greatest claim counts (compare `mcast_packet::sequence::SequenceTracker`, which
/// waits for two consecutive numbers).
#[derive(Debug)]
pub(super) struct Extent {
    /// One past the greatest number that any datagram mentioned.
    pub(super) known: u64,
    /// The same without the datagram that makes the greatest claim.
    supported: u64,
    /// The greatest claim.
    top: Claim,
    /// All messages before this one exist: two datagrams agree on it.
    pub(super) believed: u64,
    /// When that last grew.
    pub(super) believed_at: ClockTime,
}

impl Extent {
    pub(super) const fn new(next: u64, now: ClockTime) -> Self {
        let top = Claim { first: next, at: now };
        Self { known: next, supported: next, top, believed: next, believed_at: now }
    }

    /// Takes the claim of a datagram with messages from `first` to before `end`. A copy that arrives within the
    /// reordering time confirms nothing.
    pub(super) fn claim(&mut self, now: ClockTime, first: u64, end: u64, reordering: Duration) {
        let believed = match first.cmp(&self.top.first) {
            Ordering::Greater => {
                let before = core::mem::replace(&mut self.top, Claim { first, at: now });
                self.supported = self.known;
                before.first
            }
            Ordering::Equal if now < self.top.at + reordering => self.believed,
            Ordering::Equal => first,
            Ordering::Less => {
                self.supported = self.supported.max(end);
                first
            }
        };
        self.known = self.known.max(end);
        if believed > self.believed {
            (self.believed, self.believed_at) = (believed, now);
        }
    }

    /// Returns whether a datagram with this first message refutes the greatest claim: the session continues before the
    /// claim, which nothing has confirmed for this long.
    pub(super) fn refutes(&self, now: ClockTime, first: u64, timeout: Duration) -> bool {
        first < self.top.first && self.is_stray() && now >= self.top.at + timeout
    }

    /// Returns whether only one datagram makes the greatest claim.
    pub(super) const fn is_stray(&self) -> bool {
        self.believed < self.top.first
    }

    /// Drops the greatest claim and its datagram.
    pub(super) fn drop_stray(&mut self, now: ClockTime) {
        if self.is_stray() {
            self.known = self.supported;
            self.top = Claim { first: self.believed, at: now };
        }
    }
}
