//! Compile-time checks of constants and layouts on FreeBSD. The values are written down from the
//! system's headers, so a mismatch with the bindings does not compile.
//!
//! `netinet/in.h`, `netinet6/in6.h`, `sys/socket.h`, `net/if_dl.h` of FreeBSD 13.

use std::mem::{align_of, offset_of, size_of};

const _: () = {
    // Nothing is packed here: the address is aligned to eight bytes.
    assert!(size_of::<libc::group_req>() == 136 && offset_of!(libc::group_req, gr_group) == 8);
    assert!(size_of::<libc::group_source_req>() == 264);
    assert!(offset_of!(libc::group_source_req, gsr_group) == 8);
    assert!(offset_of!(libc::group_source_req, gsr_source) == 136);
    assert!(size_of::<libc::sockaddr_storage>() == 128 && size_of::<libc::sockaddr_in>() == 16);
    assert!(size_of::<libc::sockaddr_in6>() == 28 && offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(libc::sockaddr_in, sin_addr) == 4);
};

const _: () = {
    assert!(size_of::<libc::in6_pktinfo>() == 20 && offset_of!(libc::in6_pktinfo, ipi6_ifindex) == 16);
    assert!(size_of::<libc::cmsghdr>() == 12 && align_of::<libc::cmsghdr>() == 4);
    assert!(size_of::<libc::timeval>() == 16 && size_of::<libc::timespec>() == 16);
    assert!(offset_of!(libc::sockaddr_dl, sdl_data) == 8 && size_of::<libc::sockaddr_dl>() == 54);
};

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::msghdr>() == 48 && offset_of!(libc::msghdr, msg_control) == 32);
    assert!(offset_of!(libc::msghdr, msg_controllen) == 40 && offset_of!(libc::msghdr, msg_flags) == 44);
    assert!(size_of::<libc::kevent>() == 64);
};

const _: () = {
    assert!(libc::MCAST_JOIN_GROUP == 80 && libc::MCAST_LEAVE_GROUP == 81);
    assert!(libc::MCAST_JOIN_SOURCE_GROUP == 82 && libc::MCAST_BLOCK_SOURCE == 84);
    assert!(libc::IP_MULTICAST_TTL == 10 && libc::IP_MULTICAST_LOOP == 11);
    assert!(libc::IP_RECVDSTADDR == 7 && libc::IP_RECVIF == 20);
    assert!(libc::IP_RECVTTL == 65 && libc::IP_DONTFRAG == 67 && libc::IP_RECVTOS == 68);
    assert!(libc::IPV6_MULTICAST_IF == 9 && libc::IPV6_MULTICAST_HOPS == 10);
    assert!(libc::IPV6_MULTICAST_LOOP == 11);
    assert!(libc::IPV6_RECVPKTINFO == 36 && libc::IPV6_PKTINFO == 46);
    assert!(libc::IPV6_RECVHOPLIMIT == 37 && libc::IPV6_HOPLIMIT == 47);
    assert!(libc::IPV6_RECVTCLASS == 57 && libc::IPV6_TCLASS == 61 && libc::IPV6_DONTFRAG == 62);
    assert!(libc::SO_TIMESTAMP == 0x400 && libc::SCM_TIMESTAMP == 2 && libc::SCM_REALTIME == 5);
    assert!(libc::SO_TS_CLOCK == 0x1017 && libc::SO_TS_REALTIME == 2);
    assert!(libc::AF_INET6 == 28 && libc::EVFILT_USER == -11);
    assert!(libc::RTM_IFANNOUNCE == 17 && libc::IFAN_DEPARTURE == 1 && libc::LINK_STATE_DOWN == 1);
    assert!(offset_of!(libc::if_data, ifi_link_state) == 4);
};
