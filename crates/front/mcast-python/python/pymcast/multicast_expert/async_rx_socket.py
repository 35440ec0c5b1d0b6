"""Receiving sockets for asyncio."""

from __future__ import annotations

import asyncio
import select
import socket
from types import TracebackType
from typing import TYPE_CHECKING

from pymcast._readiness import Readiness
from pymcast.multicast_expert.rx_socket import (
    DEFAULT_RX_BUFSIZE as DEFAULT_RX_BUFSIZE,
)
from pymcast.multicast_expert.rx_socket import (
    BaseMcastRxSocket,
    PacketAndSenderAddress,
)

if TYPE_CHECKING:
    from typing_extensions import Self

# Larger than any UDP payload.
_BUFSIZE = 65_536
# How often a waiting thread checks whether the sockets are closed, in seconds.
_SLICE = 0.1


class AsyncMcastRxSocket(BaseMcastRxSocket):
    """Receives from multicast groups, for coroutines. Use it in a `with` statement."""

    def __enter__(self) -> Self:
        """Opens it for the running event loop. Raises RuntimeError if there is none."""
        loop = asyncio.get_running_loop()
        super().__enter__()
        for each in self.sockets:
            each.setblocking(False)
        self._next = 0
        self._readiness = Readiness(loop, self.filenos, self._wait_in_thread)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_opened:
            self._readiness.close()
        super().__exit__(exc_type, exc, traceback)

    async def recvfrom(self) -> PacketAndSenderAddress:
        """Receives a complete datagram; returns its bytes and source address.

        Raises asyncio.TimeoutError after the timeout; with a timeout of 0, if none is available. Each datagram is
        delivered to one call, and a cancelled call loses none.
        """
        if self.timeout is None:
            return await self._receive()
        received = self._try()
        if received is not None:
            return received
        if self.timeout <= 0:
            # Let the event loop run its pending callbacks first.
            await asyncio.sleep(0)
            received = self._try()
            if received is None:
                raise asyncio.TimeoutError
            return received
        return await self._receive_before(self.timeout)

    async def recv(self) -> bytes:
        """Receives a datagram as recvfrom does; returns only its bytes."""
        return (await self.recvfrom())[0]

    async def _receive(self) -> PacketAndSenderAddress:
        while True:
            received = self._try()
            if received is not None:
                self._readiness.done(more=True)
                return received
            await self._readiness.wait()

    async def _receive_before(self, timeout: float) -> PacketAndSenderAddress:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            try:
                await asyncio.wait_for(self._readiness.wait(), max(0.0, end - loop.time()))
            except asyncio.TimeoutError:
                pass
            received = self._try()
            if received is not None:
                self._readiness.done(more=True)
                return received
            if loop.time() >= end:
                raise asyncio.TimeoutError

    def _try(self) -> PacketAndSenderAddress | None:
        """Returns a datagram of the next socket that has one."""
        count = len(self.sockets)
        for turn in range(count):
            position = (self._next + turn) % count
            try:
                received: PacketAndSenderAddress = self.sockets[position].recvfrom(_BUFSIZE)
            except BlockingIOError:
                continue
            self._next = (position + 1) % count
            return received
        return None

    def _wait_in_thread(self) -> None:
        sockets: list[socket.socket] = list(self.sockets)
        while self.is_opened and not select.select(sockets, [], [], _SLICE)[0]:
            pass
