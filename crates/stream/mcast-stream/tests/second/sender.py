"""A sender implemented from docs/protocol.md: sends once there is a receiver, repairs, and ends when all have everything.

    sender.py GROUP PORT INTERFACE-ADDRESS MESSAGES PARITY [SECRET EPOCH]

The messages are those of the tests. PARITY is the number of symbols for each block of 20 datagrams. Prints counters as JSON."""

import json
import random
import select
import socket
import struct
import sys
import time

from parity import coefficient, plus, symbol_of, times
from wire import *

ROOM = 1300
BLOCK = 20


def message(number):
    part = number % 50
    length = (part * part * 7 + number) % 900 if part else 40_000
    return bytes((number * 31 ^ at) & 0xFF for at in range(length))


class Sender:
    def __init__(self, group, port, interface, parity, secret):
        self.secret, self.group, self.parity, self.block = secret, (group, port), parity, 1
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        self.socket.bind((interface, 0))
        self.stream, self.incarnation = random.getrandbits(64), int((time.time() - 1_704_067_200) * 4)
        self.salt = {0x8A: random.randbytes(8)} if secret else {}
        self.count, self.next, self.message = 0, 1, 0
        self.retained, self.first_messages, self.repairs, self.naks = {}, {}, 0, 0
        self.receivers, self.ended, self.heartbeat_sent = {}, False, 0.0
        self.acknowledged = {}

    def send_control(self, kind, body, to, flags=0):
        self.count += 1
        datagram = Datagram(kind, self.stream, self.incarnation, self.count, flags=flags, extensions=self.salt, body=body)
        self.socket.sendto(datagram.write(self.secret), to)

    def send_heartbeat(self):
        self.heartbeat_sent = time.monotonic()
        oldest_retained = min(self.retained, default=self.next)
        body = HEARTBEAT_BODY.pack(self.next, self.message, oldest_retained, self.first_messages.get(oldest_retained, self.message), time.monotonic_ns(),
                                   time.time_ns(), 0, 1000, len(self.receivers), 4, 1, 0, 0, 1000, 1400, BLOCK * bool(self.parity), self.parity, 0)
        self.send_control(HEARTBEAT, body, self.group, ACKNOWLEDGE | (END_OF_STREAM if self.ended else 0))

    def send(self, body, flags, extensions=()):
        datagram = Datagram(DATA, self.stream, self.incarnation, self.next, self.message, flags, 0, {**self.salt, **dict(extensions)}, body)
        bytes_ = datagram.write(self.secret)
        self.retained[self.next], self.first_messages[self.next] = bytes_, self.message
        self.next += 1
        self.socket.sendto(bytes_, self.group)
        if self.next == self.block + BLOCK:
            self.end_block()

    def end_block(self):
        """Sends the parity of the datagrams since the last block."""
        count = self.next - self.block
        symbols = [symbol_of(self.retained[self.block + place]) for place in range(count)]
        for index in range(self.parity if count else 0):
            total = b""
            for place, symbol in enumerate(symbols):
                total = plus(total, times(coefficient(index, place), symbol))
            head = struct.pack(">QBBH", self.block, count, index, self.secret.epoch if self.secret else 0)
            self.send_control(PARITY, head + total, self.group, END * (index + 1 == self.parity))
        self.block = self.next

    def publish(self, message):
        if len(message) + 2 <= ROOM:
            self.send(struct.pack(">H", len(message)) + message, BATCH)
        else:
            fragments = [message[at : at + ROOM] for at in range(0, len(message), ROOM)]
            for at, fragment in enumerate(fragments):
                flags = BEGIN * (at == 0) | END * (at + 1 == len(fragments))
                self.send(fragment, flags, {0x81: struct.pack(">I", len(message))} if at == 0 else {})
        self.message += 1

    def receive(self, wait):
        if select.select([self.socket], [], [], wait)[0]:
            bytes_, source = self.socket.recvfrom(65536)
            try:
                datagram = Datagram.read(bytes_)
                if (datagram.stream, datagram.incarnation) == (self.stream, self.incarnation):
                    self.take(datagram.open(self.secret), source)
            except (ValueError, struct.error):
                pass
        if time.monotonic() - self.heartbeat_sent > 0.01:
            self.send_heartbeat()

    def take(self, datagram, source):
        if datagram.kind == STATUS:
            status = STATUS_BODY.unpack_from(datagram.body)
            self.receivers[datagram.receiver] = (status[0], status[2], status[6])
            if datagram.acknowledged:
                self.acknowledged[datagram.receiver] = datagram.acknowledged
            if status[6] & JOINING:
                self.send_heartbeat()
        elif datagram.kind == PROBE:
            clock, _, receiver = PROBE_BODY.unpack_from(datagram.body)
            self.send_control(ECHO, PROBE_BODY.pack(clock, 0x7EA1, receiver), source)
        elif datagram.kind == NAK:
            self.naks += 1
            for number in read_list(datagram.body[8:]):
                if number in self.retained:
                    self.repair(number)

    def repair(self, number):
        datagram = bytearray(self.retained[number])
        datagram[5] |= REPAIR
        self.repairs += 1
        self.socket.sendto(datagram, self.group)

    def run(self, messages):
        while not self.receivers:
            self.receive(0.01)
        for number in range(messages):
            while any(self.next + 64 >= next + window for next, window, _ in self.receivers.values()):
                self.receive(0.001)
            self.publish(message(number))
            if number % 8 == 0:
                self.receive(0.0)
        self.end_block()
        self.ended = True
        self.send_heartbeat()
        deadline = time.monotonic() + 60
        while not all(next >= self.next and flags & (ENDED | READING) == ENDED for next, _, flags in self.receivers.values()):
            if time.monotonic() > deadline:
                raise SystemExit(f"timed out, some receivers are incomplete: {self.receivers}, next {self.next}")
            self.receive(0.002)
        while not all(self.acknowledged.get(known, ())[:2] == (0, self.message) for known in self.receivers):
            if time.monotonic() > deadline:
                raise SystemExit(f"timed out, acknowledged: {self.acknowledged} of {self.message}")
            self.receive(0.002)
        return {"messages": self.message, "datagrams": self.next - 1, "repairs": self.repairs, "naks": self.naks}


if __name__ == "__main__":
    group, port, interface, count, parity, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    print(json.dumps(Sender(group, int(port), interface, int(parity), secret).run(int(count))))
