"""pymcast.multicast_expert: every name of 1.6.0, its behaviour, and none of its faults."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import ipaddress
import os
import resource
import select
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import lab
import pytest
from pymcast import multicast_expert
from pymcast.multicast_expert import (
    IfaceInfo,
    McastRxSocket,
    McastTxSocket,
    MulticastExpertError,
    find_interfaces,
    scan_interfaces,
)
from pymcast.multicast_expert import interfaces as interfaces_module

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)

# As inspect.signature has them in 1.6.0, without annotations.
SIGNATURES = {
    "IfaceInfo": "(machine_name, index, link_layer_address, ip4_addrs, ip6_addrs)",
    "IfaceInfo.is_localhost": "(self)",
    "IfaceInfo.ip_addrs": "(self, family)",
    "scan_interfaces": "()",
    "find_interfaces": "(specifiers, *, ifaces=None)",
    "get_interface_ips": "(include_ipv4=True, include_ipv6=True)",
    "get_default_gateway_iface": "(addr_family, *, ifaces=None)",
    "get_default_gateway_iface_ip": "(addr_family, *, ifaces=None)",
    "get_default_gateway_iface_ip_v4": "(*, ifaces=None)",
    "get_default_gateway_iface_ip_v6": "(*, ifaces=None)",
    "validate_mcast_ip": "(mcast_ip, addr_family)",
    "McastTxSocket": "(addr_family, mcast_ips, iface=None, ttl=1, enable_external_loopback=False, iface_ip=None)",
    "McastTxSocket.sendto": "(self, tx_bytes, address)",
    "McastTxSocket.fileno": "(self)",
    "McastTxSocket.getsockname": "(self)",
    "McastRxSocket": "(addr_family, mcast_ips, port, iface=None, ifaces=None, source_ips=None, timeout=None,"
    " blocking=None, enable_external_loopback=False, iface_ip=None, iface_ips=None)",
    "McastRxSocket.recvfrom": "(self, bufsize=4096, flags=0)",
    "McastRxSocket.recv": "(self, bufsize=4096, flags=0)",
    "McastRxSocket.filenos": "(self)",
    "McastRxSocket.settimeout": "(self, timeout)",
    "AsyncMcastRxSocket": "(addr_family, mcast_ips, port, iface=None, ifaces=None, source_ips=None, timeout=None,"
    " blocking=None, enable_external_loopback=False, iface_ip=None, iface_ips=None)",
    "AsyncMcastRxSocket.recvfrom": "(self)",
    "AsyncMcastRxSocket.recv": "(self)",
    "async_rx_socket.DEFAULT_RX_BUFSIZE": "4096",
    "interfaces.netifaces.interfaces": "()",
    "name_to_index.iface_name_to_index": "(iface_name)",
    "os_multicast.make_ip_mreqn_struct": "(mcast_addr, iface_info)",
    "os_multicast.make_ipv6_mreq_struct": "(mcast_ip, iface_info)",
    "os_multicast.set_multicast_if": "(mcast_socket, mcast_ips, iface_info, addr_family)",
    "os_multicast.add_memberships": "(mcast_socket, mcast_ips, iface_info, addr_family)",
    "os_multicast.add_source_specific_memberships": "(mcast_socket, mcast_ips, source_ips, iface_info)",
    "rx_socket.BaseMcastRxSocket.filenos": "(self)",
    "rx_socket.DEFAULT_RX_BUFSIZE": "4096",
    "tx_socket.McastTxSocket.fileno": "(self)",
    "utils.ip_interface_to_ip_string": "(ip_interface)",
    "utils.is_windows": "False",
    "utils.is_mac": "False",
    "LOCALHOST_IPV4": "'127.0.0.1'",
    "LOCALHOST_IPV6": "'::1'",
}


def named(path: str) -> Any:
    found: Any = multicast_expert
    for part in path.split("."):
        if isinstance(found, type(sys)) and not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", SIGNATURES)
def test_every_name_exists_with_its_signature(path: str) -> None:
    found = named(path)
    if not callable(found):
        assert repr(found) == SIGNATURES[path]
        return
    signature = inspect.signature(found)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    assert text == SIGNATURES[path]


def test_types_and_exceptions_are_those_of_the_original() -> None:
    assert issubclass(MulticastExpertError, RuntimeError)
    for name in ("IPv4Or6Address", "MulticastAddress", "IfaceSpecifier"):
        assert hasattr(multicast_expert, name)
    info = IfaceInfo("x", 1, None, [], [])
    assert info == IfaceInfo("x", 1, None, [], [])
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.index = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        hash(info)
    with pytest.raises(KeyError):
        info.ip_addrs(99)
    assert {"IP_ADD_SOURCE_MEMBERSHIP", "IP_DROP_SOURCE_MEMBERSHIP"} <= set(dir(socket))


@pytest.mark.parametrize(
    ("address", "family", "error"),
    [
        ("239.255.1.3", V4, None),
        (ipaddress.ip_address("ff02::1"), V6, None),
        ("10.0.0.1", V4, MulticastExpertError),
        ("239.255.1.3", V6, MulticastExpertError),
        ("ff02::1", V4, MulticastExpertError),
        ("nonsense", V4, ValueError),
    ],
)
def test_group_addresses_are_validated(address: str, family: int, error: type[Exception] | None) -> None:
    if error is None:
        multicast_expert.validate_mcast_ip(address, family)
    else:
        with pytest.raises(error):
            multicast_expert.validate_mcast_ip(address, family)


# Interfaces


def the(name: str) -> IfaceInfo:
    return find_interfaces([name])[0]


def test_interfaces_are_scanned_and_found(other: lab.Host) -> None:
    scanned = scan_interfaces()
    assert [each.machine_name for each in scanned if not each.is_localhost()] == list(lab.LINKS)
    one = the("one")
    assert one in scanned
    assert one.index == socket.if_nametoindex("one")
    assert ipaddress.IPv4Interface(f"{lab.address('one', 1)}/24") in one.ip4_addrs
    assert ipaddress.IPv6Interface(f"{lab.address('one', 1, 6)}/64") in one.ip6_addrs
    link_local = next(str(each.ip) for each in one.ip6_addrs if each.ip.is_link_local)
    with_scope = next(str(each).split("/")[0] for each in one.ip6_addrs if each.ip.is_link_local)
    assert with_scope.endswith("%one")
    for specifier in ("one", lab.address("one", 1), ipaddress.ip_address(lab.address("one", 1, 6)), one):
        assert find_interfaces([specifier]) == [one]
    assert find_interfaces([with_scope, link_local.partition("%")[0], "two"]) == [one, the("two")]
    assert find_interfaces([]) == []
    for wrong, message in (("nowhere", "valid interface name or IP"), ("10.9.9.9", "No matches found")):
        with pytest.raises(MulticastExpertError, match=message):
            find_interfaces([wrong])
    assert set(multicast_expert.get_interface_ips(include_ipv6=False)) == {
        "127.0.0.1",
        lab.address("one", 1),
        lab.address("two", 1),
    }


def test_iface_infos_are_returned_without_a_scan(other: lab.Host) -> None:
    one = the("one")
    with mock.patch.object(interfaces_module.netifaces, "interfaces") as interfaces:
        assert find_interfaces([one, one]) == [one, one]
        McastTxSocket(V4, ["239.255.1.3"], iface=one)
        McastRxSocket(V4, ["239.255.1.3"], 5000, ifaces=[one])
    interfaces.assert_not_called()


def test_netifaces_can_be_patched(other: lab.Host) -> None:
    addresses = {
        interfaces_module.netifaces.AF_INET: [{"addr": "192.0.2.9", "netmask": "255.255.255.0"}],
        interfaces_module.netifaces.AF_INET6: [
            {"addr": "fe80::9%lo", "netmask": "ffff:ffff:ffff:ffff::/64"},
        ],
        interfaces_module.netifaces.AF_LINK: [{"addr": "02:00:00:00:00:09"}],
    }
    with (
        mock.patch.object(interfaces_module.netifaces, "interfaces", return_value=["lo"]),
        mock.patch.object(interfaces_module.netifaces, "ifaddresses", return_value=addresses),
    ):
        (found,) = scan_interfaces()
    assert found == IfaceInfo(
        "lo",
        1,
        "02:00:00:00:00:09",
        [ipaddress.IPv4Interface("192.0.2.9/24")],
        [ipaddress.IPv6Interface("fe80::9%lo/64")],
    )


def test_an_address_on_two_interfaces_warns(other: lab.Host) -> None:
    lab.ip(f"addr add {lab.address('one', 1)}/32 dev two")
    try:
        both = find_interfaces([lab.address("one", 1)])
        assert [each.machine_name for each in both] == ["one", "two"]
        with pytest.raises(MulticastExpertError, match="multiple interfaces"):
            McastTxSocket(V4, ["239.255.1.3"], iface=lab.address("one", 1))
        with pytest.warns(UserWarning, match=lab.address("one", 1)):
            assert lab.address("one", 1) in multicast_expert.get_interface_ips()
    finally:
        lab.ip(f"addr del {lab.address('one', 1)}/32 dev two")


def test_the_default_gateway_is_found(other: lab.Host) -> None:
    assert multicast_expert.get_default_gateway_iface(V4) is None
    assert multicast_expert.get_default_gateway_iface_ip_v4() is None
    with pytest.raises(MulticastExpertError, match="default gateway"):
        McastTxSocket(V4, ["239.255.1.3"])
    gateway = lab.address("two", 2)
    lab.ip(f"route add default via {lab.address('one', 2)} metric 200")
    lab.ip(f"route add default via {gateway} metric 100")
    lab.ip(f"-6 route add default via {lab.address('two', 2, 6)}")
    try:
        two = the("two")
        assert multicast_expert.get_default_gateway_iface(V4) == two
        assert multicast_expert.get_default_gateway_iface_ip(V4) == lab.address("two", 1)
        assert multicast_expert.get_default_gateway_iface_ip_v4(ifaces=[two]) == lab.address("two", 1)
        assert multicast_expert.get_default_gateway_iface_ip_v6() == lab.address("two", 1, 6)
        assert multicast_expert.get_default_gateway_iface_ip_v4(ifaces=[]) is None
        assert interfaces_module.netifaces.gateways()["default"] == {
            V4: (gateway, "two"),
            V6: (lab.address("two", 2, 6), "two"),
        }
        assert McastTxSocket(V4, ["239.255.1.3"]).network_interface == two
        assert McastTxSocket(V6, ["ff15::1"]).network_interface == two
    finally:
        lab.ip("route del default metric 100")
        lab.ip("route del default metric 200")
        lab.ip("-6 route del default")


def test_loopback_is_recognized_by_its_ipv4_address() -> None:
    """B1: 127.0.0.1/8 was not recognised."""
    lo = IfaceInfo("lo", 1, None, [ipaddress.IPv4Interface("127.0.0.1/8")], [])
    assert lo.is_localhost()
    assert IfaceInfo("lo", 1, None, [], [ipaddress.IPv6Interface("::1/128")]).is_localhost()
    assert not IfaceInfo("x", 2, None, [ipaddress.IPv4Interface("10.0.0.1/8")], []).is_localhost()


# Sending and receiving


def group_of(family: int) -> str:
    return "239.6.0.1" if family == V4 else "ff15::601"


def talker(
    other: lab.Host, family: int, link: str = "one", groups: list[str] | None = None
) -> McastTxSocket:
    """A sender on the other host, which is open."""
    return other.run(lambda: McastTxSocket(family, groups or [group_of(family)], iface=link).__enter__())


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_sends_and_receives(other: lab.Host, port: int, family: int) -> None:
    version = 4 if family == V4 else 6
    group = group_of(family)
    with McastRxSocket(family, [group], port, iface="one", timeout=30) as rx:
        tx = talker(other, family)
        assert tx.sendto(b"hello", (group, port)) is None  # type: ignore[func-returns-value]
        received = rx.recvfrom()
        assert received is not None
        payload, address = received
        assert payload == b"hello"
        assert address[:2] == (lab.address("one", 2, version), tx.getsockname()[1])
        assert tx.getsockname()[0] == lab.address("one", 2, version)
        tx.sendto(b"", (group, port))
        assert rx.recv() == b""
        rx.settimeout(0)
        assert rx.recv() is None
        assert rx.recvfrom() is None
        rx.settimeout(0.01)
        assert rx.recvfrom() is None
        rx.settimeout(-1)
        with pytest.raises(ValueError, match="timeout"):
            rx.recvfrom()
        assert rx.network_interfaces == [the("one")]
        assert all(isinstance(each, socket.socket) for each in rx.sockets)
        assert rx.filenos() == [each.fileno() for each in rx.sockets]
        assert isinstance(tx.socket, socket.socket)
        assert tx.fileno() == tx.socket.fileno()
        tx.sendto(b"select", (group, port))
        assert select.select(rx.filenos(), [], [], 5)[0]
        tx.__exit__(None, None, None)


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_receives_only_its_groups_and_each_datagram_once(other: lab.Host, port: int, family: int) -> None:
    """B2 and B3: with IPv6 on two interfaces it came twice, and by interfaces that others had joined on."""
    group, wrong = group_of(family), group_of(family)[:-1] + "9"
    with (
        McastRxSocket(family, [group], port, iface="one", timeout=30) as only_one,
        McastRxSocket(family, [group], port, ifaces=["one", "two"], timeout=30) as both,
        McastRxSocket(family, [group, wrong], port, iface="two", timeout=30),
    ):
        by_one = talker(other, family, "one", [group, wrong])
        by_two = talker(other, family, "two", [group, wrong])
        by_two.sendto(b"by two", (group, port))
        by_one.sendto(b"wrong group", (wrong, port))
        by_two.sendto(b"wrong group", (wrong, port))
        by_one.sendto(b"by one", (group, port))
        by_one.sendto(b"last", (group, port))
        assert [only_one.recv() for _ in range(2)] == [b"by one", b"last"]
        assert sorted(both.recv() or b"" for _ in range(3)) == [b"by one", b"by two", b"last"]
        for rx in (only_one, both):
            rx.settimeout(0.05)
            assert rx.recv() is None
        for tx in (by_one, by_two):
            tx.__exit__(None, None, None)


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_several_receivers_each_get_a_copy(other: lab.Host, port: int, family: int) -> None:
    group = group_of(family)
    with (
        McastRxSocket(family, [group], port, iface="one", timeout=30) as first,
        McastRxSocket(family, [group], port, iface="one", timeout=30) as second,
    ):
        tx = talker(other, family)
        tx.sendto(b"both", (group, port))
        assert first.recv() == second.recv() == b"both"
        tx.__exit__(None, None, None)


def test_unicast_to_the_port_is_received(other: lab.Host, port: int) -> None:
    """As in 1.6.0 on Linux, where IPv4 receivers have one socket for all groups."""
    with (
        McastRxSocket(V4, ["239.6.0.1"], port, iface="one", timeout=30) as rx,
        other.run(lambda: socket.socket(V4, socket.SOCK_DGRAM)) as talks,
    ):
        talks.sendto(b"unicast", (lab.address("one", 1), port))
        assert rx.recv() == b"unicast"


def test_all_interfaces_but_loopback_by_default(other: lab.Host, port: int) -> None:
    with McastRxSocket(V4, ["239.6.0.1"], port, blocking=False) as rx:
        assert [each.machine_name for each in rx.network_interfaces] == list(lab.LINKS)
        assert rx.timeout == 0.0
        assert rx.recv() is None
    assert McastRxSocket(V4, ["239.6.0.1"], port, timeout=3, blocking=True).timeout is None


def test_external_loopback_is_off_by_default(other: lab.Host, port: int) -> None:
    for family in (V4, V6):
        group = group_of(family)
        with McastRxSocket(family, [group], port, iface="one", timeout=30) as rx:
            with McastTxSocket(family, [group], iface="one") as quiet:
                quiet.sendto(b"quiet", (group, port))
            with McastTxSocket(family, [group], iface="one", enable_external_loopback=True) as heard:
                heard.sendto(b"heard", (group, port))
            assert rx.recv() == b"heard"


def test_the_loopback_interface_works_by_name_and_address(other: lab.Host, port: int) -> None:
    with McastRxSocket(V4, ["239.6.0.2"], port, iface_ip="127.0.0.1", timeout=30) as rx:
        with McastTxSocket(V4, ["239.6.0.2"], iface_ip="127.0.0.1") as tx:
            tx.sendto(b"lo", ("239.6.0.2", port))
            assert rx.recv() == b"lo"


@pytest.mark.parametrize(
    "arguments",
    [
        {"iface": "one", "ifaces": ["two"]},
        {"iface": "one", "iface_ip": "10.1.1.1"},
        {"ifaces": ["one"], "iface_ips": ["10.1.1.1"]},
        {"iface_ip": "10.1.1.1", "iface_ips": ["10.1.1.1"]},
        {"iface": "nowhere"},
        {"iface": "one", "source_ips": ["fd01:1::2"]},
    ],
)
def test_invalid_arguments_are_rejected(other: lab.Host, arguments: dict[str, object]) -> None:
    """The last is B6: an IPv6 source of an IPv4 group was cut to four bytes."""
    with pytest.raises(MulticastExpertError):
        McastRxSocket(V4, ["239.255.1.3"], 5000, **arguments)  # type: ignore[arg-type]


def test_empty_groups_are_rejected(other: lab.Host) -> None:
    """B15: they were accepted, and nothing ever came."""
    with pytest.raises(MulticastExpertError, match="empty"):
        McastRxSocket(V4, [], 5000, iface="one")
    with pytest.raises(MulticastExpertError, match="empty"):
        McastTxSocket(V4, [], iface="one")
    with pytest.raises(MulticastExpertError):
        McastTxSocket(V4, ["239.255.1.3"], iface="one", iface_ip="10.1.1.1")


def test_port_0_selects_one_port_for_all_groups(other: lab.Host) -> None:
    """B15: rx.port stayed 0."""
    with McastRxSocket(V6, ["ff15::1", "ff15::2"], 0, iface="one") as rx:
        assert rx.port != 0
        assert {each.getsockname()[1] for each in rx.sockets} == {rx.port}


@pytest.mark.parametrize("kind", [McastTxSocket, McastRxSocket])
def test_opening_or_closing_twice_is_an_error_but_reopening_works(
    other: lab.Host, port: int, kind: Callable[..., McastTxSocket | McastRxSocket]
) -> None:
    ports = (port,) if kind is McastRxSocket else ()
    one = kind(V4, ["239.255.1.3"], *ports, iface="one")
    with pytest.raises(AttributeError):
        one.recv() if isinstance(one, McastRxSocket) else one.sendto(b"", ("239.255.1.3", port))
    with pytest.raises(MulticastExpertError, match="already closed"):
        one.__exit__(None, None, None)
    for _ in range(2):
        with one:
            assert one.is_opened
            with pytest.raises(MulticastExpertError, match="already open"):
                one.__enter__()
        assert not one.is_opened
    with pytest.raises((OSError, ValueError)) as caught:
        one.recv() if isinstance(one, McastRxSocket) else one.sendto(b"", ("239.255.1.3", port))
    assert isinstance(caught.value, ValueError if isinstance(one, McastRxSocket) else OSError)


def test_a_group_given_twice_is_joined_once(other: lab.Host, port: int) -> None:
    """B9: EADDRINUSE."""
    for family in (V4, V6):
        one = the("one")
        with McastRxSocket(family, [group_of(family)] * 2, port, ifaces=[one, one], timeout=30) as rx:
            assert len(rx.mcast_ips) == len(rx.sockets) == 1
            tx = talker(other, family, groups=[group_of(family)] * 2)
            tx.sendto(b"once", (group_of(family), port))
            assert rx.recv() == b"once"
            rx.settimeout(0.02)
            assert rx.recv() is None
            tx.__exit__(None, None, None)


def test_the_group_may_be_written_differently_when_sending(other: lab.Host, port: int) -> None:
    """B8: only the text that Python prints was accepted."""
    with McastRxSocket(V6, ["ff15::601"], port, iface="one", timeout=30) as rx:
        tx = talker(other, V6, groups=["FF15::601"])
        for written in ("FF15:0:0::0601", ipaddress.ip_address("ff15::601")):
            tx.sendto(b"x", (written, port))  # type: ignore[arg-type]
            assert rx.recv() == b"x"
        with pytest.raises(MulticastExpertError, match="not one of the addresses"):
            tx.sendto(b"x", ("ff15::602", port))
        tx.__exit__(None, None, None)


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_sources_are_filtered_for_both_families(other: lab.Host, port: int, family: int) -> None:
    """B12: IPv6 sources were refused."""
    version = 4 if family == V4 else 6
    group = "232.6.0.1" if family == V4 else "ff35::8000:601"
    stranger = "10.1.1.66" if family == V4 else "fd01:1::66"
    nodad = "" if family == V4 else " nodad"
    other.run(lambda: lab.ip(f"addr add {stranger}/{24 if family == V4 else 64} dev one{nodad}"))
    try:
        wanted = lab.address("one", 2, version)
        with McastRxSocket(family, [group], port, iface="one", source_ips=[wanted], timeout=30) as rx:
            assert rx.is_source_specific
            for source in (stranger, wanted):
                talks = other.run(partial(bound, family, source))
                talks.sendto(source.encode(), (group, port))
                talks.close()
            received = rx.recvfrom()
            assert received is not None
            assert (received[0].decode(), received[1][0]) == (wanted, wanted)
    finally:
        other.run(lambda: lab.ip(f"addr del {stranger}/{24 if family == V4 else 64} dev one"))


def bound(family: int, source: str) -> socket.socket:
    talks = socket.socket(family, socket.SOCK_DGRAM)
    talks.bind((source, 0))
    index = socket.if_nametoindex("one")
    if family == V4:
        talks.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    else:
        talks.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    return talks


def test_more_groups_than_a_socket_can_join_are_received(other: lab.Host, port: int) -> None:
    """21 groups, and 11 sources, were ENOBUFS."""
    groups = [f"239.7.0.{number}" for number in range(1, 101)]
    sources = [f"10.1.1.{number}" for number in range(2, 40)]
    with (
        McastRxSocket(V4, groups, port, ifaces=["one", "two"], timeout=30) as rx,
        McastRxSocket(V4, ["232.7.0.1"], port, iface="one", source_ips=sources, timeout=30) as of_sources,
    ):
        tx = talker(other, V4, groups=[*groups, "232.7.0.1"])
        for group in groups:
            tx.sendto(group.encode(), (group, port))
        assert sorted(rx.recv() or b"" for _ in groups) == sorted(group.encode() for group in groups)
        tx.sendto(b"source", ("232.7.0.1", port))
        assert of_sources.recv() == b"source"
        for each in (rx, of_sources):
            each.settimeout(0.02)
            assert each.recv() is None
        tx.__exit__(None, None, None)


def test_an_interface_without_address_can_be_joined(other: lab.Host, port: int) -> None:
    """B7: IndexError."""
    lab.ip("link add bare type veth peer name bare-peer")
    try:
        lab.ip("link set bare up")
        lab.ip("link set bare-peer up")
        with McastRxSocket(V4, ["239.6.0.1"], port, iface="bare", timeout=0) as rx:
            assert rx.recv() is None
        with pytest.raises(MulticastExpertError, match="address"):
            McastTxSocket(V4, ["239.6.0.1"], iface="bare").__enter__()
    finally:
        lab.ip("link del bare")


def test_waits_for_descriptors_above_1024(other: lab.Host, port: int) -> None:
    """B5: ValueError of select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.dup(0) for _ in range(1100)]
    try:
        with McastRxSocket(V4, ["239.6.0.1"], port, iface="one", timeout=30) as rx:
            assert min(rx.filenos()) >= 1024
            tx = talker(other, V4)
            tx.sendto(b"high", ("239.6.0.1", port))
            assert rx.recv() == b"high"
            tx.__exit__(None, None, None)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_peeking_leaves_the_datagram(other: lab.Host, port: int) -> None:
    with McastRxSocket(V6, ["ff15::601", "ff15::602"], port, iface="one", timeout=30) as rx:
        tx = talker(other, V6, groups=["ff15::601", "ff15::602"])
        tx.sendto(b"2", ("ff15::602", port))
        tx.sendto(b"1", ("ff15::601", port))
        for _ in range(2):
            peeked = rx.recv(flags=socket.MSG_PEEK)
            assert rx.recv(flags=socket.MSG_PEEK) == peeked
            assert rx.recv() == peeked
        tx.__exit__(None, None, None)


