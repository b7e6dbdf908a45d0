"""Writes the market into the database: all that there is at first, then prices and trades as they come."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from importlib import resources

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError
from tycostream.demo.market import Instrument, Market, Trade

log = logging.getLogger("tycostream.demo")

TICK_SECONDS = 0.05
"""Between two statements that write prices."""

PRICES_PER_TRADE = 80
"""Price changes between two trades, roughly: a trade every few seconds at the default rate."""

KEPT_TRADES = 600
"""Trades that are not folded into `holdings`, at least."""

_ROUNDS = 10
"""Trades of each instrument in the history that the demonstration begins with."""

_HISTORY_SECONDS = 6 * 3600
_AGAIN_SECONDS = 1.0

_INSTRUMENTS = (
    "INSERT INTO instruments (symbol, name, open_price, price) SELECT symbol, name, price, price"
    " FROM unnest(%s::text[], %s::text[], %s::numeric[]) AS made (symbol, name, price)"
)
_HOLDINGS = "INSERT INTO holdings (symbol) SELECT symbol FROM instruments"
_PRICES = (
    "UPDATE instruments SET price = made.price, updated_at = now()"
    " FROM unnest(%s::text[], %s::numeric[]) AS made (symbol, price)"
    " WHERE instruments.symbol = made.symbol AND instruments.price <> made.price"
)
_TRADES = (
    "INSERT INTO trades (symbol, side, quantity, price, executed_at)"
    " SELECT symbol, side, quantity, price, now() - make_interval(secs => age)"
    " FROM unnest(%s::text[], %s::side[], %s::integer[], %s::numeric[], %s::float8[])"
    " WITH ORDINALITY AS made (symbol, side, quantity, price, age, place) ORDER BY place"
)
_FOLD = "SELECT fold_trades(%s)"


async def create(connection: AsyncConnection, instruments: Sequence[Instrument], market: Market) -> None:
    """Make tables and views, whatever was there before, and fill them. Raises DatabaseError."""
    statements = resources.files("tycostream.demo").joinpath("market.sql").read_text(encoding="utf-8")
    await connection.execute("BEGIN")
    await connection.execute("SET LOCAL client_min_messages = warning")
    await connection.execute(statements)
    columns = (
        [one.symbol for one in instruments],
        [one.name for one in instruments],
        [one.price for one in instruments],
    )
    await connection.execute(_INSTRUMENTS, columns)
    await connection.execute(_HOLDINGS)
    history = market.history(_ROUNDS)
    apart = _HISTORY_SECONDS / len(history)
    await write_trades(connection, history, [apart * (len(history) - place) for place in range(len(history))])
    await write_prices(connection, market.last_prices())
    await connection.execute(_FOLD, (KEPT_TRADES,))
    await connection.execute("COMMIT")
    await connection.execute("ANALYZE")


async def write_prices(connection: AsyncConnection, prices: Sequence[tuple[str, float]]) -> None:
    """All of them in one statement, so that what is computed from prices is computed once."""
    await connection.execute(_PRICES, ([symbol for symbol, _ in prices], [price for _, price in prices]))


async def write_trades(
    connection: AsyncConnection, trades: Sequence[Trade], ages: Sequence[float] | None = None
) -> None:
    """In this order; `ages` are the seconds since they were made (default: now)."""
    columns = (
        [trade.symbol for trade in trades],
        [trade.side for trade in trades],
        [trade.quantity for trade in trades],
        [trade.price for trade in trades],
        [0.0] * len(trades) if ages is None else list(ages),
    )
    await connection.execute(_TRADES, columns)


async def fold_trades(connection: AsyncConnection, kept: int) -> None:
    """Fold all trades but the newest `kept` into what they came to."""
    await connection.execute(_FOLD, (kept,))


async def write_market(parameters: ConnectionParameters, market: Market, rate: float) -> None:
    """Write about `rate` price changes a second, and trades, until cancelled. A database that is lost is waited for."""
    while True:
        try:
            async with opened(parameters) as connection:
                # What is lost with a crash of the database is of no worth here
                await connection.execute("SET synchronous_commit = off")
                await _write(connection, market, rate)
        except DatabaseError as error:
            log.warning("the market stands still: %s", error)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _write(connection: AsyncConnection, market: Market, rate: float) -> None:
    clock = asyncio.get_running_loop().time
    pauses = random.Random(rate)  # noqa: S311
    due = 0.0
    until_trade = pauses.expovariate(1 / PRICES_PER_TRADE)
    until_fold = KEPT_TRADES
    while True:
        started = clock()
        due += rate * TICK_SECONDS
        count, due = int(due), due % 1
        if count:
            await write_prices(connection, market.prices(count))
        until_trade -= count
        trades = []
        while until_trade <= 0:
            trades.append(market.trade())
            until_trade += pauses.expovariate(1 / PRICES_PER_TRADE)
        if trades:
            await write_trades(connection, trades)
            until_fold -= len(trades)
        if until_fold <= 0:
            until_fold = KEPT_TRADES
            await fold_trades(connection, KEPT_TRADES)
        await asyncio.sleep(max(0.0, TICK_SECONDS - (clock() - started)))
