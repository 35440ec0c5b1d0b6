//! What the relay does at present, for people and programs.

use std::net::IpAddr;
use std::time::Duration;

use crate::paths::PathSide;
use crate::peers::RelayId;
use crate::relay::rules::PairState;
use crate::relay::{LegId, Relay};

/// A leg that the traffic of a rule arrives on, one side that it is sent to, and what the relay does for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairStatus {
    /// The number of the rule.
    pub rule: usize,
    /// The leg.
    pub from: LegId,
    /// The side.
    pub to: PathSide,
    /// What the relay does.
    pub state: PairState,
}

/// Another relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its identifier.
    pub relay: RelayId,
    /// Its priority.
    pub priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The legs on which it is received.
    pub legs: Vec<LegId>,
}

impl Relay {
    /// Returns what the relay does for each pair of its rules.
    pub fn pairs(&self) -> impl Iterator<Item = PairStatus> {
        self.pairs.iter().map(|pair| PairStatus {
            rule: pair.rule,
            from: pair.key.from,
            to: pair.key.to,
            state: pair.state,
        })
    }

    /// Returns the relays whose announcements arrive.
    #[must_use]
    pub fn peers(&self, now: Duration) -> Vec<PeerStatus> {
        self.peers.statuses(now)
    }

    /// Returns whether two legs are on the same segment.
    #[must_use]
    pub fn is_same_segment(&self, one: LegId, other: LegId) -> bool {
        self.share_segment(one, other)
    }
}
