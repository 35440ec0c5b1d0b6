"""Python's own socket module, as one writes it."""

import socket

import sampler


def receive(work, counters):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if work.buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, work.buffer)
    listener.bind((work.group, work.port))
    request = socket.inet_aton(work.group) + socket.inet_aton(work.address)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    sampler.start(work, counters)
    while True:
        payload, _ = listener.recvfrom(65536)
        counters.datagrams += 1
        counters.bytes += len(payload)


def send(work, counters):
    talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(work.address))
    talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    payload, to = bytes(work.size), (work.group, work.port)
    sampler.start(work, counters)
    while True:
        talker.sendto(payload, to)
        counters.datagrams += 1
        counters.bytes += work.size


if __name__ == "__main__":
    asked = sampler.parse()
    {"receive": receive, "send": send}[asked.role](asked, sampler.Counters())
