//! A UDP socket for multicast on macOS and FreeBSD.
//!
//! These kernels deliver a group's datagrams only to sockets that joined it on the interface of
//! arrival, as intended. However, they cannot set the interface or the hop limit of a single IPv4
//! datagram. Options of the whole socket are set instead, under a lock.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use libc::{IPPROTO_IP, IPPROTO_IPV6, c_int, c_uint};
use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::SockAddr;

use super::address::request_address;
use super::layout::is_scoped;
use super::os;
use crate::cmsg::{self, Space, Value, Writer};
pub use crate::fallbacks::plain::ReceiveSlots;
use crate::fallbacks::plain::{MulticastOptions, open_udp};
use crate::option_table::option_table;
use crate::{Interface, Received, SendRequest};
unsafe extern "C" {
    /// RFC 3678 section 5.2.1; part of the C library of both systems.
    fn setsourcefilter(
        socket: libc::c_int,
        interface: u32,
        group: *mut libc::sockaddr,
        group_length: libc::socklen_t,
        mode: u32,
        count: u32,
        sources: *mut libc::sockaddr_storage,
    ) -> libc::c_int;
}

/// The send buffer of every socket. It limits the size of a datagram, and the default (9,216 bytes
/// on macOS) is less than the maximum of UDP.
const SEND_BUFFER: usize = 256 * 1024;

/// A nonblocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    pub(crate) socket: socket2::Socket,
    pub(super) family: Family,
    /// Whether it is bound to a group. These kernels would use the group's address as the source.
    pub(super) bound_to_group: bool,
    pub(super) multicast_v4: Mutex<MulticastOptions>,
}

option_table! {
    /// Allows to bind to addresses of other hosts, and to send from these.
    ///
    /// # Errors
    /// Always: only Linux has that for multicast.
    pub fn send_as_others() = unsupported;
    /// Does nothing: these kernels always report the details.
    pub fn disable_details() = always;
    /// Does nothing: these kernels always report group and interface.
    pub fn set_pktinfo(_on: bool) = always;
    /// Sets the hop limit of outgoing unicast and broadcast.
    pub fn set_unicast_hop_limit(hops: u8) = [libc::IP_TTL: c_int, libc::IPV6_UNICAST_HOPS: c_int];
    /// Sets the traffic class (DSCP and ECN) of outgoing datagrams.
    pub fn set_traffic_class(class: u8) = [libc::IP_TOS: c_int, libc::IPV6_TCLASS: c_int];
    /// Sets whether receivers on this host receive what this socket sends.
    pub fn set_send_loopback(on: bool) = [libc::IP_MULTICAST_LOOP: u8, libc::IPV6_MULTICAST_LOOP: c_uint];
    /// Does nothing: on Unix, loopback is an option of the sender.
    pub fn set_receive_loopback(_on: bool) = always;
    fn forbid_fragments(on: bool) = [libc::IP_DONTFRAG: c_int, libc::IPV6_DONTFRAG: c_int];
    /// Makes `send` fail when the interface's queue drops the datagram; here it always does.
    pub fn report_queue_drops() = always;
}

impl Socket {
    /// Opens an unbound socket of this family.
    pub fn open(family: Family) -> io::Result<Self> {
        let (socket, multicast_v4) = (open_udp(family)?, Mutex::new(MulticastOptions::INITIAL));
        let socket = Self { socket, family, bound_to_group: false, multicast_v4 };
        socket.set_send_buffer(SEND_BUFFER)?;
        Ok(socket)
    }

    /// Opens a receiving socket bound to this group and port, which receives nothing else. Scoped
    /// groups are bound together with their interface.
    pub fn bound_to_group(group: Group, port: u16, interface: Option<InterfaceIndex>) -> io::Result<Self> {
        let socket = Self::open(group.family())?;
        socket.share_port()?;
        socket.receive_details()?;
        socket.bind(match group.addr() {
            IpAddr::V4(group) => SocketAddr::new(group.into(), port),
            IpAddr::V6(group) => {
                SocketAddrV6::new(group, port, 0, interface.map_or(0, InterfaceIndex::number)).into()
            }
        })?;
        Ok(Self { bound_to_group: true, ..socket })
    }

    /// Opens a socket that only holds memberships and receives nothing.
    pub fn holder(family: Family) -> io::Result<Self> {
        Self::open(family)
    }

