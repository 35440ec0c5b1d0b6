//! Code specific to Apple's systems.

use std::ffi::CStr;
use std::io;
use std::mem::{offset_of, size_of};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use mcast_group::{Family, InterfaceIndex};
use socket2::Socket;

use crate::Received;
use crate::cmsg::Value;

/// The size of `struct rt_msghdr`, and the alignment of the addresses after it.
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

/// Bits of a medium's status (`net/if_media.h`): the status is valid, and the link is active.
const IFM_AVALID: libc::c_int = 1;
const IFM_ACTIVE: libc::c_int = 2;

/// Returns whether there is a link. Interfaces without the notion of one, such as tunnels, count as
/// linked.
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
    for (slot, byte) in request.name.iter_mut().zip(name.to_bytes()) {
        *slot = *byte;
    }
    // SAFETY: the request is a valid `ifmediareq` whose list is empty.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFMEDIA, &raw mut request) };
    answer < 0 || request.status & IFM_AVALID == 0 || request.status & IFM_ACTIVE != 0
}

/// Returns `None`: Apple's kernel does not report deleted interfaces.
pub(crate) fn deleted(_message: &[u8]) -> Option<InterfaceIndex> {
    None
}

/// Returns whether a routing message reports changed interfaces or addresses.
pub(crate) fn is_change(kind: libc::c_int) -> bool {
    matches!(kind, libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR)
}

/// Options that make the kernel report the metadata of IPv4 datagrams, at level `IPPROTO_IP`.
pub(crate) const DETAILS_V4: [libc::c_int; 3] = [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS];

/// Options that make the kernel report the time of arrival, at level `SOL_SOCKET`, in microseconds.
pub(crate) const TIMES: [(libc::c_int, libc::c_int); 1] = [(libc::SO_TIMESTAMP, 1)];

/// The type of `IP_TOS` in an outgoing control message.
pub(crate) type TrafficClassV4 = libc::c_int;

/// Returns the maximum number of descriptors under this hard limit: `setrlimit` refuses more than
/// `OPEN_MAX` (`sys/syslimits.h`) even if the hard limit is infinite.
pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    const OPEN_MAX: libc::rlim_t = 10_240;

    hard_limit.min(OPEN_MAX)
}

/// Reads control messages that only Apple's systems have.
pub(crate) fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    if (level, kind) == (libc::IPPROTO_IP, libc::IP_PKTINFO)
        && let Some(info) = value.get::<libc::in_pktinfo>()
    {
        received.destination = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
        received.interface = InterfaceIndex::new(info.ipi_ifindex);
    }
}

/// Makes everything a socket sends leave by this interface (`IP_BOUND_IF`, `IPV6_BOUND_IF`).
pub(crate) fn leave_by(socket: &Socket, family: Family, interface: InterfaceIndex) -> io::Result<()> {
    let index = NonZeroU32::new(interface.number());
    match family {
        Family::V4 => socket.bind_device_by_index_v4(index),
        Family::V6 => socket.bind_device_by_index_v6(index),
    }
}
