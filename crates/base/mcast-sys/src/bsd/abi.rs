//! Compile-time checks of constants and layouts common to macOS and FreeBSD. The values are written
//! down from the systems' headers, so a mismatch with the bindings does not compile. The systems'
//! own values are in the modules below.
//!
//! `net/route.h`, `net/if.h`, `sys/event.h`, `sys/socket.h`, `poll.h`, `ifaddrs.h`.

use std::mem::{offset_of, size_of};

const _: () = {
    assert!(libc::RTM_VERSION == 5 && libc::RTM_GET == 4 && libc::RTM_IFINFO == 14);
    assert!(libc::RTM_NEWADDR == 12 && libc::RTM_DELADDR == 13);
    assert!(libc::RTA_DST == 1 && libc::RTA_IFP == 0x10);
    assert!(libc::RTF_REJECT == 8 && libc::RTF_BLACKHOLE == 0x1000);
    assert!(libc::IFF_UP == 1 && libc::IFF_LOOPBACK == 8 && libc::IFF_POINTOPOINT == 0x10);
    assert!(libc::IFF_RUNNING == 0x40 && libc::IFF_MULTICAST == 0x8000 && libc::IFNAMSIZ == 16);
};

const _: () = {
    assert!(libc::EVFILT_READ == -1 && libc::EV_ADD == 1 && libc::EV_DELETE == 2 && libc::EV_CLEAR == 0x20);
    assert!(libc::NOTE_TRIGGER == 0x0100_0000);
    assert!(libc::AF_INET == 2 && libc::AF_LINK == 18 && libc::PF_ROUTE == 17);
    assert!(libc::SOL_SOCKET == 0xffff && libc::MSG_TRUNC == 0x10 && libc::ENOBUFS == 55);
    assert!(libc::RLIMIT_NOFILE == 8 && libc::POLLIN == 1 && libc::POLLOUT == 4);
    assert!(libc::IPPROTO_IPV6 == 41 && libc::IP_MULTICAST_IF == 9 && libc::IP_TOS == 3);
};

const _: () = {
    assert!(size_of::<libc::pollfd>() == 8 && offset_of!(libc::pollfd, revents) == 6);
    assert!(size_of::<libc::ip_mreqn>() == 12 && offset_of!(libc::ip_mreqn, imr_ifindex) == 8);
};

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::iovec>() == 16 && size_of::<libc::rlimit>() == 16);
    assert!(size_of::<libc::ifaddrs>() == 56 && offset_of!(libc::ifaddrs, ifa_addr) == 24);
    assert!(offset_of!(libc::ifaddrs, ifa_netmask) == 32 && offset_of!(libc::ifaddrs, ifa_data) == 48);
    assert!(offset_of!(libc::kevent, filter) == 8 && offset_of!(libc::kevent, fflags) == 12);
};

#[cfg(target_vendor = "apple")]
mod apple {
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
        assert!(
            offset_of!(libc::in_pktinfo, ipi_spec_dst) == 4 && offset_of!(libc::in_pktinfo, ipi_addr) == 8
        );
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
}

#[cfg(target_os = "freebsd")]
mod freebsd {
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
}
