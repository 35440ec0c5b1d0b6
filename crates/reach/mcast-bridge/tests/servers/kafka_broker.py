"""A broker of Kafka for the tests of bridges: one node, topics of one partition, and transactions as KIP-98 describes them.

It keeps what the tests depend on: a second `InitProducerId` aborts the transaction of the first producer and fences it,
readers of committed records see neither open nor aborted transactions, markers are written some time after a commit was
acknowledged and take offsets, and what was acknowledged outlasts a kill. librdkafka's own mock cluster has none of these.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import os
import pickle
import ssl
import struct
import time

NONE, UNKNOWN_TOPIC, TOPIC_EXISTS, INVALID_EPOCH, INVALID_STATE, CONCURRENT = 0, 3, 36, 47, 48, 51
OUT_OF_ORDER, TOPIC_DENIED, AUTHENTICATION_FAILED, OUT_OF_RANGE, TOO_LARGE = 45, 29, 58, 1, 10
UNSUPPORTED_MECHANISM = 33
# How long after a commit its marker is written, in seconds.
MARKER_DELAY = 0.01


def crc_table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


CRC = list(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def bytes(self, length):
        self.at += max(length, 0)
        return self.data[self.at - length : self.at] if length >= 0 else None

    def text(self):
        value = self.bytes(self.take("h"))
        return value if value is None else value.decode()

    def array(self, element):
        return [element() for _ in range(self.take("i"))]


def text(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def array(elements):
    elements = list(elements)
    return struct.pack(">i", len(elements)) + b"".join(elements)


class Topic:
    def __init__(self, config):
        self.config, self.start, self.batches, self.open, self.aborted, self.producers = config, 0, [], {}, [], {}
        self.identity = time.time_ns()

    def end(self):
        return self.batches[-1][1] + 1 if self.batches else self.start

    def stable(self):
        return min(self.open.values(), default=self.end())

    def append(self, data, now):
        """Appends a batch of records; returns its offset."""
        base, data = self.end(), bytearray(data)
        last = base + struct.unpack_from(">i", data, 23)[0]
        struct.pack_into(">q", data, 0, base)
        if self.config.get("message.timestamp.type") == "LogAppendTime":
            attributes = struct.unpack_from(">h", data, 21)[0] | 8
            struct.pack_into(">h", data, 21, attributes)
            struct.pack_into(">q", data, 35, now)
            struct.pack_into(">I", data, 17, crc32c(data[21:]))
        producer, epoch, sequence, count = struct.unpack_from(">qhii", data, 43)
        if producer >= 0:
            self.producers[producer] = (epoch, sequence, sequence + count, base)
        if struct.unpack_from(">h", data, 21)[0] & 16:
            self.open.setdefault(producer, base)
        self.batches.append((base, last, bytes(data)))
        return base

    def mark(self, producer, epoch, committed, now):
        """Ends a transaction."""
        first = self.open.pop(producer, None)
        if first is None:
            return
        base = self.end()
        if not committed:
            self.aborted.append((producer, first, base))
        # A control record: its key has the version and the type, its value the version and the epoch of the coordinator.
        record = struct.pack(">bbbbhhbhib", 0, 0, 0, 8, 0, int(committed), 12, 0, 0, 0)
        record = bytes([len(record) * 2]) + record
        content = struct.pack(">hiqqqhii", 0x30, 0, now, now, producer, epoch, -1, 1) + record
        length = 9 + len(content)
        head = struct.pack(">qiibI", base, length, 0, 2, crc32c(content))
        self.batches.append((base, base, head + content))


class Broker:
    def __init__(self, options):
        self.options, self.topics, self.transactions, self.next_producer = options, {}, {}, 1
        self.shift, self.changed, self.connections = 0, asyncio.Event(), set()
        self.refused, self.unsupported = {}, set()
        try:
            with open(options.journal, "rb") as journal:
                while True:
                    self.apply(*pickle.load(journal))
        except (EOFError, FileNotFoundError, pickle.UnpicklingError):
            pass
        self.journal = open(options.journal, "ab")
        for transaction in self.transactions:
            self.complete(transaction)

    def record(self, *change):
        """Makes a change that outlasts a kill; returns its result."""
        self.journal.write(pickle.dumps(change))
        self.journal.flush()
        result = self.apply(*change)
        self.changed.set()
        self.changed = asyncio.Event()
        return result

    def apply(self, change, *arguments):
        return getattr(self, "apply_" + change)(*arguments)

    def apply_create(self, name, config):
        self.topics[name] = Topic(config)

    def apply_delete(self, name):
        del self.topics[name]

    def apply_trim(self, name, offset):
        topic = self.topics[name]
        topic.batches, end = [batch for batch in topic.batches if batch[1] >= offset], topic.end()
        topic.start = offset
        if not topic.batches:
            topic.start = end

    def apply_producer(self, name, producer, epoch):
        self.next_producer = max(self.next_producer, producer + 1)
        if name:
            self.transactions[name] = {"producer": producer, "epoch": epoch, "state": "empty", "topics": set()}

    def apply_add(self, name, topic):
        self.transactions[name]["state"] = "ongoing"
        self.transactions[name]["topics"].add(topic)

    def apply_append(self, name, data, now):
        return self.topics[name].append(data, now)

    def apply_prepare(self, name, committed, epoch):
        self.transactions[name].update(state="commit" if committed else "abort", epoch=epoch)

    def apply_complete(self, name, now):
        transaction = self.transactions[name]
        for topic in transaction["topics"]:
            if topic in self.topics:
                committed = transaction["state"] == "commit"
                self.topics[topic].mark(transaction["producer"], transaction["epoch"], committed, now)
        transaction.update(state="empty", topics=set())

    def complete(self, name):
        if self.transactions[name]["state"] in ("commit", "abort"):
            self.record("complete", name, self.now())

    def prepare(self, name, committed, epoch):
        self.record("prepare", name, committed, epoch)
        asyncio.get_running_loop().call_later(MARKER_DELAY, self.complete, name)

    def now(self):
        return int(time.time() * 1000) + self.shift

    # Requests, by their keys.

    def api_versions(self, _):
        return struct.pack(">h", 0) + array(
            struct.pack(">hhh", key, 0, version)
            for key, (version, _) in HANDLERS.items()
            if key not in self.unsupported
        )

    def metadata(self, request):
        count = request.take("i")
        names = list(self.topics) if count < 0 else [request.text() for _ in range(count)]

        def topic(name):
            if name == "denied":
                return struct.pack(">h", TOPIC_DENIED) + text(name) + b"\0" + array([])
            if name not in self.topics:
                return struct.pack(">h", UNKNOWN_TOPIC) + text(name) + b"\0" + array([])
            number = int(self.topics[name].config.get("partitions", 1))
            node = array([struct.pack(">i", 1)])
            partitions = (struct.pack(">hii", 0, index, 1) + node + node for index in range(number))
            return struct.pack(">h", 0) + text(name) + b"\0" + array(partitions)

        node = struct.pack(">i", 1) + text(self.options.host) + struct.pack(">i", self.options.port) + text(None)
        return struct.pack(">i", 0) + array([node]) + text("test") + struct.pack(">i", 1) + array(map(topic, names))

    def find_coordinator(self, _):
        node = struct.pack(">i", 1) + text(self.options.host) + struct.pack(">i", self.options.port)
        return struct.pack(">ih", 0, 0) + text(None) + node

    def create_topics(self, request):
        def topic():
            name, partitions, _ = request.text(), request.take("i"), request.take("h")
            request.array(lambda: (request.take("i"), request.array(lambda: request.take("i"))))
            config = dict(request.array(lambda: (request.text(), request.text())))
            if name in self.topics:
                return text(name) + struct.pack(">h", TOPIC_EXISTS) + text(None)
            if name == "refused":
                return text(name) + struct.pack(">h", TOPIC_DENIED) + text(None)
            self.record("create", name, config | {"partitions": partitions})
            return text(name) + struct.pack(">h", 0) + text(None)

        return struct.pack(">i", 0) + array(request.array(topic))

    def delete_topics(self, request):
        def topic():
            name = request.text()
            if name not in self.topics:
                return text(name) + struct.pack(">h", UNKNOWN_TOPIC)
            self.record("delete", name)
            return text(name) + struct.pack(">h", 0)

        return struct.pack(">i", 0) + array(request.array(topic))

    def delete_records(self, request):
        def partition(name):
            index, offset = request.take("i"), request.take("q")
            offset = self.topics[name].stable() if offset < 0 else offset
            self.record("trim", name, offset)
            return struct.pack(">iqh", index, offset, 0)

        def topic():
            name = request.text()
            return text(name) + array(request.array(lambda: partition(name)))

        return struct.pack(">i", 0) + array(request.array(topic))

    def list_offsets(self, request):
        _, committed = request.take("i"), request.take("b")

        def partition(name):
            index, when = request.take("i"), request.take("q")
            topic = self.topics.get(name)
            if topic is None:
                return struct.pack(">ihqq", index, UNKNOWN_TOPIC, -1, -1)
            last = topic.stable() if committed else topic.end()
            return struct.pack(">ihqq", index, 0, -1, topic.start if when == -2 else last)

        def topic():
            name = request.text()
            return text(name) + array(request.array(lambda: partition(name)))

        return struct.pack(">i", 0) + array(request.array(topic))

    def init_producer(self, request):
        name = request.text()
        transaction = self.transactions.get(name)

        def response(error, producer=-1, epoch=-1):
            return struct.pack(">ihqh", 0, error, producer, epoch)

        if transaction is None:
            producer, epoch = self.next_producer, 0
        elif transaction["state"] == "ongoing":
            # From now on, the other producer is refused. It takes effect with the marker, after which the client asks again.
            self.prepare(name, False, transaction["epoch"] + 1)
            return response(CONCURRENT)
        elif transaction["state"] != "empty":
            return response(CONCURRENT)
        else:
            producer, epoch = transaction["producer"], transaction["epoch"] + 1
        self.record("producer", name, producer, epoch)
        return response(0, producer, epoch)

    def transaction_error(self, name, producer, epoch):
        transaction = self.transactions.get(name)
        if transaction is None or transaction["producer"] != producer or transaction["epoch"] != epoch:
            return INVALID_EPOCH
        return CONCURRENT if transaction["state"] in ("commit", "abort") else 0

    def add_partitions(self, request):
        name, producer, epoch = request.text(), request.take("q"), request.take("h")
        error = self.transaction_error(name, producer, epoch)

        def partition(topic):
            index = request.take("i")
            if not error:
                self.record("add", name, topic)
            return struct.pack(">ih", index, error)

        def topic():
            topic = request.text()
            return text(topic) + array(request.array(lambda: partition(topic)))

        return struct.pack(">i", 0) + array(request.array(topic))

    def end_transaction(self, request):
        name, producer, epoch, committed = request.text(), request.take("q"), request.take("h"), request.take("?")
        error = self.transaction_error(name, producer, epoch)
        if not error and self.transactions[name]["state"] == "ongoing":
            self.prepare(name, committed, epoch)
        return struct.pack(">ih", 0, error)

    def append(self, name, transaction, data):
        """Appends a batch; returns an error and its offset."""
        error, times = self.refused.get(name, (NONE, 0))
        if times > 0:
            self.refused[name][1] -= 1
            return error, -1
        if name not in self.topics:
            return UNKNOWN_TOPIC, -1
        if len(data) > int(self.topics[name].config.get("max.message.bytes", 1048588)):
            return TOO_LARGE, -1
        topic = self.topics[name]
        producer, epoch, sequence, count = struct.unpack_from(">qhii", data, 43)
        if transaction:
            if error := self.transaction_error(transaction, producer, epoch):
                return (INVALID_STATE if error == CONCURRENT else error), -1
            if name not in self.transactions[transaction]["topics"]:
                return INVALID_STATE, -1
        known = topic.producers.get(producer)
        if producer >= 0 and known and known[0] == epoch:
            if known[1] == sequence:
                return 0, known[3]
            if known[2] != sequence:
                return OUT_OF_ORDER, -1
        return 0, self.record("append", name, data, self.now())

    def produce(self, request):
        transaction, _, _ = request.text(), request.take("h"), request.take("i")

        def partition(name):
            index, data = request.take("i"), request.bytes(request.take("i"))
            error, offset = self.append(name, transaction, data)
            return struct.pack(">ihqq", index, error, offset, -1)

        def topic():
            name = request.text()
            return text(name) + array(request.array(lambda: partition(name)))

        return array(request.array(topic)) + struct.pack(">i", 0)

    async def fetch(self, request):
        _, wait, _, limit, committed = (request.take(form) for form in "iiiib")

        def partition():
            return request.take("i"), request.take("q"), request.take("i")

        wanted = request.array(lambda: (request.text(), request.array(partition)))
        deadline = time.monotonic() + wait / 1000

        def part(name, index, offset, most):
            topic = self.topics.get(name)
            if topic is None:
                return 0, struct.pack(">ihqqii", index, UNKNOWN_TOPIC, -1, -1, 0, 0)
            last = topic.stable() if committed else topic.end()
            if not topic.start <= offset <= topic.end():
                return 1, struct.pack(">ihqqii", index, OUT_OF_RANGE, topic.end(), topic.stable(), 0, 0)
            data = b""
            low, high = 0, len(topic.batches)
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if topic.batches[middle][1] >= offset else (middle + 1, high)
            read = []
            for base, end, batch in topic.batches[low:]:
                if end >= last or data and len(data) + len(batch) > min(most, limit):
                    break
                data += batch
                read.append((base, end))
            aborted = [
                struct.pack(">qq", producer, first)
                for producer, first, end in topic.aborted
                if committed and read and first <= read[-1][1] and end >= read[0][0]
            ]
            head = struct.pack(">ihqq", index, 0, topic.end(), topic.stable())
            return len(data), head + array(aborted) + struct.pack(">i", len(data)) + data

        while True:
            parts = [(name, [part(name, *one) for one in several]) for name, several in wanted]
            left = deadline - time.monotonic()
            if left <= 0 or any(size for _, several in parts for size, _ in several):
                topics = array(text(name) + array(part for _, part in several) for name, several in parts)
                return struct.pack(">i", 0) + topics
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except asyncio.TimeoutError:
                pass

    async def serve(self, reader, writer):
        login = Login(self.options)
        is_known = self.options.password is None
        self.connections.add(writer)
        try:
            while True:
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                request = Reader(await reader.readexactly(length))
                key, version, number = request.take("h"), request.take("h"), request.take("i")
                request.text()
                if not is_known and key not in (17, 18, 36):
                    break
                if key == 18 and version > 0:
                    # The client asks again in the oldest form.
                    response = struct.pack(">h", 35) + self.api_versions(request)[2:]
                else:
                    owner = login if key in (17, 36) else self
                    response = getattr(owner, HANDLERS[key][1])(request)
                    response = await response if asyncio.iscoroutine(response) else response
                is_known |= login.is_known
                if writer.is_closing():
                    break
                writer.write(struct.pack(">ii", len(response) + 4, number) + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def control(self, reader, writer):
        """Moves the clock by milliseconds, sets the password for later logins, refuses records of a topic with an error, lacks a kind of
        requests, or ends all connections."""
        while line := await reader.readline():
            match line.decode().split():
                case ["advance", time]:
                    self.shift += int(time)
                case ["password", password]:
                    self.options.password = password
                case ["refuse", topic, error, times]:
                    self.refused[topic] = [int(error), int(times)]
                case ["unsupported", key]:
                    self.unsupported.add(int(key))
                case ["disconnect"]:
                    for connection in self.connections:
                        connection.close()
        writer.close()


class Login:
    """SASL on a connection: PLAIN (RFC 4616), or SCRAM (RFC 5802, RFC 7677). There is a second user, `reader`, whose password
    is never changed."""

    def __init__(self, options):
        self.is_known, self.signed = False, None
        self.passwords = {"feeds": (options.password or "").encode(), "reader": b"reader"}
        self.options = options
        self.hash = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}.get(options.mechanism)

    def handshake(self, request):
        error = NONE if request.text() == self.options.mechanism else UNSUPPORTED_MECHANISM
        return struct.pack(">h", error) + array([text(self.options.mechanism)])

    def authenticate(self, request):
        message = request.bytes(request.take("i"))
        reply = self.scram(message.decode()) if self.hash else self.plain(message)
        if reply is None:
            return struct.pack(">h", AUTHENTICATION_FAILED) + text("Invalid credentials") + struct.pack(">i", 0)
        return struct.pack(">h", NONE) + text(None) + struct.pack(">i", len(reply)) + reply

    def plain(self, message):
        user, password = message.split(b"\0")[1:]
        self.is_known = self.passwords.get(user.decode()) == password
        return b"" if self.is_known else None

    def scram(self, message):
        def keyed(key, what):
            return hmac.digest(key, what.encode(), self.hash)

        if self.signed is None:
            head, bare = message[:3], message[3:]
            fields = dict(field.split("=", 1) for field in bare.split(","))
            if head != "n,," or fields["n"] not in self.passwords:
                return None
            password = self.passwords[fields["n"]]
            salt, self.nonce = os.urandom(16), fields["r"] + base64.b64encode(os.urandom(18)).decode()
            first = f"r={self.nonce},s={base64.b64encode(salt).decode()},i=4096"
            self.salted, self.signed = hashlib.pbkdf2_hmac(self.hash, password, salt, 4096), f"{bare},{first}"
            return first.encode()
        rest, _, proof = message.rpartition(",p=")
        signed, key = f"{self.signed},{rest}", keyed(self.salted, "Client Key")
        signature = keyed(hashlib.new(self.hash, key).digest(), signed)
        expected = bytes(one ^ other for one, other in zip(key, signature))
        if rest != f"c=biws,r={self.nonce}" or base64.b64decode(proof) != expected:
            return None
        self.is_known = True
        return b"v=" + base64.b64encode(keyed(keyed(self.salted, "Server Key"), signed))


def tls(options):
    """Returns what connections are encrypted with, if they are."""
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    if options.authority:
        context.load_verify_locations(options.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


HANDLERS = {
    0: (3, "produce"),
    1: (4, "fetch"),
    2: (2, "list_offsets"),
    3: (4, "metadata"),
    10: (1, "find_coordinator"),
    17: (1, "handshake"),
    18: (0, "api_versions"),
    19: (4, "create_topics"),
    20: (1, "delete_topics"),
    21: (1, "delete_records"),
    22: (1, "init_producer"),
    24: (0, "add_partitions"),
    26: (1, "end_transaction"),
    36: (0, "authenticate"),
}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--journal", default="journal")
    parser.add_argument("--password")
    parser.add_argument("--mechanism", default="PLAIN")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--authority", help="of the certificates that clients must have")
    broker = Broker(parser.parse_args())
    server = await asyncio.start_server(broker.serve, None, broker.options.port, ssl=tls(broker.options))
    clock = await asyncio.start_server(broker.control, None, broker.options.port + 1)
    async with server, clock:
        await asyncio.gather(server.serve_forever(), clock.serve_forever())


asyncio.run(main())
