"""deploy/healthcheck.py against servers that answer well, badly, and not at all."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.deploy.image import ROOT

SCRIPT = ROOT / "deploy" / "healthcheck.py"
ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@asynccontextmanager
async def answering(answer: bytes, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that hears one request and says this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /health HTTP/1.1\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def health(port: int | str, host: str = "") -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(SCRIPT), env={"GRAPHQL_PORT": str(port), "GRAPHQL_HOST": host, "HTTP_PROXY": "http://127.0.0.1:1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, output.decode().strip()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ANSWER % b"200 OK", (0, "200 {}")),
        (ANSWER % b"503 Service Unavailable", (1, "503 {}")),
        (b"SSH-2.0-OpenSSH\r\n", (1, "no answer: what answers is no HTTP server")),
        (b"", (1, "no answer: what answers is no HTTP server")),
    ],
)
async def test_only_200_is_healthy(answer: bytes, expected: tuple[int, str]) -> None:
    async with answering(answer) as port:
        assert await health(port) == expected


@pytest.mark.parametrize("host", ["", "0.0.0.0", " 127.0.0.1 "])
async def test_it_asks_where_the_service_listens(host: str) -> None:
    async with answering(ANSWER % b"200 OK") as port:
        assert await health(port, host) == (0, "200 {}")


async def test_nobody_there_is_not_healthy() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        code, told = await health(bound.getsockname()[1])
    assert code == 1
    assert told.startswith("no answer: ")
    assert "Traceback" not in told


async def test_silence_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = asyncio.get_running_loop().time()
        code, told = await health(silent.getsockname()[1])
    assert (code, told) == (1, "no answer: timed out")
    assert asyncio.get_running_loop().time() - began < 10
