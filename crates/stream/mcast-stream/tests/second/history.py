"""Reads the history of a stream from the server that announces it, implemented from docs/protocol.md.

    history.py STREAM INTERFACE-ADDRESS [SECRET EPOCH]

Writes each message with a length prefix to standard output, and everything else as JSON to standard error. STREAM is in
hexadecimal."""

import json
import random
import socket
import struct
import sys
import time

from side_channel import *
from wire import *

OLDEST, AT = 0, 1
RECORDS, END = 1, 2
MORE, EDGE = 0, 1
MESSAGE, KEYED, GAP, OPEN_GAP, CLOSED = range(5)
# The records of a request. They are few, so that there are several.
COUNT = 20


# How often it searches. Each search has to be answered, although announcements are sent only once per second without one.
SEARCHES = 4


def find(stream, interface, secret):
    found, salt = None, {0x8A: random.randbytes(8)} if secret else {}
    for count in range(1, SEARCHES + 1):
        search = Datagram(HISTORY_SEARCH, stream, 0, count, extensions=salt, body=bytes(24))
        began = time.monotonic()
        for datagram, source in announcements(HISTORY, interface, secret, search):
            if datagram.stream == stream:
                host, port = address(dict(fields(datagram.body))[3])
                found = (source if host in ("0.0.0.0", "::") else host), port
                break
        if time.monotonic() > began + 0.5:
            raise SystemExit("the search is not answered")
    return found


def records(frame):
    """Yields incarnation, number and kind of each record, one past its last number, and what it has: key or cause, bytes."""
    incarnation, number = struct.unpack_from(">4xIQ", frame)
    at = 16
    while at < len(frame):
        kind, end, key, content = frame[at], number, None, None
        at += 1
        if kind in (MESSAGE, KEYED):
            (length,) = struct.unpack_from(">I", frame, at)
            at += 4
            if kind == KEYED:
                (key,) = struct.unpack_from(">Q", frame, at)
                at += 8
            content, end = frame[at : at + length], number + 1
            at += length
        elif kind == GAP:
            key, end = struct.unpack_from(">BQ", frame, at)
            at += 9
        elif kind == OPEN_GAP:
            key = frame[at]
            at += 1
        elif kind != CLOSED:
            raise SystemExit("a record of an unknown kind")
        yield incarnation, number, kind, end, key, content
        number = end


def read(channel, stream):
    """Yields all records, from the oldest one on."""
    start = (OLDEST, 0, 0)
    while True:
        channel.send(struct.pack(">QIB3xIQ", stream, COUNT, *start))
        received = 0
        while (frame := channel.receive())[0] == RECORDS:
            for record in records(frame):
                received += 1
                incarnation, _, kind, end, *_ = record
                # The number stays the same after these, and they are not requested again.
                start = (AT, incarnation, end + (kind in (OPEN_GAP, CLOSED)))
                yield record
        if frame[0] != END or frame[1] not in (MORE, EDGE):
            raise SystemExit(f"the answer has ended with {frame}")
        if frame[1] == EDGE:
            return
        if received != COUNT:
            raise SystemExit(f"{received} records")


if __name__ == "__main__":
    stream, interface, *sealed = sys.argv[1:]
    secret = Secret(sealed[0], int(sealed[1])) if sealed else None
    stream, others = int(stream, 16), []
    with socket.create_connection(find(stream, interface, secret), timeout=20) as connection:
        # A history has messages of many incarnations.
        for incarnation, number, kind, end, key, content in read(Channel(connection, stream, secret), stream):
            if kind in (MESSAGE, KEYED):
                sys.stdout.buffer.write(struct.pack(">I", len(content)) + content)
            if kind != MESSAGE:
                others.append([incarnation, number, kind, end, key])
    print(json.dumps(others), file=sys.stderr)
