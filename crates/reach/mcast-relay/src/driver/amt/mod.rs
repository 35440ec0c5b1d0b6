//! AMT on sockets: gateways, which find their relay, and the sockets that gateways reach.

mod gateway;
mod legs;
#[cfg(feature = "seal")]
mod listener;
#[cfg(not(feature = "seal"))]
#[path = "without_seal.rs"]
mod listener;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use mcast_packet::payload::AmtMessage;
use mcast_sys::poller::Poller;

use crate::amt::{AmtRelayName, DriadTarget, driad_query, parse_driad_response};
pub use gateway::AmtReceiver;
pub(super) use gateway::GatewaySocket;
pub(super) use legs::AddedListeners;
pub(super) use listener::AmtListener;

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

const DNS_PORT: u16 = 53;
/// The time that a server has to answer, each time.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Records or addresses of more relays are not used.
const MAX_RELAYS: usize = 8;

/// Looks for the addresses of a relay, and wakes the poller when it has them. None are found if it fails.
fn find(
    name: &AmtRelayName,
    source: Option<IpAddr>,
    poller: Arc<Poller>,
) -> io::Result<Receiver<Vec<SocketAddr>>> {
    let (name, (send, receive)) = (name.clone(), channel());
    thread::Builder::new().name("amt-find".into()).spawn(move || {
        // If nobody waits any longer, the result is dropped, and nobody is woken.
        if send.send(addresses(&name, source)).is_ok() {
            let _ = poller.wake();
        }
    })?;
    Ok(receive)
}

fn addresses(name: &AmtRelayName, source: Option<IpAddr>) -> Vec<SocketAddr> {
    let found = match (name, source) {
        (AmtRelayName::Address(address), _) => vec![*address],
        (AmtRelayName::Anycast, _) => AmtRelayName::ANYCAST.map(at_default_port).into(),
        (AmtRelayName::Host { name, port }, _) => resolve(name, *port),
        (AmtRelayName::Driad, Some(source)) => of_source(source),
        (AmtRelayName::Driad, None) => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|relay| seen.insert(*relay)).take(MAX_RELAYS).collect()
}

fn at_default_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, AmtMessage::PORT)
}

/// Returns the addresses of a name.
fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    (name, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

/// Returns the relays that the operator of a source names, the best ones first.
fn of_source(source: IpAddr) -> Vec<SocketAddr> {
    let relays =
        std::fs::read_to_string("/etc/resolv.conf").map_or_else(|_| Vec::new(), |text| servers(&text));
    let relays =
        relays.iter().cycle().take(relays.len() * ATTEMPTS).find_map(|server| query(*server, source).ok());
    let targets = relays.unwrap_or_default().into_iter().take(MAX_RELAYS).map(|relay| relay.target);
    targets
        .flat_map(|target| match target {
            DriadTarget::Address(address) => vec![at_default_port(address)],
            DriadTarget::Name(name) => resolve(&name, AmtMessage::PORT),
        })
        .collect()
}

/// Asks a server once.
fn query(server: SocketAddr, source: IpAddr) -> io::Result<Vec<crate::amt::DriadRelay>> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Only datagrams of the server are received from then on.
    socket.connect(server)?;
    // Random: the hash has a key of its own.
    let id = RandomState::new().hash_one(source) as u16;
    let query = driad_query(id, source);
    socket.send(&query)?;
    let (end, mut buffer) = (Instant::now() + TIMEOUT, [0; 4_096]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if let Some(relays) = parse_driad_response(&query, &buffer[..length]) {
            return Ok(relays);
        }
    }
}

/// Returns the servers in the configuration of the system's resolver (resolv.conf(5)).
fn servers(configuration: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
    };
    configuration.lines().filter_map(address).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_from_the_configuration() {
        let text = "# comment\nsearch example.net\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver x\noptions ndots:1";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(servers(text), expected);
    }
}
