"""A private network for the tests: two links between this process and another host.

It does not touch the machine's own interfaces. It needs root or user namespaces, and `ip`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pymcast

T = TypeVar("T")

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

LINKS = ("one", "two")
"""The links; the interface at either end has the same name."""

_libc = ctypes.CDLL(None, use_errno=True)


class NoNamespaces(Exception):
    """This machine does not allow network namespaces."""


def address(link: str, host: int, family: int = 4) -> str:
    """Returns the address of this process (1) or of the other host (2) on a link."""
    number = LINKS.index(link) + 1
    return f"10.1.{number}.{host}" if family == 4 else f"fd01:{number}::{host}"


class Host:
    """A host: a thread in a network namespace of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "host")
        self.namespace: str = self._thread.submit(self._enter).result()

    def run(self, work: Callable[[], T]) -> T:
        """Runs `work` on the host. Sockets that it opens stay in the host's network."""
        return self._thread.submit(work).result(timeout=30)

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Starts a program on the host."""
        return self.run(
            lambda: subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )

    @staticmethod
    def _enter() -> str:
        _unshare(CLONE_NEWNET)
        return f"/proc/{os.getpid()}/task/{_libc.gettid()}/ns/net"


def enter() -> None:
    """Moves this process into a network namespace of its own. It must have only one thread."""
    if os.geteuid() == 0:
        try:
            _unshare(CLONE_NEWNET)
            return
        except NoNamespaces:
            pass
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {user} 1")
    _write("/proc/self/gid_map", f"0 {group} 1")


def connect(other: Host) -> None:
    """Creates the two links to the other host, and configures all interfaces."""
    for link in LINKS:
        ip(f"link add {link} type veth peer name {link} netns {other.namespace}")
    _configure(1)
    other.run(lambda: _configure(2))
    _wait_for_routes()
    other.run(_wait_for_routes)


async def let_tasks_run() -> None:
    """Lets all tasks run until they wait for something external."""
    for _ in range(5):
        await asyncio.sleep(0)


def ip(command: str) -> None:
    """Runs `ip` in the calling thread's network."""
    finished = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RuntimeError(f"ip {command}: {finished.stderr.strip()}")


def _configure(host: int) -> None:
    ip("link set lo up")
    for link in LINKS:
        # Without duplicate address detection, link-local addresses are ready immediately.
        _write(f"/proc/sys/net/ipv6/conf/{link}/accept_dad", "0")
        ip(f"addr add {address(link, host)}/24 dev {link}")
        ip(f"-6 addr add {address(link, host, 6)}/64 dev {link} nodad")
        ip(f"link set {link} up")


def _wait_for_routes() -> None:
    """Waits for the IPv6 multicast routes, which appear shortly after a link is up."""
    deadline = time.monotonic() + 10
    for link in LINKS:
        with pymcast.Sender("[ff15::1]:9", interface=link, follow=True) as sender:
            while True:
                try:
                    sender.send(b"")
                    break
                except pymcast.Error:
                    if time.monotonic() > deadline:
                        raise


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise NoNamespaces(f"unshare: {os.strerror(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
