"""The commonly used part of the package netifaces, based on pymcast's interfaces.

`multicast_expert.interfaces` reads the interfaces through this module, so that tests that patch
`interfaces.netifaces.interfaces` or `ifaddresses` still work. So do tests that patch the real netifaces, where it is
installed: a function that replaced one of its functions is called instead of pymcast's.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

import pymcast

AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
AF_LINK: int = int(getattr(socket, "AF_PACKET", getattr(socket, "AF_LINK", -1000)))

address_families = {AF_INET: "AF_INET", AF_INET6: "AF_INET6", AF_LINK: "AF_LINK"}

# Addresses that are reached only through the default route: root name servers. Nothing is sent to them.
_FAR_AWAY = {AF_INET: "198.41.0.4", AF_INET6: "2001:503:ba3e::2:30"}


def interfaces() -> list[str]:
    """Returns the names of all interfaces."""
    if (patched := _patched("interfaces")) is not None:
        names: list[str] = patched()
        return names
    return [interface.name for interface in pymcast.interfaces()]


def ifaddresses(name: str) -> dict[int, list[dict[str, str]]]:
    """Returns the addresses of an interface by family, each with `addr` and `netmask`.

    Raises ValueError if there is no interface with this name.
    """
    if (patched := _patched("ifaddresses")) is not None:
        addresses: dict[int, list[dict[str, str]]] = patched(name)
        return addresses
    for interface in pymcast.interfaces():
        if interface.name == name:
            return _addresses(interface)
    raise ValueError("You must specify a valid interface name.")


def gateways() -> dict[int | str, object]:
    """Returns the default gateways: under "default", a pair of address and interface for each family.

    The interface is the one that the system selects for the Internet, taking rules and metrics into account. The
    address is known only on Linux; it is unspecified ("0.0.0.0", "::") elsewhere, and if the route has no gateway.
    """
    default: dict[int, tuple[str, str]] = {}
    found: dict[int | str, object] = {"default": default}
    for family, far_away in _FAR_AWAY.items():
        interface = pymcast.interface_towards(far_away)
        if interface is None or interface.loopback:
            continue
        gateway = _gateway(family, interface)
        default[family] = (gateway, interface.name)
        found[family] = [(gateway, interface.name, True)]
    return found


def _patched(name: str) -> Callable[..., Any] | None:
    """Returns the function that replaced one of the installed netifaces, whose own functions are native code."""
    installed = sys.modules.get("netifaces")
    if installed is None or installed is sys.modules[__name__]:
        return None
    function = getattr(installed, name, None)
    return None if function is None or isinstance(function, BuiltinFunctionType) else function


def _addresses(interface: pymcast.Interface) -> dict[int, list[dict[str, str]]]:
    found: dict[int, list[dict[str, str]]] = {}
    if interface.hardware_address is not None:
        found[AF_LINK] = [{"addr": interface.hardware_address, "broadcast": "ff:ff:ff:ff:ff:ff"}]
    elif interface.loopback:
        found[AF_LINK] = [{"addr": "00:00:00:00:00:00", "peer": "00:00:00:00:00:00"}]
    for address in interface.addresses:
        text, _, prefix = str(address).partition("/")
        if address.version == 4:
            entry = {"addr": text, "netmask": str(address.netmask)}
            if interface.loopback:
                entry["peer"] = text
            else:
                entry["broadcast"] = str(address.network.broadcast_address)
            found.setdefault(AF_INET, []).append(entry)
        else:
            entry = {"addr": text, "netmask": f"{address.netmask}/{prefix}"}
            found.setdefault(AF_INET6, []).append(entry)
    return found


def _gateway(family: int, interface: pymcast.Interface) -> str:
    if sys.platform == "linux":
        table = "route" if family == AF_INET else "ipv6_route"
        try:
            with open(f"/proc/thread-self/net/{table}", encoding="ascii") as lines:
                rows = [line.split() for line in lines]
        except OSError:
            rows = []
        gateway = _from_ipv4(rows, interface) if family == AF_INET else _from_ipv6(rows, interface)
        if gateway is not None:
            return gateway
    return "0.0.0.0" if family == AF_INET else "::"


def _from_ipv4(rows: list[list[str]], interface: pymcast.Interface) -> str | None:
    """Columns: interface, destination, gateway, flags, references, uses, metric, mask; in host order."""
    routes = [
        (int(row[6]), int(row[2], 16).to_bytes(4, sys.byteorder))
        for row in rows[1:]
        if row[0] == interface.name and int(row[1], 16) == 0 and int(row[7], 16) == 0
    ]
    return socket.inet_ntop(socket.AF_INET, min(routes)[1]) if routes else None


def _from_ipv6(rows: list[list[str]], interface: pymcast.Interface) -> str | None:
    """Columns: destination, its prefix, source, its prefix, next hop, metric, ..., interface."""
    routes = [
        (int(row[5], 16), bytes.fromhex(row[4]))
        for row in rows
        if row[-1] == interface.name and row[1] == "00" and int(row[0], 16) == 0
    ]
    return socket.inet_ntop(socket.AF_INET6, min(routes)[1]) if routes else None
