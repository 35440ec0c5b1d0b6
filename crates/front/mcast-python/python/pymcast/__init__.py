"""Send and receive IP multicast correctly on every platform, with complete metadata for each datagram.

>>> import pymcast
>>> with pymcast.Receiver("239.255.1.3:7000", interface="eth0") as receiver:
...     for datagram in receiver:
...         print(datagram.payload, datagram.group, datagram.interface, datagram.source)

>>> with pymcast.Sender("239.255.1.3:7000", interface="eth0") as sender:
...     sender.send(b"hello")

Contents:

- `Receiver` and `Sender`: datagrams;
- `Publisher` and `Subscriber`: reliable messages; `find_stream` and `find_streams`: streams by name;
- `discover` and `Discovery`: what announces itself on the network, by all usual protocols;
- `pymcast.aio`: all of these for asyncio;
- `interfaces`, `find_interface`, `default_interface`: the interfaces of this machine;
- `Group`, `explain`, `pick`: what an address means, and which one to use;
- `capture`, `Capture`, `CaptureFile`, `CaptureWriter`: captured packets, live and in files;
- `doctor`: why multicast does not arrive, and how to fix it;
- `Error` and its subclasses: each has a reason and a remedy (`error.remedy`);
- `pymcast.multicast_expert`: a drop-in replacement for the package of that name;
- the command `mcast`, which is part of this package: `mcast --help`.

A receiver delivers a datagram only if it was sent to a joined group, received on an interface where that
group is joined, and sent by an admitted source; and only once. Losses that the system counts are reported. Times
are in seconds, sizes in bytes; a hop limit is what IPv4 calls TTL.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

from pymcast._capture import capture
from pymcast._discovered import Discovered, Discovery, DiscoveryEvent, discover
from pymcast._discovery import find_stream, find_streams
from pymcast._doctor import Evidence, Finding, Observation, OpenQuestion, Remedy, Report, doctor
from pymcast._errors import (
    AddressInUseError,
    AddressNotAvailableError,
    AlreadyOpenError,
    CaptureFileError,
    CaptureFileNotFoundError,
    ClosedError,
    Error,
    FamilyUnavailableError,
    InterfaceDownError,
    LimitReachedError,
    MismatchError,
    NoAddressError,
    NoRouteError,
    NoSuchInterfaceError,
    NotJoinedError,
    NoUsableInterfaceError,
    ParseError,
    PermissionDeniedError,
    QueueFullError,
    RouteRejectsError,
    SourceNeededError,
    TooLargeError,
    UnsupportedError,
)
from pymcast._pymcast import (
    Advice,
    Announcements,
    Answer,
    Assignment,
    Capture,
    CaptureFile,
    CaptureStatistics,
    CaptureWriter,
    Closing,
    ControlMessage,
    ControlRecord,
    Datagram,
    Explanation,
    FileInterface,
    FoundStream,
    Group,
    Interface,
    Keys,
    Membership,
    MembershipStatus,
    Message,
    Outgoing,
    Packet,
    Publisher,
    PublisherEvent,
    PublisherStatistics,
    Reader,
    Receiver,
    Sender,
    SendStatistics,
    ShortName,
    Snapshot,
    Statement,
    Statistics,
    StreamEvent,
    Subscriber,
    SubscriberStatistics,
    Watermark,
    __version__,
    default_interface,
    explain,
    find_interface,
    interface_towards,
    interfaces,
    pick,
)
from pymcast._writer import Writer

if TYPE_CHECKING:
    from pymcast import aio as aio
    from pymcast import multicast_expert as multicast_expert


def __getattr__(name: str) -> _ModuleType:
    # Imported when it is used: asyncio takes longer to import than everything else here.
    if name in {"aio", "multicast_expert"}:
        return _import_module(f"pymcast.{name}")
    raise AttributeError(f"module 'pymcast' has no attribute '{name}'")


__all__ = [
    "AddressInUseError",
    "AddressNotAvailableError",
    "Advice",
    "AlreadyOpenError",
    "Announcements",
    "Answer",
    "Assignment",
    "Capture",
    "CaptureFile",
    "CaptureFileError",
    "CaptureFileNotFoundError",
    "CaptureStatistics",
    "CaptureWriter",
    "ClosedError",
    "Closing",
    "ControlMessage",
    "ControlRecord",
    "Datagram",
    "Discovered",
    "Discovery",
    "DiscoveryEvent",
    "Error",
    "Evidence",
    "Explanation",
    "FamilyUnavailableError",
    "FileInterface",
    "Finding",
    "FoundStream",
    "Group",
    "Interface",
    "InterfaceDownError",
    "Keys",
    "LimitReachedError",
    "Membership",
    "MembershipStatus",
    "Message",
    "MismatchError",
    "NoAddressError",
    "NoRouteError",
    "NoSuchInterfaceError",
    "NoUsableInterfaceError",
    "NotJoinedError",
    "Observation",
    "OpenQuestion",
    "Outgoing",
    "Packet",
    "ParseError",
    "PermissionDeniedError",
    "Publisher",
    "PublisherEvent",
    "PublisherStatistics",
    "QueueFullError",
    "Reader",
    "Receiver",
    "Remedy",
    "Report",
    "RouteRejectsError",
    "SendStatistics",
    "Sender",
    "ShortName",
    "Snapshot",
    "SourceNeededError",
    "Statement",
    "Statistics",
    "StreamEvent",
    "Subscriber",
    "SubscriberStatistics",
    "TooLargeError",
    "UnsupportedError",
    "Watermark",
    "Writer",
    "__version__",
    "capture",
    "default_interface",
    "discover",
    "doctor",
    "explain",
    "find_interface",
    "find_stream",
    "find_streams",
    "interface_towards",
    "interfaces",
    "pick",
]
