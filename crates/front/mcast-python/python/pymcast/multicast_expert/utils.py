"""Types, the exception, and validation of addresses."""

from __future__ import annotations

import ipaddress
import platform
import socket
from typing import Union

is_windows = platform.system() == "Windows"
is_mac = platform.system() == "Darwin"

IPv4Or6Address = Union[tuple[str, int], tuple[str, int, int, int]]
"""An address of a UDP socket: (host, port), or for IPv6 (host, port, flow, scope)."""

MulticastAddress = Union[str, ipaddress.IPv4Address, ipaddress.IPv6Address]
"""A multicast address, as text or as an object."""


class MulticastExpertError(RuntimeError):
    """An invalid argument or use. Errors of the system are OSErrors."""


def validate_mcast_ip(mcast_ip: MulticastAddress, addr_family: int) -> None:
    """Raises MulticastExpertError unless this is a multicast address of the family.

    Raises ValueError for text that is not an IP address.
    """
    address = ipaddress.ip_address(mcast_ip)
    if not address.is_multicast:
        raise MulticastExpertError(f"mcast_ip {mcast_ip} is not a multicast address")
    if address.version == 4 and addr_family == socket.AF_INET6:
        raise MulticastExpertError(f"mcast_ip {mcast_ip} is IPv4, but the socket is AF_INET6")
    if address.version == 6 and addr_family == socket.AF_INET:
        raise MulticastExpertError(f"mcast_ip {mcast_ip} is IPv6, but the socket is AF_INET")


def ip_interface_to_ip_string(ip_interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> str:
    """Returns the address without its prefix but with its scope, as sockets need it."""
    text, _, _ = str(ip_interface).partition("/")
    return text


def distinct_addresses(
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Removes duplicates; keeps the order."""
    return list(dict.fromkeys(addresses))
