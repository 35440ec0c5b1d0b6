"""Socket options of each system, with the numbers of those that the standard library lacks."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import warnings
from ipaddress import IPv4Address, IPv6Address

from pymcast.multicast_expert.interfaces import IfaceInfo
from pymcast.multicast_expert.name_to_index import iface_name_to_index as iface_name_to_index
from pymcast.multicast_expert.utils import is_mac, is_windows

Address = IPv4Address | IPv6Address

# Linux: in.h, in6.h; macOS: in6.h.
IP_MULTICAST_ALL = 49
IPV6_MULTICAST_ALL = 29
SO_BINDTODEVICE = 25
IPV6_BOUND_IF = 125


def _by_system(*, windows: int, linux: int, mac: int, bsd: int) -> int:
    if is_windows:
        return windows
    if is_mac:
        return mac
    return linux if sys.platform == "linux" else bsd


# RFC 3678 section 5.
MCAST_JOIN_SOURCE_GROUP = _by_system(windows=45, linux=46, mac=82, bsd=82)

# Python before 3.12 has no names for these.
_ADD_SOURCE = _by_system(windows=15, linux=39, mac=70, bsd=70)
_DROP_SOURCE = _by_system(windows=16, linux=40, mac=71, bsd=71)

# Whether a sockaddr begins with its length.
_HAS_LENGTH = not is_windows and sys.platform != "linux"


def name_missing_options() -> None:
    """Adds to the socket module the two options that it lacks before Python 3.12."""
    for name, number in (
        ("IP_ADD_SOURCE_MEMBERSHIP", _ADD_SOURCE),
        ("IP_DROP_SOURCE_MEMBERSHIP", _DROP_SOURCE),
    ):
        if not hasattr(socket, name):
            setattr(socket, name, number)


def make_ip_mreqn_struct(mcast_addr: Address, iface_info: IfaceInfo) -> bytes:
    """Packs struct ip_mreqn: the group and the index of the interface, which does not need an address."""
    return struct.pack("@4s4si", mcast_addr.packed, _first_ipv4(iface_info), iface_info.index)


def make_ipv6_mreq_struct(mcast_ip: Address, iface_info: IfaceInfo) -> bytes:
    """Packs struct ipv6_mreq: the group and the index of the interface."""
    return struct.pack("@16sI", mcast_ip.packed, iface_info.index)


def make_group_source_req_struct(mcast_ip: Address, source_ip: Address, iface_info: IfaceInfo) -> bytes:
    """Packs struct group_source_req (RFC 3678 section 5.1): interface, group, source."""
    head = struct.pack("@I", iface_info.index)
    # A sockaddr_storage has the alignment of a pointer.
    head += bytes(struct.calcsize("@P") - len(head))
    return head + _sockaddr_storage(mcast_ip) + _sockaddr_storage(source_ip)


def _sockaddr_storage(address: Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # The port, and for IPv6 the flow, come before the address.
    between = bytes(2 if address.version == 4 else 6)
    size = 16 if address.version == 4 else 28
    start = struct.pack("@BB", size, family) if _HAS_LENGTH else struct.pack("@H", family)
    return (start + between + address.packed).ljust(128, b"\0")


def _first_ipv4(iface_info: IfaceInfo) -> bytes:
    return iface_info.ip4_addrs[0].packed if iface_info.ip4_addrs else bytes(4)


def set_multicast_if(
    mcast_socket: socket.socket, mcast_ips: list[Address], iface_info: IfaceInfo, addr_family: int
) -> None:
    """Makes the socket send multicast on this interface."""
    if addr_family == socket.AF_INET6:
        index = struct.pack("@I", iface_info.index)
        mcast_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    elif is_windows:
        # In network byte order: Windows interprets an address in 0.0.0.0/8 as an index.
        index = struct.pack("!I", iface_info.index)
        mcast_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
    else:
        # The group is ignored: the option applies to the whole socket.
        group = mcast_ips[0] if mcast_ips else IPv4Address(0)
        request = make_ip_mreqn_struct(group, iface_info)
        mcast_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)


def add_memberships(
    mcast_socket: socket.socket, mcast_ips: list[Address], iface_info: IfaceInfo, addr_family: int
) -> None:
    """Joins the groups for any source."""
    for mcast_ip in mcast_ips:
        if addr_family == socket.AF_INET6:
            request = make_ipv6_mreq_struct(mcast_ip, iface_info)
            mcast_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        elif is_windows:
            request = struct.pack("!4sI", mcast_ip.packed, iface_info.index)
            mcast_socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = make_ip_mreqn_struct(mcast_ip, iface_info)
            mcast_socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def add_source_specific_memberships(
    mcast_socket: socket.socket,
    mcast_ips: list[Address],
    source_ips: list[Address],
    iface_info: IfaceInfo,
) -> None:
    """Joins the groups for the sources, with the interface index, for both families."""
    for mcast_ip in mcast_ips:
        level = socket.IPPROTO_IP if mcast_ip.version == 4 else socket.IPPROTO_IPV6
        for source_ip in source_ips:
            request = make_group_source_req_struct(mcast_ip, source_ip, iface_info)
            mcast_socket.setsockopt(level, MCAST_JOIN_SOURCE_GROUP, request)


def receive_only_own_groups(mcast_socket: socket.socket, addr_family: int) -> None:
    """On Linux, stops datagrams of groups that only other sockets have joined."""
    if sys.platform != "linux":
        return
    if addr_family == socket.AF_INET:
        mcast_socket.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        return
    try:
        mcast_socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
    except OSError as error:
        # Before Linux 4.20. The socket is bound to its group and interface anyway.
        if error.errno != errno.ENOPROTOOPT:
            raise


def receive_only_by(mcast_socket: socket.socket, iface_info: IfaceInfo) -> None:
    """Makes an IPv6 socket receive on this interface only."""
    if sys.platform == "linux":
        try:
            mcast_socket.setsockopt(
                socket.SOL_SOCKET, SO_BINDTODEVICE, iface_info.machine_name.encode() + b"\0"
            )
        except PermissionError:
            warnings.warn(
                "before Linux 5.7, binding a socket to an interface requires CAP_NET_RAW: groups that other"
                f" programs have joined on interfaces other than {iface_info.machine_name} are also"
                " received",
                RuntimeWarning,
                stacklevel=4,
            )
    elif is_mac:
        mcast_socket.setsockopt(socket.IPPROTO_IPV6, IPV6_BOUND_IF, iface_info.index)
