"""Sending and receiving with asyncio, on any event loop.

>>> async with pymcast.aio.Receiver("239.1.2.3:7000", interface="eth0") as receiver:
...     async for datagram in receiver:
...         print(datagram.payload, datagram.source)

Receivers and senders are made as the blocking ones are, with the same arguments; they open in the
network namespace of the thread that makes them, and belong to the event loop that first waits.
A call that is cancelled loses no datagram, and no two calls are given the same one. On loops that
watch descriptors (asyncio's on Unix, uvloop, the selector loop on Windows) nothing else is needed;
others (Windows' proactor) are helped by a thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TypeVar

import pymcast
from pymcast._errors import closed
from pymcast._keywords import (
    CaptureKeywords,
    DestinationLike,
    InterfaceLike,
    MembershipLike,
    PayloadLike,
    PlaceLike,
    ReceiverKeywords,
    SenderKeywords,
    SourceLike,
)
from pymcast._receiving import Receiving
from pymcast._streams import Publisher, Subscriber, discover, find_stream
from pymcast._typing import Self, Unpack

__all__ = [
    "Capture",
    "Publisher",
    "Receiver",
    "Sender",
    "Subscriber",
    "discover",
    "doctor",
    "find_stream",
]

T = TypeVar("T")

# How long a thread listens for answers before it looks whether anybody still wants one, in seconds.
_SLICE = 0.25
# How many packets are taken at once.
_BATCH = 256
# How long a thread sleeps where no descriptor tells of packets, in seconds.
_GLANCE = 0.01


class Receiver(Receiving["pymcast.Datagram"]):
    """Receives the datagrams of the groups that it joined, for coroutines.

    Up to a batch of datagrams waits in it, for the next calls. Raises what `pymcast.Receiver` does.
    """

    _what = "receiver"

    def __init__(self, *memberships: MembershipLike, **settings: Unpack[ReceiverKeywords]) -> None:
        """The arguments are those of `pymcast.Receiver`."""
        self._receiver = pymcast.Receiver(*memberships, **settings)
        super().__init__(self._receiver)

    async def recv(self) -> pymcast.Datagram:
        """Waits for a datagram.

        For a limit of time: `asyncio.wait_for(receiver.recv(), seconds)`. Raises
        `pymcast.ClosedError` when the receiver is closed meanwhile.
        """
        datagram = await self._one()
        if datagram is None:
            raise closed(self._what)
        return datagram

    async def recv_batch(self) -> list[pymcast.Datagram]:
        """Waits for datagrams and returns all that wait here, or as many as one batch takes."""
        if not self._pending:
            await self._refill()
        batch = list(self._pending)
        self._pending.clear()
        self._done()
        return batch

    def try_recv(self) -> pymcast.Datagram | None:
        """A datagram if one is there, else None."""
        if not self._pending:
            self._pending.extend(self._receiver.try_recv_batch())
        return self._pending.popleft() if self._pending else None

    def reply(self, datagram: pymcast.Datagram, payload: PayloadLike) -> None:
        """Answers a datagram's source: by the interface it came in by, from the port it was sent to."""
        self._receiver.reply(datagram, payload)

    def join(self, membership: MembershipLike) -> None:
        """Joins, while receiving."""
        self._receiver.join(membership)

    def leave(self, membership: MembershipLike) -> None:
        """Leaves, while receiving. What was received before may still be handed out."""
        self._receiver.leave(membership)

    def set_sources(
        self,
        membership: MembershipLike,
        sources: Iterable[SourceLike] | None = None,
        *,
        exclude: Iterable[SourceLike] | None = None,
    ) -> None:
        """Replaces the sources of a membership, at once."""
        self._receiver.set_sources(
            membership,
            None if sources is None else list(sources),
            exclude=None if exclude is None else list(exclude),
        )

    @property
    def memberships(self) -> list[pymcast.MembershipStatus]:
        """What became of each membership, on each of its interfaces."""
        return self._receiver.memberships

    @property
    def statistics(self) -> pymcast.Statistics:
        """What was received, refused, cut off and dropped so far."""
        return self._receiver.statistics

    @property
    def receive_buffer(self) -> int:
        """Bytes of receive buffer that the system granted."""
        return self._receiver.receive_buffer

    def open(self) -> None:
        """Opens it again, with the memberships that it was made with."""
        self._receiver.open()

    def _take(self) -> tuple[list[pymcast.Datagram], None]:
        return self._receiver.try_recv_batch(), None

    def _descriptors(self) -> list[int]:
        return [self._receiver.fileno()]

    def _wait(self) -> object:
        return self._receiver.wait()


