"""The made-up market: the same seed makes the same one, prices stay near where they began, positions near a target."""

from __future__ import annotations

import itertools

import pytest

from tycostream.demo.market import NAMED, Instrument, Market, make_instruments


@pytest.mark.parametrize("count", [1, 7, NAMED, NAMED + 1, 5000])
def test_so_many_instruments_each_with_its_own_symbol(count: int) -> None:
    made = make_instruments(count)
    assert len({one.symbol for one in made}) == len(made) == count
    assert all(one.price > 0 and one.name and one.symbol for one in made)
    assert made == make_instruments(count)


def play(seed: int) -> list[object]:
    market = Market(make_instruments(NAMED), seed)
    played: list[object] = list(market.history(3))
    for _ in range(50):
        played += market.prices(6)
        played.append(market.trade())
    return [*played, *market.last_prices()]


def test_the_same_seed_makes_the_same_market() -> None:
    assert play(7) == play(7)
    assert play(7) != play(8)


def test_every_price_changes_in_its_turn_and_none_twice_at_a_time() -> None:
    market = Market(make_instruments(NAMED), 1)
    moved = set()
    for _ in range(40):
        changes = market.prices(6)
        symbols = [symbol for symbol, _ in changes]
        assert 1 <= len(set(symbols)) == len(symbols) <= 6
        moved |= set(symbols)
    assert len(moved) == NAMED
    assert len(market.prices(10_000)) <= NAMED


def test_prices_move_and_never_run_away() -> None:
    instruments = make_instruments(3)
    market = Market(instruments, 5)
    seen: dict[str, list[float]] = {one.symbol: [] for one in instruments}
    for _ in range(20_000):
        for symbol, price in market.prices(3):
            seen[symbol].append(price)
    for one in instruments:
        assert len(set(seen[one.symbol])) > 50
        assert one.price * 0.8 < min(seen[one.symbol]) <= max(seen[one.symbol]) < one.price * 1.25


def test_the_cheapest_price_is_a_cent() -> None:
    market = Market([Instrument("A", "A", 0.01)], 3)
    assert {price for _ in range(2000) for _, price in market.prices(1)} == {0.01}


def test_trades_are_at_the_last_price_and_positions_stay_bounded_short_ones_too() -> None:
    instruments = make_instruments(NAMED)
    market = Market(instruments, 2)
    held = dict.fromkeys((one.symbol for one in instruments), 0)
    last = dict(market.last_prices())
    for _ in itertools.repeat(None, 20_000):
        last |= dict(market.prices(2))
        trade = market.trade()
        assert trade.price == last[trade.symbol]
        assert trade.quantity >= 1
        held[trade.symbol] += trade.quantity if trade.side == "buy" else -trade.quantity
        assert abs(held[trade.symbol] * trade.price) < 250_000
    assert min(held.values()) < 0 < max(held.values())
