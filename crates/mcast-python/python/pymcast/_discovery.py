"""Streams by the names that their publishers announce."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from pymcast._keywords import AnnouncementKeywords
from pymcast._pymcast import Announcements, FoundStream
from pymcast._typing import Unpack


def find_stream(name: str, timeout: float = 10.0, **where: Unpack[AnnouncementKeywords]) -> FoundStream:
    """Waits for the announcement of the stream of this name: `pymcast.Subscriber(find_stream("prices"))`.

    Announcements come once a second. `interface`, `family` and `keys` are those of `Announcements`. Raises
    TimeoutError when nobody announced it in `timeout` seconds.
    """
    for found in _announced(timeout, **where):
        if found.name == name:
            return found
    raise nobody(name)


def discover(timeout: float = 1.5, **where: Unpack[AnnouncementKeywords]) -> list[FoundStream]:
    """The streams that are announced within so many seconds, by name.

    `interface`, `family` and `keys` are those of `Announcements`.
    """
    return newest(_announced(timeout, **where))


def nobody(name: str) -> TimeoutError:
    """Nobody announced it."""
    return TimeoutError(f"nobody announced a stream {name!r} in time; if it is sealed, name its keys")


def newest(all_found: Iterable[FoundStream]) -> list[FoundStream]:
    """Of each stream what was announced last by its latest life."""
    streams: dict[int, FoundStream] = {}
    for found in all_found:
        known = streams.get(found.stream)
        if known is None or known.incarnation <= found.incarnation:
            streams[found.stream] = found
    return sorted(streams.values(), key=lambda found: (found.name, found.stream))


def _announced(timeout: float, **where: Unpack[AnnouncementKeywords]) -> Iterator[FoundStream]:
    end = time.monotonic() + timeout
    with Announcements(**where) as announcements:
        while (left := end - time.monotonic()) > 0:
            try:
                yield announcements.next(left)
            except TimeoutError:
                return
