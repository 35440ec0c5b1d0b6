"""What happens at the edges: signals, forks, numbers out of range, threads, and what is closed or unclosed."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib.metadata
import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import lab
import pymcast
import pymcast.compat
import pytest
from pymcast import _pymcast, aio, multicast_expert
from pymcast.multicast_expert import McastRxSocket, McastTxSocket

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C, so many seconds from now."""
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def everything(receiver: pymcast.Receiver, last: bytes) -> list[bytes]:
    """All payloads up to this one."""
    payloads: list[bytes] = []
    while not payloads or payloads[-1] != last:
        payloads.append(receiver.recv(timeout=30).payload)
    return payloads[:-1]


def test_the_modules_of_the_package_need_no_import_of_their_own() -> None:
    program = "import pymcast, sys; assert 'asyncio' not in sys.modules; pymcast.aio.Receiver, pymcast.multicast_expert"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'asyncio'"):
        getattr(pymcast, "asyncio")


@pytest.mark.parametrize("keyword", ["iface", "iface_ip", "ifaces"])
def test_the_keywords_of_multicast_expert_are_named_as_they_are_here(keyword: str) -> None:
    keywords: dict[str, typing.Any] = {keyword: "lo"}
    for make in (pymcast.Receiver, pymcast.Sender, aio.Receiver, aio.Sender):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'; write interface=, or use"):
            make("239.40.0.1:7000", **keywords)
    with pytest.raises(TypeError, match="write hop_limit="):
        pymcast.Sender("239.40.0.1:7000", ttl=4)  # type: ignore[call-arg]
    # A receiver has none, so there is nothing to write instead.
    with pytest.raises(TypeError, match="unexpected keyword argument 'ttl'$"):
        pymcast.Receiver("239.40.0.1:7000", ttl=4)  # type: ignore[call-arg]


def test_ctrl_c_ends_the_wait_for_a_rate(other: lab.Host, port: int) -> None:
    with pymcast.Sender(f"239.40.0.1:{port}", interface="one", rate=0.01) as sender:
        sender.send(b"the first leaves at once")
        start = time.monotonic()
        with interrupted_after(0.2), pytest.raises(KeyboardInterrupt):
            sender.send(b"its turn comes in 100 seconds")
        with interrupted_after(0.2), pytest.raises(KeyboardInterrupt) as caught:
            sender.send_batch([b"x"] * 10)
        assert time.monotonic() - start < 20
        assert getattr(caught.value, "sent") == 0
        assert sender.statistics.datagrams == 1


