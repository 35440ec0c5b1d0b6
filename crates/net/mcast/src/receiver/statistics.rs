//! Counts of received, refused and lost datagrams.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::RingCount;

/// The counts of a receiver so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Datagrams delivered.
    pub received: u64,
    /// How many of these were truncated because the buffer was too small.
    pub truncated: u64,
    /// Datagrams that reached a socket without being requested: unicast to the port, groups of
    /// other programs, sources that are not admitted. This is not loss. Of what was taken off an interface
    /// ([`Wire`](crate::Wire)), also damaged datagrams, which the kernel would have discarded.
    pub refused: u64,
    /// Datagrams that the system dropped for lack of receive buffer.
    pub dropped: Drops,
    /// Receive calls that returned datagrams, and readings of rings; a batch may take two system calls for one.
    pub calls: u64,
    /// Coalesced buffers: those with more than one datagram.
    pub merged: u64,
}

/// The number of datagrams that the system dropped for lack of receive buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drops {
    /// The system does not count (macOS, BSD, Windows).
    #[default]
    Unknown,
    /// Exactly this number.
    Exactly(u64),
    /// At least this number: the system counts buffers, and some of them held several coalesced
    /// datagrams (see [`ReceiverBuilder::gro`](crate::ReceiverBuilder::gro)).
    AtLeast(u64),
    /// At most this number: the socket also receives groups that other sockets joined, and the
    /// system counts those, too. This happens with more groups, or more sources, than a socket can
    /// join.
    AtMost(u64),
    /// About this number: both of the above apply.
    About(u64),
}

impl Drops {
    /// Returns the number, if there is one.
    #[must_use]
    pub const fn count(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Exactly(count) | Self::AtLeast(count) | Self::AtMost(count) | Self::About(count) => {
                Some(count)
            }
        }
    }

    /// Returns how exact the number is: `exactly`, `at least`, `at most`, `about` or `unknown`.
    #[must_use]
    pub const fn certainty(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Exactly(_) => "exactly",
            Self::AtLeast(_) => "at least",
            Self::AtMost(_) => "at most",
            Self::About(_) => "about",
        }
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.count()) {
            (_, None) => f.write_str("unknown"),
            (Self::Exactly(_), Some(count)) | (_, Some(count @ 0)) => count.fmt(f),
            (_, Some(count)) => write!(f, "{} {count}", self.certainty()),
        }
    }
}

/// The counters behind [`Statistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    received: AtomicU64,
    truncated: AtomicU64,
    refused: AtomicU64,
    calls: AtomicU64,
    merged: AtomicU64,
}

impl Counters {
    /// Counts a call that received something.
    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a buffer with more than one datagram.
    pub(crate) fn merged(&self) {
        self.merged.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts delivered datagrams of one buffer.
    pub(crate) fn received(&self, count: u64, truncated: bool) {
        self.received.fetch_add(count, Ordering::Relaxed);
        if truncated {
            self.truncated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the datagrams of one reading of a ring, those received only if they are delivered `now`.
    pub(crate) fn taken(&self, taken: RingCount, now: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if taken.refused > 0 {
            self.refused.fetch_add(taken.refused, Ordering::Relaxed);
        }
        if now {
            self.received.fetch_add(taken.received, Ordering::Relaxed);
            self.truncated.fetch_add(taken.truncated, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self, drops: Option<u64>, receives_others: bool, merged: bool) -> Statistics {
        Statistics {
            received: self.received.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: match (drops, receives_others, merged) {
                (None, _, _) => Drops::Unknown,
                (Some(count), true, true) => Drops::About(count),
                (Some(count), true, false) => Drops::AtMost(count),
                (Some(count), false, true) => Drops::AtLeast(count),
                (Some(count), false, false) => Drops::Exactly(count),
            },
            calls: self.calls.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
        }
    }
}
