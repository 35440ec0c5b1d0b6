"""Streams by name."""

from __future__ import annotations

import threading

import lab
import pymcast
import pytest


def test_a_stream_is_found_by_name_and_received(other: lab.Host, port: int) -> None:
    place = f"239.31.0.1%one:{port}"
    with other.run(lambda: pymcast.Publisher(place, name="prices", rate=1_000_000)) as publisher:
        found = pymcast.find_stream("prices", timeout=20)
        assert (found.name, found.stream, found.sealed) == ("prices", publisher.stream, False)
        assert (found.rate, found.snapshot) == (1_000_000, None)
        assert found.source[0] == lab.address("one", 2)
        assert [str(each.group) for each in found.memberships] == ["239.31.0.1"]
        assert "prices" in repr(found)
        with pymcast.Subscriber(found, start="oldest") as subscriber:
            publisher.publish(b"apples 5")
            items = [subscriber.next(timeout=20) for _ in range(2)]
            assert isinstance(items[1], pymcast.Message)
            assert items[1].payload == b"apples 5"
            with pytest.raises(ValueError, match="no snapshot is wanted"):
                subscriber.fetch_snapshot()
        with pytest.raises(ValueError, match="omit the other arguments"):
            pymcast.Subscriber(found, place)


def test_each_stream_is_listed_once_and_sealed_streams_need_keys(other: lab.Host, port: int) -> None:
    keys = pymcast.Keys.from_text(pymcast.Keys.new_line())
    names = ["apples", "pears"]
    publishers = [
        other.run(lambda name=name: pymcast.Publisher(f"239.31.0.2%one:{port}", name=name))  # type: ignore[misc]
        for name in names
    ]
    publishers.append(other.run(lambda: pymcast.Publisher(f"239.31.0.2%one:{port}", name="sealed", keys=keys)))
    try:
        assert [found.name for found in pymcast.find_streams(timeout=5, interface="one")] == names
        assert [found.name for found in pymcast.find_streams(timeout=5, keys=keys)] == ["sealed"]
        assert pymcast.find_streams(timeout=1.2, family=6) == []
    finally:
        for publisher in publishers:
            publisher.close(0)


def test_finding_an_unannounced_stream_times_out(other: lab.Host) -> None:
    with pytest.raises(TimeoutError, match="no announcement of a stream 'nothing'"):
        pymcast.find_stream("nothing", timeout=0.1, interface="one")
    with pytest.raises(ValueError, match="use 4 or 6"):
        pymcast.Announcements(family=5)  # type: ignore[arg-type]
    with pytest.raises(pymcast.NoSuchInterfaceError):
        pymcast.Announcements(interface="nowhere")


def test_closing_announcements_ends_loops(other: lab.Host) -> None:
    announcements = pymcast.Announcements(interface="one")
    heard: list[pymcast.FoundStream] = []
    thread = threading.Thread(target=lambda: heard.extend(announcements))
    thread.start()
    announcements.close()
    announcements.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert announcements.closed
    with pytest.raises(pymcast.ClosedError):
        announcements.next(timeout=1)


def test_a_late_joiner_fetches_the_announced_snapshot(other: lab.Host, port: int) -> None:
    place = f"239.31.0.3%one:{port}"
    with other.run(lambda: pymcast.Publisher(place, name="states", flow="none")) as publisher:
        for number in range(10):
            publisher.publish(b"%d" % number)
        found = pymcast.find_stream("states", timeout=20)
        # It is announced from the next time on.
        other.run(
            lambda: publisher.serve_snapshots(
                (lab.address("one", 2), 0), lambda: pymcast.Snapshot(publisher.next_message, b"state")
            )
        )
        with pymcast.Subscriber(found, start="snapshot") as subscriber:
            item = subscriber.next(timeout=20)
            while not (isinstance(item, pymcast.StreamEvent) and item.kind == "snapshot-wanted"):
                item = subscriber.next(timeout=20)
            snapshot = subscriber.fetch_snapshot(timeout=20)
            assert (snapshot.message, snapshot.payload) == (10, b"state")
            subscriber.resume(snapshot.message)
            publisher.publish(b"behind it")
            item = subscriber.next(timeout=20)
            while isinstance(item, pymcast.StreamEvent):
                item = subscriber.next(timeout=20)
            assert item is not None
            assert (item.number, item.payload) == (10, b"behind it")


def test_on_loss_stop_ends_the_stream(other: lab.Host, port: int) -> None:
    place = f"239.31.0.4%one:{port}"
    with pymcast.Subscriber(place, on_loss="stop", receive_buffer=8_192) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place, history=32_768, flow="none"))
        assert isinstance(subscriber.next(timeout=20), pymcast.StreamEvent)
        # It does not call while far more is sent than any buffer keeps.
        for number in range(5_000):
            publisher.publish(b"%d" % number + bytes(1_000))
        items: list[pymcast.Message | pymcast.StreamEvent] = []
        while (item := subscriber.next(timeout=20)) is not None:
            items.append(item)
        publisher.close(0)
        assert subscriber.ended
        assert subscriber.next(timeout=20) is None
    *messages, lost = items
    assert isinstance(lost, pymcast.StreamEvent)
    assert (lost.kind, lost.cause) == ("lost", "unrecoverable")
    numbers = [item.number for item in messages if isinstance(item, pymcast.Message)]
    assert numbers == list(range(len(messages)))
    assert lost.message == len(messages)
    with pytest.raises(ValueError, match='requires policy="reliable"'):
        pymcast.Subscriber(place, policy="latest", on_loss="stop")
    with pytest.raises(ValueError, match="use continue, snapshot or stop"):
        pymcast.Subscriber(place, on_loss="cry")  # type: ignore[arg-type]
