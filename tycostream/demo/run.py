"""`python -m tycostream demo`: the service on an embedded database, a market that moves, and what to open next."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from importlib import resources
from pathlib import Path

from tornado.websocket import websocket_connect

from tycostream.app import Service
from tycostream.databases.connection import AsyncConnection, opened
from tycostream.serving import serve
from tycostream.settings import load_schema, load_settings

PRICE_SECONDS = 0.25
TRADE_EVERY = 8
"""Price changes between two trades."""

SHOWN = 12
"""Updates printed before the demonstration leaves the terminal in peace."""

QUERY = "subscription { positions { operation data { symbol quantity price market_value profit } } }"


async def run(port: int | None) -> int:
    """Serve until interrupted. Returns the process's exit code."""
    with resources.as_file(resources.files("tycostream.demo")) as files:
        folder = Path.cwd()
        given = {name: os.environ[name] for name in ("GRAPHQL_PORT", "GRAPHQL_HOST", "LOG_LEVEL") if name in os.environ}
        environ = {"LOG_LEVEL": "warn", "EMBEDDED_PATH": str(folder / ".tycostream" / "demo")} | given
        environ |= {"DATABASE_TYPE": "embedded", "EMBEDDED_INIT": str(files / "market.sql"), "GRAPHQL_UI": "true"}
        if port is not None:
            environ["GRAPHQL_PORT"] = str(port)
        settings = load_settings(environ, files)
        print("Starting a private PostgreSQL (a few seconds the first time)...", flush=True)
        return await serve(settings, load_schema(files / "schema.yaml"), started=_show)


async def _show(service: Service) -> None:
    assert service.database is not None
    _introduce(service.port)
    async with opened(service.database) as connection:
        await asyncio.gather(_trade(connection), _watch(service.port))


def _introduce(port: int) -> None:
    python = sys.executable
    here = Path(python)
    if here.is_relative_to(Path.cwd()):
        python = str(here.relative_to(Path.cwd()))
    query = "{ positions(where: {profit: {_gt: 0}}) { symbol profit } }"
    print(
        f"""
tycostream is serving live positions, trades and instruments.

  In a browser:      http://localhost:{port}/
  In a terminal:     curl -s localhost:{port}/graphql -H 'Content-Type: application/json' -d '{{"query": "{query}"}}'
  Any GraphQL client: ws://localhost:{port}/graphql   (protocol graphql-transport-ws)

      {QUERY}

  What it does:      http://localhost:{port}/debug/actors
  Its schema file:   {resources.files("tycostream.demo").joinpath("schema.yaml")}

The first {SHOWN} updates of that subscription:
""",
        flush=True,
    )


async def _watch(port: int) -> None:
    """Subscribe as any client would, and print the first updates."""
    socket = await websocket_connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=["graphql-transport-ws"])
    await socket.write_message(json.dumps({"type": "connection_init"}))
    await socket.write_message(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": QUERY}}))
    shown = 0
    while shown < SHOWN and (text := await socket.read_message()) is not None:
        message = json.loads(text)
        if message["type"] == "next":
            shown += 1
            update = message["payload"]["data"]["positions"]
            values = "  ".join(f"{name}={value}" for name, value in update["data"].items() if value is not None)
            print(f"  {update['operation']:<7} {values}", flush=True)
    socket.close()
    print("\nIt goes on. Ctrl-C ends it.", flush=True)


async def _trade(connection: AsyncConnection) -> None:
    """Move prices, and make a trade now and then. Old trades go, so that the demonstration can run for ever."""
    symbols = [symbol for (symbol,) in await connection.execute("SELECT symbol FROM instruments ORDER BY symbol")]
    count = 0
    while True:
        count += 1
        symbol = random.choice(symbols)  # noqa: S311
        drift = random.gauss(1.0, 0.002)
        await connection.execute(
            "UPDATE instruments SET price = round((price * %s)::numeric, 2), updated_at = now() WHERE symbol = %s",
            (drift, symbol),
        )
        if count % TRADE_EVERY == 0:
            side = random.choice(("buy", "sell"))  # noqa: S311
            await connection.execute(
                "INSERT INTO trades (symbol, side, quantity, price) SELECT symbol, %s, %s, price"
                " FROM instruments WHERE symbol = %s",
                (side, random.randint(1, 20), symbol),  # noqa: S311
            )
            await connection.execute("DELETE FROM trades WHERE id < (SELECT max(id) FROM trades) - 1000")
        await asyncio.sleep(PRICE_SECONDS)
