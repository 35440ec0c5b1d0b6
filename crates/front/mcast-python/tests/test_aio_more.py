"""The asyncio faces of discovery, captures and the doctor."""

from __future__ import annotations

import asyncio

import lab
import pymcast
import pytest
from pymcast import aio


def test_a_stream_is_found_by_name(other: lab.Host, port: int) -> None:
    place = f"239.32.0.1%one:{port}"

    async def work() -> None:
        publisher = other.run(lambda: pymcast.Publisher(place, name="aio prices"))
        try:
            found = await aio.find_stream("aio prices", timeout=20, interface="one")
            assert found.stream == publisher.stream
            assert "aio prices" in [each.name for each in await aio.find_streams(timeout=5)]
            async with aio.Subscriber(found, start="oldest") as subscriber:
                publisher.publish(b"hello")
                async for item in subscriber:
                    if isinstance(item, pymcast.Message):
                        assert item.payload == b"hello"
                        break
            with pytest.raises(TimeoutError, match="no announcement"):
                await aio.find_stream("nothing", timeout=0.1)
        finally:
            publisher.close(0)

    asyncio.run(work())


def test_finding_a_stream_can_be_cancelled(other: lab.Host) -> None:
    async def work() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(aio.find_stream("nothing", timeout=3_600), 0.05)

    asyncio.run(work())


def test_packets_are_captured(other: lab.Host, port: int) -> None:
    async def work() -> None:
        async with aio.Capture("one", filter=port) as capture:
            assert capture.interfaces == ["one"]
            waiting = asyncio.ensure_future(capture.next())
            await lab.let_tasks_run()
            assert not waiting.done()
            sender = other.run(lambda: pymcast.Sender(f"239.32.0.2%one:{port}"))
            sender.send(b"first")
            packet = await asyncio.wait_for(waiting, 20)
            assert packet.payload == b"first"
            for number in range(3):
                sender.send(b"%d" % number)
            heard = []
            async for packet in capture:
                heard.append(packet.payload)
                if len(heard) == 3:
                    break
            assert heard == [b"0", b"1", b"2"]
            assert capture.statistics.packets >= 4
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(capture.next(), 0.05)
            sender.send(b"not lost")
            assert (await asyncio.wait_for(capture.next(), 20)).payload == b"not lost"
        assert capture.closed
        with pytest.raises(pymcast.ClosedError, match="capture is closed"):
            await capture.next()
        assert [packet async for packet in capture] == []

    asyncio.run(work())


def test_closing_a_capture_ends_waiting_calls(other: lab.Host, port: int) -> None:
    async def work() -> None:
        capture = aio.Capture("one", filter=port)
        waiting = [asyncio.ensure_future(capture.next()) for _ in range(2)]
        await lab.let_tasks_run()
        capture.close()
        for each in waiting:
            with pytest.raises(pymcast.ClosedError):
                await asyncio.wait_for(each, 20)

    asyncio.run(work())


def test_other_tasks_run_during_the_doctor(other: lab.Host, port: int) -> None:
    async def work() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        counting = asyncio.ensure_future(count())
        report = await aio.doctor(f"239.32.0.3%one:{port}", listen=0.5)
        counting.cancel()
        assert turns > 5
        assert isinstance(report, pymcast.Report)
        with pytest.raises(ValueError, match="at most one"):
            await aio.doctor("239.32.0.3:1", port=port)

    asyncio.run(work())
