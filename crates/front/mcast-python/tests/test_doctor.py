"""Why it does not arrive."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import lab
import pymcast
import pytest


@contextlib.contextmanager
def talking(send: Callable[[], object]) -> Iterator[None]:
    """Sends 50 datagrams a second meanwhile."""
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.02):
            send()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def reverse_path_filter(value: str) -> None:
    Path("/proc/sys/net/ipv4/conf/two/rp_filter").write_text(value, encoding="ascii")


def test_a_fault_is_found_with_its_evidence_and_remedy(other: lab.Host, port: int) -> None:
    group = "239.23.0.1"
    # What the other host sends by its link "two" comes from an address that belongs to link "one".
    sender = other.run(
        lambda: pymcast.Sender(f"{group}%two:{port}", source_address=lab.address("one", 2))
    )
    reverse_path_filter("1")
    try:
        with talking(lambda: sender.send(b"x")):
            report = pymcast.doctor(f"{group}%two:{port}", listen=2)
    finally:
        reverse_path_filter("0")
    found = {finding.id: finding for finding in report.findings}
    assert "reverse-path-filter" in found, str(report)
    finding = found["reverse-path-filter"]
    assert finding.severity == "fault"
    assert finding in report.faults
    assert finding.interface == "two"
    assert any(evidence.kind == "counter" for evidence in finding.evidence)
    assert any(remedy.command and "rp_filter" in remedy.command for remedy in finding.remedies)
    assert "RFC 3704 section 2" in finding.references
    assert f"fault: reverse-path-filter: {finding.cause}" in str(report)


def test_a_working_membership_has_no_fault(other: lab.Host, port: int) -> None:
    group = "239.23.0.2"
    sender = other.run(lambda: pymcast.Sender(f"{group}%one:{port}"))
    with talking(lambda: sender.send(b"x")):
        report = pymcast.doctor((group, port), listen=1)
    assert report.faults == (), str(report)
    assert any(each.layer == "socket" for each in report.observations), str(report)


def test_a_membership_is_examined_on_each_interface(other: lab.Host, port: int) -> None:
    group = "239.23.0.4"
    sender = other.run(lambda: pymcast.Sender(f"{group}%one:{port}"))
    with talking(lambda: sender.send(b"x")):
        on_one = pymcast.doctor((group, port), interface="one", listen=1)
        on_two = pymcast.doctor((group, port), interface=["two"], listen=1, experiments=False)
        on_both = pymcast.doctor((group, port), interface=["one", "two"], listen=1)
    assert on_one.faults == (), str(on_one)
    for report in (on_two, on_both):
        assert [each.id for each in report.faults] == ["joined-other-interface"], str(report)
    with pytest.raises(ValueError, match="where a membership is joined"):
        pymcast.doctor(interface="one", pid=1)


def test_several_memberships_are_examined_in_one_report(other: lab.Host, port: int) -> None:
    sender = other.run(lambda: pymcast.Sender(f"239.23.0.5%one:{port}"))
    with talking(lambda: sender.send(b"x")):
        report = pymcast.doctor(("239.23.0.5", port), f"239.171.9.8%one:{port + 700}", interface="one", listen=1)
    silent = f"239.171.9.8:{port + 700}"
    assert [(each.id, each.group) for each in report.faults] == [("nothing-arrives", silent)], str(report)
    assert any("239.23.0.5" in each.message for each in report.observations), str(report)


@contextlib.contextmanager
def advertising(other: lab.Host) -> Iterator[None]:
    """Sends packets of VRRP from the other host, 50 a second."""

    def open_socket() -> socket.socket:
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(lab.address("one", 2)))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        return sender

    with other.run(open_socket) as sender:
        advertisement = bytes([0x21, 7, 100, 0, 0, 1, 0, 0])
        with talking(lambda: sender.sendto(advertisement, ("224.0.0.18", 0))):
            yield


def test_groups_of_protocols_without_ports_are_examined(other: lab.Host) -> None:
    with advertising(other):
        # The group of IPv6 is silent: this network uses the one of IPv4.
        named = pymcast.doctor("vrrp", interface="one", listen=1)
        given = pymcast.doctor("224.0.0.18", interface="one", protocol=112, listen=1)
        other_one = pymcast.doctor(IPv4Address("224.0.0.18"), interface="one", protocol="ospf", listen=1)
    for report in (named, given):
        assert all(each.id != "nothing-arrives" for each in report.findings), str(report)
        assert any("packets" in each.message and "10.1.1.2" in each.message for each in report.observations), str(
            report
        )
    assert any("ospf (IP protocol 89) to 224.0.0.18" in each.question for each in other_one.open_questions)
    with pytest.raises(ValueError, match="neither the number of an IP protocol"):
        pymcast.doctor("224.0.0.18", protocol="carrier-pigeon")
    with pytest.raises(ValueError, match="without a port"):
        pymcast.doctor("239.23.0.6:5000", protocol="vrrp")
    with pytest.raises(ValueError, match="that of a group"):
        pymcast.doctor(protocol="vrrp")


def test_a_name_is_looked_for(other: lab.Host) -> None:
    report = pymcast.doctor(name="Office printer", interface="one", listen=1)
    assert any("Office printer" in each.cause for each in report.faults), str(report)


def test_the_machine_is_examined(other: lab.Host) -> None:
    report = pymcast.doctor()
    assert all(finding.severity in ("note", "warning", "fault") for finding in report.findings)
    assert str(report)


def test_doctor_errors_name_the_reason(other: lab.Host, port: int, tmp_path: Path) -> None:
    with pytest.raises(pymcast.Error) as caught:
        pymcast.doctor(port=port, listen=0.1)
    assert (caught.value.kind, caught.value.operation) == ("NoProgram", "examine")
    assert caught.value.remedy is not None
    with pytest.raises(pymcast.CaptureFileError):
        pymcast.doctor(file=tmp_path / "missing")
    with pytest.raises(ValueError, match="at most one"):
        pymcast.doctor(pid=1, port=port)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_the_publisher(other: lab.Host, port: int) -> None:
    timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pymcast.doctor(("239.23.0.3", port), listen=60)
    timer.join()
