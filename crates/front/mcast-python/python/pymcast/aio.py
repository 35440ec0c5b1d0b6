"""Sending and receiving with asyncio, on any event loop.

>>> async with pymcast.aio.Receiver("239.255.1.3:7000", interface="eth0") as receiver:
...     async for datagram in receiver:
...         print(datagram.payload, datagram.source)

Receivers and senders take the same arguments as the blocking ones. They open in the network namespace of the
thread that creates them. One event loop at a time waits for them: another may take over when no call of the former
one waits. A cancelled call does not lose a datagram, and each datagram is delivered to one call. Event loops that can
watch descriptors (asyncio's on Unix, uvloop, the selector loop on Windows) are used directly; for others (Windows'
proactor), a thread waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Generic, TypeVar

import pymcast
from pymcast._errors import closed
from pymcast._keywords import (
    CaptureKeywords,
    DestinationLike,
    DiscoveryKeywords,
    DoctorKeywords,
    InterfaceLike,
    MembershipLike,
    PayloadLike,
    GroupAddressLike,
    GroupLike,
    ReceiverKeywords,
    SenderKeywords,
    SourceLike,
)
from pymcast._receiving import Receiving
from pymcast._streams import Publisher, Subscriber, find_stream, find_streams
from pymcast._typing import Self, Unpack

__all__ = [
    "Capture",
    "Discovery",
    "Publisher",
    "Receiver",
    "Sender",
    "Subscriber",
    "discover",
    "doctor",
    "find_stream",
    "find_streams",
]

T = TypeVar("T")

# How often a thread that waits for replies checks whether it was cancelled, in seconds.
_SLICE = 0.25
# How many packets are fetched at once.
_BATCH = 256
# How often a thread polls for packets where a capture has no descriptor, in seconds.
_POLL_INTERVAL = 0.01


class _Waits(Generic[T]):
    """Waits in a thread for what comes one by one. What a cancelled call waited for is returned by the next call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[T] | None = None
        self._lock = asyncio.Lock()

    async def wait(self, take: Callable[[float], T], timeout: float | None = None) -> T:
        """Returns what `take` returns; it waits for at most the seconds that it is given, and raises TimeoutError then."""
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        async with self._lock:
            while True:
                left = _SLICE if end is None else max(0.0, min(_SLICE, end - loop.time()))
                pending = self._pending or self._executor().submit(take, left)
                self._pending = pending
                with suppress(Exception):
                    await asyncio.shield(asyncio.wrap_future(pending))
                self._pending = None
                try:
                    return pending.result()
                except TimeoutError:
                    if end is not None and loop.time() >= end:
                        raise

    def close(self) -> None:
        self._pending = None
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    def _executor(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self._name)
        return self._thread


class Receiver(Receiving["pymcast.Datagram"]):
    """Receives the datagrams of its memberships, for coroutines.

    It buffers up to one batch of datagrams. Raises the same exceptions as `pymcast.Receiver`.
    """

    _what = "receiver"

    def __init__(self, *memberships: MembershipLike, **settings: Unpack[ReceiverKeywords]) -> None:
        """The arguments are those of `pymcast.Receiver`."""
        self._receiver = pymcast.Receiver(*memberships, **settings)
        super().__init__(self._receiver)

    async def recv(self) -> pymcast.Datagram:
        """Waits for a datagram.

        For a timeout, use `asyncio.wait_for(receiver.recv(), seconds)`. Raises `pymcast.ClosedError` if the
        receiver is closed meanwhile.
        """
        datagram = await self._one()
        if datagram is None:
            raise closed(self._what)
        return datagram

    async def recv_batch(self) -> list[pymcast.Datagram]:
        """Waits for datagrams and returns those in the buffer, or a new batch."""
        if not self._pending:
            await self._refill()
        batch = list(self._pending)
        self._pending.clear()
        self._done()
        return batch

    def try_recv(self) -> pymcast.Datagram | None:
        """Returns a datagram if one is available, else None."""
        if not self._pending:
            self._pending.extend(self._receiver.try_recv_batch())
        return self._pending.popleft() if self._pending else None

    def reply(self, datagram: pymcast.Datagram, payload: PayloadLike) -> None:
        """Sends a reply to a datagram's source, as `pymcast.Receiver.reply`."""
        self._receiver.reply(datagram, payload)

    def join(self, membership: MembershipLike) -> None:
        """Joins a membership."""
        self._receiver.join(membership)

    def leave(self, membership: MembershipLike) -> None:
        """Leaves a membership. Datagrams that were received before may still be delivered."""
        self._receiver.leave(membership)

    def set_sources(
        self,
        membership: MembershipLike,
        sources: Iterable[SourceLike] | None = None,
        *,
        exclude: Iterable[SourceLike] | None = None,
    ) -> None:
        """Replaces the sources of a membership atomically."""
        self._receiver.set_sources(
            membership,
            None if sources is None else list(sources),
            exclude=None if exclude is None else list(exclude),
        )

    @property
    def memberships(self) -> list[pymcast.MembershipStatus]:
        """The status of each membership on each of its interfaces."""
        return self._receiver.memberships

    @property
    def statistics(self) -> pymcast.Statistics:
        """Its statistics."""
        return self._receiver.statistics

    @property
    def receive_buffer(self) -> int:
        """The size of the receive buffer, in bytes."""
        return self._receiver.receive_buffer

    def open(self) -> None:
        """Reopens it with the memberships given to the constructor."""
        self._receiver.open()

    def _take(self) -> tuple[list[pymcast.Datagram], None]:
        return self._receiver.try_recv_batch(), None

    def _descriptors(self) -> list[int]:
        return [self._receiver.fileno()]

    def _wait(self) -> object:
        return self._receiver.wait()


