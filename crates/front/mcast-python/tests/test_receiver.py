"""Receivers: exactly what was joined, and how it came."""

from __future__ import annotations

import gc
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from ipaddress import ip_address

import lab
import pymcast
import pytest

FAMILIES = [pytest.param("239.255.1.3", id="IPv4"), pytest.param("ff15::123", id="IPv6")]


def place(group: str, port: int) -> str:
    return f"[{group}]:{port}" if ":" in group else f"{group}:{port}"


@pytest.mark.parametrize("group", FAMILIES)
def test_a_datagram_has_its_metadata(other: lab.Host, port: int, group: str) -> None:
    with pymcast.Receiver((group, port), interface="one") as receiver:
        sender = other.run(
            lambda: pymcast.Sender((group, port), interface="one", hop_limit=7, traffic_class=0xB8)
        )
        before = time.time()
        sender.send(b"hello")
        datagram = receiver.recv(timeout=30)

    family = 6 if ":" in group else 4
    assert datagram.payload == bytes(datagram) == b"hello"
    assert datagram.group == pymcast.Group(group)
    assert datagram.port == port
    assert datagram.interface == "one"
    assert datagram.interface_index == pymcast.find_interface("one").index
    assert datagram.source == ip_address(lab.address("one", 2, family))
    assert datagram.source_port > 0
    assert datagram.address[:2] == (lab.address("one", 2, family), datagram.source_port)
    assert (datagram.hop_limit, datagram.dscp, datagram.traffic_class) == (7, 46, 0xB8)
    assert datagram.time is not None
    assert before - 1 < datagram.time < before + 5
    assert datagram.time_ns is not None
    assert abs(datagram.time_ns / 1e9 - datagram.time) < 1e-3
    assert (datagram.length, len(datagram), datagram.truncated, datagram.lost) == (5, 5, False, 0)


def test_the_length_that_a_socket_takes_is_not_a_timeout(port: int) -> None:
    with pymcast.Receiver(("239.255.1.3", port), interface="one") as receiver:
        for call in (receiver.recv, receiver.recv_batch):
            with pytest.raises(TypeError, match="positional"):
                call(0)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="positional"):
            receiver.recv_into(bytearray(4), 0)  # type: ignore[call-arg]


@pytest.mark.parametrize("group", FAMILIES)
def test_other_groups_other_interfaces_and_unicast_are_not_received(other: lab.Host, port: int, group: str) -> None:
    family = 6 if ":" in group else 4
    wrong_group = group[:-1] + "9"
    with (
        pymcast.Receiver((group, port), interface="one") as receiver,
        pymcast.Receiver((wrong_group, port), (group, port), interface="two") as elsewhere,
    ):
        # It has a socket of this family for all groups, there.
        sender = other.run(lambda: pymcast.Sender((group, port), interface="one"))
        unicast = other.run(
            lambda: socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        )
        with unicast, sender:
            unicast.sendto(b"unicast", (lab.address("one", 1, family), port))
            one = other.run(lambda: pymcast.find_interface("one"))
            two = other.run(lambda: pymcast.find_interface("two"))
            sender.send(b"other group", to=(wrong_group, port), interface=one)
            sender.send(b"other interface", to=(group, port), interface=two)
            assert elsewhere.recv(timeout=30).payload == b"other interface"
            sender.send(b"right", to=(group, port), interface=one)

            assert receiver.recv(timeout=30).payload == b"right"
        assert receiver.try_recv() is None
        assert elsewhere.try_recv() is None


def test_only_admitted_sources_are_received(other: lab.Host, port: int) -> None:
    stranger = "10.1.1.77"
    other.run(lambda: lab.ip(f"addr add {stranger}/24 dev one"))
    try:
        group = f"232.1.2.3:{port}"
        with pymcast.Receiver(f"{lab.address('one', 2)}@232.1.2.3%one:{port}") as receiver:
            wrong = other.run(lambda: pymcast.Sender(group, interface="one", source_address=stranger))
            right = other.run(lambda: pymcast.Sender(group, interface="one"))
            wrong.send(b"wrong")
            right.send(b"right")
            assert receiver.recv(timeout=30).payload == b"right"

            receiver.set_sources(f"{lab.address('one', 2)}@232.1.2.3%one:{port}", [stranger])
            right.send(b"no longer")
            wrong.send(b"now")
            assert receiver.recv(timeout=30).payload == b"now"
            assert str(receiver.memberships[0].membership) == f"{stranger}@232.1.2.3%one:{port}"
    finally:
        other.run(lambda: lab.ip(f"addr del {stranger}/24 dev one"))


