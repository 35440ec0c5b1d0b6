//! Automatic Multicast Tunneling (RFC 7450), both ends, as state machines: no sockets, no clocks.
//!
//! A gateway fetches groups from a relay over unicast. It looks for a relay (discovery, advertisement), proves that it
//! receives at its address (request, query), and reports its memberships (update), for which it receives the datagrams.
//! The relay stores nothing until an update contains the code that it computed for that address, port and number.

mod driad;
mod gateway;
mod inner;
#[cfg(feature = "seal")]
mod relay;

pub use driad::{AmtRelayName, DriadRelay, DriadTarget, InvalidRelayName, driad_query, parse_driad_response};
pub use gateway::{AmtGateway, GatewayCounts, GatewayEvent, GatewayOutput, RelayFailure};
pub use inner::{InvalidPacket, TunnelledDatagram, encapsulate};
#[cfg(feature = "seal")]
pub use relay::NoRandom;
#[cfg(feature = "seal")]
pub use relay::{AmtRelay, AmtRelayCounts, AmtRelayLimits};
