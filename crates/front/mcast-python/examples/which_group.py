"""Says of each datagram which group it came for, by which interface, and from whom.

python which_group.py 239.255.1.3:7000 239.255.1.4:7000 '[ff15::1]:7000'
"""

from __future__ import annotations

import sys

import pymcast


def describe(datagram: pymcast.Datagram) -> str:
    group = datagram.group
    name = (group.name or group.kind) if group else "not a group"
    return (
        f"{len(datagram)} bytes for {group} ({name}) port {datagram.port}"
        f" by {datagram.interface} from {datagram.source}, hop limit {datagram.hop_limit}"
    )


def main() -> None:
    with pymcast.Receiver(*sys.argv[1:]) as receiver:
        print("ready", file=sys.stderr, flush=True)
        for datagram in receiver:
            print(describe(datagram), flush=True)


if __name__ == "__main__":
    main()
