//! What came, what was refused, and what was lost.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a receiver has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Datagrams handed out.
    pub received: u64,
    /// Of these, how many were cut off because the buffer was too small.
    pub truncated: u64,
    /// Datagrams that reached a socket and were none of this receiver's: unicast to the port,
    /// other programs' groups, sources not admitted. Not loss.
    pub refused: u64,
    /// Datagrams that the system dropped for want of receive buffer.
    pub dropped: Drops,
    /// Receives from a socket that found something; a batch may take two system calls for one.
    pub calls: u64,
    /// Buffers that held more than one datagram.
    pub merged: u64,
}

/// How many datagrams the system dropped for want of receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drops {
    /// The system doesn't count (macOS, BSD, Windows).
    Unknown,
    /// So many.
    Exactly(u64),
    /// So many or more: the system counts buffers, and some of them held several datagrams that
    /// it had merged (see [`ReceiverBuilder::merging`](crate::ReceiverBuilder::merging)).
    AtLeast(u64),
    /// So many or fewer: the socket also hears what others have joined, and the system counts
    /// that, too. So it is with more groups, or more sources, than a socket can join.
    AtMost(u64),
    /// About so many: both of these hold.
    About(u64),
}

impl Drops {
    /// The number, if there is one.
    #[must_use]
    pub const fn count(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Exactly(count) | Self::AtLeast(count) | Self::AtMost(count) | Self::About(count) => {
                Some(count)
            }
        }
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Exactly(count) => count.fmt(f),
            Self::AtLeast(0) | Self::AtMost(0) | Self::About(0) => f.write_str("0"),
            Self::AtLeast(count) => write!(f, "at least {count}"),
            Self::AtMost(count) => write!(f, "at most {count}"),
            Self::About(count) => write!(f, "about {count}"),
        }
    }
}

/// The counting side of [`Statistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    received: AtomicU64,
    truncated: AtomicU64,
    refused: AtomicU64,
    calls: AtomicU64,
    merged: AtomicU64,
}

impl Counters {
    /// A call received something.
    pub(crate) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A buffer held more than one datagram.
    pub(crate) fn merged(&self) {
        self.merged.fetch_add(1, Ordering::Relaxed);
    }

    /// So many datagrams of one buffer were handed out.
    pub(crate) fn received(&self, count: u64, truncated: bool) {
        self.received.fetch_add(count, Ordering::Relaxed);
        if truncated {
            self.truncated.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self, drops: Option<u64>, hears_others: bool, merged: bool) -> Statistics {
        Statistics {
            received: self.received.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: match (drops, hears_others, merged) {
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
