//! Receiving one datagram or many at once.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::address::read_address;
use super::control::{self, RECEIVE_SPACE};
use super::socket::Socket;
use crate::ReceiveBuffer;
use crate::Received;
use crate::cmsg::{self, Space};

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
    #[inline]
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut header = receive_header(name.as_mut_ptr(), &raw mut vector, &raw mut space);
        // SAFETY: every pointer in the header points to memory that outlives the call.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_TRUNC) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: `recvmsg` succeeded on this header, and its buffers are alive.
        unsafe { finish(&header, length, buffer.len()) }
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
        let room = buffers.len().min(slots.headers.len());
        slots.filled = 0;
        // Preparing a slot takes time even if it stays unused, so a few are prepared first, and
        // more if those are filled.
        let mut count = slots.expected;
        while slots.filled < room {
            count = count.min(room - slots.filled);
            match self.receive_some(slots, buffers, count) {
                Ok(received) if received < count => break,
                Ok(_) => count = room,
                Err(error) if slots.filled == 0 => return Err(error),
                // Datagrams already received are returned first.
                Err(_) => break,
            }
        }
        slots.expected = (2 * slots.filled).max(MIN_PREPARED);
        Ok(slots.filled)
    }

    /// Receives with one system call into the slots after those already filled.
    fn receive_some(
        &self,
        slots: &mut ReceiveSlots,
        buffers: &mut [ReceiveBuffer],
        count: usize,
    ) -> io::Result<usize> {
        let first = slots.filled;
        slots.prepare(first, &mut buffers[first..first + count]);
        // SAFETY: `prepare` pointed these headers to memory of `slots` and to `buffers`, which both
        // outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                slots.headers[first..first + count].as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_TRUNC as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        slots.filled += received;
        Ok(received)
    }
}

/// The minimum number of slots prepared for a batched receive.
const MIN_PREPARED: usize = 8;

/// The memory of a batched receive, allocated once: headers, names and control messages.
pub struct ReceiveSlots {
    headers: Vec<libc::mmsghdr>,
    /// The number that the last receive filled.
    filled: usize,
    /// The number that the next receive is expected to fill, with a margin.
    expected: usize,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    spaces: Vec<Space<RECEIVE_SPACE>>,
}

// SAFETY: the pointers inside are set and used within one `receive_many`, and read afterwards only
// for the control messages, which the same value owns.
unsafe impl Send for ReceiveSlots {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for ReceiveSlots {}

impl ReceiveSlots {
    /// Creates slots for this number of datagrams.
    pub fn new(count: usize) -> Self {
        // SAFETY: all-zero headers, vectors and names are valid.
        let (header, vector, name) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Self {
            headers: vec![header; count],
            filled: 0,
            expected: count,
            vectors: vec![vector; count],
            names: vec![name; count],
            spaces: vec![Space::new(); count],
        }
    }

    /// Points the headers from `first` on to these buffers.
    fn prepare(&mut self, first: usize, buffers: &mut [ReceiveBuffer]) {
        for (index, buffer) in (first..).zip(buffers) {
            let bytes = buffer.bytes_mut();
            self.vectors[index] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            self.headers[index].msg_hdr = receive_header(
                &raw mut self.names[index],
                &raw mut self.vectors[index],
                &raw mut self.spaces[index],
            );
        }
    }

    /// Returns the result of the last `receive_many` for the buffer with this index.
    pub fn received(&self, index: usize) -> io::Result<Received> {
        let header = self.headers[..self.filled].get(index).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: `recvmmsg` filled this header, and `self` owns its name and control memory.
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
    // SAFETY: an all-zero `msghdr` is valid. (A literal is not possible: musl's has private
    // padding.)
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = space.cast();
    header.msg_controllen = RECEIVE_SPACE as _;
    header
}

/// Reads a header that the kernel filled.
///
/// # Safety
/// The header must be as `recvmsg` or `recvmmsg` left it on success, and its memory must be alive.
#[inline]
unsafe fn finish(header: &libc::msghdr, full_length: usize, capacity: usize) -> io::Result<Received> {
    // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family.
    let source = unsafe { read_address(header.msg_name.cast()) }.ok_or(io::ErrorKind::InvalidData)?;
    let mut received = Received {
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        ..Received::bare(full_length, capacity, source)
    };
    // SAFETY: guaranteed by the caller.
    unsafe { control::read(header, &mut received) };
    Ok(received)
}
