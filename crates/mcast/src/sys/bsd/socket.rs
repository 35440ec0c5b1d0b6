//! A UDP socket for multicast on macOS and FreeBSD.
//!
//! These kernels deliver a group's datagrams only to sockets that joined it on the interface of
//! arrival, which is just what is wanted. What they lack is sending IPv4 by an interface, or with
//! a hop limit, datagram by datagram: that takes options of the whole socket, set under a lock.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use mcast_group::{Family, Group, InterfaceIndex};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::os;
pub(crate) use crate::sys::plain::ReceiveSlots;

/// The send buffer of every socket: it bounds the largest datagram, and the default (9,216 bytes
/// on macOS) is less than UDP carries.
const SEND_BUFFER: usize = 256 * 1024;

/// A UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) socket: socket2::Socket,
    pub(super) family: Family,
    /// It is bound to a group, from whose address these kernels would send.
    pub(super) bound_to_group: bool,
    pub(super) multicast_v4: Mutex<MulticastV4>,
}

/// What the socket's options say about IPv4 multicast that is sent.
#[derive(Debug)]
pub(super) struct MulticastV4 {
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
        let multicast_v4 = MulticastV4 { hop_limit: 1, hop_limit_set: 1, interface_set: None };
        let socket = Self { socket, family, bound_to_group: false, multicast_v4: Mutex::new(multicast_v4) };
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

    /// They are told always.
    pub(crate) fn tell_no_details(&self) -> io::Result<()> {
        Ok(())
    }

    /// It is told always.
    pub(crate) fn tell_interface(&self, _on: bool) -> io::Result<()> {
        Ok(())
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

    /// The hop limit of multicast that is sent.
    pub(crate) fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        match self.family {
            Family::V4 => {
                let mut options = self.multicast_v4.lock().unwrap_or_else(PoisonError::into_inner);
                options.hop_limit = hops;
                self.use_hop_limit(&mut options, hops)
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

    pub(in crate::sys) fn set<T: Copy>(
        &self,
        level: libc::c_int,
        option: libc::c_int,
        value: T,
    ) -> io::Result<()> {
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

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
