"""Signed streams."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import lab
import pymcast
import pytest
from pymcast import aio
from pymcast._keywords import SubscriberKeywords

Item = pymcast.Message | pymcast.StreamEvent

UNKNOWN = "ed25519:" + "ab" * 32


def keys(*arguments: str | Path) -> str:
    """Runs `mcast keys`, and returns the public keys that it prints."""
    command = [sys.executable, "-m", "pymcast", "keys", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a signing key."""
    path = tmp_path / "signing.key"
    keys("make", "--signing", path)
    return path


def listen(
    subscriber: pymcast.Subscriber, until: Callable[[Item], bool] = lambda item: False
) -> Iterator[Item]:
    """Yields the items of the subscriber until one of them, or the end of the stream."""
    while (item := subscriber.next(timeout=20)) is not None:
        yield item
        if until(item):
            return


def test_only_what_the_publisher_signs_is_delivered(
    other: lab.Host, port: int, key: Path, tmp_path: Path
) -> None:
    place = f"239.32.0.1%one:{port}"
    public = keys("show", key).strip()
    file = tmp_path / "publisher.pub"
    file.write_text(f"# prices\n{public}\n")
    with (
        pymcast.Subscriber(place, signed_by=public) as by_key,
        pymcast.Subscriber(place, signed_by=file) as by_file,
        pymcast.Subscriber(place) as trusting,
        pymcast.Subscriber(place, signed_by=UNKNOWN) as distrusting,
    ):
        heard: dict[str, list[bytes]] = {"key": [], "file": [], "trusting": []}
        events: list[str] = []

        def read(name: str, subscriber: pymcast.Subscriber) -> None:
            for item in listen(subscriber):
                if isinstance(item, pymcast.Message):
                    heard[name].append(item.payload)
                elif name == "trusting":
                    events.append(item.kind)

        readers = {"key": by_key, "file": by_file, "trusting": trusting}
        threads = [threading.Thread(target=read, args=each) for each in readers.items()]
        for thread in threads:
            thread.start()
        publisher = other.run(lambda: pymcast.Publisher(place, signing_key=key))
        assert publisher.wait_for(3, timeout=20)
        for number in range(100):
            publisher.publish(b"%d" % number)
        publisher.flush()
        refused = distrusting.next(timeout=20)
        closing = publisher.close(timeout=20)
        for thread in threads:
            thread.join(timeout=20)
        assert heard == dict.fromkeys(heard, [b"%d" % number for number in range(100)])
        assert "signed" in events
        assert closing is not None
        assert (closing.incomplete, closing.unknown, closing.behind) == (0, 0, [])
        assert 0 < closing.statistics.manifests < closing.statistics.datagrams
        assert by_key.statistics.verified > 0
        assert (by_key.statistics.forged, by_key.statistics.not_verified) == (0, 0)
        assert isinstance(refused, pymcast.StreamEvent)
        assert (refused.kind, refused.cause) == ("not-verified", "unknown-key")
        assert refused.signer is not None and len(refused.signer) == 4
        assert str(refused) == f"not-verified: unknown-key, key id {refused.signer}"
        assert distrusting.try_next() is None
        assert distrusting.statistics.messages == 0
        assert distrusting.statistics.not_verified > 0


def test_an_unsigned_publisher_is_refused(other: lab.Host, port: int, key: Path) -> None:
    place = f"239.32.0.2%one:{port}"
    with pymcast.Subscriber(place, signed_by=keys("show", key).strip()) as subscriber:
        publisher = other.run(lambda: pymcast.Publisher(place))
        publisher.publish(b"forged")
        event = subscriber.next(timeout=20)
        publisher.close(timeout=0)
        assert isinstance(event, pymcast.StreamEvent)
        assert (event.kind, event.cause, event.signer) == ("not-verified", "unsigned", None)
        assert subscriber.try_next() is None


