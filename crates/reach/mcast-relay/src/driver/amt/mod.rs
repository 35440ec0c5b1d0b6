//! AMT on sockets: gateways, which find their relay, and the sockets that gateways reach.

mod find;
mod gateway;
mod legs;
#[cfg(feature = "seal")]
mod listener;
#[cfg(not(feature = "seal"))]
#[path = "without_seal.rs"]
mod listener;
mod receiver;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

pub(super) use gateway::GatewaySocket;
pub(super) use legs::AddedListeners;
pub(super) use listener::AmtListener;
pub use receiver::AmtReceiver;

/// Datagrams that are taken from a socket before others are served.
const AT_ONCE: usize = 64;
const RECEIVE_BUFFER: usize = 4 << 20;

/// Returns an address as the state machines compare it: the scope only if the address needs one.
const fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(address) => {
            let scope = if is_link_local(address.ip()) { address.scope_id() } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(*address.ip(), address.port(), 0, scope))
        }
    }
}

const fn is_link_local(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}
