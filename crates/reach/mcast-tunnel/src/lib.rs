//! Tunnels between the relays of sites: datagrams, sealed, over UDP, as a state machine. No sockets, no clocks, no
//! threads: `mcast-relay` runs it. `docs/tunnel.md` specifies it.
//!
//! A tunnel has two ends and a name, the same at both. One end dials, the other one listens; a listener has any number of
//! tunnels on one port. A [`TunnelEndpoint`] is one end of these. Its driver passes datagrams that have arrived, sends what
//! [`TunnelEndpoint::poll_transmit`] returns, and does what [`TunnelEndpoint::poll_event`] returns.
//!
//! | module | its idea |
//! |---|---|
//! | `endpoint` | one socket: handshakes, and the link that each datagram belongs to |
//! | `link` | one tunnel: address and path challenge, keep-alive, wants, and what is sent |
//! | `session` | the keys of one handshake, and its replay window |
//! | `repair` | what is kept for repairs, what is missing, and until when |
//! | `reassembly` | datagrams larger than the path |
//! | `path_mtu` | the largest datagram that the path carries |
//! | `wire`, `frame`, `record` | bytes |
//!
//! Nothing is learned, kept or answered before a seal has been opened, and an address gets no more bytes than it has
//! sent until it has proven that it receives.
#![forbid(unsafe_code)]

mod endpoint;
mod event;
mod frame;
mod link;
mod path_mtu;
mod repair;
mod session;
mod wire;

pub use endpoint::{EndpointConfig, EndpointRole, LinkStatus, TunnelEndpoint};
pub use event::{DownReason, LinkCounts, LinkId, RefusedBy, TunnelEvent, TunnelTransmit};
pub use mcast_stream_proto::seal::Keys;
pub use path_mtu::MAX_DATAGRAM;
pub use session::{DropReason, SequenceWindow, TunnelDatagram, TunnelWant};
pub use wire::RelayPath;

/// The longest name of a tunnel.
pub const MAX_NAME: usize = 64;
