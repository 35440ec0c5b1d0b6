"""Waiting for descriptors on any event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable


class Readiness:
    """Wakes coroutines, one after the other, when something may be there to receive.

    Where the loop can watch descriptors (`add_reader`) it does, for as long as somebody waits. A loop
    that can't (Windows' proactor) is helped by a thread that waits with `wait_blocking`.

    A coroutine that has taken what it wants calls `done`, and so wakes the next. Nothing is held
    here, so that a wait that is cancelled loses nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptors: Callable[[], Iterable[int]],
        wait_blocking: Callable[[], object],
    ) -> None:
        """Watches nothing yet. `wait_blocking` must end, by whatever exception, once all is closed."""
        self._loop = loop
        self._descriptors = descriptors
        self._wait_blocking = wait_blocking
        self._watched: list[int] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._requests: threading.Semaphore | None = None
        self._asked = False
        self._closed = False

    async def wait(self) -> None:
        """Returns when something may be there, or when this is closed."""
        if self._closed:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        self._watch()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled():
                # It had been woken, and will not take what is there.
                self._wake()
            if not self._waiters:
                self._unwatch()
            raise

    def done(self, more: bool) -> None:
        """To be called by who has taken something, and may have been woken for it; `more`: something
        is left for others."""
        if not self._waiters:
            return
        if more:
            self._wake()
        else:
            self._watch()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def close(self) -> None:
        """Wakes all that wait. To be called before the descriptors are closed."""
        self._closed = True
        self._unwatch()
        while self._waiters:
            self._wake()
        if self._requests is not None:
            self._requests.release()

    def _watch(self) -> None:
        if self._watched or self._asked:
            return
        if self._requests is None:
            try:
                for descriptor in self._descriptors():
                    self._loop.add_reader(descriptor, self._readable)
                    self._watched.append(descriptor)
                return
            except (NotImplementedError, OSError):
                # Not on this loop, or no descriptor on this system.
                self._unwatch()
                self._start_thread()
        self._asked = True
        if self._requests is not None:
            self._requests.release()

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched.clear()

    def _readable(self) -> None:
        # Who is woken looks, and waits again or calls `done`: until then there is nothing to tell.
        self._unwatch()
        self._asked = False
        self._wake()

    def _start_thread(self) -> None:
        requests = self._requests = threading.Semaphore(0)

        def work() -> None:
            while True:
                requests.acquire()
                if self._closed:
                    return
                try:
                    self._wait_blocking()
                except (OSError, ValueError):
                    # Closed meanwhile, or so broken that whoever receives is told.
                    pass
                try:
                    self._loop.call_soon_threadsafe(self._readable)
                except RuntimeError:
                    # The loop is closed.
                    return

        threading.Thread(target=work, name="pymcast readiness", daemon=True).start()
