"""The native part of pymcast. Import pymcast instead."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from os import PathLike
from pathlib import Path
from typing import Literal, final

from typing_extensions import Buffer, Self

from pymcast._keywords import (
    DestinationLike,
    GroupLike,
    HostLike,
    InterfaceLike,
    KeysLike,
    MembershipLike,
    PayloadLike,
    GroupAddressLike,
    SignedByLike,
    SigningKeyLike,
    SourceLike,
)
from pymcast._writer import Writer

__all__ = [
    "Advice",
    "Announcements",
    "Answer",
    "Assignment",
    "Capture",
    "CaptureFile",
    "CaptureStatistics",
    "CaptureWriter",
    "Closing",
    "ControlMessage",
    "ControlRecord",
    "Datagram",
    "DiscoveryHandle",
    "Explanation",
    "FileInterface",
    "FoundStream",
    "Group",
    "Interface",
    "Keys",
    "Membership",
    "MembershipStatus",
    "Message",
    "Outgoing",
    "Packet",
    "Publisher",
    "PublisherEvent",
    "PublisherStatistics",
    "Reader",
    "Receiver",
    "SendStatistics",
    "Sender",
    "ShortName",
    "Snapshot",
    "Statement",
    "Statistics",
    "StreamEvent",
    "Subscriber",
    "SubscriberStatistics",
    "Watermark",
    "__version__",
    "_datagram",
    "_interface",
    "_packet",
    "_statistics",
    "default_interface",
    "examine",
    "explain",
    "find_interface",
    "interface_towards",
    "interfaces",
    "pick",
    "run_command",
]
__version__: str

@final
class Interface:
    """A network interface, in the state it had when it was listed."""
    @property
    def index(self) -> int:
        """Its index."""
    @property
    def name(self) -> str:
        """Its name: "eth0"; on Windows the friendly name, such as "Ethernet 2"."""
    @property
    def up(self) -> bool:
        """Whether it is administratively up; on Windows, also connected."""
    @property
    def running(self) -> bool:
        """Whether it is up and has a carrier."""
    @property
    def multicast(self) -> bool:
        """Whether the system reports that it supports multicast."""
    @property
    def loopback(self) -> bool:
        """Whether it is a loopback interface."""
    @property
    def point_to_point(self) -> bool:
        """Whether it is a point-to-point link, such as a tunnel."""
    @property
    def mtu(self) -> int:
        """Its MTU, in bytes."""
    @property
    def hardware_address(self) -> str | None:
        """Its hardware (MAC) address as text, "02:00:00:00:00:01"; None if it does not have one of six bytes."""
    @property
    def addresses(self) -> list[IPv4Interface | IPv6Interface]:
        """Its addresses with their prefixes: ipaddress.IPv4Interface and IPv6Interface objects. Link-local addresses
        include the scope that sockets need.
        """
    @property
    def port_of(self) -> int | None:
        """The index of the bridge or bond that it is a port of, if any (Linux only). Such interfaces are not joined by
        default.
        """
    @property
    def is_joined_by_default(self) -> bool:
        """Whether a receiver joins on it by default: it is up, supports multicast, and is neither loopback nor a port of
        a bridge or bond.
        """
    @property
    def warnings(self) -> list[str]:
        """Reasons why multicast may not work on it, the most severe first."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def interfaces() -> list[Interface]:
    """Lists the network interfaces of this machine in the order of their indexes; on Linux, those of the calling thread's
    network namespace.

    Raises pymcast.Error if they cannot be listed.
    """
def find_interface(interface: InterfaceLike) -> Interface:
    """Returns the interface with this name, index or address (text, a number, or an ipaddress object).

    Raises pymcast.NoSuchInterfaceError if there is none, or if several have the address.
    """
def default_interface(group: GroupLike | Literal[4, 6]) -> Interface | None:
    """Returns the interface that the routing table selects for sending to a group, or None if there is no route. Instead
    of a group, `group` may be 4 or 6, for an address family.

    Raises pymcast.Error if the routing table cannot be queried.
    """
def interface_towards(address: SourceLike) -> Interface | None:
    """Returns the interface that the routing table selects for an address, unicast or multicast, or None if there is no
    route. `address` is text or an ipaddress object.

    Raises pymcast.Error if the routing table cannot be queried.
    """
@final
class Group:
    """A multicast group: an IPv4 or IPv6 address known to be multicast.

    `address` is text, an ipaddress object, or a Group. Raises pymcast.ParseError (a ValueError)
    for anything that is not a multicast address.

    >>> Group("239.255.255.250").name
    'SSDP'
    """
    def __new__(cls, address: GroupLike) -> Self: ...
    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The address: an ipaddress.IPv4Address or IPv6Address."""
    @property
    def family(self) -> int:
        """The address family: 4 or 6."""
    @property
    def scope(self) -> str:
        """The scope: "link-local", "local", "site-local", "global"..."""
    @property
    def kind(self) -> str:
        """The kind of group: "administratively scoped", "GLOP of AS 2057"..."""
    @property
    def name(self) -> str | None:
        """The name registered by IANA, or else the name in common use; None if there is neither."""
    @property
    def is_source_specific(self) -> bool:
        """Whether it is in 232.0.0.0/8 or ff3x::/32, and therefore needs a source to join (RFC 4607)."""
    @property
    def ethernet_address(self) -> str:
        """The Ethernet address that it maps to: "01:00:5e:7f:01:03"."""
    @property
    def ethernet_aliases(self) -> list[Group]:
        """The 31 other IPv4 groups with the same Ethernet address; empty for IPv6, where there are too many to list."""
    @property
    def customary_hop_limit(self) -> int | None:
        """The customary hop limit (TTL) for its scope; None if there is none."""
    @property
    def advice(self) -> list[Advice]:
        """Advice on using it, the most severe first."""
    def explain(self) -> Explanation:
        """Explains the group, each statement with the document that supports it."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: Group, /) -> bool: ...
    def __le__(self, other: Group, /) -> bool: ...
    def __gt__(self, other: Group, /) -> bool: ...
    def __ge__(self, other: Group, /) -> bool: ...

