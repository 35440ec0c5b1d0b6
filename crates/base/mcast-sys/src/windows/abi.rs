//! Compile-time checks of constants and layouts on Windows. The values are written down from the
//! system's headers, so a mismatch with the bindings does not compile.
//!
//! `ws2ipdef.h`, `ws2def.h`, `mswsock.h`, `iptypes.h`, `netioapi.h` of the Windows SDK 10; compared
//! with a C compiler for Windows (mingw-w64).

use std::mem::{align_of, offset_of, size_of};

use windows_sys::Win32::NetworkManagement::{IpHelper as helper, Ndis};
use windows_sys::Win32::Networking::WinSock as winsock;

const _: () = {
    assert!(size_of::<winsock::GROUP_REQ>() == 136 && offset_of!(winsock::GROUP_REQ, gr_group) == 8);
    assert!(size_of::<winsock::GROUP_SOURCE_REQ>() == 264);
    assert!(offset_of!(winsock::GROUP_SOURCE_REQ, gsr_group) == 8);
    assert!(offset_of!(winsock::GROUP_SOURCE_REQ, gsr_source) == 136);
    assert!(size_of::<winsock::SOCKADDR_STORAGE>() == 128 && size_of::<winsock::SOCKADDR_IN>() == 16);
    assert!(size_of::<winsock::SOCKADDR_IN6>() == 28 && offset_of!(winsock::SOCKADDR_IN6, sin6_addr) == 8);
    // Unlike elsewhere, the address comes before the interface.
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

#[cfg(target_pointer_width = "64")]
const _: () = {
    use helper::{IP_ADAPTER_ADDRESSES_LH as Adapter, IP_ADAPTER_UNICAST_ADDRESS_LH as Own};
    use helper::{IP_ADAPTER_MULTICAST_ADDRESS_XP as Joined, MIB_IPINTERFACE_ROW as Row};

    assert!(size_of::<Adapter>() == 448 && offset_of!(Adapter, Next) == 8);
    assert!(
        offset_of!(Adapter, FirstUnicastAddress) == 24 && offset_of!(Adapter, FirstMulticastAddress) == 40
    );
    assert!(offset_of!(Adapter, FriendlyName) == 72 && offset_of!(Adapter, PhysicalAddress) == 80);
    assert!(offset_of!(Adapter, PhysicalAddressLength) == 88 && offset_of!(Adapter, Mtu) == 96);
    assert!(offset_of!(Adapter, IfType) == 100 && offset_of!(Adapter, OperStatus) == 104);
    assert!(offset_of!(Adapter, Ipv6IfIndex) == 108);
    assert!(size_of::<Own>() == 64 && offset_of!(Own, Next) == 8 && offset_of!(Own, Address) == 16);
    assert!(offset_of!(Own, DadState) == 40 && offset_of!(Own, OnLinkPrefixLength) == 56);
    assert!(size_of::<Joined>() == 32 && offset_of!(Joined, Next) == 8 && offset_of!(Joined, Address) == 16);
    assert!(size_of::<Row>() == 168 && offset_of!(Row, InterfaceIndex) == 16);
    assert!(size_of::<winsock::SOCKET_ADDRESS>() == 16);
    assert!(size_of::<winsock::WSAPOLLFD>() == 16 && offset_of!(winsock::WSAPOLLFD, revents) == 10);
    // The length comes first.
    assert!(size_of::<winsock::WSABUF>() == 16 && offset_of!(winsock::WSABUF, buf) == 8);
};

const _: () = {
    assert!(winsock::AF_INET6 == 23 && winsock::POLLRDNORM == 0x100 && winsock::POLLWRNORM == 0x10);
    assert!(winsock::SIO_GET_EXTENSION_FUNCTION_POINTER == 0xc800_0006);
    assert!(winsock::SIO_UDP_CONNRESET == 0x9800_000c && winsock::SIO_UDP_NETRESET == 0x9800_000f);
    assert!(winsock::IP_DONTFRAGMENT == 14 && winsock::IPV6_DONTFRAG == 14);
    assert!(winsock::IPV6_MULTICAST_LOOP == 11);
    assert!(winsock::WSAEINVAL == 10_022 && winsock::WSAEMSGSIZE == 10_040);
    assert!(winsock::WSAENOPROTOOPT == 10_042);
    assert!(winsock::IpDadStateInvalid == 0 && winsock::IpDadStateTentative == 1);
    assert!(winsock::IpDadStateDuplicate == 2);
    assert!(helper::GAA_FLAG_SKIP_UNICAST == 1 && helper::GAA_FLAG_SKIP_ANYCAST == 2);
    assert!(helper::GAA_FLAG_SKIP_MULTICAST == 4 && helper::GAA_FLAG_SKIP_DNS_SERVER == 8);
    assert!(helper::IF_TYPE_PPP == 23 && helper::IF_TYPE_SOFTWARE_LOOPBACK == 24);
    assert!(helper::IF_TYPE_TUNNEL == 131 && helper::IP_ADAPTER_NO_MULTICAST == 16);
    assert!(helper::MibDeleteInstance == 2 && Ndis::IfOperStatusUp == 1);
};
