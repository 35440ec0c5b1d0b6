//! A UDP socket for multicast on macOS and FreeBSD.
//!
//! These kernels deliver a group's datagrams only to sockets that joined it on the interface of
//! arrival, which is just what is wanted. What they lack is sending IPv4 by an interface, or with
//! a hop limit, datagram by datagram: that takes options of the whole socket, set under a lock.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::control::{self, RECEIVE_SPACE, SEND_SPACE};
use super::layout::is_scoped;
use super::os;
use crate::batch::Buffer;
use crate::interface::Interface;
use crate::sys::cmsg::{Space, Writer};
use crate::sys::{Received, Transmit};

/// Datagrams that one `send_many` takes. There is a call for each in any case.
const SEND_AT_ONCE: usize = 32;

/// The send buffer of every socket: it bounds the largest datagram, and the default (9,216 bytes
/// on macOS) is less than UDP carries.
const SEND_BUFFER: usize = 256 * 1024;

/// Modes of a source filter (`netinet/in.h`).
const MCAST_INCLUDE: u32 = 1;
const MCAST_EXCLUDE: u32 = 2;

unsafe extern "C" {
    /// RFC 3678 section 5.2.1; in the C library of both systems.
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

/// A UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: socket2::Socket,
    family: Family,
    /// It is bound to a group, from whose address these kernels would send.
    bound_to_group: bool,
    outgoing: Mutex<Outgoing>,
}

/// What the socket's options say about IPv4 multicast that is sent.
#[derive(Debug)]
struct Outgoing {
    /// The hop limit that the socket is to have.
    hop_limit: u8,
    /// The hop limit that is set now.
    hop_limit_set: u8,
    /// The interface that is set now; `None` for the route's.
    interface_set: Option<InterfaceIndex>,
}

