"""The limit that delivery is measured against: `socket.send` of bytes that are there already, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.clients import Group, Sink


class Plain:
    """Sockets whose other ends are clients that only read."""

    def __init__(self, sockets: list[socket.socket], group: Group) -> None:
        self.sockets, self.group = sockets, group

    def send(self, data: bytes) -> None:
        """To each of them, whole."""
        for one in self.sockets:
            if one.send(data) != len(data):
                raise RuntimeError("a client did not keep up")

    async def send_all(self, data: bytes) -> None:
        """To the first one, however long it takes."""
        await asyncio.get_running_loop().sock_sendall(self.sockets[0], data)


@asynccontextmanager
async def plain(clients: Sink, count: int) -> AsyncIterator[Plain]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=count) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        connecting = asyncio.ensure_future(clients.connect(port, count, first=0, plain=True))
        try:
            while len(sockets) < count:
                one, _address = await loop.sock_accept(server)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets.append(one)
            yield Plain(sockets, await connecting)
        finally:
            connecting.cancel()
            for one in sockets:
                one.close()
