//! A UDP socket for multicast on Linux.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use libc::{IPPROTO_IP, IPPROTO_IPV6, c_int};
use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::address::{outward, request_address};
pub use super::receive_slots::ReceiveSlots;
use crate::cmsg::option_level;
use crate::gso::Offload;
use crate::option_table::option_table;

/// The maximum number of segments: 128 since Linux 6.9, 64 before (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;

/// A nonblocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    pub(super) socket: socket2::Socket,
    /// The family of the datagrams, which for a mapped socket differs from the socket's own.
    pub(super) family: Family,
    /// Whether it is an IPv6 socket that carries IPv4 in mapped addresses.
    pub(super) mapped: bool,
    /// The limits of segmentation found so far.
    pub(super) offload: Offload,
    /// The interface of datagrams without packet info, once it is set.
    pub(super) default_interface: OnceLock<Option<InterfaceIndex>>,
}

option_table! {
    /// Allows to bind to addresses of other hosts, and to send from these. Needs `CAP_NET_RAW`.
    pub fn send_as_others() = [libc::IP_TRANSPARENT: c_int, libc::IPV6_TRANSPARENT: c_int];
    /// Sets whether the kernel reports group and interface (packet info).
    pub fn set_pktinfo(on: bool) = [libc::IP_PKTINFO: c_int, libc::IPV6_RECVPKTINFO: c_int];
    fn report_hop_limit(on: bool) = [libc::IP_RECVTTL: c_int, libc::IPV6_RECVHOPLIMIT: c_int];
    fn report_traffic_class(on: bool) = [libc::IP_RECVTOS: c_int, libc::IPV6_RECVTCLASS: c_int];
    /// Sets the hop limit of outgoing multicast.
    pub fn set_hop_limit(hops: u8) = [libc::IP_MULTICAST_TTL: c_int, libc::IPV6_MULTICAST_HOPS: c_int];
    /// Sets the hop limit of outgoing unicast and broadcast.
    pub fn set_unicast_hop_limit(hops: u8) = [libc::IP_TTL: c_int, libc::IPV6_UNICAST_HOPS: c_int];
    /// Sets the traffic class (DSCP and ECN) of outgoing datagrams.
    pub fn set_traffic_class(class: u8) = [libc::IP_TOS: c_int, libc::IPV6_TCLASS: c_int];
    /// Sets whether receivers on this host receive what this socket sends.
    pub fn set_send_loopback(on: bool) = [libc::IP_MULTICAST_LOOP: c_int, libc::IPV6_MULTICAST_LOOP: c_int];
    /// Does nothing: on Unix, loopback is an option of the sender.
    pub fn set_receive_loopback(_on: bool) = always;
    /// Makes `send` fail when the interface's queue drops the datagram.
    pub fn report_queue_drops() = [libc::IP_RECVERR: c_int, libc::IPV6_RECVERR: c_int];
}

