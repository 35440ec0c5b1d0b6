"""Exceptions: what failed, on which group and interface, why, and what to do about it."""

from __future__ import annotations

import errno as _errno
import os as _os

__all__ = [
    "AddressInUseError",
    "AddressNotAvailableError",
    "AlreadyOpenError",
    "CaptureFileError",
    "CaptureFileNotFoundError",
    "ClosedError",
    "Error",
    "FamilyUnavailableError",
    "InterfaceDownError",
    "LimitReachedError",
    "MismatchError",
    "NoAddressError",
    "NoRouteError",
    "NoSuchInterfaceError",
    "NoUsableInterfaceError",
    "NotJoinedError",
    "ParseError",
    "PermissionDeniedError",
    "QueueFullError",
    "SourceNeededError",
    "TooLargeError",
    "UnsupportedError",
]


class Error(OSError):
    """What pymcast or the system refused; the classes derived from it are its kinds.

    It is an OSError: `errno` is the system's number, or None where the system was not asked.
    """

    operation: str
    """What was being done: "join", "send", "receive", "open", "interfaces"..."""
    kind: str
    """Why it failed, as the Rust library calls it: "NoSuchInterface", "LimitReached"..."""
    reason: str
    """What failed and why, without the remedy."""
    remedy: str | None
    """What to do about it, where something general can be said."""
    group: str | None
    """The group and port it was about, if about one: "239.1.2.3:7000"."""
    interface: str | None
    """The interface it was about, if about one, as it was named."""

    def __init__(
        self,
        reason: str,
        remedy: str | None = None,
        *,
        kind: str = "Other",
        operation: str = "",
        group: str | None = None,
        interface: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.errno = errno
        self.strerror = None if errno is None else _os.strerror(errno)
        self.reason = reason
        self.remedy = remedy
        self.kind = kind
        self.operation = operation
        self.group = group
        self.interface = interface

    def __str__(self) -> str:
        return self.reason if self.remedy is None else f"{self.reason}; remedy: {self.remedy}"


class NoSuchInterfaceError(Error):
    """No interface has this name, index or address, or several have the address."""


class NoUsableInterfaceError(Error):
    """No interface could be used: none is up and can multicast."""


class InterfaceDownError(Error):
    """The interface is down."""


class NoRouteError(Error):
    """The routing table has no route to the group, and no interface was named."""


class NoAddressError(Error):
    """The interface has no address of the group's family to send from."""


class FamilyUnavailableError(Error):
    """IPv6 (or IPv4) is switched off on this machine or interface."""


class SourceNeededError(Error):
    """A source-specific group was joined without a source (RFC 4604 has hosts refuse it)."""


class NotJoinedError(Error):
    """What was left was not joined, or not in these words."""


class MismatchError(Error, ValueError):
    """The values do not fit together, such as an IPv6 source for an IPv4 group."""


class AddressInUseError(Error):
    """The port or address is in use by a socket that does not share it."""


class AddressNotAvailableError(Error):
    """The address to send from is not one of this machine's."""


class LimitReachedError(Error):
    """A limit of the system was reached: memberships, sources, memory or descriptors."""


class TooLargeError(Error):
    """The datagram is larger than UDP, or the path with dont_fragment, can carry."""


class QueueFullError(Error):
    """The system's queue to the interface is full; the datagram was not sent."""


class PermissionDeniedError(Error, PermissionError):
    """The system refused for want of a right."""


class UnsupportedError(Error):
    """This system or its version cannot do it."""


class CaptureFileError(Error):
    """A capture file cannot be read or written, or not to its end.

    `kind` is "NotACapture", "CutOff" (it ends within a packet), "Malformed", "OtherLinkType" (pcap has only
    one), or "File" where the system refused, as `errno` says.
    """


class CaptureFileNotFoundError(CaptureFileError, FileNotFoundError):
    """There is no capture file of this name."""


class AlreadyOpenError(Error, ValueError):
    """What was to be opened is open."""


class ClosedError(Error):
    """The sender, receiver, publisher, subscriber or capture is closed."""


class ParseError(ValueError):
    """Text that is not what it should be: what is wrong with it, and what to write instead."""

    remedy: str | None
    """What to write instead, where that can be said."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


_KINDS: dict[str, type[Error]] = {
    "NoSuchInterface": NoSuchInterfaceError,
    "NoUsableInterface": NoUsableInterfaceError,
    "InterfaceDown": InterfaceDownError,
    "NoRoute": NoRouteError,
    "NoAddress": NoAddressError,
    "FamilyUnavailable": FamilyUnavailableError,
    "SourceNeeded": SourceNeededError,
    "NotJoined": NotJoinedError,
    "Mismatch": MismatchError,
    "AddressInUse": AddressInUseError,
    "AddressNotAvailable": AddressNotAvailableError,
    "LimitReached": LimitReachedError,
    "TooLarge": TooLargeError,
    "QueueFull": QueueFullError,
    "Permission": PermissionDeniedError,
    "Unsupported": UnsupportedError,
    "NotACapture": CaptureFileError,
    "CutOff": CaptureFileError,
    "Malformed": CaptureFileError,
    "OtherLinkType": CaptureFileError,
    "File": CaptureFileError,
}


def from_library(
    kind: str,
    operation: str,
    reason: str,
    remedy: str | None,
    group: str | None,
    interface: str | None,
    errno: int | None,
) -> Error:
    """The exception for a failure of the native library's, which calls this."""
    make = _KINDS.get(kind, Error)
    if make is CaptureFileError and errno == _errno.ENOENT:
        make = CaptureFileNotFoundError
    return make(
        reason, remedy, kind=kind, operation=operation, group=group, interface=interface, errno=errno
    )


def closed(what: str) -> ClosedError:
    """The exception for the use of what is closed; the native library calls this."""
    remedy = "open it again with open()" if what in ("receiver", "sender") else "make another one"
    return ClosedError(f"the {what} is closed", remedy, kind="Closed", errno=_errno.EBADF)


def already_open(what: str) -> AlreadyOpenError:
    """The exception for the opening of what is open; the native library calls this."""
    return AlreadyOpenError(f"the {what} is open already", "close it first", kind="AlreadyOpen")


def forked(what: str, process: int) -> ClosedError:
    """The exception for the use, in a forked process, of what needs threads; the native library calls this."""
    return ClosedError(
        f"the {what} belongs to process {process}, of which this one is a fork: its threads are not here",
        'make another one in this process, or start processes with the method "spawn"',
        kind="Forked",
        errno=_errno.EBADF,
    )
