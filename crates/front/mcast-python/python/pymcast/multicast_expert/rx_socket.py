"""Receiving sockets."""

from __future__ import annotations

import errno
import ipaddress
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from pymcast.multicast_expert import os_multicast
from pymcast.multicast_expert.interfaces import (
    IfaceInfo,
    IfaceSpecifier,
    find_interfaces,
    scan_interfaces,
)
from pymcast.multicast_expert.utils import (
    IPv4Or6Address,
    MulticastAddress,
    MulticastExpertError,
    distinct_addresses,
    ip_interface_to_ip_string,
    is_windows,
    validate_mcast_ip,
)

if TYPE_CHECKING:
    from typing_extensions import Self

PacketAndSenderAddress = tuple[bytes, IPv4Or6Address]
DEFAULT_RX_BUFSIZE = 4096

# Windows has no such flag: there, select is called first.
_DONT_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


class BaseMcastRxSocket:
    """Opens sockets and joins groups; derived classes receive."""

    def __init__(
        self,
        addr_family: int,
        mcast_ips: Sequence[MulticastAddress],
        port: int,
        iface: IfaceSpecifier | None = None,
        ifaces: Sequence[IfaceSpecifier] | None = None,
        source_ips: Sequence[str | ipaddress.IPv4Address | ipaddress.IPv6Address] | None = None,
        timeout: float | None = None,
        blocking: bool | None = None,
        enable_external_loopback: bool = False,
        iface_ip: str | None = None,
        iface_ips: Sequence[str] | None = None,
    ):
        """Stores the settings; a `with` statement opens it.

        addr_family: socket.AF_INET or AF_INET6.
        mcast_ips: the groups.
        port: the UDP port.
        iface, ifaces: the interface, or interfaces, to receive on: each an address, a name or an IfaceInfo.
            Default: all that have an address of the family, except loopback.
        source_ips: the only sources to receive from.
        timeout: see settimeout.
        blocking: True for a timeout of None, False for one of 0.
        enable_external_loopback: whether to receive datagrams that this machine sends (Windows; elsewhere
            the sender decides).
        iface_ip, iface_ips: the former names of iface and ifaces.

        Raises MulticastExpertError for invalid arguments and missing interfaces.
        """
        self.addr_family = addr_family
        self.mcast_ips = distinct_addresses([ipaddress.ip_address(each) for each in mcast_ips])
        if source_ips is not None:
            self.source_ips = distinct_addresses([ipaddress.ip_address(each) for each in source_ips])
        self.port = port
        self.is_opened = False
        self.timeout: float | None = timeout
        if blocking is not None:
            self.timeout = None if blocking else 0.0
        self._iface_infos = _select_interfaces(addr_family, iface, ifaces, iface_ip, iface_ips)
        if not self.mcast_ips:
            raise MulticastExpertError("mcast_ips is empty: there is no group to receive from")
        for each in self.mcast_ips:
            validate_mcast_ip(each, addr_family)
        self.is_source_specific = bool(source_ips)
        if self.is_source_specific:
            _check_sources(self.source_ips, addr_family)
        self.enable_external_loopback = enable_external_loopback

    def __enter__(self) -> Self:
        if self.is_opened:
            raise MulticastExpertError("Attempt to open an McastRxSocket that is already open")
        self.sockets: list[socket.socket] = []
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        self.is_opened = True
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.is_opened:
            raise MulticastExpertError("Attempt to close an McastRxSocket that is already closed")
        self._close()
        self.is_opened = False

    def filenos(self) -> list[int]:
        """Returns the descriptors of the sockets, for use with `select`."""
        return [each.fileno() for each in self.sockets]

    def settimeout(self, timeout: float | None) -> None:
        """Sets the timeout in seconds: 0 does not wait, None (the default) waits without limit."""
        self.timeout = timeout

    @property
    def network_interfaces(self) -> list[IfaceInfo]:
        """The interfaces that it receives on."""
        return self._iface_infos

    def _open(self) -> None:
        # Ignore duplicate interfaces.
        interfaces = list({iface.index: iface for iface in self._iface_infos}.values())
        if is_windows:
            for iface in interfaces:
                self._open_on_windows(iface)
        elif self.addr_family == socket.AF_INET6:
            for mcast_ip in self.mcast_ips:
                for iface in interfaces:
                    self._open_for_one(mcast_ip, iface)
        else:
            self._open_for_all(interfaces)

    def _open_on_windows(self, iface: IfaceInfo) -> None:
        addresses = iface.ip_addrs(self.addr_family)
        if not addresses:
            raise MulticastExpertError(
                f"{iface.machine_name} does not have an address of the selected address family"
            )
        opened = self._new_socket()
        opened.bind((ip_interface_to_ip_string(addresses[0]), self._bind_port()))
        for mcast_ip in self.mcast_ips:
            self._join(opened, mcast_ip, iface)
        loop = self.enable_external_loopback or iface.is_localhost()
        if self.addr_family == socket.AF_INET:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loop)
        self._note_port(opened)

    def _open_for_one(self, mcast_ip: os_multicast.Address, iface: IfaceInfo) -> None:
        """IPv6: opens a socket for one group and interface, bound to both."""
        opened = self._new_socket()
        os_multicast.receive_only_own_groups(opened, socket.AF_INET6)
        os_multicast.receive_only_by(opened, iface)
        opened.bind((str(mcast_ip).partition("%")[0], self._bind_port(), 0, iface.index))
        self._note_port(opened)
        try:
            self._join(opened, mcast_ip, iface)
        except OSError as error:
            if not self.is_source_specific or error.errno != errno.ENOBUFS:
                raise
            self.sockets.remove(opened)
            opened.close()
            raise MulticastExpertError(
                "the system's limit on sources per group was reached: increase net.ipv6.mld_max_msf"
            ) from error

    def _open_for_all(self, interfaces: list[IfaceInfo]) -> None:
        """IPv4: opens one socket for all groups, and another one whenever a socket reaches a system limit."""
        opened = self._open_ipv4()
        for iface in interfaces:
            for mcast_ip in self.mcast_ips:
                for source in self.source_ips if self.is_source_specific else [None]:
                    try:
                        self._join(opened, mcast_ip, iface, source)
                    except OSError as error:
                        if error.errno != errno.ENOBUFS:
                            raise
                        opened = self._open_ipv4()
                        self._join(opened, mcast_ip, iface, source)

    def _open_ipv4(self) -> socket.socket:
        opened = self._new_socket()
        if sys.platform != "linux":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        os_multicast.receive_only_own_groups(opened, socket.AF_INET)
        opened.bind(("0.0.0.0", self._bind_port()))
        self._note_port(opened)
        return opened

    def _new_socket(self) -> socket.socket:
        opened = socket.socket(self.addr_family, socket.SOCK_DGRAM)
        self.sockets.append(opened)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return opened

    def _bind_port(self) -> int:
        return self.port

    def _note_port(self, opened: socket.socket) -> None:
        """Port 0 stands for any port, but all sockets must use the same one."""
        self.port = opened.getsockname()[1]

    def _join(
        self,
        opened: socket.socket,
        mcast_ip: os_multicast.Address,
        iface: IfaceInfo,
        source: os_multicast.Address | None = None,
    ) -> None:
        if source is not None:
            os_multicast.add_source_specific_memberships(opened, [mcast_ip], [source], iface)
        elif self.is_source_specific:
            os_multicast.add_source_specific_memberships(opened, [mcast_ip], self.source_ips, iface)
        else:
            os_multicast.add_memberships(opened, [mcast_ip], iface, self.addr_family)

    def _close(self) -> None:
        for each in self.sockets:
            each.close()