def test_joins_and_leaves_while_open(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.1.0.1:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.1.0.1:{port}", interface="one"))
        receiver.join(f"239.1.0.2:{port}")
        sender.send(b"second", to=f"239.1.0.2:{port}")
        assert receiver.recv(timeout=30).group == pymcast.Group("239.1.0.2")

        receiver.leave(f"239.1.0.2:{port}")
        sender.send(b"left", to=f"239.1.0.2:{port}")
        sender.send(b"first", to=f"239.1.0.1:{port}")
        assert receiver.recv(timeout=30).payload == b"first"
        with pytest.raises(pymcast.NotJoinedError) as caught:
            receiver.leave(f"239.1.0.2:{port}")
        assert caught.value.group == f"239.1.0.2:{port}"
        assert caught.value.remedy is not None


def test_joins_on_all_interfaces_by_default(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.4:{port}") as receiver:
        (status,) = receiver.memberships
        assert status.joined == ["one", "two"]
        assert (status.failed, status.waiting) == ({}, None)
        assert str(status) == f"239.255.1.4:{port}: joined on one, two"
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.4:{port}", interface=["one", "two"]))
        sender.send(b"both")
        assert {receiver.recv(timeout=30).interface for _ in range(2)} == {"one", "two"}


def test_more_groups_than_a_socket_can_join_are_received(other: lab.Host, port: int) -> None:
    groups = [f"239.2.{number // 250}.{number % 250 + 1}" for number in range(300)]
    with pymcast.Receiver(*((group, port) for group in groups), interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender((groups[0], port), interface="one"))
        sent = [pymcast.Outgoing(group.encode(), to=(group, port)) for group in groups]
        assert sender.send_batch(sent) == 300
        heard: list[bytes] = []
        while len(heard) < 300:
            heard += [datagram.payload for datagram in receiver.recv_batch(timeout=30)]
        assert sorted(heard) == sorted(group.encode() for group in groups)


def test_a_datagram_longer_than_the_buffer_is_truncated(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.5:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.5:{port}", interface="one"))
        buffer = bytearray(b"........")
        sender.send(b"0123456789")
        assert receiver.recv_into(buffer, timeout=30) == 8
        assert buffer == b"01234567"
        assert receiver.statistics.truncated == 1


@pytest.mark.parametrize("kind", [bytearray, lambda size: memoryview(bytearray(size))], ids=["bytearray", "memoryview"])
def test_receives_into_a_buffer(other: lab.Host, port: int, kind: type[bytearray]) -> None:
    with pymcast.Receiver(f"239.255.1.6:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.6:{port}", interface="one"))
        buffer = kind(100)
        for payload in (b"longer", b"", b"abc"):
            sender.send(payload)
            assert receiver.recv_into(buffer, timeout=30) == len(payload)
            assert bytes(buffer[: len(payload)]) == payload
        with pytest.raises(TypeError):
            receiver.recv_into(b"can't be written", timeout=30)  # type: ignore[arg-type, unused-ignore]


def test_batches_hold_the_available_datagrams_in_order(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.7:{port}", interface="one") as receiver:
        assert receiver.try_recv_batch() == []
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.7:{port}", interface="one"))
        payloads = [number.to_bytes(4, "big") for number in range(1000)]
        assert sender.send_batch(payloads) == 1000
        heard: list[pymcast.Datagram] = []
        while len(heard) < 1000:
            heard += receiver.recv_batch(timeout=30)
        assert [datagram.payload for datagram in heard] == payloads
        assert receiver.statistics.received == 1000
        assert receiver.statistics.dropped == 0


def test_a_reader_reads_from_batches_and_keeps_the_rest(other: lab.Host, port: int) -> None:
    receiver = pymcast.Receiver(f"239.255.1.18:{port}", interface="one")
    sender = other.run(lambda: pymcast.Sender(f"239.255.1.18:{port}", interface="one"))
    payloads = [b"%d" % number for number in range(100)]
    sender.send_batch(payloads)
    reader = receiver.reader()
    heard: list[bytes] = []
    for datagram in reader:
        heard.append(datagram.payload)
        if len(heard) == 3:
            break
    assert [datagram.payload for datagram in reader.pending][:2] == payloads[3:5]
    heard += [reader.next(timeout=30).payload for _ in range(97)]
    assert heard == payloads
    with pytest.raises(TimeoutError):
        reader.next(timeout=0.01)
    receiver.close()
    assert list(reader) == []
    with pytest.raises(pymcast.ClosedError):
        reader.next()


def test_an_empty_datagram_is_a_datagram(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.8:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.8:{port}", interface="one"))
        sender.send(b"")
        datagram = receiver.recv(timeout=30)
        assert datagram
        assert datagram.payload == b""


def test_a_timeout_raises_timeout_error(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.9:{port}", interface="one") as receiver:
        started = time.monotonic()
        for receive in (receiver.recv, receiver.recv_batch):
            with pytest.raises(TimeoutError):
                receive(timeout=0.05)
        with pytest.raises(TimeoutError):
            receiver.recv_into(bytearray(10), timeout=0)
        assert not receiver.wait(timeout=0.05)
        assert 0.15 <= time.monotonic() - started < 5
        for timeout in (-1, float("nan")):
            with pytest.raises(ValueError, match="timeout"):
                receiver.recv(timeout=timeout)
        assert receiver.try_recv() is None


def test_closing_ends_waiting_calls(other: lab.Host, port: int) -> None:
    receiver = pymcast.Receiver(f"239.255.1.10:{port}", interface="one")
    ended: list[str] = []

    def receive() -> None:
        try:
            receiver.recv()
        except pymcast.ClosedError as error:
            ended.append(str(error))

    def iterate() -> None:
        for _ in receiver:
            pass
        ended.append("loop")

    threads = [threading.Thread(target=work) for work in (receive, receive, iterate)]
    for thread in threads:
        thread.start()
    receiver.wait(timeout=0.1)
    receiver.close()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()

    assert sorted(ended) == ["loop", *["the receiver is closed; remedy: reopen it with open()"] * 2]
    assert receiver.closed
    receiver.close()
    with pytest.raises(pymcast.ClosedError):
        receiver.recv()


def test_reopens(other: lab.Host, port: int) -> None:
    receiver = pymcast.Receiver(f"239.255.1.11:{port}", interface="one")
    with pytest.raises(ValueError, match="open"):
        receiver.open()
    receiver.close()
    receiver.open()
    with receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.11:{port}", interface="one"))
        sender.send(b"again")
        assert receiver.recv(timeout=30).payload == b"again"
    assert receiver.closed


def test_has_one_descriptor(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.12:{port}", f"[ff15::12]:{port}", interface="one") as receiver:
        assert select.select([receiver], [], [], 0)[0] == []
        sender = other.run(lambda: pymcast.Sender(f"[ff15::12]:{port}", interface="one"))
        sender.send(b"x")
        assert select.select([receiver], [], [], 5)[0] == [receiver]
        assert receiver.try_recv() is not None
        assert select.select([receiver], [], [], 0)[0] == []


def test_replies_reach_the_sender(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.13:{port}", interface="two") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.13:{port}", interface="two"))
        sender.send(b"who is there?")
        receiver.reply(receiver.recv(timeout=30), b"me")
        answer = sender.recv_answer(timeout=30)
        assert (answer.payload, str(answer.source), answer.source_port) == (
            b"me",
            lab.address("two", 1),
            port,
        )
        with pytest.raises(TimeoutError):
            sender.recv_answer(timeout=0.01)


def test_waiting_releases_the_gil(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.14:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.255.1.14:{port}", interface="one"))
        heard: list[bytes] = []
        thread = threading.Thread(target=lambda: heard.append(receiver.recv(timeout=30).payload))
        thread.start()
        # This thread could not run if the other kept the lock.
        deadline = time.monotonic() + 0.05
        turns = 0
        while time.monotonic() < deadline:
            turns += 1
        assert turns > 1000
        sender.send(b"done")
        thread.join(timeout=30)
        assert heard == [b"done"]


@pytest.mark.parametrize("waiting", ["receiver.recv()", "receiver.recv_batch()", "next(receiver)", "receiver.wait()"])
def test_ctrl_c_ends_a_wait_immediately(other: lab.Host, port: int, waiting: str) -> None:
    program = f"""
import pymcast
receiver = pymcast.Receiver("239.255.1.15:{port}", interface="one")
print("ready", flush=True)
try:
    {waiting}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        wait_until_asleep(child.pid)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        assert time.monotonic() - sent < 0.4
        assert child.wait(timeout=30) == 0


def wait_until_asleep(process: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] == "S":
                return
        time.sleep(0.001)
    pytest.fail("the program does not wait")


@pytest.mark.parametrize(
    ("memberships", "kind", "about"),
    [
        (["239.255.1.3%nowhere:5000"], pymcast.NoSuchInterfaceError, "nowhere"),
        (["232.1.2.3:5000"], pymcast.SourceNeededError, "232.1.2.3"),
        (["239.255.1.3:0"], pymcast.ParseError, "port 0"),
        ([("239.255.1.3", 0)], pymcast.MismatchError, "port 0"),
        (["10.0.0.1:5000"], pymcast.ParseError, "10.0.0.1"),
        (["239.255.1.3"], pymcast.ParseError, "239.255.1.3"),
        ([("239.255.1.3", 70000)], ValueError, "a port is a number from 0 to 65535"),
        ([5000], TypeError, "int"),
    ],
)
def test_join_errors_name_the_reason(
    other: lab.Host, memberships: list[str], kind: type[Exception], about: str
) -> None:
    with pytest.raises(kind, match=about):
        pymcast.Receiver(*memberships)


def test_errors_are_os_errors_with_a_remedy(other: lab.Host) -> None:
    with pytest.raises(OSError, match="remedy") as caught:
        pymcast.Receiver("239.255.1.3%nowhere:5000")
    error = caught.value
    assert isinstance(error, pymcast.Error)
    assert (error.kind, error.operation, error.interface) == ("NoSuchInterface", "join", "nowhere")
    assert error.remedy is not None
    assert error.remedy in str(error)


def test_follows_an_interface_that_appears_later(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.255.1.16%later:{port}", follow=True) as receiver:
        assert receiver.memberships[0].waiting is not None
        lab.ip("link add later type veth peer name later-peer")
        try:
            for name in ("later", "later-peer"):
                lab.ip(f"link set {name} up")
            deadline = time.monotonic() + 10
            while not receiver.memberships[0].joined and time.monotonic() < deadline:
                receiver.wait(timeout=0.1)
                assert receiver.try_recv() is None
            assert receiver.memberships[0].joined == ["later"]
        finally:
            lab.ip("link del later")


def test_details_can_be_disabled(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.1.0.77:{port}", interface="one", details=False) as receiver:
        other.run(lambda: pymcast.Sender(f"239.1.0.77%one:{port}")).send(b"bare")
        datagram = receiver.recv(timeout=30)
    assert (datagram.payload, str(datagram.group), datagram.interface) == (b"bare", "239.1.0.77", "one")
    assert str(datagram.source) == lab.address("one", 2)
    assert (datagram.hop_limit, datagram.traffic_class, datagram.time, datagram.lost) == (None,) * 4


def test_datagrams_are_not_tracked_by_the_cycle_collector(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.1.0.78:{port}", interface="one") as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.1.0.78%one:{port}"))
        sender.send_batch([b"1", b"2", b"3"])
        got = [receiver.recv(timeout=30), *receiver.recv_batch(timeout=30)]
    assert not any(gc.is_tracked(datagram) for datagram in got)
    del got
    gc.collect()
