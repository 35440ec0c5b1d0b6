//! Compile-time checks of constants and layouts on Apple's systems. The values are written down
//! from the system's headers, so a mismatch with the bindings does not compile.
//!
//! `netinet/in.h`, `netinet6/in6.h`, `sys/socket.h`, `net/if_dl.h` of macOS 13.

use std::mem::{align_of, offset_of, size_of};

const _: () = {
    // The header packs both requests to four bytes, so the address directly follows the index.
    assert!(size_of::<libc::group_req>() == 132 && offset_of!(libc::group_req, gr_group) == 4);
    assert!(size_of::<libc::group_source_req>() == 260);
    assert!(offset_of!(libc::group_source_req, gsr_group) == 4);
    assert!(offset_of!(libc::group_source_req, gsr_source) == 132);
    assert!(size_of::<libc::sockaddr_storage>() == 128 && size_of::<libc::sockaddr_in>() == 16);
    assert!(size_of::<libc::sockaddr_in6>() == 28 && offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(libc::sockaddr_in, sin_addr) == 4);
};

const _: () = {
    assert!(size_of::<libc::in_pktinfo>() == 12 && offset_of!(libc::in_pktinfo, ipi_ifindex) == 0);
    assert!(offset_of!(libc::in_pktinfo, ipi_spec_dst) == 4 && offset_of!(libc::in_pktinfo, ipi_addr) == 8);
    assert!(size_of::<libc::in6_pktinfo>() == 20 && offset_of!(libc::in6_pktinfo, ipi6_ifindex) == 16);
    assert!(size_of::<libc::cmsghdr>() == 12 && align_of::<libc::cmsghdr>() == 4);
    assert!(size_of::<libc::timeval>() == 2 * size_of::<libc::time_t>());
    assert!(offset_of!(libc::sockaddr_dl, sdl_data) == 8 && size_of::<libc::sockaddr_dl>() == 20);
};

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::msghdr>() == 48 && offset_of!(libc::msghdr, msg_control) == 32);
    assert!(offset_of!(libc::msghdr, msg_controllen) == 40 && offset_of!(libc::msghdr, msg_flags) == 44);
    assert!(size_of::<libc::kevent>() == 32);
};

const _: () = {
    assert!(libc::MCAST_JOIN_GROUP == 80 && libc::MCAST_LEAVE_GROUP == 81);
    assert!(libc::MCAST_JOIN_SOURCE_GROUP == 82 && libc::MCAST_BLOCK_SOURCE == 84);
    assert!(libc::IP_MULTICAST_TTL == 10 && libc::IP_MULTICAST_LOOP == 11);
    assert!(libc::IP_RECVTTL == 24 && libc::IP_PKTINFO == 26 && libc::IP_RECVTOS == 27);
    assert!(libc::IP_DONTFRAG == 28 && libc::IPV6_DONTFRAG == 62);
    assert!(libc::IPV6_MULTICAST_IF == 9 && libc::IPV6_MULTICAST_HOPS == 10);
    assert!(libc::IPV6_MULTICAST_LOOP == 11);
    assert!(libc::IPV6_RECVPKTINFO == 61 && libc::IPV6_PKTINFO == 46);
    assert!(libc::IPV6_RECVHOPLIMIT == 37 && libc::IPV6_HOPLIMIT == 47);
    assert!(libc::IPV6_RECVTCLASS == 35 && libc::IPV6_TCLASS == 36);
    assert!(libc::SO_TIMESTAMP == 0x400 && libc::SCM_TIMESTAMP == 2);
    assert!(libc::AF_INET6 == 30 && libc::EVFILT_USER == -10);
};
