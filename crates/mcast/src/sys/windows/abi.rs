//! What the code for Windows takes for granted about numbers and layouts, written down a second time from
//! the system's headers: where the bindings say otherwise, nothing compiles.
//!
//! `ws2ipdef.h`, `ws2def.h`, `mswsock.h` of the Windows SDK 10.

use std::mem::{align_of, offset_of, size_of};

use windows_sys::Win32::Networking::WinSock as winsock;

const _: () = {
    assert!(size_of::<winsock::GROUP_REQ>() == 136 && offset_of!(winsock::GROUP_REQ, gr_group) == 8);
    assert!(size_of::<winsock::GROUP_SOURCE_REQ>() == 264);
    assert!(offset_of!(winsock::GROUP_SOURCE_REQ, gsr_group) == 8);
    assert!(offset_of!(winsock::GROUP_SOURCE_REQ, gsr_source) == 136);
    assert!(size_of::<winsock::SOCKADDR_STORAGE>() == 128 && size_of::<winsock::SOCKADDR_IN>() == 16);
    assert!(size_of::<winsock::SOCKADDR_IN6>() == 28 && offset_of!(winsock::SOCKADDR_IN6, sin6_addr) == 8);
    // Not as elsewhere: the address comes before the interface.
    assert!(size_of::<winsock::IP_MREQ>() == 8 && offset_of!(winsock::IP_MREQ, imr_interface) == 4);
    assert!(size_of::<winsock::IPV6_MREQ>() == 20 && offset_of!(winsock::IPV6_MREQ, ipv6mr_interface) == 16);
};

const _: () = {
    assert!(size_of::<winsock::IN_PKTINFO>() == 8 && offset_of!(winsock::IN_PKTINFO, ipi_ifindex) == 4);
    assert!(size_of::<winsock::IN6_PKTINFO>() == 20 && offset_of!(winsock::IN6_PKTINFO, ipi6_ifindex) == 16);
    assert!(align_of::<winsock::CMSGHDR>() == size_of::<usize>());
    assert!(size_of::<winsock::CMSGHDR>() == size_of::<usize>() + 8);
};

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<winsock::WSAMSG>() == 56 && offset_of!(winsock::WSAMSG, Control) == 32);
    assert!(offset_of!(winsock::WSAMSG, dwFlags) == 48);
};

const _: () = {
    assert!(winsock::MCAST_JOIN_GROUP == 41 && winsock::MCAST_LEAVE_GROUP == 42);
    assert!(winsock::MCAST_BLOCK_SOURCE == 43 && winsock::MCAST_UNBLOCK_SOURCE == 44);
    assert!(winsock::MCAST_JOIN_SOURCE_GROUP == 45 && winsock::MCAST_LEAVE_SOURCE_GROUP == 46);
    assert!(winsock::IP_MULTICAST_IF == 9 && winsock::IP_MULTICAST_TTL == 10);
    assert!(winsock::IP_MULTICAST_LOOP == 11);
    assert!(winsock::IP_ADD_MEMBERSHIP == 12 && winsock::IP_DROP_MEMBERSHIP == 13);
    assert!(winsock::IP_PKTINFO == 19 && winsock::IP_RECVTTL == 21 && winsock::IP_RECVTOS == 40);
    assert!(winsock::IPV6_MULTICAST_IF == 9 && winsock::IPV6_MULTICAST_HOPS == 10);
    assert!(winsock::IPV6_ADD_MEMBERSHIP == 12 && winsock::IPV6_DROP_MEMBERSHIP == 13);
    assert!(winsock::IPV6_PKTINFO == 19 && winsock::IPV6_HOPLIMIT == 21);
    assert!(winsock::IPV6_TCLASS == 39 && winsock::IPV6_RECVTCLASS == 40);
    assert!(winsock::UDP_SEND_MSG_SIZE == 2);
};
