"""Discovery of announced streams by name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from pymcast._keywords import AnnouncementKeywords
from pymcast._pymcast import Announcements, FoundStream
from pymcast._typing import Unpack


def find_stream(name: str, timeout: float = 10.0, **options: Unpack[AnnouncementKeywords]) -> FoundStream:
    """Waits for the announcement of the stream with this name: `pymcast.Subscriber(find_stream("prices"))`.

    Announcements are sent once per second. The options are those of `Announcements`. Raises TimeoutError if the stream
    is not announced within `timeout` seconds.
    """
    for found in _announced(timeout, **options):
        if found.name == name:
            return found
    raise not_announced(name)


def find_streams(timeout: float = 1.5, **options: Unpack[AnnouncementKeywords]) -> list[FoundStream]:
    """Returns the streams that are announced within `timeout` seconds, sorted by name.

    The options are those of `Announcements`.
    """
    return newest(_announced(timeout, **options))


def not_announced(name: str) -> TimeoutError:
    """Makes the exception for a stream that was not announced."""
    return TimeoutError(f"timed out: no announcement of a stream {name!r}; if it is sealed, give its keys")


def newest(all_found: Iterable[FoundStream]) -> list[FoundStream]:
    """Keeps the latest announcement of the latest incarnation of each stream."""
    streams: dict[int, FoundStream] = {}
    for found in all_found:
        previous = streams.get(found.stream)
        if previous is None or previous.incarnation <= found.incarnation:
            streams[found.stream] = found
    return sorted(streams.values(), key=lambda found: (found.name, found.stream))


def _announced(timeout: float, **options: Unpack[AnnouncementKeywords]) -> Iterator[FoundStream]:
    end = time.monotonic() + timeout
    with Announcements(**options) as announcements:
        while (left := end - time.monotonic()) > 0:
            try:
                yield announcements.next(left)
            except TimeoutError:
                return
