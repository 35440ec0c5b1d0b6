//! What a running relay reports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mcast_tunnel::{DownReason, LinkStatus, RefusedBy};

use crate::amt::GatewayEvent;
use crate::http::{HttpEvent, HttpRule};
use crate::{LegId, PairStatus, PeerStatus, RelayEvent, RelayId};

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
    /// HTTP clients can connect to this address.
    HttpListening(SocketAddr),
    /// HTTP clients cannot connect to this address, at present.
    HttpFailed {
        /// The address.
        address: SocketAddr,
        /// Why.
        problem: String,
    },
    /// A request of an HTTP client was refused, or a client dropped.
    Http(HttpEvent),
    /// Something happened with the relay of AMT that is a leg.
    Amt {
        /// The leg.
        leg: LegId,
        /// What happened.
        event: GatewayEvent,
    },
    /// The system dropped datagrams on a leg, because the receive buffer was full. Reported at most once per minute, with
    /// the number since the last report.
    ReceiveLost {
        /// The leg.
        leg: LegId,
        /// The number of datagrams.
        count: u64,
    },
    /// Something does not work on a leg, while the rest continues.
    Problem {
        /// The leg.
        leg: LegId,
        /// What does not work, and why.
        problem: String,
    },
    /// A tunnel is up, with another relay at its other end than before.
    TunnelUp {
        /// The tunnel.
        leg: LegId,
        /// The relay at the other end.
        relay: RelayId,
        /// Its address.
        address: SocketAddr,
    },
    /// A tunnel is down.
    TunnelDown {
        /// The tunnel.
        leg: LegId,
        /// Why.
        reason: DownReason,
    },
    /// The other end of a tunnel has another address.
    TunnelMoved {
        /// The tunnel.
        leg: LegId,
        /// The address.
        address: SocketAddr,
    },
    /// The other end refuses a tunnel.
    TunnelRefused {
        /// The tunnel.
        leg: LegId,
        /// Why.
        reason: RefusedBy,
    },
    /// The other end of a tunnel does not answer.
    TunnelUnanswered {
        /// The tunnel.
        leg: LegId,
        /// The address that is dialed.
        host: String,
    },
    /// Somebody dials with another key.
    WrongTunnelKey {
        /// The address, unproven; the last one of several.
        address: SocketAddr,
        /// How many datagrams it stands for: more than 1 if there were more than
        /// [`ReportQuota::LOG`](mcast_pace::ReportQuota::LOG) allows.
        count: u64,
    },
    /// A member dials a tunnel that no rule names.
    UnknownTunnel {
        /// Its name.
        name: String,
        /// The address; the last one of several.
        address: SocketAddr,
        /// How many attempts it stands for, as above.
        count: u64,
    },
}

impl DriverEvent {
    /// Returns whether something does not work that did, or should.
    pub(super) const fn is_problem(&self) -> bool {
        matches!(
            self,
            Self::LegDown { .. }
                | Self::HttpFailed { .. }
                | Self::ReceiveLost { .. }
                | Self::Problem { .. }
                | Self::TunnelDown { .. }
                | Self::TunnelRefused { .. }
                | Self::TunnelUnanswered { .. }
                | Self::WrongTunnelKey { .. }
                | Self::UnknownTunnel { .. }
        )
    }
}

/// Counters beside those of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Datagrams that the system dropped, because a receive buffer of the relay was full.
    pub lost: u64,
    /// Copies and replies that the system did not take: queues were full, or there was no route.
    pub unsent: u64,
    /// Datagrams to the port of announcements that were not valid announcements.
    pub invalid_announcements: u64,
}

/// Counters of AMT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmtStatistics {
    /// Gateways that have joined something here.
    pub gateways: u64,
    /// Datagrams sent to gateways.
    pub sent: u64,
    /// Datagrams to gateways that the system did not take.
    pub unsent: u64,
    /// What arrived and was not used, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl AmtStatistics {
    pub(super) fn refuse(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// What a relay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The pairs of the rules.
    pub pairs: Vec<PairStatus>,
    /// The other relays.
    pub peers: Vec<PeerStatus>,
    /// The tunnels.
    pub tunnels: Vec<LinkStatus>,
    /// What is served to HTTP clients.
    pub http: Vec<HttpRule>,
}
