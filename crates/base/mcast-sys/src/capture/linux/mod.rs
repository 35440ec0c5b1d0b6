//! Linux: packet sockets (`packet(7)`).

mod ring;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::{io, ptr};

use libc::c_int;
use mcast_group::InterfaceIndex;
use socket2::{SockFilter, SockRef};

use super::{CaptureSettings, FilterInstruction, LinkLayer, PacketBatch};
use crate::socket_option::packet_socket;
use crate::socket_option::{self, check};
use ring::Ring;
pub use ring::{BATCH_BYTES, BATCH_PACKETS, MAX_FRAME_BYTES};

/// A packet socket, bound to an interface.
#[derive(Debug)]
pub struct CaptureSocket {
    /// The ring that packets are written to, if any. It is declared first so that it is unmapped before the
    /// socket is closed.
    ring: Option<Ring>,
    fd: OwnedFd,
}

impl CaptureSocket {
    /// Opens a capture on the interface. When it returns, the system buffers at least the frames that
    /// the settings accept.
    pub fn open(interface: InterfaceIndex, settings: &CaptureSettings<'_>) -> io::Result<Self> {
        // Protocol 0 receives nothing before the socket is bound.
        let fd = socket_option::open(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)?;
        let mut socket = Self { ring: None, fd };
        let on: c_int = 1;
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &on)?;
        socket.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &on)?;
        if !settings.outgoing {
            socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)?;
        }
        socket.set_buffer_size(settings.buffer_size)?;
        socket.attach_filter(settings.filter)?;
        // Before the socket is bound: while the kernel exchanges the buffers of a bound one, it ignores that the interface
        // comes up (`packet_set_ring`, Linux 6.18), and nothing is ever received.
        if settings.in_blocks {
            socket.ring = Some(Ring::enable(socket.as_fd(), settings.buffer_size)?);
        }
        packet_socket::bind(socket.as_fd(), interface)?;
        socket.open_address_filter(interface, settings)?;
        Ok(socket)
    }

    /// Returns the kind of link; the inner error is the number of an unknown kind.
    pub fn link_layer(&self) -> io::Result<Result<LinkLayer, u16>> {
        const ARPHRD_RAWIP: u16 = 519;
        // SAFETY: zeros are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is `length` bytes of memory that the kernel may write to.
        check(unsafe {
            libc::getsockname(self.fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut length)
        })?;
        Ok(match address.sll_hatype {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Ok(LinkLayer::Ethernet),
            libc::ARPHRD_NONE
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | ARPHRD_RAWIP => Ok(LinkLayer::Ip),
            other => Err(other),
        })
    }

    /// Fills the batch without waiting; `WouldBlock` when there is nothing.
    pub fn receive(&mut self, batch: &mut PacketBatch) -> io::Result<()> {
        let Some(ring) = &mut self.ring else { return ring::receive(self.fd.as_fd(), batch) };
        match ring.take(&mut batch.memory) {
            Some(length) => {
                ring::read(batch, length);
                Ok(())
            }
            None => Err(self.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into())),
        }
    }

    /// Returns and clears the socket's pending error, for example that its interface went down.
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        let number: c_int = self.get(libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((number != 0).then(|| io::Error::from_raw_os_error(number)))
    }

    /// Returns the number of packets dropped since the last call.
    pub fn take_dropped(&self) -> io::Result<u32> {
        // Each reading resets the kernel's counters.
        let counts: libc::tpacket_stats = self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(counts.tp_drops)
    }

    /// Returns the size of the receive buffer that the system granted, in bytes.
    pub fn buffer_size(&self) -> io::Result<usize> {
        if let Some(ring) = &self.ring {
            return Ok(ring.bytes());
        }
        let size: c_int = self.get(libc::SOL_SOCKET, libc::SO_RCVBUF)?;
        Ok(usize::try_from(size).unwrap_or(0))
    }

    /// Requests a receive buffer size. With `CAP_NET_ADMIN` it may exceed `net.core.rmem_max`.
    fn set_buffer_size(&self, size: usize) -> io::Result<()> {
        let size = c_int::try_from(size).unwrap_or(c_int::MAX);
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
            .or_else(|_| self.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &size))
    }

    /// Attaches a program that accepts or rejects packets; an empty one accepts all.
    fn attach_filter(&self, program: &[FilterInstruction]) -> io::Result<()> {
        if program.is_empty() {
            return Ok(());
        }
        let program: Vec<_> =
            program.iter().map(|each| SockFilter::new(each.code, each.jt, each.jf, each.k)).collect();
        SockRef::from(&self.fd).attach_filter(&program)
    }

    /// Opens the interface's address filter as the settings request, until the socket is closed.
    fn open_address_filter(
        &self,
        interface: InterfaceIndex,
        settings: &CaptureSettings<'_>,
    ) -> io::Result<()> {
        let add =
            |kind, address: &[u8]| packet_socket::add_membership(self.fd.as_fd(), interface, kind, address);
        if settings.promiscuous {
            add(libc::PACKET_MR_PROMISC, &[])?;
        }
        if settings.all_multicast {
            add(libc::PACKET_MR_ALLMULTI, &[])?;
        }
        settings.hardware_groups.iter().try_for_each(|group| add(libc::PACKET_MR_MULTICAST, &group.0))
    }

    fn set(&self, level: c_int, option: c_int, value: &c_int) -> io::Result<()> {
        socket_option::set(self.fd.as_fd(), level, option, value)
    }

    fn get<T: socket_option::Plain>(&self, level: c_int, option: c_int) -> io::Result<T> {
        socket_option::read(self.fd.as_fd(), level, option)
    }
}

impl AsFd for CaptureSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns what this system lacks for capturing, if that is what the error means.
pub fn missing(os: &io::Error) -> Option<&'static str> {
    let lacks_packet_sockets = os.raw_os_error() == Some(libc::EAFNOSUPPORT);
    lacks_packet_sockets.then_some("this kernel has no packet sockets (CONFIG_PACKET)")
}

/// Returns whether the kernel could not describe a packet's offloads in the header that `PACKET_VNET_HDR`
/// requests, and has discarded the packet.
pub fn is_unreadable(os: &io::Error) -> bool {
    os.raw_os_error() == Some(libc::EINVAL)
}
