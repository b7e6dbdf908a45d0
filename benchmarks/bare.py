"""A bare Tornado WebSocket that answers with fixed words: what connections cost that do nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from benchmarks.frames import PROTOCOL
from benchmarks.rows import row, shown


def inserted(number: int) -> str:
    """A row's first message."""
    update = {"operation": "INSERT", "data": shown(row(number)), "fields": list(shown(row(number)))}
    message = {"id": "00000", "type": "next", "payload": {"data": {"trades": update}}}
    return json.dumps(message, separators=(",", ":"))


class Handler(WebSocketHandler):
    """Acknowledges, and has one row for each subscription."""

    def select_subprotocol(self, _subprotocols: list[str]) -> str | None:
        return PROTOCOL

    def open(self) -> None:
        self.set_nodelay(True)

    async def on_message(self, message: str | bytes) -> None:
        heard = json.loads(message)
        if heard["type"] == "connection_init":
            await self.write_message('{"type":"connection_ack"}')
        else:
            await self.write_message(inserted(0))


@asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[int, int]]:
    """Runs in a process of its own: the port, and the process's number."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bare", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.kill()
        await process.wait()


async def main() -> None:
    """Serve until the end of stdin."""
    sockets = bind_sockets(0, address="127.0.0.1", backlog=1024)
    server = HTTPServer(Application([("/graphql", Handler)]))
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
