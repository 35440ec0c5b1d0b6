//! Control messages: what the kernel says about a datagram, and what it is told.

use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use mcast_group::InterfaceIndex;

use crate::sys::Received;

/// Bytes of control messages that one received buffer can carry: both packet infos, hop limits
/// and traffic classes, a time, a drop count and a segment size.
pub(crate) const RECEIVE_SPACE: usize = 256;
/// Bytes of control messages that one sent message can carry.
pub(crate) const SEND_SPACE: usize = 128;

/// Memory for control messages, aligned as `cmsghdr` needs.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Space<const BYTES: usize>(pub(crate) MaybeUninit<[u8; BYTES]>);

impl<const BYTES: usize> Space<BYTES> {
    pub(crate) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// Reads the control messages of a received header into `received`.
///
/// # Safety
/// `header` must be as `recvmsg` or `recvmmsg` left it, its control buffer still alive.
pub(crate) unsafe fn read(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller guarantees a header whose control buffer is valid for `msg_controllen`.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header inside the buffer.
        let (level, kind, data) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, libc::CMSG_DATA(message)) };
        // SAFETY: as above; the header says how long it is with its data.
        let length = unsafe { (*message).cmsg_len } as usize;
        let value = Value { data, length: length.saturating_sub(HEADER) };
        apply(level, kind, value, received);
        // SAFETY: `message` is a header of this control buffer.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
}

/// `CMSG_LEN(0)`: the bytes before a message's data.
// SAFETY: CMSG_LEN only computes.
const HEADER: usize = unsafe { libc::CMSG_LEN(0) } as usize;

struct Value {
    data: *const u8,
    length: usize,
}

impl Value {
    /// The value, if the message is long enough to hold one.
    fn get<T: Copy>(&self) -> Option<T> {
        if self.length < size_of::<T>() {
            return None;
        }
        // SAFETY: `data` points at `length` bytes written by the kernel, enough for a `T`, which
        // is plain data in every use here; it need not be aligned.
        Some(unsafe { self.data.cast::<T>().read_unaligned() })
    }
}

fn apply(level: libc::c_int, kind: libc::c_int, value: Value, received: &mut Received) {
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
                received.interface = InterfaceIndex::new(info.ipi6_ifindex.into());
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

/// Writes control messages into a buffer, one after the other.
pub(crate) struct Writer<'a> {
    space: &'a mut Space<SEND_SPACE>,
    used: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(space: &'a mut Space<SEND_SPACE>) -> Self {
        Self { space, used: 0 }
    }

    /// Appends a message. All that are ever written together fit [`SEND_SPACE`].
    pub(crate) fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: these two only compute.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        debug_assert!(self.used + space <= SEND_SPACE, "control messages outgrew their space");
        if self.used + space > SEND_SPACE {
            return;
        }
        // SAFETY: `used` is a multiple of the alignment of `cmsghdr` (CMSG_SPACE rounds up) and
        // `space` bytes from there on lie inside the buffer, which is aligned to 8.
        unsafe {
            let message = self.space.as_mut_ptr().cast::<u8>().add(self.used).cast::<libc::cmsghdr>();
            std::ptr::write_bytes(message.cast::<u8>(), 0, space);
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = length as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }

    pub(crate) fn finish(self, header: &mut libc::msghdr) {
        if self.used > 0 {
            header.msg_control = self.space.as_mut_ptr();
            header.msg_controllen = self.used as _;
        }
    }
}
