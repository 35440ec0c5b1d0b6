//! Packet sockets: opening, configuring and reading them.

use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_void};
use mcast_group::InterfaceIndex;
use mcast_packet::{LinkType, MacAddress};

use super::ring::Ring;
use super::{block, filter, receive};
use crate::batch::Batch;
use crate::{CaptureOptions, ErrorKind, Filter};

/// A packet socket, bound to an interface.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The ring that packets are written to, if any. It is declared first so that it is unmapped before the
    /// socket is closed.
    ring: Option<Ring>,
    fd: OwnedFd,
}

impl Socket {
    pub(crate) fn open(interface: InterfaceIndex, options: &CaptureOptions) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a plain system call. Protocol 0 receives nothing before the socket is bound.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is new and has no other owner.
        let socket = Self { ring: None, fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        let on: c_int = 1;
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR as c_int, &on)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA as c_int, &on)?;
        socket.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &on)?;
        if !options.outgoing {
            socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING as c_int, &on)?;
        }
        socket.set_buffer_size(options.buffer_size)?;
        socket.attach_filter(options.filter)?;
        socket.bind(interface)?;
        socket.open_address_filter(interface, options)?;
        Ok(socket)
    }

    pub(crate) fn link_type(&self) -> io::Result<Result<LinkType, u16>> {
        const ARPHRD_RAWIP: u16 = 519;
        // SAFETY: zeros are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is `length` bytes of memory that the kernel may write to.
        check(unsafe {
            libc::getsockname(self.fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut length)
        })?;
        Ok(match address.sll_hatype {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Ok(LinkType::Ethernet),
            libc::ARPHRD_NONE
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | ARPHRD_RAWIP => Ok(LinkType::Ip),
            other => Err(other),
        })
    }

    pub(crate) fn enable_blocks(&mut self, bytes: usize) -> io::Result<()> {
        self.ring = Some(Ring::enable(self.fd.as_fd(), bytes)?);
        Ok(())
    }

    pub(crate) fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        let Some(ring) = &mut self.ring else { return receive::receive(self.fd.as_fd(), batch) };
        match ring.take(&mut batch.memory) {
            Some(length) => {
                block::read(batch, length);
                Ok(())
            }
            None => Err(self.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into())),
        }
    }

    /// Returns and clears the socket's pending error, for example that its interface went down.
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut number: c_int = 0;
        self.get(libc::SOL_SOCKET, libc::SO_ERROR, &mut number)?;
        Ok((number != 0).then(|| io::Error::from_raw_os_error(number)))
    }

    pub(crate) fn take_dropped(&self) -> io::Result<u32> {
        // Each reading resets the kernel's counters.
        let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS as c_int, &mut counts)?;
        Ok(counts.tp_drops)
    }

    pub(crate) fn buffer_size(&self) -> io::Result<usize> {
        if let Some(ring) = &self.ring {
            return Ok(ring.bytes());
        }
        let mut size: c_int = 0;
        self.get(libc::SOL_SOCKET, libc::SO_RCVBUF, &mut size)?;
        Ok(usize::try_from(size).unwrap_or(0))
    }

    /// Requests a receive buffer size. With `CAP_NET_ADMIN` it may exceed `net.core.rmem_max`.
    fn set_buffer_size(&self, size: usize) -> io::Result<()> {
        let size = c_int::try_from(size).unwrap_or(c_int::MAX);
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
            .or_else(|_| self.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &size))
    }

    fn attach_filter(&self, filter: Filter) -> io::Result<()> {
        let Some(mut program) = filter::program(filter) else { return Ok(()) };
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn bind(&self, interface: InterfaceIndex) -> io::Result<()> {
        // SAFETY: zeros are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index_number(interface)?;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is `length` bytes of initialized memory.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), ptr::from_ref(&address).cast(), length) })?;
        Ok(())
    }

    /// Opens the interface's address filter as the options request, until the socket is closed.
    fn open_address_filter(&self, interface: InterfaceIndex, options: &CaptureOptions) -> io::Result<()> {
        let request = |kind: u32, address: &[u8]| {
            let mut mr_address = [0; 8];
            mr_address.iter_mut().zip(address).for_each(|(to, from)| *to = *from);
            Ok(libc::packet_mreq {
                mr_ifindex: index_number(interface)?,
                mr_type: kind as u16,
                mr_alen: address.len() as u16,
                mr_address,
            })
        };
        let add = |request: io::Result<libc::packet_mreq>| {
            self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP as c_int, &request?)
        };
        if options.promiscuous {
            add(request(libc::PACKET_MR_PROMISC as u32, &[]))?;
        }
        if options.all_multicast {
            add(request(libc::PACKET_MR_ALLMULTI as u32, &[]))?;
        }
        options.groups.iter().try_for_each(|group| {
            add(request(libc::PACKET_MR_MULTICAST as u32, &MacAddress::of_group(*group).0))
        })
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        let value = ptr::from_ref(value).cast::<c_void>();
        // SAFETY: `value` points to `length` bytes that outlive the call; callers pass the type that the
        // option is documented to take.
        check(unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, value, length) })?;
        Ok(())
    }

    fn get<T>(&self, level: c_int, option: c_int, value: &mut T) -> io::Result<()> {
        let mut length = size_of::<T>() as libc::socklen_t;
        let value = ptr::from_mut(value).cast::<c_void>();
        // SAFETY: `value` points to `length` writable bytes, and the options read here are plain numbers, for
        // which every bit pattern is valid.
        check(unsafe { libc::getsockopt(self.fd.as_raw_fd(), level, option, value, &raw mut length) })?;
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn error_kind(os: &io::Error) -> ErrorKind {
    match os.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => ErrorKind::NoSuchInterface,
        Some(libc::EAFNOSUPPORT) => {
            ErrorKind::Unsupported("this kernel has no packet sockets (CONFIG_PACKET)")
        }
        _ => ErrorKind::System,
    }
}

/// Returns whether the kernel could not describe a packet's offloads in the header that `PACKET_VNET_HDR`
/// requests, and has discarded the packet.
pub(crate) fn is_unreadable(os: &io::Error) -> bool {
    os.raw_os_error() == Some(libc::EINVAL)
}

fn index_number(interface: InterfaceIndex) -> io::Result<c_int> {
    c_int::try_from(interface.number()).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}

pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
