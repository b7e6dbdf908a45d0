"""The sending side over a real pair of sockets: order, back-pressure, and ends of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tornado.iostream import IOStream

from tests.web.support import WAIT, until
from tycostream.metrics import ClientCounts
from tycostream.web.transport import UNSENT_BYTES, SocketTransport

BLOCK = bytes(range(256)) * 4096  # 1 MiB


@dataclass(eq=False)
class Pair:
    """A transport, its stream, and the client's end. `told`: what the transport called, in order."""

    stream: IOStream
    client: socket.socket
    told: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = ClientCounts()
        self.transport = SocketTransport(
            self.stream,
            lambda code, reason: self.told.append((code, reason)),
            lambda: self.told.append("progressed"),
            self.counts,
        )
        self.transport.on_drained = lambda: self.told.append("drained")
        self.transport.on_blocked = lambda: self.told.append("blocked")

    async def read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        parts = []
        while size:
            part = await asyncio.wait_for(loop.sock_recv(self.client, min(size, 65536)), WAIT)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Two ends of a TCP connection; the client's takes little."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
    client.setblocking(False)
    stream = IOStream(accepted)
    try:
        yield Pair(stream, client)
    finally:
        stream.close()
        client.close()


async def test_what_fits_goes_straight_to_the_kernel() -> None:
    async with pair() as ends:
        ends.transport.send(b"one")
        ends.transport.send(b"two")
        assert ends.transport.pending == 0
        assert ends.client.recv(6) == b"onetwo"  # no turn of the loop was needed
        assert ends.counts.sent == 6
        assert not ends.told
        assert ends.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_what_does_not_fit_waits_and_arrives_in_order() -> None:
    async with pair() as ends:
        sent = b""
        for number in range(40):
            frames = bytes([number]) * (3000 if number % 3 else 300_000)
            ends.transport.send(frames)
            sent += frames
        ends.transport.wait_for(ends.stream.write(b"a pong by Tornado"))
        ends.transport.send(b"last")
        sent += b"a pong by Tornado" + b"last"
        assert 0 < ends.transport.pending < len(sent)
        assert await ends.read(len(sent)) == sent
        await until(lambda: not ends.transport.pending)
        assert ends.told[-1] == "drained"
        assert ends.told.count("drained") == 1
        assert ends.told.count("progressed") > 1
        ends.transport.send(b"direct again")
        assert ends.transport.pending == 0
        assert await ends.read(12) == b"direct again"


async def test_it_is_told_when_nothing_may_go_past_the_stream_and_when_it_may_again() -> None:
    async with pair() as ends:
        ends.transport.wait_for(ends.stream.write(BLOCK * 4))
        assert ends.transport.blocked
        assert ends.told == ["blocked"]
        assert not ends.transport.pending, "what others have written is not the connection's"
        await ends.read(len(BLOCK) * 4)
        await until(lambda: not ends.transport.blocked)
        assert ends.told == ["blocked", "drained"]


async def test_what_a_direct_send_has_left_goes_before_everything_else() -> None:
    async with pair() as ends:
        taken = ends.transport.put(BLOCK * 4)
        assert 0 < taken < len(BLOCK) * 4
        ends.transport.left(BLOCK * 4, taken)
        assert ends.transport.blocked
        assert ends.told == ["blocked"]
        ends.transport.send(b"behind")
        assert await ends.read(len(BLOCK) * 4 + 6) == BLOCK * 4 + b"behind"
        await until(lambda: not ends.transport.blocked)
        assert ends.told[-1] == "drained"


async def test_a_direct_send_to_a_socket_that_is_gone_ends_the_stream() -> None:
    async with pair() as ends:
        ends.transport.send(b"unread")
        ends.client.close()
        taken = None
        while taken is None:
            with contextlib.suppress(OSError):
                ends.transport.put(b"x")
                continue
            taken = 0
        ends.transport.left(b"x", taken)
        assert ends.stream.closed()
        assert ends.transport.pending == 0


async def test_nothing_overtakes_what_tornado_has_queued() -> None:
    async with pair() as ends:
        ends.transport.wait_for(ends.stream.write(BLOCK * 4))
        assert ends.stream.writing()
        ends.transport.send(b"behind")
        assert ends.transport.pending == 6
        assert (await ends.read(len(BLOCK) * 4 + 6)).endswith(BLOCK + b"behind")


async def test_nothing_overtakes_what_tornado_has_queued_when_the_kernel_has_room_again() -> None:
    async with pair() as ends:
        ends.transport.wait_for(ends.stream.write(BLOCK * 4))
        received = bytearray()
        while len(received) < len(BLOCK):  # the loop has no turn: the stream goes on waiting
            with contextlib.suppress(BlockingIOError):
                received += ends.client.recv(65536)
            if not select.select([ends.client], [], [], 0.2)[0]:
                break
        assert select.select([], [ends.stream.socket], [], 0)[1], "there is room"
        ends.transport.send(b"behind")
        assert ends.transport.pending == 6
        received += await ends.read(len(BLOCK) * 4 + 6 - len(received))
        assert received == BLOCK * 4 + b"behind"


async def test_the_kernel_takes_little_for_a_client_that_does_not_read() -> None:
    async with pair() as ends:
        ends.transport.send(BLOCK * 8)
        await asyncio.sleep(0)
        taken = len(BLOCK) * 8 - ends.transport.pending
        assert ends.transport.pending == len(BLOCK) * 8 - taken
        assert taken < 4 * UNSENT_BYTES


async def test_a_close_is_asked_for_once_and_nothing_is_sent_after_it() -> None:
    async with pair() as ends:
        ends.transport.send(b"before")
        ends.transport.close(4400, "why")
        ends.transport.close(1001, "again")
        ends.transport.send(b"after")
        assert ends.transport.blocked
        assert ends.told == ["blocked", (4400, "why")]
        ends.stream.close()
        assert await ends.read(100) == b"before"


async def test_nothing_is_sent_once_it_is_abandoned() -> None:
    async with pair() as ends:
        ends.transport.abandon()
        ends.transport.send(b"after")
        ends.transport.close(1001, "late")
        assert ends.told == ["blocked"]
        ends.stream.close()
        assert await ends.read(100) == b""


async def test_a_stream_that_is_closed_takes_nothing() -> None:
    async with pair() as ends:
        ends.stream.close()
        ends.transport.send(b"x")
        assert ends.transport.pending == 0


async def test_a_client_that_resets_ends_the_stream() -> None:
    async with pair() as ends:
        ends.transport.send(BLOCK * 8)
        ends.client.close()  # with unread data: a reset
        await until(ends.stream.closed)
        ends.transport.send(b"x")
        await asyncio.sleep(0)
        assert "drained" not in ends.told


async def test_a_reset_that_only_a_direct_send_meets_ends_the_stream() -> None:
    async with pair() as ends:
        ends.transport.send(b"unread")
        ends.client.close()
        while not ends.stream.closed():  # the loop has no turn: only sending can find out
            ends.transport.send(b"x")
        assert ends.transport.pending == 0
