//! A UDP socket for multicast on Linux.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::control::{self, RECEIVE_SPACE, SEND_SPACE};
use crate::batch::Buffer;
use crate::sys::cmsg::{Space, Writer};
use crate::sys::{Received, Transmit};

/// Messages that one `sendmmsg` takes here: enough that the call itself costs nothing beside
/// the walk through the stack, few enough to live on the thread's stack.
const SEND_AT_ONCE: usize = 32;

/// A UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: socket2::Socket,
    /// The family of the datagrams, which for a mapped socket is not the socket's own.
    family: Family,
    /// An IPv6 socket that carries IPv4 by mapped addresses.
    mapped: bool,
}

impl Socket {
    /// An unbound socket of this family.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        Ok(Self { socket, family, mapped: false })
    }

    /// A receiving socket bound to this group and port: it takes nothing but the group's. Scoped
    /// groups are bound with their interface.
    pub(crate) fn bound_to_group(
        group: Group,
        port: u16,
        interface: Option<InterfaceIndex>,
    ) -> io::Result<Self> {
        let socket = Self::open(group.family())?;
        socket.socket.set_reuse_address(true)?;
        socket.receive_details()?;
        socket.only_own_memberships(true)?;
        socket.bind(match group.addr() {
            IpAddr::V4(group) => SocketAddrV4::new(group, port).into(),
            IpAddr::V6(group) => {
                SocketAddrV6::new(group, port, 0, interface.map_or(0, InterfaceIndex::number)).into()
            }
        })?;
        Ok(socket)
    }

    /// A receiving socket for every group on this port, whichever socket joined it.
    ///
    /// For IPv4 it is an IPv6 socket bound to `::ffff:0.0.0.0`: the kernel prefers any IPv4
    /// socket to it for unicast, so that it takes nothing from other programs (measured).
    pub(crate) fn wildcard(family: Family, port: u16) -> io::Result<Self> {
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

    /// A socket that only keeps memberships and receives nothing.
    pub(crate) fn holder(family: Family) -> io::Result<Self> {
        Self::open(family)
    }

    fn mapped() -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_only_v6(false)?;
        Ok(Self { socket, family: Family::V4, mapped: true })
    }

    /// Binds to this address; port 0 lets the system choose.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&SockAddr::from(self.outward(address)))
    }

    /// Lets other sockets bind to the same port.
    pub(crate) fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)
    }

    /// The address that the socket is bound to.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Has the kernel tell group, interface, hop limit, traffic class, time and drops.
    pub(crate) fn receive_details(&self) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        self.set(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        match self.family {
            Family::V4 => {
                self.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
                self.set(libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
                self.set(libc::IPPROTO_IP, libc::IP_RECVTOS, 1)
            }
            Family::V6 => {
                self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
                self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
                self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)
            }
        }
    }

    /// Whether groups that only other sockets have joined are kept out (`IP_MULTICAST_ALL` off).
    pub(crate) fn only_own_memberships(&self, only: bool) -> io::Result<()> {
        let all = libc::c_int::from(!only);
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, all),
            // Linux 4.20. Before it, the check against the table of memberships remains.
            Family::V6 => match self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, all) {
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
                result => result,
            },
        }
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
            SourceFilter::Include(sources) => (libc::MCAST_INCLUDE as u32, sources),
            SourceFilter::Exclude(sources) => (libc::MCAST_EXCLUDE as u32, sources),
        };
        // `struct group_filter` of RFC 3678 section 5.1.2: a head, then a list of addresses.
        let head = GroupFilterHead {
            interface: interface.number(),
            group: storage(SocketAddr::new(group.addr(), 0)).0,
            mode,
            count: sources.len() as u32,
        };
        let list: Vec<libc::sockaddr_storage> =
            sources.iter().map(|source| storage(SocketAddr::new(*source, 0)).0).collect();
        let mut bytes = Vec::with_capacity(size_of::<GroupFilterHead>() + size_of_val(&list[..]));
        bytes.extend_from_slice(as_bytes(std::slice::from_ref(&head)));
        bytes.extend_from_slice(as_bytes(&list));
        self.set_bytes(level(group.family()), libc::MCAST_MSFILTER, &bytes)
    }

    /// Leaves a group on an interface, for all sources.
    pub(crate) fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.group_request(libc::MCAST_LEAVE_GROUP, group, interface)
    }

    fn group_request(&self, option: libc::c_int, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: `group_req` is plain data, for which zeroes are a value.
        let mut request: libc::group_req = unsafe { zeroed() };
        request.gr_interface = interface.number();
        request.gr_group = storage(SocketAddr::new(group.addr(), 0)).0;
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
        request.gsr_group = storage(SocketAddr::new(group.addr(), 0)).0;
        request.gsr_source = storage(SocketAddr::new(source, 0)).0;
        self.set(level(group.family()), option, request)
    }

    /// The hop limit of multicast that is sent.
    pub(crate) fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, libc::c_int::from(hops)),
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
        let on = libc::c_int::from(on);
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, on),
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, on),
        }
    }

    /// On Unix looping back is the sender's choice; nothing to set on a receiver.
    pub(crate) fn set_receive_loopback(&self, _on: bool) -> io::Result<()> {
        Ok(())
    }

    /// Forbids fragmenting, or allows it whatever the system's default.
    pub(crate) fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
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

    /// Has `send` fail when the interface's queue drops the datagram (`IP_RECVERR`).
    pub(crate) fn tell_queue_drops(&self) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(libc::IPPROTO_IP, libc::IP_RECVERR, 1),
            Family::V6 => self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
        }
    }

    /// Asks for a receive buffer of so many bytes and says how many were granted.
    ///
    /// `SO_RCVBUFFORCE`, which passes the limit of `net.core.rmem_max`, needs `CAP_NET_ADMIN`.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes)
    }

    /// The same for sending (`SO_SNDBUFFORCE`, `net.core.wmem_max`).
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes)
    }

    fn set_buffer(&self, force: libc::c_int, plain: libc::c_int, bytes: usize) -> io::Result<usize> {
        // The kernel doubles what it is asked for, to cover its own overhead, and tells the double.
        let asked = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2).min(libc::c_int::MAX / 2);
        if self.set(libc::SOL_SOCKET, force, asked).is_err() {
            self.set(libc::SOL_SOCKET, plain, asked)?;
        }
        let granted: libc::c_int = self.get(libc::SOL_SOCKET, plain)?;
        Ok(granted.max(0) as usize / 2)
    }

    /// How many buffers the kernel has dropped on this socket, to the last one (`SO_MEMINFO`).
    ///
    /// The total that comes with datagrams (`SO_RXQ_OVFL`) is stamped when they are queued, so it
    /// misses what was dropped after the last of them.
    pub(crate) fn drops(&self) -> io::Result<Option<u32>> {
        const DROPS: usize = 8;
        // Not named by `libc` for Android; MIPS and others that number it apart have no drop count.
        const SO_MEMINFO: libc::c_int = 55;
        let info: [u32; 9] = self.get(libc::SOL_SOCKET, SO_MEMINFO)?;
        Ok(Some(info[DROPS]))
    }

    /// Receives one datagram.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut header = receive_header(name.as_mut_ptr(), &raw mut vector, &raw mut space);
        // SAFETY: every pointer of the header is to memory that outlives the call.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_TRUNC) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: `recvmsg` succeeded on this header, whose buffers are alive.
        unsafe { finish(&header, length, buffer.len()) }
    }

    /// Receives into as many of `buffers` as there are datagrams for, and returns how many.
    ///
    /// What came is read with [`ReceiveSlots::received`].
    pub(crate) fn receive_many(&self, slots: &mut ReceiveSlots, buffers: &mut [Buffer]) -> io::Result<usize> {
        let count = buffers.len().min(slots.headers.len());
        slots.prepare(&mut buffers[..count]);
        // SAFETY: `prepare` pointed the first `count` headers at `slots` own memory and at
        // `buffers`, which both outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                slots.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_TRUNC as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut message = Message::new();
        // SAFETY: an all-zero `msghdr` is a value.
        let mut header: libc::msghdr = unsafe { zeroed() };
        message.fill(&mut header, transmit, self.mapped);
        // SAFETY: `fill` pointed the header at `message` and the payload, which outlive the call.
        match unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sends datagrams in order and returns how many the kernel took; an error is that of the first.
    pub(crate) fn send_many(&self, transmits: &mut dyn Iterator<Item = Transmit<'_>>) -> io::Result<usize> {
        let mut messages = [const { Message::new() }; SEND_AT_ONCE];
        // SAFETY: an all-zero `mmsghdr` is a value.
        let mut headers: [libc::mmsghdr; SEND_AT_ONCE] = unsafe { zeroed() };
        let mut count = 0;
        for ((message, header), transmit) in messages.iter_mut().zip(&mut headers).zip(transmits) {
            message.fill(&mut header.msg_hdr, &transmit, self.mapped);
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: the first `count` headers point into `messages` and the payloads, which outlive
        // the call.
        let sent = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// How many datagrams one [`send_many`](Self::send_many) takes.
    pub(crate) const fn sends_at_once() -> usize {
        SEND_AT_ONCE
    }

    /// The address as this socket's calls want it.
    fn outward(&self, address: SocketAddr) -> SocketAddr {
        outward(address, self.mapped)
    }

    fn set<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
        self.set_bytes(level, option, as_bytes(std::slice::from_ref(&value)))
    }

    fn set_bytes(&self, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and length are those of a live slice.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                value.as_ptr().cast(),
                value.len() as libc::socklen_t,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn get<T: Copy + Default>(&self, level: libc::c_int, option: libc::c_int) -> io::Result<T> {
        let mut value = T::default();
        let mut length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the pointer and length are those of `value`, plain data in every use here.
        let result = unsafe {
            libc::getsockopt(self.socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The memory of a batched receive: headers, names and control messages, made once.
pub(crate) struct ReceiveSlots {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    spaces: Vec<Space<RECEIVE_SPACE>>,
}

// SAFETY: the pointers inside are set and used within one `receive_many`, and read afterwards
// only for the control messages, which the same value owns.
unsafe impl Send for ReceiveSlots {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for ReceiveSlots {}

impl ReceiveSlots {
    /// Slots for so many datagrams at once.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: all-zero headers, vectors and names are values.
        let (header, vector, name) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Self {
            headers: vec![header; count],
            vectors: vec![vector; count],
            names: vec![name; count],
            spaces: vec![Space::new(); count],
        }
    }

    fn prepare(&mut self, buffers: &mut [Buffer]) {
        for (index, buffer) in buffers.iter_mut().enumerate() {
            let bytes = buffer.bytes_mut();
            self.vectors[index] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            self.headers[index].msg_hdr = receive_header(
                &raw mut self.names[index],
                &raw mut self.vectors[index],
                &raw mut self.spaces[index],
            );
        }
    }

    /// What the last `receive_many` put into its buffer of this index.
    pub(crate) fn received(&self, index: usize) -> io::Result<Received> {
        let header = &self.headers[index];
        // SAFETY: `recvmmsg` filled this header; its name and control memory are `self`'s.
        unsafe { finish(&header.msg_hdr, header.msg_len as usize, self.vectors[index].iov_len) }
    }
}

impl std::fmt::Debug for ReceiveSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveSlots").field("count", &self.headers.len()).finish()
    }
}

fn receive_header(
    name: *mut libc::sockaddr_storage,
    vector: *mut libc::iovec,
    space: *mut Space<RECEIVE_SPACE>,
) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is a value (musl's has private padding, so no literal).
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = space.cast();
    header.msg_controllen = RECEIVE_SPACE as _;
    header
}

/// What a filled header says.
///
/// # Safety
/// The header must be as `recvmsg` or `recvmmsg` left it on success, its memory still alive.
unsafe fn finish(header: &libc::msghdr, full_length: usize, capacity: usize) -> io::Result<Received> {
    // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family.
    let source = unsafe { read_address(header.msg_name.cast()) }.ok_or(io::ErrorKind::InvalidData)?;
    let mut received = Received {
        length: full_length.min(capacity),
        full_length,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        segment: None,
        source,
        destination: None,
        interface: None,
        hop_limit: None,
        traffic_class: None,
        time: None,
        overflow: None,
    };
    // SAFETY: passed on to the caller.
    unsafe { control::read(header, &mut received) };
    Ok(received)
}

/// An address as the kernel wrote it, mapped IPv4 turned back into IPv4.
///
/// # Safety
/// `name` must point at a socket address that the kernel wrote.
unsafe fn read_address(name: *const libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: every socket address starts with its family.
    match libc::c_int::from(unsafe { (*name).ss_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`.
            let address = unsafe { &*name.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a `sockaddr_in6`.
            let address = unsafe { &*name.cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
                None => {
                    SocketAddr::V6(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id))
                }
            })
        }
        _ => None,
    }
}

/// One message to send, in the memory that its header points at.
struct Message {
    name: MaybeUninit<libc::sockaddr_storage>,
    vector: MaybeUninit<libc::iovec>,
    space: Space<SEND_SPACE>,
}

impl Message {
    const fn new() -> Self {
        Self { name: MaybeUninit::uninit(), vector: MaybeUninit::uninit(), space: Space::new() }
    }

    fn fill(&mut self, header: &mut libc::msghdr, transmit: &Transmit<'_>, mapped: bool) {
        let (name, length) = storage(outward(transmit.to, mapped));
        header.msg_name = self.name.write(name) as *mut libc::sockaddr_storage as *mut libc::c_void;
        header.msg_namelen = length;
        header.msg_iov = self.vector.write(libc::iovec {
            iov_base: transmit.payload.as_ptr().cast_mut().cast(),
            iov_len: transmit.payload.len(),
        });
        header.msg_iovlen = 1;
        let mut control = Writer::new(&mut self.space);
        match transmit.to {
            SocketAddr::V4(_) => push_control_v4(&mut control, transmit),
            SocketAddr::V6(_) => push_control_v6(&mut control, transmit),
        }
        control.finish(header);
    }
}

fn push_control_v4(control: &mut Writer<'_, SEND_SPACE>, transmit: &Transmit<'_>) {
    // Packet info overrides the address that the socket is bound to, so it says both.
    let source = match transmit.source {
        Some(IpAddr::V4(source)) => u32::from_ne_bytes(source.octets()),
        _ => 0,
    };
    if let Some(interface) = transmit.interface {
        let info = libc::in_pktinfo {
            ipi_ifindex: interface.number().cast_signed(),
            ipi_spec_dst: libc::in_addr { s_addr: source },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
    }
    if let Some(hops) = transmit.hop_limit {
        control.push(libc::IPPROTO_IP, libc::IP_TTL, libc::c_int::from(hops));
    }
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, libc::c_int::from(class));
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
            ipi6_ifindex: interface.number() as _,
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

/// The fixed part of `struct group_filter`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupFilterHead {
    interface: u32,
    group: libc::sockaddr_storage,
    mode: u32,
    count: u32,
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

/// The address as the calls of a socket want it: mapped into IPv6 if the socket is mapped.
fn outward(address: SocketAddr, mapped: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}

fn storage(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let address = SockAddr::from(address);
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
    (storage, address.len())
}

/// The bytes of plain data, for the kernel to read.
fn as_bytes<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the slice is live and as long as said. Padding bytes may be indeterminate; the
    // kernel copies them and looks at none.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
