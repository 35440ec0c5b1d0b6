"""Reads a log of a stream. Written from docs/log-format.md alone, to check that page and the other implementation.

usage: second_reader.py DIRECTORY [SECRET]

Prints one line per record, and compares each index with the one that it makes itself. SECRET is that of a log sealed with
ChaCha20-Poly1305, as hexadecimal digits.
"""

import hashlib
import hmac
import os
import re
import struct
import sys

NAME = re.compile(r"(\d{20})-(\d{10})-(\d{20})\.log")


def crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = list(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


# RFC 8439


def chacha20_block(key, counter, nonce):
    initial = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
    initial += (counter,) + struct.unpack("<3I", nonce)
    state = list(initial)

    def rotate(value, by):
        return (value << by | value >> 32 - by) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        for x, y, z, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = state[x] + state[y] & 0xFFFFFFFF
            state[z] = rotate(state[z] ^ state[x], by)

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, initial)))


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at : at + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return (total + int.from_bytes(key[16:], "little") & (1 << 128) - 1).to_bytes(16, "little")


def chacha20_poly1305_open(key, nonce, head, sealed):
    text, tag = sealed[:-16], sealed[-16:]

    def padded(data):
        return data + bytes(-len(data) % 16)

    authenticated = padded(head) + padded(text) + struct.pack("<2Q", len(head), len(text))
    if poly1305(chacha20_block(key, 0, nonce)[:32], authenticated) != tag:
        return None
    blocks = range(len(text) // 64 + 1)
    stream = b"".join(chacha20_block(key, 1 + block, nonce) for block in blocks)
    return bytes(a ^ b for a, b in zip(text, stream))


def derive(secret, info, length):
    """HKDF with SHA-256, for at most 32 bytes."""
    root = hmac.new(b"mcast stream", secret, hashlib.sha256).digest()
    return hmac.new(root, info + b"\1", hashlib.sha256).digest()[:length]


class Segment:
    def __init__(self, data, secret=None):
        self.data, self.secret = data, secret
        if data[:8] != b"MCASTLOG":
            raise ValueError("not a segment")
        version, self.epoch, self.publisher, self.stream = struct.unpack_from(">HHIQ", data, 8)
        self.number, self.first, follows, self.incarnation, of = struct.unpack_from(">3Q2I", data, 24)
        self.follows = of, follows
        self.salt, self.begun, length, zeros, checksum = struct.unpack_from(">2QHHI", data, 56)
        name = data[80 : 80 + length]
        if version != 2 or zeros or length > 255 or crc32c(data[:76] + name) != checksum:
            raise ValueError("damaged header")
        self.name, self.start = name.decode(), 80 + length

    def open(self, offset, head, sealed):
        info = b"mcast stream 1.0" + struct.pack(">QIH", self.stream, self.publisher, self.epoch)
        info += bytes([8]) + struct.pack(">QQ", self.salt, offset >> 22)
        key, mask = derive(self.secret, info + b"key", 32), derive(self.secret, info + b"nonce", 12)
        nonce = mask[:4] + bytes(a ^ b for a, b in zip(mask[4:], struct.pack(">Q", offset)))
        return chacha20_poly1305_open(key, nonce, head, sealed)

    def record(self, at):
        """Returns (number, time, kind, cause, body, offset, end) of the record at this offset, or None."""
        head = self.data[at : at + 32]
        if len(head) < 32 or head[:4] != struct.pack(">Q", self.salt)[:4]:
            return None
        length, number, time, kind, cause, zeros, checksum = struct.unpack(">IQQBBHI", head[4:])
        end = at + 32 + length
        tag = 16 if self.epoch else 0
        body = self.data[at + 32 : end]
        least, most = {0: (0, 1 << 26), 1: (8, 1 << 26), 2: (8, 8), 3: (0, 0), 4: (0, 0)}.get(kind, (1, 0))
        if end > len(self.data) or not least <= length - tag <= most:
            return None
        if crc32c(struct.pack(">QQ", self.salt, at) + head[:28] + body) != checksum:
            return None
        if tag:
            body = self.open(at, head[4:28], body)
            if body is None:
                return None
        return number, time, kind, cause, body, at, end

    def records(self, limit=None):
        """Yields the records, and searches for the next one behind damaged bytes."""
        at, next_number = self.start, self.first
        while at < len(self.data):
            record = self.record(at)
            if record is None or record[0] < next_number:
                at = self.data.find(struct.pack(">Q", self.salt)[:4], at + 1)
                if at < 0:
                    return
                continue
            number, _, kind, _, body, _, at = record
            if limit is not None and (number >= limit if kind < 3 else number > limit):
                return
            next_number = following(number, kind, body)
            yield record


def following(number, kind, body):
    if kind < 2:
        return number + 1
    return struct.unpack(">Q", body)[0] if kind == 2 else number


def index(segment):
    """Returns the index of a segment without damage."""
    entries, count, latest, end = [], 0, 0, segment.first
    for number, time, kind, _, body, offset, _ in segment.records():
        if not entries or offset >= entries[-1][2] + 65536:
            entries.append((number, latest, offset))
        count, latest, end = count + 1, max(latest, time), following(number, kind, body)
    head = b"MCASTIDX" + struct.pack(">H", 1) + bytes(6)
    head += struct.pack(">5QI", segment.salt, len(segment.data), count, end, latest, len(entries))
    tail = b"".join(struct.pack(">3Q", *entry) for entry in entries)
    return head + struct.pack(">I", crc32c(head + tail)) + tail


def main(directory, secret=None):
    names = sorted(name for name in os.listdir(directory) if NAME.fullmatch(name))
    end = None
    for place, name in enumerate(names):
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            segment = Segment(file.read(), secret)
        number, incarnation, first = (int(part) for part in NAME.fullmatch(name).groups())
        assert (number, incarnation, first) == (segment.number, segment.incarnation, segment.first), name
        assert end is None or segment.follows == end, f"{name} does not follow {end}"
        end = incarnation, first
        limit = None
        for following_name in names[place + 1 : place + 2]:
            _, of, least = (int(part) for part in NAME.fullmatch(following_name).groups())
            limit = least if of == incarnation else None
        for number, time, kind, cause, body, _, _ in segment.records(limit):
            print(segment.incarnation, number, time, kind, cause, body.hex() or "-")
            end = incarnation, following(number, kind, body)
        try:
            with open(path[: -len("log")] + "index", "rb") as file:
                assert file.read() == index(segment), f"the index of {name} differs"
        except FileNotFoundError:
            pass


if __name__ == "__main__":
    main(sys.argv[1], bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else None)
