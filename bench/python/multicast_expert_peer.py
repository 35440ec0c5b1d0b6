"""multicast_expert, by its own documentation.

--how: plain (the default), or to receive also async.
"""

import asyncio
import socket

import multicast_expert

import sampler


def opened(made, work):
    listener = made(socket.AF_INET, mcast_ips=[work.group], port=work.port, iface=work.interface).__enter__()
    if work.buffer:
        for each in listener.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, work.buffer)
    return listener


def receive(work, counters):
    listener = opened(multicast_expert.McastRxSocket, work)
    sampler.start(work, counters)
    while True:
        payload, _ = listener.recvfrom()
        counters.datagrams += 1
        counters.bytes += len(payload)


def receive_async(work, counters):
    async def receive():
        listener = opened(multicast_expert.AsyncMcastRxSocket, work)
        sampler.start(work, counters)
        while True:
            payload, _ = await listener.recvfrom()
            counters.datagrams += 1
            counters.bytes += len(payload)

    asyncio.run(receive())


def send(work, counters):
    talker = multicast_expert.McastTxSocket(socket.AF_INET, mcast_ips=[work.group], iface=work.interface)
    with talker:
        payload, to = bytes(work.size), (work.group, work.port)
        sampler.start(work, counters)
        while True:
            talker.sendto(payload, to)
            counters.datagrams += 1
            counters.bytes += work.size


WAYS = {"receive": {"plain": receive, "async": receive_async}, "send": {"plain": send}}

if __name__ == "__main__":
    asked = sampler.parse()
    WAYS[asked.role][asked.how](asked, sampler.Counters())
