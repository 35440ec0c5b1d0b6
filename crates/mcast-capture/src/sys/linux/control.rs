//! Raw sockets for sending IGMP and ICMPv6 (`raw(7)`).

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_void, socklen_t};
use mcast_group::InterfaceIndex;

/// A raw socket, bound to an address of an interface.
#[derive(Debug)]
pub(crate) struct ControlHandle {
    fd: OwnedFd,
}

/// RFC 2113: option 148, four bytes, value 0.
const ROUTER_ALERT_V4: [u8; 4] = [148, 4, 0, 0];
/// RFC 2711: a hop-by-hop options header with router alert, value 0 (MLD), and padding. The kernel fills in
/// the next header field.
const ROUTER_ALERT_V6: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];
/// The DSCP CS6 (RFC 3376 section 4).
const INTERNETWORK_CONTROL: c_int = 0xc0;

impl ControlHandle {
    pub(crate) fn open(interface: InterfaceIndex, source: IpAddr) -> io::Result<Self> {
        let (family, protocol) = match source {
            IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_IGMP),
            IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a plain system call.
        let fd = check(unsafe { libc::socket(family, kind, protocol) })?;
        // SAFETY: the descriptor is new and has no other owner.
        let handle = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        handle.reject_all()?;
        match source {
            IpAddr::V4(source) => handle.prepare_v4(interface, source)?,
            IpAddr::V6(source) => handle.prepare_v6(interface, source)?,
        }
        Ok(handle)
    }

    /// Sends a message; the kernel adds the IP header.
    pub(crate) fn send(&self, message: &[u8], to: IpAddr, interface: InterfaceIndex) -> io::Result<()> {
        match to {
            IpAddr::V4(to) => self.send_to(message, &address_v4(to)),
            IpAddr::V6(to) => self.send_to(message, &address_v6(to, interface)),
        }
    }

    /// Installs a filter that rejects everything. Messages are received by captures; here they would only
    /// fill a buffer.
    fn reject_all(&self) -> io::Result<()> {
        let mut reject = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: &raw mut reject };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn prepare_v4(&self, interface: InterfaceIndex, source: Ipv4Addr) -> io::Result<()> {
        let egress = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: 0 },
            imr_ifindex: number(interface)?,
        };
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &egress)?;
        self.set::<c_int>(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &1)?;
        self.set::<c_int>(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &1)?;
        self.set(libc::IPPROTO_IP, libc::IP_TOS, &INTERNETWORK_CONTROL)?;
        self.set(libc::IPPROTO_IP, libc::IP_OPTIONS, &ROUTER_ALERT_V4)?;
        self.bind(&address_v4(source))
    }

    fn prepare_v6(&self, interface: InterfaceIndex, source: Ipv6Addr) -> io::Result<()> {
        self.set::<c_int>(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &number(interface)?)?;
        self.set::<c_int>(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &1)?;
        self.set::<c_int>(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &1)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_HOPOPTS, &ROUTER_ALERT_V6)?;
        self.bind(&address_v6(source, interface))
    }

    fn bind<T>(&self, address: &T) -> io::Result<()> {
        let length = size_of::<T>() as socklen_t;
        // SAFETY: `address` is a socket address of `length` bytes that outlives the call.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), ptr::from_ref(address).cast(), length) })?;
        Ok(())
    }

    fn send_to<T>(&self, message: &[u8], to: &T) -> io::Result<()> {
        let (length, fd) = (size_of::<T>() as socklen_t, self.fd.as_raw_fd());
        // SAFETY: message and address outlive the call and have the given lengths.
        let sent = unsafe {
            libc::sendto(
                fd,
                message.as_ptr().cast::<c_void>(),
                message.len(),
                0,
                ptr::from_ref(to).cast(),
                length,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as socklen_t;
        let value = ptr::from_ref(value).cast::<c_void>();
        // SAFETY: `value` points to `length` bytes that outlive the call; callers pass the type that the
        // option is documented to take.
        check(unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, value, length) })?;
        Ok(())
    }
}

fn address_v4(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    }
}

fn address_v6(address: Ipv6Addr, interface: InterfaceIndex) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        sin6_scope_id: interface.number(),
    }
}

fn number(interface: InterfaceIndex) -> io::Result<c_int> {
    c_int::try_from(interface.number()).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
