//! Sockets and waiting for the tests.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use mcast_lab::{Host, HostInterface};

/// How long an expected event may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const PORT: u16 = 5000;
pub(crate) const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 1, 3));

/// Returns a socket bound to a group that it has joined on an interface of a host.
pub(crate) fn receiver(host: &Host, interface: &HostInterface, group: IpAddr) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind((group, PORT)).unwrap()).unwrap();
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4(&group, &interface.ipv4().unwrap()).unwrap(),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface.index).unwrap(),
    }
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

/// A socket that sends to groups by an interface of a host.
pub(crate) struct Sender {
    socket: UdpSocket,
    scope: u32,
}

pub(crate) fn sender(host: &Host, interface: &HostInterface) -> Sender {
    if interface.ipv4().is_some() {
        host.add_route("224.0.0.0/4", &interface.name).unwrap();
    }
    let address = if interface.ipv4().is_some() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = host.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    Sender { socket, scope: interface.index }
}

impl Sender {
    pub(crate) fn send(&self, group: IpAddr, payload: &[u8]) {
        match group {
            IpAddr::V4(group) => self.socket.send_to(payload, (group, PORT)).unwrap(),
            IpAddr::V6(group) => {
                self.socket.send_to(payload, SocketAddrV6::new(group, PORT, 0, self.scope)).unwrap()
            }
        };
    }

    pub(crate) fn set_hop_limit(&self, hop_limit: u32) {
        // std cannot set the IPv6 hop limit; the tests that set one use IPv4.
        self.socket.set_multicast_ttl_v4(hop_limit).unwrap();
    }
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

/// Asserts that nothing has arrived at this socket. Call it after a datagram that was sent later has arrived elsewhere.
pub(crate) fn assert_nothing_received(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let received = socket.recv_from(&mut [0; 2048]);
    socket.set_nonblocking(false).unwrap();
    assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
