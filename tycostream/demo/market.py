"""A market that is made up: prices that wander, and trades at them. The same seed makes the same market."""

from __future__ import annotations

import itertools
import math
import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NAMED = (
    ("ALDR", "Alder Timber", 41.20), ("BRNT", "Brent Harbour", 78.35), ("CADE", "Cadence Rail", 132.60),
    ("CRUX", "Crux Mining", 18.74), ("DUNE", "Dune Solar", 64.90), ("ECHO", "Echo Acoustics", 27.15),
    ("FJRD", "Fjord Shipping", 203.40), ("GALE", "Gale Wind", 88.05), ("HALO", "Halo Optics", 311.50),
    ("IBEX", "Ibex Outdoor", 52.30), ("JUNO", "Juno Aerospace", 412.80), ("KELP", "Kelp Foods", 23.65),
    ("LYRA", "Lyra Instruments", 149.95), ("MESA", "Mesa Cement", 35.40), ("NOVA", "Nova Therapeutics", 96.10),
    ("ONYX", "Onyx Semiconductors", 528.25), ("PINE", "Pine Paper", 14.88), ("QUAY", "Quay Logistics", 71.55),
    ("RUNE", "Rune Security", 184.70), ("SAGE", "Sage Insurance", 107.30), ("TARN", "Tarn Water", 46.75),
    ("UMBR", "Umbra Cloud", 265.90), ("VALE", "Vale Robotics", 339.15), ("WREN", "Wren Airlines", 29.60),
)  # fmt: skip

NAMED = len(_NAMED)

_STEP = 0.002
"""Standard deviation of one price change, as a fraction of the price."""

_PULL = 0.002
"""How much of its distance from where it began a price gives up with each change, so that it never runs away."""

_LOT = 6_000.0
"""What a trade is worth, more or less."""

_LEANING = 25_000.0
"""How far from its target a position may be before trades lean strongly towards it."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded; `price` is what it begins at."""

    symbol: str
    name: str
    price: float


@dataclass(frozen=True, slots=True)
class Trade:
    """`side` is buy or sell."""

    symbol: str
    side: str
    quantity: int
    price: float


def make_instruments(count: int) -> list[Instrument]:
    """So many instruments: the named ones first, then listings with numbers. Always the same ones."""
    named = [Instrument(*values) for values in _NAMED[:count]]
    taken = {one.symbol for one in named}
    dice = random.Random(count)  # noqa: S311  # a game, not a secret
    symbols = (symbol for symbol in _symbols() if symbol not in taken)
    return named + [
        Instrument(symbol, f"Listing {number}", round(math.exp(dice.uniform(2.3, 6.2)), 2))
        for number, symbol in zip(range(len(named) + 1, count + 1), symbols, strict=False)
    ]


def _symbols() -> Iterator[str]:
    for letters in itertools.product("XYZ", *(3 * [string.ascii_uppercase])):
        yield "".join(letters)


class Market:
    """Prices and positions as they go on from where the instruments begin."""

    def __init__(self, instruments: Sequence[Instrument], seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311
        self._instruments = instruments
        self._away = [0.0] * len(instruments)
        self._held = [0] * len(instruments)
        self._targets = [self._dice.gauss(20_000, 40_000) for _ in instruments]
        self._next = 0

    def prices(self, count: int) -> list[tuple[str, float]]:
        """Change so many prices, each in its turn, and say what they are now. No instrument is named twice."""
        changed = []
        for _ in range(min(count, len(self._instruments))):
            at = self._next
            self._next = (at + self._dice.randint(1, 2)) % len(self._instruments)
            self._away[at] += self._dice.gauss(0.0, _STEP) - _PULL * self._away[at]
            changed.append((self._instruments[at].symbol, self._price(at)))
        return list(dict(changed).items())

    def trade(self, at: int | None = None) -> Trade:
        """A trade at the last price, of an instrument by its place or of any. Positions keep near targets of their
        own, some of them short."""
        at = self._dice.randrange(len(self._instruments)) if at is None else at
        price = self._price(at)
        distance = self._targets[at] - self._held[at] * price
        buys = self._dice.random() < 0.5 + 0.4 * math.tanh(distance / _LEANING)
        quantity = max(1, round(_LOT * self._dice.uniform(0.3, 2.0) / price))
        self._held[at] += quantity if buys else -quantity
        return Trade(self._instruments[at].symbol, "buy" if buys else "sell", quantity, price)

    def history(self, rounds: int) -> list[Trade]:
        """What was traded before anybody looked: so many trades of each instrument, with prices moving between."""
        trades = []
        for _ in range(rounds):
            for at in range(len(self._instruments)):
                self._away[at] += self._dice.gauss(0.0, 5 * _STEP)
                trades.append(self.trade(at))
        return trades

    def last_prices(self) -> list[tuple[str, float]]:
        """Every instrument's price as it is now."""
        return [(one.symbol, self._price(at)) for at, one in enumerate(self._instruments)]

    def _price(self, at: int) -> float:
        return max(0.01, round(self._instruments[at].price * math.exp(self._away[at]), 2))
