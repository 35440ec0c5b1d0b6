"""Types of the arguments of constructors and methods, for type checkers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from os import PathLike
from typing import Literal, TypedDict, TypeVar, Union, cast

from pymcast._pymcast import Group, Interface, Keys, Membership
from pymcast._typing import Buffer

GroupLike = Union[str, IPv4Address, IPv6Address, Group]
"""A group: text, an ipaddress object or a Group."""

SourceLike = Union[str, IPv4Address, IPv6Address]
"""An address: text or an ipaddress object."""

HostLike = Union[str, tuple[SourceLike, int]]
"""An address of a host and a port: "10.0.0.5:7000", "[fe80::5%eth0]:7000", or a pair."""

InterfaceLike = Union[str, int, IPv4Address, IPv6Address, Interface]
"""An interface: its name, index or address, "default", "all", or an Interface."""

GroupAddressLike = Union[str, tuple[GroupLike, int]]
"""A group and port: "239.255.1.3:7000", or a pair."""

DestinationLike = GroupAddressLike
"""A group and port; the text may include an interface: "239.255.1.3%eth0:7000"."""

MembershipLike = Union[str, tuple[GroupLike, int], Membership]
"""A membership to join: text, a pair of group and port, or a Membership."""

PayloadLike = Union[bytes, Buffer]
"""Bytes: bytes, bytearray, memoryview or any other buffer."""

KeysLike = Union[str, PathLike[str], Keys]
"""Keys of sealed streams: a Keys, or the path of its file."""

SigningKeyLike = Union[str, PathLike[str]]
"""The path of a file with signing keys of a publisher."""

SignedByLike = Union[str, PathLike[str]]
"""A public key of a publisher, "ed25519:...", or the path of a file of public keys."""

T = TypeVar("T")


def several(given: T | Iterable[T] | None) -> list[T]:
    """Returns one or several values, or none, as a list. A text is one value."""
    if given is None:
        return []
    if isinstance(given, str):
        return [cast("T", given)]
    if isinstance(given, Iterable):
        return list(cast("Iterable[T]", given))
    return [given]


class ReceiverKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Receiver`."""

    interface: InterfaceLike | Iterable[InterfaceLike] | None
    listen: HostLike | Iterable[HostLike] | None
    listen_broadcast: int | None
    receive_buffer: int | None
    loopback: bool | None
    follow: bool
    allow_any_source: bool
    merging: bool
    details: bool


class SenderKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Sender`."""

    interface: InterfaceLike | Iterable[InterfaceLike] | None
    hosts: HostLike | Iterable[HostLike] | None
    broadcast: bool
    hop_limit: int | None
    loopback: bool
    traffic_class: int | None
    source_port: int
    source_address: SourceLike | None
    send_buffer: int | None
    dont_fragment: bool
    segmentation: bool
    rate: float | None
    bit_rate: float | None
    follow: bool


class CaptureKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Capture`."""

    filter: Literal["all", "multicast", "group-addressed", "control"] | int
    outgoing: bool
    promiscuous: bool
    all_multicast: bool
    groups: Sequence[GroupLike]
    buffer_size: int | None


class AnnouncementKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Announcements`."""

    interface: InterfaceLike | None
    family: Literal[4, 6] | None
    keys: KeysLike | None
    signed_by: SignedByLike | None


class DiscoveryKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Discovery`, besides `ask` and `file`."""

    name: str | None
    kind: str | Iterable[str] | None
    protocol: str | Iterable[str] | None
    domain: int | Iterable[int] | None
    universe: int | Iterable[int] | None
    join: bool


class DoctorKeywords(TypedDict, total=False):
    """The keywords of `pymcast.doctor`."""

    interface: InterfaceLike | Iterable[InterfaceLike] | None
    protocol: str | int | None
    name: str | None
    pid: int | None
    port: int | None
    file: str | PathLike[str] | None
    listen: float
    soak: bool
    experiments: bool


class PublisherKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Publisher`."""

    interface: InterfaceLike | Iterable[InterfaceLike] | None
    name: str | None
    rate: int | Literal["auto"] | None
    history: int | None
    flow: Literal["slowest", "none", "one-way"]
    eviction: float | None
    longest_message: int | None
    keys: KeysLike | None
    hosts: HostLike | Iterable[HostLike] | None
    broadcast: bool
    hop_limit: int | None
    loopback: bool
    ack: int | str | Sequence[str] | None
    ack_when: Literal["received", "processed"]
    ack_lost: Literal["block", "report"]
    evict_below: int | None
    fec: Literal["off", "crowd", "auto"] | tuple[int, int] | None
    fec_delay: float | None
    signing_key: SigningKeyLike | None
    max_delay: float | None
    spin: float | None


class SubscriberKeywords(TypedDict, total=False):
    """The keywords of `pymcast.Subscriber`."""

    interface: InterfaceLike | Iterable[InterfaceLike] | None
    listen: HostLike | Iterable[HostLike] | None
    listen_broadcast: int | None
    start: Literal["now", "oldest", "snapshot"] | int | datetime
    policy: Literal["reliable", "deadline", "best-effort", "latest"]
    deadline: float | None
    on_loss: Literal["continue", "snapshot", "stop"] | None
    name: str | None
    keys: KeysLike | None
    receive_buffer: int | None
    stay: bool
    subscriber_name: str | None
    heal: bool
    history_servers: tuple[SourceLike, int] | Iterable[tuple[SourceLike, int]] | None
    signed_by: SignedByLike | None
    repair_for_others: int | None
    spin: float | None
