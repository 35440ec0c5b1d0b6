//! Receiving.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;
use socket2::SockAddr;

use super::os;
use super::socket::Socket;
use crate::Received;
use crate::cmsg::{self, Space, Value};

impl Socket {
    /// Receives one datagram. On these systems the metadata costs nothing extra, so it is included.
    pub fn receive_bare(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer)
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = Space::<RECEIVE_SPACE>::new();
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `msghdr` is plain data, for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr();
        header.msg_controllen = RECEIVE_SPACE as _;
        // SAFETY: the closure makes the kernel write an address and its length.
        let (length, source) = unsafe {
            SockAddr::try_init(|name, name_length| {
                header.msg_name = name.cast();
                header.msg_namelen = *name_length;
                // SAFETY: every pointer in the header points to memory that outlives the call.
                let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0);
                *name_length = header.msg_namelen;
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })
        }?;
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        // The system does not report the full length of a truncated datagram.
        let mut received = Received {
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            ..Received::bare(length, length, source)
        };
        // SAFETY: `recvmsg` succeeded on this header, and its control buffer is alive.
        unsafe { read(&header, &mut received) };
        Ok(received)
    }
}

/// The size of the control messages of a received datagram: packet info (or a destination and a
/// link address), hop limit, traffic class and a time.
pub(crate) const RECEIVE_SPACE: usize = 256;
/// The size of the control messages of a sent datagram: packet info, hop limit and traffic class.
pub(crate) const SEND_SPACE: usize = 128;

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` left it, and its control buffer must be alive.
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees it.
    unsafe { cmsg::each(header, |level, kind, value| apply(level, kind, &value, received)) };
}

fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(info) = value.get::<libc::in6_pktinfo>() {
                received.destination = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                received.interface = InterfaceIndex::new(info.ipi6_ifindex);
            }
        }
        (libc::IPPROTO_IP, libc::IP_RECVTTL) => received.hop_limit = value.get(),
        (libc::IPPROTO_IP, libc::IP_RECVTOS) => received.traffic_class = value.get(),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => received.hop_limit = small_number(value),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => received.traffic_class = small_number(value),
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMP) => {
            received.time = value.get::<libc::timeval>().and_then(|time| {
                let microseconds = u32::try_from(time.tv_usec).ok()?;
                system_time(time.tv_sec, microseconds.checked_mul(1000)?)
            });
        }
        _ => os::apply(level, kind, value, received),
    }
}

/// Reads a number of at most 255, which is an `int`, or a byte on some Apple kernels.
fn small_number(value: &Value) -> Option<u8> {
    match value.get::<libc::c_int>() {
        Some(number) => u8::try_from(number).ok(),
        None => value.get(),
    }
}

pub(super) fn system_time(seconds: libc::time_t, nanoseconds: u32) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}
