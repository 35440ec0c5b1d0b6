"""A price feed: a publisher whose snapshots are exact, and subscribers that may come late.

`price_feed.py publish GROUP:PORT INTERFACE ADDRESS [COUNT]` on one host, `price_feed.py subscribe` on others.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import pymcast

NAME = "prices"


class Feed:
    """The prices and their publisher, under one lock, so that a snapshot names the last message that it includes."""

    def __init__(self, publisher: pymcast.Publisher) -> None:
        self._publisher = publisher
        self._prices: dict[str, int] = {}
        self._lock = threading.Lock()

    def publish(self, fruit: str, price: int) -> None:
        with self._lock:
            self._prices[fruit] = price
            self._publisher.publish(json.dumps({fruit: price}).encode())

    def snapshot(self) -> pymcast.Snapshot:
        with self._lock:
            return pymcast.Snapshot(self._publisher.next_message, json.dumps(self._prices).encode())


def publish(place: str, interface: str, address: str, count: int = 200) -> None:
    """Publishes prices, twenty a second; it serves snapshots at this address."""
    with pymcast.Publisher(place, interface=interface, name=NAME) as publisher:
        feed = Feed(publisher)
        publisher.serve_snapshots((address, 0), feed.snapshot)
        for price in range(101, 101 + count):
            feed.publish("apples" if price % 2 == 0 else "pears", price)
            time.sleep(0.05)


def subscribe() -> dict[str, int]:
    """Follows the prices to the end of the stream, and prints the last of each."""
    prices: dict[str, int] = {}
    with pymcast.Subscriber(pymcast.find_stream(NAME), start="snapshot") as subscriber:
        for item in subscriber:
            if isinstance(item, pymcast.Message):
                prices.update(json.loads(item.payload))
            elif item.kind == "snapshot-wanted":  # at the start, and after an unrecoverable loss
                snapshot = subscriber.fetch_snapshot()
                prices = json.loads(snapshot.payload)
                subscriber.resume(snapshot.message)
            else:
                print(item, file=sys.stderr)
    return prices


if __name__ == "__main__":
    if sys.argv[1:2] == ["publish"]:
        group, link, local = sys.argv[2:5]
        publish(group, link, local, *map(int, sys.argv[5:]))
    else:
        print(subscribe())
