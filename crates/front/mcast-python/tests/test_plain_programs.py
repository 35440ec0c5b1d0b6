"""Interoperability with programs that use plain sockets, as tutorials do, on the other host."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lab
import pymcast
import pytest
from pymcast import multicast_expert

PROGRAMS = Path(__file__).parent / "programs"
MESSAGE = "Hello, World!"


@contextmanager
def a_route(host: lab.Host) -> Iterator[None]:
    """Adds a multicast route on the host, for programs that do not choose an interface."""
    host.run(lambda: lab.ip("route add 224.0.0.0/4 dev one"))
    try:
        yield
    finally:
        host.run(lambda: lab.ip("route del 224.0.0.0/4 dev one"))


@pytest.mark.parametrize("address", [[], [lab.address("one", 2)]])
def test_receives_from_plain_programs(other: lab.Host, port: int, address: list[str]) -> None:
    group = "239.21.0.1"
    with (
        a_route(other),
        pymcast.Receiver((group, port), interface="one") as receiver,
        multicast_expert.McastRxSocket(socket.AF_INET, [group], port, iface="one", timeout=30) as drop_in,
    ):
        command = [sys.executable, str(PROGRAMS / "send.py"), group, str(port), MESSAGE, *address]
        with other.start(command) as program:
            assert program.wait(timeout=20) == 0, program.communicate()
        datagram = receiver.recv(timeout=30)
        assert (datagram.payload.decode(), str(datagram.source)) == (MESSAGE, lab.address("one", 2))
        assert drop_in.recvfrom() == (MESSAGE.encode(), datagram.address)


@pytest.mark.parametrize("address", ["0.0.0.0", lab.address("one", 2)])
@pytest.mark.parametrize("by", ["pymcast", "multicast_expert"])
def test_plain_programs_receive(other: lab.Host, port: int, address: str, by: str) -> None:
    group = "239.21.0.2"
    with (
        a_route(other),
        other.start([sys.executable, str(PROGRAMS / "receive.py"), group, str(port), address]) as listener,
    ):
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n", listener.communicate()
        if by == "pymcast":
            pymcast.Sender((group, port), interface="one").send(MESSAGE.encode())
        else:
            with multicast_expert.McastTxSocket(socket.AF_INET, [group], iface="one") as sender:
                sender.sendto(MESSAGE.encode(), (group, port))
        assert listener.communicate(timeout=20) == (f"{MESSAGE}\n", "")
