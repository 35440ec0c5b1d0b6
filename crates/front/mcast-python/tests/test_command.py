"""The command that comes along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig

import lab
import pymcast

MCAST = os.path.join(sysconfig.get_path("scripts"), "mcast")


def test_the_command_is_installed(other: lab.Host) -> None:
    finished = subprocess.run([MCAST, "interfaces", "--json"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [row["name"] for row in rows] == [each.name for each in pymcast.interfaces()]


def test_the_package_runs_as_the_command() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pymcast", "explain", "mdns"], capture_output=True, text=True, check=True
    )
    assert "224.0.0.251" in finished.stdout


def test_the_process_exits_with_the_status_of_the_command() -> None:
    finished = subprocess.run([MCAST, "explain", "10.0.0.1"], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "10.0.0.1" in finished.stderr


def test_the_command_receives_from_the_library(other: lab.Host, port: int) -> None:
    child = subprocess.Popen(
        [MCAST, "recv", f"239.4.0.1%one:{port}", "-c", "1", "-W", "20", "--format", "text"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with other.run(lambda: pymcast.Sender(f"239.4.0.1%one:{port}")) as sender:
        while child.poll() is None:
            sender.send(b"hello")
            try:
                child.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
    out, _ = child.communicate()
    assert (child.returncode, out.strip()) == (0, "hello")