impl Socket {
    /// An unbound socket of this family.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        let outgoing = Outgoing { hop_limit: 1, hop_limit_set: 1, interface_set: None };
        let socket = Self { socket, family, bound_to_group: false, outgoing: Mutex::new(outgoing) };
        socket.set_send_buffer(SEND_BUFFER)?;
        Ok(socket)
    }

    /// A receiving socket bound to this group and port: it takes nothing but the group's. Scoped
    /// groups are bound with their interface.
    pub(crate) fn bound_to_group(
        group: Group,
        port: u16,
        interface: Option<InterfaceIndex>,
    ) -> io::Result<Self> {
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

    /// A receiving socket for every group on this port that it joins itself.
    pub(crate) fn wildcard(family: Family, port: u16) -> io::Result<Self> {
        let socket = Self::open(family)?;
        socket.share_port()?;
        socket.receive_details()?;
        socket.bind(SocketAddr::new(unspecified(family), port))?;
        Ok(socket)
    }

    /// A socket that only keeps memberships and receives nothing.
    pub(crate) fn holder(family: Family) -> io::Result<Self> {
        Self::open(family)
    }

    /// Binds to this address; port 0 lets the system choose.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&SockAddr::from(address))
    }

    /// Lets other sockets bind to the same port. Both options: these systems ask for the second
    /// where the first suffices on Linux.
    pub(crate) fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)?;
        self.socket.set_reuse_port(true)
    }

    /// The address that the socket is bound to.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(SocketAddr::new(address.ip(), address.port()))
    }

    /// Has the kernel tell group, interface, hop limit, traffic class and time.
    pub(crate) fn receive_details(&self) -> io::Result<()> {
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

    /// Whether groups that only other sockets have joined are kept out. They always are.
    pub(crate) fn only_own_memberships(&self, only: bool) -> io::Result<()> {
        if only { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Joins a group on an interface for the sources of this filter.
    ///
    /// After an error nothing is joined.
    pub(crate) fn join(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let result = match filter {
            SourceFilter::Include(sources) => sources.iter().try_for_each(|source| {
                self.source_request(libc::MCAST_JOIN_SOURCE_GROUP, group, interface, *source)
            }),
            SourceFilter::Exclude(sources) => {
                self.group_request(libc::MCAST_JOIN_GROUP, group, interface)?;
                sources.iter().try_for_each(|source| {
                    self.source_request(libc::MCAST_BLOCK_SOURCE, group, interface, *source)
                })
            }
        };
        if result.is_err() {
            // Nothing may be joined yet, which is what is wanted.
            let _ = self.leave(group, interface);
        }
        result
    }

    /// Replaces the filter of a group that is joined, at once.
    pub(crate) fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let (mode, sources) = match filter {
            SourceFilter::Include(sources) => (MCAST_INCLUDE, sources),
            SourceFilter::Exclude(sources) => (MCAST_EXCLUDE, sources),
        };
        let mut group = storage(group.addr());
        let mut sources: Vec<_> = sources.iter().copied().map(storage).collect();
        // SAFETY: the group is a whole address of the length it says, and `sources` is a live
        // list of as many addresses as is said; neither is changed.
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

    /// Leaves a group on an interface, for all sources.
    pub(crate) fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.group_request(libc::MCAST_LEAVE_GROUP, group, interface)
    }

    fn group_request(&self, option: libc::c_int, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: `group_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_req = unsafe { zeroed() };
        request.gr_interface = interface.number();
        request.gr_group = storage(group.addr());
        self.set(level(group.family()), option, request)
    }

    fn source_request(
        &self,
        option: libc::c_int,
        group: Group,
        interface: InterfaceIndex,
        source: IpAddr,
    ) -> io::Result<()> {
        // SAFETY: `group_source_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_source_req = unsafe { zeroed() };
        request.gsr_interface = interface.number();
        request.gsr_group = storage(group.addr());
        request.gsr_source = storage(source);
        self.set(level(group.family()), option, request)
    }

    /// The hop limit of multicast that is sent.
    pub(crate) fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        match self.family {
            Family::V4 => {
                let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
                outgoing.hop_limit = hops;
                self.use_hop_limit(&mut outgoing, hops)
            }
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, libc::c_int::from(hops)),
        }
    }

    /// The traffic class (DSCP and ECN) of what is sent.
    pub(crate) fn set_traffic_class(&self, class: u8) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_TOS, libc::c_int::from(class)),
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::c_int::from(class)),
        }
    }

    /// Whether receivers on this host get what this socket sends.
    pub(crate) fn set_send_loopback(&self, on: bool) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, u8::from(on)),
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, libc::c_uint::from(on)),
        }
    }

    /// On Unix looping back is the sender's choice; nothing to set on a receiver.
    pub(crate) fn set_receive_loopback(&self, _on: bool) -> io::Result<()> {
        Ok(())
    }

    /// Forbids fragmenting, or allows it, which is the default.
    pub(crate) fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        let value = libc::c_int::from(on);
        let result = match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_DONTFRAG, value),
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, value),
        };
        match result {
            // Before macOS 11 there was no such option for IPv4, and fragmenting was allowed.
            Err(error) if !on && error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            result => result,
        }
    }

    /// Has `send` fail when the interface's queue drops the datagram: here it always does.
    pub(crate) fn tell_queue_drops(&self) -> io::Result<()> {
        Ok(())
    }

    /// Asks for a receive buffer of so many bytes and says how many were granted.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        granted(bytes, |bytes| self.socket.set_recv_buffer_size(bytes))?;
        self.socket.recv_buffer_size()
    }

    /// The same for sending.
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        granted(bytes, |bytes| self.socket.set_send_buffer_size(bytes))?;
        self.socket.send_buffer_size()
    }

    /// These kernels count no drops by socket.
    pub(crate) fn drops(&self) -> io::Result<Option<u32>> {
        Ok(None)
    }

    /// Receives one datagram.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `msghdr` is plain data, for which zeroes are a value.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr();
        header.msg_controllen = RECEIVE_SPACE as _;
        // SAFETY: the closure has the kernel write an address into the storage, and its length.
        let (length, source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                header.msg_name = name.cast();
                header.msg_namelen = *name_length;
                // SAFETY: every pointer of the header is to memory that outlives the call.
                let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0);
                *name_length = header.msg_namelen;
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })
        }?;
        let mut received = Received {
            length,
            // How much was cut off is not told.
            full_length: length,
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            segment: None,
            source: source.as_socket().ok_or(io::ErrorKind::InvalidData)?,
            destination: None,
            interface: None,
            hop_limit: None,
            traffic_class: None,
            time: None,
            overflow: None,
        };
        // SAFETY: `recvmsg` succeeded on this header, whose control buffer is alive.
        unsafe { control::read(&header, &mut received) };
        Ok(received)
    }

    /// Receives into as many of `buffers` as there are datagrams for, and returns how many.
    ///
    /// What came is read with [`ReceiveSlots::received`]. FreeBSD's `recvmmsg` is this loop in
    /// its C library, and Apple's `recvmsg_x` is not for others.
    pub(crate) fn receive_many(&self, slots: &mut ReceiveSlots, buffers: &mut [Buffer]) -> io::Result<usize> {
        slots.received.clear();
        for buffer in buffers.iter_mut().take(slots.count) {
            match self.receive(buffer.bytes_mut()) {
                Ok(received) => slots.received.push(received),
                Err(error) if slots.received.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(slots.received.len())
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !transmit.to.ip().is_multicast() {
            return self.send_to_one(transmit);
        }
        match self.family {
            Family::V4 => {
                let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
                self.use_interface(&mut outgoing, transmit.interface)?;
                let hop_limit = transmit.hop_limit.unwrap_or(outgoing.hop_limit);
                self.use_hop_limit(&mut outgoing, hop_limit)?;
                self.send_message(transmit)
            }
            Family::V6 => self.send_message(transmit),
        }
    }

    /// Sends datagrams in order and returns how many the kernel took; an error is that of the first.
    pub(crate) fn send_many(&self, transmits: &mut dyn Iterator<Item = Transmit<'_>>) -> io::Result<usize> {
        let mut count = 0;
        for transmit in transmits.take(SEND_AT_ONCE) {
            match self.send(&transmit) {
                Ok(()) => count += 1,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// How many datagrams one [`send_many`](Self::send_many) takes.
    pub(crate) const fn sends_at_once() -> usize {
        SEND_AT_ONCE
    }

    /// Sends to a single host.
    ///
    /// A socket that is bound to a group would send from the group's address, so another sends in
    /// its place: bound to the interface's address and the same port, and connected, so that
    /// nothing of what others send to that port goes astray.
    fn send_to_one(&self, transmit: &Transmit<'_>) -> io::Result<()> {
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

    fn send_message(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = SockAddr::from(scoped(transmit.to, transmit.interface));
        let mut vector = libc::iovec {
            iov_base: transmit.payload.as_ptr().cast_mut().cast(),
            iov_len: transmit.payload.len(),
        };
        // SAFETY: `msghdr` is plain data, for which zeroes are a value.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        let mut space = Space::<SEND_SPACE>::new();
        let mut control = Writer::new(&mut space);
        match self.family {
            Family::V4 => push_control_v4(&mut control, transmit),
            Family::V6 => push_control_v6(&mut control, transmit),
        }
        control.finish(&mut header);
        // SAFETY: every pointer of the header is to memory that outlives the call.
        match unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sets the interface that IPv4 multicast leaves by, unless it is set.
    fn use_interface(&self, outgoing: &mut Outgoing, interface: Option<InterfaceIndex>) -> io::Result<()> {
        if outgoing.interface_set == interface {
            return Ok(());
        }
        let request = libc::ip_mreqn {
            imr_multiaddr: libc::in_addr { s_addr: 0 },
            imr_address: libc::in_addr { s_addr: 0 },
            // Zero gives it back to the route.
            imr_ifindex: interface.map_or(0, InterfaceIndex::number).cast_signed(),
        };
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)?;
        outgoing.interface_set = interface;
        Ok(())
    }

    /// Sets the hop limit of IPv4 multicast, unless it is set.
    fn use_hop_limit(&self, outgoing: &mut Outgoing, hops: u8) -> io::Result<()> {
        if outgoing.hop_limit_set == hops {
            return Ok(());
        }
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, hops)?;
        outgoing.hop_limit_set = hops;
        Ok(())
    }

    fn set<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
        // SAFETY: the pointer and length are those of `value`, plain data in every use here.
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

/// What a batched receive brought.
#[derive(Debug)]
pub(crate) struct ReceiveSlots {
    received: Vec<Received>,
    count: usize,
}

impl ReceiveSlots {
    /// Slots for so many datagrams at once.
    pub(crate) fn new(count: usize) -> Self {
        Self { received: Vec::with_capacity(count), count }
    }

    /// What the last `receive_many` put into its buffer of this index.
    pub(crate) fn received(&self, index: usize) -> io::Result<Received> {
        self.received.get(index).copied().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// Interface and hop limit are the socket's: see [`Socket::send`].
fn push_control_v4(control: &mut Writer<'_, SEND_SPACE>, transmit: &Transmit<'_>) {
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, os::TrafficClassV4::from(class));
    }
}

fn push_control_v6(control: &mut Writer<'_, SEND_SPACE>, transmit: &Transmit<'_>) {
    let source = match transmit.source {
        Some(IpAddr::V6(source)) => source.octets(),
        _ => [0; 16],
    };
    if let Some(interface) = transmit.interface {
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: source },
            ipi6_ifindex: interface.number(),
        };
        control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
    }
    if let Some(hops) = transmit.hop_limit {
        control.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::c_int::from(hops));
    }
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::c_int::from(class));
    }
}

