//! Single rules of the tunnel.
#![allow(clippy::unwrap_used, clippy::panic)]

mod anything;
mod handshake;

/// Returns a datagram of a group with a payload of this length.
fn datagram(length: usize) -> mcast_tunnel::TunnelDatagram<Vec<u8>> {
    mcast_tunnel::TunnelDatagram {
        trail: mcast_tunnel::RelayPath::new(1, 9, &[1]).unwrap(),
        path: 3,
        to_path: None,
        hop_limit: 4,
        source: "10.0.0.1:40000".parse().unwrap(),
        destination: "239.1.2.3:5000".parse().unwrap(),
        payload: vec![7; length],
    }
}
