"""Prints what comes to a group: python receive.py 239.255.1.3:7000 [INTERFACE]"""

from __future__ import annotations

import sys

import pymcast


def main() -> None:
    group, *interface = sys.argv[1:]
    with pymcast.Receiver(group, interface=interface[0] if interface else None) as receiver:
        for status in receiver.memberships:
            print(status, file=sys.stderr, flush=True)
        try:
            for datagram in receiver:
                if datagram.lost:
                    print(f"lost {datagram.lost} before the next", file=sys.stderr)
                print(datagram.payload.decode(errors="replace"), flush=True)
        except KeyboardInterrupt:
            print(receiver.statistics, file=sys.stderr)


if __name__ == "__main__":
    main()
