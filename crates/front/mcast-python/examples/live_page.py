"""A web page that shows datagrams as they come, by server-sent events (needs aiohttp).

python live_page.py 239.255.1.3:7000 [--interface eth0] [--web-port 8080]
"""

from __future__ import annotations

import argparse
import asyncio
import json

import pymcast
from aiohttp import web
from pymcast import aio

PAGE = """<!doctype html>
<title>Live datagrams</title>
<table id="rows"><tr><th>time<th>group<th>interface<th>source<th>payload</table>
<script>
  new EventSource("/events").onmessage = (event) => {
    const row = document.getElementById("rows").insertRow(1)
    for (const value of JSON.parse(event.data)) row.insertCell().textContent = value
  }
</script>
"""

RECEIVER: web.AppKey[aio.Receiver] = web.AppKey("receiver", aio.Receiver)
VIEWERS: web.AppKey[set[asyncio.Queue[str]]] = web.AppKey("viewers", set)


def row(datagram: pymcast.Datagram) -> str:
    text = datagram.payload.decode(errors="replace")
    return json.dumps(
        [datagram.time, str(datagram.group), datagram.interface, str(datagram.source), text]
    )


async def page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    mine: asyncio.Queue[str] = asyncio.Queue(maxsize=1000)
    request.app[VIEWERS].add(mine)
    try:
        await response.write(b": connected\n\n")
        while True:
            await response.write(f"data: {await mine.get()}\n\n".encode())
    except ConnectionResetError:
        return response
    finally:
        request.app[VIEWERS].discard(mine)


async def distribute(app: web.Application) -> None:
    async for datagram in app[RECEIVER]:
        shown = row(datagram)
        for viewer in app[VIEWERS]:
            # A viewer that reads too slowly misses rows, and delays no other.
            if not viewer.full():
                viewer.put_nowait(shown)


def application(membership: str, interface: str | None) -> web.Application:
    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/events", events)])
    app[VIEWERS] = set()

    async def start(app: web.Application) -> None:
        app[RECEIVER] = aio.Receiver(membership, interface=interface)
        tasks.append(asyncio.create_task(distribute(app)))

    async def stop(app: web.Application) -> None:
        app[RECEIVER].close()
        await asyncio.gather(*tasks)

    tasks: list[asyncio.Task[None]] = []
    app.on_startup.append(start)
    app.on_shutdown.append(stop)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("membership")
    parser.add_argument("--interface")
    parser.add_argument("--web-port", type=int, default=8080)
    asked = parser.parse_args()
    web.run_app(application(asked.membership, asked.interface), host="127.0.0.1", port=asked.web_port)


if __name__ == "__main__":
    main()
