"""pymcast among the peers of `cargo bench-peers`, in their words.

    PYTHONPATH=bench/python python crates/mcast-python/benches/pymcast_peer.py receive --how recv ...
    PYTHONPATH=bench/python python crates/mcast-python/benches/pymcast_peer.py send --how send ...

To receive: recv (the default), recv_into, recv_batch, async, expert (pymcast.multicast_expert).
To send: send (the default), send_batch, async, expert.
"""

import asyncio
import socket
import sys

import pymcast
import sampler
from pymcast import aio, multicast_expert

# Datagrams that are handed over at once.
BATCH = 64


def taken_from_arguments():
    """The way that was asked for; the other arguments are the sampler's."""
    if "--how" not in sys.argv:
        return None
    position = sys.argv.index("--how")
    how = sys.argv[position + 1]
    del sys.argv[position : position + 2]
    return how


def receiver(work, module=pymcast):
    place = (work.group, work.port)
    return module.Receiver(place, interface=work.interface, receive_buffer=work.buffer or None)


def receive_recv(work, counters):
    recv = receiver(work).recv
    sampler.start(work, counters)
    while True:
        payload = recv().payload
        counters.datagrams += 1
        counters.bytes += len(payload)


def receive_recv_into(work, counters):
    recv_into, buffer = receiver(work).recv_into, bytearray(65536)
    sampler.start(work, counters)
    while True:
        counters.bytes += recv_into(buffer)
        counters.datagrams += 1


def receive_recv_batch(work, counters):
    recv_batch = receiver(work).recv_batch
    sampler.start(work, counters)
    while True:
        batch = recv_batch()
        counters.bytes += sum([len(datagram.payload) for datagram in batch])
        counters.datagrams += len(batch)


def receive_async(work, counters):
    async def receive():
        recv = receiver(work, aio).recv
        sampler.start(work, counters)
        while True:
            counters.bytes += len((await recv()).payload)
            counters.datagrams += 1

    asyncio.run(receive())


def receive_expert(work, counters):
    with multicast_expert.McastRxSocket(socket.AF_INET, [work.group], work.port, iface=work.interface) as rx:
        if work.buffer:
            for each in rx.sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, work.buffer)
        sampler.start(work, counters)
        while True:
            payload, _ = rx.recvfrom(65536)
            counters.datagrams += 1
            counters.bytes += len(payload)


def sender(work, module=pymcast):
    return module.Sender((work.group, work.port), interface=work.interface, loopback=False)


def send_send(work, counters):
    send, payload = sender(work).send, bytes(work.size)
    sampler.start(work, counters)
    while True:
        send(payload)
        counters.datagrams += 1
        counters.bytes += work.size


def send_send_batch(work, counters):
    send_batch, payloads = sender(work).send_batch, [bytes(work.size)] * BATCH
    sampler.start(work, counters)
    while True:
        sent = send_batch(payloads)
        counters.datagrams += sent
        counters.bytes += sent * work.size


def send_async(work, counters):
    async def transmit():
        send, payload = sender(work, aio).send, bytes(work.size)
        sampler.start(work, counters)
        while True:
            await send(payload)
            counters.datagrams += 1
            counters.bytes += work.size

    asyncio.run(transmit())


def send_expert(work, counters):
    with multicast_expert.McastTxSocket(socket.AF_INET, [work.group], iface=work.interface) as tx:
        payload, to = bytes(work.size), (work.group, work.port)
        sampler.start(work, counters)
        while True:
            tx.sendto(payload, to)
            counters.datagrams += 1
            counters.bytes += work.size


WAYS = {
    "receive": {
        "recv": receive_recv,
        "recv_into": receive_recv_into,
        "recv_batch": receive_recv_batch,
        "async": receive_async,
        "expert": receive_expert,
    },
    "send": {"send": send_send, "send_batch": send_send_batch, "async": send_async, "expert": send_expert},
}

if __name__ == "__main__":
    how = taken_from_arguments()
    asked = sampler.parse()
    ways = WAYS[asked.role]
    ways[how or next(iter(ways))](asked, sampler.Counters())
