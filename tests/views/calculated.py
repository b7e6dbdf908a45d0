"""A source with calculated fields, rules for them, and the plain meaning of those rules."""

from __future__ import annotations

from typing import Any

from tests.views.support import Everything, Lines
from tycostream.filters import parse_filter
from tycostream.model import Column, ColumnType, EnumType, Key, Relation, Row, Source
from tycostream.views import Derivation, Outlet, Subscription
from tycostream.views.states import Rule, StateMachine

RISK = EnumType("risk", ("low", "high"))
TREND = EnumType("trend", ("down", "up"))
TRADES = Source(
    name="trades",
    relation=Relation("trades"),
    columns=(
        Column("id", ColumnType.INTEGER),
        Column("symbol", ColumnType.STRING),
        Column("price", ColumnType.INTEGER),
    ),
    primary_key=("id",),
    calculated=(Column("risk", ColumnType.ENUM, RISK), Column("trend", ColumnType.ENUM, TREND)),
)

Levels = tuple[tuple[str, int, int | None], ...]
"""Rules by price, as the model has them: state, above which price it is entered, below which it is left (None: at once)."""


def price_rules(levels: Levels) -> StateMachine:
    """The rules of these levels."""
    return StateMachine(
        tuple(
            Rule(
                state,
                parse_filter(TRADES, {"price": {"_gt": above}}),
                None if below is None else parse_filter(TRADES, {"price": {"_lt": below}}),
            )
            for state, above, below in levels
        )
    )


def derivation(risk: Levels, *trend: Rule) -> Derivation:
    """Rules by price for `risk`, and any for `trend`."""
    return Derivation(TRADES, (price_rules(risk), StateMachine(trend)))


class Model:
    """What the states of one set of levels are, in the plainest words: the rows, and of each row the rules that hold."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.rows: dict[Key, Row] = {}
        self.holding: dict[tuple[Key, int], bool] = {}

    def write(self, key: Key, row: Row | None) -> None:
        self.rows.pop(key, None)
        if row is not None:
            self.rows[key] = row
        price = None if row is None or row[2] is None else int(row[2])
        for index, (_state, above, below) in enumerate(self.levels):
            held = self.holding.get((key, index), False) and row is not None
            left = below is None or (price is not None and price < below)
            self.holding[key, index] = (price is not None and price > above) or (held and not left)

    def state(self, key: Key) -> str | None:
        return next((rule[0] for index, rule in enumerate(self.levels) if self.holding.get((key, index))), None)

    def extended(self) -> dict[Key, Row]:
        return {key: (*row, self.state(key), None) for key, row in self.rows.items()}


def follower(
    wanted: Derivation | None, where: dict[str, Any] | None = None, connection: Any = None, operation_id: str = "1"
) -> Subscription:
    """A subscription under these rules; its filter may speak of calculated fields."""
    return Subscription(
        source=TRADES,
        filter=parse_filter(TRADES if wanted is None else TRADES.extended, where),
        selection=Everything(),
        envelope=Lines(operation_id),
        outlet=Outlet(connection),
        operation_id=operation_id,
        derivation=wanted,
    )
