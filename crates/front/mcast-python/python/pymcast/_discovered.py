"""What announces itself on the networks of this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from pymcast._keywords import several
from pymcast._pymcast import DiscoveryHandle

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from pymcast._keywords import DiscoveryKeywords, InterfaceLike
    from pymcast._typing import Self, Unpack


@dataclass(frozen=True)
class Discovered:
    """A service, device or host that announces itself. Any host can announce anything, so its texts are escaped."""

    name: str
    """The name by which a person knows it."""
    kind: str
    """What it is: "service", "host", "device", "session", "participant", "clock", "neighbor"..."""
    protocol: str
    """The protocol of its announcements: "mdns", "ssdp", "dds", "ptp", "lldp"..."""
    id: str
    """Its identifier in its protocol, such as the full name of a service."""
    interface: str
    """The name of the interface on which it is announced."""
    index: int
    """The index of that interface."""
    source: str
    """The sender of the latest announcement."""
    first_seen: str
    """When it was first announced (RFC 3339, UTC)."""
    last_seen: str
    """When it was last announced (RFC 3339, UTC)."""
    announcements: int
    """How many announcements of it arrived."""
    service: str | None = None
    """The type that its protocol states, such as "_ipp._tcp"."""
    host: str | None = None
    """The name of its host."""
    addresses: tuple[str, ...] = ()
    """The addresses at which it can be reached, as announced."""
    port: int | None = None
    """The port at which it can be reached."""
    url: str | None = None
    """Its URL."""
    vlan: int | None = None
    """The VLAN of the announcements."""
    expires: str | None = None
    """When it lapses unless it is announced again (RFC 3339, UTC); None if its protocol has no lifetime."""
    fields: tuple[tuple[str, str], ...] = ()
    """Everything else that was announced: names and values."""


@dataclass(frozen=True)
class DiscoveryEvent:
    """Something appeared, changed or departed."""

    event: Literal["appeared", "changed", "departed"]
    """What happened."""
    entry: Discovered
    """What is known after the change; of what departed, what was known last."""
    changed: tuple[str, ...] = field(default=())
    """What differs, if it changed: names of attributes."""
    reason: Literal["goodbye", "expired", "evicted", "interface-gone"] | None = None
    """Why it departed."""


class Discovery:
    """A list of what announces itself, which a thread keeps up to date: `for event in pymcast.Discovery()`.

    interface: the interface, or several. Default: all that are up and can multicast, but not loopback.
    ask: also send queries, in protocols that have them, instead of only listening.
    name: what to query for, in protocols that can query for one thing: a name, or a service type such as "_ipp._tcp".
    file: a capture file to read instead; loops end with it.
    kind, protocol: report only these, each one or several: "service", "neighbor"..., "mdns", "dds"...
    domain: DDS domains to join and query, besides 0 to 9 and that of the environment variable ROS_DOMAIN_ID.
    universe: sACN universes to join, one or several.
    join: whether to join the groups of the protocols also where a capture is permitted.

    With permission to capture (CAP_NET_RAW) it sees all protocols, otherwise all except those that `unseen` lists. It
    joins the groups of the protocols. Use it in a `with` statement, or close it. Raises the same exceptions as Receiver.
    """

    def __init__(
        self,
        interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
        *,
        ask: bool = False,
        name: str | None = None,
        file: str | PathLike[str] | None = None,
        kind: str | Iterable[str] | None = None,
        protocol: str | Iterable[str] | None = None,
        domain: int | Iterable[int] | None = None,
        universe: int | Iterable[int] | None = None,
        join: bool = True,
    ) -> None:
        kinds: list[str] = several(kind)
        protocols: list[str] = several(protocol)
        domains, universes = several(domain), several(universe)
        if any(not 0 <= each <= 232 for each in domains):
            raise ValueError("a DDS domain is 0 to 232")
        if any(not 1 <= each <= 63_999 for each in universes):
            raise ValueError("an sACN universe is 1 to 63999")
        self._handle = DiscoveryHandle(
            several(interface), name, file, (kinds, protocols), (domains, universes), (ask, join)
        )

    def next(self, timeout: float | None = None) -> DiscoveryEvent | None:
        """Waits for the next change, and returns it; None at the end of a file.

        Raises TimeoutError if nothing changes within `timeout` seconds.
        """
        change = self._handle.next(timeout)
        if change is None:
            return None
        event, record = change
        fields = cast("dict[str, Any]", json.loads(record))
        fields.pop("time")
        changed, reason = tuple(fields.pop("changed")), fields.pop("reason")
        return DiscoveryEvent(cast("Any", event), _entry(fields), changed, reason)

    def entries(self) -> list[Discovered]:
        """Returns all entries, ordered by interface, protocol and name."""
        return [_entry(json.loads(record)) for record in self._handle.entries()]

    def ask(self) -> None:
        """Sends queries again, in all protocols that have them."""
        self._handle.ask()

    @property
    def unseen(self) -> list[str]:
        """The protocols that are not visible without permission to capture."""
        return self._handle.unseen()

    def close(self) -> None:
        """Stops listening. Closing twice has no effect."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[DiscoveryEvent]:
        while (event := self.next()) is not None:
            yield event


def discover(
    timeout: float = 2.0,
    interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
    *,
    ask: bool = True,
    **settings: Unpack[DiscoveryKeywords],
) -> list[Discovered]:
    """Returns what announces itself within `timeout` seconds: services, devices, streams, clocks, switches, routers.

    By default it asks. What has no questions, such as PTP or LLDP, takes its own interval to appear. The arguments are
    those of `Discovery`.
    """
    with Discovery(interface, ask=ask, **settings) as discovery:
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                discovery.next(left)
            except TimeoutError:
                break
        return discovery.entries()


def _entry(fields: dict[str, Any]) -> Discovered:
    fields["addresses"] = tuple(fields["addresses"])
    fields["fields"] = tuple((each["name"], each["value"]) for each in fields["fields"])
    return Discovered(**fields)
