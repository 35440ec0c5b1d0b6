"""Messages that the publisher no longer retains, from the history of a bridge."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import lab
import pymcast
import pytest

MCAST = os.path.join(sysconfig.get_path("scripts"), "mcast")
MESSAGES = 2_000


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Path]:
    """The socket of a Redis server."""
    if shutil.which("redis-server") is None:
        if os.environ.get("MCAST_REQUIRE_ALL"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    path = tmp_path / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--save", "", "--unixsocket", str(path)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
    yield path
    server.kill()
    server.wait()


def length(redis: Path) -> int:
    """The number of records that the bridge has stored."""
    command = ["redis-cli", "-s", str(redis), "XLEN", "prices"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def payload(number: int) -> bytes:
    return b"message %d" % number + bytes(100)


@pytest.fixture
def kept(other: lab.Host, port: int, redis: Path) -> Iterator[tuple[str, pymcast.Publisher, int]]:
    """A stream that a bridge keeps, of which the publisher retains little: where, its publisher, and the port of the
    history."""
    place = f"239.30.1.1%one:{port}"
    engine = f"redis+unix://{redis}?key=prices"
    history = f"{lab.address('one', 2)}:0"
    bridge = other.start(
        [MCAST, "bridge", place, "to", engine, "--name", "prices", "--stay", "--serve-history", history]
    )
    assert bridge.stderr is not None
    publisher = other.run(lambda: pymcast.Publisher(place, name="prices", history=65_536, flow="none"))
    try:
        assert publisher.wait_for(1, timeout=20)
        for number in range(MESSAGES):
            publisher.publish(payload(number))
        publisher.flush()
        while "serving the history at" not in (line := bridge.stderr.readline()):
            assert line, "the bridge has ended"
        until = time.monotonic() + 20
        while length(redis) < MESSAGES:
            assert time.monotonic() < until
        yield place, publisher, int(line.strip().rpartition(":")[2])
    finally:
        publisher.close(0)
        bridge.kill()
        bridge.communicate()


def read(subscriber: pymcast.Subscriber, last: int) -> list[int]:
    """The numbers of the messages up to the last one, whose payloads are checked."""
    numbers: list[int] = []
    while not numbers or numbers[-1] < last:
        item = subscriber.next(timeout=20)
        assert item is not None
        if isinstance(item, pymcast.Message):
            assert item.payload == payload(item.number)
            numbers.append(item.number)
        else:
            assert item.kind not in ("lost", "lost-unknown", "history-failed"), item
    return numbers


def test_late_subscribers_read_the_history_and_then_the_live_stream(
    kept: tuple[str, pymcast.Publisher, int],
) -> None:
    place, publisher, _ = kept
    hour = datetime.now(timezone.utc) - timedelta(hours=1)
    with (
        pymcast.Subscriber(place, name="prices", start="oldest") as everything,
        pymcast.Subscriber(place, name="prices", start=3) as some,
        pymcast.Subscriber(place, name="prices", start=hour) as recent,
    ):
        for subscriber, first in ((everything, 0), (some, 3), (recent, 0)):
            assert read(subscriber, MESSAGES - 1) == list(range(first, MESSAGES))
            assert subscriber.statistics.from_history > 0
            assert subscriber.statistics.lost_messages == 0
        publisher.publish(payload(MESSAGES))
        for subscriber in (everything, some, recent):
            assert read(subscriber, MESSAGES) == [MESSAGES]


def begin(publisher: pymcast.Publisher, subscriber: pymcast.Subscriber) -> int:
    """Publishes until the subscriber follows the stream; returns the number of the next message."""
    for number in itertools.count(MESSAGES):
        publisher.publish(payload(number))
        with contextlib.suppress(TimeoutError):
            while not isinstance(item := subscriber.next(timeout=0.2), pymcast.Message):
                assert item is not None
            if item.number < number:
                read(subscriber, number)
            return number + 1
    raise AssertionError


def test_what_the_publisher_cannot_repair_is_healed(kept: tuple[str, pymcast.Publisher, int]) -> None:
    place, publisher, history = kept
    servers = (lab.address("one", 2), history)
    with pymcast.Subscriber(
        place, name="prices", heal=True, history_servers=servers, receive_buffer=4096
    ) as subscriber:
        first = begin(publisher, subscriber)
        last = first + 2 * MESSAGES
        # It does not read these, and the publisher does not wait.
        for number in range(first, last + 1):
            publisher.publish(payload(number))
        publisher.flush()
        assert read(subscriber, last) == list(range(first, last + 1))
        assert subscriber.statistics.from_history > 0


def test_starts_that_do_not_exist_are_rejected(other: lab.Host, port: int) -> None:
    place = f"239.30.1.2%one:{port}"
    with pytest.raises(ValueError, match="time zone"):
        pymcast.Subscriber(place, start=datetime(2026, 11, 22, 9, 30))
    with pytest.raises(ValueError, match="before 1970"):
        pymcast.Subscriber(place, start=datetime(1960, 1, 1, tzinfo=timezone.utc))
    with pytest.raises(TypeError, match="a word, the number of a message, or a datetime"):
        pymcast.Subscriber(place, start=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a message's number"):
        pymcast.Subscriber(place, start=-1)
    with pytest.raises(ValueError, match="policy `latest`"):
        pymcast.Subscriber(place, start=5, policy="latest")
