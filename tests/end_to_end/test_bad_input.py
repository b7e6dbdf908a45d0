"""Bad input of every kind gets a clear answer, and leaves the service healthy for everybody else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import GraphQLClient, connected
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.app import Service

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String}
"""
QUERY = "subscription { trades { operation data { id symbol } fields timestamp } }"
LIMITS = {"INIT_TIMEOUT_SECONDS": "0.2", "MAX_SUBSCRIPTIONS_PER_CONNECTION": "50", "MAX_MESSAGE_BYTES": "200000"}


@asynccontextmanager
async def service_and_witness(
    postgres: Database, folder: Path, **environ: str
) -> AsyncIterator[tuple[Service, GraphQLClient]]:
    """A service with a client that must not notice anything: at the end it still hears of a change."""
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text); INSERT INTO trades VALUES (1, 'AAPL')")
    async with (
        serving(folder, SCHEMA, postgres.environ | LIMITS | environ) as service,
        connected(service.port) as witness,
    ):
        trades = await witness.subscribe(QUERY)
        await witness.until(lambda: trades.rows)
        yield service, witness
        postgres.execute("UPDATE trades SET symbol = 'still here'")
        await witness.until(lambda: trades.rows[1,]["symbol"] == "still here")
        client = AsyncHTTPClient(force_instance=True)
        health = await client.fetch(f"http://127.0.0.1:{service.port}/health")
        assert json.loads(health.body)["status"] == "ok"
        client.close()


def nested(depth: int) -> str:
    return "subscription { trades(where: " + "{_not: " * depth + "{}" + "}" * depth + ") { operation } }"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ __typename " * 2000 + "}" * 2000, "nested|depth|levels|nesting"),
        (nested(2000), "nested|depth|levels|nesting"),
        ("{ " + " ".join(f"a{number}: __typename" for number in range(10_000)) + " }", "tokens|aliases"),
        ("subscription { trades { " + " ".join(f"a{number}: operation" for number in range(150)) + " } }", "aliases"),
        ("subscription { trades(where: {symbol: {_equals: 1}}) { operation } }", "_equals"),
        ('subscription { trades(where: {id: {_eq: "one"}}) { operation } }', "Int cannot represent"),
        ('subscription { trades(where: {symbol: {_regex: "(?=a)"}}) { operation } }', r"symbol\._regex: lookahead"),
        ("subscription { trades(where: {symbol: {_eq: null}}) { operation } }", r"symbol\._eq: null"),
        ("subscription { trades { operation } other: trades { operation } }", "must select only one top level field"),
        ("subscription { nothing { operation } }", "Cannot query field 'nothing'"),
        ("mutation { x }", "Cannot query field 'x' on type 'Mutation'"),
        ("{", "Syntax Error"),
        ("", "Syntax Error"),
        ("subscription { ...f } fragment f on Subscription { ...f }", "Fragments must not spread in a circle"),
    ],
)
async def test_a_document_that_is_wrong_is_an_error_for_that_operation(
    postgres: Database, tmp_path: Path, query: str, message: str
) -> None:
    async with service_and_witness(postgres, tmp_path) as (_, witness):
        answer = await witness.subscribe(query)
        await witness.until(lambda: answer.errors)
        told = " ".join(error["message"] for error in answer.errors)
        assert re.search(message, told), told
        assert "Traceback" not in told


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A masked client frame."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes((0x80 * fin | opcode,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65536:
        head += bytes((0x80 | 126,)) + struct.pack("!H", size)
    else:
        head += bytes((0x80 | 127,)) + struct.pack("!Q", size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


async def shake_hands(
    port: int, protocol: str = "graphql-transport-ws"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + protocol.encode() + b"\r\n\r\n"
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def close_frame(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The code and reason that the server closes with; what comes before is passed over."""
    async with asyncio.timeout(10):
        while True:
            first, second = await reader.readexactly(2)
            size = second & 127
            if size == 126:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
            payload = await reader.readexactly(size)
            if first == 0x88:
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()


INIT = frame(b'{"type":"connection_init"}')


WRONG = {
    "invalid UTF-8": (INIT + frame(b"\xff\xfe"), 4400),
    "a binary frame": (INIT + frame(b"binary", 2), 4400),
    "no JSON": (INIT + frame(b"not json"), 4400),
    "nesting": (INIT + frame(b"[" * 100_000), 4400),
    "an unknown type": (INIT + frame(b'{"type":"unheard"}'), 4400),
    "a second init": (INIT + INIT, 4429),
    "a large message": (INIT + frame(b"x" * 300_000), 1009),
    "no init": (frame(b'{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}'), 4401),
    "silence": (b"", 4408),
    "half a message": (frame(b'{"type":"connection_', fin=False), 4408),
}


@pytest.mark.parametrize("what", WRONG)
async def test_frames_that_are_wrong_close_with_their_code(postgres: Database, tmp_path: Path, what: str) -> None:
    sent, code = WRONG[what]
    async with service_and_witness(postgres, tmp_path) as (service, _):
        reader, writer = await shake_hands(service.port)
        writer.write(sent)
        assert (await close_frame(reader))[0] == code
        writer.close()


async def test_a_client_of_no_known_protocol_is_told_by_4406(postgres: Database, tmp_path: Path) -> None:
    async with service_and_witness(postgres, tmp_path) as (service, _):
        reader, writer = await shake_hands(service.port, "soap")
        assert await close_frame(reader) == (4406, "Subprotocol not acceptable")
        writer.close()


async def test_half_open_and_senseless_sockets_harm_nobody(postgres: Database, tmp_path: Path) -> None:
    async with service_and_witness(postgres, tmp_path) as (service, _):
        writers = []
        for start in (b"", b"GET /graphql HTTP/1.1\r\nUpgrade: web", os.urandom(1000), b"\r\n\r\n" * 100, INIT):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(start)
            writers.append(writer)
        for writer in writers:
            writer.transport.abort()


async def test_more_clients_than_allowed_are_refused_before_the_handshake(postgres: Database, tmp_path: Path) -> None:
    async with service_and_witness(postgres, tmp_path, MAX_CONNECTIONS="2") as (service, _), connected(service.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 5" in answer
        writer.close()


async def test_subscribing_and_leaving_again_and_again_leaves_nothing_behind(
    postgres: Database, tmp_path: Path
) -> None:
    async with service_and_witness(postgres, tmp_path) as (service, _), connected(service.port) as client:
        for number in range(200):
            query = QUERY.replace("trades", f'trades(where: {{symbol: {{_neq: "{number}"}}}})')
            subscription = await client.subscribe(query)
            if number % 3:
                await client.until(lambda subscription=subscription: subscription.rows)
            await client.complete(subscription)
        views = ["?"] * 2
        async with asyncio.timeout(10):
            while len(views) != 1:
                (source,) = await service.actors("source")
                views = source["details"]["views"]
        connections = await service.actors("connection")
        assert sum(len(one["details"]["subscriptions"]) for one in connections) == 1


async def test_too_many_operations_of_one_client_are_refused(postgres: Database, tmp_path: Path) -> None:
    async with service_and_witness(postgres, tmp_path) as (service, _), connected(service.port) as client:
        subscriptions: list[Any] = [await client.subscribe(QUERY) for _ in range(51)]
        await client.until(lambda: subscriptions[-1].errors)
        assert subscriptions[-1].errors[0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        await client.until(lambda: all(one.rows for one in subscriptions[:-1]))
