"""The base class of the receiving classes in `pymcast.aio`: waiting, iteration and closing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from pymcast._errors import ClosedError, closed
from pymcast._readiness import Readiness
from pymcast._typing import Self

Item = TypeVar("Item")

# How many items a loop gets before other coroutines run: a batch can hold thousands, which take many milliseconds.
_TURN = 128


class Source(Protocol):
    """A blocking receiver of items."""

    def close(self) -> None:
        """Closes it."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        ...


class Receiving(ABC, Generic[Item]):
    """Receives items for coroutines, and buffers up to one batch of them."""

    _what: str

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pending: deque[Item] = deque()
        self._turn_left = _TURN
        self._ended = False
        self._readiness: Readiness | None = None

    @abstractmethod
    def _take(self) -> tuple[Iterable[Item], float | None]:
        """Returns the available items, and after how many seconds to call again even if nothing arrives."""

    @abstractmethod
    def _descriptors(self) -> Iterable[int]:
        """Returns the descriptors that become readable when an item is available."""

    @abstractmethod
    def _wait(self) -> object:
        """Blocks until an item may be available."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._source.closed

    def close(self) -> None:
        """Closes it. Waiting coroutines get `pymcast.ClosedError`."""
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
        self._source.close()
        self._pending.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            item = await self._one()
        except ClosedError:
            raise StopAsyncIteration from None
        if item is None:
            raise StopAsyncIteration
        return item

    def __repr__(self) -> str:
        return f"<aio {self._source!r}>"

    async def _one(self) -> Item | None:
        """Returns the next item, or None if there will be no more."""
        if not self._pending:
            await self._refill()
        elif self._turn_left <= 0:
            await self._pause()
        item = self._pending.popleft() if self._pending else None
        self._turn_left -= 1
        self._done()
        return item

    async def _pause(self) -> None:
        """Lets other coroutines run, and waits for items if they took those in the buffer."""
        self._turn_left = _TURN
        await asyncio.sleep(0)
        if not self._pending:
            await self._refill()

    async def _refill(self) -> None:
        """Returns when an item is in the buffer, or there will be no more."""
        # A receiving loop lets other coroutines run once per turn.
        self._turn_left = _TURN
        await asyncio.sleep(0)
        while not self._pending and not self._ended:
            if self._source.closed:
                raise closed(self._what)
            items, due = self._take()
            self._pending.extend(items)
            if not self._pending and not self._ended:
                await self._wait_for_more(due)

    async def _wait_for_more(self, due: float | None) -> None:
        loop = asyncio.get_running_loop()
        if self._readiness is not None and self._readiness.leave_for(loop):
            self._readiness = None
        if self._readiness is None:
            self._readiness = Readiness(loop, self._descriptors, self._wait)
        # Interrupting the wait loses nothing, because it does not take items.
        if due is None:
            await self._readiness.wait()
            return
        try:
            await asyncio.wait_for(self._readiness.wait(), due)
        except asyncio.TimeoutError:
            pass

    def _done(self) -> None:
        if self._readiness is not None:
            self._readiness.done(bool(self._pending) or self._ended)
