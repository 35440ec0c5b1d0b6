//! The state of each membership, and counts of received, refused and lost datagrams.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use mcast_group::{InterfaceIndex, Membership};
use mcast_sys::socket::Socket;

use super::wire::RingCount;
use crate::error::{Error, ErrorKind, Operation};

/// A receiver's membership and its state on each of its interfaces.
///
/// The `Display` form is one line for people to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MembershipStatus {
    /// The membership as requested.
    pub membership: Membership,
    /// The interfaces that it currently resolves to.
    pub interfaces: Vec<InterfaceStatus>,
    /// Why it currently resolves to no interface, if so. A receiver that follows interfaces waits
    /// for one.
    pub waiting: Option<Error>,
}

/// The state of a membership on one interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceStatus {
    /// The interface.
    pub index: InterfaceIndex,
    /// Its name at the time of the lookup.
    pub name: String,
    /// Why it is not joined there; `None` if it is.
    pub failure: Option<Error>,
}

impl MembershipStatus {
    /// Returns whether it is joined on at least one interface.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.failure.is_none())
    }

    /// Reports interfaces that no longer exist as failed. If the lookup fails, the state stays as
    /// it was.
    pub(crate) fn report_deleted(&mut self, socket: &Socket) {
        let joined = self.interfaces.iter_mut().filter(|interface| interface.failure.is_none());
        for interface in joined {
            if socket.has_interface(interface.index).is_ok_and(|exists| !exists) {
                let deleted = Error::new(Operation::Join, ErrorKind::NoSuchInterface)
                    .on_address(self.membership.address)
                    .on_interface(&interface.name)
                    .detail("the interface was deleted");
                interface.failure = Some(deleted);
            }
        }
    }
}

impl fmt::Display for MembershipStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.membership)?;
        if let Some(why) = &self.waiting {
            return write!(f, "waiting for an interface ({why})");
        }
        let joined: Vec<&str> =
            self.interfaces.iter().filter(|each| each.failure.is_none()).map(|each| &*each.name).collect();
        if !joined.is_empty() {
            write!(f, "joined on {}", joined.join(", "))?;
        }
        for (position, failed) in self.interfaces.iter().filter_map(|each| each.failure.as_ref()).enumerate()
        {
            let separator = if position == 0 && joined.is_empty() { "" } else { "; " };
            write!(f, "{separator}{failed}")?;
        }
        Ok(())
    }
}

mcast_metrics::figures! {
    /// The counts of a receiver so far.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Statistics {
        /// Datagrams delivered.
        count received: u64,
        /// Datagrams delivered that were truncated because the buffer was too small.
        count truncated: u64,
        /// Datagrams that reached a socket without being requested: unicast to the port, groups of
        /// other programs, sources that are not admitted. This is not loss.
        count refused: u64,
        /// Damaged datagrams of joined groups, such as those with a wrong checksum, among those that were taken off an
        /// interface. Those that arrive by sockets are counted by the system only (Linux: `InCsumErrors` in
        /// `/proc/net/snmp` and `snmp6`).
        count damaged: u64,
        /// Datagrams that the system dropped because a ring for what is taken off an interface was full. They are among all
        /// that it dropped. Some drivers count them as drops of the interface, too.
        count dropped_by_rings: u64,
        /// Receive calls that returned datagrams, and readings of rings; a batch may take two system calls for one.
        count calls: u64,
        /// Coalesced buffers: those with more than one datagram.
        count merged: u64,
        other {
            /// Datagrams that the system dropped for lack of receive buffer.
            pub dropped: Drops,
        }
    }
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
    damaged: AtomicU64,
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
        if taken.damaged > 0 {
            self.damaged.fetch_add(taken.damaged, Ordering::Relaxed);
        }
        if now {
            self.received.fetch_add(taken.received, Ordering::Relaxed);
            self.truncated.fetch_add(taken.truncated, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(
        &self,
        (drops, dropped_by_rings): (Option<u64>, u64),
        receives_others: bool,
        merged: bool,
    ) -> Statistics {
        Statistics {
            received: self.received.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            dropped: match (drops, receives_others, merged) {
                (None, _, _) => Drops::Unknown,
                (Some(count), true, true) => Drops::About(count),
                (Some(count), true, false) => Drops::AtMost(count),
                (Some(count), false, true) => Drops::AtLeast(count),
                (Some(count), false, false) => Drops::Exactly(count),
            },
            dropped_by_rings,
            calls: self.calls.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
        }
    }
}
