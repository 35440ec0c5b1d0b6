"""Finds a stream by name and fetches its snapshot, implemented from docs/protocol.md.

    find.py NAME INTERFACE-ADDRESS [SECRET EPOCH]

Writes the snapshot to standard output, and the announced paths and the message of the snapshot as JSON to standard error."""

import json
import random
import socket
import struct
import sys

from wire import *

DISCOVERY = "239.255.251.67", 7767
GREETING = struct.Struct(">4sQH")


def fields(body):
    """Yields the fields of an announcement."""
    while body:
        kind, length = body[:2]
        yield kind, body[2 : 2 + length]
        body = body[2 + length :]


def address(value):
    family, port = struct.unpack_from(">BH", value)
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, value[3:][: 4 if family == 4 else 16]), port


def find(name, interface, secret):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind(DISCOVERY)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(DISCOVERY[0]) + socket.inet_aton(interface))
    receiver.settimeout(20)
    while True:
        try:
            datagram = Datagram.read(receiver.recv(65536)).open(secret)
        except ValueError:
            continue
        announced = list(fields(datagram.body)) if datagram.kind == ANNOUNCEMENT else []
        if (1, name.encode()) in announced and any(kind == 3 for kind, _ in announced):
            return datagram, announced


class Frame:
    """Seals and opens the frames of a snapshot connection."""

    def __init__(self, secret, datagram, numbers):
        self.secret, self.numbers, self.stream, self.incarnation = secret, numbers, datagram.stream, datagram.incarnation

    def _sealed(self, count):
        info = b"mcast stream 1.0" + struct.pack(">QIHBQQ", self.stream, self.incarnation, self.secret.epoch, 3, *self.numbers)
        return (*self.secret.derive(info, count), b"MCS1")

    def seal(self, count, text):
        if not self.secret:
            return text
        key, nonce, head = self._sealed(count)
        ciphertext = chacha20(key, nonce, 1, text)
        return ciphertext + poly1305(key, nonce, head, ciphertext)

    def open(self, count, text):
        if not self.secret:
            return text
        key, nonce, head = self._sealed(count)
        if text[-16:] != poly1305(key, nonce, head, text[:-16]):
            raise SystemExit("the tag of a frame does not match")
        return chacha20(key, nonce, 1, text[:-16])


def receive_exactly(connection, length):
    text = b""
    while len(text) < length:
        more = connection.recv(length - len(text))
        if not more:
            raise SystemExit("the server closed the connection early")
        text += more
    return text


def fetch(datagram, at, secret):
    with socket.create_connection(at, timeout=20) as connection:
        magic, server_number, epoch = GREETING.unpack(receive_exactly(connection, GREETING.size))
        if magic != b"MCS1" or epoch != (secret.epoch if secret else 0):
            raise SystemExit("not a snapshot server, or one with other keys")
        client_number = random.getrandbits(64)
        connection.sendall(struct.pack(">Q", client_number))
        frame = Frame(secret, datagram, (server_number, client_number))
        request = frame.seal(1, struct.pack(">QIQ", datagram.stream, datagram.incarnation, 0))
        connection.sendall(struct.pack(">I", len(request)) + request)
        count, snapshot, next_frame = 2**32, b"", lambda: receive_exactly(connection, struct.unpack(">I", receive_exactly(connection, 4))[0])
        message, length = struct.unpack(">QQ", frame.open(count, next_frame()))
        while len(snapshot) < length:
            count += 1
            snapshot += frame.open(count, next_frame())
        return message, snapshot


if __name__ == "__main__":
    name, interface, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    datagram, announced = find(name, interface, secret)
    message, snapshot = fetch(datagram, address(dict(announced)[3]), secret)
    paths = ["%s:%d" % address(value) for kind, value in announced if kind == 2]
    sys.stdout.buffer.write(snapshot)
    print(json.dumps({"paths": paths, "message": message}), file=sys.stderr)
