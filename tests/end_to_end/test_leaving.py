"""A client that has gone leaves nothing that waits for the garbage collector: a service whose clients come and go would
grow for as long as that has not run."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClientConnection

from actors.connection import ConnectionActor
from tests.end_to_end.test_first_light import QUERY, SCHEMA
from tests.support.client import connected
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.web.graphql_handler import GraphQLHandler
from tycostream.web.transport import SocketTransport
from tycostream.web.websocket import PatientProtocol

KINDS = (ConnectionActor, GraphQLHandler, SocketTransport, PatientProtocol)


def alive() -> set[str]:
    """The kinds of which there is one."""
    return {type(one).__name__ for one in gc.get_objects() if type(one) in KINDS}


def streams_of_clients() -> list[IOStream]:
    """The other sides of the sockets, which run in this process too."""
    return [one.stream for one in gc.get_objects() if isinstance(one, WebSocketClientConnection)]


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_client_leaves_no_rings(postgres: Database, tmp_path: Path, *, abruptly: bool) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    postgres.execute("INSERT INTO trades VALUES (1, 'AAPL', 1.5)")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        gc.collect()
        gc.disable()
        try:
            async with connected(service.port) as client:
                trades = await client.subscribe(QUERY.replace("timestamp", "timestamp cursor"))
                await client.until(lambda: len(trades.rows) == 1)
                assert alive() == {kind.__name__ for kind in KINDS}
                if abruptly:
                    for stream in streams_of_clients():
                        stream.close()
            async with asyncio.timeout(20):
                while alive():
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
