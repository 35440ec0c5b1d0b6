"""Waiting for descriptors in any event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable


class Readiness:
    """Wakes coroutines, one at a time, when something may be available to receive.

    If the event loop can watch descriptors (`add_reader`), it does so while a coroutine waits. Otherwise (Windows'
    proactor), a thread waits with `wait_blocking`.

    A coroutine that has received something calls `done`, which wakes the next one. Nothing is buffered here, so a
    cancelled wait loses nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptors: Callable[[], Iterable[int]],
        wait_blocking: Callable[[], object],
    ) -> None:
        """Does not watch anything yet. `wait_blocking` must return or raise once everything is closed."""
        self._loop = loop
        self._descriptors = descriptors
        self._wait_blocking = wait_blocking
        self._watched: list[int] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._requests: threading.Semaphore | None = None
        self._requested = False
        self._closed = False

    async def wait(self) -> None:
        """Returns when something may be available, or when this is closed."""
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
                # It was woken but will not receive, so pass the wake-up on.
                self._wake()
            if not self._waiters:
                self._unwatch()
            raise

    def leave_for(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this belongs to another loop than `loop`, and has ended so that one can take over.

        Raises RuntimeError while coroutines of the other loop wait.
        """
        if loop is self._loop:
            return False
        if self._loop.is_closed():
            # A closed loop wakes none of the coroutines that waited there.
            self._waiters.clear()
            self._watched.clear()
        elif self._waiters:
            raise RuntimeError("coroutines of another event loop wait for it: make one for each loop")
        self.close()
        return True

    def done(self, more: bool) -> None:
        """Call this after receiving. `more` says whether something is left for other coroutines."""
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
        """Wakes all waiting coroutines. Call this before the descriptors are closed."""
        self._closed = True
        self._unwatch()
        while self._waiters:
            self._wake()
        if self._requests is not None:
            self._requests.release()

    def _watch(self) -> None:
        if self._watched or self._requested:
            return
        if self._requests is None:
            try:
                for descriptor in self._descriptors():
                    self._loop.add_reader(descriptor, self._readable)
                    self._watched.append(descriptor)
                return
            except (NotImplementedError, OSError):
                # This event loop cannot watch descriptors, or this system has none.
                self._unwatch()
                self._start_thread()
        self._requested = True
        if self._requests is not None:
            self._requests.release()

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched.clear()

    def _readable(self) -> None:
        # The woken coroutine either waits again or calls `done`; until then, no more events are needed.
        self._unwatch()
        self._requested = False
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
                    # Closed meanwhile, or broken: then the receiving coroutine gets the error.
                    pass
                try:
                    self._loop.call_soon_threadsafe(self._readable)
                except RuntimeError:
                    # The loop is closed.
                    return

        threading.Thread(target=work, name="pymcast readiness", daemon=True).start()
