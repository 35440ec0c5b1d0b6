//! Compile-time checks of constants and layouts on Linux and Android. The values are written down
//! from the kernel's headers, so a mismatch with the bindings does not compile. They were compared
//! with C compilers for both processors.
//!
//! `linux/in.h`, `linux/in6.h`, `linux/socket.h`, `asm-generic/socket.h`, `linux/udp.h`.

use std::mem::{offset_of, size_of};

const _: () = {
    assert!(size_of::<libc::group_req>() == 136 && offset_of!(libc::group_req, gr_group) == 8);
    assert!(size_of::<libc::group_source_req>() == 264);
    assert!(offset_of!(libc::group_source_req, gsr_source) == 136);
    assert!(size_of::<libc::ip_mreqn>() == 12 && offset_of!(libc::ip_mreqn, imr_ifindex) == 8);
    assert!(size_of::<libc::in_pktinfo>() == 12 && offset_of!(libc::in_pktinfo, ipi_ifindex) == 0);
    assert!(offset_of!(libc::in_pktinfo, ipi_spec_dst) == 4 && offset_of!(libc::in_pktinfo, ipi_addr) == 8);
    assert!(size_of::<libc::in6_pktinfo>() == 20 && offset_of!(libc::in6_pktinfo, ipi6_ifindex) == 16);
    assert!(size_of::<libc::cmsghdr>() == 16 && size_of::<libc::iovec>() == 16);
    assert!(size_of::<libc::msghdr>() == 56 && offset_of!(libc::msghdr, msg_control) == 32);
    assert!(offset_of!(libc::msghdr, msg_flags) == 48);
    assert!(size_of::<libc::mmsghdr>() == 64 && offset_of!(libc::mmsghdr, msg_len) == 56);
    assert!(size_of::<libc::timespec>() == 16 && size_of::<libc::pollfd>() == 8);
    assert!(size_of::<libc::ifreq>() == 40 && size_of::<libc::sockaddr_storage>() == 128);
};

const _: () = {
    assert!(libc::MCAST_JOIN_GROUP == 42 && libc::MCAST_BLOCK_SOURCE == 43);
    assert!(libc::MCAST_LEAVE_GROUP == 45 && libc::MCAST_JOIN_SOURCE_GROUP == 46);
    assert!(libc::IP_MULTICAST_IF == 32 && libc::IP_MULTICAST_TTL == 33 && libc::IP_MULTICAST_LOOP == 34);
    assert!(libc::IP_PKTINFO == 8 && libc::IP_RECVTTL == 12 && libc::IP_RECVTOS == 13);
    assert!(libc::IPV6_RECVPKTINFO == 49 && libc::IPV6_PKTINFO == 50);
    assert!(libc::IPV6_RECVHOPLIMIT == 51 && libc::IPV6_HOPLIMIT == 52);
    assert!(libc::IPV6_RECVTCLASS == 66 && libc::IPV6_TCLASS == 67);
    assert!(libc::SO_RXQ_OVFL == 40 && libc::SO_TIMESTAMPNS == 35 && libc::MSG_TRUNC == 32);
    assert!(super::timing::SO_TXTIME == 61);
};