class Capture(Receiving["pymcast.Packet"]):
    """Captures what interfaces receive and send, for coroutines: `async for packet in aio.Capture("eth0")`.

    It buffers packets from the moment it is created. Raises the same exceptions as `pymcast.Capture`.
    """

    _what = "capture"

    def __init__(self, *interfaces: InterfaceLike, **settings: Unpack[CaptureKeywords]) -> None:
        """The arguments are those of `pymcast.capture`: without an interface, all on which a receiver joins."""
        self._capture = pymcast.capture(*interfaces, **settings)
        super().__init__(self._capture)

    async def next(self) -> pymcast.Packet:
        """Waits for the next packet.

        For a timeout, use `asyncio.wait_for(capture.next(), seconds)`. Raises `pymcast.ClosedError` if the capture
        is closed meanwhile, and `pymcast.InterfaceDownError` once if an interface goes down.
        """
        packet = await self._one()
        if packet is None:
            raise closed(self._what)
        return packet

    @property
    def statistics(self) -> pymcast.CaptureStatistics:
        """Its statistics."""
        return self._capture.statistics

    @property
    def interfaces(self) -> list[str]:
        """The names of its interfaces."""
        return self._capture.interfaces

    def _take(self) -> tuple[list[pymcast.Packet], None]:
        packets: list[pymcast.Packet] = []
        while len(packets) < _BATCH:
            try:
                packets.append(self._capture.next(0))
            except TimeoutError:
                break
            except pymcast.Error:
                # Deliver the packets first; the next call raises the error if it persists.
                if not packets:
                    raise
                break
        return packets, None

    def _descriptors(self) -> list[int]:
        return [self._capture._descriptor()]

    def _wait(self) -> None:
        # There is no way to wait for a packet without taking it.
        time.sleep(_POLL_INTERVAL)


class Discovery:
    """A list of what announces itself, for coroutines: `async for event in aio.Discovery()`.

    The arguments, and what is raised, are those of `pymcast.Discovery`.
    """

    def __init__(
        self,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        *,
        ask: bool = False,
        file: str | PathLike[str] | None = None,
        **settings: Unpack[DiscoveryKeywords],
    ) -> None:
        self._discovery = pymcast.Discovery(interface, ask=ask, file=file, **settings)
        self._changes: _Waits[pymcast.DiscoveryEvent | None] = _Waits("pymcast discovery")

    async def next(self) -> pymcast.DiscoveryEvent | None:
        """Waits for the next change, and returns it; None at the end of a file.

        For a timeout, use `asyncio.wait_for(discovery.next(), seconds)`. A change that arrives while the call is cancelled
        is returned by the next call.
        """
        return await self._changes.wait(self._discovery.next)

    def entries(self) -> list[pymcast.Discovered]:
        """Returns all entries, ordered by interface, protocol and name."""
        return self._discovery.entries()

    def ask(self) -> None:
        """Sends queries again, in all protocols that have them."""
        self._discovery.ask()

    def close(self) -> None:
        """Stops listening. Closing twice has no effect."""
        self._discovery.close()
        self._changes.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[pymcast.DiscoveryEvent]:
        while (event := await self.next()) is not None:
            yield event


