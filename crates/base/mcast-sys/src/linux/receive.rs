//! Receives datagrams, one or a batch, and empties the kernel's error queue.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::address::read_address;
use super::receive_slots::{RECEIVE_SPACE, ReceiveSlots, finish, receive_header, vector_of};
use super::socket::Socket;
use crate::cmsg::{self, Space};
use crate::{ReceiveBuffer, Received};

/// An error in the kernel's queue (`IP_RECVERR`).
struct QueuedError {
    /// Whether an ICMP message reported it.
    is_from_network: bool,
    number: libc::c_int,
    /// Where the datagram that failed was sent to.
    destination: Option<SocketAddr>,
}

impl Socket {
    /// The kernel can coalesce datagrams, since Linux 5.0.
    pub const COALESCES: bool = true;

    /// Lets the kernel coalesce equally long datagrams into one buffer (`UDP_GRO`). An older kernel
    /// continues to deliver them one by one.
    pub fn enable_gro(&self) -> io::Result<()> {
        match self.set(libc::SOL_UDP, libc::UDP_GRO, 1 as libc::c_int) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            result => result,
        }
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut received = Received::default();
        self.receive_into(buffer, &mut [], &mut received)?;
        Ok(received)
    }

    /// Receives one datagram into `buffer`, and what does not fit there into `rest`. The result is written to
    /// `received`, because returning it would copy it several times. It is meaningless after an error.
    #[inline]
    pub fn receive_into(
        &self,
        buffer: &mut [u8],
        rest: &mut [u8],
        received: &mut Received,
    ) -> io::Result<()> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vectors = [vector_of(buffer), vector_of(rest)];
        let count = if rest.is_empty() { 1 } else { 2 };
        let mut header = receive_header(name.as_mut_ptr(), &mut vectors[..count], &raw mut space);
        // SAFETY: every pointer in the header points to memory that outlives the call.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_TRUNC) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: `recvmsg` succeeded on this header, and its buffers are alive.
        unsafe { finish(&header, length, buffer.len() + rest.len(), received) }
    }

    /// Receives one datagram without metadata except its source, by a cheaper call.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut name_length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: `buffer` and `name` are live and have the given lengths.
        let length = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
                name.as_mut_ptr().cast(),
                &raw mut name_length,
            )
        };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel wrote an address of the socket's family.
        let source = unsafe { read_address(name.as_ptr()) }.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Received::bare(length, buffer.len(), source))
    }

    /// Empties the kernel's error queue (`IP_RECVERR`), which takes space from received datagrams
    /// and ends every wait. Returns whether any error came from the network: in that case, the
    /// error of the last call was one of these and does not concern the call.
    pub fn forget_errors(&self) -> bool {
        let mut from_network = false;
        while let Some(error) = self.next_error() {
            from_network |= error.is_from_network;
        }
        from_network
    }

    /// Empties the kernel's error queue, and returns the destinations that ICMP reports as unreachable.
    pub fn take_unreachable(&self) -> Vec<SocketAddr> {
        let is_unreachable = |error: &QueuedError| {
            matches!(error.number, libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH)
        };
        let errors = std::iter::from_fn(|| self.next_error());
        let unreachable = errors.filter(|error| error.is_from_network && is_unreachable(error));
        unreachable.filter_map(|error| error.destination).collect()
    }

    /// Returns the next queued error.
    fn next_error(&self) -> Option<QueuedError> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut space = Space::<RECEIVE_SPACE>::new();
        // SAFETY: an all-zero `msghdr` is valid: no payload.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = name.as_mut_ptr().cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_control = space.as_mut_ptr();
        header.msg_controllen = RECEIVE_SPACE as _;
        // SAFETY: the header points to `name` and `space`, which outlive the call.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE) };
        if length < 0 {
            return None;
        }
        // SAFETY: the kernel wrote the destination of the datagram that failed, or left the zeros, which are not an address.
        let destination = unsafe { read_address(name.as_ptr()) };
        let mut queued = QueuedError { is_from_network: false, number: 0, destination };
        // SAFETY: `recvmsg` succeeded on this header, and `space` is alive.
        unsafe {
            cmsg::each(&header, |level, kind, value| {
                if let (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) =
                    (level, kind)
                    && let Some(error) = value.get::<libc::sock_extended_err>()
                {
                    let icmp = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];
                    queued.is_from_network = icmp.contains(&error.ee_origin);
                    queued.number = error.ee_errno as libc::c_int;
                }
            });
        }
        Some(queued)
    }

    /// Receives into as many of `buffers` as there are datagrams, and returns the number.
    ///
    /// [`ReceiveSlots::received`] returns the results.
    pub fn receive_many(&self, slots: &mut ReceiveSlots, buffers: &mut [ReceiveBuffer]) -> io::Result<usize> {
        slots.receive(&self.socket, buffers)
    }
}
