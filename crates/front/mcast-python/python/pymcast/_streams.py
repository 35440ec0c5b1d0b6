"""Publishers and subscribers for asyncio; `pymcast.aio` exports them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType

import pymcast
from pymcast._discovery import newest, not_announced
from pymcast._keywords import (
    AnnouncementKeywords,
    DestinationLike,
    KeysLike,
    MembershipLike,
    PayloadLike,
    PublisherKeywords,
    SignedByLike,
    SigningKeyLike,
    SourceLike,
    SubscriberKeywords,
)
from pymcast._receiving import Receiving
from pymcast._typing import Self, Unpack

__all__ = ["Publisher", "Subscriber", "find_stream", "find_streams"]

# How often to poll for space in the retransmission buffer, or for subscribers, in seconds.
_POLL_INTERVAL = 0.001
# How many messages are queued before other coroutines get to run.
_TURN = 128
# How many items are fetched at once.
_BATCH = 256
# How often a listening thread checks whether it was cancelled, in seconds.
_SLICE = 0.25


class Publisher:
    """Publishes a reliable stream of messages, for coroutines.

    Raises the same exceptions as `pymcast.Publisher`. A cancelled call has published either the whole message or
    nothing.
    """

    def __init__(self, *destinations: DestinationLike, **settings: Unpack[PublisherKeywords]) -> None:
        """The arguments are those of `pymcast.Publisher`."""
        self._publisher = pymcast.Publisher(*destinations, **settings)
        self._published = 0

    async def publish(self, payload: PayloadLike, *, key: int | None = None) -> int:
        """As `pymcast.Publisher.publish`: waits while the retransmission buffer is full.

        Other coroutines get to run from time to time. For a timeout, use
        `asyncio.wait_for(publisher.publish(...), seconds)`.
        """
        self._published += 1
        if self._published % _TURN == 0:
            await asyncio.sleep(0)
        while (number := self._publisher.try_publish(payload, key=key)) is None:
            await asyncio.sleep(_POLL_INTERVAL)
        return number

    def try_publish(self, payload: PayloadLike, *, key: int | None = None) -> int | None:
        """As `publish`, but without waiting; returns None if the retransmission buffer is full."""
        return self._publisher.try_publish(payload, key=key)

    def flush(self) -> None:
        """Sends the messages that wait for others to share their datagrams."""
        self._publisher.flush()

    async def wait_for(self, subscribers: int, timeout: float | None = None) -> bool:
        """Waits until this many subscribers have joined; returns False after `timeout` seconds."""
        return await self._until(lambda: self._publisher.wait_for(subscribers, 0), timeout)

    async def wait_complete(self, timeout: float | None = None) -> bool:
        """Waits until all subscribers have received everything; returns False after `timeout` seconds."""
        return await self._until(lambda: self._publisher.wait_complete(0), timeout)

    async def wait_acked(self, message: int, timeout: float | None = None) -> bool:
        """Waits until the message with this number is acknowledged as `ack` requires.

        Returns False after `timeout` seconds, and if the message was given up (`ack_lost="report"`).
        """
        await self._until(lambda: self._publisher._is_settled(message), timeout)
        return self._publisher.wait_acked(message, 0)

    def watermarks(self) -> list[pymcast.Watermark]:
        """Returns what each subscriber has acknowledged, if `ack` was given."""
        return self._publisher.watermarks()

    def events(self) -> list[pymcast.PublisherEvent]:
        """Returns the events since the last call, the oldest first."""
        return self._publisher.events()

    def set_keys(self, keys: KeysLike) -> None:
        """Seals with the greatest epoch of these keys from now on."""
        self._publisher.set_keys(keys)

    def set_signing_key(self, signing_key: SigningKeyLike) -> None:
        """Signs with the last key in this file from now on, as `pymcast.Publisher.set_signing_key`."""
        self._publisher.set_signing_key(signing_key)

    def serve_snapshots(
        self, address: tuple[SourceLike, int], capture: Callable[[], pymcast.Snapshot]
    ) -> tuple[str, int]:
        """Serves snapshots, as `pymcast.Publisher.serve_snapshots`: `capture` is called in another thread."""
        return self._publisher.serve_snapshots(address, capture)

    @property
    def next_message(self) -> int:
        """The number of the next message."""
        return self._publisher.next_message

    @property
    def statistics(self) -> pymcast.PublisherStatistics:
        """Its statistics."""
        return self._publisher.statistics

    @property
    def stream(self) -> int:
        """The stream id."""
        return self._publisher.stream

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._publisher.closed

    async def close(self, timeout: float = 5.0) -> pymcast.Closing | None:
        """Ends the stream, and waits until all subscribers have received everything; returns the result."""
        return await asyncio.to_thread(self._publisher.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._publisher.__exit__, exc_type, exc, traceback)

    def __repr__(self) -> str:
        return f"<aio {self._publisher!r}>"

    async def _until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while not done():
            if end is not None and loop.time() >= end:
                return False
            await asyncio.sleep(_POLL_INTERVAL)
        return True


class Subscriber(Receiving["pymcast.Message | pymcast.StreamEvent"]):
    """Receives the messages of a stream in order, each once, for coroutines.

    It buffers up to one batch of items, and a cancelled call loses none. It requests repairs during its calls, so
    keep calling `next`. Raises the same exceptions as `pymcast.Subscriber`.
    """

    _what = "subscriber"

    def __init__(
        self, *memberships: MembershipLike | pymcast.FoundStream, **settings: Unpack[SubscriberKeywords]
    ) -> None:
        """The arguments are those of `pymcast.Subscriber`."""
        self._subscriber = pymcast.Subscriber(*memberships, **settings)
        super().__init__(self._subscriber)

    async def next(self) -> pymcast.Message | pymcast.StreamEvent | None:
        """Waits for the next item, a message or an event; returns None if the stream has ended.

        For a timeout, use `asyncio.wait_for(subscriber.next(), seconds)`. Raises `pymcast.ClosedError` if the
        subscriber is closed meanwhile.
        """
        return await self._one()

    async def fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None = None,
        timeout: float = 10.0,
        max_size: int = 67108864,
    ) -> pymcast.Snapshot:
        """Fetches a snapshot, as `pymcast.Subscriber.fetch_snapshot`; call `resume` afterwards."""
        abandoned = threading.Event()
        try:
            return await asyncio.to_thread(
                self._subscriber._fetch_snapshot, address, timeout, max_size, abandoned.is_set
            )
        finally:
            abandoned.set()

    def ack(self, message: pymcast.Message) -> None:
        """Notes that this message is processed, and all that were returned before it."""
        self._subscriber.ack(message)

    def resume(self, message: int) -> None:
        """Continues after a snapshot that includes all messages before this number."""
        self._subscriber.resume(message)

    def set_keys(self, keys: KeysLike) -> None:
        """Opens datagrams with these keys from now on."""
        self._subscriber.set_keys(keys)

    def set_signed_by(self, signed_by: SignedByLike) -> None:
        """Trusts these public keys from now on, as `pymcast.Subscriber.set_signed_by`."""
        self._subscriber.set_signed_by(signed_by)

    @property
    def statistics(self) -> pymcast.SubscriberStatistics:
        """Its statistics."""
        return self._subscriber.statistics

    @property
    def stream(self) -> int | None:
        """The stream id; None until the stream is received."""
        return self._subscriber.stream

    def _take(self) -> tuple[list[pymcast.Message | pymcast.StreamEvent], float]:
        items, self._ended, due = self._subscriber._take(_BATCH)
        return items, due

    def _descriptors(self) -> list[int]:
        return self._subscriber._descriptors()

    def _wait(self) -> None:
        self._subscriber._wait()


async def find_stream(
    name: str, timeout: float = 10.0, **options: Unpack[AnnouncementKeywords]
) -> pymcast.FoundStream:
    """Waits for the announcement of the stream with this name, as `pymcast.find_stream`."""
    async for found in _announced(timeout, **options):
        if found.name == name:
            return found
    raise not_announced(name)


async def find_streams(timeout: float = 1.5, **options: Unpack[AnnouncementKeywords]) -> list[pymcast.FoundStream]:
    """Returns the streams that are announced within this time, as `pymcast.find_streams`."""
    return newest([found async for found in _announced(timeout, **options)])


async def _announced(
    timeout: float, **options: Unpack[AnnouncementKeywords]
) -> AsyncIterator[pymcast.FoundStream]:
    """Yields announcements for `timeout` seconds. A thread listens, and frequently checks whether to continue."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    announcements = pymcast.Announcements(**options)
    try:
        while (left := end - loop.time()) > 0:
            try:
                yield await asyncio.to_thread(announcements.next, min(left, _SLICE))
            except TimeoutError:
                continue
    finally:
        # Closing waits for the listening thread, so it must not run in the event loop.
        loop.run_in_executor(None, announcements.close)