async def discover(
    timeout: float = 2.0,
    interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
    *,
    ask: bool = True,
    **settings: Unpack[DiscoveryKeywords],
) -> list[pymcast.Discovered]:
    """Returns what announces itself within `timeout` seconds, as `pymcast.discover`."""
    async with Discovery(interface, ask=ask, **settings) as discovery:
        await asyncio.sleep(timeout)
        return discovery.entries()


async def doctor(
    *memberships: MembershipLike | GroupLike, **settings: Unpack[DoctorKeywords]
) -> pymcast.Report:
    """Finds out why multicast does not arrive, as `pymcast.doctor`, in a thread.

    If the call is cancelled, the thread still runs for up to `listen` seconds, or until `soak` ends.
    """
    return await asyncio.to_thread(partial(pymcast.doctor, *memberships, **settings))


class Sender:
    """Sends datagrams to groups, for coroutines.

    Raises the same exceptions as `pymcast.Sender`.
    """

    def __init__(self, *destinations: DestinationLike, **settings: Unpack[SenderKeywords]) -> None:
        """The arguments are those of `pymcast.Sender`."""
        self._sender = pymcast.Sender(*destinations, **settings)
        # Sends that have to wait run in this thread, one after another.
        self._send_thread: ThreadPoolExecutor | None = None
        self._replies: _Waits[pymcast.Answer] = _Waits("pymcast replies")

    async def send(
        self,
        payload: PayloadLike,
        *,
        to: GroupAddressLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
        source_address: SourceLike | None = None,
    ) -> None:
        """Sends a datagram; the arguments are those of `pymcast.Sender.send`.

        It waits only if the system's buffer is full, or for the rate limit.
        """
        sender = self._sender

        def send_from(first: int, abandoned: Callable[[], bool] | None) -> int | None:
            return sender._send_copies(
                payload,
                first,
                abandoned is not None,
                abandoned,
                to=to,
                interface=interface,
                hop_limit=hop_limit,
                traffic_class=traffic_class,
                source_address=source_address,
            )

        first = 0 if sender.paced else send_from(0, None)
        if first is not None:
            await self._in_thread(partial(send_from, first))

    async def send_batch(self, datagrams: Iterable[PayloadLike | pymcast.Outgoing]) -> int:
        """Sends datagrams in order with as few system calls as possible, and returns how many were sent.

        It runs in a thread, so that other coroutines are not blocked. A call that is cancelled while it waits for the
        rate limit has sent some of the datagrams. See `pymcast.Sender.send_batch`.
        """
        return await self._in_thread(partial(self._sender._send_batch_while, list(datagrams)))

    async def recv_answer(self, timeout: float | None = None, *, family: int | None = None) -> pymcast.Answer:
        """Waits for a unicast reply, as `Receiver.reply` sends them.

        Raises TimeoutError if none arrives within `timeout` seconds, and `pymcast.ClosedError` if the sender is closed
        meanwhile. A reply that arrives while the call is cancelled is delivered to the next call.
        """
        return await self._replies.wait(partial(self._sender.recv_answer, family=family), timeout)

    @property
    def statistics(self) -> pymcast.SendStatistics:
        """Its statistics."""
        return self._sender.statistics

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._sender.closed

    def local_address(self, *, family: int | None = None) -> tuple[str, int] | tuple[str, int, int, int]:
        """Returns the address that datagrams of a family are sent from, as `pymcast.Sender.local_address`."""
        return self._sender.local_address(family=family)

    def open(self) -> None:
        """Reopens it with the same settings."""
        self._sender.open()

    def close(self) -> None:
        """Closes the sockets. Calls that wait raise `pymcast.ClosedError`."""
        self._sender.close()
        self._replies.close()
        if self._send_thread is not None:
            self._send_thread.shutdown(wait=False)
            self._send_thread = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<aio {self._sender!r}>"

    async def _in_thread(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Runs `work` in a thread, and passes it a function that returns whether the call was cancelled."""
        if self._send_thread is None:
            self._send_thread = ThreadPoolExecutor(1, "pymcast sender")
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._send_thread, work, abandoned.is_set)
        finally:
            abandoned.set()
