"""An engine's own client on its own, and what was stored when: records as a bridge stores them.

lines COUNT RATE                   prints lines to publish, paced; RATE 0: as fast as possible
redis-commands COUNT RATE          prints commands for `redis-cli --pipe`, paced
feed KIND COUNT RATE PROGRAM...    writes either of them to a program
redis-delays SOCKET COUNT          reads records as they are stored; prints how long they took
nats-create URL                    creates the stream
nats-copies-create URL             creates it with a copy on each of three servers, once they are a cluster
nats-write URL COUNT RATE          stores records, paced
nats-count URL                     prints the number of stored records
nats-delays URL COUNT              prints how long records took until they were stored
rabbitmq-create HOST               and so on: the same with RabbitMQ, whose records are read as they are stored
"""

import asyncio
import json
import socket
import subprocess
import sys
import time

SIZE = 100
STREAM = "00000000000000ff"
# Publications of NATS without an acknowledgement, as many as its client allows by default.
PENDING = 4000
# Messages in a frame that the client of RabbitMQ sends, and those without a confirmation.
BATCH, UNCONFIRMED = 400, 8000


def text():
    """Returns a message, which begins with the time of day in nanoseconds."""
    return str(time.time_ns()).ljust(SIZE, "x")


def sent_at(message):
    return int(message[:19])


