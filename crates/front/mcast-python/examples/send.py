"""Sends lines to a group: python send.py 239.255.1.3:7000 [INTERFACE]"""

from __future__ import annotations

import sys

import pymcast


def main() -> None:
    group, *interface = sys.argv[1:]
    with pymcast.Sender(group, interface=interface[0] if interface else None) as sender:
        for line in sys.stdin:
            sender.send(line.rstrip("\n").encode())


if __name__ == "__main__":
    main()
