"""Requests of tests to a NATS server, by a client that others wrote: a JSON array per line, and a JSON value in return."""

import asyncio
import json
import ssl
import sys

import nats
from nats.errors import NoRespondersError, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError, ServiceUnavailableError

server, stream, *files = sys.argv[1:]
context = None
if files:
    authority, certificate, key = files
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)


async def dump(jetstream, stream):
    """Returns the headers and the text of each message, whose bytes are its characters."""
    subject = f"mcast.{stream}"
    left = (await jetstream.stream_info(stream)).state.messages
    settings = ConsumerConfig(ack_policy=AckPolicy.NONE, max_deliver=1, mem_storage=True)
    consumer = await jetstream.pull_subscribe(subject, stream=stream, config=settings)
    messages = []
    while left > 0:
        fetched = await consumer.fetch(min(left, 1000), timeout=10)
        messages += [[message.headers, message.data.decode("latin-1")] for message in fetched]
        left -= len(fetched)
    await consumer.unsubscribe()
    return messages


async def respond(client, request, *arguments):
    jetstream = client.jetstream()
    match request:
        case "api":
            subject, body = arguments
            response = await client.request(f"$JS.API.{subject}", json.dumps(body).encode(), timeout=5)
            return json.loads(response.data)
        case "length":
            return (await jetstream.stream_info(stream)).state.messages
        case "info":
            info = await jetstream.stream_info(stream)
            return info.config.as_dict()
        case "last":
            return (await jetstream.get_last_msg(stream, f"mcast.{stream}")).headers
        case "last-text":
            # A gap has none.
            return ((await jetstream.get_last_msg(stream, f"mcast.{stream}")).data or b"").decode()
        case "dump":
            return await dump(jetstream, *(arguments or [stream]))
        case "create":
            settings = {"name": stream, "subjects": [f"mcast.{stream}"], **arguments[0]}
            await jetstream.add_stream(StreamConfig(**settings))
        case "edit":
            info = await jetstream.stream_info(stream)
            await jetstream.update_stream(info.config.evolve(**arguments[0]))
        case "publish":
            await jetstream.publish(f"mcast.{stream}", arguments[0].encode(), headers=arguments[1])
        case "publish-all":
            *most, last = arguments[0]
            for text, headers in most:
                await client.publish(f"mcast.{stream}", text.encode(), headers=headers)
            await jetstream.publish(f"mcast.{stream}", last[0].encode(), headers=last[1])
        case "delete":
            await jetstream.delete_stream(stream)
        case "delete-last":
            await jetstream.delete_msg(stream, (await jetstream.stream_info(stream)).state.last_seq)
        case "purge":
            await jetstream.purge_stream(stream)
        case "notes":
            return (await jetstream.stream_info("KV_mcast-bridges")).state.messages
        case "has-note":
            # As bridges ask: any server that has a copy may respond.
            request = json.dumps({"multi_last": [f"$KV.mcast-bridges.{stream}.*"]})
            response = await client.request("$JS.API.DIRECT.GET.KV_mcast-bridges", request.encode(), timeout=5)
            return (response.headers or {}).get("Status") != "404"
        case "note":
            await jetstream.publish(f"$KV.mcast-bridges.{stream}.{arguments[0]}", arguments[1].encode())


async def connect():
    """Connects to the first server that accepts, of those that are separated by commas."""
    *most, last = server.split(",")
    for one in most:
        try:
            return await nats.connect(one, tls=context, allow_reconnect=False, connect_timeout=5)
        except OSError:
            pass
    return await nats.connect(last, tls=context, allow_reconnect=False, connect_timeout=5)


async def main():
    for line in sys.stdin:
        client = await connect()
        try:
            result = await respond(client, *json.loads(line))
        except (NotFoundError, ServiceUnavailableError, NoRespondersError, TimeoutError):
            result = None
        await client.close()
        print(json.dumps(result), flush=True)


asyncio.run(main())
