//! The kernel's multicast routing: `linux/mroute.h` and `linux/mroute6.h`, which the `libc` crate lacks.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use mcast_group::Family;

use crate::socket_option::{self, Plain};

const INIT: libc::c_int = 200;
const ADD_INTERFACE: libc::c_int = 202;
const ADD_ENTRY: libc::c_int = 204;
const DELETE_ENTRY: libc::c_int = 205;

/// The maximum number of interfaces in the kernel's multicast routing (`MAXVIFS`, `MAXMIFS`).
pub const MAX_INTERFACES: u16 = 32;

const VIFF_USE_IFINDEX: u8 = 8;
/// The message type of a cache miss, in both families (`IGMPMSG_NOCACHE`, `MRT6MSG_NOCACHE`).
const NO_CACHE: u8 = 1;
/// `ICMP6_FILTER`, and the filter that blocks all 256 types.
const ICMP6_FILTER: libc::c_int = 1;
const BLOCK_ALL: Icmp6Filter = Icmp6Filter([u32::MAX; 8]);

/// The socket that controls the multicast routing of a namespace for one family. The kernel allows one at a time.
#[derive(Debug)]
pub struct RoutingSocket {
    socket: OwnedFd,
    family: Family,
}

/// A datagram for which the kernel's cache has no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheMiss {
    /// The source.
    pub source: IpAddr,
    /// The group.
    pub group: IpAddr,
    /// The number of the incoming interface.
    pub from: u16,
}

