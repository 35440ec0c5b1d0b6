"""pymcast.aio: on every loop, nothing lost, nothing given twice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import lab
import pymcast
import pytest
from pymcast import aio

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


class WithoutReaders(asyncio.SelectorEventLoop):
    """A loop that can't watch descriptors, as Windows' proactor can't."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        # The loop's own pipe is watched otherwise.
        raise NotImplementedError


def run_with(make: Callable[[], asyncio.AbstractEventLoop]) -> Run[Any]:
    def run(work: Coroutine[Any, Any, T]) -> T:
        loop = make()
        try:
            return loop.run_until_complete(asyncio.wait_for(work, 30))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return run


def uvloop() -> asyncio.AbstractEventLoop:
    module = pytest.importorskip("uvloop")
    loop: asyncio.AbstractEventLoop = module.new_event_loop()
    return loop


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop, WithoutReaders], ids=["asyncio", "uvloop", "no readers"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    return run_with(request.param)


def sender_of(other: lab.Host, port: int) -> pymcast.Sender:
    return other.run(lambda: pymcast.Sender(f"239.5.0.1:{port}", interface="one"))


def test_receives_datagrams_that_are_queued_or_arrive_later(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = sender_of(other, port)
            waiting = asyncio.ensure_future(receiver.recv())
            await asyncio.sleep(0)
            sender.send(b"later")
            assert (await waiting).payload == b"later"
            for number in range(100):
                sender.send(b"%d" % number)
            heard = [(await receiver.recv()).payload for _ in range(100)]
            assert heard == [b"%d" % number for number in range(100)]
            assert receiver.try_recv() is None

    run(work())


def test_each_datagram_goes_to_one_waiter(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = sender_of(other, port)
            waiters = [asyncio.ensure_future(receiver.recv()) for _ in range(50)]
            for number in range(25):
                sender.send(b"%d" % number)
                await asyncio.sleep(0)
            sender.send_batch([b"%d" % number for number in range(25, 50)])
            heard = [datagram.payload for datagram in await asyncio.gather(*waiters)]
            assert sorted(heard) == sorted(b"%d" % number for number in range(50))

    run(work())


def test_a_cancelled_call_loses_no_datagram(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = sender_of(other, port)
            heard: list[bytes] = []
            for number in range(200):
                waiting = asyncio.ensure_future(receiver.recv())
                if number % 2:
                    await asyncio.sleep(0)
                sender.send(b"%d" % number)
                if number % 3:
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    heard.append((await waiting).payload)
                except asyncio.CancelledError:
                    pass
            while len(heard) < 200:
                heard.append((await asyncio.wait_for(receiver.recv(), 30)).payload)
            assert sorted(heard) == sorted(b"%d" % number for number in range(200))

    run(work())


def test_a_waiter_cancelled_after_waking_wakes_the_next(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = sender_of(other, port)
            for _ in range(20):
                first = asyncio.ensure_future(receiver.recv())
                second = asyncio.ensure_future(receiver.recv())
                await lab.let_tasks_run()
                sender.send(b"one")
                await asyncio.sleep(0)
                first.cancel()
                await asyncio.wait({first}, timeout=30)
                if first.cancelled():
                    assert (await asyncio.wait_for(second, 30)).payload == b"one"
                else:
                    assert (await first).payload == b"one"
                    second.cancel()
                    await asyncio.wait({second})

    run(work())


def test_closing_ends_loops(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        receiver = aio.Receiver(f"239.5.0.1:{port}", interface="one")
        heard: list[bytes] = []

        async def loop() -> None:
            async for datagram in receiver:
                heard.append(datagram.payload)
                if len(heard) == 3:
                    receiver.close()

        async def wait() -> None:
            with pytest.raises(pymcast.ClosedError):
                while True:
                    await receiver.recv()

        sender = sender_of(other, port)
        tasks = [asyncio.ensure_future(loop())]
        for number in range(3):
            sender.send(b"%d" % number)
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert heard == [b"0", b"1", b"2"]
        receiver.open()
        waiting = asyncio.ensure_future(wait())
        await lab.let_tasks_run()
        receiver.close()
        await asyncio.wait_for(waiting, 30)

    run(work())


def test_other_tasks_run_during_a_flood(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = sender_of(other, port)
            sender.send_batch([b"x" * 100] * 2000)
            turns = 0

            async def others() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(others())
            heard = 0
            while heard < 2000:
                await receiver.recv()
                heard += 1
            task.cancel()
            assert turns > 0

    run(work())


def test_batches_and_replies(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = other.run(lambda: aio.Sender(f"239.5.0.1:{port}", interface="one"))
            async with sender:
                await sender.send(b"who?")
                (datagram,) = await receiver.recv_batch()
                receiver.reply(datagram, b"me")
                assert (await sender.recv_answer(30)).payload == b"me"
                with pytest.raises(TimeoutError):
                    await sender.recv_answer(0.01)
                assert await sender.send_batch([b"a", b"b", pymcast.Outgoing(b"c")]) == 3
                heard: list[bytes] = []
                while len(heard) < 3:
                    heard += [datagram.payload for datagram in await receiver.recv_batch()]
                assert heard == [b"a", b"b", b"c"]

    run(work())


def test_a_reply_survives_a_cancelled_wait(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Receiver(f"239.5.0.1:{port}", interface="one") as receiver:
            sender = other.run(lambda: aio.Sender(f"239.5.0.1:{port}", interface="one"))
            async with sender:
                waiting = asyncio.ensure_future(sender.recv_answer())
                await lab.let_tasks_run()
                waiting.cancel()
                await asyncio.wait({waiting})
                await sender.send(b"who?")
                receiver.reply(await receiver.recv(), b"me")
                assert (await sender.recv_answer(30)).payload == b"me"

    run(work())


def test_other_tasks_run_while_a_sender_waits_for_its_rate(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        async with aio.Sender(f"239.5.0.2:{port}", interface="one", rate=100) as sender:
            loop = asyncio.get_running_loop()
            turns = 0

            async def others() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.001)

            task = asyncio.ensure_future(others())
            started = loop.time()
            for _ in range(11):
                await sender.send(b"x")
            assert loop.time() - started > 0.08
            assert turns > 10
            task.cancel()
            assert sender.statistics.datagrams == 11

    run(work())


@pytest.mark.skipif(sys.platform != "linux", reason="the lab is Linux'")
def test_sends_to_every_destination_and_interface(other: lab.Host, port: int, run: Run[None]) -> None:
    async def work() -> None:
        receiver = other.run(lambda: pymcast.Receiver(f"239.5.0.3:{port}", f"239.5.0.4:{port}"))
        with receiver:
            places = (f"239.5.0.3:{port}", f"239.5.0.4:{port}")
            async with aio.Sender(*places, interface=["one", "two"]) as sender:
                await sender.send(b"everywhere")
            heard = [receiver.recv(timeout=30) for _ in range(4)]
            assert {(str(each.group), each.interface) for each in heard} == {
                (group, link) for group in ("239.5.0.3", "239.5.0.4") for link in lab.LINKS
            }
            with pytest.raises(pymcast.MismatchError):
                await aio.Sender().send(b"to whom?")

    run(work())
