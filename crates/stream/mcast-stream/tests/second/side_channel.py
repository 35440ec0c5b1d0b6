"""Announcements, and the TCP connections of snapshot and history servers, implemented from docs/protocol.md."""

import random
import socket
import struct

from wire import *

DISCOVERY = "239.255.251.67", 7767
GREETING = struct.Struct(">4sQH")
FIRST_ANSWER = 2**32
MAGIC = b"MCH1"


def fields(body):
    """Yields the fields of an announcement."""
    while body:
        kind, length = body[:2]
        yield kind, body[2 : 2 + length]
        body = body[2 + length :]


def address(value):
    family, port = struct.unpack_from(">BH", value)
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, value[3:][: 4 if family == 4 else 16]), port


def announcements(kind, interface, secret, search=None):
    """Yields the announcements of this kind, and the addresses that they come from. Sends a search first, if there is one."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind(DISCOVERY)
    membership = socket.inet_aton(DISCOVERY[0]) + socket.inet_aton(interface)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    receiver.settimeout(20)
    if search:
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        receiver.sendto(search.write(secret), DISCOVERY)
    while True:
        bytes_, source = receiver.recvfrom(65536)
        try:
            datagram = Datagram.read(bytes_).open(secret)
        except ValueError:
            continue
        if datagram.kind == kind:
            yield datagram, source[0]


class Channel:
    """A connection whose frames are sealed if there is a secret."""

    def __init__(self, connection, stream, secret):
        self.connection, self.secret = connection, secret
        greeting, server_number, epoch = GREETING.unpack(self._receive_exactly(GREETING.size))
        if greeting != MAGIC or epoch != (secret.epoch if secret else 0):
            raise SystemExit("another kind of server, or one with other keys")
        client_number = random.getrandbits(64)
        connection.sendall(struct.pack(">Q", client_number))
        self.info = b"mcast stream 1.0" + struct.pack(">QIHBQQ", stream, 0, epoch, 3, server_number, client_number)
        self.sent, self.received = 0, 0

    def send(self, text):
        self.sent += 1
        if self.secret:
            key, nonce = self.secret.derive(self.info, self.sent)
            text = chacha20(key, nonce, 1, text)
            text += poly1305(key, nonce, MAGIC, text)
        self.connection.sendall(struct.pack(">I", len(text)) + text)

    def receive(self):
        (length,) = struct.unpack(">I", self._receive_exactly(4))
        text = self._receive_exactly(length)
        if self.secret:
            key, nonce = self.secret.derive(self.info, FIRST_ANSWER + self.received)
            if text[-16:] != poly1305(key, nonce, MAGIC, text[:-16]):
                raise SystemExit("the tag of a frame does not match")
            text = chacha20(key, nonce, 1, text[:-16])
        self.received += 1
        return text

    def _receive_exactly(self, length):
        text = b""
        while len(text) < length:
            more = self.connection.recv(length - len(text))
            if not more:
                raise SystemExit("the server closed the connection early")
            text += more
        return text
