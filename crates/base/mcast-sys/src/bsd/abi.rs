//! Compile-time checks of constants and layouts common to macOS and FreeBSD. The values are written
//! down from the systems' headers, so a mismatch with the bindings does not compile. The platforms'
//! own values are in the files beside this one.
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
