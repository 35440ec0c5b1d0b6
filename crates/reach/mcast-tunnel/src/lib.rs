//! Tunnels between the relays of sites: datagrams of groups in QUIC, as a state machine. No sockets, no clocks, no threads:
//! `mcast-relay` runs it. `docs/tunnel.md` specifies it.
//!
//! A tunnel has two ends and a name, the same at both. One end dials, the other one listens; a listener has any number of
//! tunnels on one port. A [`TunnelEndpoint`] is one end of these. Its driver passes datagrams that have arrived, sends what
//! [`TunnelEndpoint::poll_transmit`] returns, and does what [`TunnelEndpoint::poll_event`] returns.
//!
//! QUIC (RFC 9000, by `quinn-proto`) brings handshake, keys that are forgotten, addresses that change, and the largest
//! datagram of a path. Groups travel in its datagrams (RFC 9221), which are neither repeated nor delayed.
//!
//! | module | its idea |
//! |---|---|
//! | `endpoint` | one socket: connections, and the tunnel that each belongs to |
//! | `session` | one connection of QUIC: what it is for, and whether the other end is there |
//! | `link` | one tunnel: wants, pieces, repairs, counters |
//! | `control` | names, relays and wants, on a stream |
//! | `repair` | what is kept for repairs, what is missing, and until when |
//! | `frame`, `record` | bytes, and records put together from pieces |
//! | `key`, `key_error`, `tls` | who may be at the other end |
//! | `settings` | times and limits of QUIC, its clock, and its window |
//!
//! The ciphers are built from C and assembly, which needs a compiler for the target. Without the feature `quic`, there are no
//! keys, and tunnels stay down.
#![forbid(unsafe_code)]

#[cfg(feature = "quic")]
mod control;
#[cfg(feature = "quic")]
mod endpoint;
#[cfg(not(feature = "quic"))]
#[path = "unsupported/endpoint.rs"]
mod endpoint;
mod event;
#[cfg(feature = "quic")]
mod frame;
#[cfg(test)]
#[cfg(feature = "quic")]
mod golden;
mod key;
mod key_error;
#[cfg(feature = "quic")]
mod link;
#[cfg(feature = "quic")]
mod pair;
#[cfg(not(feature = "quic"))]
#[path = "unsupported/pair.rs"]
mod pair;
#[cfg_attr(not(feature = "quic"), allow(dead_code, reason = "only tunnels write and read records"))]
mod record;
#[cfg(feature = "quic")]
mod repair;
#[cfg(feature = "quic")]
mod session;
#[cfg(feature = "quic")]
mod settings;
#[cfg(feature = "quic")]
mod tls;

pub use endpoint::TunnelEndpoint;
pub use event::{
    DownReason, DropReason, EndpointConfig, EndpointRole, LinkCounts, LinkId, LinkStatus, RefusedBy,
    TunnelEvent, TunnelTransmit,
};
pub use key::{PeerKey, TunnelKey, TunnelKeys};
pub use key_error::TunnelKeyError;
pub use record::{RelayPath, TunnelDatagram, TunnelWant};

/// The largest datagram that an endpoint sends or receives: with headers of IPv4 and UDP, 1,500 bytes.
pub const MAX_DATAGRAM: u16 = 1_472;
/// The longest name of a tunnel.
pub const MAX_NAME: usize = 64;
