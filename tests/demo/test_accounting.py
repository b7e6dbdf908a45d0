"""live_pnl against accounting a unit at a time, on any trades, also where old ones are folded on the way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal, localcontext

import pytest

from tests.support.postgres import Database
from tycostream.databases.connection import opened
from tycostream.demo.market import NAMED, Instrument, Market, Trade, make_instruments
from tycostream.demo.writer import KEPT_TRADES, create, fold_trades, write_prices, write_trades

BOOK = (
    "SELECT symbol, net_position, average_cost, realized_pnl, unrealized_pnl, total_pnl FROM live_pnl ORDER BY symbol"
)


class Book:
    """Average cost, a unit at a time, with 60 digits: as slow as it is plain."""

    def __init__(self) -> None:
        self.position = 0
        self.paid = Decimal(0)  # for the units that are open; received, where they are sold short
        self.realized = Decimal(0)

    def trade(self, trade: Trade) -> None:
        sign = 1 if trade.side == "buy" else -1
        price = Decimal(str(trade.price))
        for _ in range(trade.quantity):
            if self.position * sign >= 0:
                self.paid += price
            else:
                average = self.paid / abs(self.position)
                self.realized -= sign * (price - average)
                self.paid -= average
            self.position += sign

    def row(self, price: float) -> list[Decimal | int | None]:
        sign = 1 if self.position >= 0 else -1
        unrealized = self.position * Decimal(str(price)) - sign * self.paid
        average = self.paid / abs(self.position) if self.position else None
        return [self.position, average, self.realized, unrealized, self.realized + unrealized]


def expected(trades: Sequence[Trade], prices: dict[str, float]) -> dict[str, list[Decimal | int | None]]:
    books = {symbol: Book() for symbol in prices}
    with localcontext(prec=60):
        for trade in trades:
            books[trade.symbol].trade(trade)
        return {symbol: book.row(prices[symbol]) for symbol, book in books.items()}


def hold(database: Database, trades: Sequence[Trade], prices: dict[str, float]) -> None:
    wanted = expected(trades, prices)
    found = database.execute(BOOK)
    assert len(found) == len(wanted)
    for symbol, *values in found:
        for value, exact in zip(values, wanted[symbol], strict=True):
            if exact is None or value is None:
                assert value == exact, symbol
            else:
                assert abs(Decimal(value) - exact) <= Decimal("0.0051"), (symbol, values, wanted[symbol])


CASES = {
    "nothing": "",
    "a long position": "+10@5 +10@7 -5@9",
    "a short position": "-10@5 -10@7 +5@4",
    "closed": "+3@1.1 +3@2.2 +1@0.07 -7@3.33",
    "through zero and back": "+10@5 -25@6 +20@4 -5@4.5",
    "a third that never ends": "+1@1 +1@1 +1@2 -1@3 -1@3 -1@3",
}


def read(text: str) -> list[Trade]:
    trades = []
    for word in text.split():
        quantity, price = word[1:].split("@")
        trades.append(Trade("ONE", "buy" if word[0] == "+" else "sell", int(quantity), float(price)))
    return trades


class Still(Market):
    """A market without a past."""

    def history(self, rounds: int) -> list[Trade]:
        return [Trade("ONE", "buy", 1, 1.0), Trade("ONE", "sell", 1, 1.0)][:rounds]


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
async def test_positions_are_worth_what_their_average_cost_says(postgres: Database, text: str) -> None:
    instruments = [Instrument("ONE", "One", 6.5)]
    trades = read(text)
    async with opened(postgres.parameters) as connection:
        await create(connection, instruments, Still(instruments, 1))
        if trades:
            await write_trades(connection, trades)
        for kept in (10, 2, 1, 0):
            await fold_trades(connection, kept)
            hold(postgres, trades, {"ONE": 6.5})
            assert len(postgres.execute("SELECT FROM trades")) <= max(kept, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_any_trades_with_folding_in_between(postgres: Database, seed: int) -> None:
    dice = random.Random(seed)
    instruments = make_instruments(4)
    prices = {one.symbol: one.price for one in instruments}
    trades: list[Trade] = []
    async with opened(postgres.parameters) as connection:
        await create(connection, instruments, Quiet(instruments, seed))
        for _ in range(12):
            more = []
            for _ in range(dice.randint(1, 8)):
                one = dice.choice(instruments)
                price = round(one.price * dice.uniform(0.5, 1.5), 2)
                more.append(Trade(one.symbol, dice.choice(["buy", "sell"]), dice.randint(1, 30), price))
            await write_trades(connection, more)
            trades += more
            moved = {one.symbol: round(one.price * dice.uniform(0.8, 1.2), 2) for one in dice.sample(instruments, 2)}
            await write_prices(connection, list(moved.items()))
            prices |= moved
            if dice.random() < 0.5:
                await fold_trades(connection, dice.randint(0, 10))
            hold(postgres, trades, prices)


class Quiet(Market):
    """A market whose past came to nothing."""

    def history(self, rounds: int) -> list[Trade]:
        return [Trade(one.symbol, side, rounds, 1.0) for one in make_instruments(4) for side in ("buy", "sell")]

    def last_prices(self) -> list[tuple[str, float]]:
        return [(one.symbol, one.price) for one in make_instruments(4)]


async def test_the_demonstration_begins_with_a_history_that_adds_up(postgres: Database) -> None:
    instruments = make_instruments(NAMED * 4)
    async with opened(postgres.parameters) as connection:
        for seed in (1, 2):  # whatever was there before is gone
            await create(connection, instruments, Market(instruments, seed))
            again = Market(instruments, seed)
            trades = again.history(10)
            hold(postgres, trades, dict(again.last_prices()))
            assert postgres.execute("SELECT count(*) FROM trades") == [(KEPT_TRADES,)]
    ((apart,),) = postgres.execute("SELECT max(executed_at) - min(executed_at) < interval '6 hours' FROM trades")
    assert apart