    /// Allows other sockets to bind to the same port. These systems also require `SO_REUSEPORT`
    /// where `SO_REUSEADDR` suffices on Linux.
    pub fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)?;
        self.socket.set_reuse_port(true)
    }

    /// Makes the kernel report group, interface, hop limit, traffic class and time.
    pub fn receive_details(&self) -> io::Result<()> {
        for (option, value) in os::TIMES {
            self.set(libc::SOL_SOCKET, option, value)?;
        }
        match self.family {
            Family::V4 => os::DETAILS_V4
                .iter()
                .try_for_each(|option| self.set(libc::IPPROTO_IP, *option, 1 as libc::c_int)),
            Family::V6 => [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS]
                .iter()
                .try_for_each(|option| self.set(libc::IPPROTO_IPV6, *option, 1 as libc::c_int)),
        }
    }

    /// Sets the hop limit of outgoing multicast.
    pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        match self.family {
            Family::V4 => {
                let mut options = self.multicast_v4.lock().unwrap_or_else(PoisonError::into_inner);
                options.hop_limit = hops;
                self.use_hop_limit(&mut options, hops)
            }
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, libc::c_int::from(hops)),
        }
    }

    /// Allows sending to broadcast addresses.
    pub fn allow_broadcast(&self) -> io::Result<()> {
        self.socket.set_broadcast(true)
    }

    /// Forbids fragmentation, or allows it, which is the default.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        match self.forbid_fragments(on) {
            // Before macOS 11, the option did not exist for IPv4, and fragmentation was always
            // allowed.
            Err(error) if !on && error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            result => result,
        }
    }

    /// Requests a receive buffer of this size and returns the size request_buffer.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        request_buffer(bytes, |bytes| self.socket.set_recv_buffer_size(bytes))?;
        self.socket.recv_buffer_size()
    }

    /// Requests a send buffer of this size and returns the size request_buffer.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        request_buffer(bytes, |bytes| self.socket.set_send_buffer_size(bytes))?;
        self.socket.send_buffer_size()
    }

    /// Returns `None`: these kernels do not count drops per socket.
    pub fn drops(&self) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub(crate) fn set<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
        // SAFETY: pointer and length are those of `value`, which is plain data in every use here.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Requests a buffer, halving the size while the system refuses it: these systems refuse sizes
/// above a limit (`kern.ipc.maxsockbuf`) instead of granting what they can.
fn request_buffer(bytes: usize, mut set_size: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    const MINIMUM: usize = 4096;

    let mut requested = bytes.min(libc::c_int::MAX as usize);
    loop {
        match set_size(requested) {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) && requested / 2 >= MINIMUM => {
                requested /= 2;
            }
            result => return result,
        }
    }
}

/// Source filter modes (`netinet/in.h`).
const MCAST_INCLUDE: u32 = 1;
const MCAST_EXCLUDE: u32 = 2;

impl Socket {
    /// Replaces the source filter of a joined group atomically.
    pub fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let (mode, sources) = match filter {
            SourceFilter::Include(sources) => (MCAST_INCLUDE, sources),
            SourceFilter::Exclude(sources) => (MCAST_EXCLUDE, sources),
        };
        let mut group = request_address(group.addr());
        let mut sources: Vec<_> = sources.iter().copied().map(request_address).collect();
        // SAFETY: the group is a complete address of the given length, and `sources` is a live list
        // of the given number of addresses; neither is modified.
        let result = unsafe {
            setsourcefilter(
                self.socket.as_raw_fd(),
                interface.number(),
                (&raw mut group).cast(),
                group.ss_len.into(),
                mode,
                sources.len() as u32,
                sources.as_mut_ptr(),
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Socket {
    /// Does nothing: naming the interface with each datagram costs little here.
    pub fn set_default_interface(&self, _index: InterfaceIndex) {}

    /// Receives one datagram. On these systems the metadata costs nothing extra, so it is included.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `msghdr` is plain data, for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr();
        header.msg_controllen = RECEIVE_SPACE as _;
        // SAFETY: the closure makes the kernel write an address and its length.
        let (length, source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                header.msg_name = name.cast();
                header.msg_namelen = *name_length;
                // SAFETY: every pointer in the header points to memory that outlives the call.
                let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0);
                *name_length = header.msg_namelen;
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })
        }?;
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        // The system does not report the full length of a truncated datagram.
        let mut received = Received {
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            ..Received::bare(length, length, source)
        };
        // SAFETY: `recvmsg` succeeded on this header, and its control buffer is alive.
        unsafe { read(&header, &mut received) };
        Ok(received)
    }
}

