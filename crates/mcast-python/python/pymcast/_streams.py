"""Dependable messages with asyncio: `pymcast.aio` has these classes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType

import pymcast
from pymcast._discovery import newest, nobody
from pymcast._keywords import (
    AnnouncementKeywords,
    DestinationLike,
    KeysLike,
    MembershipLike,
    PayloadLike,
    PublisherKeywords,
    SourceLike,
    SubscriberKeywords,
)
from pymcast._receiving import Receiving
from pymcast._typing import Self, Unpack

__all__ = ["Publisher", "Subscriber", "discover", "find_stream"]

# How soon to look again for room, or for receivers, in seconds.
_AGAIN = 0.001
# How many messages are queued before other coroutines run.
_TURN = 128
# How many items are taken at once.
_BATCH = 256
# How long a thread listens before it looks whether anybody still wants it, in seconds.
_SLICE = 0.25


class Publisher:
    """Publishes a stream of messages that all arrive, for coroutines.

    Raises what `pymcast.Publisher` does. A call that is cancelled has published all of its message, or
    nothing.
    """

    def __init__(self, *destinations: DestinationLike, **settings: Unpack[PublisherKeywords]) -> None:
        """The arguments are those of `pymcast.Publisher`."""
        self._publisher = pymcast.Publisher(*destinations, **settings)
        self._queued = 0

    async def publish(self, payload: PayloadLike, *, key: int | None = None) -> int:
        """Publishes a message, sends it at once, and tells its number; waits while there is no room.

        For a limit of time: `asyncio.wait_for(publisher.publish(...), seconds)`.
        """
        while (number := self._publisher.try_publish(payload, key=key)) is None:
            await asyncio.sleep(_AGAIN)
        return number

    def try_publish(self, payload: PayloadLike, *, key: int | None = None) -> int | None:
        """Publishes a message, sends it at once, and returns its number; None when there is no room."""
        return self._publisher.try_publish(payload, key=key)

    async def queue(self, payload: PayloadLike, *, key: int | None = None) -> int:
        """Publishes a message that may wait for others to share its datagram, until `flush`, or for a millisecond.

        The way to publish many small messages fast; otherwise as `publish`. Other coroutines run now and then.
        """
        self._queued += 1
        if self._queued % _TURN == 0:
            await asyncio.sleep(0)
        while (number := self._publisher._try_queue(payload, key=key)) is None:
            await asyncio.sleep(_AGAIN)
        return number

    def flush(self) -> None:
        """Sends what was queued."""
        self._publisher.flush()

    async def wait_for(self, receivers: int, timeout: float | None = None) -> bool:
        """Waits until so many receivers have joined; False when the time is over."""
        return await self._until(lambda: self._publisher.wait_for(receivers, 0), timeout)

    async def wait_complete(self, timeout: float | None = None) -> bool:
        """Waits until all that listen have everything that was published; False when the time is over."""
        return await self._until(lambda: self._publisher.wait_complete(0), timeout)

    def events(self) -> list[pymcast.PublisherEvent]:
        """What happened since the last call, the oldest first."""
        return self._publisher.events()

    def set_keys(self, keys: KeysLike) -> None:
        """Seals with the greatest epoch of these from now on."""
        self._publisher.set_keys(keys)

    def serve_snapshots(
        self, address: tuple[SourceLike, int], capture: Callable[[], pymcast.Snapshot]
    ) -> tuple[str, int]:
        """Serves snapshots, as `pymcast.Publisher.serve_snapshots`: `capture` is called by another thread."""
        return self._publisher.serve_snapshots(address, capture)

    @property
    def next_message(self) -> int:
        """The number of the next message."""
        return self._publisher.next_message

    @property
    def statistics(self) -> pymcast.PublisherStatistics:
        """What was sent so far."""
        return self._publisher.statistics

    @property
    def stream(self) -> int:
        """The stream's identity."""
        return self._publisher.stream

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._publisher.closed

    async def close(self, timeout: float = 5.0) -> pymcast.Closing | None:
        """Ends the stream, and waits until all that listen have everything; tells who has not."""
        return await asyncio.to_thread(self._publisher.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio {self._publisher!r}>"

    async def _until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while not done():
            if end is not None and loop.time() >= end:
                return False
            await asyncio.sleep(_AGAIN)
        return True


class Subscriber(Receiving["pymcast.Message | pymcast.StreamEvent"]):
    """Receives a stream of messages, in order, each once, for coroutines.

    Up to a batch of items waits in it, for the next calls: one that is cancelled loses none. Repairs are
    asked for within its calls: keep asking for the next. Raises what `pymcast.Subscriber` does.
    """

    _what = "subscriber"

    def __init__(
        self, *memberships: MembershipLike | pymcast.FoundStream, **settings: Unpack[SubscriberKeywords]
    ) -> None:
        """The arguments are those of `pymcast.Subscriber`."""
        self._subscriber = pymcast.Subscriber(*memberships, **settings)
        super().__init__(self._subscriber)

    async def next(self) -> pymcast.Message | pymcast.StreamEvent | None:
        """Waits for the next item, a message or an event; None when the stream has ended.

        For a limit of time: `asyncio.wait_for(subscriber.next(), seconds)`. Raises
        `pymcast.ClosedError` when the subscriber is closed meanwhile.
        """
        return await self._one()

    async def fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None = None,
        timeout: float = 10.0,
        max_size: int = 67108864,
    ) -> pymcast.Snapshot:
        """Fetches a snapshot, as `pymcast.Subscriber.fetch_snapshot`; go on behind it with `resume`."""
        abandoned = threading.Event()
        try:
            return await asyncio.to_thread(
                self._subscriber._fetch_snapshot, address, timeout, max_size, abandoned.is_set
            )
        finally:
            abandoned.set()

    def resume(self, message: int) -> None:
        """Goes on behind a snapshot that has all messages before this number."""
        self._subscriber.resume(message)

    def set_keys(self, keys: KeysLike) -> None:
        """Opens with these from now on."""
        self._subscriber.set_keys(keys)

    @property
    def statistics(self) -> pymcast.SubscriberStatistics:
        """What was received so far."""
        return self._subscriber.statistics

    @property
    def stream(self) -> int | None:
        """The identity of the stream, once it is heard."""
        return self._subscriber.stream

    def _take(self) -> tuple[list[pymcast.Message | pymcast.StreamEvent], float]:
        items, self._over, due = self._subscriber._take(_BATCH)
        return items, due

    def _descriptors(self) -> list[int]:
        return self._subscriber._descriptors()

    def _wait(self) -> None:
        self._subscriber._wait()


async def find_stream(
    name: str, timeout: float = 10.0, **where: Unpack[AnnouncementKeywords]
) -> pymcast.FoundStream:
    """Waits for the announcement of the stream of this name, as `pymcast.find_stream`."""
    async for found in _announced(timeout, **where):
        if found.name == name:
            return found
    raise nobody(name)


async def discover(timeout: float = 1.5, **where: Unpack[AnnouncementKeywords]) -> list[pymcast.FoundStream]:
    """The streams that are announced within this time, as `pymcast.discover`."""
    return newest([found async for found in _announced(timeout, **where)])


async def _announced(
    timeout: float, **where: Unpack[AnnouncementKeywords]
) -> AsyncIterator[pymcast.FoundStream]:
    """What is announced within so many seconds. A thread listens, and looks often whether it still should."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    announcements = pymcast.Announcements(**where)
    try:
        while (left := end - loop.time()) > 0:
            try:
                yield await asyncio.to_thread(announcements.next, min(left, _SLICE))
            except TimeoutError:
                continue
    finally:
        # It waits for the thread that listens, which the event loop must not.
        loop.run_in_executor(None, announcements.close)
