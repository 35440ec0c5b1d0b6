"""multicast_expert, by its own documentation."""

import socket

import multicast_expert

import sampler


def receive(work, counters):
    listener = multicast_expert.McastRxSocket(
        socket.AF_INET, mcast_ips=[work.group], port=work.port, iface=work.interface
    )
    with listener:
        if work.buffer:
            for each in listener.sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, work.buffer)
        sampler.start(work, counters)
        while True:
            payload, _ = listener.recvfrom()
            counters.datagrams += 1
            counters.bytes += len(payload)


def send(work, counters):
    talker = multicast_expert.McastTxSocket(socket.AF_INET, mcast_ips=[work.group], iface=work.interface)
    with talker:
        payload, to = bytes(work.size), (work.group, work.port)
        sampler.start(work, counters)
        while True:
            talker.sendto(payload, to)
            counters.datagrams += 1
            counters.bytes += work.size


if __name__ == "__main__":
    asked = sampler.parse()
    {"receive": receive, "send": send}[asked.role](asked, sampler.Counters())
