"""Dependable messages, blocking."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import lab
import pymcast
import pytest

Item = pymcast.Message | pymcast.StreamEvent


def take(subscriber: pymcast.Subscriber) -> tuple[list[bytes], list[pymcast.StreamEvent]]:
    """Messages and events until the end of the stream."""
    messages: list[bytes] = []
    events: list[pymcast.StreamEvent] = []
    while (item := subscriber.next(timeout=20)) is not None:
        if isinstance(item, pymcast.Message):
            assert item.number == len(messages)
            messages.append(item.payload)
        else:
            events.append(item)
    return messages, events


def test_all_published_messages_arrive(other: lab.Host, port: int) -> None:
    place = f"239.30.0.1%one:{port}"
    sent = [b"%d" % number for number in range(500)] + [os.urandom(300_000)]
    with pymcast.Subscriber(place) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place))
        done: list[tuple[list[bytes], list[pymcast.StreamEvent]]] = []
        thread = threading.Thread(target=lambda: done.append(take(subscriber)))
        thread.start()
        assert publisher.wait_for(1, timeout=20)
        numbers = [publisher.publish(payload) for payload in sent[:-1]]
        numbers.append(publisher.publish(sent[-1]))
        closing = publisher.close(timeout=20)
        thread.join(timeout=20)
        assert numbers == list(range(501))
        messages, events = done[0]
        assert messages == sent
        assert [event.kind for event in events] == ["joined", "ended"]
        joined, ended = events
        assert joined.sender is not None and joined.sender.startswith(lab.address("one", 2))
        assert (joined.message, ended.message) == (0, 501)
        assert str(ended) == "ended: message 501"
        assert closing is not None
        # Who has heard the end has left by now, or is complete.
        assert (closing.complete <= 1, closing.behind, closing.statistics.messages) == (True, [], 501)
        assert subscriber.statistics.messages == 501
        assert subscriber.statistics.lost_messages == 0
        assert subscriber.stream == publisher.stream
        assert subscriber.next(timeout=20) is None
        assert subscriber.ended
    assert publisher.closed
    assert publisher.close() is None
    with pytest.raises(pymcast.ClosedError):
        publisher.publish(b"late")


def test_closing_counts_short_and_unknown_subscribers_and_unsent_datagrams(
    other: lab.Host, port: int
) -> None:
    place = f"239.30.0.2%one:{port}"
    reading = pymcast.Subscriber(place, receive_buffer=4096)
    silent = pymcast.Subscriber(place)
    publisher = other.run(lambda: pymcast.Publisher(place, flow="none", history=65_536, rate=100_000))
    join = threading.Barrier(3)
    go_on = threading.Event()

    def read_hello(subscriber: pymcast.Subscriber) -> None:
        while not isinstance(subscriber.next(timeout=20), pymcast.Message):
            pass
        join.wait(timeout=20)

    def read() -> None:
        read_hello(reading)
        go_on.wait(timeout=20)
        for _ in reading:
            pass

    threads = [threading.Thread(target=read), threading.Thread(target=read_hello, args=[silent])]
    for thread in threads:
        thread.start()
    assert publisher.wait_for(2, timeout=20)
    publisher.publish(b"hello")
    join.wait(timeout=20)
    for _ in range(300):
        publisher.publish(bytes(1000))
    go_on.set()
    wait_for_events(publisher, {"incomplete", "silent"})
    # More than the rate allows at once.
    for _ in range(3):
        publisher.publish(bytes(50_000), timeout=20)
    closing = publisher.close(timeout=0)
    assert closing is not None
    assert (closing.complete, closing.incomplete, closing.unknown) == (0, 1, 1)
    assert closing.unsent > 0
    assert f"incomplete=1 unknown=1 unsent={closing.unsent}>" in repr(closing)
    reading.close()
    silent.close()
    for thread in threads:
        thread.join(timeout=20)


def wait_for_events(publisher: pymcast.Publisher, kinds: set[str]) -> None:
    """Waits until the publisher has reported events of all these kinds."""
    deadline = time.monotonic() + 20
    missing = set(kinds)
    while missing:
        assert time.monotonic() < deadline, missing
        publisher.wait_complete(timeout=0.05)
        missing -= {event.kind for event in publisher.events()}


def test_a_loop_ends_with_the_stream_and_events_name_the_subscribers(other: lab.Host, port: int) -> None:
    place = f"[ff15::30:2%one]:{port}"
    items: list[Item] = []
    with pymcast.Subscriber(place) as subscriber:
        thread = threading.Thread(target=lambda: items.extend(subscriber))
        thread.start()
        with other.run(lambda: pymcast.Publisher(place)) as publisher:
            assert publisher.wait_for(1, timeout=20)
            assert publisher.publish(b"keyed", key=7) == 0
            assert publisher.next_message == 1
            assert publisher.wait_complete(timeout=20)
            joined = [event for event in publisher.events() if event.kind == "joined"]
            assert publisher.statistics.subscribers == 1
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert len(joined) == 1
    assert joined[0].address is not None and lab.address("one", 1, 6) in joined[0].address
    messages = [item for item in items if isinstance(item, pymcast.Message)]
    assert [(message.payload, message.key, message.number) for message in messages] == [(b"keyed", 7, 0)]


def test_sealed_streams_need_the_key(other: lab.Host, port: int, tmp_path: Path) -> None:
    place = f"239.30.0.3%one:{port}"
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.write_text("# prices\n" + pymcast.Keys.new_line())
    theirs.write_text(pymcast.Keys.new_line(2, "chacha20-poly1305"))
    with pymcast.Subscriber(place, keys=mine) as subscriber, pymcast.Subscriber(place, keys=theirs) as wrong:
        publisher = other.run(lambda: pymcast.Publisher(place, keys=str(mine)))
        heard: list[tuple[list[bytes], list[pymcast.StreamEvent]]] = []
        thread = threading.Thread(target=lambda: heard.append(take(subscriber)))
        thread.start()
        assert publisher.wait_for(1, timeout=20)
        with pymcast.Capture("one", filter=port) as capture:
            publisher.publish(b"the secret price")
            while len(packet := capture.next(timeout=20)) < 14 + 20 + 8 + 16:
                pass
            seen = [packet, *(capture.next(timeout=20) for _ in range(2))]
        publisher.close(timeout=20)
        thread.join(timeout=20)
        assert heard[0][0] == [b"the secret price"]
        assert not any(b"secret" in bytes(packet) for packet in seen)
        event = wrong.next(timeout=20)
        assert isinstance(event, pymcast.StreamEvent)
        assert (event.kind, event.epoch) == ("key-missing", 1)
    assert pymcast.Keys(theirs).epoch == 2
    theirs.write_text("1 rot13 00")
    with pytest.raises(ValueError, match="theirs: line 1: the algorithm must be"):
        pymcast.Subscriber(place, keys=theirs)
    with pytest.raises(FileNotFoundError):
        pymcast.Publisher(place, keys=tmp_path / "missing")
    with pytest.raises(ValueError, match="1 to 65535"):
        pymcast.Keys.new_line(0)


def test_a_restarted_publisher_is_followed(other: lab.Host, port: int) -> None:
    place = f"239.30.0.4%one:{port}"
    with pymcast.Subscriber(place, stay=True, name="prices") as subscriber:
        lives: list[Item] = []

        def listen() -> None:
            while sum(isinstance(item, pymcast.Message) for item in lives) < 2:
                item = subscriber.next(timeout=20)
                assert item is not None
                lives.append(item)
            subscriber.close()

        thread = threading.Thread(target=listen)
        thread.start()
        for payload in (b"first life", b"second life"):
            with other.run(lambda: pymcast.Publisher(place, name="prices")) as publisher:
                assert publisher.wait_for(1, timeout=20)
                publisher.publish(payload)
            # Incarnations differ if they start at least a quarter of a second apart.
            deadline = time.monotonic() + 0.3
            while time.monotonic() < deadline:
                thread.join(timeout=0.05)
        thread.join(timeout=20)
    messages = [item for item in lives if isinstance(item, pymcast.Message)]
    assert [(message.number, message.payload) for message in messages] == [
        (0, b"first life"),
        (0, b"second life"),
    ]
    restarted = [item for item in lives if isinstance(item, pymcast.StreamEvent) and item.kind == "restarted"]
    assert len(restarted) == 1


def test_a_late_joiner_starts_from_a_snapshot(other: lab.Host, port: int) -> None:
    place = f"239.30.0.5%one:{port}"
    publisher = other.run(lambda: pymcast.Publisher(place, history=65_536, flow="none"))
    state = 0
    for number in range(100):
        publisher.publish(b"%d" % number)
        state += number
    at, total = publisher.next_message, state
    failing: list[bool] = [True]

    def capture() -> pymcast.Snapshot:
        if failing:
            failing.clear()
            raise RuntimeError("not yet")
        return pymcast.Snapshot(at, b"%d" % total)

    unraisable: list[object] = []
    former, sys.unraisablehook = sys.unraisablehook, lambda args: unraisable.append(args.exc_value)
    try:
        # The server must listen in the other host's network.
        address = other.run(lambda: publisher.serve_snapshots((lab.address("one", 2), 0), capture))
        with pymcast.Subscriber(place, start="snapshot") as subscriber:
            with pytest.raises(ValueError, match="no snapshot is wanted"):
                subscriber.fetch_snapshot(address)
            while True:
                item = subscriber.next(timeout=20)
                assert isinstance(item, pymcast.StreamEvent)
                if item.kind == "snapshot-wanted":
                    break
            with pytest.raises(pymcast.Error):
                subscriber.fetch_snapshot(address)
            snapshot = subscriber.fetch_snapshot(address)
            assert (snapshot.message, int(snapshot.payload)) == (100, total)
            subscriber.resume(snapshot.message)
            publisher.publish(b"1000")
            item = subscriber.next(timeout=20)
            while isinstance(item, pymcast.StreamEvent):
                item = subscriber.next(timeout=20)
            assert item is not None
            assert (item.number, item.payload) == (100, b"1000")
    finally:
        sys.unraisablehook = former
        publisher.close(0)
    assert [str(each) for each in unraisable] == ["not yet"]


def test_waiting_ends_after_the_timeout_and_on_closing(other: lab.Host, port: int) -> None:
    place = f"239.30.0.6%one:{port}"
    subscriber = pymcast.Subscriber(place)
    assert subscriber.try_next() is None
    assert subscriber.stream is None
    with pytest.raises(TimeoutError):
        subscriber.next(timeout=0.01)
    items: list[Item] = []
    thread = threading.Thread(target=lambda: items.extend(subscriber))
    thread.start()
    subscriber.close()
    subscriber.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert items == []
    assert "closed" in repr(subscriber)
    with pytest.raises(pymcast.ClosedError, match="subscriber is closed"):
        subscriber.next(timeout=1)
    with pymcast.Publisher(place, rate=1000, history=65_536) as publisher:
        assert not publisher.wait_for(1, timeout=0.01)
        with pytest.raises(TimeoutError):
            while True:
                publisher.publish(bytes(1000), timeout=0.01)
        assert publisher.try_publish(bytes(1000)) is None
        assert publisher.close(0) is not None


def test_a_subscriber_repairs_for_others(other: lab.Host, port: int) -> None:
    place = f"239.30.0.13%one:{port}"
    with pymcast.Subscriber(place, repair_for_others=8 << 20) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place))
        done: list[tuple[list[bytes], list[pymcast.StreamEvent]]] = []
        thread = threading.Thread(target=lambda: done.append(take(subscriber)))
        thread.start()
        assert publisher.wait_for(1, timeout=20)
        for number in range(100):
            publisher.publish(b"%d" % number)
        publisher.close(timeout=20)
        thread.join(timeout=20)
        assert done[0][0] == [b"%d" % number for number in range(100)]
        counted = subscriber.statistics
        # Nobody has lost anything.
        counts = (counted.local_naks, counted.local_repairs, counted.local_repair_bytes, counted.local_refused)
        assert counts == (0, 0, 0, 0)
        assert (counted.repaired_locally, counted.naks_to_repairers) == (0, 0)


def test_each_message_may_be_sent_at_once_to_a_subscriber_that_polls(other: lab.Host, port: int) -> None:
    place = f"239.30.0.14%one:{port}"

    def publish(max_delay: float | None) -> tuple[int, int]:
        with pymcast.Subscriber(place, spin=0.5) as subscriber:
            publisher = other.run(lambda: pymcast.Publisher(place, max_delay=max_delay, spin=0.001))
            done: list[tuple[list[bytes], list[pymcast.StreamEvent]]] = []
            thread = threading.Thread(target=lambda: done.append(take(subscriber)))
            thread.start()
            assert publisher.wait_for(1, timeout=20)
            for number in range(5000):
                publisher.publish(b"%d" % number)
            publisher.close(timeout=20)
            thread.join(timeout=20)
            assert done[0][0] == [b"%d" % number for number in range(5000)]
            return publisher.statistics.messages, publisher.statistics.datagrams

    assert publish(0) == (5000, 5000)
    # A loop is faster than datagrams are sent: messages share them.
    messages, datagrams = publish(None)
    assert messages == 5000
    assert datagrams < 5000


def test_invalid_settings_are_rejected(other: lab.Host, port: int) -> None:
    place = f"239.30.0.7%one:{port}"
    with pytest.raises(TypeError, match="group and port"):
        pymcast.Subscriber()
    with pytest.raises(ValueError, match="no group was given"):
        pymcast.Publisher()
    with pytest.raises(ValueError, match="use now, oldest, snapshot, the number"):
        pymcast.Subscriber(place, start="then")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="deadline=0.05"):
        pymcast.Subscriber(place, policy="deadline")
    with pytest.raises(ValueError, match="requests no repairs does not repair for others"):
        pymcast.Subscriber(place, policy="best-effort", repair_for_others=65_536)
    with pytest.raises(ValueError, match="at least 65,536 bytes, not 65535"):
        pymcast.Subscriber(place, repair_for_others=65_535)
    with pytest.raises(ValueError, match="a time must be zero or a positive number of seconds"):
        pymcast.Subscriber(place, spin=-1)
    with pytest.raises(ValueError, match="no history is used"):
        pymcast.Subscriber(place, history_servers=(lab.address("one", 2), port))
    with pytest.raises(ValueError, match="evicts none"):
        pymcast.Publisher(place, flow="none", eviction=1.0)
    with pytest.raises(ValueError, match="forward error correction is off"):
        pymcast.Publisher(place, fec_delay=0.05)
    pymcast.Publisher(place, fec=(20, 4), fec_delay=0.05).close()
    for name in ("", "x" * 256):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            pymcast.Publisher(place, name=name)
    with pytest.raises(ValueError, match="slowest, none or one-way"):
        pymcast.Publisher(place, flow="fast")  # type: ignore[arg-type]
    with pytest.raises(pymcast.NoSuchInterfaceError):
        pymcast.Subscriber(f"239.30.0.7%nowhere:{port}")
    with pymcast.Publisher(place, longest_message=1000) as publisher:
        with pytest.raises(pymcast.TooLargeError, match="the limit is 1000"):
            publisher.publish(bytes(1001))
        with pytest.raises(TypeError, match="not text"):
            publisher.publish("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Snapshot"):
            publisher.serve_snapshots(("127.0.0.1", 0), 7)  # type: ignore[arg-type]


INTERRUPTED = """
import faulthandler, pymcast, sys, threading, traceback
faulthandler.dump_traceback_later(60, exit=True)
place = sys.argv[1]
publisher = pymcast.Publisher(place, rate=1000, history=65_536, flow="none")
publisher.publish(b"something")
subscriber = pymcast.Subscriber(place, start="snapshot")
while True:
    item = subscriber.next(timeout=20)
    if isinstance(item, pymcast.StreamEvent) and item.kind == "snapshot-wanted":
        break

