"""How fast Python takes datagrams out of a full queue, and sends one after the other.

    python benches/full_queue.py [--size 64] [--rounds 7] [--cpu] [--json]

It compares pymcast with multicast_expert and the socket module, as far as they are installed, on the
same work: a queue filled with as many datagrams as every contestant can hold, then emptied; and a
sender that sends as many to a receiver whose queue takes them. Rounds are interleaved, every second
goes backwards; medians are printed, and their ratios to multicast_expert. It makes its own network, and
needs root or user namespaces and the package lab of the tests.
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
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

import lab  # noqa: E402
import pymcast  # noqa: E402
from pymcast import aio  # noqa: E402
from pymcast import multicast_expert as drop_in  # noqa: E402

try:
    import multicast_expert
except ImportError:
    multicast_expert = None

GROUP, PORT = "239.9.0.1", 7700
PLACE = (GROUP, PORT)
TO = f"{GROUP}%one:{PORT}"
BUFFER = 4 << 20

Round = Callable[[], float]


class Work:
    """How much there is to do, and by which clock."""

    def __init__(self, size: int, cpu: bool) -> None:
        self.payload = b"x" * size
        # As many as fit a queue of the usual limit; fewer of larger ones.
        self.count = 4000 if size <= 512 else 1500
        # The processor's time of the thread where a machine is shared.
        self.clock = time.thread_time if cpu else time.perf_counter
        self.started = 0.0

    def start(self) -> None:
        self.started = self.clock()

    def rate(self) -> float:
        return self.count / (self.clock() - self.started)


def receiver(module: Any = pymcast, merging: bool = False, details: bool = True) -> Any:
    settings = {"interface": "one", "receive_buffer": BUFFER, "merging": merging, "details": details}
    return module.Receiver(PLACE, **settings)


def recv(work: Work, fill: Callable[[], None], details: bool = True) -> float:
    with receiver(details=details) as receives:
        recv = receives.recv
        fill()
        work.start()
        for _ in range(work.count):
            recv().payload
        return work.rate()


def recv_into(work: Work, fill: Callable[[], None], details: bool = True) -> float:
    with receiver(details=details) as receives:
        recv_into, buffer = receives.recv_into, bytearray(65536)
        fill()
        work.start()
        for _ in range(work.count):
            recv_into(buffer)
        return work.rate()


def recv_batch(work: Work, fill: Callable[[], None], merging: bool = False) -> float:
    with receiver(merging=merging) as receives:
        # The first receive is what turns merging on.
        receives.try_recv_batch()
        recv_batch, left = receives.recv_batch, work.count
        fill()
        work.start()
        while left > 0:
            left -= len([datagram.payload for datagram in recv_batch()])
        return work.rate()


def recv_batch_merged(work: Work, fill: Callable[[], None]) -> float:
    return recv_batch(work, fill, merging=True)


def reader(work: Work, fill: Callable[[], None], merging: bool = False) -> float:
    with receiver(merging=merging) as receives:
        receives.try_recv_batch()
        reads, left = receives.reader(), work.count
        fill()
        work.start()
        for datagram in reads:
            datagram.payload
            left -= 1
            if left == 0:
                break
        return work.rate()


def reader_merged(work: Work, fill: Callable[[], None]) -> float:
    return reader(work, fill, merging=True)


def aio_recv(work: Work, fill: Callable[[], None]) -> float:
    async def drain() -> float:
        async with receiver(aio) as receives:
            recv = receives.recv
            fill()
            work.start()
            for _ in range(work.count):
                (await recv()).payload
            return work.rate()

    return asyncio.run(drain())


def plain_socket() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    listener.bind(PLACE)
    request = struct.pack("=4s4s", socket.inet_aton(GROUP), socket.inet_aton(lab.address("one", 1)))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return listener


def socket_recvfrom(work: Work, fill: Callable[[], None]) -> float:
    with plain_socket() as listener:
        recvfrom = listener.recvfrom
        fill()
        work.start()
        for _ in range(work.count):
            payload, _ = recvfrom(65536)
        return work.rate()


def socket_recv_into(work: Work, fill: Callable[[], None]) -> float:
    with plain_socket() as listener:
        recv_into, buffer = listener.recv_into, bytearray(65536)
        fill()
        work.start()
        for _ in range(work.count):
            recv_into(buffer)
        return work.rate()


def expert_socket(made: Any) -> Any:
    opened = made(socket.AF_INET, [GROUP], PORT, iface="one").__enter__()
    opened.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return opened


def expert_recvfrom(package: Any, work: Work, fill: Callable[[], None]) -> float:
    opened = expert_socket(package.McastRxSocket)
    try:
        recvfrom = opened.recvfrom
        fill()
        work.start()
        for _ in range(work.count):
            payload, _ = recvfrom()
        return work.rate()
    finally:
        opened.__exit__(None, None, None)


def expert_async(package: Any, work: Work, fill: Callable[[], None]) -> float:
    async def drain() -> float:
        opened = expert_socket(package.AsyncMcastRxSocket)
        try:
            recvfrom = opened.recvfrom
            fill()
            work.start()
            for _ in range(work.count):
                payload, _ = await recvfrom()
            return work.rate()
        finally:
            opened.__exit__(None, None, None)

    return asyncio.run(drain())


def send(work: Work, sender: pymcast.Sender) -> float:
    send, payload = sender.send, work.payload
    work.start()
    for _ in range(work.count):
        send(payload)
    return work.rate()


def writer(work: Work, sender: pymcast.Sender) -> float:
    payload = work.payload
    work.start()
    with sender.writer() as writes:
        send = writes.send
        for _ in range(work.count):
            send(payload)
    return work.rate()


def send_batch(work: Work, sender: pymcast.Sender) -> float:
    payloads = [work.payload] * 50
    work.start()
    for _ in range(work.count // 50):
        sender.send_batch(payloads)
    return work.rate()


def sendto(work: Work, opened: Any) -> float:
    sendto, payload = opened.sendto, work.payload
    work.start()
    for _ in range(work.count):
        sendto(payload, PLACE)
    return work.rate()


def bare_sender() -> socket.socket:
    talks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    talks.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(lab.address("one", 2)))
    return talks


def packages() -> dict[str, Any]:
    """multicast_expert, if it is there, first: the rates of the others are multiples of it."""
    found = {} if multicast_expert is None else {"multicast_expert": multicast_expert}
    return {**found, "pymcast.multicast_expert": drop_in}


def receivers(work: Work, other: lab.Host) -> dict[str, Round]:
    singly = other.run(lambda: pymcast.Sender(TO, segmentation=False))
    in_trains = other.run(lambda: pymcast.Sender(TO))
    payloads = [work.payload] * work.count

    def fill() -> None:
        assert singly.send_batch(payloads) == work.count

    def fill_with_trains() -> None:
        assert in_trains.send_batch(payloads) == work.count

    rounds: dict[str, Round] = {}
    for name, package in packages().items():
        rounds[f"{name} recvfrom"] = lambda package=package: expert_recvfrom(package, work, fill)
    rounds["socket recvfrom"] = lambda: socket_recvfrom(work, fill)
    rounds["pymcast recv"] = lambda: recv(work, fill)
    rounds["pymcast recv, no details"] = lambda: recv(work, fill, details=False)
    rounds["pymcast reader"] = lambda: reader(work, fill)
    rounds["pymcast reader, merged"] = lambda: reader_merged(work, fill_with_trains)
    rounds["pymcast recv_batch"] = lambda: recv_batch(work, fill)
    rounds["pymcast recv_batch, merged"] = lambda: recv_batch_merged(work, fill_with_trains)
    rounds["socket recv_into"] = lambda: socket_recv_into(work, fill)
    rounds["pymcast recv_into"] = lambda: recv_into(work, fill)
    rounds["pymcast recv_into, no details"] = lambda: recv_into(work, fill, details=False)
    for name, package in packages().items():
        rounds[f"{name} async recvfrom"] = lambda package=package: expert_async(package, work, fill)
    rounds["pymcast.aio recv"] = lambda: aio_recv(work, fill)
    return rounds


def senders(work: Work, other: lab.Host) -> dict[str, Round]:
    ours = other.run(lambda: pymcast.Sender(TO))
    bare = other.run(bare_sender)
    rounds: dict[str, Round] = {}
    for name, package in packages().items():
        opened = other.run(lambda package=package: package.McastTxSocket(socket.AF_INET, [GROUP], iface="one").__enter__())
        rounds[f"{name} sendto"] = lambda opened=opened: sendto(work, opened)
    rounds["socket sendto"] = lambda: sendto(work, bare)
    rounds["pymcast send"] = lambda: send(work, ours)
    rounds["pymcast writer"] = lambda: writer(work, ours)
    rounds["pymcast send_batch"] = lambda: send_batch(work, ours)

    def while_somebody_listens(round: Round) -> Round:
        def listened() -> float:
            with plain_socket():
                return other.run(round)

        return listened

    return {name: while_somebody_listens(round) for name, round in rounds.items()}


def peer_of(name: str) -> str:
    """Whom of multicast_expert's a contestant is compared with."""
    if "async" in name or "aio" in name:
        return "multicast_expert async recvfrom"
    return "multicast_expert sendto" if "send" in name or "writer" in name else "multicast_expert recvfrom"


def print_rates(rates: dict[str, list[float]], as_json: bool) -> None:
    if as_json:
        for name, each in rates.items():
            print(json.dumps({"name": name, "per_second": [round(rate) for rate in each]}))
        return
    medians = {name: statistics.median(each) for name, each in rates.items()}
    for name, median in medians.items():
        peer = medians.get(peer_of(name))
        print(f"{name:<42}{median / 1000:>9.0f} k/s" + (f"{median / peer:>8.1f} x" if peer else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="a line for each contestant, with every round")
    parser.add_argument("--cpu", action="store_true", help="per second of processor time, for shared machines")
    asked = parser.parse_args()
    work = Work(asked.size, asked.cpu)
    lab.enter()
    other = lab.Host()
    lab.connect(other)
    contestants = {**receivers(work, other), **senders(work, other)}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(asked.rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            rates[name].append(contestants[name]())
    print_rates(rates, asked.json)


if __name__ == "__main__":
    main()