def paced(count, rate):
    """Yields numbers at a rate, a millisecond's at a time."""
    start = time.perf_counter()
    for number in range(count):
        if rate and number % max(rate // 1000, 1) == 0:
            wait = start + number / rate - time.perf_counter()
            sys.stdout.flush()
            if wait > 0:
                time.sleep(wait)
        yield number


def report(delays):
    count = len(delays)
    # Records that were made while programs started have waited for that.
    delays = sorted(delays[count // 4 :])
    at = lambda share: delays[min(int(len(delays) * share), len(delays) - 1)] / 1000
    print(json.dumps({"count": count, "p50": at(0.5), "p99": at(0.99)}), flush=True)


def lines(count, rate):
    for _ in paced(int(count), int(rate)):
        sys.stdout.write(text() + "\n")


def redis_commands(count, rate):
    for number in paced(int(count), int(rate)):
        parts = ["XADD", "prices", f"1-{number + 1}", "s", STREAM, "t", str(time.time_ns() // 10**6), "d", text()]
        sys.stdout.write(f"*{len(parts)}\r\n" + "".join(f"${len(part)}\r\n{part}\r\n" for part in parts))


def feed(kind, count, rate, *program):
    process = subprocess.Popen(program, stdin=subprocess.PIPE, text=True)
    sys.stdout = process.stdin
    globals()[kind.replace("-", "_")](count, rate)
    sys.stdout.close()
    sys.stdout = sys.__stdout__
    sys.exit(process.wait())


def reply(file):
    """Reads a reply of Redis."""
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind in b"+-:":
        return rest
    length = int(rest)
    if length < 0:
        return None
    return file.read(length + 2)[:-2] if kind == b"$" else [reply(file) for _ in range(length)]


def redis_delays(path, count):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    file, last, delays = connection.makefile("rb"), "0-0", []
    print("ready", flush=True)
    while len(delays) < int(count):
        connection.sendall(f"XREAD COUNT 1000 BLOCK 20000 STREAMS prices {last}\r\n".encode())
        answer = reply(file)
        now = time.time_ns()
        if answer is None:
            sys.exit("nothing is stored any more")
        for identifier, fields in answer[0][1]:
            last = identifier.decode()
            values = dict(zip(fields[::2], fields[1::2]))
            if b"d" in values:
                delays.append(now - sent_at(values[b"d"]))
    report(delays)


def servers(url):
    """Returns the addresses in a URL of several."""
    return ["nats://" + address for address in url.removeprefix("nats://").split(",")]


async def nats_write(url, count, rate):
    import nats

    client = await nats.connect(servers(url))
    jetstream = client.jetstream(publish_async_max_pending=PENDING)
    start, rate = time.perf_counter(), int(rate)
    for number in range(int(count)):
        if rate and number % max(rate // 1000, 1) == 0:
            await asyncio.sleep(max(start + number / rate - time.perf_counter(), 0))
        headers = {"Nats-Msg-Id": f"1-{number}", "Mcast-Stream": STREAM, "Mcast-Time": str(time.time_ns() // 10**6)}
        await jetstream.publish_async("mcast.prices", text().encode(), wait_stall=20, headers=headers)
    await jetstream.publish_async_completed()
    await client.close()


async def nats_count(url):
    import nats

    client = await nats.connect(servers(url))
    print((await client.jetstream().stream_info("prices")).state.messages)
    await client.close()


async def nats_create(url, copies=1):
    import nats

    client = await nats.connect(servers(url))
    settings = {"name": "prices", "subjects": ["mcast.prices"], "duplicate_window": 10**8, "allow_direct": True}
    # Bridges need batches where there are copies.
    settings |= {"num_replicas": copies, "allow_atomic": copies > 1, "storage": "file"}
    deadline, reply = time.monotonic() + 60, {}
    # A new cluster has no leader at first.
    while "config" not in reply and time.monotonic() < deadline:
        try:
            request = json.dumps(settings).encode()
            reply = json.loads((await client.request("$JS.API.STREAM.CREATE.prices", request, timeout=2)).data)
        except nats.errors.Error as error:
            reply = {"error": str(error)}
        await asyncio.sleep(0.1)
    assert "config" in reply, reply
    await client.close()


async def nats_copies_create(url):
    await nats_create(url, 3)


async def nats_delays(url, count):
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    client = await nats.connect(servers(url))
    settings = ConsumerConfig(ack_policy=AckPolicy.NONE, max_deliver=1, mem_storage=True)
    consumer = await client.jetstream().pull_subscribe("mcast.prices", stream="prices", config=settings)
    delays = []
    while len(delays) < int(count):
        for message in await consumer.fetch(1000, timeout=10):
            # The time when the server stored it is in the subject of its acknowledgement.
            stored = int(message.reply.split(".")[7])
            if "Mcast-Kind" not in (message.headers or {}):
                delays.append(stored - sent_at(message.data))
    await client.close()
    report(delays)


def rabbitmq_producer(host):
    from rstream import Producer

    return Producer(host, 5552, username="guest", password="guest")


async def rabbitmq_create(host):
    async with rabbitmq_producer(host) as producer:
        await producer.create_stream("prices")


async def rabbitmq_write(host, count, rate):
    """Stores records of the size that a bridge stores. Their properties are encoded once, so that this takes no time."""
    from rstream import AMQPMessage

    properties = {"mcast-incarnation": 1 << 30, "mcast-number": 1 << 20, "mcast-time": time.time_ns() // 10**6}
    properties |= {"mcast-stream": STREAM, "mcast-after": f"{1 << 30}-{1 << 20}"}
    head = bytes(AMQPMessage(body=text().encode(), application_properties=properties))[:-SIZE]
    count, rate, sent, confirmed, has_room = int(count), int(rate), 0, 0, asyncio.Event()

    def confirm(status):
        nonlocal confirmed
        assert status.is_confirmed, status
        confirmed += 1
        has_room.set()

    async with rabbitmq_producer(host) as producer:
        start, size = time.perf_counter(), max(rate // 1000, 1) if rate else BATCH
        while sent < count:
            if rate:
                await asyncio.sleep(max(start + sent / rate - time.perf_counter(), 0))
            batch = [head + text().encode() for _ in range(min(size, count - sent))]
            await producer.send_batch("prices", batch, on_publish_confirm=confirm)
            sent += len(batch)
            while confirmed < (count if sent == count else sent - UNCONFIRMED):
                has_room.clear()
                await has_room.wait()


async def rabbitmq_count(host):
    from rstream import OffsetType
    from rstream.client import Client
    from rstream.schema import Deliver, OffsetSpec

    client = Client(host, 5552, frame_max=1 << 20, heartbeat=60)
    await client.start()
    client.add_handler(Deliver, None, name="0")
    await client.authenticate("/", "guest", "guest")
    await client.subscribe("prices", 0, OffsetSpec.from_params(OffsetType.LAST, None), initial_credit=1)
    # The last chunk arrives before the response to this request.
    await client.unsubscribe(0)
    last = client._frames[0].get_nowait()
    print(last.chunk_first_offset + last.num_entries)
    await client.close()


async def rabbitmq_delays(host, count):
    from rstream import Consumer

    delays, is_over = [], asyncio.Event()

    def received(message, _):
        text = message[-SIZE:]
        # Not the record of the end.
        if text[:19].isdigit():
            delays.append(time.time_ns() - sent_at(text))
        if len(delays) == int(count):
            is_over.set()

    async with Consumer(host, 5552, username="guest", password="guest") as consumer:
        await consumer.subscribe("prices", received, decoder=bytes)
        print("ready", flush=True)
        await asyncio.wait_for(is_over.wait(), 60)
    report(delays)


command, *arguments = sys.argv[1:]
function = globals()[command.replace("-", "_")]
if asyncio.iscoroutinefunction(function):
    asyncio.run(function(*arguments))
else:
    function(*arguments)
