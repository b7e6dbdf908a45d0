"""A TCP proxy that does to connections what networks do: it cuts, resets, stalls, slows down and refuses. What it lets through
arrives whole and in order.

It stands between a service and its database, or between a client and the service, in the test's own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
WAIT_SECONDS = 20.0
CHUNK = 64 * 1024
BUFFER = 8 * 1024
"""Of the proxy's sockets: what lies in the kernel is neither here nor there, and should be little."""

SLOW_PIECES = 20
"""Into so many pieces a second's bytes are divided."""

Target = tuple[str, int] | str
"""An address, or the path of a Unix socket."""


class Way(enum.Enum):
    """A direction."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


BOTH_WAYS = (Way.TO_SERVER, Way.TO_CLIENT)


@dataclass
class Condition:
    """How it stands with one direction, of all connections."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    bytes_a_second: int | None = None

    def __post_init__(self) -> None:
        self.open.set()


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self.passed = dict.fromkeys(Way, 0)
        self.left: dict[Way, int | None] = dict.fromkeys(Way, None)
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._reset = False
        self.task = asyncio.ensure_future(self._live())
        self.task.add_done_callback(self._close)  # also where it was cut before it began

    def cut(self, *, reset: bool = False) -> None:
        """End it, towards both sides: with a FIN, or with an RST."""
        self._reset = reset
        self.task.cancel()

    async def _live(self) -> None:
        try:
            # A server that is not there is a connection that ends at once
            with contextlib.suppress(OSError):
                self._server = await _connect(self._proxy.target)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(Way.TO_SERVER, self._client, self._server))
                    both.create_task(self._pump(Way.TO_CLIENT, self._server, self._client))
        except* OSError:
            pass
        except* _CutHereError:
            self._proxy.cuts += 1

    def _close(self, _ended: object) -> None:
        for end in (self._client, self._server):
            if end is None:
                continue
            if self._reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._proxy.forget(self)

    async def _pump(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        condition = self._proxy.conditions[way]
        while True:
            await condition.open.wait()
            rate = condition.bytes_a_second
            size = CHUNK if rate is None else max(1, rate // SLOW_PIECES)
            data = await loop.sock_recv(source, size)
            # Whatever came while it was being read has not got through yet
            await condition.open.wait()
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            left = self.left[way]
            if left is not None:
                data, self.left[way] = data[:left], left - len(data)
            await loop.sock_sendall(sink, data)
            self.passed[way] += len(data)
            self._proxy.passed[way] += len(data)
            self._proxy.notify()
            if left is not None and left <= len(data):
                raise _CutHereError
            if rate is not None:
                await asyncio.sleep(len(data) / rate)

    def cut_after(self, count: int | None, way: Way, *, reset: bool = False) -> None:
        """End it when so many further bytes have passed this way; None takes that back."""
        self.left[way], self._reset = count, reset


class _CutHereError(Exception):
    """As many bytes as were asked for have passed."""


class FaultProxy:
    """See the module. It listens on a free port of this machine, and on the same one again after it has refused."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = 0
        self.links: list[Link] = []
        self.accepted = 0
        self.cuts = 0
        """Links that ended because of `cut_after`."""
        self.passed = dict.fromkeys(Way, 0)
        self.conditions = {way: Condition() for way in Way}
        self._cut_new: list[tuple[int, Way, bool]] = []
        self._listener: socket.socket | None = None
        self._accepting = False
        self._waiters: list[asyncio.Future[None]] = []

    # Life

    def accept(self) -> None:
        """Listen."""
        if self._accepting:
            return
        self._accepting = True
        if self._listener is None:
            self._listener = self._bound()
        self._listener.listen(100)
        self.port = self._listener.getsockname()[1]
        # sock_accept of the loop loses a connection when it is cancelled at the wrong moment
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _bound(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        listener.setblocking(False)
        listener.bind((HOST, self.port))
        return listener

    def refuse(self) -> None:
        """New connections are refused; those that are there stay. The port stays ours: it is bound, and nobody listens."""
        if self._accepting:
            self._close()
            self._listener = self._bound()

    def _close(self) -> None:
        assert self._listener is not None
        if self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()

    async def stop(self) -> None:
        """The end, for all."""
        self._close()
        tasks = [link.task for link in self.links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        link = Link(self, client)
        for count, way, reset in self._cut_new:
            link.cut_after(count, way, reset=reset)
        self.links.append(link)
        self.accepted += 1
        self.notify()

    def forget(self, link: Link) -> None:
        """A link has ended."""
        self.links.remove(link)
        self.notify()

    # Watching

    def notify(self) -> None:
        """Something has happened that a test may wait for."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
        """Wait until something that happens here (a connection, its end, bytes that pass) makes the condition true. Raises
        TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter

    # Faults

    def cut(self, *, reset: bool = False) -> int:
        """End all connections that are there; how many they were."""
        for link in list(self.links):
            link.cut(reset=reset)
        return len(self.links)

    def cut_after(self, count: int | None, way: Way = Way.TO_CLIENT, *, reset: bool = False, new: bool = False) -> None:
        """Each connection ends when so many further bytes have passed this way: those that are there, or (`new`) those to
        come; None takes that back."""
        if new:
            self._cut_new = [one for one in self._cut_new if one[1] is not way]
            if count is not None:
                self._cut_new.append((count, way, reset))
            return
        for link in self.links:
            link.cut_after(count, way, reset=reset)

    def stall(self, *ways: Way) -> None:
        """Nothing passes any more, these ways or both; sockets stay open, and new connections are accepted."""
        for way in ways or BOTH_WAYS:
            self.conditions[way].open.clear()

    def slow(self, bytes_a_second: int | None, *ways: Way) -> None:
        """So much passes and no more, these ways or both; None for all there is."""
        for way in ways or BOTH_WAYS:
            self.conditions[way].bytes_a_second = bytes_a_second

    def restore(self) -> None:
        """Whatever is there and whatever comes passes again."""
        for condition in self.conditions.values():
            condition.bytes_a_second = None
            condition.open.set()
        self._cut_new.clear()
        self.cut_after(None, Way.TO_CLIENT)
        self.cut_after(None, Way.TO_SERVER)
        self.accept()


async def _connect(target: Target) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
    opened.setblocking(False)
    try:
        if not isinstance(target, str):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        await asyncio.get_running_loop().sock_connect(opened, target)
    except BaseException:
        opened.close()
        raise
    return opened


@asynccontextmanager
async def proxying(target: Target) -> AsyncIterator[FaultProxy]:
    """A proxy to this address, or to this Unix socket, that is stopped at the end."""
    proxy = FaultProxy(target)
    proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.stop()
