"""Captures and capture files."""

from __future__ import annotations

import errno
import ipaddress
import threading
import time
from pathlib import Path

import lab
import pymcast
import pytest


def test_a_packet_is_decoded(other: lab.Host, port: int) -> None:
    with pymcast.Capture("one", filter=port) as capture:
        sender = other.run(lambda: pymcast.Sender(f"239.22.0.1%one:{port}", hop_limit=3))
        before = time.time()
        sender.send(b"hello")
        packet = capture.next(timeout=30)

    assert (packet.kind, packet.payload, packet.port) == ("udp", b"hello", port)
    assert packet.group == pymcast.Group("239.22.0.1")
    assert packet.source == ipaddress.ip_address(lab.address("one", 2))
    assert packet.destination == ipaddress.ip_address("239.22.0.1")
    assert (packet.hop_limit, packet.dscp, packet.protocol, packet.fragment) == (3, 0, 17, None)
    assert (packet.interface, packet.direction, packet.link_type) == ("one", "multicast", "ethernet")
    assert packet.interface_index == pymcast.find_interface("one").index
    assert packet.ethernet_destination == "01:00:5e:16:00:01"
    assert packet.vlans == []
    assert abs(packet.time - before) < 10
    assert len(packet) == packet.original_length == len(packet.bytes) == 14 + 20 + 8 + 5
    assert packet.malformed is None
    assert packet.control is None
    assert str(packet).startswith(f"Ether / IP / UDP {lab.address('one', 2)}:")
    assert repr(packet) == f"<Packet {packet}>"


@pytest.mark.parametrize(
    ("group", "protocol", "version"), [("232.22.0.2", "igmp", 3), ("ff3e::22:2", "mld", 2)]
)
def test_igmp_and_mld_messages_are_decoded(
    other: lab.Host, port: int, group: str, protocol: str, version: int
) -> None:
    source = "10.1.1.9" if protocol == "igmp" else "fd01:1::9"
    place = f"{source}@{group}%one:{port}" if protocol == "igmp" else f"{source}@[{group}%one]:{port}"
    with pymcast.Capture("one", filter="control", outgoing=False) as capture:
        with other.run(lambda: pymcast.Receiver(place)):
            while True:
                control = capture.next(timeout=30).control
                records = [] if control is None else control.records
                if any(str(record.group) == group for record in records):
                    break
    assert control is not None
    assert (control.protocol, control.version, control.kind) == (protocol, version, "report")
    assert control.group is None
    mine = next(record for record in records if str(record.group) == group)
    assert mine.kind == "allow-new-sources"
    assert [str(each) for each in mine.sources] == [source]
    assert source in str(mine)
    assert str(mine) in str(control)


def test_closing_ends_loops(other: lab.Host, port: int) -> None:
    capture = pymcast.Capture("one", "two", filter=port)
    assert capture.interfaces == ["one", "two"]
    seen: list[pymcast.Packet] = []
    thread = threading.Thread(target=lambda: seen.extend(capture))
    thread.start()
    other.run(lambda: pymcast.Sender(f"239.22.0.3%two:{port}")).send(b"one")
    deadline = time.monotonic() + 10
    while capture.statistics.packets == 0:
        assert time.monotonic() < deadline
    capture.close()
    capture.close()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [packet.interface for packet in seen] == ["two"]
    assert capture.closed
    with pytest.raises(pymcast.ClosedError):
        capture.next(timeout=1)


def test_capture_iterates_packets_of_all_usable_interfaces(other: lab.Host, port: int) -> None:
    seen = []
    with pymcast.capture(filter=port) as packets:
        assert set(packets.interfaces) == {"one", "two"}
        places = [f"239.22.0.6%{link}:{port}" for link in lab.LINKS]
        sender = other.run(lambda: pymcast.Sender(*places))
        sender.send(b"hello")
        for packet in packets:
            seen.append((packet.interface, packet.payload))
            if len(seen) == 2:
                break
    assert sorted(seen) == [("one", b"hello"), ("two", b"hello")]
    assert pymcast.capture("two", filter="control").interfaces == ["two"]