def work(main):
    line = sys.stdin.readline()
    names = []
    while not {"<lambda>", "fill"}.intersection(names):
        stack = traceback.walk_stack(sys._current_frames()[main])
        names = [frame.f_code.co_name for frame, _ in stack]
    print("others run", line, end="", flush=True)

def fill():
    while True:
        publisher.publish(bytes(1000))

calls = {
    "loop": lambda: list(subscriber),
    "fetch_snapshot": lambda: subscriber.fetch_snapshot(("127.0.0.1", int(sys.argv[3])), timeout=60),
    "publish": fill,
    "wait_for": lambda: publisher.wait_for(7),
    "close": lambda: publisher.close(timeout=60),
    "announcements": lambda: pymcast.find_stream("nothing", timeout=60),
}
if sys.argv[2] == "close":
    # It never has everything: it does not call.
    forgetful = pymcast.Subscriber(place, start="oldest")
    while not isinstance(forgetful.next(timeout=20), pymcast.Message):
        pass
    for _ in range(60):
        publisher.publish(bytes(1000))
threading.Thread(target=work, args=(threading.get_ident(),)).start()
try:
    print("ready", flush=True)
    calls[sys.argv[2]]()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "call", ["loop", "fetch_snapshot", "publish", "wait_for", "close", "announcements"]
)
def test_ctrl_c_ends_waiting_calls_and_other_threads_run_meanwhile(other: lab.Host, port: int, call: str) -> None:
    with contextlib.ExitStack() as closing, socket.create_server(("127.0.0.1", 0)) as silent:
        arguments = [f"239.30.0.8%one:{port}", call, str(silent.getsockname()[1])]
        with subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            if call == "fetch_snapshot":
                silent.settimeout(20)
                connection, _ = silent.accept()
                closing.enter_context(connection)
            child.stdin.write("meanwhile\n")
            child.stdin.flush()
            assert child.stdout.readline() == "others run meanwhile\n"
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=20)
    assert output == "interrupted\n"