def test_a_signing_key_is_rotated_while_messages_arrive(
    other: lab.Host, port: int, key: Path, tmp_path: Path
) -> None:
    place = f"239.32.0.3%one:{port}"
    file = tmp_path / "publisher.pub"
    file.write_text(keys("show", key))
    publisher = other.run(lambda: aio.Publisher(place, signing_key=str(key)))

    async def main() -> None:
        async with aio.Subscriber(place, signed_by=file) as subscriber:

            async def message() -> bytes:
                while not isinstance(item := await subscriber.next(), pymcast.Message):
                    assert item is not None and item.kind == "joined"
                return item.payload

            first = asyncio.create_task(message())
            assert await publisher.wait_for(1, timeout=20)
            await publisher.publish(b"first key")
            assert await first == b"first key"
            file.write_text(keys("rotate", key))
            subscriber.set_signed_by(file)
            publisher.set_signing_key(key)
            await publisher.publish(b"second key")
            assert await message() == b"second key"
            file.write_text(keys("drop", key))
            subscriber.set_signed_by(file)
            await publisher.publish(b"only key")
            assert await message() == b"only key"
            assert subscriber.statistics.not_verified == 0
        await publisher.close(0)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_forged_announcement_is_not_found(other: lab.Host, port: int, key: Path, tmp_path: Path) -> None:
    place = f"239.32.0.4%one:{port}"
    forger = tmp_path / "forger.key"
    keys("make", "--signing", forger)
    public = keys("show", key).strip()
    unsigned = other.run(lambda: pymcast.Publisher(place, name="signed prices"))
    forged = other.run(lambda: pymcast.Publisher(place, name="signed prices", signing_key=forger))
    with pytest.raises(TimeoutError):
        pymcast.find_stream("signed prices", timeout=2.5, interface="one", signed_by=public)
    assert pymcast.find_stream("signed prices", timeout=20, interface="one").public_key != public
    unsigned.close(0)
    forged.close(0)
    with other.run(lambda: pymcast.Publisher(place, name="signed prices", signing_key=key)) as publisher:
        found = pymcast.find_stream("signed prices", timeout=20, interface="one", signed_by=public)
        assert found.public_key == public
        with pymcast.Subscriber(found, start="oldest", signed_by=found.public_key) as subscriber:
            publisher.publish(b"apples 5")
            messages = [
                item
                for item in listen(subscriber, lambda item: isinstance(item, pymcast.Message))
                if isinstance(item, pymcast.Message)
            ]
            assert [message.payload for message in messages] == [b"apples 5"]


def test_errors_of_keys_name_the_file_and_never_the_key(port: int, key: Path, tmp_path: Path) -> None:
    place = f"239.32.0.5:{port}"
    with pytest.raises(ValueError, match="signing.key: line 2 is a private key") as error:
        pymcast.Subscriber(place, signed_by=key)
    digits = key.read_text().split()[-1]
    assert digits not in str(error.value)
    with pytest.raises(FileNotFoundError):
        pymcast.Publisher(place, signing_key=tmp_path / "missing")
    secrets = tmp_path / "secrets"
    secrets.write_text(pymcast.Keys.new_line())
    with pytest.raises(ValueError, match="secrets: line 1 is not `ed25519-private`"):
        pymcast.Publisher(place, signing_key=secrets)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        pymcast.Subscriber(place, signed_by="ed25519:12")
    unsigned: list[SubscriberKeywords] = [
        {"signed_by": UNKNOWN, "start": 7},
        {"signed_by": UNKNOWN, "start": "snapshot"},
        {"signed_by": UNKNOWN, "heal": True},
    ]
    for keywords in unsigned:
        with pytest.raises(ValueError, match="histories and snapshots are not signed"):
            pymcast.Subscriber(place, **keywords)


def test_the_example_of_the_guide(
    other: lab.Host, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "publisher.pub").write_text(keys("show", key))
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[4] / "docs/how-to/sign-a-stream.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0].replace("eth0", "one"), str(page), "exec"), {})


def test_a_key_is_changed_only_where_there_is_one(other: lab.Host, port: int, key: Path) -> None:
    place = f"239.32.0.6%one:{port}"
    with pymcast.Publisher(place) as publisher, pymcast.Subscriber(place) as subscriber:
        with pytest.raises(ValueError, match="the stream is not signed"):
            publisher.set_signing_key(key)
        with pytest.raises(ValueError, match="signatures are not verified"):
            subscriber.set_signed_by(UNKNOWN)
