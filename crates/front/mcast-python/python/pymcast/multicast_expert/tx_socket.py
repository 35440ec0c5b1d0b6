"""Sending sockets."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, cast

from pymcast.multicast_expert import os_multicast
from pymcast.multicast_expert.interfaces import (
    IfaceInfo,
    IfaceSpecifier,
    find_interfaces,
    get_default_gateway_iface,
)
from pymcast.multicast_expert.utils import (
    IPv4Or6Address,
    MulticastAddress,
    MulticastExpertError,
    distinct_addresses,
    ip_interface_to_ip_string,
    is_mac,
    is_windows,
    validate_mcast_ip,
)

if TYPE_CHECKING:
    from typing_extensions import Self

# Windows' WSAENETUNREACH: no socket has joined on the loopback interface.
_WSAENETUNREACH = 10051


class McastTxSocket:
    """Sends to multicast groups on one interface. Use it in a `with` statement."""

    def __init__(
        self,
        addr_family: int,
        mcast_ips: Sequence[MulticastAddress],
        iface: IfaceSpecifier | None = None,
        ttl: int = 1,
        enable_external_loopback: bool = False,
        iface_ip: IfaceSpecifier | None = None,
    ):
        """Stores the settings; a `with` statement opens it.

        addr_family: socket.AF_INET or AF_INET6.
        mcast_ips: all groups that it may send to.
        iface: the interface to send on: an address, a name or an IfaceInfo. Default: the interface of the
            default route.
        ttl: the hop limit.
        enable_external_loopback: whether this machine also receives what it sends.
        iface_ip: the former name of iface.

        Raises MulticastExpertError for invalid arguments and missing interfaces.
        """
        self.addr_family = addr_family
        self.mcast_ips = distinct_addresses([ipaddress.ip_address(each) for each in mcast_ips])
        self.mcast_ips_set = {str(each) for each in self.mcast_ips}
        self.ttl = ttl
        self.is_opened = False
        self.enable_external_loopback = enable_external_loopback
        if iface is not None and iface_ip is not None:
            raise MulticastExpertError("iface and iface_ip may not both be specified")
        self._iface_info = _select_interface(iface if iface is not None else iface_ip, addr_family)
        if not self.mcast_ips:
            raise MulticastExpertError("mcast_ips is empty: there is no group to send to")
        for each in self.mcast_ips:
            validate_mcast_ip(each, addr_family)

    def __enter__(self) -> Self:
        if self.is_opened:
            raise MulticastExpertError("Attempt to open an McastTxSocket that is already open")
        addresses = self._iface_info.ip_addrs(self.addr_family)
        if not addresses:
            raise MulticastExpertError(
                f"{self._iface_info.machine_name} does not have an address of the selected address family"
                " to send from"
            )
        self.socket = socket.socket(self.addr_family, socket.SOCK_DGRAM)
        try:
            self._set_up(ip_interface_to_ip_string(addresses[0]))
        except BaseException:
            self.socket.close()
            raise
        self.is_opened = True
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.is_opened:
            raise MulticastExpertError("Attempt to close an McastTxSocket that is already closed")
        self.socket.close()
        self.is_opened = False

    def sendto(self, tx_bytes: bytes, address: IPv4Or6Address) -> None:
        """Sends a datagram to one of the groups given to the constructor, and a port.

        Raises MulticastExpertError for any other group, and OSError if the system cannot send it.
        """
        if address[0] not in self.mcast_ips_set:
            address = self._canonical(address)
        try:
            self.socket.sendto(tx_bytes, address)
        except OSError as error:
            if getattr(error, "winerror", None) != _WSAENETUNREACH:
                raise

    def fileno(self) -> int:
        """Returns the descriptor of the socket."""
        return self.socket.fileno()

    def getsockname(self) -> tuple[str, int]:
        """Returns the address and port that the socket sends from."""
        return cast("tuple[str, int]", self.socket.getsockname())

    @property
    def network_interface(self) -> IfaceInfo:
        """The interface that it sends on."""
        return self._iface_info

    def _set_up(self, address: str) -> None:
        scoped = self.addr_family == socket.AF_INET6 and not is_windows
        self.socket.bind((address, 0, 0, self._iface_info.index) if scoped else (address, 0))
        os_multicast.set_multicast_if(self.socket, self.mcast_ips, self._iface_info, self.addr_family)
        # On Windows, the receiver decides whether it receives datagrams of this machine.
        loop = self.enable_external_loopback or (is_mac and self._iface_info.is_localhost())
        if self.addr_family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self.ttl)
            if not is_windows:
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, self.ttl)
            if not is_windows:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loop)

    def _canonical(self, address: IPv4Or6Address) -> IPv4Or6Address:
        """Returns the address as it is written in `mcast_ips_set`; it may be written differently, or be an object."""
        try:
            text = str(ipaddress.ip_address(address[0]))
        except ValueError:
            text = str(address[0])
        if text not in self.mcast_ips_set:
            raise MulticastExpertError(
                f"The given destination address ({address[0]}) was not one of the addresses given for this"
                " McastTxSocket to transmit to"
            )
        return cast("IPv4Or6Address", (text, *address[1:]))


def _select_interface(specifier: IfaceSpecifier | None, addr_family: int) -> IfaceInfo:
    if specifier is None:
        iface = get_default_gateway_iface(addr_family)
        if iface is None or not iface.ip_addrs(addr_family):
            raise MulticastExpertError(
                "iface not specified but unable to determine the default gateway on this machine"
            )
        return iface
    first, *others = find_interfaces([specifier])
    if others:
        names = ", ".join(each.machine_name for each in (first, *others))
        raise MulticastExpertError(
            f"Interface specifier {specifier} matches multiple interfaces ({names}): select one from"
            " scan_interfaces() or find_interfaces()"
        )
    return first
