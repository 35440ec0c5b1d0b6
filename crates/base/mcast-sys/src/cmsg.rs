//! Reading and writing Unix control messages in memory.

use std::mem::{MaybeUninit, size_of};
use std::net::IpAddr;

use mcast_group::{Family, InterfaceIndex};

use crate::SendRequest;

/// Memory for control messages, with the alignment of `cmsghdr`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Space<const BYTES: usize>(MaybeUninit<[u8; BYTES]>);

impl<const BYTES: usize> Space<BYTES> {
    pub(crate) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// Calls `show` with the level, type and value of each control message of a received header.
///
/// # Safety
/// `header` must be as `recvmsg` or `recvmmsg` left it, and its control buffer must be alive.
#[inline]
pub(crate) unsafe fn each(header: &libc::msghdr, mut show: impl FnMut(libc::c_int, libc::c_int, Value)) {
    // Like CMSG_FIRSTHDR and CMSG_NXTHDR, which check the same several times.
    let mut message = header.msg_control.cast::<u8>();
    let mut left: usize = header.msg_controllen as _;
    while left >= HEADER {
        // SAFETY: the caller guarantees a control buffer that is valid for `msg_controllen`, of which `left` bytes begin
        // here.
        let head = unsafe { message.cast::<libc::cmsghdr>().read_unaligned() };
        let length: usize = head.cmsg_len as _;
        if length < HEADER || length > left {
            break;
        }
        let data = message.wrapping_add(HEADER).cast_const();
        show(head.cmsg_level, head.cmsg_type, Value { data, length: length - HEADER });
        let whole = length.next_multiple_of(ALIGNMENT);
        message = message.wrapping_add(whole);
        left = left.saturating_sub(whole);
    }
}

/// `CMSG_LEN(0)`: the number of bytes before a message's data.
// SAFETY: CMSG_LEN only computes a number.
const HEADER: usize = unsafe { libc::CMSG_LEN(0) } as usize;

/// The alignment of messages.
// SAFETY: CMSG_SPACE only computes a number.
const ALIGNMENT: usize = unsafe { libc::CMSG_SPACE(1) } as usize - HEADER;

/// The value of a control message, valid during the callback.
pub(crate) struct Value {
    data: *const u8,
    length: usize,
}

impl Value {
    /// Returns the value if the message is long enough.
    #[inline]
    pub(crate) fn get<T: Copy>(&self) -> Option<T> {
        if self.length < size_of::<T>() {
            return None;
        }
        // SAFETY: `data` points to `length` bytes written by the kernel, enough for a `T`, which is
        // plain data in every use here; the read need not be aligned.
        Some(unsafe { self.data.cast::<T>().read_unaligned() })
    }
}

/// Writes control messages into a buffer, one after the other.
pub(crate) struct Writer<'a, const BYTES: usize> {
    space: &'a mut Space<BYTES>,
    used: usize,
}

impl<'a, const BYTES: usize> Writer<'a, BYTES> {
    pub(crate) fn new(space: &'a mut Space<BYTES>) -> Self {
        Self { space, used: 0 }
    }

    /// Appends a message. `BYTES` must suffice for all messages that are written together.
    pub(crate) fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: both functions only compute a number.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        debug_assert!(self.used + space <= BYTES, "the control messages exceed their space");
        if self.used + space > BYTES {
            return;
        }
        // SAFETY: `used` is a multiple of the alignment of `cmsghdr` (CMSG_SPACE rounds up), and
        // the next `space` bytes lie inside the buffer, which is aligned to 8.
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

    /// Adds what a datagram needs by IPv6. `interface`: if it must be named.
    pub(crate) fn push_ipv6(&mut self, request: &SendRequest<'_>, interface: Option<InterfaceIndex>) {
        let source = match request.source {
            Some(IpAddr::V6(source)) => source.octets(),
            _ => [0; 16],
        };
        if let Some(interface) = interface {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: source },
                // The field is signed on Android and unsigned elsewhere.
                ipi6_ifindex: interface.number() as _,
            };
            self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        if let Some(hops) = request.hop_limit {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::c_int::from(hops));
        }
        if let Some(class) = request.traffic_class {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::c_int::from(class));
        }
    }

    pub(crate) fn finish(self, header: &mut libc::msghdr) {
        if self.used > 0 {
            header.msg_control = self.space.as_mut_ptr();
            header.msg_controllen = self.used as _;
        }
    }
}

/// Returns the option level of a family, which is also that of its control messages.
pub(crate) fn option_level(family: Family) -> libc::c_int {
    match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    }
}