def test_a_writer_sends_nothing_twice_after_ctrl_c(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.40.0.2:{port}", interface="one")) as receiver:
        with pymcast.Sender(f"239.40.0.2:{port}", interface="one", rate=40) as sender:
            writer = sender.writer()
            for number in range(30):
                writer.send(b"%d" % number)
            with interrupted_after(0.2), pytest.raises(KeyboardInterrupt):
                writer.flush()
            assert 0 < writer.pending < 30
            writer.flush()
            assert sender.statistics.datagrams == 30
            sender.send(b"end")
        assert everything(receiver, b"end") == [b"%d" % number for number in range(30)]


def test_a_writer_that_is_interrupted_in_a_with_statement_does_not_wait_for_the_rest(
    other: lab.Host, port: int
) -> None:
    start = time.monotonic()
    with pymcast.Sender(f"239.40.0.3:{port}", interface="one", rate=0.01) as sender:
        with pytest.warns(ResourceWarning, match="never sent"):
            with interrupted_after(0.2), pytest.raises(KeyboardInterrupt), sender.writer() as writer:
                writer.send(b"1")
                writer.send(b"2")
                writer.flush()
            del writer
            gc.collect()
    assert time.monotonic() - start < 20


def test_closing_a_sender_ends_the_wait_for_a_rate(other: lab.Host, port: int) -> None:
    sender = pymcast.Sender(f"239.40.0.4:{port}", interface="one", rate=0.01)
    sender.send(b"x")
    errors: list[BaseException] = []

    def send() -> None:
        try:
            sender.send(b"y")
        except pymcast.Error as error:
            errors.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    sender.close()
    thread.join(30)
    assert [type(error) for error in errors] == [pymcast.ClosedError]


def test_a_cancelled_paced_send_frees_the_thread(other: lab.Host, port: int) -> None:
    async def send() -> int:
        async with aio.Sender(f"239.40.0.5:{port}", interface="one", rate=0.01) as sender:
            await sender.send(b"x")
            for attempt in (lambda: sender.send(b"y"), lambda: sender.send_batch([b"y"] * 9)):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(attempt(), 0.1)
            return sender.statistics.datagrams

    start = time.monotonic()
    assert asyncio.run(send()) == 1
    assert time.monotonic() - start < 20


def in_child(work: Callable[[], object]) -> str:
    """What comes of this in a fork; it may take ten seconds."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        signal.alarm(10)
        try:
            said = repr(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return said if status == 0 else f"ended with {status}: {said}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_publisher_cannot_be_used_after_a_fork(other: lab.Host, port: int) -> None:
    place = f"239.40.0.6%one:{port}"
    with pymcast.Subscriber(place, start="oldest") as subscriber:
        publisher: pymcast.Publisher | None = other.run(lambda: pymcast.Publisher(place))
        assert publisher is not None
        opened = publisher
        opened.publish(b"before")

        assert "a fork" in in_child(lambda: opened.publish(b"child"))
        assert "a fork" in in_child(lambda: opened.statistics)
        assert in_child(lambda: opened.closed) == "True"
        assert in_child(lambda: opened.close(1)) == "None"

        def drop() -> str:
            nonlocal publisher, opened
            publisher = None
            del opened
            gc.collect()
            return "dropped"

        assert in_child(drop) == "'dropped'"

        publisher.publish(b"after")
        threading.Thread(target=publisher.close, args=(10,)).start()
        items = []
        while (item := subscriber.next(timeout=20)) is not None:
            items.append(item)
    payloads = [item.payload for item in items if isinstance(item, pymcast.Message)]
    assert payloads == [b"before", b"after"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_announcements_cannot_be_used_after_a_fork(other: lab.Host) -> None:
    with pymcast.Announcements(interface="one") as announcements:
        assert "a fork" in in_child(lambda: announcements.next(5))
        assert in_child(announcements.close) == "None"
        assert not announcements.closed


def test_statistics_are_available_after_closing(other: lab.Host, port: int) -> None:
    place = f"239.40.0.7%one:{port}"
    with other.run(lambda: pymcast.Receiver(place)) as receiver:
        with pymcast.Sender(place) as sender:
            sender.send(b"x")
        receiver.recv(timeout=30)
    assert (sender.statistics.datagrams, receiver.statistics.received) == (1, 1)
    publisher = other.run(lambda: pymcast.Publisher(place))
    publisher.publish(b"y")
    with pymcast.Subscriber(place, start="oldest") as subscriber:
        while not isinstance(subscriber.next(timeout=30), pymcast.Message):
            pass
    publisher.close(0)
    assert (publisher.statistics.messages, subscriber.statistics.messages) == (1, 1)
    counted = (sender.statistics, receiver.statistics, publisher.statistics, subscriber.statistics)
    for statistics in counted:
        assert pickle.loads(pickle.dumps(statistics)) == statistics


@pytest.mark.parametrize(
    "of",
    [
        pymcast.Statistics,
        pymcast.SendStatistics,
        pymcast.PublisherStatistics,
        pymcast.SubscriberStatistics,
    ],
)
def test_each_statistic_is_a_documented_attribute(of: type) -> None:
    names = [name for name, value in vars(of).items() if isinstance(value, property)]
    assert names == list(of.__annotations__) and len(names) >= 4
    assert all(getattr(of, name).__doc__ for name in names)


def test_statistics_cannot_be_changed_or_restored_with_other_attributes(other: lab.Host, port: int) -> None:
    with pymcast.Sender(f"239.40.0.7%one:{port}") as sender:
        statistics = sender.statistics
    with pytest.raises(AttributeError):
        statistics.datagrams = 7  # type: ignore[misc]
    values: dict[str, int | str | None] = {"datagrams": 7}
    for name in ("SendStatistics", "Sender"):
        with pytest.raises(ValueError, match=f"not a pickled pymcast.{name}"):
            _pymcast._statistics(name, values)


def test_with_reopens_and_open_fails_if_already_open(other: lab.Host, port: int) -> None:
    place = f"239.40.0.8:{port}"
    receiver = pymcast.Receiver(place, interface="one")
    sender = pymcast.Sender(place, interface="one")
    for each in (receiver, sender):
        with pytest.raises(pymcast.AlreadyOpenError, match="already open"):
            each.open()
        each.close()
    with receiver, sender:
        sender.send(b"again")
        assert receiver.recv(timeout=30).payload == b"again"


@pytest.mark.parametrize("kind", [pymcast.Receiver, pymcast.Sender, pymcast.Publisher, pymcast.Subscriber])
def test_unclosed_objects_warn(other: lab.Host, port: int, kind: Callable[..., object]) -> None:
    made = kind(f"239.40.0.9:{port}", interface="one")
    with pytest.warns(ResourceWarning, match=f"unclosed <{type(made).__name__}"):
        del made
        gc.collect()


@pytest.mark.parametrize("end", ["dropped", "with"])
def test_what_a_publisher_accepted_and_never_sent_warns(other: lab.Host, port: int, end: str) -> None:
    publisher = pymcast.Publisher(f"239.40.0.17:{port}", interface="one", rate=10_000, flow="none")
    for _ in range(200):
        publisher.publish(bytes(1000))
    with pytest.warns(RuntimeWarning, match="datagrams of accepted messages were never sent"):
        if end == "with":
            with publisher:
                pass
        del publisher
        gc.collect()


def test_a_publisher_that_ends_before_a_subscriber_has_everything_warns(other: lab.Host, port: int) -> None:
    place = f"239.40.0.18%one:{port}"
    subscriber = pymcast.Subscriber(place, start="oldest")
    publisher = pymcast.Publisher(place)
    publisher.publish(b"read")
    deadline = time.monotonic() + 30
    while not publisher.wait_for(1, timeout=0.01):
        assert time.monotonic() < deadline
        subscriber.try_next()
    publisher.publish(b"never read")
    with pytest.warns(RuntimeWarning, match="1 subscriber may not have everything"), publisher:
        pass


def test_unread_datagrams_of_a_reader_warn(other: lab.Host, port: int) -> None:
    place = f"239.40.0.10:{port}"
    with pymcast.Receiver(place, interface="one") as receiver, pymcast.Sender(place, interface="one") as sender:
        sender.send_batch([b"1", b"2", b"3"])
        reader = receiver.reader()
        reader.next(timeout=30)
        if len(reader.pending) == 0:
            pytest.skip("they came one by one")
        assert "datagrams" in repr(reader)
        with pytest.warns(ResourceWarning, match="never read"):
            del reader
            gc.collect()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pymcast.Receiver(("239.255.1.3", 70_000)), "a port is a number from 0 to 65535, not 70000"),
        (lambda: pymcast.Receiver(("239.255.1.3", -1)), "a port is a number from 0 to 65535, not -1"),
        (lambda: pymcast.Membership("239.255.1.3", 70_000), "a port is a number from 0 to 65535, not 70000"),
        (lambda: pymcast.Sender("239.255.1.3:1", hop_limit=256), "a hop limit is a number from 0 to 255, not 256"),
        (lambda: pymcast.Sender("239.255.1.3:1", traffic_class=256), "a traffic class is a number from 0 to 255"),
        (lambda: pymcast.Sender("239.255.1.3:1", source_port=-1), "a port is a number from 0 to 65535, not -1"),
        (lambda: pymcast.Sender("239.255.1.3:1", send_buffer=-1), "a number of bytes is a number from 0"),
        (lambda: pymcast.Publisher("239.255.1.3:1", rate=-1), "a rate in bytes per second is a number from 0"),
        (lambda: pymcast.Snapshot(-1, b""), "a message's number is a number from 0"),
    ],
)
def test_errors_name_numbers_that_are_out_of_range(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_port_that_is_not_a_number_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a port is a whole number, not <class 'str'>"):
        pymcast.Receiver(("239.255.1.3", "7000"))  # type: ignore[arg-type]


def test_pairs_and_destinations_may_name_a_zone(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(("ff02::4001%one", port)) as receiver:
        with other.run(lambda: pymcast.Sender(("ff02::4001%one", port))) as sender:
            sender.send(b"pair")
        with other.run(pymcast.Sender) as sender:
            sender.send(b"text", to=f"[ff02::4001%one]:{port}")
            sender.send(b"to", to=("ff02::4001%one", port))
            sender.send_batch([pymcast.Outgoing(b"end", to=f"[ff02::4001%one]:{port}")])
        assert everything(receiver, b"end") == [b"pair", b"text", b"to"]
    assert pymcast.Membership("ff02::4001%one", port).interface == "one"


def test_a_link_local_source_has_its_scope(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(("ff02::4002%one", port)) as receiver:
        with other.run(lambda: pymcast.Sender(("ff02::4002%one", port))) as sender:
            sender.send(b"x")
            datagram = receiver.recv(timeout=30)
            assert str(datagram.source).endswith("%one")
            receiver.reply(datagram, b"y")
            assert str(sender.recv_answer(30).source).endswith("%one")


def test_values_can_be_pickled_and_copied(other: lab.Host, port: int, tmp_path: Path) -> None:
    with pymcast.Receiver(f"[ff02::4003%one]:{port}", f"239.40.0.11%one:{port}") as receiver:
        with other.run(lambda: pymcast.Sender(f"[ff02::4003%one]:{port}", f"239.40.0.11%one:{port}")) as sender:
            sender.send(b"payload")
        datagrams = [receiver.recv(timeout=30) for _ in range(2)]
        statistics = receiver.statistics
    fields = "payload group port interface source address hop_limit traffic_class time_ns lost length truncated"
    for datagram in datagrams:
        for twin in (pickle.loads(pickle.dumps(datagram)), copy.copy(datagram)):
            for field in fields.split():
                assert getattr(twin, field) == getattr(datagram, field), field
    assert pickle.loads(pickle.dumps(statistics)) == statistics == copy.deepcopy(statistics)
    interfaces = pymcast.interfaces()
    assert pickle.loads(pickle.dumps(interfaces)) == interfaces
    explained = pymcast.explain("239.255.255.250")
    assert pickle.loads(pickle.dumps(explained)) == explained

    with pymcast.capture("one", filter="multicast") as capture, pymcast.Sender(f"239.40.0.11%one:{port}") as sender:
        sender.send(b"seen")
        packet = next(each for each in capture if each.payload == b"seen")
    twin = pickle.loads(pickle.dumps(packet))
    for field in "bytes link_type interface interface_index direction time_ns original_length cut".split():
        assert getattr(twin, field) == getattr(packet, field), field
    assert str(twin) == str(packet)


def test_an_aio_receiver_moves_to_the_next_event_loop(other: lab.Host, port: int) -> None:
    place = f"239.40.0.19%one:{port}"
    with pymcast.Sender(place) as sender:
        receiver = aio.Receiver(place)

        async def one() -> bytes:
            waiting = asyncio.ensure_future(receiver.recv())
            await asyncio.sleep(0.01)
            sender.send(b"hello")
            return (await asyncio.wait_for(waiting, 30)).payload

        async def cancelled() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receiver.recv(), 0.01)

        assert asyncio.run(one()) == b"hello"
        asyncio.run(cancelled())
        assert asyncio.run(one()) == b"hello"

        async def while_another_loop_waits() -> None:
            waiting = asyncio.ensure_future(receiver.recv())
            await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, receiver.recv())
            waiting.cancel()

        asyncio.run(while_another_loop_waits())
        receiver.close()


def test_a_missing_capture_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        pymcast.CaptureFile(tmp_path / "missing.pcap")
    assert isinstance(caught.value, pymcast.CaptureFileError)


def test_publishing_to_a_full_buffer_times_out(other: lab.Host, port: int) -> None:
    with pymcast.Publisher(f"239.40.0.12%one:{port}", rate=1_000, history=65_536) as publisher:
        with pytest.raises(TimeoutError, match="could not be queued"):
            for _ in range(10_000):
                publisher.publish(bytes(1_000), timeout=0)
        publisher.close(0)


def test_a_following_receiver_reports_a_missing_interface(other: lab.Host, port: int) -> None:
    lab.ip("link add gone type veth peer name gone2")
    lab.ip("link set gone up")
    lab.ip("link set gone2 up")
    with pymcast.Receiver(f"239.40.0.13%gone:{port}", follow=True) as receiver:
        assert receiver.memberships[0].joined == ["gone"]
        lab.ip("link del gone")
        assert receiver.memberships[0].joined == []


@pytest.mark.parametrize(("family", "groups"), [(V4, ["239.40.1.1"]), (V6, ["ff05::4001", "ff05::4002"])])
def test_threads_may_share_a_socket_of_the_drop_in(
    other: lab.Host, port: int, family: int, groups: list[str]
) -> None:
    count = 2_000
    got: list[bytes] = []
    errors: list[BaseException] = []
    with McastRxSocket(family, groups, port, iface="one", timeout=0.02) as receiver:

        def receive() -> None:
            try:
                while len(got) < count and time.monotonic() < deadline:
                    payload = receiver.recv()
                    if payload is not None:
                        got.append(payload)
            except BaseException as error:
                errors.append(error)

        deadline = time.monotonic() + 30
        threads = [threading.Thread(target=receive) for _ in range(4)]
        for thread in threads:
            thread.start()

        def send() -> None:
            with McastTxSocket(family, groups, iface="one") as sender:
                for number in range(count):
                    # The receive buffers take this many while the threads wait for the processor.
                    while number - len(got) >= 64 and time.monotonic() < deadline:
                        time.sleep(0.0005)
                    sender.sendto(b"%d" % number, (groups[number % len(groups)], port))

        other.run(send)
        for thread in threads:
            thread.join()
    assert errors == []
    assert sorted(got, key=int) == [b"%d" % number for number in range(count)]


def test_the_drop_in_calls_patched_functions_of_an_installed_netifaces() -> None:
    installed = ModuleType("netifaces")
    # As the native functions of the real one.
    setattr(installed, "interfaces", len)
    setattr(installed, "ifaddresses", len)
    with mock.patch.dict(sys.modules, {"netifaces": installed}):
        assert "lo" in [each.machine_name for each in multicast_expert.scan_interfaces()]
        addresses = {V4: [{"addr": "10.9.9.9", "netmask": "255.255.255.0"}]}
        with (
            mock.patch.object(installed, "interfaces", lambda: ["lo"]),
            mock.patch.object(installed, "ifaddresses", lambda name: addresses),
        ):
            (only,) = multicast_expert.scan_interfaces()
    assert (only.machine_name, [str(each) for each in only.ip4_addrs]) == ("lo", ["10.9.9.9/24"])


def test_wrong_keys_of_the_same_epoch_are_an_event(other: lab.Host, port: int) -> None:
    place = f"239.40.0.16%one:{port}"
    ours, theirs = (pymcast.Keys.from_text(pymcast.Keys.new_line()) for _ in range(2))
    with pymcast.Subscriber(place, start="oldest", keys=ours) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place, keys=theirs))
        publisher.publish(b"sealed")
        item = subscriber.next(timeout=30)
        publisher.close(0)
    assert isinstance(item, pymcast.StreamEvent)
    assert (item.kind, item.epoch) == ("key-wrong", 1)


def test_aio_publishes_queued_messages(other: lab.Host, port: int) -> None:
    place = f"239.40.0.14%one:{port}"

    async def publish() -> list[bytes]:
        publisher = other.run(lambda: aio.Publisher(place))
        async with publisher, aio.Subscriber(place, start="oldest") as subscriber:
            for number in range(500):
                await publisher.publish(b"%d" % number)
            publisher.flush()
            assert publisher.try_publish(b"end") == 500
            payloads = []
            async for item in subscriber:
                if isinstance(item, pymcast.Message):
                    payloads.append(item.payload)
                    if item.payload == b"end":
                        return payloads
        return []

    assert asyncio.run(publish()) == [*(b"%d" % number for number in range(500)), b"end"]


def test_other_tasks_run_within_a_batch(other: lab.Host, port: int) -> None:
    place = f"239.40.0.15:{port}"
    count = 2_000

    async def receive() -> int:
        receiver = other.run(lambda: aio.Receiver(place, interface="one", receive_buffer=16 << 20))
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with receiver:
            with pymcast.Sender(place, interface="one") as sender:
                sender.send_batch([b"x" * 8] * count)
            await receiver.recv()
            ticker = asyncio.create_task(take_turns())
            await asyncio.sleep(0)
            before = turns
            for _ in range(count - 1):
                await asyncio.wait_for(receiver.recv(), 30)
            ticker.cancel()
            return turns - before

    assert asyncio.run(receive()) >= 10


def test_cancelling_a_search_does_not_hold_the_loop(other: lab.Host) -> None:
    async def search() -> float:
        task = asyncio.create_task(aio.find_stream("nobody has this name", 30, interface="one"))
        await asyncio.sleep(0.3)
        task.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - start

    assert min(asyncio.run(search()) for _ in range(3)) < 0.05


def test_type_hints_can_be_resolved() -> None:
    for kind in (aio.Receiver, aio.Sender, aio.Publisher, aio.Subscriber, aio.Capture, pymcast.Writer):
        for _, method in inspect.getmembers(kind, inspect.isfunction):
            typing.get_type_hints(method)
    for function in (aio.find_stream, aio.find_streams, aio.doctor, pymcast.capture, pymcast.find_stream):
        typing.get_type_hints(function)


def test_the_stub_has_the_docstrings_of_the_module() -> None:
    script = Path(__file__).parent.parent / "stubs.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_package_has_metadata_but_no_build_paths() -> None:
    metadata = importlib.metadata.metadata("pymcast")
    urls = {text.partition(",")[0] for text in metadata.get_all("Project-URL") or []}
    assert urls >= {"Documentation", "Repository", "Issues", "Changelog"}
    classifiers = metadata.get_all("Classifier") or []
    assert "Programming Language :: Python :: 3.10" in classifiers
    assert not [each for each in classifiers if "Free Threading" in each]
    for file in importlib.metadata.files("pymcast") or []:
        if "sboms" in file.parts:
            bill = json.loads(file.read_text())
            assert "serialNumber" not in bill and "timestamp" not in bill["metadata"]
            assert "path+file" not in file.read_text()


def test_importing_does_not_warn() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(each.message) for each in caught] == []
