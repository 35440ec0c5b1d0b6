"""A plain loop of sends that costs no more than batches."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pymcast._errors import ClosedError, Error
from pymcast._pymcast import Outgoing

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from pymcast import Sender
    from pymcast._keywords import PayloadLike


class Writer:
    """Sends a sender's datagrams in batches: `Sender.writer` makes it.

    What is given to `send` waits here until there are as many as a batch takes, until `flush`, or until
    the `with` statement ends: many times faster, and later. Where every datagram is to leave at once,
    use `Sender.send`. One thread may use it at a time.
    """

    def __init__(self, sender: Sender, capacity: int = 64) -> None:
        """`capacity`: how many datagrams wait before they are sent."""
        if capacity < 1:
            raise ValueError("a writer takes one datagram or more")
        self._sender = sender
        self._capacity = capacity
        self._pending: list[bytes | Outgoing] = []

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
        pending = self._pending
        try:
            while pending:
                del pending[: self._sender.send_batch(pending)]
        except ClosedError:
            raise
        except Error:
            del pending[:1]
            raise

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
