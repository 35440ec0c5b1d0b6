//! A UDP socket for multicast on Windows.
//!
//! Windows delivers a group's datagrams only to sockets that joined it on the interface of
//! arrival. It binds no socket to a group. The interface and the hop limit of what is sent are
//! options of the whole socket, set under a lock.

use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockAddr, Type};
use windows_sys::Win32::Networking::WinSock::{
    GROUP_REQ, GROUP_SOURCE_REQ, IN_ADDR, IN_ADDR_0, IN6_ADDR, IN6_ADDR_0, IP_ADD_MEMBERSHIP,
    IP_DONTFRAGMENT, IP_DROP_MEMBERSHIP, IP_MREQ, IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_MULTICAST_TTL,
    IP_PKTINFO, IP_RECVTOS, IP_RECVTTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, IPV6_DONTFRAG,
    IPV6_DROP_MEMBERSHIP, IPV6_HOPLIMIT, IPV6_MREQ, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP, IPV6_PKTINFO, IPV6_RECVTCLASS, MCAST_BLOCK_SOURCE, MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_UNBLOCK_SOURCE, MSG_TRUNC,
    SIO_UDP_CONNRESET, SIO_UDP_NETRESET, SOCKADDR_STORAGE, SOCKET, WSABUF, WSAECONNRESET, WSAEINVAL,
    WSAEMSGSIZE, WSAENETRESET, WSAENETUNREACH, WSAENOPROTOOPT, WSAIoctl, WSAMSG, WSASendMsg, setsockopt,
};

use super::control::Space;
use super::errors::last_socket_error;
use super::extension::receive_message;
use super::interface;
use crate::batch::Buffer;
use crate::sys::{Received, Transmit};

/// Datagrams that one `send_many` takes. There is a call for each in any case.
const SEND_AT_ONCE: usize = 32;

/// A UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: socket2::Socket,
    family: Family,
    outgoing: Mutex<Outgoing>,
    /// What is joined: a filter is changed by its difference from the one before.
    joined: Mutex<HashMap<(Group, InterfaceIndex), SourceFilter>>,
    /// Keeps groups joined on the loopback interface, without which nothing can be sent there.
    listener: Mutex<Option<Box<Self>>>,
}