@final
class Membership:
    """A membership to join: a group and port, the interface to join on, and the sources to admit.

    Written as one text, "[SOURCE[,SOURCE...]@]GROUP[%INTERFACE]:PORT" ("!" before the sources excludes them),
    or as arguments. Without an interface, it is joined on all that are up, support multicast and are not loopback.
    Raises pymcast.ParseError (a ValueError) for text that cannot be parsed.

    >>> str(Membership("232.1.2.3", 7000, interface="eth1", sources=["10.0.0.7"]))
    '10.0.0.7@232.1.2.3%eth1:7000'
    """
    def __new__(
        cls,
        group: GroupLike,
        port: int | None = None,
        *,
        interface: InterfaceLike | None = None,
        sources: Sequence[SourceLike] | None = None,
        exclude: Sequence[SourceLike] | None = None,
    ) -> Self: ...
    @property
    def group(self) -> Group:
        """The group."""
    @property
    def port(self) -> int:
        """The UDP port."""
    @property
    def interface(self) -> str | None:
        """The interface as it was given; None if the receiver chooses."""
    @property
    def sources(self) -> list[IPv4Address | IPv6Address] | None:
        """The admitted sources; None if all are admitted except those in `exclude`."""
    @property
    def exclude(self) -> list[IPv4Address | IPv6Address] | None:
        """The excluded sources; None if only those in `sources` are admitted."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: Membership, /) -> bool: ...
    def __le__(self, other: Membership, /) -> bool: ...
    def __gt__(self, other: Membership, /) -> bool: ...
    def __ge__(self, other: Membership, /) -> bool: ...

@final
class MembershipStatus:
    """The status of a membership on each of its interfaces."""
    @property
    def membership(self) -> Membership:
        """The membership as it was requested."""
    @property
    def joined(self) -> list[str]:
        """The names of the interfaces on which it is joined."""
    @property
    def failed(self) -> dict[str, str]:
        """The names of the interfaces on which joining failed, with the reasons."""
    @property
    def waiting(self) -> str | None:
        """Why no interface matches at present, if so; with `follow`, the receiver waits for one."""

@final
class Statistics:
    """Statistics of a receiver."""
    @property
    def received(self) -> int:
        """Datagrams delivered."""
    @property
    def truncated(self) -> int:
        """Datagrams delivered that were truncated because the buffer was too small."""
    @property
    def refused(self) -> int:
        """Datagrams that reached a socket without being requested: unicast to the port, groups of other programs, sources that are not admitted. This is not loss."""
    @property
    def damaged(self) -> int:
        """Damaged datagrams of joined groups, such as those with a wrong checksum, among those that were taken off an interface. Those that arrive by sockets are counted by the system only (Linux: `InCsumErrors` in `/proc/net/snmp` and `snmp6`)."""
    @property
    def dropped_by_rings(self) -> int:
        """Datagrams that the system dropped because a ring for what is taken off an interface was full. They are among all that it dropped. Some drivers count them as drops of the interface, too."""
    @property
    def calls(self) -> int:
        """Receive calls that returned datagrams, and readings of rings; a batch may take two system calls for one."""
    @property
    def merged(self) -> int:
        """Coalesced buffers: those with more than one datagram."""
    @property
    def dropped(self) -> int | None:
        """Datagrams that the system dropped because a buffer was full; None where it does not count them."""
    @property
    def dropped_certainty(self) -> Literal["exactly", "at least", "at most", "about", "unknown"]:
        """How exact `dropped` is: "exactly", "at least", "at most", "about" or "unknown"."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Datagram:
    """A received datagram with its metadata: group, interface, source, time, and how many were lost before it."""
    @property
    def payload(self) -> bytes:
        """The payload, cut off at the size of the buffer."""
    @property
    def group(self) -> Group | None:
        """The destination group; None if it was sent to this host or as a broadcast."""
    @property
    def destination(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The destination in the format of the socket module: (host, port), for IPv6 (host, port, flow, scope)."""
    @property
    def port(self) -> int:
        """The destination UDP port."""
    @property
    def interface(self) -> str:
        """The name of the receiving interface; its index as text if the interface no longer exists."""
    @property
    def interface_index(self) -> int:
        """The index of the receiving interface."""
    @property
    def source(self) -> IPv4Address | IPv6Address:
        """The source address: an ipaddress.IPv4Address or IPv6Address, with its scope if it is link-local. It is not
        authenticated: a sender can forge it.
        """
    @property
    def source_port(self) -> int:
        """The source UDP port."""
    @property
    def address(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The source in the format of the socket module: (host, port), for IPv6 (host, port, flow, scope)."""
    @property
    def hop_limit(self) -> int | None:
        """The remaining hop limit (IPv4: TTL); None where the system does not report it."""
    @property
    def traffic_class(self) -> int | None:
        """The traffic class (IPv4: TOS): DSCP in the upper six bits, ECN in the lower two."""
    @property
    def dscp(self) -> int | None:
        """The differentiated services code point (RFC 2474)."""
    @property
    def time_ns(self) -> int | None:
        """When the kernel received it, in nanoseconds since 1970 as time.time_ns(); None on Windows."""
    @property
    def time(self) -> float | None:
        """The same in seconds, as time.time()."""
    @property
    def lost(self) -> int | None:
        """How many datagrams the system dropped on this socket because its buffer was full, between the previous
        datagram and this one; None where it does not count them (macOS, BSD, Windows).
        """
    @property
    def length(self) -> int:
        """The length of the payload as it was sent, in bytes, even if it was truncated."""
    @property
    def truncated(self) -> bool:
        """Whether the payload was cut off because the buffer was too small."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __bytes__(self) -> bytes: ...

@final
class Receiver:
    """Receives the datagrams of the memberships that it joined, and no others: each once, with its group, interface and
    source.

    Each membership is text ("239.255.1.3:7000", "10.0.0.7@232.1.2.3%eth1:7000"), a Membership, or a
    pair of group and port. The constructor opens it; use it in a `with` statement, or close it.

    interface: where to join memberships that name no interface: a name, index, address or Interface, or several.
        Default: all that are up, support multicast and are not loopback.
    listen: addresses of this host at which to receive unicast, for networks without multicast: text
        ("0.0.0.0:7000"), a pair of address and port, or several. 0.0.0.0 and :: are all its addresses.
    listen_broadcast: a port at which to receive IPv4 broadcasts.
    receive_buffer: the size of each socket's buffer to request, in bytes. Default: 4 MiB.
    loopback: whether to receive datagrams sent by this host. On Unix the sender decides.
    follow: keep memberships joined when interfaces appear, disappear, flap or change addresses.
    allow_any_source: allow joining source-specific groups without a source.
    merging: let the kernel deliver consecutive datagrams of equal size in one buffer (GRO), which makes receiving
        many times faster. These share one time, and the number of lost datagrams is a lower bound (Linux).
    details: report hop limit, traffic class, time and loss for each datagram. Without it they are None, and receiving
        one datagram per call takes a third less time (Linux).

    Raises a subclass of pymcast.Error, such as NoSuchInterfaceError or SourceNeededError, whose `remedy` says what to
    do; pymcast.ParseError for text that cannot be parsed.

    Threads may share it; each datagram is delivered to one of them.
    """
    def __new__(
        cls,
        *memberships: MembershipLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        listen: HostLike | Iterable[HostLike] | None = None,
        listen_broadcast: int | None = None,
        receive_buffer: int | None = None,
        loopback: bool | None = None,
        follow: bool = False,
        allow_any_source: bool = False,
        merging: bool = True,
        details: bool = True,
    ) -> Self: ...
    def open(self) -> None:
        """Reopens it with the memberships given to the constructor. Raises pymcast.AlreadyOpenError if it is open."""
    def close(self) -> None:
        """Leaves all groups and closes the sockets. Waiting calls raise pymcast.ClosedError; loops over the receiver
        end. Closing twice has no effect.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def recv(self, *, timeout: float | None = None) -> Datagram:
        """Waits for a datagram. Raises TimeoutError if none arrives within `timeout` seconds."""
    def try_recv(self) -> Datagram | None:
        """Returns a datagram if one is available, else None."""
    def recv_into(self, buffer: Buffer, *, timeout: float | None = None) -> int:
        """Waits for a datagram, receives it into a writable buffer and returns its length. A datagram longer than the
        buffer is cut off. A bytearray is written to directly, other buffers through a copy. Raises TimeoutError if
        none arrives within `timeout` seconds.
        """
    def recv_batch(self, *, timeout: float | None = None) -> list[Datagram]:
        """Waits for datagrams and returns all that are available, up to one batch (32 kernel buffers, each of which can
        hold many small datagrams). Raises TimeoutError if none arrives within `timeout` seconds.
        """
    def try_recv_batch(self) -> list[Datagram]:
        """Returns the datagrams that are available, as recv_batch does; an empty list if there are none."""
    def reader(self) -> Reader:
        """Returns a reader, which iterates over datagrams that it receives in batches:
        `for datagram in receiver.reader()`. It buffers up to one batch.
        """
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until a datagram may be available; returns False after `timeout` seconds. True does not guarantee one:
        another thread may take it first, or it may belong to another receiver.
        """
    def reply(self, datagram: Datagram, payload: PayloadLike) -> None:
        """Sends a reply to a datagram's source, on the interface where the datagram was received, from the port it was
        sent to. Sender.recv_answer receives it.
        """
    def join(self, membership: MembershipLike) -> None:
        """Joins a membership, in the same notation as in the constructor. If it raises pymcast.Error, nothing has changed."""
    def leave(self, membership: MembershipLike) -> None:
        """Leaves a membership, given in the same notation as when it was joined. Once it returns, its datagrams are no
        longer received. Raises pymcast.NotJoinedError if it was not joined.
        """
    def set_sources(
        self,
        membership: MembershipLike,
        sources: Sequence[SourceLike] | None = None,
        *,
        exclude: Sequence[SourceLike] | None = None,
    ) -> None:
        """Replaces the sources of a membership atomically: only `sources` are admitted, or all except `exclude`. To
        leave it later, give the membership with the new sources.
        """
    @property
    def memberships(self) -> list[MembershipStatus]:
        """The status of each membership on each of its interfaces."""
    @property
    def statistics(self) -> Statistics:
        """Its statistics; also available once it is closed."""
    @property
    def receive_buffer(self) -> int:
        """The size of the receive buffer in bytes: less than requested if a system limit applies (Linux:
        net.core.rmem_max).
        """
    def fileno(self) -> int:
        """Returns one descriptor for all sockets, for use with select: it is readable when a datagram may be available.
        Raises OSError on systems other than Unix.
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Datagram: ...

@final
class Reader:
    """Receives datagrams in batches and returns them one by one: `for datagram in reader`.

    It waits only when no datagram is available; iteration ends when the receiver is closed. It buffers up to one
    batch, so use either one reader or direct calls to see all datagrams in order. Leaving a loop loses nothing as
    long as the reader exists.
    """
    def next(self, timeout: float | None = None) -> Datagram:
        """Returns the next datagram. Raises TimeoutError if none arrives within `timeout` seconds, and
        pymcast.ClosedError if the receiver is closed.
        """
    @property
    def pending(self) -> list[Datagram]:
        """The datagrams in its buffer."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Datagram: ...

@final
class Outgoing:
    """A datagram to send, with options that override the sender's settings.

    to: the destination group and port, as text or a pair, instead of the sender's destinations.
    interface: the egress interface: a name, index, address or Interface.
    hop_limit: the hop limit (IPv4: TTL).
    traffic_class: DSCP in the upper six bits, ECN in the lower two.
    source_address: the address to send from, which must be one of this machine's.
    """
    def __new__(
        cls,
        payload: PayloadLike,
        *,
        to: GroupAddressLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
        source_address: SourceLike | None = None,
    ) -> Self: ...
    @property
    def payload(self) -> bytes:
        """The payload."""

@final
class Answer:
    """A unicast datagram received on a sender's port, in reply to what it sent."""
    @property
    def payload(self) -> bytes:
        """The payload."""
    @property
    def source(self) -> IPv4Address | IPv6Address:
        """The source address: an ipaddress.IPv4Address or IPv6Address, with its scope if it is link-local. It is not
        authenticated: a sender can forge it.
        """
    @property
    def source_port(self) -> int:
        """The source UDP port."""
    @property
    def address(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The source in the format of the socket module."""
    @property
    def interface_index(self) -> int | None:
        """The index of the receiving interface; None where the system does not report it."""
    @property
    def hop_limit(self) -> int | None:
        """The remaining hop limit; None where the system does not report it."""
    @property
    def time_ns(self) -> int | None:
        """When the kernel received it, in nanoseconds since 1970; None where it does not report that."""
    @property
    def time(self) -> float | None:
        """The same in seconds, as time.time()."""
    @property
    def truncated(self) -> bool:
        """Whether the payload was cut off because it was longer than the buffer."""

@final
class SendStatistics:
    """Statistics of a sender."""
    @property
    def datagrams(self) -> int:
        """Datagrams that the system accepted."""
    @property
    def calls(self) -> int:
        """System calls that sent datagrams."""
    @property
    def trains(self) -> int:
        """Buffers with more than one datagram, which the system or the device segments (Linux and Windows: UDP segmentation offload)."""
    @property
    def unreachable(self) -> int:
        """Times at which hosts or routers had reported that datagrams sent earlier did not arrive, for instance because nothing receives on the port (Linux: ICMP errors; elsewhere always 0)."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Sender:
    """Sends datagrams to groups, and on networks without multicast to hosts.

    Each destination is text ("239.255.1.3:7000", "[ff15::1%eth0]:7000") or a pair of group and port;
    without any, each datagram names its own. The constructor opens it; use it in a `with` statement, or
    close it.

    interface: the egress interface for destinations that name none: a name, index, address or Interface, or
        several, and then each datagram is sent on each. Default: the route to the group.
    hosts: hosts that are destinations, too: text ("10.0.0.5:7000", "[fe80::5%eth0]:7000"), a pair of address and
        port, or several.
    broadcast: allow hosts that are IPv4 broadcast addresses, such as "255.255.255.255%eth0:7000".
    hop_limit: the hop limit (IPv4: TTL). 1 keeps datagrams in the local network, 0 on this host. Default: 1, and
        for hosts the system's.
    loopback: whether receivers on this host also receive the datagrams. On Windows the receiver decides.
    traffic_class: DSCP in the upper six bits, ECN in the lower two.
    source_port, source_address: the port and address to send from. Default: chosen by the system.
    send_buffer: the size of the socket buffer to request, in bytes.
    dont_fragment: reject datagrams larger than the MTU instead of fragmenting them.
    segmentation: let send_batch pass consecutive datagrams of equal size to the kernel in one buffer (GSO, Linux).
    rate, bit_rate: limit to N datagrams, or N bits of payload, per second, evenly spaced.
    follow: when sending, look up again an interface that disappeared or does not exist yet.

    Raises a subclass of pymcast.Error, such as NoRouteError or NoSuchInterfaceError, whose `remedy` says what to do;
    pymcast.ParseError for text that cannot be parsed.
    """
    def __new__(
        cls,
        *destinations: DestinationLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        hosts: HostLike | Iterable[HostLike] | None = None,
        broadcast: bool = False,
        hop_limit: int | None = None,
        loopback: bool = True,
        traffic_class: int | None = None,
        source_port: int = 0,
        source_address: SourceLike | None = None,
        send_buffer: int | None = None,
        dont_fragment: bool = False,
        segmentation: bool = True,
        rate: float | None = None,
        bit_rate: float | None = None,
        follow: bool = False,
    ) -> Self: ...
    def open(self) -> None:
        """Reopens it with the same settings. Raises pymcast.AlreadyOpenError if it is open."""
    def close(self) -> None:
        """Closes the sockets. Calls that wait for the rate limit raise pymcast.ClosedError. Closing twice has no effect."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def send(
        self,
        payload: PayloadLike,
        *,
        to: GroupAddressLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
        source_address: SourceLike | None = None,
    ) -> None:
        """Sends a datagram to every destination of the sender, or to the group and port `to`. The other keywords
        override the sender's settings.

        Raises pymcast.Error when the system cannot send it: TooLargeError, NoRouteError,
        QueueFullError and so on. Ctrl-C interrupts the wait for the rate limit; then it was not sent.
        """
    def _send_copies(
        self,
        payload: PayloadLike,
        first: int,
        wait: bool,
        abandoned: Callable[[], bool] | None = None,
        *,
        to: GroupAddressLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
        source_address: SourceLike | None = None,
    ) -> int | None:
        """For pymcast.aio: sends the copies of a datagram, one for each destination and interface, starting at copy
        number `first`. If sending would block, waits until `abandoned()` is true, or, without `wait`, returns the
        number of the copy. Returns None when all copies are sent. The rate limit applies only with `wait`.
        """
    def send_batch(self, datagrams: Iterable[PayloadLike | Outgoing]) -> int:
        """Sends datagrams in order with as few system calls as possible, and returns how many were sent. Each is
        bytes, or an Outgoing with settings of its own.

        Returns fewer if the system rejected one after the first; sending the rest again raises the reason. Raises
        pymcast.Error if the first cannot be sent. If Ctrl-C interrupts the wait for the rate limit, the exception
        has an attribute `sent`: how many were sent before.
        """
    def _send_batch_while(
        self, datagrams: Iterable[PayloadLike | Outgoing], abandoned: Callable[[], bool]
    ) -> int:
        """For pymcast.aio: as `send_batch`, until `abandoned()` is true."""
    def _send_pending(self, pending: list[bytes | Outgoing]) -> None:
        """For pymcast.Writer: sends the datagrams in the list `pending` and removes those that were sent, or the first if
        it cannot be sent. Doing both in one call ensures that no exception can occur in between.
        """
    def writer(self, capacity: int = 64) -> Writer:
        """Returns a writer, which batches the datagrams of a loop of sends: `with sender.writer() as writer`. It
        buffers up to `capacity` datagrams.
        """
    def recv_answer(self, timeout: float | None = None, *, family: int | None = None) -> Answer:
        """Waits for a unicast reply, as Receiver.reply sends them.

        `family` is 4 or 6; by default that of the first destination. Raises TimeoutError if none arrives within
        `timeout` seconds.
        """
    def local_address(
        self, *, family: int | None = None
    ) -> tuple[str, int] | tuple[str, int, int, int]:
        """Returns the address that datagrams of a family (4 or 6, by default that of the first destination) are sent
        from, as socket.getsockname does: unspecified if the system chooses one for each datagram.
        """
    @property
    def paced(self) -> bool:
        """Whether it has a rate limit."""
    @property
    def statistics(self) -> SendStatistics:
        """Its statistics; also available once it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Statement:
    """A statement and the document that supports it."""
    @property
    def value(self) -> str:
        """What is stated."""
    @property
    def reference(self) -> str:
        """The document and section: "RFC 5771 section 4"."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Assignment:
    """A name assigned to a group."""
    @property
    def name(self) -> str:
        """The name, as the registry writes it."""
    @property
    def registered(self) -> bool:
        """Whether IANA registered it; an unregistered name is only in common use."""
    @property
    def standing(self) -> str:
        """Whether and when it was registered, in words."""
    @property
    def addresses(self) -> str:
        """The addresses that the name covers: one, or the first and the last."""
    @property
    def ports(self) -> list[int]:
        """The UDP ports used with it, if known."""
    @property
    def references(self) -> list[str]:
        """The documents that the registry names."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class ShortName:
    """A short name of a group, such as `mdns`, which `mcast recv mdns` accepts."""
    @property
    def name(self) -> str:
        """The name, in lower case."""
    @property
    def ports(self) -> list[int]:
        """The UDP ports of its protocol."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit that the protocol requires of senders, if it requires one."""
    @property
    def reference(self) -> str:
        """The document that defines it."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Advice:
    """One point to consider before using a group."""
    @property
    def severity(self) -> Literal["note", "caution", "avoid"]:
        """How much it matters: "note", "caution" or "avoid"."""
    @property
    def text(self) -> str:
        """The advice."""
    @property
    def reference(self) -> str:
        """The document that supports it."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Explanation:
    """Everything that is known about a group."""
    @property
    def group(self) -> Group:
        """The group."""
    @property
    def family(self) -> int:
        """Its address family: 4 or 6."""
    @property
    def scope(self) -> Statement:
        """How far it reaches."""
    @property
    def kind(self) -> Statement:
        """The kind of group."""
    @property
    def flags(self) -> Statement | None:
        """The flags of an IPv6 group."""
    @property
    def relative(self) -> Statement | None:
        """The scope-relative offset, for an address in the top 256 of its scope (RFC 2365)."""
    @property
    def ethernet(self) -> Statement:
        """The Ethernet address."""
    @property
    def ethernet_aliases(self) -> list[Group]:
        """The 31 other IPv4 groups with that Ethernet address; empty for IPv6."""
    @property
    def control_alias(self) -> Statement | None:
        """The control group among the aliases; it makes switches flood this group to every port."""
    @property
    def names(self) -> list[Assignment]:
        """Its names, registered ones first."""
    @property
    def short_names(self) -> list[ShortName]:
        """Its short names, with ports."""
    @property
    def registry_date(self) -> str:
        """The date of the IANA registry that the names come from: "2024-02-02"."""
    @property
    def advice(self) -> list[Advice]:
        """Advice, the most severe first."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Packet:
    """A captured packet, decoded as far as possible; str() summarizes it in one line.

    Fields that a packet does not have are None, such as the source of a packet other than IP, or the port of one other
    than UDP. If decoding fails, `malformed` says where and why; the fields before that point are available.
    """
    @property
    def bytes(self) -> builtins.bytes:
        """The captured frame, starting with its first header."""
    @property
    def original_length(self) -> int:
        """The length of the frame on the wire, in bytes; greater than that of `bytes` if it was truncated."""
    @property
    def link_type(self) -> Literal["ethernet", "ip", "linux-cooked", "linux-cooked-2", "loopback", "ieee-802.11", "radiotap", "ppp", "nflog"]:
        """The link type, such as "ethernet"; it determines the first header."""
    @property
    def interface(self) -> str | None:
        """The name of the capturing interface; None if a file does not record it."""
    @property
    def interface_index(self) -> int:
        """The index of the interface; for a packet from a file, its number in the file, counted from 1."""
    @property
    def direction(self) -> Literal["to-us", "broadcast", "multicast", "to-others", "outgoing", "unknown"]:
        """Its direction and kind of link-layer destination: "to-us", "broadcast", "multicast", "to-others",
        "outgoing", or "unknown" if a file does not record it.
        """
    @property
    def time_ns(self) -> int:
        """When it was captured, in nanoseconds since 1970, as time.time_ns()."""
    @property
    def time(self) -> float:
        """The same in seconds, as time.time()."""
    @property
    def cut(self) -> bool:
        """Whether the kernel carried this datagram as a segment of a larger packet (GSO, GRO)."""
    @property
    def ethernet_source(self) -> str | None:
        """The source Ethernet address: "02:00:00:00:00:01"."""
    @property
    def ethernet_destination(self) -> str | None:
        """The destination Ethernet address."""
    @property
    def vlans(self) -> list[int]:
        """Its VLAN ids, the outermost first."""
    @property
    def source(self) -> IPv4Address | IPv6Address | None:
        """The source address of its IP header: an ipaddress.IPv4Address or IPv6Address."""
    @property
    def destination(self) -> IPv4Address | IPv6Address | None:
        """The destination address of its IP header."""
    @property
    def group(self) -> Group | None:
        """The destination group, if the destination is one."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit (IPv4: TTL)."""
    @property
    def dscp(self) -> int | None:
        """The differentiated services code point (RFC 2474)."""
    @property
    def protocol(self) -> int | None:
        """The IP protocol number: 17 for UDP, 2 for IGMP."""
    @property
    def fragment(self) -> tuple[int, int, bool] | None:
        """Of a fragment: its identification, its offset in bytes, and whether more fragments follow."""
    @property
    def kind(self) -> Literal["udp", "igmp", "mld", "pim", "arp", "fragment", "other"]:
        """Its kind: "udp", "igmp", "mld", "pim", "arp", "fragment" (other than the first) or "other"."""
    @property
    def source_port(self) -> int | None:
        """The source UDP port."""
    @property
    def port(self) -> int | None:
        """The destination UDP port."""
    @property
    def payload(self) -> builtins.bytes | None:
        """The UDP payload, as far as it was captured."""
    @property
    def control(self) -> ControlMessage | None:
        """The IGMP or MLD message, if it is one."""
    @property
    def checksum(self) -> Literal["valid", "invalid", "absent", "not-computed", "not-computable"] | None:
        """The checksum of UDP, IGMP, MLD or PIM: "valid", "invalid", "absent", "not-computed" (left to the
        device) or "not-computable" (truncated).
        """
    @property
    def malformed(self) -> str | None:
        """Where decoding stopped, and why."""
    def __len__(self) -> int: ...
    def __bytes__(self) -> builtins.bytes: ...
    def __bool__(self) -> bool: ...

@final
class ControlMessage:
    """An IGMP or MLD message; str() describes it."""
    @property
    def protocol(self) -> Literal["igmp", "mld"]:
        """"igmp" or "mld"."""
    @property
    def version(self) -> int:
        """The protocol version that defines this message: 1 to 3 for IGMP, 1 or 2 for MLD; 0 for router discovery."""
    @property
    def kind(self) -> Literal["query", "report", "leave", "router-discovery"]:
        """"query", "report", "leave" or "router-discovery"."""
    @property
    def group(self) -> IPv4Address | IPv6Address | None:
        """Its group; None for a general query, and for a report with records."""
    @property
    def sources(self) -> list[IPv4Address | IPv6Address]:
        """The sources of a group-and-source-specific query."""
    @property
    def records(self) -> list[ControlRecord]:
        """The group records of an IGMPv3 or MLDv2 report."""
    @property
    def max_response_time(self) -> float | None:
        """Of a query: the maximum response time in seconds."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class ControlRecord:
    """A group record of an IGMPv3 or MLDv2 report."""
    @property
    def kind(self) -> Literal[
        "mode-is-include",
        "mode-is-exclude",
        "change-to-include",
        "change-to-exclude",
        "allow-new-sources",
        "block-old-sources",
        "unknown",
    ]:
        """"mode-is-include", "mode-is-exclude", "change-to-include" (without sources: a leave),
        "change-to-exclude" (without sources: a join), "allow-new-sources", "block-old-sources", or
        "unknown".
        """
    @property
    def group(self) -> IPv4Address | IPv6Address:
        """The group."""
    @property
    def sources(self) -> list[IPv4Address | IPv6Address]:
        """The sources."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class CaptureStatistics:
    """Statistics of a capture."""
    @property
    def packets(self) -> int:
        """Packets delivered."""
    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped because the buffer was full. One packet can hold several datagrams (GSO)."""
    @property
    def unreadable(self) -> int:
        """Packets that the kernel could not deliver: UDP with GSO on Linux before 6.2."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Capture:
    """Captures what interfaces receive and send: `for packet in pymcast.Capture("eth0")`.

    It buffers packets from the moment it is created; use it in a `with` statement, or close it. It does not join
    groups, so a snooping switch may not forward them to this host. Linux only; requires the right to capture
    (CAP_NET_RAW).

    interfaces: names, indexes, addresses or Interface objects, one or more.
    filter: "all", "multicast" (IP packets to groups), "group-addressed" (all frames to group addresses, including
        broadcasts such as ARP), "control" (IGMP, MLD, PIM, router discovery), or a UDP port.
    outgoing: also capture packets that this machine sends.
    promiscuous: also receive frames addressed to other machines.
    all_multicast: receive the frames of all groups, joined or not.
    groups: groups whose frames to receive, without joining them by IGMP or MLD.
    buffer_size: the size of each interface's buffer to request, in bytes. Default: 8 MiB.

    Raises pymcast.PermissionDeniedError without the right, NoSuchInterfaceError, UnsupportedError.
    """
    def __new__(
        cls,
        *interfaces: InterfaceLike,
        filter: Literal["all", "multicast", "group-addressed", "control"] | int = "all",
        outgoing: bool = True,
        promiscuous: bool = False,
        all_multicast: bool = False,
        groups: Sequence[GroupLike] = (),
        buffer_size: int | None = None,
    ) -> Self: ...
    def next(self, timeout: float | None = None) -> Packet:
        """Waits for the next packet. Raises TimeoutError if there is none within `timeout` seconds, and
        pymcast.InterfaceDownError once if an interface goes down; later calls continue.
        """
    def _descriptor(self) -> int:
        """For pymcast.aio: the descriptor that becomes readable when there is a packet."""
    @property
    def statistics(self) -> CaptureStatistics:
        """Its statistics."""
    @property
    def interfaces(self) -> list[str]:
        """The names of its interfaces."""
    def close(self) -> None:
        """Ends the capture; loops over it end. Closing twice has no effect."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Packet: ...

@final
class FileInterface:
    """An interface described in a capture file."""
    @property
    def name(self) -> str | None:
        """Its name on the capturing system; None if the file does not record it."""
    @property
    def link(self) -> int:
        """The number of its link type (tcpdump.org/linktypes.html)."""
    @property
    def filter(self) -> str | None:
        """The capture filter, as the capturing program wrote it."""
    @property
    def dropped(self) -> int | None:
        """How many packets the capture lost; None if the file does not record it."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class CaptureFile:
    """Reads a capture file, pcap or pcapng, in any byte order and time resolution:
    `for packet in pymcast.CaptureFile("a.pcapng")`.

    `path` is text or a path. Raises pymcast.CaptureFileError, an OSError, if the file cannot be
    opened or is not a capture file; and while reading, if it ends within a packet or is inconsistent, after all
    packets before that point.
    """
    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @property
    def path(self) -> Path:
        """The path of the file."""
    @property
    def format(self) -> Literal["pcapng", "pcap", "pcap-nanoseconds"]:
        """The file format: "pcapng", "pcap" (microsecond timestamps) or "pcap-nanoseconds"."""
    @property
    def interfaces(self) -> list[FileInterface]:
        """The interfaces described in the part of the file read so far; a packet's `interface_index` counts them from 1."""
    @property
    def passed_over(self) -> int:
        """Packets skipped so far, because their link type is not supported."""
    @property
    def lost(self) -> int | None:
        """How many packets the capture lost, which is recorded after the packets; None if it is not recorded."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Packet: ...

@final
class CaptureWriter:
    """Writes packets to a capture file, which is created or overwritten.

    `format` is "pcapng", or "pcap" (with nanosecond timestamps), which older programs read, but which allows only one
    link type. Use it in a `with` statement, or close it: packets are buffered for up to 100 ms. Checksums that were
    left to the device are filled in.

    Raises pymcast.CaptureFileError, an OSError.
    """
    def __new__(cls, path: str | PathLike[str], format: Literal["pcapng", "pcap"] = "pcapng") -> Self: ...
    @property
    def path(self) -> Path:
        """The path of the file."""
    def write(self, packet: Packet) -> None:
        """Writes a packet. If the disk is full, packets are kept in memory, and a later call tries again."""
    def flush(self) -> None:
        """Passes buffered packets to the system."""
    def close(self) -> None:
        """Writes buffered packets and closes the file. Closing twice has no effect."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Keys:
    """The keys that seal and open streams, read from a file such as `mcast keys make FILE` creates. Anybody with
    these keys can read the streams and publish to them.

    Each line of the file is a key, `EPOCH ALGORITHM SECRET`. The key with the greatest epoch seals; all of them open.
    Raises OSError if the file cannot be read, and ValueError, with the line number, if it is not a key file.
    """
    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @classmethod
    def from_text(cls, text: str) -> Keys:
        """Parses the text of a key file."""
    @staticmethod
    def new_line(
        epoch: int = 1, algorithm: Literal["aes-128-gcm", "chacha20-poly1305"] = "aes-128-gcm"
    ) -> str:
        """Returns a line for a key file, with a new secret from the system's random number generator. To change keys
        without interruption, add a line with the next epoch to every file, and update the publisher last.
        """
    @property
    def epoch(self) -> int:
        """The epoch of the key that seals: the greatest."""

@final
class Message:
    """A message of a stream."""
    @property
    def payload(self) -> bytes:
        """The payload."""
    @property
    def number(self) -> int:
        """Its number: consecutive from 0 within an incarnation of the publisher."""
    @property
    def key(self) -> int | None:
        """Its key, an integer, if the publisher gave one."""
    @property
    def incarnation(self) -> int:
        """The incarnation of its publisher; if that reads its messages from an engine, the incarnation that they have
        there.
        """

@final
class StreamEvent:
    """An event of a stream, delivered in order with the messages; str() describes it."""
    @property
    def kind(self) -> str:
        """The kind of event:
        "joined": Messages follow, from this number on.
        "lost": Messages are lost, from the first to before the end.
        "lost-unknown": An unknown number of messages, from this one on, may be lost: the publisher's former incarnation did not end its stream.
        "snapshot-wanted": A snapshot is needed that includes all messages before this one.
        "restarted": The publisher has restarted as this incarnation, and numbers messages from 0 again.
        "continued": Another publisher, with this incarnation, continues the stream for the former one.
        "ended": The stream has ended after this number of messages.
        "stalled": Delivery waits for a gap.
        "path-silent": Nothing arrives on this path, while another one is active.
        "path-back": The path is active again.
        "publisher-silent": The publisher has gone silent.
        "publisher-back": Datagrams of the publisher arrive again.
        "internal-error": A bug: please report it.
        "evicted": This subscriber was too slow for the publisher.
        "full": The publisher accepts no more subscribers.
        "rival": Another publisher of the stream, with this incarnation, is ignored.
        "key-missing": Datagrams are sealed with the key of this epoch, which is missing.
        "key-wrong": Datagrams name the key of this epoch, but were not sealed with it.
        "signed": The stream is signed, which is not verified.
        "not-verified": Datagrams are ignored that no trusted key has signed.
        "forged": Datagrams were discarded that the publisher did not sign.
        "other-stream": Another stream on the group is ignored.
        "stream-changed": The followed stream is silent or has ended, and another one is followed.
        "history-queued": The subscriber waits for a history server, which serves others first.
        "history-waiting": No history server answers; what only a history has is still awaited.
        "history-failed": No history server can be used; what only a history has is lost.
        "stale": A publisher is ignored whose clock is off by minutes.
        """
    @property
    def message(self) -> int | None:
        """The number of a message, or the number of messages."""
    @property
    def end(self) -> int | None:
        """Of "lost": the number after the last lost message."""
    @property
    def cause(self) -> str | None:
        """Of "lost": "unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned",
        "publisher-gone", "not-in-history" or "history-unreachable". Of "not-verified": "unsigned", "unknown-key" or "wrong-signature".
        """
    @property
    def incarnation(self) -> int | None:
        """The incarnation of the publisher."""
    @property
    def sender(self) -> str | None:
        """Of "joined", "continued" and "other-stream": the publisher's source address, as "ADDRESS:PORT"."""
    @property
    def path(self) -> int | None:
        """The path, counted from 0."""
    @property
    def epoch(self) -> int | None:
        """The epoch of the key that is missing or wrong."""
    @property
    def signer(self) -> str | None:
        """Of "not-verified": the id of the key that datagrams name, four hexadecimal digits; None if they are not signed."""
    @property
    def count(self) -> int | None:
        """Of "forged" and "stalled": the number of datagrams."""
    @property
    def server(self) -> str | None:
        """Of "history-queued": the server, as "ADDRESS:PORT"."""
    @property
    def expected(self) -> float | None:
        """Of "history-queued": the seconds after which the server expects this subscriber back; at most 60."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class PublisherEvent:
    """An event of a publisher; str() describes it."""
    @property
    def kind(self) -> str:
        """The kind of event:
        "joined": A subscriber has joined.
        "left": A subscriber has left.
        "silent": Nothing was received from a subscriber for too long.
        "evicted": A subscriber was too slow; it was this number of datagrams behind.
        "returned": An evicted subscriber has caught up.
        "refused": There are too many subscribers.
        "slowed": A subscriber lost datagrams, so the rate was lowered to this number of bytes per second.
        "limited": The path to this subscriber limits the automatic rate, to this number of bytes per second at present.
        "superseded": A subscriber follows another publisher of the stream. Reported once.
        "failed": A subscriber has left because of an error.
        "recovered": The rate is as configured again.
        "unrecoverable": A subscriber missed this number of datagrams, which have left the retransmission buffer.
        "incomplete": A subscriber has given up this number of datagrams, or lost this number of messages.
        "name-shared": Another present subscriber uses the same name: acknowledgements count both as one.
        "quorum-lost": Messages cannot be acknowledged as required.
        "quorum-present": Messages can be acknowledged as required again.
        "unacknowledged": This number of messages was given up.
        "internal-error": A bug: please report it.
        "missed": This number of events was discarded, because they were not fetched.
        """
    @property
    def subscriber(self) -> int | None:
        """The subscriber that it is about."""
    @property
    def address(self) -> str | None:
        """Of "joined" and "refused": the address of the subscriber, as "ADDRESS:PORT"."""
    @property
    def count(self) -> int | None:
        """The number that `kind` describes."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class PublisherStatistics:
    """Statistics of a publisher."""
    @property
    def messages(self) -> int:
        """Messages published."""
    @property
    def message_bytes(self) -> int:
        """Bytes of the messages published."""
    @property
    def datagrams(self) -> int:
        """Data datagrams sent, not counting repairs."""
    @property
    def datagram_bytes(self) -> int:
        """Bytes of the data datagrams sent, not counting repairs."""
    @property
    def manifests(self) -> int:
        """Data datagrams sent that sign others."""
    @property
    def group_repairs(self) -> int:
        """Repairs sent to the group."""
    @property
    def single_repairs(self) -> int:
        """Repairs sent to a single subscriber."""
    @property
    def parity_repairs(self) -> int:
        """Repairs sent to the group that are parity datagrams."""
    @property
    def repair_bytes(self) -> int:
        """Bytes of all repairs."""
    @property
    def parity(self) -> int:
        """Parity datagrams sent without a request."""
    @property
    def parity_bytes(self) -> int:
        """Bytes of the parity datagrams sent without a request."""
    @property
    def naks(self) -> int:
        """NAKs received."""
    @property
    def naks_refused(self) -> int:
        """NAKs not answered: beyond the limit of a subscriber, or of an unknown one."""
    @property
    def unrecoverable(self) -> int:
        """Datagrams requested after they had left the retransmission buffer."""
    @property
    def statuses(self) -> int:
        """Statuses received."""
    @property
    def heartbeats(self) -> int:
        """Heartbeats sent."""
    @property
    def foreign(self) -> int:
        """Datagrams received that do not belong to this stream, or are malformed."""
    @property
    def refused(self) -> int:
        """Datagrams refused: not sealed by the group, replayed, or of a subscriber beyond the limit."""
    @property
    def unproven(self) -> int:
        """NAKs and statuses from unproven addresses, which are answered with an echo."""
    @property
    def echoes_refused(self) -> int:
        """Echoes to unproven addresses that were not sent because of their limit."""
    @property
    def not_sent(self) -> int:
        """Datagrams to single addresses that a socket did not accept, mostly because its send buffer was full. They count as lost on the network."""
    @property
    def internal_errors(self) -> int:
        """How often the publisher found itself in a state that cannot happen."""
    @property
    def round_trip(self) -> int:
        """The group round-trip time. In nanoseconds."""
    @property
    def subscribers(self) -> int:
        """Subscribers known now."""
    @property
    def repairs(self) -> int:
        """Datagrams retransmitted, to the group or to one subscriber."""
    @property
    def rate(self) -> int | None:
        """The present rate in bytes per second. None: it is not limited."""
    @property
    def limited_by(self) -> int | None:
        """With an automatic rate: the id of the subscriber whose path limits it."""
    @property
    def queueing(self) -> int:
        """The queueing delay on that path, in nanoseconds."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class SubscriberStatistics:
    """Statistics of a subscriber."""
    @property
    def messages(self) -> int:
        """Messages that were delivered."""
    @property
    def message_bytes(self) -> int:
        """Bytes of the messages that were delivered."""
    @property
    def lost_messages(self) -> int:
        """Messages that were reported as lost."""
    @property
    def unknown_losses(self) -> int:
        """How often an unknown number of messages may have been lost."""
    @property
    def received(self) -> int:
        """Data datagrams that were received, without duplicates."""
    @property
    def repaired(self) -> int:
        """Data datagrams that were received as repairs."""
    @property
    def repaired_locally(self) -> int:
        """Repairs that were received from another subscriber."""
    @property
    def recovered(self) -> int:
        """Data datagrams that were recovered from parity."""
    @property
    def parity(self) -> int:
        """Parity datagrams that were received."""
    @property
    def copies(self) -> int:
        """Duplicates: from other paths, or repairs for other subscribers."""
    @property
    def missed(self) -> int:
        """Data datagrams that were missing when a later one was known to have been sent."""
    @property
    def given_up(self) -> int:
        """Data datagrams that were given up."""
    @property
    def beyond(self) -> int:
        """Data datagrams beyond the window, which are repaired later."""
    @property
    def other(self) -> int:
        """Datagrams of an incarnation that is not followed, for instance from before the subscriber joined."""
    @property
    def foreign(self) -> int:
        """Datagrams of another protocol or of another stream."""
    @property
    def malformed(self) -> int:
        """Datagrams of this stream that could not be decoded."""
    @property
    def refused(self) -> int:
        """Datagrams that the group did not seal, or sealed with a key that does not fit."""
    @property
    def verified(self) -> int:
        """Data datagrams whose signed digest matched."""
    @property
    def forged(self) -> int:
        """Data datagrams that were discarded because their signed digest did not match."""
    @property
    def not_verified(self) -> int:
        """Datagrams that were refused because no trusted key has signed them."""
    @property
    def naks(self) -> int:
        """NAKs that were sent."""
    @property
    def naks_to_repairers(self) -> int:
        """NAKs that were sent to another subscriber."""
    @property
    def unrequested(self) -> int:
        """Data datagrams that another subscriber sent and that were not requested from it."""
    @property
    def local_naks(self) -> int:
        """NAKs of other subscribers that were answered."""
    @property
    def local_repairs(self) -> int:
        """Repairs that were sent to other subscribers."""
    @property
    def local_repair_bytes(self) -> int:
        """Bytes of the repairs that were sent to other subscribers."""
    @property
    def local_refused(self) -> int:
        """Repairs for other subscribers that were refused because of a limit, and requests that were not valid."""
    @property
    def statuses(self) -> int:
        """Statuses that were sent."""
    @property
    def not_sent(self) -> int:
        """Datagrams to the publisher and other subscribers that the socket did not accept, or that would have used up its send buffer. They count as lost on the network."""
    @property
    def internal_errors(self) -> int:
        """How often the subscriber found itself in a state that cannot happen."""
    @property
    def round_trip(self) -> int:
        """The round-trip time to the publisher; the group's until it is measured. In nanoseconds."""
    @property
    def reordering(self) -> int:
        """How late datagrams that were out of order have recently arrived. In nanoseconds."""
    @property
    def waiting(self) -> int:
        """Datagrams in the window that wait for missing ones."""
    @property
    def unverified(self) -> int:
        """Data datagrams that wait for the manifest that signs them."""
    @property
    def from_history(self) -> int:
        """Messages that came from a history."""
    @property
    def postponed(self) -> int:
        """Requests after which a history server sent the subscriber away, because others were served first."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Watermark:
    """What a subscriber has acknowledged."""
    @property
    def subscriber(self) -> int:
        """The id of the subscriber."""
    @property
    def name(self) -> str | None:
        """The name that it claims, if any: only the group's keys restrict who can claim it."""
    @property
    def address(self) -> str:
        """Its address, as "ADDRESS:PORT"."""
    @property
    def presence(self) -> str:
        """"present", "evicted" (too slow), "left", "failed" (left because of an error) or "silent"."""
    @property
    def since(self) -> int:
        """The number of the first message that it acknowledges: the first after its last loss."""
    @property
    def received(self) -> int:
        """The number of the first message after those that its application was given."""
    @property
    def processed(self) -> int:
        """The number of the first message after those that its application has processed."""
    @property
    def missing(self) -> int:
        """The number of messages that were published after those that it has received."""
    @property
    def lost(self) -> int:
        """The number of messages that it has lost."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Closing:
    """The result of closing a publisher."""
    @property
    def complete(self) -> int:
        """Subscribers that have received and read everything."""
    @property
    def unread(self) -> int:
        """Subscribers whose application is still reading what they have received, or a history."""
    @property
    def behind(self) -> list[tuple[int, int]]:
        """Connected subscribers that have not confirmed everything, each with the number of datagrams it is missing."""
    @property
    def incomplete(self) -> int:
        """Subscribers with unrecoverable losses, including those that have left."""
    @property
    def left(self) -> int:
        """Subscribers that left before the end."""
    @property
    def failed(self) -> int:
        """Subscribers that left because of an error."""
    @property
    def unknown(self) -> int:
        """Subscribers that became silent before they confirmed everything; what they received is unknown."""
    @property
    def unsent(self) -> int:
        """Datagrams that were queued but not sent before the timeout."""
    @property
    def acknowledged(self) -> bool | None:
        """Whether every message was acknowledged as `ack` requires; None if it was not given."""
    @property
    def statistics(self) -> PublisherStatistics:
        """The final statistics."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Snapshot:
    """A state that includes all messages before number `message`."""
    def __new__(cls, message: int, payload: PayloadLike) -> Self: ...
    @property
    def message(self) -> int:
        """The first message that it does not include."""
    @property
    def payload(self) -> bytes:
        """The state."""

@final
class FoundStream:
    """An announced stream: `pymcast.Subscriber(found)` subscribes to it."""
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def stream(self) -> int:
        """Its identity."""
    @property
    def incarnation(self) -> int:
        """The incarnation of its publisher."""
    @property
    def memberships(self) -> list[Membership]:
        """The memberships to join, one for each path."""
    @property
    def snapshot(self) -> tuple[str, int] | None:
        """The address and port of its snapshot server; None if it has none."""
    @property
    def rate(self) -> int | None:
        """Its rate limit in bytes per second; None without a limit."""
    @property
    def sealed(self) -> bool:
        """Whether it is sealed (encrypted)."""
    @property
    def public_key(self) -> str | None:
        """The public key of its publisher ("ed25519:..."), for `Subscriber(signed_by=...)`; None if the stream is not signed. The
        announcement proves that its sender has the private key, not who that is.
        """
    @property
    def source(self) -> tuple[str, int]:
        """The source of the announcement, an address and port."""

@final
class Announcements:
    """Receives announcements of streams, which are repeated every second: `for found in pymcast.Announcements()`.

    interface: the interface to listen on. Default: every interface on which a Receiver joins.
    family: 4 or 6. Default: both.
    keys: a Keys or the path of its file, to find streams sealed with them instead of unsealed ones.
    signed_by: a public key, or the path of a file of public keys, to find only streams that are announced by a publisher
        with one of them.

    `find_stream` and `find_streams` are based on it. Raises the same exceptions as Receiver.
    """
    def __new__(
        cls,
        *,
        interface: InterfaceLike | None = None,
        family: Literal[4, 6] | None = None,
        keys: KeysLike | None = None,
        signed_by: SignedByLike | None = None,
    ) -> Self: ...
    def next(self, timeout: float | None = None) -> FoundStream:
        """Waits for the next announcement. Raises TimeoutError if none arrives within `timeout` seconds."""
    def close(self) -> None:
        """Stops listening; loops over it end. Closing twice has no effect."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> FoundStream: ...

@final
class Publisher:
    """Publishes a reliable stream of messages: lost datagrams are retransmitted, and slow subscribers are waited for.

    Each destination is text ("239.255.1.3%eth0:7000") or a pair of group and port. With several, at most
    four, the stream is sent to each (redundant paths). Use it in a `with` statement, or close it.

    interface: the egress interface for destinations that name none: a name, index, address or Interface, or
        several, one for each path. Default: the route to the group.
    name: the name under which it is announced. The stream id is derived from it, so that subscribers continue
        with a publisher that restarts.
    rate: the rate limit in bytes per second; the copies to all hosts count; or "auto": what the path to the slowest
        subscriber carries, fair to other traffic. Default: none.
    evict_below: with rate="auto", evict a subscriber whose path carries fewer bytes per second, if those of others carry
        more. Default: slow down for it.
    history: the size of the retransmission buffer in bytes. Default: 8 MiB.
    flow: "slowest" waits for the slowest subscriber, "none" does not wait, and "one-way" needs no feedback: nothing is
        repaired, and subscribers send nothing.
    fec: forward error correction: "off", "crowd" (parity only while many subscribers lose different datagrams), "auto" (as
        much parity as the losses of the subscribers require), or a pair such as (20, 4): 4 symbols after each block of 20
        datagrams. Default: "crowd".
    fec_delay: with fec, how many seconds a block waits to be full before its parity is sent: with a longer time, a slow
        stream needs less parity, and what is lost is recovered later. Default: 0.01.
    eviction: a subscriber that holds up the others and makes no progress for this many seconds is evicted.
        Default: 2.
    longest_message: the maximum length of a message in bytes. Default: 16 MiB.
    keys: a Keys or the path of its file, to seal the stream. Default: it is not sealed.
    signing_key: the path of a file such as `mcast keys make --signing FILE` creates: the stream is signed with the last key
        in it, so that no other member of the group can forge its messages. Default: it is not signed.
    max_delay: how many seconds a message may wait for others to share its datagram, when messages are published faster
        than datagrams can be sent. With 0, each is sent at once. Default: 0.00005.
    spin: how many seconds the threads that wait for feedback poll in a loop before they sleep: repairs are sent sooner, for
        a processor per destination. Default: 0.
    ack: which subscribers must acknowledge each message: a number, "all" that are present, or their names (see
        Subscriber). Default: none. See wait_acked.
    ack_when: "received" (the application was given it) or "processed" (the application called Subscriber.ack).
    ack_lost: if a message cannot be acknowledged, because subscribers are absent, evicted or have lost it: "block"
        (publish nothing more until it can) or "report" (give it up, with an event).
    hosts: hosts that it is sent to on a network without multicast, at most 64: text ("10.0.0.5:7000"), a pair of
        address and port, or several. Subscribers there listen.
    broadcast: allow hosts that are IPv4 broadcast addresses.
    hop_limit: the hop limit of its datagrams (IPv4: TTL). Default: 1, and for hosts the system's.
    loopback: whether subscribers on this host receive it.

    Raises a subclass of pymcast.Error, and ValueError for invalid settings.

    Threads may share it. It serves subscribers in threads of its own, whatever Python is doing. A forked process does
    not have these threads: using it there raises pymcast.ClosedError.
    """
    def __new__(
        cls,
        *destinations: DestinationLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        name: str | None = None,
        rate: int | Literal["auto"] | None = None,
        history: int | None = None,
        flow: Literal["slowest", "none", "one-way"] = "slowest",
        eviction: float | None = None,
        longest_message: int | None = None,
        keys: KeysLike | None = None,
        hosts: HostLike | Iterable[HostLike] | None = None,
        broadcast: bool = False,
        hop_limit: int | None = None,
        loopback: bool = True,
        ack: int | str | Sequence[str] | None = None,
        ack_when: Literal["received", "processed"] = "received",
        ack_lost: Literal["block", "report"] = "block",
        evict_below: int | None = None,
        fec: Literal["off", "crowd", "auto"] | tuple[int, int] | None = None,
        fec_delay: float | None = None,
        signing_key: SigningKeyLike | None = None,
        max_delay: float | None = None,
        spin: float | None = None,
    ) -> Self: ...
    def publish(
        self, payload: PayloadLike, *, key: int | None = None, timeout: float | None = None
    ) -> int:
        """Publishes a message and returns its number. It is sent immediately; messages that are published faster than datagrams
        can be sent share datagrams, for at most 50 µs. Waits while the retransmission buffer is full because of a slow
        subscriber or the rate limit. `key`, an integer, is the key of the message, for subscribers that want only the
        latest message of each key. Raises TimeoutError if it cannot be published within `timeout` seconds.
        """
    def try_publish(self, payload: PayloadLike, *, key: int | None = None) -> int | None:
        """As `publish`, but without waiting; returns None if the retransmission buffer is full."""
    def flush(self) -> None:
        """Sends the messages that wait for others to share their datagrams."""
    def events(self) -> list[PublisherEvent]:
        """Returns the events since the last call, the oldest first: subscribers that joined, left, were evicted, and so
        on.
        """
    def wait_acked(self, message: int, timeout: float | None = None) -> bool:
        """Waits until the message with this number is acknowledged as `ack` requires; returns False after `timeout`
        seconds, and if it was given up (ack_lost="report"). Raises ValueError if `ack` was not given.
        """
    def _is_settled(self, message: int) -> bool:
        """For pymcast.aio: whether the message with this number is acknowledged as `ack` requires, or given up."""
    def watermarks(self) -> list[Watermark]:
        """Returns what each subscriber has acknowledged, if `ack` was given. Of subscribers that have left, only the last
        few thousand are listed.
        """
    @property
    def statistics(self) -> PublisherStatistics:
        """Its statistics; also available once it is closed."""
    @property
    def stream(self) -> int:
        """The stream id."""
    @property
    def next_message(self) -> int:
        """The number of the next message. A Snapshot that includes all messages so far has this number."""
    def wait_for(self, subscribers: int, timeout: float | None = None) -> bool:
        """Waits until this many subscribers have joined; returns False after `timeout` seconds."""
    def wait_complete(self, timeout: float | None = None) -> bool:
        """Waits until all subscribers have received everything that was published; returns False after `timeout`
        seconds.
        """
    def set_keys(self, keys: KeysLike) -> None:
        """Seals with the greatest epoch of these keys from now on."""
    def set_signing_key(self, signing_key: SigningKeyLike) -> None:
        """Signs with the last key in this file from now on; give its public key to all subscribers first. Raises ValueError if
        the publisher was made without a signing_key.
        """
    def serve_snapshots(
        self, address: tuple[SourceLike, int], capture: Callable[[], Snapshot]
    ) -> tuple[str, int]:
        """Serves snapshots over TCP at an address and port (0 for any port) until it is closed, sealed like the stream;
        returns the address and port. `capture` is called in another thread for each request, and returns a Snapshot.
        Its exceptions are passed to sys.unraisablehook, and the request is rejected.
        """
    def close(self, timeout: float = 5.0) -> Closing | None:
        """Ends the stream, and waits up to `timeout` seconds until all subscribers have received everything. Returns the
        result, or None if it was already closed.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed; always true in a forked process."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Subscriber:
    """Receives the messages of a stream in order, each once, and reports every loss:
    `for item in pymcast.Subscriber("239.255.1.3:7000")`.

    Items are Message and StreamEvent objects. Each membership, at most four, is a path of the stream; the first copy of
    a datagram counts. Instead of memberships, the result of find_stream may be given. Use it in a `with` statement, or
    close it. It requests repairs during its calls: the publisher evicts a subscriber that makes no call for two
    seconds.

    interface: where to join memberships that name no interface. Default: as for Receiver.
    listen: addresses of this host at which it is received on a network without multicast: text ("0.0.0.0:7000"), a
        pair of address and port, or several. Together they are one path.
    listen_broadcast: a port at which it is received from IPv4 broadcasts.
    start: "now", "oldest" (the oldest message available), the number of a message, a datetime with a time zone, or
        "snapshot" (after a snapshot: an event requests one; call fetch_snapshot and resume). With "oldest", a number or
        a datetime, messages that the publisher no longer retains come from a history server, such as
        `mcast bridge --serve-history`, and then the live stream follows without a gap; what the history does not have
        is lost.
    policy: "reliable", "deadline" (waits at most `deadline` seconds for a repair), "best-effort" (requests no
        repairs), or "latest" (only the latest message of each key).
    on_loss: with the policy "reliable", what to do after an unrecoverable loss: "continue" with the next message,
        "snapshot" (request another one), or "stop" (as if the stream had ended). Default: "snapshot" with
        start="snapshot", else "continue".
    name: the name of the stream. Default: the first stream received.
    keys: a Keys or the path of its file; datagrams that are not sealed with them are rejected.
    signed_by: a public key of the publisher ("ed25519:..."), or the path of a file of public keys, as `mcast keys show`
        prints them: only what one of them has signed is delivered and reported. Histories and snapshots are not signed, and
        not used: start="oldest" begins with what the publisher retains. Default: signatures are not verified.
    receive_buffer: the size of the socket buffer to request, in bytes. Default: 4 MiB.
    subscriber_name: the name that publishers know it by, for `Publisher(ack=...)`: ASCII letters, digits, "-", "_" and
        ".". It is a claim; only keys restrict it to members of the group. Default: none.
    stay: wait for the publisher's next incarnation after the stream has ended.
    heal: request messages that the publisher can no longer repair from a history server before they are lost.
    history_servers: the addresses and ports of history servers, instead of those that are announced: any host can
        announce a history of an unsealed stream.
    repair_for_others: retain up to this many bytes of the stream, and repair it for other subscribers, which then need
        fewer repairs from the publisher. Not with the policy "best-effort". Default: no.
    spin: how many seconds a wait polls in a loop before it sleeps: messages arrive sooner, for a processor. Default: 0.

    Raises the same exceptions as Receiver. Threads may share it; each item is delivered to one of them.
    """
    def __new__(
        cls,
        *memberships: MembershipLike | FoundStream,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        listen: HostLike | Iterable[HostLike] | None = None,
        listen_broadcast: int | None = None,
        start: Literal["now", "oldest", "snapshot"] | int | datetime = "now",
        policy: Literal["reliable", "deadline", "best-effort", "latest"] = "reliable",
        deadline: float | None = None,
        on_loss: Literal["continue", "snapshot", "stop"] | None = None,
        name: str | None = None,
        keys: KeysLike | None = None,
        receive_buffer: int | None = None,
        stay: bool = False,
        subscriber_name: str | None = None,
        heal: bool = False,
        history_servers: tuple[SourceLike, int] | Iterable[tuple[SourceLike, int]] | None = None,
        signed_by: SignedByLike | None = None,
        repair_for_others: int | None = None,
        spin: float | None = None,
    ) -> Self: ...
    def next(self, timeout: float | None = None) -> Message | StreamEvent | None:
        """Waits for the next item, a Message or a StreamEvent; returns None if the stream has ended. Raises TimeoutError
        if there is none within `timeout` seconds.
        """
    def try_next(self) -> Message | StreamEvent | None:
        """Returns the next item if one is available, else None."""
    @property
    def ended(self) -> bool:
        """Whether there will be no more items: the stream has ended and all of it was delivered, or a loss stopped it."""
    def fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None = None,
        timeout: float = 10.0,
        max_size: int = 67108864,
    ) -> Snapshot:
        """Fetches a snapshot from the publisher's snapshot server at an address and port. It includes at least all
        messages before the one named by the event "snapshot-wanted". Call resume afterwards. A subscriber made from
        the result of find_stream may omit the address: it uses the announced one, and tries again with each
        announcement for `timeout` seconds. Meanwhile it keeps receiving the stream. Raises pymcast.Error if it cannot
        be fetched or is larger than `max_size` bytes (any host can announce snapshots of an unsealed stream),
        pymcast.ClosedError if the subscriber is closed meanwhile, and ValueError if none is wanted.
        """
    def _fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None,
        timeout: float,
        max_size: int,
        abandoned: Callable[[], bool],
    ) -> Snapshot:
        """For pymcast.aio: as `fetch_snapshot`, until `abandoned()` is true."""
    def ack(self, message: Message) -> None:
        """Notes that this message is processed, and all that were returned before it. A publisher with
        ack_when="processed" learns of it with one of the next calls. Messages of an earlier incarnation have no effect.
        With policy="latest", only the message that was returned last has one.
        """
    def resume(self, message: int) -> None:
        """Continues after a snapshot that includes all messages before this number."""
    def set_keys(self, keys: KeysLike) -> None:
        """Opens datagrams with these keys from now on."""
    def set_signed_by(self, signed_by: SignedByLike) -> None:
        """Trusts these public keys of the publisher from now on, as the argument signed_by. Raises ValueError if the
        subscriber was made without it.
        """
    @property
    def statistics(self) -> SubscriberStatistics:
        """Its statistics, all zero until the stream is received; also available once it is closed."""
    @property
    def stream(self) -> int | None:
        """The stream id; None until the stream is received."""
    def _take(self, most: int) -> tuple[list[Message | StreamEvent], bool, float]:
        """For pymcast.aio: returns at most `most` available items, whether the stream has ended, and after how many
        seconds to call again at the latest.
        """
    def _descriptors(self) -> list[int]:
        """For pymcast.aio: the descriptors that become readable when there is something to do."""
    def _wait(self) -> None:
        """For pymcast.aio: waits briefly until there may be something to do."""
    def close(self) -> None:
        """Leaves the stream. Waiting calls raise pymcast.ClosedError; loops end. Closing twice has no effect."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Message | StreamEvent: ...

def explain(group: GroupLike) -> Explanation:
    """Explains a group: its scope, kind, Ethernet address, names, and advice, each with the document that supports
    it.

    `group` is text, an ipaddress object or a Group; str() of the result is a report for people.
    Raises pymcast.ParseError (a ValueError) for anything that is not a multicast address.
    """
def pick(
    name: str,
    *,
    scope: str | None = None,
    family: int = 4,
    source_specific: bool = False,
    in_use: Sequence[GroupLike] = (),
) -> Group:
    """Picks a group for a name. The same name gives the same group on every machine. The group is not registered,
    and does not share an Ethernet address with a control group.

    `scope` is "local", "organization", "site", "global" and so on; the default is the narrowest scope wider than
    one link. `in_use` lists groups to avoid. Raises ValueError when the scope has no groups to pick from, or all of
    them are in use.
    """
@final
class DiscoveryHandle:
    """For pymcast.Discovery: the list, and its changes as JSON."""
    def __new__(
        cls,
        interfaces: Sequence[InterfaceLike],
        name: str | None,
        file: str | PathLike[str] | None,
        selected: tuple[Sequence[str], Sequence[str]],
        added: tuple[Sequence[int], Sequence[int]],
        switches: tuple[bool, bool],
    ) -> Self: ...
    def next(self, timeout: float | None) -> tuple[str, str] | None:
        """Returns the next change as its name and JSON, or None at the end of a file."""
    def entries(self) -> list[str]:
        """Returns all entries as JSON."""
    def ask(self) -> None:
        """Asks again."""
    def unseen(self) -> list[str]:
        """Returns the protocols of which nothing can be seen."""
    def close(self) -> None:
        """Stops."""
def examine(
    memberships: Sequence[MembershipLike | GroupLike],
    subject: tuple[str | None, int | None, int | None, str | PathLike[str] | None],
    interfaces: Sequence[InterfaceLike],
    protocol: str | None,
    listen: float,
    soak: bool,
    experiments: bool,
) -> str:
    """For pymcast.doctor: returns the report as JSON."""
def run_command(arguments: Sequence[str]) -> int:
    """Runs the command `mcast` with these arguments, of which the first is the name of the program, and returns its
    exit status. It writes to the process's standard output and error, not to sys.stdout.

    Call it before any thread is started: a lab may have to enter a user namespace, which only a single-threaded
    process can do.
    """

# What is pickled is made again by these.
def _datagram(
    payload: bytes,
    destination: str,
    interface: tuple[int, str],
    source: str,
    header: tuple[int | None, int | None],
    times: tuple[int | None, int | None],
    lost: int | None,
    length: int,
    truncated: bool,
) -> Datagram:
    """Restores a pickled Datagram."""
def _interface(
    index: int,
    name: str,
    flags: tuple[bool, bool, bool, bool, bool],
    mtu: int,
    hardware_address: Sequence[int] | None,
    addresses: Sequence[tuple[IPv4Address | IPv6Address, int, int]],
    port_of: int | None,
) -> Interface:
    """Restores a pickled Interface."""
def _packet(
    bytes: builtins.bytes,
    original_length: int,
    link_type: str,
    index: int,
    interface: str | None,
    direction: str,
    time: int,
    left_to_device: bool,
    cut: bool,
) -> Packet:
    """Restores a pickled Packet."""
def _statistics(
    class_name: str, values: dict[str, int | str | None]
) -> Statistics | SendStatistics | PublisherStatistics | SubscriberStatistics:
    """Restores pickled statistics of this class."""
