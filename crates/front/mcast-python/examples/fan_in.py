"""Several feeds, each its own receiver, in one place: python fan_in.py 239.255.1.3:7000 239.255.1.4:7000"""

from __future__ import annotations

import asyncio
import sys

import pymcast
from pymcast import aio


async def listen(feed: str, into: asyncio.Queue[tuple[str, pymcast.Datagram]]) -> None:
    async with aio.Receiver(feed) as receiver:
        print(f"listening to {feed}", file=sys.stderr, flush=True)
        async for datagram in receiver:
            # A full queue holds this feed back, not the others; what the kernel drops then, it counts.
            await into.put((feed, datagram))


async def main() -> None:
    queue: asyncio.Queue[tuple[str, pymcast.Datagram]] = asyncio.Queue(maxsize=1000)
    listeners = [asyncio.create_task(listen(feed, queue)) for feed in sys.argv[1:]]
    try:
        while True:
            feed, datagram = await queue.get()
            print(feed, datagram.payload.decode(errors="replace"), flush=True)
    finally:
        for listener in listeners:
            listener.cancel()


if __name__ == "__main__":
    asyncio.run(main())
