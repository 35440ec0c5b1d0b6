"""The wire format, implemented from docs/protocol.md alone and not from the Rust code."""

import hashlib
import hmac
import struct

DATA, PARITY, HEARTBEAT, NAK, STATUS, CONFIRMATION, PROBE, MANIFEST, ANNOUNCEMENT, RESET, ECHO, HISTORY, HISTORY_SEARCH = range(1, 14)
BEGIN, END, REPAIR, END_OF_STREAM, BATCH, PATH = 0x80, 0x40, 0x20, 0x10, 0x08, 0x03
ACKNOWLEDGE = 0x08  # in heartbeats
ACKNOWLEDGEMENT, NAME, SIGNATURE = 0x0C, 0x0D, 0x07
JOINING, LEAVING, PASSIVE, ENDED, DELIVERED, READING = 1, 2, 4, 8, 32, 128
HEADER = struct.Struct(">2sBBBBHQIIQ")
HEARTBEAT_BODY = struct.Struct(">QQQQQQQIIBBBBIHBBI")
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
        read.digest = hashlib.sha256(fixed(datagram)).digest()[:16]
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
        party = 2 if datagram.kind in (NAK, STATUS, PROBE) else 0 if datagram.kind in (DATA, MANIFEST) else 1
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


def fixed(text):
    """Clears the flags that may differ between two copies of a datagram."""
    return text[:5] + bytes([text[5] & ~(REPAIR | PATH)]) + text[6:]


def signed_text(datagram):
    """Returns what the signature of a decrypted datagram covers."""
    head, at = bytearray(fixed(datagram.head)), HEADER.size
    while at < len(head):
        end = at + 4 * head[at + 1]
        if head[at] == SIGNATURE:
            head[at + 4 : end] = bytes(end - at - 4)
        at = end
    return b"mcast stream signature 1" + bytes(head) + datagram.body


def manifest(datagram):
    """Returns the digest of each datagram before a manifest, by sequence."""
    count = struct.unpack_from(">H", datagram.body)[0]
    digests = [datagram.body[4 + 16 * at : 20 + 16 * at] for at in range(count)]
    if not 1 <= count <= 64 or len(digests[-1]) < 16:
        raise ValueError("a malformed manifest")
    return {datagram.sequence - count + at: digest for at, digest in enumerate(digests)}


# Ed25519: RFC 8032, section 5.1, with points as (X, Y, Z, T).
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(point, scalar):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def decode(text):
    y, sign = int.from_bytes(text, "little") % 2**255, text[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not a point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


class PublicKey:
    """Verifies what the publisher has signed."""

    def __init__(self, text):
        self.bytes = bytes.fromhex(text)
        self.point = decode(self.bytes)

    def has_signed(self, datagram):
        signature = datagram.extensions.get(SIGNATURE, b"")
        if len(signature) != 64:
            return False
        try:
            start = decode(signature[:32])
        except ValueError:
            return False
        scalar = int.from_bytes(signature[32:], "little")
        hashed = hashlib.sha512(signature[:32] + self.bytes + signed_text(datagram)).digest()
        challenge = int.from_bytes(hashed, "little") % ORDER
        left, right = multiply(BASE, scalar), add(start, multiply(self.point, challenge))
        same = lambda at: (left[at] * right[2] - right[at] * left[2]) % P == 0
        return scalar < ORDER and same(0) and same(1)
