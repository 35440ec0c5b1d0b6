"""Dependable messages with asyncio."""

from __future__ import annotations

import asyncio
import socket

import lab
import pymcast
import pytest
from pymcast import aio


def test_async_for_yields_all_messages_and_ends_with_the_stream(other: lab.Host, port: int) -> None:
    place = f"239.31.0.1%one:{port}"
    publisher = other.run(lambda: aio.Publisher(place))

    async def publish() -> pymcast.Closing | None:
        assert await publisher.wait_for(1, timeout=20)
        for number in range(1000):
            assert await publisher.publish(b"%d" % number) == number
        assert await publisher.wait_complete(timeout=20)
        return await publisher.close(20)

    async def main() -> None:
        heard: list[bytes] = []
        async with aio.Subscriber(place) as subscriber:
            closing = asyncio.create_task(publish())
            async for item in subscriber:
                if isinstance(item, pymcast.Message):
                    heard.append(item.payload)
            assert await subscriber.next() is None
            assert subscriber.statistics.messages == 1000
            ended = await closing
        assert heard == [b"%d" % number for number in range(1000)]
        assert ended is not None
        assert ended.behind == []

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_cancelled_call_loses_no_message(other: lab.Host, port: int) -> None:
    place = f"239.31.0.2%one:{port}"
    publisher = other.run(lambda: pymcast.Publisher(place))

    async def main() -> None:
        heard: list[bytes] = []
        cancelled = 0
        async with aio.Subscriber(place) as subscriber:
            sent = 0
            while len(heard) < 200:
                if sent < 200 and (sent == 0 or len(heard) == sent):
                    if sent or publisher.wait_for(1, timeout=0):
                        publisher.publish(b"%d" % sent)
                        sent += 1
                waiting = asyncio.create_task(subscriber.next())
                await asyncio.wait({waiting}, timeout=0.0005)
                if waiting.cancel():
                    cancelled += 1
                try:
                    item = await waiting
                except asyncio.CancelledError:
                    continue
                if isinstance(item, pymcast.Message):
                    heard.append(item.payload)
        assert heard == [b"%d" % number for number in range(200)]
        assert cancelled > 0

    try:
        asyncio.run(asyncio.wait_for(main(), 60))
    finally:
        publisher.close(0)


def test_closing_ends_waiting_calls(other: lab.Host, port: int) -> None:
    async def main() -> None:
        subscriber = aio.Subscriber(f"239.31.0.3%one:{port}")
        waiting = asyncio.create_task(subscriber.next())
        await lab.let_tasks_run()
        subscriber.close()
        with pytest.raises(pymcast.ClosedError):
            await waiting
        assert [item async for item in subscriber] == []
        async with aio.Publisher(f"239.31.0.3%one:{port}") as publisher:
            assert not await publisher.wait_for(1, timeout=0.01)
        assert publisher.closed

    asyncio.run(asyncio.wait_for(main(), 60))


def test_cancelling_a_snapshot_fetch_ends_its_thread(other: lab.Host, port: int) -> None:
    place = f"239.31.0.4%one:{port}"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            async with aio.Publisher(place) as publisher, aio.Subscriber(place, start="snapshot") as subscriber:
                await publisher.publish(b"something")
                async for item in subscriber:
                    if isinstance(item, pymcast.StreamEvent) and item.kind == "snapshot-wanted":
                        break
                fetching = asyncio.create_task(subscriber.fetch_snapshot(silent.getsockname(), timeout=60))
                connection, _ = await loop.sock_accept(silent)
                fetching.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await fetching
                # Whoever fetched hangs up.
                while await loop.sock_recv(connection, 100):
                    pass
                connection.close()

    asyncio.run(asyncio.wait_for(main(), 60))
