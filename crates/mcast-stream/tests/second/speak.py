"""A sender from docs/protocol.md: sends messages when somebody listens, repairs, and ends when all have everything.

    speak.py GROUP PORT INTERFACE-ADDRESS MESSAGES [SECRET EPOCH]

The messages are those of the tests. Prints counts as JSON."""

import json
import random
import select
import socket
import struct
import sys
import time

from wire import *

KEPT = 8192
ROOM = 1300


def message(number):
    part = number % 50
    length = (part * part * 7 + number) % 900 if part else 40_000
    return bytes((number * 31 ^ at) & 0xFF for at in range(length))


class Sender:
    def __init__(self, group, port, interface, secret):
        self.secret, self.group = secret, (group, port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        self.socket.bind((interface, 0))
        self.stream, self.incarnation = random.getrandbits(64), int((time.time() - 1_704_067_200) * 4)
        self.salt = {0x8A: random.randbytes(8)} if secret else {}
        self.told, self.next, self.message = 0, 1, 0
        self.kept, self.begun, self.repairs, self.naks = {}, {}, 0, 0
        self.receivers, self.ended, self.beaten = {}, False, 0.0

    def say(self, kind, body, to, flags=0):
        self.told += 1
        datagram = Datagram(kind, self.stream, self.incarnation, self.told, flags=flags, extensions=self.salt, body=body)
        self.socket.sendto(datagram.write(self.secret), to)

    def beat(self):
        self.beaten = time.monotonic()
        trail = min(self.kept, default=self.next)
        body = HEARTBEAT_BODY.pack(self.next, self.message, trail, self.begun.get(trail, self.message), time.monotonic_ns(),
                                   time.time_ns(), 0, 1000, len(self.receivers), 4, 1, 0, 0, 1000, 1400)
        self.say(HEARTBEAT, body, self.group, LAST if self.ended else 0)

    def send(self, body, flags, extensions=()):
        datagram = Datagram(DATA, self.stream, self.incarnation, self.next, self.message, flags, 0, {**self.salt, **dict(extensions)}, body)
        bytes_ = datagram.write(self.secret)
        self.kept[self.next], self.begun[self.next] = bytes_, self.message
        self.next += 1
        self.socket.sendto(bytes_, self.group)

    def publish(self, message):
        if len(message) + 2 <= ROOM:
            self.send(struct.pack(">H", len(message)) + message, WHOLE)
        else:
            pieces = [message[at : at + ROOM] for at in range(0, len(message), ROOM)]
            for at, piece in enumerate(pieces):
                flags = BEGINS * (at == 0) | ENDS * (at + 1 == len(pieces))
                self.send(piece, flags, {0x81: struct.pack(">I", len(message))} if at == 0 else {})
        self.message += 1

    def hear(self, wait):
        if select.select([self.socket], [], [], wait)[0]:
            bytes_, source = self.socket.recvfrom(65536)
            try:
                datagram = Datagram.read(bytes_)
                if (datagram.stream, datagram.incarnation) == (self.stream, self.incarnation):
                    self.take(datagram.open(self.secret), source)
            except (ValueError, struct.error):
                pass
        if time.monotonic() - self.beaten > 0.01:
            self.beat()

    def take(self, datagram, source):
        if datagram.kind == STATUS:
            status = STATUS_BODY.unpack_from(datagram.body)
            self.receivers[datagram.receiver] = (status[0], status[2], status[6])
            if status[6] & JOINING:
                self.beat()
        elif datagram.kind == PROBE:
            clock, _, receiver = PROBE_BODY.unpack_from(datagram.body)
            self.say(ECHO, PROBE_BODY.pack(clock, 0x7EA1, receiver), source)
        elif datagram.kind == NAK:
            self.naks += 1
            for number in read_list(datagram.body[8:]):
                if number in self.kept:
                    self.repair(number)

    def repair(self, number):
        again = bytearray(self.kept[number])
        again[5] |= AGAIN
        self.repairs += 1
        self.socket.sendto(again, self.group)

    def run(self, messages):
        while not self.receivers:
            self.hear(0.01)
        for number in range(messages):
            while any(self.next + 64 >= next + window for next, window, _ in self.receivers.values()):
                self.hear(0.001)
            self.publish(message(number))
            if number % 8 == 0:
                self.hear(0.0)
        self.ended = True
        self.beat()
        deadline = time.monotonic() + 60
        while not all(next >= self.next and flags & ENDED for next, _, flags in self.receivers.values()):
            if time.monotonic() > deadline:
                raise SystemExit(f"not everybody has everything: {self.receivers}, {self.next}")
            self.hear(0.002)
        return {"messages": self.message, "datagrams": self.next - 1, "repairs": self.repairs, "naks": self.naks}


if __name__ == "__main__":
    group, port, interface, count, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    print(json.dumps(Sender(group, int(port), interface, secret).run(int(count))))