/// What the socket's options say about multicast that is sent.
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
        let socket = Self {
            socket,
            family,
            outgoing: Mutex::new(Outgoing { hop_limit: 1, hop_limit_set: 1, interface_set: None }),
            joined: Mutex::default(),
            listener: Mutex::default(),
        };
        // Otherwise an ICMP error for what was sent ends a later receive. Where these cannot be
        // set, `receive` goes on past such errors.
        for option in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
            let _ = socket.control(option, false);
        }
        Ok(socket)
    }

    /// Windows binds no socket to a group.
    pub(crate) fn bound_to_group(
        _group: Group,
        _port: u16,
        _interface: Option<InterfaceIndex>,
    ) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "Windows binds no socket to a group"))
    }

    /// A receiving socket for every group on this port that it joins itself.
    pub(crate) fn wildcard(family: Family, port: u16) -> io::Result<Self> {
        let socket = Self::open(family)?;
        socket.share_port()?;
        socket.receive_details()?;
        socket.bind(SocketAddr::new(unspecified(family), port))?;
        Ok(socket)
    }

    /// A socket that only keeps memberships and receives nothing: on a port that nobody knows,
    /// since Windows joins on bound sockets only.
    pub(crate) fn holder(family: Family) -> io::Result<Self> {
        let socket = Self::open(family)?;
        socket.bind(SocketAddr::new(unspecified(family), 0))?;
        Ok(socket)
    }

    /// Binds to this address; port 0 lets the system choose.
    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&SockAddr::from(address))
    }

    /// Lets other sockets bind to the same port.
    pub(crate) fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)
    }

    /// The address that the socket is bound to.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(SocketAddr::new(address.ip(), address.port()))
    }

    /// Has the system tell group and interface, and hop limit and traffic class if it can.
    pub(crate) fn receive_details(&self) -> io::Result<()> {
        let (level, needed, wished) = match self.family {
            Family::V4 => (IPPROTO_IP, IP_PKTINFO, [IP_RECVTTL, IP_RECVTOS]),
            Family::V6 => (IPPROTO_IPV6, IPV6_PKTINFO, [IPV6_HOPLIMIT, IPV6_RECVTCLASS]),
        };
        self.set(level, needed, 1_u32)?;
        for option in wished {
            match self.set(level, option, 1_u32) {
                Err(error) if !is_unknown_option(&error) => return Err(error),
                // Before Windows 10; then these are not told.
                _ => {}
            }
        }
        Ok(())
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
            SourceFilter::Include(sources) => {
                self.each_source(MCAST_JOIN_SOURCE_GROUP, group, interface, sources)
            }
            SourceFilter::Exclude(sources) => self
                .join_any_source(group, interface)
                .and_then(|()| self.each_source(MCAST_BLOCK_SOURCE, group, interface, sources)),
        };
        match result {
            Ok(()) => {
                self.joined().insert((group, interface), filter.clone());
                Ok(())
            }
            Err(error) => {
                // Nothing may be joined yet, which is what is wanted.
                let _ = self.leave(group, interface);
                Err(error)
            }
        }
    }

    /// Replaces the filter of a group that is joined: at once, unless it turns from sources that
    /// are admitted to sources that are not, or back, which Windows takes in two steps.
    pub(crate) fn change_filter(
        &self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        let before = self.joined().get(&(group, interface)).cloned();
        let (more, fewer, from, to) = match (&before, filter) {
            (Some(SourceFilter::Include(from)), SourceFilter::Include(to)) => {
                (MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, from, to)
            }
            (Some(SourceFilter::Exclude(from)), SourceFilter::Exclude(to)) => {
                (MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, from, to)
            }
            _ => {
                self.leave(group, interface)?;
                return self.join(group, interface, filter);
            }
        };
        self.each_source(more, group, interface, &(to - from))?;
        self.each_source(fewer, group, interface, &(from - to))?;
        self.joined().insert((group, interface), filter.clone());
        Ok(())
    }

    /// Leaves a group on an interface, for all sources.
    pub(crate) fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.joined().remove(&(group, interface));
        match self.group_request(MCAST_LEAVE_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.old_request(IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    /// By index where Windows can (Vista and later), else (Wine) as it could before.
    fn join_any_source(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        match self.group_request(MCAST_JOIN_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.old_request(IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    fn group_request(&self, option: u32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        let request = GROUP_REQ { gr_interface: interface.number(), gr_group: storage(group.addr()) };
        self.set(level(group.family()), option.cast_signed(), request)
    }

    /// `option` for each of these sources. One that cannot be kept out by the system (Wine) is
    /// kept out by the receiver, so that is no failure.
    fn each_source(
        &self,
        option: u32,
        group: Group,
        interface: InterfaceIndex,
        sources: &BTreeSet<IpAddr>,
    ) -> io::Result<()> {
        sources.iter().try_for_each(|source| {
            let request = GROUP_SOURCE_REQ {
                gsr_interface: interface.number(),
                gsr_group: storage(group.addr()),
                gsr_source: storage(*source),
            };
            match self.set(level(group.family()), option.cast_signed(), request) {
                Err(error)
                    if is_unknown_option(&error)
                        && matches!(option, MCAST_BLOCK_SOURCE | MCAST_UNBLOCK_SOURCE) =>
                {
                    Ok(())
                }
                result => result,
            }
        })
    }

    /// The requests of old: by the interface's address in IPv4, by its index in IPv6.
    fn old_request(&self, v4: i32, v6: i32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        match group.addr() {
            IpAddr::V4(group) => {
                let request =
                    IP_MREQ { imr_multiaddr: in_addr(group), imr_interface: in_addr(address_of(interface)?) };
                self.set(IPPROTO_IP, v4, request)
            }
            IpAddr::V6(group) => {
                let request = IPV6_MREQ {
                    ipv6mr_multiaddr: IN6_ADDR { u: IN6_ADDR_0 { Byte: group.octets() } },
                    ipv6mr_interface: interface.number(),
                };
                self.set(IPPROTO_IPV6, v6, request)
            }
        }
    }

    /// The hop limit of multicast that is sent.
    pub(crate) fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        let mut outgoing = self.outgoing();
        outgoing.hop_limit = hops;
        self.use_hop_limit(&mut outgoing, hops)
    }

    /// The traffic class of what is sent. Windows takes the option and ignores it, so any but 0
    /// is refused.
    pub(crate) fn set_traffic_class(&self, class: u8) -> io::Result<()> {
        match class {
            0 => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "Windows sets traffic classes by policy only (New-NetQosPolicy)",
            )),
        }
    }

    /// Whether receivers on this host get what is sent: on Windows the receivers say so, and this
    /// socket is no receiver of groups.
    pub(crate) fn set_send_loopback(&self, on: bool) -> io::Result<()> {
        self.set_receive_loopback(on)
    }

    /// Whether this socket receives what this host sends.
    pub(crate) fn set_receive_loopback(&self, on: bool) -> io::Result<()> {
        match self.family {
            Family::V4 => self.set(IPPROTO_IP, IP_MULTICAST_LOOP, u32::from(on)),
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, u32::from(on)),
        }
    }

    /// Forbids fragmenting, or allows it, which is the default.
    pub(crate) fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        let result = match self.family {
            Family::V4 => self.set(IPPROTO_IP, IP_DONTFRAGMENT, u32::from(on)),
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_DONTFRAG, u32::from(on)),
        };
        match result {
            Err(error) if !on && is_unknown_option(&error) => Ok(()),
            result => result,
        }
    }

    /// Windows waits for room in an interface's queue instead of dropping.
    pub(crate) fn tell_queue_drops(&self) -> io::Result<()> {
        Ok(())
    }

    /// Asks for a receive buffer of so many bytes and says how many were granted.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
        self.socket.recv_buffer_size()
    }

    /// The same for sending.
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.socket.set_send_buffer_size(bytes.min(i32::MAX as usize))?;
        self.socket.send_buffer_size()
    }

    /// Windows counts no drops by socket.
    pub(crate) fn drops(&self) -> io::Result<Option<u32>> {
        Ok(None)
    }

    /// Receives one datagram.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.try_receive(buffer) {
                Err(error) if is_echo_of_sending(&error) => {}
                result => return result,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::new();
        let mut data =
            WSABUF { len: u32::try_from(buffer.len()).unwrap_or(u32::MAX), buf: buffer.as_mut_ptr() };
        let mut message = WSAMSG {
            name: ptr::null_mut(),
            namelen: 0,
            lpBuffers: &raw mut data,
            dwBufferCount: 1,
            Control: WSABUF { len: Space::len(), buf: space.as_mut_ptr() },
            dwFlags: 0,
        };
        // SAFETY: the closure has Windows write an address into the storage, and its length; every
        // pointer of the message is to memory that outlives the call.
        let ((length, truncated), source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                message.name = name.cast();
                message.namelen = *name_length;
                let result = receive_message(self.raw(), &mut message);
                *name_length = message.namelen;
                match result {
                    Ok(length) => Ok((length, message.dwFlags & MSG_TRUNC != 0)),
                    // What fits is there all the same.
                    Err(error) if error.raw_os_error() == Some(WSAEMSGSIZE) => Ok((buffer.len(), true)),
                    Err(error) => Err(error),
                }
            })
        }?;
        let mut received = Received {
            length: length.min(buffer.len()),
            // How much was cut off is not told.
            full_length: length.min(buffer.len()),
            truncated,
            segment: None,
            source: source.as_socket().ok_or(io::ErrorKind::InvalidData)?,
            destination: None,
            interface: None,
            hop_limit: None,
            traffic_class: None,
            time: None,
            overflow: None,
        };
        space.read(message.Control.len as usize, &mut received);
        Ok(received)
    }

    /// Receives into as many of `buffers` as there are datagrams for, and returns how many.
    ///
    /// What came is read with [`ReceiveSlots::received`].
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
        self.set_traffic_class(transmit.traffic_class.unwrap_or(0))?;
        let Ok(group) = Group::new(transmit.to.ip()) else {
            return self.send_message(transmit);
        };
        let mut outgoing = self.outgoing();
        self.use_interface(&mut outgoing, transmit.interface)?;
        let hops = transmit.hop_limit.unwrap_or(outgoing.hop_limit);
        self.use_hop_limit(&mut outgoing, hops)?;
        match self.send_message(transmit) {
            Err(error) if error.raw_os_error() == Some(WSAENETUNREACH) => match transmit.interface {
                Some(interface) if self.listen_on_loopback(group, interface)? => self.send_message(transmit),
                _ => Err(error),
            },
            result => result,
        }
    }

    /// Sends datagrams in order and returns how many Windows took; an error is that of the first.
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

    fn send_message(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = SockAddr::from(transmit.to);
        let mut data = WSABUF {
            len: u32::try_from(transmit.payload.len())
                .map_err(|_| io::Error::from_raw_os_error(WSAEMSGSIZE))?,
            buf: transmit.payload.as_ptr().cast_mut(),
        };
        let mut space = Space::new();
        let length = space.write(transmit);
        let message = WSAMSG {
            name: to.as_ptr().cast_mut().cast(),
            namelen: to.len(),
            lpBuffers: &raw mut data,
            dwBufferCount: 1,
            Control: match length {
                0 => WSABUF { len: 0, buf: ptr::null_mut() },
                length => WSABUF { len: length, buf: space.as_mut_ptr() },
            },
            dwFlags: 0,
        };
        let mut sent = 0;
        // SAFETY: every pointer of the message is to memory that outlives the call, which is done
        // when it returns; the payload and the address are only read.
        match unsafe { WSASendMsg(self.raw(), &raw const message, 0, &raw mut sent, ptr::null_mut(), None) } {
            0 => Ok(()),
            _ => Err(last_socket_error()),
        }
    }

    /// Sending by the loopback interface is refused (10051) until somebody has joined the group
    /// there. Somebody is a socket of our own then; whether that was possible.
    fn listen_on_loopback(&self, group: Group, interface: InterfaceIndex) -> io::Result<bool> {
        let is_loopback = interface::list()?
            .iter()
            .any(|each| each.loopback && each.index_for(group.family()) == interface);
        if !is_loopback {
            return Ok(false);
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = match &mut *listener {
            Some(listener) => listener,
            none => none.insert(Box::new(Self::holder(self.family)?)),
        };
        if listener.joined().contains_key(&(group, interface)) {
            return Ok(false);
        }
        listener.join(group, interface, &SourceFilter::ANY)?;
        Ok(true)
    }

    /// Sets the interface that multicast leaves by, unless it is set. Packet info would name it
    /// for each datagram, but Wine ignores that silently.
    fn use_interface(&self, outgoing: &mut Outgoing, interface: Option<InterfaceIndex>) -> io::Result<()> {
        if outgoing.interface_set == interface {
            return Ok(());
        }
        // Zero gives it back to the route.
        let index = interface.map_or(0, InterfaceIndex::number);
        match self.family {
            // The index in network order stands for the interface; Wine knows addresses only.
            Family::V4 => match (self.set(IPPROTO_IP, IP_MULTICAST_IF, index.to_be()), interface) {
                (Err(error), Some(interface)) if error.raw_os_error() == Some(WSAEINVAL) => {
                    self.set(IPPROTO_IP, IP_MULTICAST_IF, in_addr(address_of(interface)?))?;
                }
                (result, _) => result?,
            },
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, index)?,
        }
        outgoing.interface_set = interface;
        Ok(())
    }

    fn use_hop_limit(&self, outgoing: &mut Outgoing, hops: u8) -> io::Result<()> {
        if outgoing.hop_limit_set == hops {
            return Ok(());
        }
        match self.family {
            Family::V4 => self.set(IPPROTO_IP, IP_MULTICAST_TTL, u32::from(hops))?,
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, u32::from(hops))?,
        }
        outgoing.hop_limit_set = hops;
        Ok(())
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn joined(&self) -> MutexGuard<'_, HashMap<(Group, InterfaceIndex), SourceFilter>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raw(&self) -> SOCKET {
        self.socket.as_raw_socket() as SOCKET
    }

    fn control(&self, code: u32, on: bool) -> io::Result<()> {
        let value = u32::from(on);
        let mut returned = 0;
        // SAFETY: four bytes are read from `value`, and nothing is written but `returned`.
        let result = unsafe {
            WSAIoctl(
                self.raw(),
                code,
                (&raw const value).cast::<c_void>(),
                size_of::<u32>() as u32,
                ptr::null_mut(),
                0,
                &raw mut returned,
                ptr::null_mut(),
                None,
            )
        };
        if result == 0 { Ok(()) } else { Err(last_socket_error()) }
    }

    fn set<T: Copy>(&self, level: i32, option: i32, value: T) -> io::Result<()> {
        // SAFETY: the pointer and length are those of `value`, plain data in every use here.
        let result = unsafe {
            setsockopt(self.raw(), level, option, (&raw const value).cast(), size_of::<T>() as i32)
        };
        if result == 0 { Ok(()) } else { Err(last_socket_error()) }
    }
}

impl AsSocket for Socket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.socket.as_socket()
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

/// Whether the system does not know the option: Windows says so by either.
fn is_unknown_option(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAENOPROTOOPT | WSAEINVAL))
}

/// An ICMP error about something that was sent, reported to a receive.
fn is_echo_of_sending(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAECONNRESET | WSAENETRESET))
}

/// The IPv4 address by which the requests of old name an interface.
fn address_of(interface: InterfaceIndex) -> io::Result<Ipv4Addr> {
    let interfaces = interface::list()?;
    let addresses = interfaces
        .iter()
        .filter(|each| each.index == interface)
        .flat_map(|each| each.addresses_of(Family::V4));
    addresses
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .next()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn in_addr(address: Ipv4Addr) -> IN_ADDR {
    IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(address.octets()) } }
}

fn level(family: Family) -> i32 {
    match family {
        Family::V4 => IPPROTO_IP,
        Family::V6 => IPPROTO_IPV6,
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The address as requests carry it.
fn storage(address: IpAddr) -> SOCKADDR_STORAGE {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    let mut storage = SOCKADDR_STORAGE::default();
    // SAFETY: `SockAddr` holds `len` bytes, never more than a `SOCKADDR_STORAGE`.
    unsafe {
        ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    storage
}
