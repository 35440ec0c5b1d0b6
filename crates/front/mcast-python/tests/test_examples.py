"""The examples do what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import lab
import pymcast
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@contextmanager
def running(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An example that runs until the test is over."""
    command = [sys.executable, "-u", str(EXAMPLES / name), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line(stream: object) -> str:
    return stream.readline().strip()  # type: ignore[attr-defined, no-any-return]


def test_receive(other: lab.Host, port: int) -> None:
    with running("receive.py", f"239.20.0.1:{port}", "one") as child:
        assert line(child.stderr) == f"239.20.0.1%one:{port}: joined on one"
        other.run(lambda: pymcast.Sender(f"239.20.0.1%one:{port}")).send(b"hello")
        assert line(child.stdout) == "hello"


def test_send(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(f"239.20.0.2%one:{port}")) as receiver:
        subprocess.run(
            [sys.executable, str(EXAMPLES / "send.py"), f"239.20.0.2:{port}", "one"],
            input="first\nsecond\n",
            text=True,
            check=True,
        )
        assert [receiver.recv(timeout=30).payload for _ in range(2)] == [b"first", b"second"]


def test_which_group(other: lab.Host, port: int) -> None:
    groups = [f"239.20.0.3:{port}", f"239.255.255.250:{port}"]
    with running("which_group.py", *groups) as child:
        assert line(child.stderr) == "ready"
        other.run(lambda: pymcast.Sender(groups[1], interface="two")).send(b"hello")
        assert line(child.stdout) == (
            f"5 bytes for 239.255.255.250 (SSDP) port {port} by two from {lab.address('two', 2)}, hop limit 1"
        )


def test_fan_in(other: lab.Host, port: int) -> None:
    feeds = [f"239.20.0.4%one:{port}", f"239.20.0.5%two:{port}"]
    with running("fan_in.py", *feeds) as child:
        assert {line(child.stderr) for _ in feeds} == {f"listening to {feed}" for feed in feeds}
        other.run(lambda: pymcast.Sender(*feeds)).send(b"hello")
        assert {line(child.stdout) for _ in feeds} == {f"{feed} hello" for feed in feeds}


def test_live_page(other: lab.Host, port: int) -> None:
    pytest.importorskip("aiohttp")
    with running("live_page.py", f"239.20.0.6:{port}", "--interface", "one", "--web-port", str(port)) as child:
        assert "Running on" in line(child.stdout)
        with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"EventSource" in page.read()
        with urlopen(f"http://127.0.0.1:{port}/events", timeout=30) as events:
            assert events.readline() == b": connected\n"
            assert events.readline() == b"\n"
            other.run(lambda: pymcast.Sender(f"239.20.0.6%one:{port}")).send(b"<hello>")
            data = events.readline().decode()
        assert data.startswith("data: ")
        assert json.loads(data[6:])[1:] == ["239.20.0.6", "one", lab.address("one", 2), "<hello>"]


def test_the_price_feed(other: lab.Host, port: int) -> None:
    place = [f"239.20.0.7:{port}", "one", lab.address("one", 2), "80"]
    publishing = other.start([sys.executable, str(EXAMPLES / "price_feed.py"), "publish", *place])
    with publishing, running("price_feed.py", "subscribe") as early:
        # An announcement a second: the other one comes a second late.
        for _ in range(2):
            pymcast.find_stream("prices", timeout=20)
        with running("price_feed.py", "subscribe") as late:
            for child in (early, late):
                output, errors = child.communicate(timeout=30)
                assert output.strip() in ("{'pears': 179, 'apples': 180}", "{'apples': 180, 'pears': 179}"), errors
        assert publishing.wait(timeout=20) == 0


def test_the_guide_contains_the_price_feed_example() -> None:
    page = (EXAMPLES.parents[3] / "docs" / "price-feed.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python from=\S*price_feed.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    program = (EXAMPLES / "price_feed.py").read_text(encoding="utf-8")
    assert all(block in program for block in blocks)


def test_the_examples_of_the_ten_minutes_guide(
    other: lab.Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks run in order, on the interface that is there."""
    monkeypatch.chdir(tmp_path)
    page = EXAMPLES.parents[3] / "docs" / "python" / "ten-minutes.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    program = "\n".join(blocks).replace("eth0", "one")
    exec(compile(program, str(page), "exec"), {"__name__": "page"})
