"""A receiver from docs/protocol.md: follows a stream to its end, and has lost datagrams repaired.

    hear.py GROUP PORT INTERFACE-ADDRESS [SECRET EPOCH]

At the end, writes each message to standard output behind its length, and counts, as JSON, to standard error."""

import json
import random
import select
import socket
import struct
import sys
import time

from wire import *

WINDOW = 4096
LONGEST = 16 << 20


class Receiver:
    def __init__(self, group, port, interface, secret):
        self.secret = secret
        self.heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.heard.bind((group, port))
        self.heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                              socket.inet_aton(group) + socket.inet_aton(interface))
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.own.bind((interface, 0))
        self.id, self.told = random.getrandbits(64) | 1, 0
        self.life = self.sender = None
        self.next = self.highest = 0
        self.token = self.clock = self.since = 0
        self.kept, self.asked = {}, {}
        self.received = self.repaired = self.naks = 0
        self.pieces, self.total = [], 0
        self.messages, self.content = 0, []
        self.last, self.said, self.probed = None, 0.0, 0.0

    def say(self, kind, body, life=None, to=None):
        self.told += 1
        datagram = Datagram(kind, *(life or self.life), self.told, extensions={0x89: struct.pack(">Q", self.id)}, body=body)
        self.own.sendto(datagram.write(self.secret), to or self.sender)

    def say_status(self, flags, life=None, to=None):
        held = int((time.monotonic() - self.since) * 1e6) if self.since else 0
        self.said = time.monotonic()
        self.say(STATUS, STATUS_BODY.pack(self.next, self.highest, WINDOW, 0, self.clock, held, flags, self.token,
                                          self.received, 0, 0, 0), life, to)

    def take(self, bytes_, source):
        try:
            datagram = Datagram.read(bytes_).open(self.secret)
        except (ValueError, struct.error):
            return
        life = datagram.stream, datagram.incarnation
        if self.life is None:
            if datagram.kind == HEARTBEAT:
                self.follow(life, source, datagram)
            elif datagram.kind == DATA and time.monotonic() - self.said > 0.05:
                self.say_status(JOINING, life, source)
        if life != self.life:
            return
        if datagram.kind == HEARTBEAT:
            self.take_heartbeat(datagram)
        elif datagram.kind == DATA:
            self.take_data(datagram)
        elif datagram.kind == ECHO:
            clock, token, receiver = PROBE_BODY.unpack_from(datagram.body)
            if receiver == self.id and token != self.token:
                # What was said without it was not looked at.
                self.token = token
                self.say_status(0)

    def follow(self, life, source, heartbeat):
        self.life, self.sender = life, source
        self.next = self.highest = HEARTBEAT_BODY.unpack_from(heartbeat.body)[2]
        self.take_heartbeat(heartbeat)
        self.say_status(0)

    def take_heartbeat(self, heartbeat):
        upcoming, _, trail, _, self.clock = HEARTBEAT_BODY.unpack_from(heartbeat.body)[:5]
        self.since = time.monotonic()
        if trail > self.next:
            raise SystemExit("more was lost than can be repaired")
        self.know(upcoming)
        if heartbeat.flags & LAST:
            self.last = upcoming

    def know(self, upcoming):
        for number in range(max(self.highest, self.next), upcoming):
            if number not in self.kept:
                self.asked[number] = time.monotonic() + 0.001
        self.highest = max(self.highest, upcoming)

    def take_data(self, datagram):
        number = datagram.sequence
        if number < self.next or number in self.kept or number >= self.next + WINDOW:
            return
        self.received += 1
        self.repaired += bool(datagram.flags & AGAIN)
        self.know(number)
        self.highest = max(self.highest, number + 1)
        self.asked.pop(number, None)
        self.kept[number] = datagram
        before = self.next
        while self.next in self.kept:
            self.deliver(self.kept.pop(self.next))
            self.next += 1
        if before // (WINDOW // 4) != self.next // (WINDOW // 4):
            self.say_status(0)

    def deliver(self, datagram):
        body, flags = datagram.body, datagram.flags
        if flags & WHOLE:
            while body:
                length = struct.unpack_from(">H", body)[0]
                self.hand_out(body[2 : 2 + length])
                body = body[2 + length :]
            return
        if flags & BEGINS:
            self.pieces = []
            self.total = int.from_bytes(datagram.extensions.get(0x81, b""), "big")
        self.pieces.append(body)
        if sum(map(len, self.pieces)) > LONGEST:
            raise SystemExit("a message is too long")
        if flags & ENDS:
            message = b"".join(self.pieces)
            if self.total and len(message) != self.total:
                raise SystemExit("a message is not as long as its first piece said")
            self.hand_out(message)

    def hand_out(self, message):
        self.messages += 1
        self.content.append(struct.pack(">I", len(message)) + message)

    def ask(self):
        now = time.monotonic()
        if self.sender and now - self.probed > (50 if self.token else 0.2):
            self.probed = now
            self.say(PROBE, PROBE_BODY.pack(int(now * 1e9), 0, self.id))
        due = sorted(number for number, when in self.asked.items() if when <= now)
        if due:
            self.naks += 1
            self.say(NAK, struct.pack(">Q", self.token) + write_list(due))
            self.asked.update((number, now + 0.01) for number in due)
        if self.sender and now - self.said > 0.5:
            self.say_status(0)

    def run(self):
        deadline = time.monotonic() + 60
        while self.last is None or self.next < self.last:
            if time.monotonic() > deadline:
                raise SystemExit(f"not everything came in time: {self.next} of {self.last}, {self.naks} naks")
            for ready in select.select([self.heard, self.own], [], [], 0.002)[0]:
                self.take(*ready.recvfrom(65536))
            self.ask()
        for _ in range(5):
            self.say_status(ENDED | DELIVERED)
            time.sleep(0.003)
        sys.stdout.buffer.write(b"".join(self.content))
        return {"messages": self.messages, "repaired": self.repaired, "naks": self.naks}


if __name__ == "__main__":
    group, port, interface, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    print(json.dumps(Receiver(group, int(port), interface, secret).run()), file=sys.stderr)
