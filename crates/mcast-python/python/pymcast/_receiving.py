"""What the classes of `pymcast.aio` that receive have in common: waiting, looping and closing."""

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

# How many items a loop takes before others run: a batch may hold thousands, and take many milliseconds.
_TURN = 128


class Source(Protocol):
    """What receives, blocking."""

    def close(self) -> None:
        """Closes it."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        ...


class Receiving(ABC, Generic[Item]):
    """Receives items for coroutines; up to a batch of them waits here, for the next calls."""

    _what: str

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pending: deque[Item] = deque()
        self._left = _TURN
        self._over = False
        self._readiness: Readiness | None = None

    @abstractmethod
    def _take(self) -> tuple[Iterable[Item], float | None]:
        """What is there now, and after how many seconds to look again although nothing came."""

    @abstractmethod
    def _descriptors(self) -> Iterable[int]:
        """What becomes readable when something is there."""

    @abstractmethod
    def _wait(self) -> object:
        """Waits until something may be there, blocking."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._source.closed

    def close(self) -> None:
        """Closes it. Coroutines that wait get `pymcast.ClosedError`."""
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
        """The next item; None when no more will come."""
        if not self._pending:
            await self._refill()
        elif self._left <= 0:
            await self._pause()
        item = self._pending.popleft() if self._pending else None
        self._left -= 1
        self._done()
        return item

    async def _pause(self) -> None:
        """Lets others run, and waits for items if these take them."""
        self._left = _TURN
        await asyncio.sleep(0)
        if not self._pending:
            await self._refill()

    async def _refill(self) -> None:
        """Returns when something is pending, or nothing more will come."""
        # Who receives in a loop lets others run, once a turn.
        self._left = _TURN
        await asyncio.sleep(0)
        while not self._pending and not self._over:
            if self._source.closed:
                raise closed(self._what)
            items, due = self._take()
            self._pending.extend(items)
            if not self._pending and not self._over:
                await self._wait_for_more(due)

    async def _wait_for_more(self, due: float | None) -> None:
        if self._readiness is None:
            self._readiness = Readiness(asyncio.get_running_loop(), self._descriptors, self._wait)
        # Nothing is lost with a wait that is cut short: nothing is taken while waiting.
        if due is None:
            await self._readiness.wait()
            return
        try:
            await asyncio.wait_for(self._readiness.wait(), due)
        except asyncio.TimeoutError:
            pass

    def _done(self) -> None:
        if self._readiness is not None:
            self._readiness.done(bool(self._pending) or self._over)