/// An entry of the kernel's multicast forwarding cache: the route of one source and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The source.
    pub source: IpAddr,
    /// The group.
    pub group: IpAddr,
    /// The number of the incoming interface.
    pub from: u16,
    /// The numbers of the outgoing interfaces, each with the hop limit that a datagram must exceed.
    pub to: Vec<(u16, u8)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Vifctl {
    number: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    index: libc::c_int,
    remote: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Mfcctl {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    thresholds: [u8; MAX_INTERFACES as usize],
    counters: [libc::c_uint; 3],
    expire: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Mif6ctl {
    number: u16,
    flags: u8,
    threshold: u8,
    index: u16,
    rate_limit: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Mf6cctl {
    origin: libc::sockaddr_in6,
    group: libc::sockaddr_in6,
    parent: u16,
    set: [u32; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Icmp6Filter([u32; 8]);

// SAFETY: integers only.
unsafe impl Plain for Vifctl {}
// SAFETY: integers and arrays of them only.
unsafe impl Plain for Mfcctl {}
// SAFETY: integers only.
unsafe impl Plain for Mif6ctl {}
// SAFETY: integers, arrays and structs of them only.
unsafe impl Plain for Mf6cctl {}
// SAFETY: integers only.
unsafe impl Plain for Icmp6Filter {}

impl RoutingSocket {
    /// Opens the socket and starts multicast routing in the namespace of the calling thread.
    pub fn open(family: Family) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (libc::AF_INET, libc::IPPROTO_IGMP),
            Family::V6 => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let socket = socket_option::open(domain, libc::SOCK_RAW | libc::SOCK_NONBLOCK, protocol)?;
        if family == Family::V6 {
            // Only the kernel's own messages are needed, and those bypass the filter.
            socket_option::set(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &BLOCK_ALL)?;
        }
        let routing = Self { socket, family };
        routing.set(INIT, &1)?;
        Ok(routing)
    }

    /// Adds an interface to the multicast routing under a number.
    pub fn add_interface(&self, number: u16, index: u32) -> io::Result<()> {
        let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
        match self.family {
            Family::V4 => {
                let index = index.try_into().map_err(invalid)?;
                let flags = VIFF_USE_IFINDEX;
                let vif = Vifctl { number, flags, threshold: 1, rate_limit: 0, index, remote: 0 };
                self.set(ADD_INTERFACE, &vif)
            }
            Family::V6 => {
                let index = index.try_into().map_err(invalid)?;
                self.set(ADD_INTERFACE, &Mif6ctl { number, flags: 0, threshold: 1, index, rate_limit: 0 })
            }
        }
    }

    /// Adds an entry, or replaces the one for the same source and group.
    pub fn add_entry(&self, entry: &CacheEntry) -> io::Result<()> {
        self.change_entry(ADD_ENTRY, entry)
    }

    /// Deletes the entry for this source and group.
    pub fn delete_entry(&self, entry: &CacheEntry) -> io::Result<()> {
        self.change_entry(DELETE_ENTRY, entry)
    }

    /// Returns the next cache miss that the kernel has reported, or `None` if there is none now.
    pub fn next_cache_miss(&self) -> io::Result<Option<CacheMiss>> {
        let mut buffer = [0_u8; 2048];
        loop {
            // SAFETY: the kernel writes at most as many bytes as the buffer has.
            let length =
                unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(length) = usize::try_from(length) else {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
            };
            // The socket also receives IGMP from the network.
            if let Some(miss) = self.parse(&buffer[..length]) {
                return Ok(Some(miss));
            }
        }
    }

    fn change_entry(&self, option: libc::c_int, entry: &CacheEntry) -> io::Result<()> {
        if entry.to.iter().any(|(number, _)| *number >= MAX_INTERFACES) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        match (entry.source, entry.group) {
            (IpAddr::V4(source), IpAddr::V4(group)) => self.set(option, &v4_entry(source, group, entry)),
            (IpAddr::V6(source), IpAddr::V6(group)) => self.set(option, &v6_entry(source, group, entry)),
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    /// Parses a message of the kernel. `struct igmpmsg` has a zero in the place of the protocol in an IPv4 header;
    /// `struct mrt6msg` begins with a zero, which is not a valid ICMPv6 type.
    fn parse(&self, bytes: &[u8]) -> Option<CacheMiss> {
        match self.family {
            Family::V4 => {
                let (kind, zero) = (*bytes.get(8)?, *bytes.get(9)?);
                let from = u16::from_le_bytes([*bytes.get(10)?, *bytes.get(11)?]);
                let source = Ipv4Addr::from(*bytes.get(12..)?.first_chunk::<4>()?).into();
                let group = Ipv4Addr::from(*bytes.get(16..)?.first_chunk::<4>()?).into();
                (kind == NO_CACHE && zero == 0).then_some(CacheMiss { source, group, from })
            }
            Family::V6 => {
                let (zero, kind) = (*bytes.first()?, *bytes.get(1)?);
                let from = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]);
                let source = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into();
                let group = Ipv6Addr::from(*bytes.get(24..)?.first_chunk::<16>()?).into();
                (kind == NO_CACHE && zero == 0).then_some(CacheMiss { source, group, from })
            }
        }
    }

    fn set<T: Plain>(&self, option: libc::c_int, value: &T) -> io::Result<()> {
        let level = match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        };
        socket_option::set(self.socket.as_fd(), level, option, value)
    }
}

impl AsFd for RoutingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn v4_entry(source: Ipv4Addr, group: Ipv4Addr, entry: &CacheEntry) -> Mfcctl {
    let mut thresholds = [0; MAX_INTERFACES as usize];
    for &(number, threshold) in &entry.to {
        thresholds[usize::from(number)] = threshold;
    }
    let (origin, group) = (source.octets(), group.octets());
    Mfcctl { origin, group, parent: entry.from, thresholds, counters: [0; 3], expire: 0 }
}

/// An IPv6 entry has no thresholds: the hop limit must exceed 1.
fn v6_entry(source: Ipv6Addr, group: Ipv6Addr, entry: &CacheEntry) -> Mf6cctl {
    let mut set = [0; 8];
    for &(number, _) in &entry.to {
        set[usize::from(number) / 32] |= 1 << (number % 32);
    }
    Mf6cctl { origin: socket_address(source), group: socket_address(group), parent: entry.from, set }
}

fn socket_address(address: Ipv6Addr) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        sin6_scope_id: 0,
    }
}
