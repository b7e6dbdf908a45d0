"""Limits as the environment sets them: what goes beyond one is refused with its code, and everybody else is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError

from tests.end_to_end.test_bad_input import QUERY, close_frame, frame, service_and_witness, shake_hands
from tests.support.client import connected
from tests.support.postgres import Database
from tests.web.support import raw

INIT = frame(b'{"type":"connection_init"}')


async def test_a_client_that_does_nothing_is_asked_to_go(postgres: Database, tmp_path: Path) -> None:
    async with service_and_witness(postgres, tmp_path, IDLE_SECONDS="0.2") as (service, _):
        reader, writer = await shake_hands(service.port)
        writer.write(INIT + frame(b'{"type":"ping"}'))
        assert await close_frame(reader) == (1000, "idle: no operation for 0.2 s")
        writer.close()


async def test_a_client_that_starts_too_many_operations_is_slowed_down_and_then_closed(
    postgres: Database, tmp_path: Path
) -> None:
    environ = {"OPERATIONS_PER_SECOND": "0.01", "OPERATIONS_BURST": "4"}
    async with service_and_witness(postgres, tmp_path, **environ) as (service, _), connected(service.port) as client:
        started = [await client.subscribe(QUERY) for _ in range(8)]
        await client.until(lambda: all(one.errors for one in started[4:]))
        assert {one.errors[0]["extensions"]["code"] for one in started[4:]} == {"RATE_LIMITED"}
        await client.until(lambda: all(one.rows for one in started[:4]))
        await client.subscribe(QUERY)
        await client.until(lambda: client.close_code)
        assert client.close_code == 1008


async def test_more_clients_of_one_address_than_allowed_are_refused(postgres: Database, tmp_path: Path) -> None:
    environ = {"MAX_CONNECTIONS_PER_ADDRESS": "2", "TRUSTED_PROXIES": "10.0.0.0/8"}
    async with service_and_witness(postgres, tmp_path, **environ) as (service, _), connected(service.port) as client:
        with pytest.raises(HTTPClientError) as refused:
            async with connected(service.port):
                pass
        assert refused.value.code == 429
        trades = await client.subscribe(QUERY)
        await client.until(lambda: trades.rows)


async def test_clients_behind_a_trusted_proxy_are_told_apart(postgres: Database, tmp_path: Path) -> None:
    environ = {"MAX_CONNECTIONS_PER_ADDRESS": "1", "TRUSTED_PROXIES": "127.0.0.0/8"}
    async with service_and_witness(postgres, tmp_path, **environ) as (service, _):
        statuses = []
        async with raw(service.port, upgraded=False) as one, raw(service.port, upgraded=False) as two:
            for client, address in ((one, "192.0.2.1"), (two, "192.0.2.2")):
                statuses.append((await client.handshake(X_Forwarded_For=address))[0])
            async with raw(service.port, upgraded=False) as three:
                statuses.append((await three.handshake(X_Forwarded_For="192.0.2.2"))[0])
        assert statuses == [101, 101, 429]