class Capture(Receiving["pymcast.Packet"]):
    """Captures what interfaces receive and send, for coroutines: `async for packet in aio.Capture("eth0")`.

    Packets are kept from the moment it is made. Raises what `pymcast.Capture` does.
    """

    _what = "capture"

    def __init__(self, *interfaces: InterfaceLike, **settings: Unpack[CaptureKeywords]) -> None:
        """The arguments are those of `pymcast.capture`: without an interface, all on which a receiver joins."""
        self._capture = pymcast.capture(*interfaces, **settings)
        super().__init__(self._capture)

    async def next(self) -> pymcast.Packet:
        """Waits for the next packet.

        For a limit of time: `asyncio.wait_for(capture.next(), seconds)`. Raises `pymcast.ClosedError` when the
        capture is closed meanwhile, and `pymcast.InterfaceDownError` once when an interface goes down.
        """
        packet = await self._one()
        if packet is None:
            raise closed(self._what)
        return packet

    @property
    def statistics(self) -> pymcast.CaptureStatistics:
        """What was seen and lost since it was made."""
        return self._capture.statistics

    @property
    def interfaces(self) -> list[str]:
        """The names of the interfaces that are captured on."""
        return self._capture.interfaces

    def _take(self) -> tuple[list[pymcast.Packet], None]:
        packets: list[pymcast.Packet] = []
        while len(packets) < _BATCH:
            try:
                packets.append(self._capture.next(0))
            except TimeoutError:
                break
            except pymcast.Error:
                # What was captured is handed out first; the next call meets what still fails.
                if not packets:
                    raise
                break
        return packets, None

    def _descriptors(self) -> list[int]:
        return [self._capture._descriptor()]

    def _wait(self) -> None:
        # Nothing waits for a packet without taking it: look again soon.
        time.sleep(_GLANCE)


async def doctor(
    membership: MembershipLike | None = None,
    *,
    pid: int | None = None,
    port: int | None = None,
    file: str | PathLike[str] | None = None,
    listen: float = 5.0,
) -> pymcast.Report:
    """Finds out why multicast does not arrive, as `pymcast.doctor`; a thread does it.

    A call that is cancelled leaves the thread to its end, after `listen` seconds.
    """
    return await asyncio.to_thread(
        pymcast.doctor, membership, pid=pid, port=port, file=file, listen=listen
    )


class Sender:
    """Sends datagrams to groups, for coroutines.

    Raises what `pymcast.Sender` does.
    """

    def __init__(self, *destinations: DestinationLike, **settings: Unpack[SenderKeywords]) -> None:
        """The arguments are those of `pymcast.Sender`."""
        self._sender = pymcast.Sender(*destinations, **settings)
        # What has to wait, waits there: one datagram after the other.
        self._mouth_thread: ThreadPoolExecutor | None = None
        self._ear_thread: ThreadPoolExecutor | None = None
        self._listening: asyncio.Future[pymcast.Answer | None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def send(
        self,
        payload: PayloadLike,
        *,
        to: PlaceLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
    ) -> None:
        """Sends a datagram; the arguments are those of `pymcast.Sender.send`.

        It waits only where the system's buffer is full, or the sender keeps a pace.
        """
        sender = self._sender

        def send_from(done: int, abandoned: Callable[[], bool] | None) -> int | None:
            return sender._send_places(
                payload,
                done,
                abandoned is not None,
                abandoned,
                to=to,
                interface=interface,
                hop_limit=hop_limit,
                traffic_class=traffic_class,
            )

        done = 0 if sender.paced else send_from(0, None)
        if done is not None:
            await self._in_thread(partial(send_from, done))

    async def send_batch(self, datagrams: Iterable[PayloadLike | pymcast.Outgoing]) -> int:
        """Sends datagrams in order with as few system calls as there can be, and says how many went.

        A thread does it, so that other coroutines run meanwhile. A call that is cancelled while the sender keeps a
        rate has sent some of them. See `pymcast.Sender.send_batch`.
        """
        return await self._in_thread(partial(self._sender._send_batch_while, list(datagrams)))

    async def recv_answer(self, timeout: float | None = None, *, family: int | None = None) -> pymcast.Answer:
        """Waits for a unicast answer to what was sent, as `Receiver.reply` sends them.

        Raises TimeoutError when none came in `timeout` seconds, `pymcast.ClosedError` when the sender
        is closed meanwhile. An answer that comes while the call is being cancelled is for the next.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        async with self._one_at_a_time:
            while True:
                left = _SLICE if end is None else max(0.0, min(_SLICE, end - loop.time()))
                if self._listening is None:
                    self._listening = loop.run_in_executor(self._ear(), self._listen, left, family)
                answer = await asyncio.shield(self._listening)
                self._listening = None
                if answer is not None:
                    return answer
                if end is not None and loop.time() >= end:
                    raise TimeoutError("nothing came in time")

    @property
    def statistics(self) -> pymcast.SendStatistics:
        """What was sent so far, and in how many calls."""
        return self._sender.statistics

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._sender.closed

    def local_address(self, *, family: int | None = None) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address that datagrams of a family are sent from, as far as it is fixed."""
        return self._sender.local_address(family=family)

    def open(self) -> None:
        """Opens it again as it was made."""
        self._sender.open()

    def close(self) -> None:
        """Closes the sockets. What waits to be sent ends with `pymcast.ClosedError`."""
        self._sender.close()
        for thread in (self._mouth_thread, self._ear_thread):
            if thread is not None:
                thread.shutdown(wait=False)
        self._mouth_thread = self._ear_thread = None

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
        """Does it in a thread, where it is told whether it was cancelled meanwhile."""
        if self._mouth_thread is None:
            self._mouth_thread = ThreadPoolExecutor(1, "pymcast sender")
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._mouth_thread, work, abandoned.is_set)
        finally:
            abandoned.set()

    def _ear(self) -> ThreadPoolExecutor:
        if self._ear_thread is None:
            self._ear_thread = ThreadPoolExecutor(1, "pymcast answers")
        return self._ear_thread

    def _listen(self, timeout: float, family: int | None) -> pymcast.Answer | None:
        try:
            return self._sender.recv_answer(timeout, family=family)
        except TimeoutError:
            return None
