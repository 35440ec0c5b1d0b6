"""Batching for loops of sends."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType

from pymcast._keywords import PayloadLike
from pymcast._pymcast import Outgoing, Sender
from pymcast._typing import Self


class Writer:
    """Sends a sender's datagrams in batches: `Sender.writer` creates it.

    Datagrams given to `send` are buffered until the batch is full, until `flush`, or until the `with` statement
    ends. This is many times faster, but delays datagrams; to send each one immediately, use `Sender.send`. Threads may
    share it. No datagram is sent twice, even if Ctrl-C interrupts a `flush`: unsent datagrams stay in the buffer.
    """

    def __init__(self, sender: Sender, capacity: int = 64) -> None:
        """`capacity`: how many datagrams make a batch."""
        if capacity < 1:
            raise ValueError("the capacity of a writer must be at least 1")
        self._sender = sender
        self._capacity = capacity
        self._pending: list[bytes | Outgoing] = []
        self._flushing = threading.Lock()

    def send(self, datagram: PayloadLike | Outgoing) -> None:
        """Adds a datagram, bytes or an Outgoing, to the batch; raises what `flush` does."""
        pending = self._pending
        if isinstance(datagram, (bytes, Outgoing)):
            pending.append(datagram)
        else:
            # Copy a mutable buffer, which could change before it is sent.
            pending.append(Outgoing(datagram).payload)
        if len(pending) >= self._capacity:
            self.flush()

    def flush(self) -> None:
        """Sends the buffered datagrams.

        Raises `pymcast.Error` for the first datagram that cannot be sent. That one is discarded; those after it
        stay in the buffer. If the sender is closed, all of them stay.
        """
        with self._flushing:
            while self._pending:
                self._sender._send_pending(self._pending)

    @property
    def pending(self) -> int:
        """The number of buffered datagrams."""
        return len(self._pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An interrupted program does not wait for the rest.
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
