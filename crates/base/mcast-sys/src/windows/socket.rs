//! A UDP socket for multicast on Windows.
//!
//! Windows delivers a group's datagrams only to sockets that joined it on the interface of arrival.
//! It cannot bind a socket to a group. The interface and the hop limit of outgoing multicast are
//! options of the whole socket, set under a lock.

use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, ptr};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    GROUP_REQ, GROUP_SOURCE_REQ, IN_ADDR, IN_ADDR_0, IN6_ADDR, IN6_ADDR_0, IP_ADD_MEMBERSHIP,
    IP_DONTFRAGMENT, IP_DROP_MEMBERSHIP, IP_MREQ, IP_MULTICAST_LOOP, IP_PKTINFO, IP_RECVTOS, IP_RECVTTL,
    IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_ADD_MEMBERSHIP, IPV6_DONTFRAG, IPV6_DROP_MEMBERSHIP,
    IPV6_HOPLIMIT, IPV6_MREQ, IPV6_MULTICAST_LOOP, IPV6_PKTINFO, IPV6_RECVTCLASS, IPV6_UNICAST_HOPS,
    MCAST_BLOCK_SOURCE, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP, MCAST_UNBLOCK_SOURCE, SIO_UDP_CONNRESET, SIO_UDP_NETRESET, SOCKADDR_STORAGE,
    SOCKET, UDP_SEND_MSG_SIZE, WSAEINVAL, WSAENOPROTOOPT, WSAIoctl, getsockopt, setsockopt,
};

use super::errors::last_socket_error;
use super::interface;
pub use crate::fallbacks::plain::ReceiveSlots;
use crate::fallbacks::plain::{MulticastOptions, open_udp, unspecified};
use crate::gso::Offload;
use crate::option_table::option_table;

/// The maximum number of segments. Windows accepts more, but no buffer of datagrams of usual
/// network size holds more than this.
pub(super) const MAX_SEGMENTS: usize = 64;

/// A nonblocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    pub(crate) socket: socket2::Socket,
    pub(super) family: Family,
    pub(super) multicast: Mutex<MulticastOptions>,
    /// The joined groups. A filter is changed by its difference from the previous one.
    pub(super) joined: Mutex<HashMap<(Group, InterfaceIndex), SourceFilter>>,
    /// Holds groups joined on the loopback interface, without which nothing can be sent there.
    pub(super) listener: Mutex<Option<Box<Self>>>,
    /// The limits of segmentation found so far.
    pub(super) offload: Offload,
}

option_table! {
    /// Allows to bind to addresses of other hosts, and to send from these.
    ///
    /// # Errors
    /// Always: only Linux has that for multicast.
    pub fn send_as_others() = unsupported;
    /// Does nothing: Windows always reports the details.
    pub fn disable_details() = always;
    /// Does nothing: Windows always reports group and interface.
    pub fn set_pktinfo(_on: bool) = always;
    /// Sets the hop limit of outgoing unicast and broadcast.
    pub fn set_unicast_hop_limit(hops: u8) = [IP_TTL: u32, IPV6_UNICAST_HOPS: u32];
    /// Sets whether receivers on this host receive what is sent. On Windows it is an option of the
    /// receiving socket, so this only affects datagrams that this socket itself would receive.
    pub fn set_send_loopback(on: bool) = [IP_MULTICAST_LOOP: u32, IPV6_MULTICAST_LOOP: u32];
    /// Sets whether this socket receives what this host sends.
    pub fn set_receive_loopback(on: bool) = [IP_MULTICAST_LOOP: u32, IPV6_MULTICAST_LOOP: u32];
    fn forbid_fragments(on: bool) = [IP_DONTFRAGMENT: u32, IPV6_DONTFRAG: u32];
    /// Does nothing: Windows waits for space in an interface's queue instead of dropping datagrams.
    pub fn report_queue_drops() = always;
}

