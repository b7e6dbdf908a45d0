"""The proxy itself: what passes is whole and in order, and each fault is what it is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.faults import HOST, FaultProxy, Way, proxying

TEXT = bytes(range(256)) * 4000


class Echo:
    """A server that sends back what it hears, and remembers how connections ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.ends: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.heard += data
                writer.write(data)
                await writer.drain()
            self.ends.append("FIN")
        except ConnectionResetError:
            self.ends.append("RST")
        finally:
            writer.close()


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Echo, FaultProxy]]:
    server = Echo()
    listening = await asyncio.start_server(server.serve, HOST, 0)
    async with listening, proxying(listening.sockets[0].getsockname()) as proxy:
        yield server, proxy


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_what_passes_is_whole_and_in_order() -> None:
    async with echo() as (server, proxy), client(proxy) as (reader, writer):
        writer.write(TEXT)
        assert await asyncio.wait_for(reader.readexactly(len(TEXT)), 10) == TEXT
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await proxy.until(lambda: not proxy.links)
        assert server.ends == ["FIN"]
        assert proxy.passed == {Way.TO_SERVER: len(TEXT), Way.TO_CLIENT: len(TEXT)}


@pytest.mark.parametrize("reset", [False, True])
async def test_both_sides_see_the_cut(reset: bool) -> None:
    async with echo() as (server, proxy), client(proxy) as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        assert proxy.cut(reset=reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
        else:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        await proxy.until(lambda: not proxy.links)
        async with asyncio.timeout(10):
            while not server.ends:
                await asyncio.sleep(0)
        assert server.ends == ["RST" if reset else "FIN"]


@pytest.mark.parametrize("count", [0, 1, 70_000])
@pytest.mark.parametrize("way", Way)
async def test_exactly_so_many_bytes_pass_before_a_cut(count: int, way: Way) -> None:
    async with echo() as (server, proxy):
        proxy.cut_after(count, way, new=True)
        async with client(proxy) as (reader, writer):
            writer.write(TEXT)
            got = await asyncio.wait_for(_all(reader), 10)
            await proxy.until(lambda: not proxy.links)
            assert proxy.cuts == 1
            assert proxy.passed[way] == count
            if way is Way.TO_CLIENT:
                assert got == TEXT[:count]
            else:
                assert TEXT[:count].startswith(server.heard)


async def _all(reader: asyncio.StreamReader) -> bytes:
    got = b""
    try:
        while data := await reader.read(1 << 16):
            got += data
    except ConnectionResetError:
        pass
    return got


async def test_what_stalls_passes_later_and_new_connections_stall_too() -> None:
    async with echo() as (server, proxy), client(proxy) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        proxy.stall()
        writer.write(b"2")
        async with client(proxy) as (late, late_writer):
            late_writer.write(b"3")
            await proxy.until(lambda: proxy.accepted == 2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(late.read(1), 0.05)
            assert server.heard == b"1"
            proxy.restore()
            assert (await reader.readexactly(1), await late.readexactly(1)) == (b"2", b"3")


async def test_one_way_stalls_and_the_other_passes() -> None:
    async with echo() as (_, proxy), client(proxy) as (reader, writer):
        proxy.stall(Way.TO_CLIENT)
        writer.write(b"1")
        await proxy.until(lambda: proxy.passed[Way.TO_SERVER] == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        proxy.restore()
        assert await reader.readexactly(1) == b"1"


async def test_a_slow_connection_takes_its_time_and_pushes_back() -> None:
    async with echo() as (_, proxy), client(proxy) as (reader, writer):
        proxy.slow(2000, Way.TO_CLIENT)
        loop = asyncio.get_running_loop()
        began = loop.time()
        large = 12 * TEXT
        writer.write(large)
        got = await asyncio.wait_for(reader.readexactly(600), 10)
        assert got == large[:600]
        assert loop.time() - began >= 0.2
        assert proxy.passed[Way.TO_SERVER] < len(large), "the sender has to wait"
        proxy.restore()
        assert await asyncio.wait_for(reader.readexactly(len(large) - 600), 20) == large[600:]


async def test_it_refuses_and_accepts_again_on_the_same_port() -> None:
    async with echo() as (_, proxy), client(proxy) as (reader, writer):
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1", "those that are there stay"
        proxy.restore()
        assert proxy.port == port
        async with client(proxy) as (late, late_writer):
            late_writer.write(b"2")
            assert await late.readexactly(1) == b"2"


async def test_a_server_that_is_not_there_is_a_connection_that_ends() -> None:
    async with echo() as (_, proxy):
        proxy.refuse()
        async with proxying((HOST, proxy.port)) as nowhere, client(nowhere) as (reader, _):
            assert await asyncio.wait_for(reader.read(), 10) == b""
