"""What announces itself on the network."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import lab
import pymcast
import pytest
from pymcast import aio
from pymcast._keywords import DiscoveryKeywords

SSDP = "239.255.255.250:1900"


def notify(other: lab.Host, name: str, kind: str) -> None:
    """Announces a device by SSDP, or withdraws it."""
    message = (
        f"NOTIFY * HTTP/1.1\r\nHOST: {SSDP}\r\nCACHE-CONTROL: max-age=1800\r\n"
        f"LOCATION: http://{lab.address('one', 2)}:8080/{name}.xml\r\nNT: upnp:rootdevice\r\n"
        f"NTS: ssdp:{kind}\r\nUSN: uuid:{name}::upnp:rootdevice\r\n\r\n"
    )

    def send() -> None:
        with pymcast.Sender(SSDP, interface="one") as sender:
            sender.send(message.encode())

    other.run(send)


def found(entries: list[pymcast.Discovered], name: str) -> pymcast.Discovered | None:
    return next((each for each in entries if name in each.id), None)


def test_what_appears_and_departs_is_reported(other: lab.Host) -> None:
    with pymcast.Discovery("one") as discovery:
        assert "ssdp" not in discovery.unseen
        notify(other, "lamp", "alive")
        while (event := discovery.next(timeout=20)) is not None and "lamp" not in event.entry.id:
            pass
        assert event is not None
        assert (event.event, event.entry.kind, event.entry.port) == ("appeared", "device", 8080)
        assert event.entry.addresses == (lab.address("one", 2),)
        assert found(discovery.entries(), "lamp") == event.entry
        notify(other, "lamp", "byebye")
        while (event := discovery.next(timeout=20)) is not None and event.event != "departed":
            pass
        assert event is not None
        assert (event.reason, found(discovery.entries(), "lamp")) == ("goodbye", None)
        with pytest.raises(TimeoutError):
            while True:
                discovery.next(timeout=0.1)
    with pytest.raises(pymcast.ClosedError):
        discovery.entries()


def test_a_coroutine_discovers(other: lab.Host) -> None:
    async def watch() -> pymcast.DiscoveryEvent:
        async with aio.Discovery("one") as discovery:
            notify(other, "radio", "alive")
            async for event in discovery:
                if "radio" in event.entry.id:
                    return event
        raise AssertionError("it ended")

    event = asyncio.run(asyncio.wait_for(watch(), 20))
    assert event.entry.interface == "one"
    assert isinstance(asyncio.run(aio.discover(timeout=0.1, interface="one")), list)
    assert isinstance(pymcast.discover(timeout=0.1, interface="one"), list)


def test_a_change_is_not_lost_when_a_call_is_cancelled(other: lab.Host, port: int) -> None:
    def send(group: str) -> None:
        with pymcast.Sender(f"{group}:{port}", interface="one") as sender:
            sender.send(b"traffic")

    async def watch() -> None:
        async with aio.Discovery("one") as discovery:
            for number in range(5):
                group = f"239.40.0.{number}"
                cancelled = asyncio.create_task(discovery.next())
                # The task starts. Its thread waits for a quarter of a second, also after it is cancelled.
                await asyncio.sleep(0)
                cancelled.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
                other.run(partial(send, group))
                while found(discovery.entries(), group) is None:
                    await asyncio.sleep(0.001)
                event = await asyncio.wait_for(discovery.next(), 20)
                while event is not None and (event.event, event.entry.id) != ("appeared", group):
                    event = await asyncio.wait_for(discovery.next(), 20)
                assert event is not None

    asyncio.run(watch())


def test_what_cannot_be_opened_raises(tmp_path: Path) -> None:
    with pytest.raises(pymcast.NoSuchInterfaceError):
        pymcast.Discovery("nowhere")
    with pytest.raises(pymcast.CaptureFileError):
        pymcast.Discovery(file=tmp_path / "missing.pcap")


def test_kinds_and_protocols_are_selected(other: lab.Host) -> None:
    with pymcast.Discovery("one", protocol=["ssdp", "mdns"], kind="device") as discovery:
        with pytest.raises(TimeoutError):
            discovery.next(timeout=0.1)
        notify(other, "lamp", "alive")
        event = discovery.next(timeout=20)
        assert event is not None
        assert (event.entry.protocol, event.entry.kind) == ("ssdp", "device")
        assert {each.protocol for each in discovery.entries()} == {"ssdp"}
    with pymcast.Discovery("one", kind="clock") as discovery:
        notify(other, "lamp", "alive")
        with pytest.raises(TimeoutError):
            discovery.next(timeout=1)
        assert discovery.entries() == []


def test_a_named_domain_of_dds_is_queried(other: lab.Host) -> None:
    # Domain 42.
    receiver = other.run(lambda: pymcast.Receiver("239.255.0.1%one:17900"))
    with receiver, pymcast.Discovery("one", ask=True, domain=42, universe=[300, 301]):
        assert receiver.recv(timeout=20).payload.startswith(b"RTPS")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"kind": "toaster"}, "is none of service, host"),
        ({"protocol": "appletalk"}, "is none of mdns, llmnr"),
        ({"domain": 233}, "a DDS domain is 0 to 232"),
        ({"universe": [1, 0]}, "an sACN universe is 1 to 63999"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: DiscoveryKeywords, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        pymcast.discover(0.1, "one", **arguments)