impl Socket {
    /// Opens an unbound socket of this family.
    pub fn open(family: Family) -> io::Result<Self> {
        let socket = open_udp(family)?;
        let most = if supports_segmentation(&socket) { MAX_SEGMENTS } else { 1 };
        let socket = Self {
            offload: Offload::new(most),
            socket,
            family,
            multicast: Mutex::new(MulticastOptions::INITIAL),
            joined: Mutex::default(),
            listener: Mutex::default(),
        };
        // Otherwise an ICMP error about a sent datagram ends a later receive. If these options
        // cannot be set, `receive` skips such errors.
        for option in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
            let _ = socket.control(option, false);
        }
        Ok(socket)
    }

    /// Fails, because Windows cannot bind a socket to a group.
    pub fn bound_to_group(_group: Group, _port: u16, _interface: Option<InterfaceIndex>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "Windows cannot bind a socket to a group"))
    }

    /// Opens a socket that only holds memberships and receives nothing. It is bound to a port that
    /// the system chooses, because Windows only joins groups on bound sockets.
    pub fn holder(family: Family) -> io::Result<Self> {
        let socket = Self::open(family)?;
        socket.bind(SocketAddr::new(unspecified(family), 0))?;
        Ok(socket)
    }

    /// Allows other sockets to bind to the same port.
    pub fn share_port(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)
    }

    /// Makes the system report group and interface, and if possible hop limit and traffic class.
    pub fn receive_details(&self) -> io::Result<()> {
        let (level, needed, optional) = match self.family {
            Family::V4 => (IPPROTO_IP, IP_PKTINFO, [IP_RECVTTL, IP_RECVTOS]),
            Family::V6 => (IPPROTO_IPV6, IPV6_PKTINFO, [IPV6_HOPLIMIT, IPV6_RECVTCLASS]),
        };
        self.set(level, needed, 1_u32)?;
        for option in optional {
            match self.set(level, option, 1_u32) {
                Err(error) if !is_unknown_option(&error) => return Err(error),
                // Not supported before Windows 10; then they are not reported.
                _ => {}
            }
        }
        Ok(())
    }

    /// Sets the hop limit of outgoing multicast.
    pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        let mut options = self.multicast();
        options.hop_limit = hops;
        self.use_hop_limit(&mut options, hops)
    }

    /// Allows sending to broadcast addresses.
    pub fn allow_broadcast(&self) -> io::Result<()> {
        self.socket.set_broadcast(true)
    }

    /// Accepts only traffic class 0. Windows accepts the socket option but ignores it, so any other
    /// class is an error.
    pub fn set_traffic_class(&self, class: u8) -> io::Result<()> {
        match class {
            0 => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "Windows sets traffic classes by policy only (New-NetQosPolicy)",
            )),
        }
    }

    /// Forbids fragmentation, or allows it, which is the default.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        match self.forbid_fragments(on) {
            Err(error) if !on && is_unknown_option(&error) => Ok(()),
            result => result,
        }
    }

    /// Requests a receive buffer of this size and returns the size granted.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
        self.socket.recv_buffer_size()
    }

    /// Requests a send buffer of this size and returns the size granted.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        self.socket.set_send_buffer_size(bytes.min(i32::MAX as usize))?;
        self.socket.send_buffer_size()
    }

    /// Returns `None`: Windows does not count drops per socket.
    pub fn drops(&self) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub(super) fn raw(&self) -> SOCKET {
        self.socket.as_raw_socket() as SOCKET
    }

    fn control(&self, code: u32, on: bool) -> io::Result<()> {
        let value = u32::from(on);
        let mut returned = 0;
        // SAFETY: four bytes are read from `value`, and only `returned` is written.
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

    pub(super) fn set<T: Copy>(&self, level: i32, option: i32, value: T) -> io::Result<()> {
        // SAFETY: pointer and length are those of `value`, which is plain data in every use here.
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

/// Returns whether the system does not know the option, which Windows reports by either error.
pub(super) fn is_unknown_option(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAENOPROTOOPT | WSAEINVAL))
}

/// Returns whether the system supports segmentation (USO, Windows 10 version 2004 and later): if
/// so, it returns the current segment size, which is not set yet. A system without this option
/// might send a segmented buffer as one datagram.
fn supports_segmentation(socket: &socket2::Socket) -> bool {
    let mut size = 0_u32;
    let mut length = size_of::<u32>() as i32;
    // SAFETY: four bytes are written to `size`, and their number to `length`.
    let result = unsafe {
        getsockopt(
            socket.as_raw_socket() as SOCKET,
            IPPROTO_UDP,
            UDP_SEND_MSG_SIZE,
            (&raw mut size).cast(),
            &raw mut length,
        )
    };
    result == 0
}

impl Socket {
    /// Joins a group on an interface with this source filter.
    ///
    /// After an error, the group is not joined.
    pub fn join(&self, group: Group, interface: InterfaceIndex, filter: &SourceFilter) -> io::Result<()> {
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
                // Leaving fails if nothing was joined yet, which is fine.
                let _ = self.leave(group, interface);
                Err(error)
            }
        }
    }

    /// Replaces the source filter of a joined group. This is atomic unless the filter mode changes,
    /// which takes two steps on Windows.
    pub fn change_filter(
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
    pub fn leave(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        self.joined().remove(&(group, interface));
        match self.group_request(MCAST_LEAVE_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.legacy_request(IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    /// Joins by index where supported (Windows Vista and later), otherwise (Wine) by the older
    /// option.
    fn join_any_source(&self, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        match self.group_request(MCAST_JOIN_GROUP, group, interface) {
            Err(error) if is_unknown_option(&error) => {
                self.legacy_request(IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, group, interface)
            }
            result => result,
        }
    }

    fn group_request(&self, option: u32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
        let request = GROUP_REQ { gr_interface: interface.number(), gr_group: storage(group.addr()) };
        self.set(level(group.family()), option.cast_signed(), request)
    }

    /// Sets `option` for each of these sources. A source that the system cannot block (Wine) is
    /// filtered out by the receiver, so this is not an error.
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

    /// Uses the older options, which take the interface's address for IPv4 and its index for IPv6.
    fn legacy_request(&self, v4: i32, v6: i32, group: Group, interface: InterfaceIndex) -> io::Result<()> {
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

    pub(super) fn joined(&self) -> MutexGuard<'_, HashMap<(Group, InterfaceIndex), SourceFilter>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the IPv4 address by which the older options identify an interface.
pub(super) fn address_of(interface: InterfaceIndex) -> io::Result<Ipv4Addr> {
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

pub(super) fn in_addr(address: Ipv4Addr) -> IN_ADDR {
    IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(address.octets()) } }
}

fn level(family: Family) -> i32 {
    match family {
        Family::V4 => IPPROTO_IP,
        Family::V6 => IPPROTO_IPV6,
    }
}

/// Converts an address for requests.
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