def test_fetching_a_snapshot_keeps_receiving_the_stream(other: lab.Host, port: int) -> None:
    place = f"239.30.0.9%one:{port}"
    publisher = other.run(lambda: pymcast.Publisher(place))
    publisher.publish(b"before")
    repaired: list[bool] = []

    def capture() -> pymcast.Snapshot:
        # Far more than the subscriber's buffer holds: what it lacks it can only ask for while it waits for this.
        at = publisher.next_message
        for number in range(200):
            publisher.publish(b"%d" % number + bytes(1000))
        deadline = time.monotonic() + 8
        while publisher.statistics.naks == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        repaired.append(publisher.statistics.naks > 0)
        return pymcast.Snapshot(at, b"state")

    address = other.run(lambda: publisher.serve_snapshots((lab.address("one", 2), 0), capture))
    with pymcast.Subscriber(place, start="snapshot", receive_buffer=8_192) as subscriber:
        while True:
            item = subscriber.next(timeout=20)
            if isinstance(item, pymcast.StreamEvent) and item.kind == "snapshot-wanted":
                break
        deadline = time.monotonic() + 20
        while not publisher.wait_for(1, timeout=0.01):
            assert subscriber.try_next() is None
            assert time.monotonic() < deadline
        snapshot = subscriber.fetch_snapshot(address)
        assert repaired == [True]
        subscriber.resume(snapshot.message)
        with pytest.raises(ValueError, match="no snapshot is wanted"):
            subscriber.fetch_snapshot(address)
        thread = threading.Thread(target=publisher.close, args=(20,))
        thread.start()
        numbers: list[int] = []
        while (item := subscriber.next(timeout=20)) is not None:
            if isinstance(item, pymcast.Message):
                numbers.append(item.number)
            else:
                # Its small buffer drops most of each round of repairs, which may take more than a second.
                assert item.kind in ("stalled", "ended")
        thread.join(timeout=20)
    assert numbers == list(range(snapshot.message, 201))


