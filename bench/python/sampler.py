"""What the contestants in Python share: their arguments, and counting through a window.

The hot loop counts; a thread samples, prints one JSON object and ends the program, so that the
loop asks no clock.
"""

import argparse
import json
import os
import sys
import threading
import time


def parse():
    """The same words as for every other contestant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["receive", "send"])
    parser.add_argument("--how", default="plain")
    parser.add_argument("--group", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--buffer", type=int, default=0)
    parser.add_argument("--warm-up", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--to-idle", action="store_true")
    return parser.parse_args()


class Counters:
    """What the hot loop has counted."""

    datagrams = 0
    bytes = 0


def start(work, counters):
    """Says ready, and has the program end when its window closes."""
    threading.Thread(target=_sample, args=(work, counters), daemon=True).start()
    print("ready", flush=True)


def _take(counters):
    return counters.datagrams, counters.bytes, time.monotonic(), time.process_time()


def _sample(work, counters):
    while counters.datagrams == 0:
        time.sleep(0.001)
    if work.to_idle:
        _report((0, 0, time.monotonic(), 0.0), _wait_for_silence(counters))
    time.sleep(work.warm_up)
    before = _take(counters)
    time.sleep(work.seconds)
    _report(before, _take(counters))


def _wait_for_silence(counters):
    last = _take(counters)
    while True:
        time.sleep(0.02)
        latest = _take(counters)
        if latest[0] != last[0]:
            last = latest
        elif latest[2] - last[2] > 1:
            return last


def _report(before, after):
    names = ["datagrams", "bytes", "seconds", "cpu_seconds"]
    counted = {name: end - begin for name, begin, end in zip(names, before, after)}
    print(json.dumps(counted), flush=True)
    sys.stderr.flush()
    os._exit(0)