def test_no_socket_is_starved(other: lab.Host, port: int) -> None:
    with McastRxSocket(V6, ["ff15::601", "ff15::602"], port, iface="one", timeout=30) as rx:
        tx = talker(other, V6, groups=["ff15::601", "ff15::602"])
        for _ in range(10):
            tx.sendto(b"1", ("ff15::601", port))
        tx.sendto(b"2", ("ff15::602", port))
        assert b"2" in [rx.recv() for _ in range(3)]
        tx.__exit__(None, None, None)


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_without_msg_dontwait_a_receive_does_not_block(
    other: lab.Host, port: int, family: int
) -> None:
    """Windows has no flag for a receive that doesn't wait."""
    with mock.patch("pymcast.multicast_expert.rx_socket._DONT_WAIT", 0):
        with McastRxSocket(family, [group_of(family)], port, ifaces=["one", "two"], timeout=0.02) as rx:
            tx = talker(other, family)
            assert rx.recv() is None
            for number in range(3):
                tx.sendto(b"%d" % number, (group_of(family), port))
            rx.settimeout(5)
            assert [rx.recv() for _ in range(3)] == [b"0", b"1", b"2"]
            rx.settimeout(0.02)
            assert rx.recv() is None
            tx.__exit__(None, None, None)


def test_interface_names_may_contain_any_character(other: lab.Host) -> None:
    lab.ip("link add 77 type veth peer name a\\b")
    try:
        assert the("77").index == socket.if_nametoindex("77")
        assert the("a\\b").index == socket.if_nametoindex("a\\b")
    finally:
        lab.ip("link del 77")


