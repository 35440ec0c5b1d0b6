"""Finding interfaces."""

from __future__ import annotations

import ipaddress
import socket
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Union, cast

from pymcast.multicast_expert import netifaces as netifaces
from pymcast.multicast_expert.name_to_index import iface_name_to_index
from pymcast.multicast_expert.utils import MulticastExpertError, ip_interface_to_ip_string

_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True)
class IfaceInfo:
    """A network interface."""

    machine_name: str
    """Its name: "eth0"; on Windows the friendly name."""
    index: int
    """Its index."""
    link_layer_address: str | None
    """Its hardware address as text, or None."""
    ip4_addrs: Sequence[IPv4Interface]
    """Its IPv4 addresses."""
    ip6_addrs: Sequence[IPv6Interface]
    """Its IPv6 addresses; link-local ones with their scope."""

    def is_localhost(self) -> bool:
        """Whether it has a loopback address, 127.0.0.1 or ::1, whatever its prefix."""
        ipv4, ipv6 = _LOCALHOST
        return any(each.ip == ipv4 for each in self.ip4_addrs) or any(
            each.ip == ipv6 for each in self.ip6_addrs
        )

    def ip_addrs(self, family: int) -> Sequence[IPv4Interface] | Sequence[IPv6Interface]:
        """Returns its addresses of a family, socket.AF_INET or AF_INET6. Raises KeyError for other families."""
        if family == socket.AF_INET:
            return self.ip4_addrs
        if family == socket.AF_INET6:
            return self.ip6_addrs
        raise KeyError(f"{family} is not an IP address family")


IfaceSpecifier = Union[str, IPv4Address, IPv6Address, IfaceInfo]
"""An argument that selects interfaces: an address (text or object, IPv6 with or without scope), a name, or an
IfaceInfo."""


def scan_interfaces() -> list[IfaceInfo]:
    """Returns all interfaces of this machine, including those that are down or have no address."""
    return [_interface_info(name) for name in netifaces.interfaces()]


def _interface_info(name: str) -> IfaceInfo:
    families = netifaces.ifaddresses(name)
    link = families.get(netifaces.AF_LINK)
    return IfaceInfo(
        machine_name=name,
        index=iface_name_to_index(name),
        link_layer_address=link[0]["addr"] if link else None,
        ip4_addrs=[
            IPv4Interface((each["addr"], each["netmask"])) for each in families.get(netifaces.AF_INET, ())
        ],
        ip6_addrs=[
            IPv6Interface((each["addr"], int(each["netmask"].rpartition("/")[2])))
            for each in families.get(netifaces.AF_INET6, ())
        ],
    )


def find_interfaces(
    specifiers: Iterable[IfaceSpecifier], *, ifaces: Sequence[IfaceInfo] | None = None
) -> list[IfaceInfo]:
    """Returns the interfaces that match the specifiers, each once; an address may match several.

    Searches `ifaces` if given, else the interfaces of this machine. Raises MulticastExpertError if a specifier matches
    none. If all specifiers are IfaceInfo objects, returns them without searching.
    """
    all_specifiers = list(specifiers)
    if all(isinstance(each, IfaceInfo) for each in all_specifiers):
        return cast("list[IfaceInfo]", all_specifiers)
    candidates = scan_interfaces() if ifaces is None else ifaces
    found = [iface for each in all_specifiers for iface in _find_interfaces_for_specifier(each, candidates)]
    return list({iface.index: iface for iface in found}.values())


def _find_interfaces_for_specifier(
    specifier: IfaceSpecifier, ifaces: Sequence[IfaceInfo]
) -> list[IfaceInfo]:
    if isinstance(specifier, IfaceInfo):
        return [specifier]
    if isinstance(specifier, str):
        for iface in ifaces:
            if iface.machine_name == specifier:
                return [iface]
    try:
        address = ipaddress.ip_address(specifier)
    except ValueError as error:
        raise MulticastExpertError(
            f"Specifier '{specifier}' does not appear to be a valid interface name or IP address"
            f" (there are: {', '.join(iface.machine_name for iface in ifaces)})"
        ) from error
    found = [iface for iface in ifaces if _has(iface, address)]
    if not found:
        raise MulticastExpertError(f"No matches found for interface IP address {address}")
    return found


def _has(iface: IfaceInfo, address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(each.ip == address for each in iface.ip4_addrs)
    texts = (ip_interface_to_ip_string(each) for each in iface.ip6_addrs)
    if address.scope_id is None:
        texts = (text.partition("%")[0] for text in texts)
    return any(IPv6Address(text) == address for text in texts)


def get_interface_ips(include_ipv4: bool = True, include_ipv6: bool = True) -> list[str]:
    """Returns the addresses of all interfaces, each once, in no particular order.

    Warns about an address that two interfaces share; scan_interfaces() distinguishes them.
    """
    seen: set[str] = set()
    for iface in scan_interfaces():
        addresses: list[IPv4Interface | IPv6Interface] = []
        if include_ipv4:
            addresses.extend(iface.ip4_addrs)
        if include_ipv6:
            addresses.extend(iface.ip6_addrs)
        for text in map(ip_interface_to_ip_string, addresses):
            if text in seen:
                warnings.warn(
                    f"{iface.machine_name} has the address {text}, which another interface also has: to select"
                    " one of them, use scan_interfaces()",
                    stacklevel=2,
                )
            seen.add(text)
    return list(seen)


def get_default_gateway_iface(
    addr_family: int, *, ifaces: list[IfaceInfo] | None = None
) -> IfaceInfo | None:
    """Returns the interface of a family's default route, or None if there is none."""
    try:
        gateways = netifaces.gateways()
    except OSError:
        return None
    default = cast("dict[int, tuple[str, str]]", gateways.get("default", {}))
    if addr_family not in default:
        return None
    name = default[addr_family][1]
    candidates = scan_interfaces() if ifaces is None else ifaces
    return next((iface for iface in candidates if iface.machine_name == name), None)


def get_default_gateway_iface_ip(addr_family: int, *, ifaces: list[IfaceInfo] | None = None) -> str | None:
    """Returns the first address of the family on the interface of the default route, if any."""
    iface = get_default_gateway_iface(addr_family, ifaces=ifaces)
    if iface is None or addr_family not in (socket.AF_INET, socket.AF_INET6):
        return None
    addresses = iface.ip_addrs(addr_family)
    return ip_interface_to_ip_string(addresses[0]) if addresses else None


def get_default_gateway_iface_ip_v6(*, ifaces: list[IfaceInfo] | None = None) -> str | None:
    """Calls get_default_gateway_iface_ip for IPv6."""
    return get_default_gateway_iface_ip(netifaces.AF_INET6, ifaces=ifaces)


def get_default_gateway_iface_ip_v4(*, ifaces: list[IfaceInfo] | None = None) -> str | None:
    """Calls get_default_gateway_iface_ip for IPv4."""
    return get_default_gateway_iface_ip(netifaces.AF_INET, ifaces=ifaces)
