"""The network and the fixtures of the tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import lab
import pytest

_skip_reason: str | None = None


def pytest_configure(config: pytest.Config) -> None:
    # As early as possible: only a single-threaded process may enter a user namespace.
    del config
    global _skip_reason
    # A shell that starts the tests in the background makes them, and their children, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        lab.enter()
        lab.ip("link set lo up")
    except (lab.NoNamespaces, OSError, RuntimeError) as error:
        _skip_reason = str(error)


@pytest.fixture(scope="session")
def other() -> Iterator[lab.Host]:
    """The other host, connected by the links "one" and "two"."""
    if _skip_reason is not None:
        reason = f"this machine does not allow network namespaces: {_skip_reason}"
        if os.environ.get("MCAST_REQUIRE_ALL"):
            pytest.fail(reason)
        pytest.skip(reason)
    host = lab.Host()
    lab.connect(host)
    yield host


@pytest.fixture
def port() -> int:
    """A port that no other test uses."""
    _ports.append(_ports[-1] + 1)
    return _ports[-1]


_ports = [20_000]
