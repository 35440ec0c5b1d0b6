//! The memory of receives with `recvmsg(2)` and `recvmmsg(2)`, and what the kernel reports with each datagram.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

use super::address::read_address;
use crate::cmsg::{self, Space, Value};
use crate::{ReceiveBuffer, Received};

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

    /// Receives into as many of `buffers` as there are datagrams, and returns the number.
    pub(super) fn receive(
        &mut self,
        socket: &socket2::Socket,
        buffers: &mut [ReceiveBuffer],
    ) -> io::Result<usize> {
        let room = buffers.len().min(self.headers.len());
        self.filled = 0;
        // Preparing a slot takes time even if it stays unused, so a few are prepared first, and
        // more if those are filled.
        let mut count = self.expected;
        while self.filled < room {
            count = count.min(room - self.filled);
            match self.receive_some(socket, buffers, count) {
                Ok(received) if received < count => break,
                Ok(_) => count = room,
                Err(error) if self.filled == 0 => return Err(error),
                // Datagrams already received are returned first.
                Err(_) => break,
            }
        }
        self.expected = (2 * self.filled).max(MIN_PREPARED);
        Ok(self.filled)
    }

    /// Receives with one system call into the slots after those already filled.
    fn receive_some(
        &mut self,
        socket: &socket2::Socket,
        buffers: &mut [ReceiveBuffer],
        count: usize,
    ) -> io::Result<usize> {
        let first = self.filled;
        self.prepare(first, &mut buffers[first..first + count]);
        // SAFETY: `prepare` pointed these headers to memory of `self` and to `buffers`, which both
        // outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers[first..first + count].as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_TRUNC as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let slots = self.headers[first..].iter().zip(&self.vectors[first..]);
        for ((header, vector), buffer) in slots.zip(&mut buffers[first..first + received]) {
            let length = (header.msg_len as usize).min(vector.iov_len);
            // SAFETY: the kernel has written this many bytes, of which the buffer has room for `iov_len`.
            unsafe { buffer.note_written(length) };
        }
        self.filled += received;
        Ok(received)
    }

    /// Points the headers from `first` on to these buffers.
    fn prepare(&mut self, first: usize, buffers: &mut [ReceiveBuffer]) {
        for (index, buffer) in (first..).zip(buffers) {
            self.vectors[index] = buffer.vector();
            self.headers[index].msg_hdr = receive_header(
                &raw mut self.names[index],
                std::slice::from_mut(&mut self.vectors[index]),
                &raw mut self.spaces[index],
            );
        }
    }

    /// Returns the result of the last `receive_many` for the buffer with this index.
    pub fn received(&self, index: usize) -> io::Result<Received> {
        let mut received = Received::default();
        self.read(index, &mut received)?;
        Ok(received)
    }

    /// Like [`received`](Self::received), but writes the result to `received`, which saves copies. It is meaningless
    /// after an error.
    #[inline]
    pub fn read(&self, index: usize, received: &mut Received) -> io::Result<()> {
        let header = self.headers[..self.filled].get(index).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: `recvmmsg` filled this header, and `self` owns its name and control memory.
        unsafe { finish(&header.msg_hdr, header.msg_len as usize, self.vectors[index].iov_len, received) }
    }
}

impl std::fmt::Debug for ReceiveSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveSlots").field("count", &self.headers.len()).finish()
    }
}

#[inline]
pub(super) fn vector_of(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

#[inline]
pub(super) fn receive_header(
    name: *mut libc::sockaddr_storage,
    vectors: &mut [libc::iovec],
    space: *mut Space<RECEIVE_SPACE>,
) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is valid. (A literal is not possible: musl's has private
    // padding.)
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = vectors.as_mut_ptr();
    header.msg_iovlen = vectors.len() as _;
    header.msg_control = space.cast();
    header.msg_controllen = RECEIVE_SPACE as _;
    header
}

/// Reads a header that the kernel filled into `received`.
///
/// # Safety
/// The header must be as `recvmsg` or `recvmmsg` left it on success, and its memory must be alive.
#[inline]
pub(super) unsafe fn finish(
    header: &libc::msghdr,
    full_length: usize,
    capacity: usize,
    received: &mut Received,
) -> io::Result<()> {
    // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family.
    let source = unsafe { read_address(header.msg_name.cast()) }.ok_or(io::ErrorKind::InvalidData)?;
    received.reset(full_length, capacity, source);
    received.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
    // SAFETY: guaranteed by the caller.
    unsafe { read(header, received) };
    Ok(())
}

/// The size of the control messages of a received buffer: both packet infos, hop limits and traffic
/// classes, a time, a drop count and a segment size.
pub(super) const RECEIVE_SPACE: usize = 320;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` or `recvmmsg` left it, and its control buffer must be alive.
#[inline]
unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees it.
    unsafe { cmsg::each(header, |level, kind, value| apply(level, kind, &value, received)) };
}

#[inline]
fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let Some(info) = value.get::<libc::in_pktinfo>() {
                let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                received.destination = Some(IpAddr::V4(address));
                received.interface = InterfaceIndex::new(info.ipi_ifindex.cast_unsigned());
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = value.get::<libc::in6_pktinfo>() {
                received.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                // The field is signed on Android and unsigned elsewhere.
                received.interface = InterfaceIndex::new(u32::from_ne_bytes(info.ipi6_ifindex.to_ne_bytes()));
            }
        }
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            received.hop_limit = value.get::<libc::c_int>().and_then(|hops| u8::try_from(hops).ok());
        }
        (libc::IPPROTO_IP, libc::IP_TOS) => received.traffic_class = value.get::<u8>(),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            received.traffic_class = value.get::<libc::c_int>().and_then(|class| u8::try_from(class).ok());
        }
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
            received.time = value.get::<libc::timespec>().and_then(system_time);
        }
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPING) => {
            // Three times: software, deprecated, and the device's own (`struct scm_timestamping`).
            let times = value.get::<[libc::timespec; 3]>();
            received.hardware_time =
                times.filter(|times| times[2].tv_sec != 0).and_then(|times| system_time(times[2]));
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.overflow = value.get::<u32>(),
        (libc::SOL_UDP, libc::UDP_GRO) => {
            received.segment = value.get::<libc::c_int>().and_then(|size| usize::try_from(size).ok());
        }
        _ => {}
    }
}

fn system_time(time: libc::timespec) -> Option<SystemTime> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}
