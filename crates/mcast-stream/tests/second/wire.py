"""The wire format, implemented from docs/protocol.md alone and not from the Rust code."""

import hashlib
import hmac
import struct

DATA, HEARTBEAT, NAK, STATUS, CONFIRMATION, PROBE, ANNOUNCEMENT, RESET, ECHO, HISTORY = 1, 3, 4, 5, 6, 7, 9, 10, 11, 12
BEGIN, END, REPAIR, END_OF_STREAM, BATCH, PATH = 0x80, 0x40, 0x20, 0x10, 0x08, 0x03
ACKNOWLEDGE = 0x08  # in heartbeats
ACKNOWLEDGEMENT, NAME = 0x0C, 0x0D
JOINING, LEAVING, PASSIVE, ENDED, DELIVERED = 1, 2, 4, 8, 32
HEADER = struct.Struct(">2sBBBBHQIIQ")
HEARTBEAT_BODY = struct.Struct(">QQQQQQQIIBBBBIH6x")
STATUS_BODY = struct.Struct(">QQIIQIIQQIIQQ")
PROBE_BODY = struct.Struct(">QQQ")


class Datagram:
    """A datagram received, or one to be sent."""

    def __init__(self, kind, stream, incarnation, sequence, message=0, flags=0, epoch=0, extensions=(), body=b""):
        self.kind, self.stream, self.incarnation, self.sequence = kind, stream, incarnation, sequence
        self.message, self.flags, self.epoch, self.body = message, flags, epoch, body
        self.extensions = dict(extensions)

    @classmethod
    def read(cls, datagram):
        magic, version, kind, words, flags, epoch, stream, incarnation, message, sequence = HEADER.unpack_from(datagram)
        if magic != b"MC" or version >> 4 != 1 or words < 8 or flags & 0x04 or len(datagram) < 4 * words:
            raise ValueError("not a datagram of this protocol")
        extensions, at = {}, HEADER.size
        while at < 4 * words:
            number, length, value = struct.unpack_from(">BBH", datagram, at)
            if not length or at + 4 * length > 4 * words:
                raise ValueError("an extension with an invalid length")
            if number & 0x80 and number not in (0x81, 0x84, 0x89, 0x8A):
                raise ValueError("an unknown critical extension")
            extensions[number] = datagram[at + 4 : at + 4 * length]
            at += 4 * length
        read = cls(kind, stream, incarnation, sequence, message, flags, epoch, extensions, datagram[4 * words :])
        read.head = datagram[: 4 * words]
        return read

    def write(self, secret=None):
        extensions = b""
        for number, value in self.extensions.items():
            small = len(value) if number == NAME else 0
            value += bytes(-len(value) % 4)
            extensions += struct.pack(">BBH", number, 1 + len(value) // 4, small) + value
        words = (HEADER.size + len(extensions)) // 4
        epoch = secret.epoch if secret else 0
        head = HEADER.pack(b"MC", 0x10, self.kind, words, self.flags, epoch, self.stream, self.incarnation,
                           self.message & 0xFFFFFFFF, self.sequence) + extensions
        self.head, self.epoch = head, epoch
        return head + (secret.seal(self) if secret else self.body)

    def open(self, secret):
        """Decrypts the body; raises ValueError when the seal is missing or wrong."""
        if secret:
            self.body = secret.open(self)
        elif self.epoch:
            raise ValueError("sealed, and there is no secret")
        return self

    @property
    def receiver(self):
        return int.from_bytes(self.extensions.get(0x89, b""), "big")

    @property
    def acknowledged(self):
        """Returns the messages that the application has received and processed: since, received, processed."""
        value = self.extensions.get(ACKNOWLEDGEMENT)
        if value is None:
            return None
        since, received = struct.unpack_from(">QQ", value)
        return since, received, struct.unpack_from(">Q", value, 16)[0] if len(value) >= 24 else received

    @property
    def salt(self):
        return int.from_bytes(self.extensions.get(0x8A, b""), "big")


def write_list(numbers):
    """Returns the list of these numbers, encoded as spots."""
    base, spots = numbers[0], []
    for number in numbers:
        offset = number - base
        if spots and offset - spots[-1][0] <= 32:
            spots[-1][1] |= 1 << (offset - spots[-1][0] - 1)
        elif len(spots) < 140:
            spots.append([offset, 0])
    return struct.pack(">QHH", base, len(spots), 0) + b"".join(struct.pack(">II", *spot) for spot in spots)


def read_list(body):
    base, spots, ranges = struct.unpack_from(">QHH", body)
    entries = [struct.unpack_from(">II", body, 12 + 8 * at) for at in range(spots + ranges)]
    for offset, bits in entries[:spots]:
        yield base + offset
        yield from (base + offset + 1 + bit for bit in range(32) if bits >> bit & 1)
    for offset, length in entries[spots:]:
        yield from range(base + offset, base + offset + length)


class Secret:
    """Seals with ChaCha20-Poly1305 and the keys derived as in docs/protocol.md."""

    def __init__(self, text, epoch):
        self.prk = hmac.digest(b"mcast stream", bytes.fromhex(text), hashlib.sha256)
        self.epoch = epoch

    def _keys(self, datagram):
        party = 2 if datagram.kind in (NAK, STATUS, PROBE) else 0 if datagram.kind == DATA else 1
        info = b"mcast stream 1.0" + struct.pack(
            ">QIHBQQ", datagram.stream, datagram.incarnation, self.epoch, party,
            datagram.receiver if party == 2 else datagram.salt, datagram.sequence >> 22)
        head = bytearray(datagram.head)
        head[5] &= ~(REPAIR | PATH)
        return (*self.derive(info, datagram.sequence), bytes(head))

    def derive(self, info, count):
        """Returns the key for this purpose, and the nonce of this count."""
        key, mask = (hmac.digest(self.prk, info + name + b"\x01", hashlib.sha256) for name in (b"key", b"nonce"))
        return key, (int.from_bytes(mask[:12], "big") ^ count).to_bytes(12, "big")

    def seal(self, datagram):
        key, nonce, head = self._keys(datagram)
        ciphertext = chacha20(key, nonce, 1, datagram.body)
        return ciphertext + poly1305(key, nonce, head, ciphertext)

    def open(self, datagram):
        if datagram.epoch != self.epoch or len(datagram.body) < 16:
            raise ValueError("not sealed with this secret")
        key, nonce, head = self._keys(datagram)
        ciphertext, tag = datagram.body[:-16], datagram.body[-16:]
        if not hmac.compare_digest(tag, poly1305(key, nonce, head, ciphertext)):
            raise ValueError("the tag does not match")
        return chacha20(key, nonce, 1, ciphertext)


def chacha20(key, nonce, counter, text):
    """RFC 8439, section 2.4."""
    start = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
    tail, stream, blocks = struct.unpack("<3I", nonce), bytearray(), -(-len(text) // 64)
    for block in range(counter, counter + blocks):
        begin = [*start, block, *tail]
        state = list(begin)
        for _ in range(10):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    state[x] = (state[x] + state[y]) & 0xFFFFFFFF
                    mixed = state[z] ^ state[x]
                    state[z] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF
        stream += struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(state, begin)))
    return bytes(x ^ y for x, y in zip(text, stream))


def poly1305(key, nonce, head, ciphertext):
    """RFC 8439, sections 2.5 and 2.8."""
    once = chacha20(key, nonce, 0, bytes(32))
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    pad = lambda text: text + bytes(-len(text) % 16)
    text = pad(head) + pad(ciphertext) + struct.pack("<QQ", len(head), len(ciphertext))
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(once[16:], "little")) % 2**128).to_bytes(16, "little")