impl Socket {
    /// Returns whether the interface still exists in the socket's network namespace, which may
    /// differ from the calling thread's.
    pub fn has_interface(&self, index: InterfaceIndex) -> io::Result<bool> {
        // SAFETY: an all-zero `ifreq` is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = index.number().cast_signed();
        // SAFETY: `SIOCGIFNAME` reads the index in an `ifreq` and writes a name into it.
        let answer =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFNAME as _, &raw mut request) };
        if answer == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => Ok(false),
            _ => Err(error),
        }
    }

    /// Opens an unbound socket of this family.
    pub fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        Ok(Self {
            socket,
            family,
            mapped: false,
            offload: Offload::new(MAX_SEGMENTS),
            default_interface: OnceLock::new(),
        })
    }

    /// Opens a receiving socket bound to this group and port, which receives nothing else. Scoped
    /// groups are bound together with their interface.
    pub fn bound_to_group(group: Group, port: u16, interface: Option<InterfaceIndex>) -> io::Result<Self> {
        let socket = Self::open(group.family())?;
        socket.socket.set_reuse_address(true)?;
        socket.receive_details()?;
        socket.only_own_memberships(true)?;
        socket.bind(match group.addr() {
            IpAddr::V4(_) => SocketAddr::new(group.addr(), port),
            IpAddr::V6(group) => {
                SocketAddrV6::new(group, port, 0, interface.map_or(0, InterfaceIndex::number)).into()
            }
        })?;
        Ok(socket)
    }

    /// Opens a receiving socket for all groups on this port, whichever socket joined them.
    ///
    /// For IPv4 it is an IPv6 socket bound to `::ffff:0.0.0.0`: the kernel prefers any IPv4 socket
    /// for unicast datagrams, so that this one takes none from other programs (measured).
    pub fn wildcard(family: Family, port: u16) -> io::Result<Self> {
        let mapped = match family {
            Family::V4 => Self::mapped(),
            Family::V6 => Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = match mapped {
            Ok(socket) => socket,
            Err(_) => Self::open(family)?,
        };
        socket.socket.set_reuse_address(true)?;
        socket.receive_details()?;
        socket.only_own_memberships(false)?;
        socket.bind(SocketAddr::new(unspecified(family), port))?;
        Ok(socket)
    }

    /// Opens a socket that only holds memberships and receives nothing.
    pub fn holder(family: Family) -> io::Result<Self> {
        Self::open(family)
    }

    fn mapped() -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_only_v6(false)?;
        Ok(Self {
            socket,
            family: Family::V4,
            mapped: true,
            offload: Offload::new(MAX_SEGMENTS),
            default_interface: OnceLock::new(),
        })
    }

    /// Binds to this address; with port 0 the system chooses the port.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&SockAddr::from(self.outward(address)))
    }

    /// Allows other sockets to bind to the same port.
    pub fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)
    }

    /// Returns the address that the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Makes the kernel report group, interface, hop limit, traffic class, time and drops.
    pub fn receive_details(&self) -> io::Result<()> {
        self.set_pktinfo(true)?;
        self.set_details(true)
    }

    /// Makes the kernel report group and interface only.
    pub fn disable_details(&self) -> io::Result<()> {
        self.set_details(false)
    }

    fn set_details(&self, on: bool) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, libc::c_int::from(on))?;
        self.set(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, libc::c_int::from(on))?;
        self.report_hop_limit(on)?;
        self.report_traffic_class(on)
    }

    /// Sets whether groups that only other sockets have joined are excluded (`IP_MULTICAST_ALL`
    /// off).
    pub fn only_own_memberships(&self, only: bool) -> io::Result<()> {
        let all = libc::c_int::from(!only);
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, all),
            // Since Linux 4.20. On older kernels, only the check against the table of memberships
            // excludes them.
            Family::V6 => match self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, all) {
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
                result => result,
            },
        }
    }

    /// Makes this the interface of all datagrams that name none, unless one was set before: those that name it need no
    /// control message, which costs 0.3 µs per call. A refusal by the system has no effect.
    pub fn set_default_interface(&self, index: InterfaceIndex) {
        self.default_interface.get_or_init(|| self.send_by(index).is_ok().then_some(index));
    }

    fn send_by(&self, index: InterfaceIndex) -> io::Result<()> {
        // `IP_UNICAST_IF` and `IPV6_UNICAST_IF` take the index in network byte order.
        let (number, ordered) = (index.number().cast_signed(), index.number().to_be());
        match self.family {
            Family::V4 => {
                let nowhere = libc::in_addr { s_addr: 0 };
                let request =
                    libc::ip_mreqn { imr_multiaddr: nowhere, imr_address: nowhere, imr_ifindex: number };
                self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)?;
                self.set(libc::IPPROTO_IP, libc::IP_UNICAST_IF, ordered)
            }
            Family::V6 => {
                self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, number)?;
                self.set(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF, ordered)
            }
        }
    }

    /// Forbids fragmentation, or allows it regardless of the system's default.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        match self.family {
            Family::V4 => {
                let mode = if on { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
                self.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
            }
            Family::V6 => {
                let mode = if on { libc::IPV6_PMTUDISC_DO } else { libc::IPV6_PMTUDISC_DONT };
                self.set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)?;
                self.set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, libc::c_int::from(on))
            }
        }
    }

    /// Forbids fragmentation, and does not believe messages of ICMP about the path (`IP_PMTUDISC_PROBE`): the caller finds
    /// out what the path carries.
    pub fn probe_path_mtu(&self) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            Family::V6 => {
                self.set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
                self.set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1 as libc::c_int)
            }
        }
    }

    /// Returns whether an error of sending means that the datagram is longer than the interface allows.
    pub fn is_too_large(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EMSGSIZE)
    }

    /// Allows sending to broadcast addresses.
    pub fn allow_broadcast(&self) -> io::Result<()> {
        self.socket.set_broadcast(true)
    }

    /// Requests a receive buffer of this size and returns the size granted.
    ///
    /// `SO_RCVBUFFORCE`, which exceeds the limit of `net.core.rmem_max`, needs `CAP_NET_ADMIN`.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        set_receive_buffer(&self.socket, bytes)
    }

    /// Requests a send buffer and returns the size granted (`SO_SNDBUFFORCE`, `net.core.wmem_max`).
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        set_send_buffer(&self.socket, bytes)?;
        self.socket.send_buffer_size().map(|granted| granted / 2)
    }

    /// Returns how many buffers the kernel has dropped on this socket so far (`SO_MEMINFO`).
    ///
    /// The total that comes with datagrams (`SO_RXQ_OVFL`) is recorded when they are queued, so it
    /// does not include drops after the last datagram.
    pub fn drops(&self) -> io::Result<Option<u32>> {
        const DROPS: usize = 8;
        // `libc` does not define it for Android. MIPS and others with a different number have no
        // drop count.
        const SO_MEMINFO: libc::c_int = 55;
        let info: [u32; 9] = self.get(libc::SOL_SOCKET, SO_MEMINFO)?;
        Ok(Some(info[DROPS]))
    }

    /// Converts an address for this socket's calls.
    fn outward(&self, address: SocketAddr) -> SocketAddr {
        outward(address, self.mapped)
    }

    pub(crate) fn set<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
        self.set_bytes(level, option, as_bytes(std::slice::from_ref(&value)))
    }

    pub(super) fn set_bytes(&self, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
        set_option(&self.socket, level, option, value)
    }

    pub(super) fn get<T: Copy + Default>(&self, level: libc::c_int, option: libc::c_int) -> io::Result<T> {
        let mut value = T::default();
        let mut length = size_of::<T>() as libc::socklen_t;
        // SAFETY: pointer and length are those of `value`, which is plain data in every use here.
        let result = unsafe {
            libc::getsockopt(self.socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
    }
}

fn set_option(
    socket: &socket2::Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: pointer and length are those of a live slice.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Requests a receive buffer of any socket, like [`Socket::set_receive_buffer`].
pub(crate) fn set_receive_buffer(socket: &socket2::Socket, bytes: usize) -> io::Result<usize> {
    set_buffer(socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes)?;
    // The kernel doubles the requested size to cover its own overhead, and reports the doubled size.
    socket.recv_buffer_size().map(|granted| granted / 2)
}

/// Requests a send buffer.
pub(crate) fn set_send_buffer(socket: &socket2::Socket, bytes: usize) -> io::Result<()> {
    set_buffer(socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes)
}

fn set_buffer(
    socket: &socket2::Socket,
    force: libc::c_int,
    plain: libc::c_int,
    bytes: usize,
) -> io::Result<()> {
    let requested = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2).min(libc::c_int::MAX / 2);
    let value = requested.to_ne_bytes();
    set_option(socket, libc::SOL_SOCKET, force, &value)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, plain, &value))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Returns the bytes of plain data, for the kernel to read.
pub(super) fn as_bytes<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the slice is live and has the given length. Padding bytes may be indeterminate; the
    // kernel copies them without interpreting them.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

impl Socket {
    /// Replaces the source filter of a joined group atomically.
    pub fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let (mode, sources) = match filter {
            SourceFilter::Include(sources) => (libc::MCAST_INCLUDE as u32, sources),
            SourceFilter::Exclude(sources) => (libc::MCAST_EXCLUDE as u32, sources),
        };
        // `struct group_filter` of RFC 3678 section 5.1.2: a head, then a list of addresses.
        let head = GroupFilterHead {
            interface: interface.number(),
            group: request_address(group.addr()),
            mode,
            count: sources.len() as u32,
        };
        let list: Vec<libc::sockaddr_storage> =
            sources.iter().map(|source| request_address(*source)).collect();
        let mut bytes = Vec::with_capacity(size_of::<GroupFilterHead>() + size_of_val(&list[..]));
        bytes.extend_from_slice(as_bytes(std::slice::from_ref(&head)));
        bytes.extend_from_slice(as_bytes(&list));
        self.set_bytes(option_level(group.family()), libc::MCAST_MSFILTER, &bytes)
    }
}

/// The fixed part of `struct group_filter`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupFilterHead {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
}
