"""Requests of tests to a RabbitMQ server, by a client that others wrote: a JSON array per line, and a JSON value in return.

Which records are effective follows from the rule in docs/how-to/keep-in-rabbitmq.md.
"""

import asyncio
import contextlib
import json
import logging
import socket
import sys
import time

from rstream import AMQPMessage, OffsetType, Producer, amqp_decoder
from rstream.client import Client
from rstream.exceptions import LeaderNotAvailable, ServerError, StreamDoesNotExist
from rstream.schema import Deliver, OffsetSpec

host, user, password = sys.argv[1:]
logging.disable()
# What was read of each stream: the next offset, the position of the last effective record, and all of them.
streams = {}


async def chunk(client, stream, kind, offset=None):
    """Returns the chunk there, which is sent before the response to the next request; None if there is none."""
    try:
        await client.subscribe(stream, 0, OffsetSpec.from_params(kind, offset), initial_credit=1)
    except StreamDoesNotExist:
        return None
    await client.unsubscribe(0)
    chunks = client._frames[0]
    return None if chunks.empty() else chunks.get_nowait()


def text(value):
    return value.decode() if isinstance(value, bytes) else value


async def read(client, stream):
    """Returns the effective records of a stream, each with its properties and its text, whose bytes are its characters."""
    last = await chunk(client, stream, OffsetType.LAST)
    end = 0 if last is None else last.chunk_first_offset + last.num_entries
    following, tail, records = streams.get(stream, (0, None, []))
    if end < following:
        following, tail, records = 0, None, []
    while following < end:
        found = await chunk(client, stream, OffsetType.OFFSET, following)
        if found is None:
            break
        # The first records were removed, so that the next one is effective whatever it follows.
        is_next = not records and found.chunk_first_offset > following
        for offset, message in enumerate(found.get_messages(), found.chunk_first_offset):
            if offset < following:
                continue
            message = amqp_decoder(message)
            properties = {text(name): text(value) for name, value in (message.application_properties or {}).items()}
            if (is_next or properties.get("mcast-after") == tail) and "mcast-number" in properties:
                is_next = False
                tail = f"{properties['mcast-incarnation']}-{properties['mcast-number']}"
                body = message.body or b""
                records.append([properties, body.decode("latin-1")])
        following = found.chunk_first_offset + found.num_entries
    streams[stream] = following, tail, records
    return records


async def respond(client, request, stream, *arguments):
    match request:
        case "ping":
            return True
        case "length":
            return len(await read(client, stream))
        case "stored":
            await read(client, stream)
            return streams[stream][0]
        case "dump":
            return await read(client, stream)
        case "last-text":
            records = await read(client, stream)
            return records[-1][1] if records else ""
        case "create":
            await client.create_stream(stream, arguments[0])
        case "first":
            found = await chunk(client, stream, OffsetType.FIRST)
            return found and found.chunk_first_offset
        case "delete":
            streams.pop(stream, None)
            await client.delete_stream(stream)
        case "forget":
            streams.pop(stream, None)
        case "publish":
            async with Producer(host, 5552, username=user, password=password) as producer:
                await producer.create_stream(stream, exists_ok=True)
                properties = arguments[1] or None
                message = AMQPMessage(body=arguments[0].encode(), application_properties=properties)
                await producer.send_wait(stream, message)
        case "publish-all":
            async with Producer(host, 5552, username=user, password=password) as producer:
                await producer.create_stream(stream, exists_ok=True)
                for body, properties in arguments[0]:
                    message = AMQPMessage(body=body.encode("latin-1"), application_properties=properties)
                    await producer.send_wait(stream, message)
        case "leader":
            # The port of the server that leads the stream of a cluster.
            try:
                leader, _ = await client.query_leader_and_replicas(stream)
                return leader.port
            except LeaderNotAvailable:
                return None
        case "age":
            # How old the latest note is, in seconds.
            found = await chunk(client, stream, OffsetType.LAST)
            return time.time() - found.timestamp / 1000


def first_port():
    """Returns the port of the first server that is there, of the three that a cluster has."""
    for port in (5552, 5553):
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
            return port
    return 5554


async def main():
    for line in sys.stdin:
        client = Client(host, first_port(), frame_max=1 << 20, heartbeat=60)
        result = None
        try:
            await client.start()
            client.add_handler(Deliver, None, name="0")
            await client.authenticate("/", user, password)
            result = await respond(client, *json.loads(line))
            await client.close()
        except (OSError, StreamDoesNotExist, asyncio.TimeoutError):
            pass
        except ServerError:
            # While it starts, it refuses everything.
            if json.loads(line)[0] in ("publish", "create", "delete"):
                raise
        print(json.dumps(result), flush=True)


asyncio.run(main())
