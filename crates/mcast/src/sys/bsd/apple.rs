//! What is particular to Apple's systems.

use std::ffi::CStr;
use std::mem::{offset_of, size_of};
use std::os::fd::AsRawFd;

use mcast_group::InterfaceIndex;
use socket2::Socket;

/// Bytes of `struct rt_msghdr`, and what addresses after it are padded to.
pub(crate) const ROUTE_HEADER: usize = size_of::<libc::rt_msghdr>();
pub(crate) const ROUTE_ALIGNMENT: usize = size_of::<u32>();

const _: () = {
    assert!(ROUTE_HEADER == 92);
    assert!(offset_of!(libc::rt_msghdr, rtm_index) == 4 && offset_of!(libc::rt_msghdr, rtm_flags) == 8);
    assert!(offset_of!(libc::rt_msghdr, rtm_addrs) == 12 && offset_of!(libc::rt_msghdr, rtm_pid) == 16);
    assert!(offset_of!(libc::rt_msghdr, rtm_seq) == 20 && offset_of!(libc::rt_msghdr, rtm_errno) == 24);
};

/// `struct ifmediareq` (`net/if.h`, which packs it to four bytes).
#[repr(C, packed(4))]
struct MediaRequest {
    name: [u8; libc::IFNAMSIZ],
    current: libc::c_int,
    mask: libc::c_int,
    status: libc::c_int,
    active: libc::c_int,
    count: libc::c_int,
    list: *mut libc::c_int,
}

/// `SIOCGIFMEDIA`, which is `_IOWR('i', 56, struct ifmediareq)`.
const SIOCGIFMEDIA: libc::c_ulong = 0xc000_6938 | (size_of::<MediaRequest>() as libc::c_ulong) << 16;
#[cfg(target_pointer_width = "64")]
const _: () = assert!(SIOCGIFMEDIA == 0xc02c_6938);

/// Bits of a medium's status (`net/if_media.h`): it is known, and there is a link.
const IFM_AVALID: libc::c_int = 1;
const IFM_ACTIVE: libc::c_int = 2;

/// Whether there is a link, as far as the interface has a notion of one: a tunnel has none.
pub(crate) fn has_carrier(socket: &Socket, name: &CStr, _data: Option<&libc::if_data>) -> bool {
    let mut request = MediaRequest {
        name: [0; libc::IFNAMSIZ],
        current: 0,
        mask: 0,
        status: 0,
        active: 0,
        count: 0,
        list: std::ptr::null_mut(),
    };
    for (place, byte) in request.name.iter_mut().zip(name.to_bytes()) {
        *place = *byte;
    }
    // SAFETY: the request is an `ifmediareq` with room for no list.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFMEDIA, &raw mut request) };
    answer < 0 || request.status & IFM_AVALID == 0 || request.status & IFM_ACTIVE != 0
}

/// Apple's kernel does not tell that an interface was deleted.
pub(crate) fn deleted(_message: &[u8]) -> Option<InterfaceIndex> {
    None
}

/// Whether a routing message says that interfaces or addresses have changed.
pub(crate) fn is_change(kind: libc::c_int) -> bool {
    matches!(kind, libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR)
}
