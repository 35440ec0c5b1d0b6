"""The network of all tests, and what most of them need."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import lab
import pytest

_why_not: str | None = None


def pytest_configure(config: pytest.Config) -> None:
    # At once: only a process with one thread may enter a user namespace.
    del config
    global _why_not
    # Whoever starts the tests in the background may have had Ctrl-C ignored, for all that they start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        lab.enter()
        lab.ip("link set lo up")
    except (lab.NoNamespaces, OSError, RuntimeError) as error:
        _why_not = str(error)


@pytest.fixture(scope="session")
def other() -> Iterator[lab.Host]:
    """The other host, connected by the links "one" and "two"."""
    if _why_not is not None:
        reason = f"this machine refuses network namespaces: {_why_not}"
        if os.environ.get("MCAST_REQUIRE_ALL"):
            pytest.fail(reason)
        print(f"SKIPPED: {reason}")
        pytest.skip(reason)
    host = lab.Host()
    lab.connect(host)
    yield host


@pytest.fixture
def port() -> int:
    """A port that no other test has."""
    _ports.append(_ports[-1] + 1)
    return _ports[-1]


_ports = [20_000]
