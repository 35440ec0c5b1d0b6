//! Code specific to FreeBSD.

use std::ffi::CStr;
use std::io;
use std::mem::{offset_of, size_of};
use std::net::Ipv4Addr;

use mcast_group::{Family, InterfaceIndex};
use socket2::Socket;

use super::socket::system_time;
use crate::Received;
use crate::cmsg::Value;

/// The size of `struct rt_msghdr` (`net/route.h`): 32 bytes up to `rtm_inits`, which is a long, and
/// `struct rt_metrics`, which is fourteen longs; and the alignment of the addresses after it.
pub(crate) const ROUTE_HEADER: usize = 32 + 15 * size_of::<libc::c_ulong>();
pub(crate) const ROUTE_ALIGNMENT: usize = size_of::<libc::c_long>();

#[cfg(target_pointer_width = "64")]
const _: () = assert!(ROUTE_HEADER == 152);

const _: () = {
    assert!(offset_of!(libc::if_announcemsghdr, ifan_type) == 3);
    assert!(offset_of!(libc::if_announcemsghdr, ifan_index) == 4);
    assert!(offset_of!(libc::if_announcemsghdr, ifan_what) == 22);
};

/// Returns whether there is a link. Interfaces without the notion of one count as linked.
pub(crate) fn has_carrier(_socket: &Socket, _name: &CStr, data: Option<&libc::if_data>) -> bool {
    data.is_none_or(|data| libc::c_int::from(data.ifi_link_state) != libc::LINK_STATE_DOWN)
}

/// Returns the interface that a message (`struct if_announcemsghdr`) reports as deleted.
pub(crate) fn deleted(message: &[u8]) -> Option<InterfaceIndex> {
    let kind = libc::c_int::from(*message.get(3)?);
    let index = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let what = u16::from_ne_bytes(*message.get(22..)?.first_chunk()?);
    InterfaceIndex::new(index.into())
        .filter(|_| kind == libc::RTM_IFANNOUNCE && libc::c_int::from(what) == libc::IFAN_DEPARTURE)
}

/// Returns whether a routing message reports changed interfaces or addresses.
pub(crate) fn is_change(kind: libc::c_int) -> bool {
    matches!(kind, libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_IFANNOUNCE)
}

/// Options that make the kernel report the metadata of IPv4 datagrams, at level `IPPROTO_IP`.
pub(crate) const DETAILS_V4: [libc::c_int; 4] =
    [libc::IP_RECVDSTADDR, libc::IP_RECVIF, libc::IP_RECVTTL, libc::IP_RECVTOS];

/// Options that make the kernel report the time of arrival, at level `SOL_SOCKET`, in nanoseconds.
pub(crate) const TIMES: [(libc::c_int, libc::c_int); 2] =
    [(libc::SO_TIMESTAMP, 1), (libc::SO_TS_CLOCK, libc::SO_TS_REALTIME)];

/// The type of `IP_TOS` in an outgoing control message.
pub(crate) type TrafficClassV4 = u8;

/// Returns the maximum number of descriptors under this hard limit.
pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
    hard_limit
}

/// The start of `struct sockaddr_dl`, which control messages truncate.
#[derive(Clone, Copy)]
#[repr(C)]
struct LinkAddress {
    length: u8,
    family: u8,
    index: u16,
}

const _: () = assert!(offset_of!(libc::sockaddr_dl, sdl_index) == offset_of!(LinkAddress, index));

/// Reads control messages that only FreeBSD has.
pub(crate) fn apply(level: libc::c_int, kind: libc::c_int, value: &Value, received: &mut Received) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_RECVDSTADDR) => {
            let octets = value.get::<libc::in_addr>().map(|address| address.s_addr.to_ne_bytes());
            received.destination = octets.map(|octets| Ipv4Addr::from(octets).into());
        }
        (libc::IPPROTO_IP, libc::IP_RECVIF) => {
            let link = value.get::<LinkAddress>();
            received.interface = link.and_then(|link| InterfaceIndex::new(link.index.into()));
        }
        (libc::SOL_SOCKET, libc::SCM_REALTIME) => {
            received.time = value
                .get::<libc::timespec>()
                .and_then(|time| system_time(time.tv_sec, u32::try_from(time.tv_nsec).ok()?));
        }
        _ => {}
    }
}

/// Does nothing: FreeBSD has no such option, and unicast datagrams leave by the route to their
/// destination.
pub(crate) fn leave_by(_socket: &Socket, _family: Family, _interface: InterfaceIndex) -> io::Result<()> {
    Ok(())
}
