"""The demonstration's service on a database of the test's own. Its market stands still unless the test moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tests.support.postgres import Database
from tycostream.app import Service
from tycostream.databases.connection import opened
from tycostream.demo.market import Market, Trade, make_instruments
from tycostream.demo.receiver import Alerts
from tycostream.demo.routes import make_routes
from tycostream.demo.writer import create, write_prices, write_trades
from tycostream.settings import load_schema, load_settings


@dataclass(eq=False)
class Demo:
    """A running demonstration: what a test does to its market."""

    service: Service
    database: Database

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}/demo"

    async def price(self, symbol: str, price: float) -> None:
        async with opened(self.database.parameters) as connection:
            await write_prices(connection, [(symbol, price)])

    async def trade(self, *trades: Trade) -> None:
        async with opened(self.database.parameters) as connection:
            await write_trades(connection, trades)

    async def rows(self, sql: str) -> Sequence[tuple[object, ...]]:
        return await self.database.run(sql)


async def fill(database: Database, instruments: int) -> None:
    """The tables as the demonstration begins with them."""
    made = make_instruments(instruments)
    async with opened(database.parameters) as connection:
        await create(connection, made, Market(made, 7))


@asynccontextmanager
async def demonstrating(database: Database, port: int = 0) -> AsyncIterator[Demo]:
    """Serve what `fill` has made; stopped at the end."""
    folder = Path(str(resources.files("tycostream.demo")))
    environ = {"GRAPHQL_PORT": str(port), "GRAPHQL_HOST": "127.0.0.1", "GRAPHQL_UI": "true", **database.environ}
    settings = load_settings({**environ, "RECONNECT_MAX_MS": "200"}, folder)
    alerts = Alerts(database.parameters)
    routes = make_routes(alerts, settings.service.host, {"instruments": 24, "rate": 0})
    service = Service(settings, load_schema(folder / "schema.yaml"), routes)
    try:
        await service.start()
        yield Demo(service, database)
    finally:
        await service.stop()
        alerts.close()