/// Asks for a buffer, and for half as much as long as the system finds it too much, which it
/// does (`kern.ipc.maxsockbuf`) instead of granting what it can.
fn granted(bytes: usize, mut ask: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    const LEAST: usize = 4096;

    let mut asked = bytes.min(libc::c_int::MAX as usize);
    loop {
        match ask(asked) {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) && asked / 2 >= LEAST => asked /= 2,
            result => return result,
        }
    }
}

/// The address of an interface that a datagram to this host is best sent from: one of its
/// network, or else the first that is ready.
fn source_towards(to: IpAddr, interface: InterfaceIndex) -> io::Result<IpAddr> {
    let interfaces = super::interface::list()?;
    let addresses = interfaces.iter().find(|each| each.index == interface).map(Interface::usable_addresses);
    let mut candidates =
        addresses.into_iter().flatten().filter(|each| each.address.is_ipv4() == to.is_ipv4());
    let first = candidates.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let best = std::iter::once(first).chain(candidates).find(|each| each.contains(to)).unwrap_or(first);
    Ok(best.address)
}

/// The address with its interface, where it has a meaning on one link only.
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

fn level(family: Family) -> libc::c_int {
    match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The address as requests carry it, with its length, which these kernels check.
fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: an all-zero `sockaddr_storage` is a value.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    // SAFETY: `SockAddr` holds `len` bytes, never more than a `sockaddr_storage`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    storage.ss_len = address.len() as u8;
    storage
}
