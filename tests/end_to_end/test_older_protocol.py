"""The older graphql-ws against the whole service: its clients' own words, what they get wrong, and how they are ended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.end_to_end.test_bad_input import SCHEMA, close_frame, frame, service_and_witness, shake_hands
from tests.support.client import LEGACY_WS, connected
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.app import Service

LEGACY = LEGACY_WS.protocol
INIT = frame(b'{"type":"connection_init","payload":{}}')
QUERY = "subscription {\\n  trades {\\n    operation\\n    data {\\n      id\\n      symbol\\n      __typename\\n    }\\n  }\\n}\\n"


async def texts(reader: asyncio.StreamReader, count: int) -> list[dict[str, object]]:
    """The next text messages; pings are passed over."""
    found: list[dict[str, object]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            first, size = await reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            payload = await reader.readexactly(size)
            if first == 0x81:
                found.append(json.loads(payload))
    return found


async def test_the_words_of_the_apollo_client(postgres: Database, tmp_path: Path) -> None:
    """subscriptions-transport-ws under apollo-link-ws: init, start at once, stop, and leave (src/client.ts)."""
    async with service_and_witness(postgres, tmp_path) as (service, _):
        reader, writer = await shake_hands(service.port, LEGACY)
        start = (
            '{"id":"1","type":"start","payload":{"variables":{},"extensions":{},"operationName":null,"query":"'
            + QUERY + '"}}'
        )  # fmt: skip
        writer.write(INIT + frame(start.encode()))
        assert await texts(reader, 3) == [
            {"type": "connection_ack"},
            {"type": "ka"},
            {"id": "1", "type": "data", "payload": {"data": {"trades": {
                "operation": "INSERT", "data": {"id": 1, "symbol": "AAPL", "__typename": "trades"},
            }}}},
        ]  # fmt: skip
        await postgres.run("UPDATE trades SET symbol = 'MSFT'")
        assert await texts(reader, 1) == [
            {"id": "1", "type": "data", "payload": {"data": {"trades": {
                "operation": "UPDATE", "data": {"id": 1, "symbol": "MSFT", "__typename": "trades"},
            }}}},
        ]  # fmt: skip
        writer.write(frame(b'{"id":"1","type":"stop"}'))
        assert await texts(reader, 1) == [{"id": "1", "type": "complete"}]
        (mine,) = [one for one in await service.actors("connection") if one["details"]["protocol"] == LEGACY]
        assert mine["details"]["subscriptions"] == []
        writer.write(frame(b'{"type":"connection_terminate","payload":null}'))
        assert await close_frame(reader) == (1000, "the client terminated the connection")
        writer.write(frame(b"\x03\xe8", 8))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


WRONG = {
    "no JSON": frame(b"not json"),
    "nesting": frame(b"[" * 100_000),
    "an unknown type": frame(b'{"type":"subscribe","id":"1"}'),
    "no id": frame(b'{"type":"start","payload":{"query":"{ __typename }"}}'),
    "an init that is none": frame(b'{"type":"connection_init","payload":"secret"}'),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_not_understood_is_answered_and_the_connection_goes_on(
    postgres: Database, tmp_path: Path, what: str
) -> None:
    async with service_and_witness(postgres, tmp_path) as (service, _):
        reader, writer = await shake_hands(service.port, LEGACY)
        writer.write(WRONG[what] + INIT + frame(b'{"type":"start","id":1,"payload":{"query":"{ __typename }"}}'))
        rejected, *rest = await texts(reader, 5)
        assert rejected["type"] == "connection_error"
        assert rest == [
            {"type": "connection_ack"},
            {"type": "ka"},
            {"id": 1, "type": "data", "payload": {"data": {"__typename": "Query"}}},
            {"id": 1, "type": "complete"},
        ]
        writer.transport.abort()


CLOSED = {
    "invalid UTF-8": (INIT + frame(b"\xff\xfe"), 4400),
    "a binary frame": (INIT + frame(b"binary", 2), 4400),
    "a large message": (INIT + frame(b"x" * 300_000), 1009),
    "a large message in parts": (INIT + frame(b"x" * 150_000, fin=False) + frame(b"x" * 150_000, 0), 1009),
    "a frame that is not masked": (INIT + b"\x81\x02{}", 1002),
    "silence": (b"", 4408),
    "half an init": (frame(b'{"type":"connection_', fin=False), 4408),
    "a start instead of an init": (frame(b'{"type":"start","id":"1","payload":{"query":"{ a }"}}'), 4408),
}


@pytest.mark.parametrize("what", CLOSED)
async def test_what_can_not_go_on_is_closed_with_its_code(postgres: Database, tmp_path: Path, what: str) -> None:
    sent, code = CLOSED[what]
    async with service_and_witness(postgres, tmp_path) as (service, _):
        reader, writer = await shake_hands(service.port, LEGACY)
        writer.write(sent)
        assert (await close_frame(reader))[0] == code
        writer.close()


async def test_keep_alives_come_as_often_as_pings(postgres: Database, tmp_path: Path) -> None:
    async with (
        service_and_witness(postgres, tmp_path, PING_SECONDS="0.05") as (service, _),
        connected(service.port, protocol=LEGACY) as client,
    ):
        await client.until(lambda: client.keep_alives > 3)


async def test_without_pings_there_are_no_keep_alives(postgres: Database, tmp_path: Path) -> None:
    async with (
        service_and_witness(postgres, tmp_path, PING_SECONDS="0") as (service, _),
        connected(service.port, protocol=LEGACY) as client,
    ):
        trades = await client.subscribe("subscription { trades { operation data { id } fields timestamp } }")
        await client.until(lambda: trades.rows)
        assert client.keep_alives == 0


async def test_a_client_that_does_not_read_is_closed_with_1013(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text); INSERT INTO trades VALUES (1, 'AAPL')")
    limits = {"OUTBOX_ROWS": "10", "OUTBOX_MAX_ROWS": "100"}
    async with serving(tmp_path, SCHEMA, postgres.environ | limits) as service:
        reader, writer = await shake_hands(service.port, LEGACY)
        reader._limit = 1024  # type: ignore[attr-defined]  # so that asyncio does not read ahead
        writer.write(INIT + frame(b'{"id":"1","type":"start","payload":{"query":"' + QUERY.encode() + b'"}}'))
        await texts(reader, 3)
        insert = "INSERT INTO trades SELECT g, repeat('x', 20000) FROM generate_series(%s::int, %s::int) g"
        for first in range(1000, 7000, 1000):  # six times 6 MB: more than the kernel takes
            await postgres.run(insert, (first, first + 300))
            await reached(service, first + 300)
        reader._limit = 1 << 20  # type: ignore[attr-defined]
        code, reason = await until_closed(reader)
        assert code == 1013
        assert "merged changes wait, more than the 100 that are kept" in reason
        writer.close()


async def reached(service: Service, key: int) -> None:
    """Until the source has this row, whatever its clients do."""
    query = json.dumps({"query": f"{{ trades_by_pk(id: {key}) {{ id }} }}"})
    client = AsyncHTTPClient(force_instance=True)
    async with asyncio.timeout(20):
        while True:
            answer = await client.fetch(
                f"http://127.0.0.1:{service.port}/graphql",
                method="POST",
                body=query,
                headers={"Content-Type": "application/json"},
            )
            if json.loads(answer.body)["data"]["trades_by_pk"] is not None:
                break
    client.close()


async def until_closed(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The close frame behind all that is to be read first, of any length."""
    async with asyncio.timeout(20):
        while True:
            first, size = await reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if first == 0x88:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()