def test_closing_ends_fetching_a_snapshot(other: lab.Host, port: int) -> None:
    place = f"239.30.0.10%one:{port}"
    with socket.create_server(("127.0.0.1", 0)) as silent, pymcast.Publisher(place) as publisher:
        publisher.publish(b"something")
        subscriber = pymcast.Subscriber(place, start="snapshot")
        while True:
            item = subscriber.next(timeout=20)
            if isinstance(item, pymcast.StreamEvent) and item.kind == "snapshot-wanted":
                break
        raised: list[BaseException] = []

        def fetch() -> None:
            try:
                subscriber.fetch_snapshot(silent.getsockname(), timeout=60)
            except pymcast.Error as error:
                raised.append(error)

        thread = threading.Thread(target=fetch)
        thread.start()
        silent.settimeout(20)
        connection, _ = silent.accept()
        subscriber.close()
        thread.join(timeout=20)
        assert not thread.is_alive()
        connection.close()
    assert [type(error) for error in raised] == [pymcast.ClosedError]


def test_a_message_is_acknowledged_once_it_is_processed(other: lab.Host, port: int) -> None:
    place = f"239.30.0.1%one:{port}"
    with pymcast.Subscriber(place, subscriber_name="db") as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place, ack=["db"], ack_when="processed"))
        with publisher:
            # Nothing is published before the subscriber is there.
            while (number := publisher.try_publish(b"order")) is None:
                subscriber.try_next()
            message = subscriber.next(timeout=20)
            while not isinstance(message, pymcast.Message):
                message = subscriber.next(timeout=20)
            assert not publisher.wait_acked(number, timeout=0.05)
            subscriber.ack(message)
            while not publisher.wait_acked(number, timeout=0.01):
                subscriber.try_next()
            (watermark,) = publisher.watermarks()
            assert (watermark.name, watermark.presence) == ("db", "present")
            assert (watermark.received, watermark.processed, watermark.missing) == (1, 1, 0)
            closing = publisher.close(timeout=0)
            assert closing is not None
            assert closing.acknowledged is True
    with pytest.raises(ValueError, match="name of a subscriber"):
        pymcast.Publisher(place, ack="a b")


def test_the_rate_follows_the_path_to_the_slowest_subscriber(other: lab.Host, port: int) -> None:
    place = f"239.30.0.9%one:{port}"
    with pymcast.Subscriber(place) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place, rate="auto", evict_below=1_000))
        done: list[tuple[list[bytes], list[pymcast.StreamEvent]]] = []
        thread = threading.Thread(target=lambda: done.append(take(subscriber)))
        thread.start()
        assert publisher.wait_for(1, timeout=20)
        for _ in range(300):
            publisher.publish(bytes(10_000))
        closing = publisher.close(timeout=20)
        thread.join(timeout=20)
        assert len(done[0][0]) == 300
        assert closing is not None and closing.statistics.rate is not None
    with pytest.raises(ValueError, match="rate"):
        pymcast.Publisher(place, rate="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rate"):
        pymcast.Publisher(place, rate=5, evict_below=2)