def test_invalid_ttls_and_sizes_are_errors_of_the_system(other: lab.Host, port: int) -> None:
    with pytest.raises(OSError), McastTxSocket(V4, ["239.6.0.1"], iface="one", ttl=256):
        pass
    for ttl in (-1, 0, 255):
        with McastTxSocket(V4, ["239.6.0.1"], iface="one", ttl=ttl) as tx:
            expected = 1 if ttl == -1 else ttl
            assert tx.socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == expected
            with pytest.raises(OSError):
                tx.sendto(bytes(70_000), ("239.6.0.1", port))
            for payload in (bytearray(b"x"), memoryview(b"x")):
                tx.sendto(payload, ("239.6.0.1", port))  # type: ignore[arg-type]


# Unchanged programs

PROGRAM = """
import multicast_expert, netifaces, sys
import multicast_expert.rx_socket
from multicast_expert.utils import MulticastExpertError
assert multicast_expert.__name__ == "pymcast.multicast_expert"
assert multicast_expert.rx_socket.McastRxSocket is multicast_expert.McastRxSocket
assert MulticastExpertError is multicast_expert.MulticastExpertError
assert "lo" in netifaces.interfaces()
assert __name__ == "__main__"
print(sys.argv[1:])
"""


@pytest.mark.parametrize("way", ["program", "module", "code"])
def test_unchanged_programs_run(tmp_path: Path, way: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    run = {"program": ["program.py"], "module": ["-m", "program"], "code": ["-c", PROGRAM]}[way]
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pymcast.compat", *run, "an", "--argument"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.stdout, finished.stderr) == ("['an', '--argument']\n", "")


def test_compat_without_arguments_prints_its_usage() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pymcast.compat"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert "usage" in finished.stderr


def test_importing_the_drop_in_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(multicast_expert)
