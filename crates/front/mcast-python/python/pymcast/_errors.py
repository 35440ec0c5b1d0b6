"""Exceptions. Each names the failed operation, its group and interface, the reason, and a remedy."""

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
    "RouteRejectsError",
    "SourceNeededError",
    "TooLargeError",
    "UnsupportedError",
]


class Error(OSError):
    """The base class of all errors of pymcast and of the system.

    It is an OSError: `errno` is the system's error number, or None if the error did not come from the system.
    """

    operation: str
    """The failed operation: "join", "send", "receive", "open", "interfaces"..."""
    kind: str
    """The kind of error, as in the Rust library: "NoSuchInterface", "LimitReached"..."""
    reason: str
    """What failed and why, without the remedy."""
    remedy: str | None
    """What to do about it, if there is a general remedy."""
    group: str | None
    """The group and port, if the error concerns one: "239.255.1.3:7000"."""
    interface: str | None
    """The interface, if the error concerns one, as it was given."""

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
    """There is no usable interface: none is up and supports multicast."""


class InterfaceDownError(Error):
    """The interface is down."""


class NoRouteError(Error):
    """The routing table has no route to the group, and no interface was given."""


class RouteRejectsError(Error):
    """A route or a routing rule of this machine rejects what is sent to the address."""


class NoAddressError(Error):
    """The interface has no address of the group's family to send from."""


class FamilyUnavailableError(Error):
    """IPv6 (or IPv4) is disabled on this machine or interface."""


class SourceNeededError(Error):
    """A source-specific group was joined without a source (RFC 4604 requires hosts to reject that)."""


class NotJoinedError(Error):
    """The membership to leave was not joined, or was written differently."""


class MismatchError(Error, ValueError):
    """The values do not fit together, such as an IPv6 source for an IPv4 group."""


class AddressInUseError(Error):
    """The port or address is used by another socket that does not share it."""


class AddressNotAvailableError(Error):
    """The source address does not belong to this machine."""


class LimitReachedError(Error):
    """A limit of the system was reached: memberships, sources, memory or descriptors."""


class TooLargeError(Error):
    """The datagram is larger than UDP allows or, with dont_fragment, than the MTU."""


class QueueFullError(Error):
    """The interface's transmit queue is full; the datagram was not sent."""


class PermissionDeniedError(Error, PermissionError):
    """The operation requires a permission that the process does not have."""


class UnsupportedError(Error):
    """This system, or its version, does not support the operation."""


class CaptureFileError(Error):
    """A capture file cannot be read or written completely.

    `kind` is "NotACapture", "CutOff" (it ends within a packet), "Malformed", "OtherLinkType" (a pcap file has
    only one), or "File" for an error of the system, which `errno` names.
    """


class CaptureFileNotFoundError(CaptureFileError, FileNotFoundError):
    """The capture file does not exist."""


class AlreadyOpenError(Error, ValueError):
    """The object is already open."""


class ClosedError(Error):
    """The sender, receiver, publisher, subscriber or capture is closed."""


class ParseError(ValueError):
    """Text that cannot be parsed."""

    remedy: str | None
    """What to write instead, if known."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


_KINDS: dict[str, type[Error]] = {
    "NoSuchInterface": NoSuchInterfaceError,
    "NoUsableInterface": NoUsableInterfaceError,
    "InterfaceDown": InterfaceDownError,
    "NoRoute": NoRouteError,
    "RouteRejects": RouteRejectsError,
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
    """Makes the exception for an error of the native module, which calls this."""
    make = _KINDS.get(kind, Error)
    if make is CaptureFileError and errno == _errno.ENOENT:
        make = CaptureFileNotFoundError
    return make(
        reason, remedy, kind=kind, operation=operation, group=group, interface=interface, errno=errno
    )


def closed(what: str) -> ClosedError:
    """Makes the exception for using a closed object; the native module calls this."""
    remedy = "reopen it with open()" if what in ("receiver", "sender") else "create another one"
    return ClosedError(f"the {what} is closed", remedy, kind="Closed", errno=_errno.EBADF)


def already_open(what: str) -> AlreadyOpenError:
    """Makes the exception for opening an open object; the native module calls this."""
    return AlreadyOpenError(f"the {what} is already open", "close it first", kind="AlreadyOpen")


def forked(what: str, process: int) -> ClosedError:
    """Makes the exception for using an object with threads in a forked process; the native module calls this."""
    return ClosedError(
        f"the {what} was created in process {process}; a fork of that process does not have its threads",
        'create another one in this process, or start processes with the method "spawn"',
        kind="Forked",
        errno=_errno.EBADF,
    )
