//! What a running relay reports.

use std::net::IpAddr;

use crate::{LegId, PairStatus, PeerStatus, RelayEvent};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverEvent {
    /// The state machine reports it.
    Relay(RelayEvent),
    /// An interface is up, or its addresses have changed.
    LegUp {
        /// The leg.
        leg: LegId,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// An interface is down or gone, or its namespace is.
    LegDown {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: String,
    },
    /// Something does not work on a leg, while the rest continues.
    Problem {
        /// The leg.
        leg: LegId,
        /// What does not work, and why.
        problem: String,
    },
}

/// Counters beside those of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Copies and replies that the system did not take: queues were full, or there was no route.
    pub unsent: u64,
    /// Datagrams to the port of announcements that were not valid announcements.
    pub invalid_announcements: u64,
}

/// What a relay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The pairs of the rules.
    pub pairs: Vec<PairStatus>,
    /// The other relays.
    pub peers: Vec<PeerStatus>,
}
