"""AsyncMcastRxSocket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import lab
import pytest
from pymcast.multicast_expert import AsyncMcastRxSocket, McastTxSocket, MulticastExpertError

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
GROUPS = {V4: ["239.8.0.1", "239.8.0.2"], V6: ["ff15::801", "ff15::802"]}

FAMILIES = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])


def talker(other: lab.Host, family: int) -> McastTxSocket:
    return other.run(lambda: McastTxSocket(family, GROUPS[family], iface="one").__enter__())


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_needs_a_running_loop(other: lab.Host, port: int) -> None:
    with pytest.raises(RuntimeError):
        AsyncMcastRxSocket(V4, GROUPS[V4], port, iface="one").__enter__()


@FAMILIES
def test_receives(other: lab.Host, port: int, family: int) -> None:
    async def work() -> None:
        with AsyncMcastRxSocket(family, GROUPS[family], port, iface="one") as rx:
            tx = talker(other, family)
            waiting = asyncio.ensure_future(rx.recvfrom())
            await lab.let_tasks_run()
            tx.sendto(b"hello", (GROUPS[family][1], port))
            payload, address = await waiting
            assert (payload, address[1]) == (b"hello", tx.getsockname()[1])
            # B11: 4,096 bytes was all.
            tx.sendto(bytes(9000), (GROUPS[family][0], port))
            assert await rx.recv() == bytes(9000)
            tx.__exit__(None, None, None)

    run(work())


@FAMILIES
def test_a_timeout_raises_timeout_error(other: lab.Host, port: int, family: int) -> None:
    async def work() -> None:
        with AsyncMcastRxSocket(family, GROUPS[family], port, iface="one", timeout=0.02) as rx:
            with pytest.raises(asyncio.TimeoutError):
                await rx.recv()
            rx.settimeout(0)
            with pytest.raises(asyncio.TimeoutError):
                await rx.recv()
            tx = talker(other, family)
            tx.sendto(b"there", (GROUPS[family][0], port))
            assert await rx.recv() == b"there"
            rx.settimeout(5)
            waiting = asyncio.ensure_future(rx.recv())
            await lab.let_tasks_run()
            tx.sendto(b"in time", (GROUPS[family][0], port))
            assert await waiting == b"in time"
            tx.__exit__(None, None, None)

    run(work())


@FAMILIES
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_each_datagram_goes_to_one_waiter(
    other: lab.Host, port: int, family: int, timeout: float | None
) -> None:
    """B4: both were given it."""

    async def work() -> None:
        with AsyncMcastRxSocket(family, GROUPS[family], port, iface="one", timeout=timeout) as rx:
            tx = talker(other, family)
            waiters = [asyncio.ensure_future(rx.recv()) for _ in range(20)]
            await lab.let_tasks_run()
            for number in range(20):
                tx.sendto(b"%d" % number, (GROUPS[family][number % 2], port))
                if number % 3 == 0:
                    await asyncio.sleep(0)
            heard = await asyncio.gather(*waiters)
            assert sorted(heard) == sorted(b"%d" % number for number in range(20))
            tx.__exit__(None, None, None)

    run(work())


@FAMILIES
def test_a_cancelled_call_loses_no_datagram(other: lab.Host, port: int, family: int) -> None:
    async def work() -> None:
        with AsyncMcastRxSocket(family, GROUPS[family], port, iface="one") as rx:
            tx = talker(other, family)
            heard: list[bytes] = []
            for number in range(100):
                tx.sendto(b"%d" % number, (GROUPS[family][0], port))
                try:
                    heard.append(await asyncio.wait_for(rx.recv(), 0 if number % 2 else 0.001))
                except asyncio.TimeoutError:
                    pass
            while len(heard) < 100:
                heard.append(await asyncio.wait_for(rx.recv(), 30))
            assert sorted(heard) == sorted(b"%d" % number for number in range(100))
            tx.__exit__(None, None, None)

    run(work())


def test_its_sockets_work_with_add_reader(other: lab.Host, port: int) -> None:
    async def work() -> None:
        with AsyncMcastRxSocket(V4, GROUPS[V4], port, iface="one") as rx:
            tx = talker(other, V4)
            waiting = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(rx.sockets[0], 100))
            await lab.let_tasks_run()
            tx.sendto(b"raw", (GROUPS[V4][0], port))
            assert await waiting == b"raw"
            with pytest.raises(MulticastExpertError):
                rx.__enter__()
            tx.__exit__(None, None, None)

    run(work())