/// The size of the control messages of a received datagram: packet info (or a destination and a
/// link address), hop limit, traffic class and a time.
pub(crate) const RECEIVE_SPACE: usize = 256;
/// The size of the control messages of a sent datagram: packet info, hop limit and traffic class.
pub(crate) const SEND_SPACE: usize = 128;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` left it, and its control buffer must be alive.
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees it.
    unsafe { cmsg::each(header, |level, kind, value| apply(level, kind, &value, received)) };
}

fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = value.get::<libc::in6_pktinfo>() {
                received.destination = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                received.interface = InterfaceIndex::new(info.ipi6_ifindex);
            }
        }
        (libc::IPPROTO_IP, libc::IP_RECVTTL) => received.hop_limit = value.get(),
        (libc::IPPROTO_IP, libc::IP_RECVTOS) => received.traffic_class = value.get(),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => received.hop_limit = small_number(value),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => received.traffic_class = small_number(value),
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMP) => {
            received.time = value.get::<libc::timeval>().and_then(|time| {
                let microseconds = u32::try_from(time.tv_usec).ok()?;
                system_time(time.tv_sec, microseconds.checked_mul(1000)?)
            });
        }
        _ => os::apply(level, kind, value, received),
    }
}

/// Reads a number of at most 255, which is an `int`, or a byte on some Apple kernels.
fn small_number(value: &Value) -> Option<u8> {
    match value.get::<libc::c_int>() {
        Some(number) => u8::try_from(number).ok(),
        None => value.get(),
    }
}

pub(super) fn system_time(seconds: libc::time_t, nanoseconds: u32) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

impl Socket {
    /// Sends one datagram.
    pub fn send(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        if !transmit.to.ip().is_multicast() {
            return self.send_to_one(transmit);
        }
        match self.family {
            Family::V4 => {
                let mut options = self.multicast_v4.lock().unwrap_or_else(PoisonError::into_inner);
                self.use_interface(&mut options, transmit.interface)?;
                let hop_limit = transmit.hop_limit.unwrap_or(options.hop_limit);
                self.use_hop_limit(&mut options, hop_limit)?;
                self.send_message(transmit)
            }
            Family::V6 => self.send_message(transmit),
        }
    }

    /// Sends to a unicast address.
    ///
    /// A socket bound to a group would send from the group's address, so another socket sends
    /// instead. It is bound to the interface's address and the same port, and connected, so that it
    /// does not receive datagrams that others send to that port.
    fn send_to_one(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        let Some(interface) = transmit.interface.filter(|_| self.bound_to_group) else {
            return self.send_message(transmit);
        };
        let source = match transmit.source {
            Some(source) => source,
            None => source_towards(transmit.to.ip(), interface)?,
        };
        let substitute = Self::open(self.family)?;
        substitute.share_port()?;
        let port = self.local_address()?.port();
        substitute.bind(scoped(SocketAddr::new(source, port), Some(interface)))?;
        os::leave_by(&substitute.socket, self.family, interface)?;
        substitute.socket.connect(&SockAddr::from(scoped(transmit.to, Some(interface))))?;
        substitute.socket.send(transmit.payload).map(|_| ())
    }

    fn send_message(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        let to = SockAddr::from(scoped(transmit.to, transmit.interface));
        let mut vector = libc::iovec {
            iov_base: transmit.payload.as_ptr().cast_mut().cast(),
            iov_len: transmit.payload.len(),
        };
        // SAFETY: `msghdr` is plain data, for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        let mut space = Space::<SEND_SPACE>::new();
        let mut control = Writer::new(&mut space);
        match self.family {
            Family::V4 => push_control_v4(&mut control, transmit),
            Family::V6 => control.push_ipv6(transmit, transmit.interface),
        }
        control.finish(&mut header);
        // SAFETY: every pointer in the header points to memory that outlives the call.
        match unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sets the interface for outgoing IPv4 multicast, unless it is already set.
    fn use_interface(
        &self,
        options: &mut MulticastOptions,
        interface: Option<InterfaceIndex>,
    ) -> io::Result<()> {
        if options.interface_set == interface {
            return Ok(());
        }
        let request = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: 0 },
            // Zero returns the choice to the routing table.
            imr_ifindex: interface.map_or(0, InterfaceIndex::number).cast_signed(),
        };
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)?;
        options.interface_set = interface;
        Ok(())
    }

    /// Sets the hop limit for IPv4 multicast, unless it is already set.
    pub(super) fn use_hop_limit(&self, options: &mut MulticastOptions, hops: u8) -> io::Result<()> {
        if options.hop_limit_set == hops {
            return Ok(());
        }
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, hops)?;
        options.hop_limit_set = hops;
        Ok(())
    }
}

/// Writes the control messages for IPv4. Interface and hop limit are options of the socket; see
/// [`Socket::send`].
fn push_control_v4(control: &mut Writer<'_, SEND_SPACE>, transmit: &SendRequest<'_>) {
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, os::TrafficClassV4::from(class));
    }
}

/// Returns the best address of an interface to send to this host from: one in the same network, or
/// else the first that is ready.
fn source_towards(to: IpAddr, interface: InterfaceIndex) -> io::Result<IpAddr> {
    let interfaces = super::interface::list()?;
    let addresses = interfaces.iter().find(|each| each.index == interface).map(Interface::usable_addresses);
    let mut candidates =
        addresses.into_iter().flatten().filter(|each| each.address.is_ipv4() == to.is_ipv4());
    let first = candidates.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let best = std::iter::once(first).chain(candidates).find(|each| each.contains(to)).unwrap_or(first);
    Ok(best.address)
}

/// Adds the interface to an address that is only meaningful on one link.
fn scoped(address: SocketAddr, interface: Option<InterfaceIndex>) -> SocketAddr {
    match (address, interface) {
        (SocketAddr::V6(address), Some(interface))
            if address.scope_id() == 0 && needs_scope(*address.ip()) =>
        {
            SocketAddrV6::new(*address.ip(), address.port(), address.flowinfo(), interface.number()).into()
        }
        _ => address,
    }
}

fn needs_scope(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() || Group::new(address.into()).is_ok_and(is_scoped)
}
