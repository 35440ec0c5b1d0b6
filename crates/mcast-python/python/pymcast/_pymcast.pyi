"""The native part of pymcast. Import pymcast instead."""

import builtins
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from os import PathLike
from pathlib import Path
from typing import Literal, final

from typing_extensions import Buffer, Self

from pymcast._keywords import (
    DestinationLike,
    GroupLike,
    InterfaceLike,
    KeysLike,
    MembershipLike,
    PayloadLike,
    PlaceLike,
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
    """A network interface, as it was when it was listed."""
    @property
    def index(self) -> int:
        """The system's number for it."""
    @property
    def name(self) -> str:
        """Its name: "eth0"; on Windows the friendly name, such as "Ethernet 2"."""
    @property
    def up(self) -> bool:
        """Whether it is switched on. On Windows also: connected."""
    @property
    def running(self) -> bool:
        """Whether it is up and has a carrier."""
    @property
    def multicast(self) -> bool:
        """Whether the system says that it can multicast."""
    @property
    def loopback(self) -> bool:
        """Whether it is a loopback interface."""
    @property
    def point_to_point(self) -> bool:
        """Whether it is a point-to-point link, such as a tunnel."""
    @property
    def mtu(self) -> int:
        """The largest IP packet it carries, in bytes."""
    @property
    def hardware_address(self) -> str | None:
        """Its hardware (MAC) address as text, "02:00:00:00:00:01"; None where it has none of six bytes."""
    @property
    def addresses(self) -> list[IPv4Interface | IPv6Interface]:
        """Its addresses with their prefixes: ipaddress.IPv4Interface and IPv6Interface objects.
        A link-local address carries its scope, as sockets need it.
        """
    @property
    def port_of(self) -> int | None:
        """The index of the bridge or bond that it is a port of, if so (Linux only). Such an interface
        is not joined on by default.
        """
    @property
    def is_joined_by_default(self) -> bool:
        """Whether a receiver that names no interface joins on it: up, able to multicast, no loopback,
        and no port of a bridge or bond.
        """
    @property
    def warnings(self) -> list[str]:
        """What there is to say against multicast on it, the worst first; empty for an ordinary one."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def interfaces() -> list[Interface]:
    """All network interfaces of this machine, by index; on Linux those of the calling thread's
    network namespace.

    Raises pymcast.Error when the system refuses to list them.
    """
def find_interface(interface: InterfaceLike) -> Interface:
    """The one interface of this name, index or address (text, a number, or an ipaddress object).

    Raises pymcast.NoSuchInterfaceError when there is none, or when several have the address.
    """
def default_interface(group: GroupLike | Literal[4, 6]) -> Interface | None:
    """The interface by which a sender that names none reaches the group, as the routing table says;
    None when there is no route. Instead of a group: 4 or 6, for a family as a whole.

    Raises pymcast.Error when the system refuses to answer.
    """
def interface_towards(address: SourceLike) -> Interface | None:
    """The interface that the routing table takes towards an address, a group's or another; None when
    there is no route. `address` is text or an ipaddress object.

    Raises pymcast.Error when the system refuses to answer.
    """
@final
class Group:
    """A multicast group: an IPv4 or IPv6 address known to be multicast.

    `address` is text, an ipaddress object, or a Group. Raises pymcast.ParseError (a ValueError)
    for what is none.

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
        """How far it reaches: "link-local", "local", "site-local", "global"..."""
    @property
    def kind(self) -> str:
        """What sort of group it is, in words: "administratively scoped", "GLOP of AS 2057"..."""
    @property
    def name(self) -> str | None:
        """The name that IANA registered, or else the one under which it is in use; None without one."""
    @property
    def is_source_specific(self) -> bool:
        """Whether it lies in 232.0.0.0/8 or ff3x::/32, and so is joined with a source (RFC 4607)."""
    @property
    def ethernet_address(self) -> str:
        """The Ethernet address that it takes: "01:00:5e:01:02:03"."""
    @property
    def ethernet_aliases(self) -> list[Group]:
        """The 31 other IPv4 groups with the same Ethernet address; empty for IPv6, where they are too
        many to list.
        """
    @property
    def customary_hop_limit(self) -> int | None:
        """The hop limit (TTL) that custom gives to senders in its scope; None where there is none."""
    @property
    def advice(self) -> list[Advice]:
        """What to mind before using it, the weightiest first."""
    def explain(self) -> Explanation:
        """All that can be said about it, each statement with the document it rests on."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: Group, /) -> bool: ...
    def __le__(self, other: Group, /) -> bool: ...
    def __gt__(self, other: Group, /) -> bool: ...
    def __ge__(self, other: Group, /) -> bool: ...

@final
class Membership:
    """What one joins: a group and port, the interface to join on, and the sources to admit.

    As one text, "[SOURCE[,SOURCE...]@]GROUP[%INTERFACE]:PORT" ("!" before sources excludes them),
    or in parts. Without an interface: on all that are up, can multicast and are not loopback.
    Raises pymcast.ParseError (a ValueError) for text that cannot be understood.

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
        """The interface as it was named; None where it is left to the receiver."""
    @property
    def sources(self) -> list[IPv4Address | IPv6Address] | None:
        """The only sources that are admitted; None where every one is but those excluded."""
    @property
    def exclude(self) -> list[IPv4Address | IPv6Address] | None:
        """The sources that are not admitted; None where only named ones are."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: Membership, /) -> bool: ...
    def __le__(self, other: Membership, /) -> bool: ...
    def __gt__(self, other: Membership, /) -> bool: ...
    def __ge__(self, other: Membership, /) -> bool: ...

@final
class MembershipStatus:
    """A membership of a receiver, and what became of it on each interface that it means."""
    @property
    def membership(self) -> Membership:
        """What was asked for."""
    @property
    def joined(self) -> list[str]:
        """The names of the interfaces on which it is joined."""
    @property
    def failed(self) -> dict[str, str]:
        """Why it is not joined on others: their names, and the reasons."""
    @property
    def waiting(self) -> str | None:
        """Why it means no interface now, if so; a receiver that follows waits for one."""

@final
class Statistics:
    """What a receiver has seen so far."""
    @property
    def received(self) -> int:
        """Datagrams handed out."""
    @property
    def truncated(self) -> int:
        """Of these, how many were cut off."""
    @property
    def refused(self) -> int:
        """Datagrams that reached a socket and were none of this receiver's. Not loss."""
    @property
    def dropped(self) -> int | None:
        """Datagrams that the system dropped for want of buffer; None where it doesn't count."""
    @property
    def dropped_is(self) -> Literal["exactly", "at least", "at most", "about", "unknown"]:
        """How exact `dropped` is: "exactly", "at least", "at most", "about" or "unknown"."""
    @property
    def calls(self) -> int:
        """System calls that received something."""
    @property
    def merged(self) -> int:
        """Buffers that held more than one datagram."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Datagram:
    """A datagram, and how it came: by which group, interface and source, when, and what was lost
    before it.
    """
    @property
    def payload(self) -> bytes:
        """The bytes, as many as the buffer could take."""
    @property
    def group(self) -> Group:
        """The group that it was sent to."""
    @property
    def port(self) -> int:
        """The UDP port that it was sent to."""
    @property
    def interface(self) -> str:
        """The name of the interface that it came in by; its index as text if it has none any more."""
    @property
    def interface_index(self) -> int:
        """The index of the interface that it came in by."""
    @property
    def source(self) -> IPv4Address | IPv6Address:
        """Who sent it: an ipaddress.IPv4Address or IPv6Address, a link-local one with its scope. A claim
        of the sender's: nothing on the way proves it.
        """
    @property
    def source_port(self) -> int:
        """The UDP port that it was sent from."""
    @property
    def address(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The source as the socket module has it: (host, port), for IPv6 (host, port, flow, scope)."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit (IPv4: TTL) that was left; None where the system doesn't tell."""
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
        """How many datagrams the system dropped on this socket, for want of buffer, between the one
        before and this one; None where it doesn't count (macOS, BSD, Windows).
        """
    @property
    def length(self) -> int:
        """Bytes of payload as it was sent, also where it was cut off."""
    @property
    def truncated(self) -> bool:
        """Whether the buffer was too small and the rest is gone."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __bytes__(self) -> bytes: ...

@final
class Receiver:
    """Receives the datagrams of the groups that it joined: exactly those, each once, each with the
    group, interface and source it came by.

    Each membership is text ("239.1.2.3:7000", "10.0.0.7@232.1.2.3%eth1:7000"), a Membership, or a
    pair of group and port. It is open once it is made; use it in a `with` statement, or close it.

    interface: where memberships that name none are joined: a name, index, address or Interface, or
        several. Default: all that are up, can multicast and are not loopback.
    receive_buffer: bytes to ask the system for, for each socket. Default: 4 MiB.
    loopback: whether datagrams of this host are received; on Unix this is the sender's choice.
    follow: whether memberships outlive interfaces that appear, vanish, flap or change address.
    allow_any_source: whether source-specific groups may be joined without a source.
    merging: whether runs of equal datagrams may come from the system as one buffer, which makes
        recv_batch many times faster (Linux).
    details: whether hop limit, traffic class, time and loss are told with each datagram. Without them,
        they are None, and receiving one datagram a call takes a third less time (Linux).

    Raises pymcast.Error, or one of its kinds, whose `remedy` says what to do: NoSuchInterfaceError,
    SourceNeededError, AddressInUseError and so on; pymcast.ParseError for text that cannot be
    understood.

    Threads may share it; each datagram goes to one of them.
    """
    def __new__(
        cls,
        *memberships: MembershipLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        receive_buffer: int | None = None,
        loopback: bool | None = None,
        follow: bool = False,
        allow_any_source: bool = False,
        merging: bool = True,
        details: bool = True,
    ) -> Self: ...
    def open(self) -> None:
        """Opens it again, with the memberships that it was made with. Raises pymcast.AlreadyOpenError if it is
        open.
        """
    def close(self) -> None:
        """Leaves all groups and closes the sockets. Calls that wait end with pymcast.ClosedError,
        loops over the receiver just end. Closing twice does nothing.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def recv(self, timeout: float | None = None) -> Datagram:
        """Waits for a datagram. Raises TimeoutError when none came in `timeout` seconds."""
    def try_recv(self) -> Datagram | None:
        """A datagram if one is there, else None."""
    def recv_into(self, buffer: Buffer, timeout: float | None = None) -> int:
        """Waits for a datagram, receives it into a writable buffer and says how many bytes that is.
        What is longer than the buffer is cut off. A bytearray is written to directly, others by
        way of a copy. Raises TimeoutError when none came in `timeout` seconds.
        """
    def recv_batch(self, timeout: float | None = None) -> list[Datagram]:
        """Waits for datagrams and returns as many as are there, up to what a batch holds (32 buffers
        of the kernel's, of which each may hold many small datagrams).
        Raises TimeoutError when none came in `timeout` seconds.
        """
    def try_recv_batch(self) -> list[Datagram]:
        """The datagrams that are there, as recv_batch; an empty list when none is."""
    def reader(self) -> Reader:
        """A reader: a plain loop over datagrams, `for datagram in receiver.reader()`, that costs no more
        than batches. Up to a batch waits inside it.
        """
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until something may be there to receive; False when nothing was in `timeout` seconds.
        True promises no datagram: another thread may be faster, or what came was not for this one.
        """
    def reply(self, datagram: Datagram, payload: PayloadLike) -> None:
        """Sends an answer to a datagram's source: by the interface it came in by, from the port it was
        sent to. Sender.recv_answer receives it.
        """
    def join(self, membership: MembershipLike) -> None:
        """Joins, while receiving; takes what the constructor takes. Raises pymcast.Error, and then
        nothing has changed.
        """
    def leave(self, membership: MembershipLike) -> None:
        """Leaves, while receiving, what was joined in the same words. Once it returns, nothing of it is
        received any more. Raises pymcast.NotJoinedError if it was not joined.
        """
    def set_sources(
        self,
        membership: MembershipLike,
        sources: Sequence[SourceLike] | None = None,
        *,
        exclude: Sequence[SourceLike] | None = None,
    ) -> None:
        """Replaces the sources of a membership, at once: only `sources` are admitted, or all but
        `exclude`. From then on it is known as the membership with the new sources.
        """
    @property
    def memberships(self) -> list[MembershipStatus]:
        """What became of each membership, on each of its interfaces."""
    @property
    def statistics(self) -> Statistics:
        """What was received, refused, cut off and dropped so far; also once it is closed."""
    @property
    def receive_buffer(self) -> int:
        """Bytes of receive buffer that the system granted: less than was asked for where a limit is in
        the way (Linux: net.core.rmem_max).
        """
    def fileno(self) -> int:
        """One descriptor for all sockets, for select and the like: readable when a receive would find
        something to do. Unix only; elsewhere OSError.
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Datagram: ...

@final
class Reader:
    """Reads a receiver's datagrams one after the other, from batches: `for datagram in reader`.

    It takes what is there and waits only when nothing is; the loop ends when the receiver is
    closed. Up to a batch of datagrams waits inside it, so one reader, or direct calls, but not
    both, see them all in order. Leaving a loop loses nothing while the reader is kept.
    """
    def next(self, timeout: float | None = None) -> Datagram:
        """The next datagram. Raises TimeoutError when none came in `timeout` seconds, and
        pymcast.ClosedError when the receiver is closed.
        """
    @property
    def pending(self) -> list[Datagram]:
        """The datagrams that wait inside it."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Datagram: ...

@final
class Outgoing:
    """A datagram to be sent, with what differs from the sender's own settings.

    to: the group and port, as text or a pair, instead of the sender's destinations.
    interface: the one to leave by: a name, index, address or Interface.
    hop_limit: how many networks it may cross (IPv4: TTL).
    traffic_class: DSCP in the upper six bits, ECN in the lower two.
    """
    def __new__(
        cls,
        payload: PayloadLike,
        *,
        to: PlaceLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
    ) -> Self: ...
    @property
    def payload(self) -> bytes:
        """The bytes."""

@final
class Answer:
    """A unicast datagram that came to a sender's port: an answer to what it sent."""
    @property
    def payload(self) -> bytes:
        """The bytes."""
    @property
    def source(self) -> IPv4Address | IPv6Address:
        """Who sent it: an ipaddress.IPv4Address or IPv6Address, a link-local one with its scope. A claim of the
        sender's.
        """
    @property
    def source_port(self) -> int:
        """The UDP port that it was sent from."""
    @property
    def address(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The source as the socket module has it."""
    @property
    def interface_index(self) -> int | None:
        """The index of the interface that it came in by, where the system tells."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit that was left, where the system tells."""
    @property
    def time_ns(self) -> int | None:
        """When the kernel received it, in nanoseconds since 1970; None where it doesn't tell."""
    @property
    def time(self) -> float | None:
        """The same in seconds, as time.time()."""
    @property
    def truncated(self) -> bool:
        """Whether it was longer than UDP allows and the rest is gone."""

@final
class SendStatistics:
    """What a sender has sent so far."""
    @property
    def datagrams(self) -> int:
        """Datagrams that the system took."""
    @property
    def calls(self) -> int:
        """System calls that took them."""
    @property
    def trains(self) -> int:
        """Runs of more than one that left as one, to be cut apart by the system (Linux)."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Sender:
    """Sends datagrams to groups.

    Each destination is text ("239.1.2.3:7000", "[ff15::1%eth0]:7000") or a pair of group and port;
    without any, each datagram names its own. It is open once it is made; use it in a `with`
    statement, or close it.

    interface: to leave by, where a destination names none: a name, index, address or Interface, or
        several, and then a datagram goes out by each. Default: by the route to the group.
    hop_limit: how many networks a datagram may cross (IPv4: TTL). 1 stays in the local network, 0
        on this host.
    loopback: whether receivers on this host get what is sent. (Windows: the receiver's choice.)
    traffic_class: DSCP in the upper six bits, ECN in the lower two.
    source_port, source_address: to send from. Default: what the system chooses.
    send_buffer: bytes to ask the system for.
    dont_fragment: refuse datagrams larger than the MTU instead of sending fragments.
    segmentation: let send_batch hand over runs of equal datagrams as one (Linux).
    rate, bit_rate: send no faster than so many datagrams, or bits of payload, a second, evenly.
    follow: look up an interface that vanished, or isn't there yet, again when sending.

    Raises pymcast.Error, or one of its kinds, whose `remedy` says what to do: NoRouteError,
    NoSuchInterfaceError and so on; pymcast.ParseError for text that cannot be understood.
    """
    def __new__(
        cls,
        *destinations: DestinationLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        hop_limit: int = 1,
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
        """Opens it again as it was made. Raises pymcast.AlreadyOpenError if it is open."""
    def close(self) -> None:
        """Closes the sockets. What waits for its turn at the rate ends with pymcast.ClosedError. Closing twice does
        nothing.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def send(
        self,
        payload: PayloadLike,
        *,
        to: PlaceLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
    ) -> None:
        """Sends a datagram: any bytes, to every destination of the sender, or to the group and port
        `to`. The other keywords say what differs from the sender's settings.

        Raises pymcast.Error when the system cannot send it: TooLargeError, NoRouteError,
        QueueFullError and so on. Ctrl-C ends the wait for its turn at a rate; then it was not sent.
        """
    def _send_places(
        self,
        payload: PayloadLike,
        done: int,
        wait: bool,
        abandoned: Callable[[], bool] | None = None,
        *,
        to: PlaceLike | None = None,
        interface: InterfaceLike | None = None,
        hop_limit: int | None = None,
        traffic_class: int | None = None,
    ) -> int | None:
        """For pymcast.aio: sends to a datagram's places, from the place of number `done` on, and where
        one would have to be waited for, waits or returns its number. None when it went to all. What
        does not wait keeps no pace. What waits ends when `abandoned()` is true.
        """
    def send_batch(self, datagrams: Iterable[PayloadLike | Outgoing]) -> int:
        """Sends datagrams in order with as few system calls as there can be, and says how many went.
        Each is bytes, or an Outgoing with settings of its own.

        Fewer than all went when the system refused one after the first: sending the rest again
        tells why. Raises pymcast.Error when the first cannot be sent. The exception of a Ctrl-C that ends
        the wait for a rate has the attribute `sent`: how many went before.
        """
    def _send_batch_while(
        self, datagrams: Iterable[PayloadLike | Outgoing], abandoned: Callable[[], bool]
    ) -> int:
        """For pymcast.aio: the same, for as long as `abandoned()` is not true."""
    def _send_pending(self, pending: list[bytes | Outgoing]) -> None:
        """For pymcast.Writer: sends what is at the head of the list `pending`, and takes from it what went, or the
        first if it cannot be sent; both at once, so that no exception comes between.
        """
    def writer(self, capacity: int = 64) -> Writer:
        """A writer: a plain loop of sends that costs no more than batches, `with sender.writer() as
        writer`. Up to `capacity` datagrams wait inside it to be sent together.
        """
    def recv_answer(self, timeout: float | None = None, *, family: int | None = None) -> Answer:
        """Waits for a unicast answer to what was sent, as Receiver.reply sends them.

        `family` is 4 or 6; by default that of the first destination. Raises TimeoutError when none
        came in `timeout` seconds.
        """
    def local_address(
        self, *, family: int | None = None
    ) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address that datagrams of a family (4 or 6, by default that of the first destination)
        are sent from, as socket.getsockname: unspecified where the system chooses for each.
        """
    @property
    def paced(self) -> bool:
        """Whether it was told to send no faster than at some rate."""
    @property
    def statistics(self) -> SendStatistics:
        """What was sent so far, and in how many calls; also once it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Statement:
    """A statement, and the document it rests on."""
    @property
    def value(self) -> str:
        """What is stated."""
    @property
    def reference(self) -> str:
        """Where it is written: "RFC 5771 section 4"."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Assignment:
    """A name that a group has."""
    @property
    def name(self) -> str:
        """Who or what has it, in the words of the registry."""
    @property
    def registered(self) -> bool:
        """Whether IANA registered it; otherwise it is merely in use."""
    @property
    def standing(self) -> str:
        """The same in words, with the date."""
    @property
    def addresses(self) -> str:
        """The addresses that the name covers: one, or the first and the last."""
    @property
    def ports(self) -> list[int]:
        """The UDP ports that go with it, where they are known."""
    @property
    def references(self) -> list[str]:
        """The documents that the registry names."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class ShortName:
    """A short name of a group: what `mcast recv mdns` understands."""
    @property
    def name(self) -> str:
        """The name, in lower case."""
    @property
    def ports(self) -> list[int]:
        """The UDP ports of its protocol."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit that the protocol asks of senders, where it asks for one."""
    @property
    def reference(self) -> str:
        """What defines it."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Advice:
    """One thing to mind about a group."""
    @property
    def severity(self) -> Literal["note", "caution", "avoid"]:
        """How much it matters: "note", "caution" or "avoid"."""
    @property
    def text(self) -> str:
        """What it is."""
    @property
    def reference(self) -> str:
        """Where it is written."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Explanation:
    """All that can be said about a group."""
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
        """What sort of group it is."""
    @property
    def flags(self) -> Statement | None:
        """The flags of an IPv6 group."""
    @property
    def relative(self) -> Statement | None:
        """The offset in its scope, when it is in the top of one (RFC 2365)."""
    @property
    def ethernet(self) -> Statement:
        """The Ethernet address."""
    @property
    def ethernet_aliases(self) -> list[Group]:
        """The 31 other IPv4 groups with that Ethernet address; empty for IPv6."""
    @property
    def control_alias(self) -> Statement | None:
        """The control group among them, which makes switches send this group to every port."""
    @property
    def names(self) -> list[Assignment]:
        """Its names, registered ones first."""
    @property
    def short_names(self) -> list[ShortName]:
        """Its short names, with ports."""
    @property
    def registry_date(self) -> str:
        """When the IANA registry was as the names have it: "2024-02-02"."""
    @property
    def advice(self) -> list[Advice]:
        """What to mind, the weightiest first."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Packet:
    """A captured packet, decoded as far as it can be; str() is a line about it.

    What a packet doesn't have is None: a source of something else than IP, a port of something else
    than UDP. What could not be decoded is told by `malformed`, and what came before it is there.
    """
    @property
    def bytes(self) -> builtins.bytes:
        """The frame as it was seen, from the first header on."""
    @property
    def original_length(self) -> int:
        """How long the frame was in bytes; more than `bytes` has when it was cut off."""
    @property
    def link_type(self) -> Literal["ethernet", "ip", "linux-cooked", "linux-cooked-2", "loopback"]:
        """What `bytes` starts with: "ethernet", "ip", "linux-cooked", "linux-cooked-2" or "loopback"."""
    @property
    def interface(self) -> str | None:
        """The name of the interface where it was seen; None where a file doesn't say it."""
    @property
    def interface_index(self) -> int:
        """The index of the interface; in a file its number in the file, from 1."""
    @property
    def direction(self) -> Literal["to-us", "broadcast", "multicast", "to-others", "outgoing", "unknown"]:
        """Which way it went, and whom its link-layer address means: "to-us", "broadcast", "multicast",
        "to-others", "outgoing", or "unknown" where a file doesn't say it.
        """
    @property
    def time_ns(self) -> int:
        """When it was seen, in nanoseconds since 1970 as time.time_ns()."""
    @property
    def time(self) -> float:
        """The same in seconds, as time.time()."""
    @property
    def cut(self) -> bool:
        """Whether the kernel carried this datagram as part of a larger packet (GSO, GRO), from which it
        was cut.
        """
    @property
    def ethernet_source(self) -> str | None:
        """The Ethernet address it came from: "02:00:00:00:00:01"."""
    @property
    def ethernet_destination(self) -> str | None:
        """The Ethernet address it was sent to."""
    @property
    def vlans(self) -> list[int]:
        """The numbers of its VLANs, the outermost first."""
    @property
    def source(self) -> IPv4Address | IPv6Address | None:
        """Who sent it by its IP header: an ipaddress.IPv4Address or IPv6Address."""
    @property
    def destination(self) -> IPv4Address | IPv6Address | None:
        """Whom it is for by its IP header."""
    @property
    def group(self) -> Group | None:
        """The group it is for, if it is for one."""
    @property
    def hop_limit(self) -> int | None:
        """The hop limit (IPv4: TTL)."""
    @property
    def dscp(self) -> int | None:
        """The differentiated services code point (RFC 2474)."""
    @property
    def protocol(self) -> int | None:
        """The number of the protocol that IP carries: 17 for UDP, 2 for IGMP."""
    @property
    def fragment(self) -> tuple[int, int, bool] | None:
        """Of a fragment: the number that all pieces of its datagram have, where it belongs in it in
        bytes, and whether more follow.
        """
    @property
    def kind(self) -> Literal["udp", "igmp", "mld", "pim", "arp", "fragment", "other"]:
        """What it carries: "udp", "igmp", "mld", "pim", "arp", "fragment" (a later piece of a datagram)
        or "other".
        """
    @property
    def source_port(self) -> int | None:
        """The UDP port it was sent from."""
    @property
    def port(self) -> int | None:
        """The UDP port it was sent to."""
    @property
    def payload(self) -> builtins.bytes | None:
        """What UDP carries, as much of it as is here."""
    @property
    def control(self) -> ControlMessage | None:
        """What IGMP or MLD says, if it is a message of theirs."""
    @property
    def checksum(self) -> Literal["valid", "invalid", "absent", "not-computed", "not-computable"] | None:
        """The checksum of UDP, IGMP, MLD or PIM: "valid", "invalid", "absent", "not-computed" (left to the
        device) or "not-computable" (not all is here).
        """
    @property
    def malformed(self) -> str | None:
        """Where decoding stopped, and why."""
    def __len__(self) -> int: ...
    def __bytes__(self) -> builtins.bytes: ...
    def __bool__(self) -> bool: ...

@final
class ControlMessage:
    """A message of IGMP or MLD; str() says it in words."""
    @property
    def protocol(self) -> Literal["igmp", "mld"]:
        """"igmp" or "mld"."""
    @property
    def version(self) -> int:
        """The version of the protocol that has this message: 1 to 3 for IGMP, 1 or 2 for MLD; 0 for
        router discovery.
        """
    @property
    def kind(self) -> Literal["query", "report", "leave", "router-discovery"]:
        """"query", "report", "leave" or "router-discovery"."""
    @property
    def group(self) -> IPv4Address | IPv6Address | None:
        """The group that it is about; None for a general query, and where the records say it."""
    @property
    def sources(self) -> list[IPv4Address | IPv6Address]:
        """The sources that a query asks for."""
    @property
    def records(self) -> list[ControlRecord]:
        """What a report of IGMPv3 or MLDv2 says of each group."""
    @property
    def max_response_time(self) -> float | None:
        """Of a query: how long hosts may take to answer, in seconds."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class ControlRecord:
    """What a report says of a group."""
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
    """What a capture has seen since it was made."""
    @property
    def packets(self) -> int:
        """Packets handed out."""
    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped because the buffer was full. One may stand for several
        datagrams.
        """
    @property
    def unreadable(self) -> int:
        """Packets that the kernel had but could not hand over: UDP with GSO on Linux before 6.2."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Capture:
    """Captures what interfaces receive and send: `for packet in pymcast.Capture("eth0")`.

    Packets are kept from the moment it is made; use it in a `with` statement, or close it. It joins
    no group, so a switch that forwards groups to members only may hold them back. Linux; needs the
    right to capture (CAP_NET_RAW).

    interfaces: names, indexes, addresses or Interface objects, one or more.
    filter: what is wanted: "all", "multicast" (IP packets to groups), "group-addressed" (and whatever
        else goes to many, such as ARP), "control" (IGMP, MLD, PIM, router discovery), or a UDP port.
    outgoing: whether what this machine sends is captured, too.
    promiscuous: whether interfaces take in frames that are addressed to others.
    all_multicast: whether they take in the frames of all groups, joined or not.
    groups: groups whose frames they take in, without joining them by IGMP or MLD.
    buffer_size: bytes to ask the system for, for each interface. Default: 8 MiB.

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
        """Waits for the next packet. Raises TimeoutError when none came in `timeout` seconds, and
        pymcast.InterfaceDownError once when an interface goes down: a later call goes on.
        """
    def _descriptor(self) -> int:
        """For pymcast.aio: what becomes readable when there is a packet."""
    @property
    def statistics(self) -> CaptureStatistics:
        """What was seen and lost since it was made."""
    @property
    def interfaces(self) -> list[str]:
        """The names of the interfaces that are captured on."""
    def close(self) -> None:
        """Ends the capture. Loops over it just end. Closing twice does nothing."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Packet: ...

@final
class FileInterface:
    """An interface whose packets are in a file."""
    @property
    def name(self) -> str | None:
        """What the system that captured called it; None where the file doesn't say."""
    @property
    def link(self) -> int:
        """The number of its link type (tcpdump.org/linktypes.html)."""
    @property
    def filter(self) -> str | None:
        """With what filter was captured, in the words of whoever did."""
    @property
    def dropped(self) -> int | None:
        """How many packets the capture lost, if the file says so."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class CaptureFile:
    """Reads a capture file, pcap or pcapng, of any byte order and resolution of time:
    `for packet in pymcast.CaptureFile("a.pcapng")`.

    `path` is text or a path. Raises pymcast.CaptureFileError, an OSError: when the file cannot be
    opened or is none; and while reading, where it ends within a packet or contradicts itself, once
    all packets before that place have been read.
    """
    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @property
    def path(self) -> Path:
        """Where the file is."""
    @property
    def format(self) -> Literal["pcapng", "pcap", "pcap-nanoseconds"]:
        """How it is written: "pcapng", "pcap" (times to the microsecond) or "pcap-nanoseconds"."""
    @property
    def interfaces(self) -> list[FileInterface]:
        """The interfaces that the file told of so far, in its order; a packet's `interface_index` counts
        them from 1.
        """
    @property
    def passed_over(self) -> int:
        """Packets that were passed over so far, because nothing here decodes their link type."""
    @property
    def lost(self) -> int | None:
        """How many packets the capture lost, as the file says it behind the packets; None if it doesn't."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Packet: ...

@final
class CaptureWriter:
    """Writes packets into a capture file, which is created, or emptied if it is there.

    `format` is "pcapng", or "pcap" (times to the nanosecond) for one link type and the older of
    programs. Use it in a `with` statement, or close it: packets are written together, those of the
    last 100 ms at its end. A checksum that was left to the device is filled in.

    Raises pymcast.CaptureFileError, an OSError.
    """
    def __new__(cls, path: str | PathLike[str], format: Literal["pcapng", "pcap"] = "pcapng") -> Self: ...
    @property
    def path(self) -> Path:
        """Where the file is."""
    def write(self, packet: Packet) -> None:
        """Writes a packet. When the disk is full, it and those behind it wait in memory, and a later call
        tries again.
        """
    def flush(self) -> None:
        """Hands what waits to the system."""
    def close(self) -> None:
        """Writes what waits, and closes the file. Closing twice does nothing."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Keys:
    """The secrets that seal and open streams: of a file, as `mcast publish --new-key FILE` writes one. Whoever
    has them can read and write the group's streams.

    A file has a line for each secret, `EPOCH ALGORITHM SECRET`; the greatest epoch seals, all open. Raises
    OSError when it cannot be read, ValueError, with the number of the line, when it is no such file.
    """
    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @classmethod
    def from_text(cls, text: str) -> Keys:
        """The secrets of a file's text."""
    @staticmethod
    def new_line(
        epoch: int = 1, algorithm: Literal["aes-128-gcm", "chacha20-poly1305"] = "aes-128-gcm"
    ) -> str:
        """A line for a file, with a new secret of the system's randomness. To change secrets without a gap, give
        everybody a file with the new line, of the next epoch, beside the old one, and the publisher last.
        """
    @property
    def epoch(self) -> int:
        """The epoch that seals: the greatest."""

@final
class Message:
    """A message of a stream."""
    @property
    def payload(self) -> bytes:
        """The bytes."""
    @property
    def number(self) -> int:
        """Its number, from 0 on, without gaps, in the life of its publisher."""
    @property
    def key(self) -> int | None:
        """What it is about, if its publisher told: an integer."""

@final
class StreamEvent:
    """What happened to a stream, told between the messages between which it happened; str() says it in words."""
    @property
    def kind(self) -> str:
        """"joined" (messages follow from `message` on), "lost" (those from `message` to before `end` will not
        come, for `cause`), "lost-unknown" (an unknown number of messages from `message` on may be lost: the
        publisher's former life did not end its stream), "snapshot-wanted" (one that has all messages before `message`), "restarted" (the
        publisher, as `incarnation`: messages are numbered from 0 again), "ended" (after `message` messages),
        "stalled" (a gap holds up everything), "path-silent", "path-back", "sender-silent", "sender-back",
        "evicted" (the publisher no longer waits for this subscriber), "full" (it takes no more subscribers),
        "rival" (another publisher of the stream is ignored; its life is `incarnation`), "key-missing" (the
        secret of `epoch`), "key-wrong" (datagrams name the secret of `epoch` and were not sealed with it), or
        "stale" (a publisher whose clock differs by minutes is not believed).
        """
    @property
    def message(self) -> int | None:
        """The message that it is about, or how many there were."""
    @property
    def end(self) -> int | None:
        """Of "lost": behind the last message."""
    @property
    def cause(self) -> str | None:
        """Of "lost": "unrecoverable", "deadline", "not-repaired", "restart", "unreadable", "abandoned" or
        "sender-gone".
        """
    @property
    def incarnation(self) -> int | None:
        """The life of the publisher."""
    @property
    def sender(self) -> str | None:
        """Of "joined": where the publisher sends from, as "ADDRESS:PORT"."""
    @property
    def path(self) -> int | None:
        """Which path, from 0 on."""
    @property
    def epoch(self) -> int | None:
        """Which secret is missing or wrong."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class PublisherEvent:
    """What happened to a publisher; str() says it in words."""
    @property
    def kind(self) -> str:
        """"joined", "left", "silent" (said nothing for too long), "evicted" (kept everybody waiting; it was
        `count` datagrams behind), "returned" (caught up), "refused" (one too many), "unrecoverable" (lacks
        `count` datagrams that are no longer kept), "slowed" (receivers lose so much that the rate is
        lowered to `count` bytes a second), "recovered" (it is as configured again), "short" (has given up
        `count` datagrams), "missed" (`count` events were not fetched in time), or "other".
        """
    @property
    def receiver(self) -> int | None:
        """The receiver that it is about."""
    @property
    def address(self) -> str | None:
        """Of "joined": where the receiver is, as "ADDRESS:PORT"."""
    @property
    def count(self) -> int | None:
        """How many."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class PublisherStatistics:
    """What a publisher has sent so far."""
    @property
    def messages(self) -> int:
        """Messages."""
    @property
    def message_bytes(self) -> int:
        """Their bytes."""
    @property
    def datagrams(self) -> int:
        """Datagrams of data, repairs not counted."""
    @property
    def repairs(self) -> int:
        """Datagrams that were sent again, to the group or to one receiver."""
    @property
    def naks(self) -> int:
        """Requests for repairs that came."""
    @property
    def unrecoverable(self) -> int:
        """Datagrams that were asked for when they were gone."""
    @property
    def refused(self) -> int:
        """What came and was not sealed by the group, or was a copy."""
    @property
    def receivers(self) -> int:
        """Receivers that are known."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class SubscriberStatistics:
    """What a subscriber has received so far."""
    @property
    def messages(self) -> int:
        """Messages that were handed out."""
    @property
    def message_bytes(self) -> int:
        """Their bytes."""
    @property
    def lost_messages(self) -> int:
        """Messages that were told to be lost."""
    @property
    def received(self) -> int:
        """Datagrams of data that came, copies not counted."""
    @property
    def repaired(self) -> int:
        """Of those, repairs."""
    @property
    def copies(self) -> int:
        """Copies, of several paths or of repairs for others."""
    @property
    def missed(self) -> int:
        """Datagrams that were missing when something behind them came."""
    @property
    def foreign(self) -> int:
        """What is no datagram of the protocol, or of another stream."""
    @property
    def refused(self) -> int:
        """What the group did not seal, or a copy of something other than data."""
    @property
    def naks(self) -> int:
        """Requests for repairs that were sent."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Closing:
    """How a publisher ended."""
    @property
    def complete(self) -> int:
        """Subscribers that have read everything."""
    @property
    def unread(self) -> int:
        """Subscribers that have received everything and have not read all of it."""
    @property
    def behind(self) -> list[tuple[int, int]]:
        """Those that are connected and have not confirmed everything, each with the number of datagrams it misses."""
    @property
    def short(self) -> int:
        """Subscribers that lost something for good. One that left afterwards is counted, too."""
    @property
    def unknown(self) -> int:
        """Subscribers that fell silent before they confirmed everything. What they have is unknown."""
    @property
    def unsent(self) -> int:
        """Datagrams that were accepted and never sent: the rate, a subscriber or the system did not allow it in time."""
    @property
    def statistics(self) -> PublisherStatistics:
        """What was sent in all."""
    def __eq__(self, other: object, /) -> bool: ...

@final
class Snapshot:
    """A state, and the messages that it has: all before number `message`."""
    def __new__(cls, message: int, payload: PayloadLike) -> Self: ...
    @property
    def message(self) -> int:
        """It has all messages before this one."""
    @property
    def payload(self) -> bytes:
        """The state."""

@final
class FoundStream:
    """A stream that is announced: `pymcast.Subscriber(found)` receives it."""
    @property
    def name(self) -> str:
        """Its name."""
    @property
    def stream(self) -> int:
        """Its identity."""
    @property
    def incarnation(self) -> int:
        """The life of its publisher."""
    @property
    def memberships(self) -> list[Membership]:
        """What to join to hear it: a path each."""
    @property
    def snapshot(self) -> tuple[str, int] | None:
        """Where snapshots are to be had, an address and port; None if nowhere."""
    @property
    def rate(self) -> int | None:
        """How fast it sends, in bytes a second; None: as fast as it goes."""
    @property
    def sealed(self) -> bool:
        """Whether it is sealed."""
    @property
    def source(self) -> tuple[str, int]:
        """Who announced it, an address and port."""

@final
class Announcements:
    """Hears what streams are announced, each again every second: `for found in pymcast.Announcements()`.

    interface: where to listen. Default: on every interface on which a Receiver joins.
    family: 4 or 6. Default: both.
    keys: a Keys or the path of its file: streams that they seal, instead of those in clear.

    `find_stream` and `discover` are made of it. Raises what Receiver does.
    """
    def __new__(
        cls,
        *,
        interface: InterfaceLike | None = None,
        family: Literal[4, 6] | None = None,
        keys: KeysLike | None = None,
    ) -> Self: ...
    def next(self, timeout: float | None = None) -> FoundStream:
        """Waits for the next announcement. Raises TimeoutError when none came in `timeout` seconds."""
    def close(self) -> None:
        """Stops listening. Loops just end. Closing twice does nothing."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> FoundStream: ...

@final
class Publisher:
    """Publishes a stream of messages that all arrive: what is lost is sent again, and who is slow is waited for.

    Each destination is text ("239.1.2.3%eth0:7000") or a pair of group and port; a stream to several, at most
    four, is the same on each. Use it in a `with` statement, or close it.

    interface: by which a destination that names none is sent to: a name, index, address or Interface, or
        several, which make a path each. Default: the route to the group.
    name: what it is announced as; the stream's identity is made of it, so that subscribers go on with a
        publisher that starts again.
    rate: bytes a second. Default: as fast as it goes.
    history: bytes that are kept for repairs. Default: 8 MiB.
    flow: "slowest" waits for the slowest receiver, "none" for nobody.
    eviction: a receiver that keeps others waiting must get on within so many seconds. Default: 2.
    longest_message: bytes. Default: 16 MiB.
    keys: a Keys or the path of its file: the stream is sealed. Default: it is not.
    hop_limit: how many networks a datagram may cross.
    loopback: whether receivers on this host hear it.

    Raises pymcast.Error, or one of its kinds, and ValueError for settings that cannot be.

    Threads may share it. Threads of its own answer receivers, whatever Python does meanwhile. A process that
    was forked has none of these: it must not use it, and raises pymcast.ClosedError where it tries to.
    """
    def __new__(
        cls,
        *destinations: DestinationLike,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        name: str | None = None,
        rate: int | None = None,
        history: int | None = None,
        flow: Literal["slowest", "none"] = "slowest",
        eviction: float | None = None,
        longest_message: int | None = None,
        keys: KeysLike | None = None,
        hop_limit: int = 1,
        loopback: bool = True,
    ) -> Self: ...
    def publish(
        self, payload: PayloadLike, *, key: int | None = None, timeout: float | None = None
    ) -> int:
        """Publishes a message, sends it at once, and tells its number. Waits while there is no room: for a slow
        receiver, or for its turn at the rate. `key`, an integer, names what the message is about, for
        subscribers that only want the latest of each. Raises TimeoutError when there was no room in
        `timeout` seconds, and then it is not published.
        """
    def try_publish(self, payload: PayloadLike, *, key: int | None = None) -> int | None:
        """The same without waiting; None when there is no room."""
    def _try_queue(self, payload: PayloadLike, *, key: int | None = None) -> int | None:
        """For pymcast.aio: queues a message without waiting; None when there is no room."""
    def queue(
        self, payload: PayloadLike, *, key: int | None = None, timeout: float | None = None
    ) -> int:
        """Publishes a message that may wait for others to share its datagram, until `flush`, or for a
        millisecond: the way to publish many small ones fast. Otherwise as `publish`.
        """
    def flush(self) -> None:
        """Sends what was queued."""
    def events(self) -> list[PublisherEvent]:
        """What happened since the last call, the oldest first: who joined, left, was evicted, and so on."""
    @property
    def statistics(self) -> PublisherStatistics:
        """What was sent so far; also once it is closed."""
    @property
    def stream(self) -> int:
        """The stream's identity."""
    @property
    def next_message(self) -> int:
        """The number of the next message: what a Snapshot has, that has all messages so far."""
    def wait_for(self, receivers: int, timeout: float | None = None) -> bool:
        """Waits until so many receivers have joined; False when the time is over."""
    def wait_complete(self, timeout: float | None = None) -> bool:
        """Waits until all that listen have everything that was published; False when the time is over."""
    def set_keys(self, keys: KeysLike) -> None:
        """Seals with the greatest epoch of these from now on."""
    def serve_snapshots(
        self, address: tuple[SourceLike, int], capture: Callable[[], Snapshot]
    ) -> tuple[str, int]:
        """Serves snapshots over TCP at an address and port (0: any), sealed as the stream is, until it is
        closed; returns where. `capture` is called by another thread whenever one is asked for, and returns a
        Snapshot: the state after all messages before a number. What it raises goes to sys.unraisablehook, and
        whoever asked is turned away.
        """
    def close(self, timeout: float = 5.0) -> Closing | None:
        """Ends the stream, and waits for no longer than `timeout` seconds until all that listen have everything.
        Tells who has not; None when it was closed before.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed; in a process that was forked, it is."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Subscriber:
    """Receives a stream of messages, in order, each once, and is told of everything that could not be had:
    `for item in pymcast.Subscriber("239.1.2.3:7000")`.

    Items are Message and StreamEvent objects. Each membership is a path by which the stream comes, at most
    four; what comes first counts. Instead of memberships, what find_stream found. Use it in a `with` statement, or close it. It asks for repairs within its
    calls: who does not call for two seconds is no longer waited for by the publisher.

    interface: where memberships that name none are joined. Default: as Receiver.
    start: "now", "oldest" (the oldest that can still be had), or "snapshot" (behind a snapshot, which is
        asked for by an event, and answered by fetch_snapshot and resume).
    policy: "reliable", "deadline" (waits for a repair no longer than `deadline` seconds), "best-effort" (asks
        for nothing), or "latest" (of each key only the latest message).
    on_loss: of the policy "reliable", what comes after a loss that nothing repairs: "continue" (the messages
        behind it), "snapshot" (one is asked for again), or "stop" (nothing: it is as if the stream had
        ended). Default: "snapshot" for who starts so, else "continue".
    name: only the stream of this name. Default: the first that is heard.
    keys: a Keys or the path of its file; what is not sealed with them is refused.
    receive_buffer: bytes to ask the system for. Default: 4 MiB.
    stay: whether it stays when the stream has ended, for its publisher's next life.

    Raises what Receiver does. Threads may share it; each item goes to one of them.
    """
    def __new__(
        cls,
        *memberships: MembershipLike | FoundStream,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        start: Literal["now", "oldest", "snapshot"] = "now",
        policy: Literal["reliable", "deadline", "best-effort", "latest"] = "reliable",
        deadline: float | None = None,
        on_loss: Literal["continue", "snapshot", "stop"] | None = None,
        name: str | None = None,
        keys: KeysLike | None = None,
        receive_buffer: int | None = None,
        stay: bool = False,
    ) -> Self: ...
    def next(self, timeout: float | None = None) -> Message | StreamEvent | None:
        """Waits for the next item, a Message or a StreamEvent; None when the stream has ended. Raises
        TimeoutError when there was none in `timeout` seconds.
        """
    def try_next(self) -> Message | StreamEvent | None:
        """The next item if one is there, else None."""
    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the stream has ended and all of it was handed out, or a loss has stopped it."""
    def fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None = None,
        timeout: float = 10.0,
        max_size: int = 67108864,
    ) -> Snapshot:
        """Fetches a snapshot from where the publisher serves them, an address and port: one that has all messages
        before the one that the event "snapshot-wanted" told, or more. Go on behind it with resume. Who was made
        of what find_stream found may leave the address away: it is the announced one, and for `timeout` seconds
        another is tried with each announcement. The stream is followed meanwhile. Raises pymcast.Error when it
        cannot be had or is larger than `max_size` bytes (anybody can announce snapshots of a stream in clear), pymcast.ClosedError when the subscriber is closed meanwhile, and ValueError before one is wanted.
        """
    def _fetch_snapshot(
        self,
        address: tuple[SourceLike, int] | None,
        timeout: float,
        max_size: int,
        abandoned: Callable[[], bool],
    ) -> Snapshot:
        """For pymcast.aio: the same, for as long as `abandoned` does not say True."""
    def resume(self, message: int) -> None:
        """Goes on behind a snapshot that has all messages before this number."""
    def set_keys(self, keys: KeysLike) -> None:
        """Opens with these from now on."""
    @property
    def statistics(self) -> SubscriberStatistics:
        """What was received so far; of nothing before the stream is heard; also once it is closed."""
    @property
    def stream(self) -> int | None:
        """The identity of the stream, once it is heard."""
    def _take(self, most: int) -> tuple[list[Message | StreamEvent], bool, float]:
        """For pymcast.aio: items that are there, no more than these, whether the stream has ended, and after how
        many seconds to look again at the latest.
        """
    def _descriptors(self) -> list[int]:
        """For pymcast.aio: what becomes readable when there is something to do."""
    def _wait(self) -> None:
        """For pymcast.aio: waits until there may be something to do, for a while."""
    def close(self) -> None:
        """Leaves the stream. Calls that wait end with pymcast.ClosedError, loops just end. Closing twice does
        nothing.
        """
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Message | StreamEvent: ...

def explain(group: GroupLike) -> Explanation:
    """All that is known about a group: scope, kind, Ethernet address, names, and what to mind, each
    with the document that says so.

    `group` is text, an ipaddress object or a Group; str() of the result is a page to read.
    Raises pymcast.ParseError (a ValueError) for what is no multicast address.
    """
def pick(
    name: str,
    *,
    scope: str | None = None,
    family: int = 4,
    source_specific: bool = False,
    in_use: Sequence[GroupLike] = (),
) -> Group:
    """A group for this name: always the same one for the same name, on every machine, registered to
    nobody and sharing no Ethernet address with a control group.

    `scope` is "local", "organization", "site", "global" and so on; by default as narrow as gets
    past one link. `in_use` lists groups to avoid. Raises ValueError when the scope has no groups
    to pick from, or all are to be avoided.
    """
def examine(
    membership: MembershipLike | None,
    pid: int | None,
    port: int | None,
    file: str | PathLike[str] | None,
    listen: float,
) -> str:
    """For pymcast.doctor: the report as JSON."""
def run_command(arguments: Sequence[str]) -> int:
    """Runs the command `mcast` with these arguments, the name of the program first, and returns its
    exit status. It writes to the process's own standard output and error, not to sys.stdout.

    A lab may have to enter a user namespace, which only a process with a single thread can do:
    call it before any thread is started.
    """

# What is pickled is made again by these.
def _datagram(
    payload: bytes,
    group: str,
    interface: tuple[int, str],
    source: str,
    header: tuple[int | None, int | None],
    times: tuple[int | None, int | None],
    lost: int | None,
    length: int,
    truncated: bool,
) -> Datagram:
    """Makes a Datagram that was pickled."""
def _interface(
    index: int,
    name: str,
    flags: tuple[bool, bool, bool, bool, bool],
    mtu: int,
    hardware_address: Sequence[int] | None,
    addresses: Sequence[tuple[IPv4Address | IPv6Address, int, int]],
    port_of: int | None,
) -> Interface:
    """Makes an Interface that was pickled."""
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
    """Makes a Packet that was pickled."""
def _statistics(
    received: int,
    truncated: int,
    refused: int,
    dropped: int | None,
    dropped_is: str,
    calls: int,
    merged: int,
) -> Statistics:
    """Makes a Statistics that was pickled."""
