//! Raw sockets for sending IGMP and ICMPv6 (`raw(7)`).

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use libc::c_int;
use mcast_group::InterfaceIndex;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::socket_option;
use crate::socket_option::packet_socket::index_number;

/// A raw socket, bound to an address of an interface.
#[derive(Debug)]
pub struct MembershipSocket(Socket);

/// RFC 2113: option 148, four bytes, value 0.
const ROUTER_ALERT_V4: [u8; 4] = [148, 4, 0, 0];
/// RFC 2711: a hop-by-hop options header with router alert, value 0 (MLD), and padding. The kernel fills in
/// the next header field.
const ROUTER_ALERT_V6: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];
/// The DSCP CS6 (RFC 3376 section 4).
const INTERNETWORK_CONTROL: u32 = 0xc0;

impl MembershipSocket {
    /// Opens a socket that sends from this address of an interface.
    pub fn open(interface: InterfaceIndex, source: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match source {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::from(libc::IPPROTO_IGMP)),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        // Messages are received by captures; here they would only fill a buffer.
        socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
        let socket = Self(socket);
        match source {
            IpAddr::V4(_) => socket.prepare_v4(interface)?,
            IpAddr::V6(_) => socket.prepare_v6(interface)?,
        }
        socket.0.bind(&address(source, interface))?;
        Ok(socket)
    }

    /// Sends a message; the kernel adds the IP header.
    pub fn send(&self, message: &[u8], to: IpAddr, interface: InterfaceIndex) -> io::Result<()> {
        self.0.send_to(message, &address(to, interface)).map(drop)
    }

    fn prepare_v4(&self, interface: InterfaceIndex) -> io::Result<()> {
        let egress = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: 0 },
            imr_ifindex: index_number(interface)?,
        };
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &egress)?;
        self.0.set_multicast_ttl_v4(1)?;
        self.0.set_multicast_loop_v4(true)?;
        self.0.set_tos_v4(INTERNETWORK_CONTROL)?;
        self.set(libc::IPPROTO_IP, libc::IP_OPTIONS, &ROUTER_ALERT_V4)
    }

    fn prepare_v6(&self, interface: InterfaceIndex) -> io::Result<()> {
        self.0.set_multicast_if_v6(interface.number())?;
        self.0.set_multicast_hops_v6(1)?;
        self.0.set_multicast_loop_v6(true)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_HOPOPTS, &ROUTER_ALERT_V6)
    }

    fn set<T: socket_option::Plain>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        socket_option::set(self.0.as_fd(), level, option, value)
    }
}

fn address(address: IpAddr, interface: InterfaceIndex) -> SockAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, 0).into(),
        IpAddr::V6(address) => SocketAddr::V6(SocketAddrV6::new(address, 0, 0, interface.number())).into(),
    }
}
