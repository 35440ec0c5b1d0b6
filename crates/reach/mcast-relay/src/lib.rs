//! Forwards multicast between segments, as a state machine: no sockets, no clocks, no threads. The feature `driver` adds
//! those.
//!
//! A [`Relay`] forwards what its [`Rule`]s name. Its driver passes arrivals, replies, announcements, memberships and
//! interface changes, and does what [`Relay::poll_output`] returns.
//!
//! | module | its idea |
//! |---|---|
//! | `rule` | the text form of rules, and what no rule forwards |
//! | `relay` | the machine: from an arrival to its copies |
//! | `peers` | other relays: announcements, and the election of one forwarder per rule and pair of segments |
//! | `guard` | boxes that relay without announcing themselves: proof of a loop, and its end |
//! | `paths` | the sockets by which replies come back |
//! | `demand` | what hosts downstream have joined (RFC 4605) |
//! | `arrival` | datagrams that arrive, also through several tunnels |
//! | `window` | which numbers have been received |
//! | `mdns` | mDNS by service, without conflicts of names |
//! | `neighbors` | with the feature `driver`: when the addresses of a leg are announced to the hosts on its link |
//! | `http` | with the feature `http`: groups for HTTP clients |
//! | `event`, `names` | what is reported: each event is declared once, with its fields and its sentence |
//! | [`amt`] | Automatic Multicast Tunneling: gateway and relay |
//! | [`driver`] | with the feature `driver`, on Linux: the sockets, interfaces and namespaces |
//!
//! A relay never feeds a storm. What it holds against loops, in this order:
//!
//! 1. Nothing is sent on the leg it arrived on, or on another leg of the same segment. Two legs are on the same segment
//!    if an announcement of the relay arrives on one that was sent on the other.
//! 2. Copies are sent from a block of ports, which announcements contain. A datagram that the relay or another relay has
//!    sent from such a port is not forwarded.
//! 3. Of several relays with the same rule between the same segments, one forwards. When its announcements end, another
//!    one takes over, within 2.4 s, or at once if it says goodbye. A relay that starts listens before it forwards.
//! 4. The hop limit is reduced, except for discovery protocols.
//! 5. A datagram of a discovery protocol is not forwarded again within 250 ms: repeats of those are harmless.
//! 6. For all other traffic, a source that repeats many contents is tested: its repeats are held back until it is clear
//!    whether it is their origin or returns the relay's own copies. Identical datagrams of a program pass.
//! 7. In tunnels, a datagram has the list of the relays that it has passed, and a number of the first one. It is not
//!    forwarded by a relay that it has passed, nor a second time by one that it reaches by two ways.
#![forbid(unsafe_code)]

pub mod amt;
mod arrival;
mod demand;
#[cfg(all(feature = "driver", target_os = "linux"))]
pub mod driver;
mod event;
mod guard;
#[cfg(feature = "http")]
pub mod http;
mod mdns;
mod names;
#[cfg(all(feature = "driver", target_os = "linux"))]
mod neighbors;
mod paths;
mod peers;
mod relay;
mod rule;
mod window;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use arrival::LegArrival;
pub use event::{CopyPayload, RefusalReason, RelayEvent, RelayOutput, RuleCounts};
pub use mcast_tunnel::{RelayPath, TunnelWant};
pub use names::RelayNames;
pub use paths::{PathId, PathPort, PathSide};
#[cfg(feature = "seal")]
pub use peers::AnnouncementKey;
pub use peers::{AnnouncementError, Authenticator, PeerStatus, PortBlock, RelayId};
pub use relay::{PairState, PairStatus, Relay, RelayConfig, Subnet, TooManyLegs};
pub use rule::{
    Leg, LegId, LocalDiscovery, Namespace, Rewrite, RewriteTarget, Route, Rule, RuleError, RuleFileError,
    RuleTarget, Selection, ServiceFilter, Traffic, parse_rules,
};

/// The groups of announcements: those for experiments, which stay on their link (RFC 4727 sections 2.4.2 and 3.4.2).
pub const ANNOUNCEMENT_GROUPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 254)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x114))];

/// The UDP port of announcements.
pub const ANNOUNCEMENT_PORT: u16 = 7_768;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
