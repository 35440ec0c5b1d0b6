//! What is particular to FreeBSD.

use std::ffi::CStr;
use std::mem::{offset_of, size_of};

use mcast_group::InterfaceIndex;
use socket2::Socket;

/// Bytes of `struct rt_msghdr` (`net/route.h`): 32 up to `rtm_inits`, which is a long, and
/// `struct rt_metrics`, which is fourteen; and what addresses after it are padded to.
pub(crate) const ROUTE_HEADER: usize = 32 + 15 * size_of::<libc::c_ulong>();
pub(crate) const ROUTE_ALIGNMENT: usize = size_of::<libc::c_long>();

const _: () = {
    assert!(offset_of!(libc::if_announcemsghdr, ifan_type) == 3);
    assert!(offset_of!(libc::if_announcemsghdr, ifan_index) == 4);
    assert!(offset_of!(libc::if_announcemsghdr, ifan_what) == 22);
};

/// Whether there is a link, as far as the interface has a notion of one.
pub(crate) fn has_carrier(_socket: &Socket, _name: &CStr, data: Option<&libc::if_data>) -> bool {
    data.is_none_or(|data| libc::c_int::from(data.ifi_link_state) != libc::LINK_STATE_DOWN)
}

/// The interface that a message (`struct if_announcemsghdr`) says has gone.
pub(crate) fn deleted(message: &[u8]) -> Option<InterfaceIndex> {
    let kind = libc::c_int::from(*message.get(3)?);
    let index = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let what = u16::from_ne_bytes(*message.get(22..)?.first_chunk()?);
    InterfaceIndex::new(index.into())
        .filter(|_| kind == libc::RTM_IFANNOUNCE && libc::c_int::from(what) == libc::IFAN_DEPARTURE)
}

/// Whether a routing message says that interfaces or addresses have changed.
pub(crate) fn is_change(kind: libc::c_int) -> bool {
    matches!(kind, libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_IFANNOUNCE)
}