def test_capture_without_a_usable_interface_is_an_error(other: lab.Host) -> None:
    lonely = lab.Host()
    with pytest.raises(pymcast.NoUsableInterfaceError) as caught:
        lonely.run(pymcast.capture)
    assert "capture" in str(caught.value)
    assert caught.value.remedy is not None


def test_a_timeout_raises_timeout_error(other: lab.Host, port: int) -> None:
    with pymcast.Capture("one", filter=port) as capture, pytest.raises(TimeoutError):
        capture.next(timeout=0.01)


def test_capture_errors_name_the_reason(other: lab.Host) -> None:
    with pytest.raises(pymcast.NoSuchInterfaceError) as caught:
        pymcast.Capture("nowhere")
    assert caught.value.interface == "nowhere"
    assert caught.value.remedy is not None
    with pytest.raises(ValueError, match="group-addressed"):
        pymcast.Capture("one", filter="unicast")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="interface"):
        pymcast.Capture()


@pytest.mark.parametrize("form", ["pcapng", "pcap"])
def test_written_packets_can_be_read(other: lab.Host, port: int, tmp_path: Path, form: str) -> None:
    path = tmp_path / "capture"
    with pymcast.Capture("one", filter=port) as capture:
        sender = other.run(lambda: pymcast.Sender(f"239.22.0.4%one:{port}"))
        for payload in (b"a", b"b", b"c"):
            sender.send(payload)
        captured = [capture.next(timeout=30) for _ in range(3)]
    with pymcast.CaptureWriter(path, format="pcap" if form == "pcap" else "pcapng") as writer:
        for packet in captured:
            writer.write(packet)
    with pytest.raises(pymcast.ClosedError):
        writer.write(captured[0])

    file = pymcast.CaptureFile(path)
    read = list(file)

    assert [packet.payload for packet in read] == [b"a", b"b", b"c"]
    assert [packet.time_ns for packet in read] == [packet.time_ns for packet in captured]
    assert all(packet.checksum == "valid" for packet in read)
    assert (file.path, file.passed_over) == (path, 0)
    assert len(file.interfaces) == 1
    if form == "pcapng":
        assert (file.format, read[0].interface, read[0].direction) == ("pcapng", "one", "multicast")
        assert file.interfaces[0].name == "one"
    else:
        assert (file.format, read[0].interface, read[0].direction) == ("pcap-nanoseconds", None, "unknown")


def test_a_truncated_file_is_read_up_to_its_end(
    other: lab.Host, port: int, tmp_path: Path
) -> None:
    whole, cut, none = tmp_path / "whole", tmp_path / "cut", tmp_path / "none"
    with pymcast.Capture("one", filter=port) as capture, pymcast.CaptureWriter(str(whole)) as writer:
        sender = other.run(lambda: pymcast.Sender(f"239.22.0.5%one:{port}"))
        for payload in (b"first", b"second"):
            sender.send(payload)
            writer.write(capture.next(timeout=30))
    cut.write_bytes(whole.read_bytes()[:-7])
    read = []

    with pytest.raises(pymcast.CaptureFileError) as caught:
        for packet in pymcast.CaptureFile(cut):
            read.append(packet.payload)

    assert (read, caught.value.kind) == ([b"first"], "CutOff")
    none.write_bytes(b"no capture at all, but long enough for a head")
    with pytest.raises(pymcast.CaptureFileError) as caught:
        pymcast.CaptureFile(none)
    assert caught.value.kind == "NotACapture"
    with pytest.raises(OSError) as missing:
        pymcast.CaptureFile(tmp_path / "missing")
    assert missing.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="pcapng or pcap"):
        pymcast.CaptureWriter(none, format="snoop")  # type: ignore[arg-type]
