"""pymcast.

--how: plain (`recv`, `send`), batches, async, drop-in (pymcast.multicast_expert); to receive also
into and reader, to send also writer.
"""

import asyncio
import socket

import pymcast
from pymcast import aio, multicast_expert

import sampler

# Datagrams that are handed over at once.
BATCH = 64


def receiver(work, module=pymcast):
    place = (work.group, work.port)
    return module.Receiver(place, interface=work.interface, receive_buffer=work.buffer or None)


def receive_plain(work, counters):
    recv = receiver(work).recv
    sampler.start(work, counters)
    while True:
        payload = recv().payload
        counters.datagrams += 1
        counters.bytes += len(payload)


def receive_into(work, counters):
    recv_into, buffer = receiver(work).recv_into, bytearray(65536)
    sampler.start(work, counters)
    while True:
        counters.bytes += recv_into(buffer)
        counters.datagrams += 1


def receive_batches(work, counters):
    recv_batch = receiver(work).recv_batch
    sampler.start(work, counters)
    while True:
        batch = recv_batch()
        counters.bytes += sum([len(datagram.payload) for datagram in batch])
        counters.datagrams += len(batch)


def receive_reader(work, counters):
    reader = receiver(work).reader()
    sampler.start(work, counters)
    for datagram in reader:
        counters.bytes += len(datagram.payload)
        counters.datagrams += 1


def receive_async(work, counters):
    async def receive():
        recv = receiver(work, aio).recv
        sampler.start(work, counters)
        while True:
            counters.bytes += len((await recv()).payload)
            counters.datagrams += 1

    asyncio.run(receive())


def receive_drop_in(work, counters):
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


def send_plain(work, counters):
    send, payload = sender(work).send, bytes(work.size)
    sampler.start(work, counters)
    while True:
        send(payload)
        counters.datagrams += 1
        counters.bytes += work.size


def send_batches(work, counters):
    send_batch, payloads = sender(work).send_batch, [bytes(work.size)] * BATCH
    sampler.start(work, counters)
    while True:
        sent = send_batch(payloads)
        counters.datagrams += sent
        counters.bytes += sent * work.size


def send_writer(work, counters):
    write, payload = sender(work).writer(BATCH).send, bytes(work.size)
    sampler.start(work, counters)
    while True:
        write(payload)
        counters.datagrams += 1
        counters.bytes += work.size


def send_async(work, counters):
    async def transmit():
        send, payload = sender(work, aio).send, bytes(work.size)
        sampler.start(work, counters)
        while True:
            await send(payload)
            counters.datagrams += 1
            counters.bytes += work.size

    asyncio.run(transmit())


def send_drop_in(work, counters):
    with multicast_expert.McastTxSocket(socket.AF_INET, [work.group], iface=work.interface) as tx:
        payload, to = bytes(work.size), (work.group, work.port)
        sampler.start(work, counters)
        while True:
            tx.sendto(payload, to)
            counters.datagrams += 1
            counters.bytes += work.size


WAYS = {
    "receive": {
        "plain": receive_plain,
        "into": receive_into,
        "reader": receive_reader,
        "batches": receive_batches,
        "async": receive_async,
        "drop-in": receive_drop_in,
    },
    "send": {
        "plain": send_plain,
        "writer": send_writer,
        "batches": send_batches,
        "async": send_async,
        "drop-in": send_drop_in,
    },
}

if __name__ == "__main__":
    asked = sampler.parse()
    WAYS[asked.role][asked.how](asked, sampler.Counters())
