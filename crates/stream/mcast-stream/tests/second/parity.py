"""Recovers datagrams of data and manifests from parity, implemented from docs/protocol.md alone."""

import struct

from wire import DATA, HEADER, MANIFEST, PATH, REPAIR

# The bytes of a symbol before those of the datagram from byte 32 on.
SYMBOL_HEAD = 9

# Powers of x, and their logarithms, modulo x^8 + x^4 + x^3 + x^2 + 1.
POWERS, LOGARITHMS = [1], {}
for exponent in range(255):
    LOGARITHMS[POWERS[-1]] = exponent
    double = POWERS[-1] << 1
    POWERS.append(double ^ 0x11D if double & 0x100 else double)


def product(one, other):
    return POWERS[(LOGARITHMS[one] + LOGARITHMS[other]) % 255] if one and other else 0


def quotient(one, other):
    return POWERS[(LOGARITHMS[one] - LOGARITHMS[other]) % 255] if one else 0


def times(factor, symbol):
    return symbol.translate(bytes(product(factor, byte) for byte in range(256)))


def plus(one, other):
    length = max(len(one), len(other))
    number = int.from_bytes(one.ljust(length, b"\0"), "big") ^ int.from_bytes(other.ljust(length, b"\0"), "big")
    return number.to_bytes(length, "big")


def coefficient(index, place):
    return quotient(255 ^ place, 255 ^ index ^ place)


def symbol_of(bytes_):
    """Returns the symbol of a datagram."""
    flags = bytes_[5] & ~(REPAIR | PATH)
    return struct.pack(">HBBB", len(bytes_), bytes_[3], bytes_[4], flags) + bytes_[20:24] + bytes_[HEADER.size :]


class Block:
    """Consecutive datagrams of data, and the parity symbols that have arrived for them."""

    def __init__(self, parity):
        self.first, self.count, _, self.epoch = struct.unpack_from(">QBBH", parity.body)
        self.identity = parity.stream, parity.incarnation
        self.symbols = {}

    def add(self, parity):
        first, count, index, epoch = struct.unpack_from(">QBBH", parity.body)
        if (first, count, epoch) != (self.first, self.count, self.epoch) or not 1 <= count <= 64 or index > 191:
            raise ValueError("parity of another block")
        self.symbols[index] = parity.body[12:]

    def missing(self, copies):
        return [place for place in range(self.count) if self.first + place not in copies]

    def recover(self, copies):
        """Returns the datagrams that are missing among these copies, if there are as many symbols."""
        missing = self.missing(copies)
        if len(self.symbols) < len(missing):
            return []
        rows = []
        for index, symbol in list(self.symbols.items())[: len(missing)]:
            for place in range(self.count):
                if place not in missing:
                    symbol = plus(symbol, times(coefficient(index, place), symbol_of(copies[self.first + place])))
            rows.append(([coefficient(index, place) for place in missing], symbol))
        # Gauss and Jordan.
        for at in range(len(rows)):
            pivot = next(row for row in range(at, len(rows)) if rows[row][0][at])
            rows[at], rows[pivot] = rows[pivot], rows[at]
            factor = quotient(1, rows[at][0][at])
            rows[at] = [product(factor, value) for value in rows[at][0]], times(factor, rows[at][1])
            for other in range(len(rows)):
                factor = rows[other][0][at]
                if other != at and factor:
                    values = [value ^ product(factor, mine) for value, mine in zip(rows[other][0], rows[at][0])]
                    rows[other] = values, plus(rows[other][1], times(factor, rows[at][1]))
        return [self.datagram(place, symbol) for place, (_, symbol) in zip(missing, rows)]

    def datagram(self, place, symbol):
        """Returns the datagram with this symbol."""
        length, kind, words, flags, message = struct.unpack_from(">HBBBI", symbol)
        if kind not in (DATA, MANIFEST):
            raise ValueError("neither data nor a manifest")
        if not HEADER.size <= length <= len(symbol) + HEADER.size - SYMBOL_HEAD or any(
            symbol[length - HEADER.size + SYMBOL_HEAD :]
        ):
            raise ValueError("malformed parity")
        head = HEADER.pack(b"MC", 0x10, kind, words, flags, self.epoch, *self.identity, message, self.first + place)
        return head + symbol[SYMBOL_HEAD : length - HEADER.size + SYMBOL_HEAD]
