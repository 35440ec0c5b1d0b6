"""Senders."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import lab
import pymcast
import pymcast.aio
import pytest


def test_sends_any_buffer_but_not_text(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.3.0.1:{port}", interface="one")) as receiver:
        with pymcast.Sender(f"239.3.0.1:{port}", interface="one") as sender:
            for payload in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
                sender.send(payload)
                assert receiver.recv(timeout=30).payload == b"abc"
            with pytest.raises(TypeError, match="encode"):
                sender.send("text")  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                sender.send(5)  # type: ignore[arg-type]


def test_each_datagram_may_have_its_own_options(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.3.0.2:{port}", f"239.3.0.3:{port}")) as receiver:
        with pymcast.Sender(f"239.3.0.2:{port}", interface="one") as sender:
            sender.send(b"plain")
            sender.send(b"2", to=("239.3.0.3", port), interface="two", hop_limit=9, traffic_class=8)
            got = [receiver.recv(timeout=30) for _ in range(2)]
    facts = {(each.payload, str(each.group), each.interface, each.hop_limit, each.traffic_class) for each in got}
    assert facts == {(b"plain", "239.3.0.2", "one", 1, 0), (b"2", "239.3.0.3", "two", 9, 8)}


def test_each_datagram_may_have_its_own_source(other: lab.Host, port: int) -> None:
    second = lab.address("two", 1)
    with other.run(lambda: pymcast.Receiver(f"239.3.0.9:{port}", interface="one")) as receiver:
        with pymcast.Sender(f"239.3.0.9:{port}", interface="one") as sender:
            sender.send(b"plain")
            sender.send(b"send", source_address=second)
            sender.send_batch([pymcast.Outgoing(b"batch", source_address=second)])
            asyncio.run(aio_send(port, second))
            got = {(each.payload, str(each.source)) for each in (receiver.recv(timeout=30) for _ in range(4))}
            with pytest.raises(pymcast.Error):
                sender.send(b"of another machine", source_address=lab.address("one", 2))
    first = lab.address("one", 1)
    assert got == {(b"plain", first), (b"send", second), (b"batch", second), (b"aio", second)}


async def aio_send(port: int, source: str) -> None:
    async with pymcast.aio.Sender(f"239.3.0.9:{port}", interface="one") as sender:
        await sender.send(b"aio", source_address=source)


def test_send_errors_name_the_reason(other: lab.Host, port: int) -> None:
    with pymcast.Sender(f"239.3.0.4:{port}", interface="one") as sender:
        with pytest.raises(pymcast.TooLargeError) as caught:
            sender.send(bytes(70_000))
        assert caught.value.remedy is not None
        assert "70000 bytes" in caught.value.reason
        assert caught.value.errno is not None
    with pytest.raises(pymcast.ClosedError):
        sender.send(b"closed")
    sender.close()
    sender.open()
    sender.send(b"open again")
    with pymcast.Sender() as nowhere, pytest.raises(pymcast.MismatchError):
        nowhere.send(b"to whom?")
    with pytest.raises(pymcast.NoSuchInterfaceError):
        pymcast.Sender(f"239.3.0.4%nowhere:{port}")


def test_sends_no_faster_than_its_rate(other: lab.Host, port: int) -> None:
    with pymcast.Sender(f"239.3.0.5:{port}", interface="one", rate=1000) as sender:
        assert sender.paced
        started = time.monotonic()
        for _ in range(101):
            sender.send(b"x")
        assert time.monotonic() - started >= 0.09
        assert sender.statistics.datagrams == 101
    for wrong in ({"rate": 0.0}, {"rate": 1.0, "bit_rate": 1.0}):
        with pytest.raises(ValueError, match="rate"):
            pymcast.Sender(**wrong)  # type: ignore[arg-type]


def test_loopback_is_the_senders_choice(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.3.0.6:{port}", interface="one") as receiver:
        quiet = pymcast.Sender(f"239.3.0.6:{port}", interface="one", loopback=False)
        heard = pymcast.Sender(f"239.3.0.6:{port}", interface="one")
        quiet.send(b"quiet")
        heard.send(b"heard")
        assert receiver.recv(timeout=30).payload == b"heard"


def test_plain_sockets_receive_it(other: lab.Host, port: int) -> None:
    def listen() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("239.3.0.7", port))
        request = struct.pack("=4s4s", socket.inet_aton("239.3.0.7"), socket.inet_aton(lab.address("one", 2)))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        listener.settimeout(5)
        return listener

    with other.run(listen) as listener, pymcast.Sender(f"239.3.0.7%one:{port}", source_port=port) as sender:
        sender.send(b"Hello, World!")
        assert listener.recvfrom(1024) == (b"Hello, World!", (lab.address("one", 1), port))
        assert sender.local_address() == ("0.0.0.0", port)


def test_receives_from_plain_sockets(other: lab.Host, port: int) -> None:
    def talk() -> socket.socket:
        talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        address = socket.inet_aton(lab.address("one", 2))
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
        return talker

    with pymcast.Receiver(f"239.3.0.8%one:{port}") as receiver, other.run(talk) as talker:
        talker.sendto(b"Hello, World!", ("239.3.0.8", port))
        datagram = receiver.recv(timeout=30)
        assert datagram.payload == b"Hello, World!"
        assert datagram.address == talker.getsockname() or datagram.source_port == talker.getsockname()[1]


def test_threads_may_share_a_sender_and_a_receiver(other: lab.Host, port: int) -> None:
    with pymcast.Receiver(f"239.3.0.9:{port}", interface="one", receive_buffer=1 << 20) as receiver:
        sender = other.run(lambda: pymcast.Sender(f"239.3.0.9:{port}", interface="one"))

        def hear() -> list[bytes]:
            heard: list[bytes] = []
            try:
                while True:
                    heard.append(receiver.recv(timeout=1).payload)
            except TimeoutError:
                return heard

        def speak(start: int) -> None:
            for number in range(start, start + 200):
                sender.send(b"%d" % number)

        with ThreadPoolExecutor(4) as threads:
            listeners = [threads.submit(hear) for _ in range(2)]
            speakers = [threads.submit(speak, start) for start in (0, 200)]
            for speaker in speakers:
                speaker.result()
            heard = [payload for listener in listeners for payload in listener.result()]
    assert sorted(heard) == sorted(b"%d" % number for number in range(400))


def test_a_writer_sends_when_a_batch_is_full_when_flushed_and_at_its_end(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.3.0.10:{port}", interface="one")) as receiver:
        sender = pymcast.Sender(f"239.3.0.10:{port}", interface="one")

        def heard(count: int) -> list[bytes]:
            return [receiver.recv(timeout=30).payload for _ in range(count)]

        with sender.writer(capacity=3) as writer:
            writer.send(b"1")
            writer.send(bytearray(b"2"))
            assert (writer.pending, sender.statistics.datagrams) == (2, 0)
            writer.send(pymcast.Outgoing(b"3", hop_limit=5))
            assert (writer.pending, heard(3)) == (0, [b"1", b"2", b"3"])
            writer.send(b"4")
            writer.flush()
            assert heard(1) == [b"4"]
            writer.send(b"5")
        assert (writer.pending, heard(1)) == (0, [b"5"])
        with pytest.raises(TypeError, match="encode"):
            writer.send("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least 1"):
            sender.writer(capacity=0)


def test_a_writer_discards_a_datagram_that_cannot_be_sent_and_keeps_the_rest(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.3.0.11:{port}", interface="one")) as receiver:
        sender = pymcast.Sender(f"239.3.0.11:{port}", interface="one")
        writer = sender.writer()
        for payload in (b"first", bytes(70_000), b"last"):
            writer.send(payload)
        with pytest.raises(pymcast.TooLargeError):
            writer.flush()
        assert writer.pending == 1
        sender.close()
        with pytest.raises(pymcast.ClosedError):
            writer.flush()
        sender.open()
        writer.flush()
        assert [receiver.recv(timeout=30).payload for _ in range(2)] == [b"first", b"last"]


def test_an_unflushed_writer_warns(other: lab.Host, port: int) -> None:
    writer = pymcast.Sender(f"239.3.0.12:{port}", interface="one").writer()
    writer.send(b"never")
    with pytest.warns(ResourceWarning, match="1 datagrams were never sent"):
        del writer
