"""A receiver implemented from docs/protocol.md: follows a stream to its end, and requests repairs.

    receiver.py GROUP PORT INTERFACE-ADDRESS [SECRET EPOCH] [PUBLIC-KEY]

At the end, writes each message with a length prefix to standard output, and counters as JSON to standard error."""

import json
import random
import select
import socket
import struct
import sys
import time

from parity import Block
from wire import *

WINDOW = 4096
LONGEST = 16 << 20
# Of a block, datagrams are kept that were delivered.
COPIES = 2 * 64


class Receiver:
    def __init__(self, group, port, interface, secret, public_key):
        self.secret, self.public_key = secret, public_key
        self.unverified, self.digests, self.verified = {}, {}, 0
        self.group_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.group_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.group_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.group_socket.bind((group, port))
        self.group_socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                              socket.inet_aton(group) + socket.inet_aton(interface))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((interface, 0))
        self.id, self.count = random.getrandbits(64) | 1, 0
        self.identity = self.sender = None
        self.next = self.highest = 0
        self.token = self.clock = self.since = 0
        self.window, self.requests = {}, {}
        self.copies, self.blocks, self.repair_timeout = {}, {}, 0.001
        self.received = self.repaired = self.repairs = self.recovered = self.naks = 0
        self.fragments, self.total = [], 0
        self.messages, self.content = 0, []
        self.is_to_acknowledge, self.first_message = False, 0
        self.last, self.status_sent, self.probed = None, 0.0, 0.0

    def send(self, kind, body, identity=None, to=None, extensions=()):
        self.count += 1
        extensions = {0x89: struct.pack(">Q", self.id), **dict(extensions)}
        datagram = Datagram(kind, *(identity or self.identity), self.count, extensions=extensions, body=body)
        self.socket.sendto(datagram.write(self.secret), to or self.sender)

    def send_status(self, flags, identity=None, to=None):
        held = int((time.monotonic() - self.since) * 1e6) if self.since else 0
        self.status_sent = time.monotonic()
        extensions = {NAME: b"second"}
        if self.is_to_acknowledge:
            # Messages are processed one behind the other, and the last at the end.
            received = self.first_message + self.messages
            processed = received if flags & DELIVERED else max(received - 1, self.first_message)
            extensions[ACKNOWLEDGEMENT] = struct.pack(">QQQ", self.first_message, received, processed)
        self.send(STATUS, STATUS_BODY.pack(self.next, self.highest, WINDOW, 0, self.clock, held, flags, self.token,
                                          self.received, 0, self.repairs, 0, 0), identity, to, extensions)

    def take(self, bytes_, source):
        try:
            datagram = Datagram.read(bytes_).open(self.secret)
        except (ValueError, struct.error):
            return
        identity = datagram.stream, datagram.incarnation
        if not self.is_signed(datagram):
            return
        if self.identity is None:
            if datagram.kind == HEARTBEAT:
                self.follow(identity, source, datagram)
            elif datagram.kind == DATA and time.monotonic() - self.status_sent > 0.05:
                self.send_status(JOINING, identity, source)
        if identity != self.identity:
            return
        if datagram.kind == HEARTBEAT:
            self.take_heartbeat(datagram)
        elif datagram.kind == PARITY:
            self.take_parity(datagram)
        elif datagram.kind in (DATA, MANIFEST):
            self.take_in_sequence(datagram, bytes_)
            self.recover()
        elif datagram.kind == ECHO:
            clock, token, receiver = PROBE_BODY.unpack_from(datagram.body)
            if receiver == self.id and token != self.token:
                # The sender ignored all statuses without the token.
                self.token = token
                self.send_status(0)

    def follow(self, identity, source, heartbeat):
        self.identity, self.sender = identity, source
        _, _, self.next, self.first_message = HEARTBEAT_BODY.unpack_from(heartbeat.body)[:4]
        self.highest = self.next
        self.take_heartbeat(heartbeat)
        self.send_status(0)

    def take_heartbeat(self, heartbeat):
        fields = HEARTBEAT_BODY.unpack_from(heartbeat.body)
        upcoming, _, oldest_retained, _, self.clock = fields[:5]
        # Parity that is sent without a request comes first.
        self.repair_timeout = 0.011 if fields[16] else 0.001
        self.since = time.monotonic()
        self.is_to_acknowledge = bool(heartbeat.flags & ACKNOWLEDGE)
        if oldest_retained > self.next:
            raise SystemExit("lost datagrams have left the retransmission buffer")
        self.know(upcoming)
        if heartbeat.flags & END_OF_STREAM:
            self.last = upcoming

    def know(self, upcoming):
        for number in range(max(self.highest, self.next), upcoming):
            if number not in self.window:
                self.requests[number] = time.monotonic() + self.repair_timeout
        self.highest = max(self.highest, upcoming)

    def take_parity(self, parity):
        first = struct.unpack_from(">Q", parity.body)[0]
        # Of older blocks, everything was delivered.
        self.blocks = {at: block for at, block in self.blocks.items() if at + block.count > self.next}
        if self.next < first + 64 and first < self.next + WINDOW:
            self.blocks.setdefault(first, Block(parity)).add(parity)
            self.recover()

    def recover(self):
        for block in list(self.blocks.values()):
            try:
                recovered = block.recover(self.copies)
                for bytes_ in recovered:
                    datagram = Datagram.read(bytes_).open(self.secret)
                    if self.is_signed(datagram):
                        self.recovered += 1
                        self.take_in_sequence(datagram, bytes_)
            except (ValueError, struct.error):
                recovered = True
            if recovered:
                self.blocks.pop(block.first, None)
        oldest = self.next - COPIES
        self.copies = {at: bytes_ for at, bytes_ in self.copies.items() if at >= oldest}

    def is_signed(self, datagram):
        """Whether a datagram of a kind that is signed has the signature of the publisher; true of all other kinds."""
        return not self.public_key or datagram.kind not in (HEARTBEAT, MANIFEST) or self.public_key.has_signed(datagram)

    def take_in_sequence(self, datagram, bytes_):
        if datagram.kind == MANIFEST:
            self.take_manifest(datagram)
        elif self.is_genuine(datagram):
            self.take_data(datagram)
        else:
            return
        self.copies[datagram.sequence] = bytes_

    def is_genuine(self, datagram):
        """Without its digest, a datagram waits for the manifest."""
        if not self.public_key:
            return True
        expected = self.digests.get(datagram.sequence)
        if expected is None and len(self.unverified) < WINDOW:
            self.unverified[datagram.sequence] = datagram
        self.verified += expected == datagram.digest
        return expected == datagram.digest

    def take_manifest(self, datagram):
        covered = manifest(datagram)
        self.take_data(datagram)
        self.digests.update(covered)
        for number in covered:
            waiting = self.unverified.pop(number, None)
            if waiting and self.is_genuine(waiting):
                self.take_data(waiting)

    def take_data(self, datagram):
        number = datagram.sequence
        self.repairs += bool(datagram.flags & REPAIR)
        if number < self.next or number in self.window or number >= self.next + WINDOW:
            return
        self.received += 1
        self.repaired += bool(datagram.flags & REPAIR)
        self.know(number)
        self.highest = max(self.highest, number + 1)
        self.requests.pop(number, None)
        self.window[number] = datagram
        before = self.next
        while self.next in self.window:
            self.deliver(self.window.pop(self.next))
            self.next += 1
        if before // (WINDOW // 4) != self.next // (WINDOW // 4):
            self.send_status(0)

    def deliver(self, datagram):
        body, flags = datagram.body, datagram.flags
        if datagram.kind == MANIFEST:
            return
        if flags & BATCH:
            while body:
                length = struct.unpack_from(">H", body)[0]
                self.output(body[2 : 2 + length])
                body = body[2 + length :]
            return
        if flags & BEGIN:
            self.fragments = []
            self.total = int.from_bytes(datagram.extensions.get(0x81, b""), "big")
        self.fragments.append(body)
        if sum(map(len, self.fragments)) > LONGEST:
            raise SystemExit("a message is too long")
        if flags & END:
            message = b"".join(self.fragments)
            if self.total and len(message) != self.total:
                raise SystemExit("the length of a message is not that of its first fragment")
            self.output(message)

    def output(self, message):
        self.messages += 1
        self.content.append(struct.pack(">I", len(message)) + message)

    def send_due(self):
        now = time.monotonic()
        if self.sender and now - self.probed > (50 if self.token else 0.2):
            self.probed = now
            self.send(PROBE, PROBE_BODY.pack(int(now * 1e9), 0, self.id))
        due = sorted(number for number, when in self.requests.items() if when <= now)
        if due:
            self.naks += 1
            self.send(NAK, struct.pack(">Q", self.token) + write_list(due))
            self.requests.update((number, now + 0.01) for number in due)
        if self.sender and now - self.status_sent > 0.5:
            self.send_status(0)

    def run(self):
        deadline = time.monotonic() + 60
        while self.last is None or self.next < self.last:
            if time.monotonic() > deadline:
                raise SystemExit(f"timed out at {self.next} of {self.last}, {self.naks} NAKs")
            for ready in select.select([self.group_socket, self.socket], [], [], 0.002)[0]:
                self.take(*ready.recvfrom(65536))
            self.send_due()
        for _ in range(5):
            self.send_status(ENDED | DELIVERED)
            time.sleep(0.003)
        sys.stdout.buffer.write(b"".join(self.content))
        return {"messages": self.messages, "repaired": self.repaired, "recovered": self.recovered, "naks": self.naks,
                "verified": self.verified}


if __name__ == "__main__":
    group, port, interface, *keys = sys.argv[1:]
    public_key = PublicKey(keys.pop()) if len(keys) % 2 else None
    secret = Secret(keys[0], int(keys[1])) if keys else None
    print(json.dumps(Receiver(group, int(port), interface, secret, public_key).run()), file=sys.stderr)
