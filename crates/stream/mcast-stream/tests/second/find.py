"""Finds a stream by name and fetches its snapshot, implemented from docs/protocol.md.

    find.py NAME INTERFACE-ADDRESS [SECRET EPOCH]

Writes the snapshot to standard output, and the announced paths and the message of the snapshot as JSON to standard error."""

import json
import socket
import struct
import sys

from side_channel import *
from wire import *


def find(name, interface, secret):
    for datagram, _ in announcements(ANNOUNCEMENT, interface, secret):
        announced = list(fields(datagram.body))
        if (1, name.encode()) in announced and any(kind == 3 for kind, _ in announced):
            return datagram, announced


def fetch(datagram, at, secret):
    with socket.create_connection(at, timeout=20) as connection:
        channel = Channel(connection, datagram.stream, secret)
        channel.send(struct.pack(">QIB3xIQ", datagram.stream, 0, 4, datagram.incarnation, 0))
        message, size, snapshot = None, 0, b""
        while (frame := channel.receive())[0] == 4:
            incarnation, message, size = struct.unpack_from(">4xIQQ", frame)
            assert incarnation == datagram.incarnation
            snapshot += frame[24:]
        assert frame[:2] == b"\2\1" and len(snapshot) == size, frame
        return message, snapshot


if __name__ == "__main__":
    name, interface, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    datagram, announced = find(name, interface, secret)
    message, snapshot = fetch(datagram, address(dict(announced)[3]), secret)
    paths = ["%s:%d" % address(value) for kind, value in announced if kind == 2]
    sys.stdout.buffer.write(snapshot)
    print(json.dumps({"paths": paths, "message": message}), file=sys.stderr)