class McastRxSocket(BaseMcastRxSocket):
    """Receives from multicast groups. Use it in a `with` statement."""

    # The socket, if there is only one and it supports non-blocking receives.
    _only: socket.socket | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        self._only = self.sockets[0] if _DONT_WAIT and len(self.sockets) == 1 else None
        self._ready: deque[socket.socket] = deque(self.sockets if _DONT_WAIT else ())
        return self

    def recvfrom(self, bufsize: int = 4096, flags: int = 0) -> PacketAndSenderAddress | None:
        """Receives a datagram; returns its bytes and source address, or None after the timeout.

        Datagrams longer than `bufsize` are cut off. `flags` are those of socket.recv.
        """
        timeout = self.timeout
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be non-negative")
        if self._only is not None:
            try:
                return self._only.recvfrom(bufsize, flags | _DONT_WAIT)
            except (BlockingIOError, TimeoutError):
                pass
        return self._receive(bufsize, flags, timeout)

    def recv(self, bufsize: int = 4096, flags: int = 0) -> bytes | None:
        """Receives a datagram as recvfrom does; returns only its bytes."""
        received = self.recvfrom(bufsize, flags)
        return None if received is None else received[0]

    def _receive(self, bufsize: int, flags: int, timeout: float | None) -> PacketAndSenderAddress | None:
        """Receives the next datagram of any socket."""
        self._check_open()
        deadline = None
        while True:
            # Threads may share this: each removes a socket from `_ready` while it uses it.
            while (ready := self._next_ready()) is not None:
                received = self._try(ready, bufsize, flags)
                if received is not None:
                    return received
            if timeout is not None and deadline is None:
                deadline = time.monotonic() + timeout
            readable = self._wait(deadline)
            if not readable:
                return None
            self._ready.extend(readable)

    def _next_ready(self) -> socket.socket | None:
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _close(self) -> None:
        self._only = None
        super()._close()

    def _check_open(self) -> None:
        """Raises AttributeError before the first opening, ValueError after closing."""
        if self.sockets and self.sockets[0].fileno() < 0:
            raise ValueError("the McastRxSocket is closed")

    def _try(self, ready: socket.socket, bufsize: int, flags: int) -> PacketAndSenderAddress | None:
        try:
            received: PacketAndSenderAddress = ready.recvfrom(bufsize, flags | _DONT_WAIT)
        except (BlockingIOError, TimeoutError):
            return None
        if _DONT_WAIT and ready not in self._ready:
            # It may have more. The other sockets get their turn first, except after peeking, which finds the same datagram.
            if flags & socket.MSG_PEEK:
                self._ready.appendleft(ready)
            else:
                self._ready.append(ready)
        # Without the flag, another receive could block.
        return received

    def _wait(self, deadline: float | None) -> list[socket.socket]:
        """Waits until at least one socket is readable; returns the readable sockets, none after the deadline."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if is_windows:
            return select.select(self.sockets, [], [], left)[0]
        # Not select, which is limited to descriptors below 1,024.
        poll = select.poll()
        by_descriptor = {each.fileno(): each for each in self.sockets}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        events = poll.poll(None if left is None else left * 1000)
        return [by_descriptor[descriptor] for descriptor, _ in events]


def _select_interfaces(
    addr_family: int,
    iface: IfaceSpecifier | None,
    ifaces: Sequence[IfaceSpecifier] | None,
    iface_ip: str | None,
    iface_ips: Sequence[str] | None,
) -> list[IfaceInfo]:
    """Returns the interfaces for the arguments, of which at most one may be given."""
    given: dict[str, Sequence[IfaceSpecifier]] = {
        "ifaces": list(ifaces or ()),
        "iface": [] if iface is None else [iface],
        "iface_ips": list(iface_ips or ()),
        "iface_ip": [] if iface_ip is None else [iface_ip],
    }
    names = [name for name, specifiers in given.items() if specifiers]
    if len(names) > 1:
        raise MulticastExpertError(f"{' and '.join(names)} may not be specified at the same time")
    if names:
        return find_interfaces(given[names[0]])
    found = [each for each in scan_interfaces() if each.ip_addrs(addr_family) and not each.is_localhost()]
    if not found:
        raise MulticastExpertError("Unable to discover any listenable interfaces on this machine")
    return found


def _check_sources(sources: list[os_multicast.Address], addr_family: int) -> None:
    version = 4 if addr_family == socket.AF_INET else 6
    for source in sources:
        if source.version != version:
            raise MulticastExpertError(f"the source {source} does not have the socket's address family")
