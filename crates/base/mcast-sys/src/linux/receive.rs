//! Receives batches of datagrams with `recvmmsg(2)`, and parses what the kernel reports with each.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

use super::address::read_address;
use super::socket::Socket;
use crate::cmsg::{self, Space, Value};
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
    unsafe { read(header, &mut received) };
    Ok(received)
}

// Control messages: metadata that the kernel reports with a received datagram, and settings passed
// with a sent one.

/// The size of the control messages of a received buffer: both packet infos, hop limits and traffic
/// classes, a time, a drop count and a segment size.
pub(crate) const RECEIVE_SPACE: usize = 320;
/// The size of the control messages of a sent buffer.
pub(crate) const SEND_SPACE: usize = 160;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` or `recvmmsg` left it, and its control buffer must be alive.
#[inline]
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
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
