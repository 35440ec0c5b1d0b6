"""A plain loop of sends that costs no more than batches."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType

from pymcast._keywords import PayloadLike
from pymcast._pymcast import Outgoing, Sender
from pymcast._typing import Self


class Writer:
    """Sends a sender's datagrams in batches: `Sender.writer` makes it.

    What is given to `send` waits here until there are as many as a batch takes, until `flush`, or until
    the `with` statement ends: many times faster, and later. Where every datagram is to leave at once,
    use `Sender.send`. Threads may share it. No datagram is sent twice, also where Ctrl-C ends a `flush`: what
    had not gone by then waits still.
    """

    def __init__(self, sender: Sender, capacity: int = 64) -> None:
        """`capacity`: how many datagrams wait before they are sent."""
        if capacity < 1:
            raise ValueError("a writer takes one datagram or more")
        self._sender = sender
        self._capacity = capacity
        self._pending: list[bytes | Outgoing] = []
        self._flushing = threading.Lock()

    def send(self, datagram: PayloadLike | Outgoing) -> None:
        """Sends a datagram, bytes or an Outgoing, sooner or later; raises what `flush` does."""
        pending = self._pending
        if isinstance(datagram, (bytes, Outgoing)):
            pending.append(datagram)
        else:
            # What may change until it is sent is copied.
            pending.append(Outgoing(datagram).payload)
        if len(pending) >= self._capacity:
            self.flush()

    def flush(self) -> None:
        """Sends what waits.

        Raises `pymcast.Error` for the first datagram that cannot be sent. That one is given up; those
        behind it wait still. Where the sender is closed, all do.
        """
        with self._flushing:
            while self._pending:
                self._sender._send_pending(self._pending)

    @property
    def pending(self) -> int:
        """How many datagrams wait here."""
        return len(self._pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Who is interrupted does not wait for the rest.
        if exc_type is None or issubclass(exc_type, Exception):
            self.flush()

    def __del__(self) -> None:
        pending = getattr(self, "_pending", None)
        if pending:
            warnings.warn(
                f"{len(pending)} datagrams were never sent: flush the writer, or use it in a with statement",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        return f"<Writer of {self.pending} datagrams for {self._sender!r}>"
