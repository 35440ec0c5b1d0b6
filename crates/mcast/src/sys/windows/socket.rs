//! A UDP socket for multicast on Windows.
//!
//! Windows delivers a group's datagrams only to sockets that joined it on the interface of
//! arrival. It binds no socket to a group. The interface and the hop limit of what is sent are
//! options of the whole socket, set under a lock.

use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::ptr;
use std::sync::Mutex;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::{Domain, Protocol, SockAddr, Type};
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IP_MULTICAST_LOOP, IP_PKTINFO, IP_RECVTOS, IP_RECVTTL, IPPROTO_IP, IPPROTO_IPV6,
    IPPROTO_UDP, IPV6_DONTFRAG, IPV6_HOPLIMIT, IPV6_MULTICAST_LOOP, IPV6_PKTINFO, IPV6_RECVTCLASS,
    SIO_UDP_CONNRESET, SIO_UDP_NETRESET, SOCKET, UDP_SEND_MSG_SIZE, WSAEINVAL, WSAENOPROTOOPT, WSAIoctl,
    getsockopt, setsockopt,
};

use super::errors::last_socket_error;
use super::send::MOST;
pub(crate) use crate::sys::plain::ReceiveSlots;
use crate::sys::trains::Offload;

/// A UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) socket: socket2::Socket,
    pub(super) family: Family,
    pub(super) multicast: Mutex<MulticastOptions>,
    /// What is joined: a filter is changed by its difference from the one before.
    pub(super) joined: Mutex<HashMap<(Group, InterfaceIndex), SourceFilter>>,
    /// Keeps groups joined on the loopback interface, without which nothing can be sent there.
    pub(super) listener: Mutex<Option<Box<Self>>>,
    /// What is known of sending trains.
    pub(super) offload: Offload,
}

/// What the socket's options say about multicast that is sent.
#[derive(Debug)]
pub(super) struct MulticastOptions {
    /// The hop limit that the socket is to have.
    pub(super) hop_limit: u8,
    /// The hop limit that is set now.
    pub(super) hop_limit_set: u8,
    /// The interface that is set now; `None` for the route's.
    pub(super) interface_set: Option<InterfaceIndex>,
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
        let most = if cuts_trains(&socket) { MOST } else { 1 };
        let socket = Self {
            offload: Offload::new(most),
            socket,
            family,
            multicast: Mutex::new(MulticastOptions { hop_limit: 1, hop_limit_set: 1, interface_set: None }),
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

    /// They are told always.
    pub(crate) fn tell_no_details(&self) -> io::Result<()> {
        Ok(())
    }

    /// It is told always.
    pub(crate) fn tell_interface(&self, _on: bool) -> io::Result<()> {
        Ok(())
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

    /// The hop limit of multicast that is sent.
    pub(crate) fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        let mut options = self.multicast();
        options.hop_limit = hops;
        self.use_hop_limit(&mut options, hops)
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

    pub(super) fn raw(&self) -> SOCKET {
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

    pub(super) fn set<T: Copy>(&self, level: i32, option: i32, value: T) -> io::Result<()> {
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

/// Whether the system does not know the option: Windows says so by either.
pub(super) fn is_unknown_option(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAENOPROTOOPT | WSAEINVAL))
}

/// Whether the system cuts trains apart (USO, Windows 10 version 2004 and later): it then tells the size
/// of the parts, which is none yet. One that does not know of it may send a train as one datagram.
fn cuts_trains(socket: &socket2::Socket) -> bool {
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

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
