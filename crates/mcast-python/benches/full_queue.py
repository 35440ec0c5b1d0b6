"""How fast Python takes datagrams out of a full queue, and sends one after the other.

    python benches/full_queue.py [--size 64] [--rounds 7] [--cpu] [--json]

It compares pymcast with multicast_expert and the socket module, as far as they are installed, on the
same work: a queue filled with as many datagrams as every contestant can hold, then emptied; and a
sender that sends as many, one a call, to a receiver whose queue takes them. Rounds are interleaved,
medians told, as are the ratios to multicast_expert. It makes its own network, and needs root or user
namespaces and the package lab of the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

import lab  # noqa: E402
import pymcast  # noqa: E402
from pymcast import aio  # noqa: E402

try:
    import multicast_expert
except ImportError:
    multicast_expert = None

GROUP, PORT = "239.9.0.1", 7700
# As many as fit a queue of the usual limit; fewer of larger ones.
COUNT = 4000
BUFFER = 4 << 20

# Replaced by the processor's time of the thread where a machine is shared: --cpu.
clock: Callable[[], float] = time.perf_counter

Drain = Callable[[Callable[[], None]], float]


def timed(receive: Callable[[], int]) -> float:
    """Calls until all datagrams are there; the datagrams a second."""
    left = COUNT
    started = clock()
    while left > 0:
        left -= receive()
    return COUNT / (clock() - started)


def pymcast_recv(fill: Callable[[], None]) -> float:
    with pymcast.Receiver((GROUP, PORT), interface="one", receive_buffer=BUFFER, merging=False) as receiver:
        fill()
        recv = receiver.recv
        return timed(lambda: len(recv(1).payload) > 0)


def pymcast_recv_into(fill: Callable[[], None]) -> float:
    with pymcast.Receiver((GROUP, PORT), interface="one", receive_buffer=BUFFER, merging=False) as receiver:
        fill()
        recv_into, buffer = receiver.recv_into, bytearray(65536)
        return timed(lambda: recv_into(buffer, 1) > 0)


def pymcast_recv_batch(fill: Callable[[], None], merging: bool = False) -> float:
    with pymcast.Receiver((GROUP, PORT), interface="one", receive_buffer=BUFFER, merging=merging) as receiver:
        receiver.try_recv_batch()
        fill()
        recv_batch = receiver.recv_batch
        return timed(lambda: sum([len(datagram.payload) > 0 for datagram in recv_batch(1)]))


def pymcast_reader(fill: Callable[[], None]) -> float:
    with pymcast.Receiver((GROUP, PORT), interface="one", receive_buffer=BUFFER, merging=False) as receiver:
        fill()
        reader = iter(receiver.reader())
        return timed(lambda: len(next(reader).payload) > 0)


def pymcast_recv_batch_merged(fill: Callable[[], None]) -> float:
    return pymcast_recv_batch(fill, merging=True)


def pymcast_async(fill: Callable[[], None]) -> float:
    async def drain() -> float:
        async with aio.Receiver((GROUP, PORT), interface="one", receive_buffer=BUFFER, merging=False) as receiver:
            fill()
            started = clock()
            for _ in range(COUNT):
                await receiver.recv()
            return COUNT / (clock() - started)

    return asyncio.run(drain())


def plain_socket() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    listener.bind((GROUP, PORT))
    request = struct.pack("=4s4s", socket.inet_aton(GROUP), socket.inet_aton(lab.address("one", 1)))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return listener


def socket_recvfrom(fill: Callable[[], None]) -> float:
    with plain_socket() as listener:
        fill()
        recvfrom = listener.recvfrom
        return timed(lambda: len(recvfrom(65536)[0]) > 0)


def socket_recv_into(fill: Callable[[], None]) -> float:
    with plain_socket() as listener:
        fill()
        recv_into, buffer = listener.recv_into, bytearray(65536)
        return timed(lambda: recv_into(buffer) > 0)


def expert_recvfrom(package: object) -> Drain:
    def drain(fill: Callable[[], None]) -> float:
        with package.McastRxSocket(socket.AF_INET, [GROUP], PORT, iface="one") as receiver:  # type: ignore[attr-defined]
            receiver.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            fill()
            recvfrom = receiver.recvfrom
            return timed(lambda: len(recvfrom()[0]) > 0)

    return drain


def expert_async(package: object) -> Drain:
    async def drain(fill: Callable[[], None]) -> float:
        with package.AsyncMcastRxSocket(socket.AF_INET, [GROUP], PORT, iface="one") as receiver:  # type: ignore[attr-defined]
            receiver.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            fill()
            started = clock()
            for _ in range(COUNT):
                await receiver.recvfrom()
            return COUNT / (clock() - started)

    return lambda fill: asyncio.run(drain(fill))


def sending(send: Callable[[bytes], object], size: int) -> float:
    payload = bytes(size)
    started = clock()
    for _ in range(COUNT):
        send(payload)
    return COUNT / (clock() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cpu", action="store_true", help="per second of processor time, for shared machines")
    asked = parser.parse_args()
    global clock, COUNT
    if asked.cpu:
        clock = time.thread_time
    if asked.size > 512:
        COUNT = 1500
    lab.enter()
    other = lab.Host()
    lab.connect(other)
    to = f"{GROUP}%one:{PORT}"
    plain = other.run(lambda: pymcast.Sender(to, segmentation=False))
    trains = other.run(lambda: pymcast.Sender(to))
    payloads = [b"x" * asked.size] * COUNT

    def fill() -> None:
        assert plain.send_batch(payloads) == COUNT

    def fill_with_trains() -> None:
        assert trains.send_batch(payloads) == COUNT

    receivers: dict[str, Callable[[], float]] = {
        "pymcast recv": lambda: pymcast_recv(fill),
        "pymcast recv_into": lambda: pymcast_recv_into(fill),
        "pymcast reader": lambda: pymcast_reader(fill),
        "pymcast recv_batch": lambda: pymcast_recv_batch(fill),
        "pymcast recv_batch, merged": lambda: pymcast_recv_batch_merged(fill_with_trains),
        "pymcast.aio recv": lambda: pymcast_async(fill),
        "socket recvfrom": lambda: socket_recvfrom(fill),
        "socket recv_into": lambda: socket_recv_into(fill),
    }
    packages = {"pymcast.multicast_expert": pymcast_expert()}
    if multicast_expert is not None:
        packages["multicast_expert"] = multicast_expert
    for name, package in packages.items():
        receivers[f"{name} recvfrom"] = lambda package=package: expert_recvfrom(package)(fill)
        receivers[f"{name} async recvfrom"] = lambda package=package: expert_async(package)(fill)

    senders: dict[str, Callable[[], float]] = {}
    single = other.run(lambda: pymcast.Sender(to))
    senders["pymcast send"] = lambda: other.run(lambda: sending(single.send, asked.size))
    talks = other.run(lambda: bare_sender())
    senders["socket sendto"] = lambda: other.run(
        lambda: sending(lambda payload: talks.sendto(payload, (GROUP, PORT)), asked.size)
    )
    for name, package in packages.items():
        opened = other.run(
            lambda package=package: package.McastTxSocket(socket.AF_INET, [GROUP], iface="one").__enter__()
        )
        senders[f"{name} sendto"] = lambda opened=opened: other.run(
            lambda: sending(lambda payload: opened.sendto(payload, (GROUP, PORT)), asked.size)
        )
    rates: dict[str, list[float]] = {name: [] for name in (*receivers, *senders)}
    for _ in range(asked.rounds):
        for name, drain in receivers.items():
            rates[name].append(drain())
        with plain_socket():
            for name, send in senders.items():
                rates[name].append(send())
    tell(rates, asked.json)


def bare_sender() -> socket.socket:
    talks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    talks.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(lab.address("one", 2)))
    return talks


def pymcast_expert() -> object:
    from pymcast import multicast_expert as ours

    return ours


def tell(rates: dict[str, list[float]], as_json: bool) -> None:
    medians = {name: statistics.median(each) for name, each in rates.items()}
    for name, median in medians.items():
        kind = "async recvfrom" if "aio" in name or "async" in name else "send" if "send" in name else "recvfrom"
        peer = f"multicast_expert {'sendto' if kind == 'send' else kind}"
        ratio = median / medians[peer] if peer in medians else None
        if as_json:
            print(json.dumps({"name": name, "per_second": round(median), "ratio": ratio}))
        else:
            print(f"{name:<42}{median / 1000:>9.0f} k/s" + (f"{ratio:>8.1f} x" if ratio else ""))


if __name__ == "__main__":
    main()
