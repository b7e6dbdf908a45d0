"""A catalog with a column of every type, rows for it, and a reader that serves them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from tycostream.filters import Filter, KeyLookup
from tycostream.graphql import Engine, Limits
from tycostream.model import Catalog, Column, ColumnType, EnumType, Relation, Row, Source

SIDE = EnumType("side", ("buy", "sell", "hold"), "Which way a trade goes.")

TRADES = Source(
    "trades",
    Relation("trades", "public"),
    (
        Column("id", ColumnType.INTEGER, description="The trade's number."),
        Column("price", ColumnType.FLOAT),
        Column("volume", ColumnType.BIGINT),
        Column("fee", ColumnType.NUMERIC),
        Column("symbol", ColumnType.STRING),
        Column("account", ColumnType.UUID),
        Column("executed_at", ColumnType.TIMESTAMP),
        Column("day", ColumnType.DATE),
        Column("at", ColumnType.TIME),
        Column("open", ColumnType.BOOLEAN),
        Column("payload", ColumnType.JSON),
        Column("tags", ColumnType.ARRAY),
        Column("side", ColumnType.ENUM, SIDE),
    ),
    ("id",),
    "Every trade.",
)

HOLDINGS = Source(
    "holdings",
    Relation("holdings"),
    (
        Column("amount", ColumnType.BIGINT),
        Column("account", ColumnType.UUID),
        Column("side", ColumnType.ENUM, SIDE),
    ),
    ("account", "side"),
)

CATALOG = Catalog({"trades": TRADES, "holdings": HOLDINGS}, {"side": SIDE})

ROW: Row = (
    "1",
    "2.5",
    "9007199254740993",
    "0.10",
    'AC"ME é\n',
    "5d0c5a5e-8f0c-4c52-9c2f-0d4b5b7b3c11",
    "2024-01-02 03:04:05.678+00",
    "2024-01-02",
    "03:04:05",
    "t",
    '{"a": [1]}',
    "{a,b}",
    "sell",
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_likely = {
    ColumnType.INTEGER: st.integers(-(2**31), 2**31 - 1).map(str),
    ColumnType.FLOAT: st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.sampled_from(
            ["NaN", "Infinity", "-Infinity", "1e+16", "-0", "1e-300", "12", "1e999", "0.1000000000000000055"]
        ),
    ),
    ColumnType.BOOLEAN: st.sampled_from(["t", "f", "true", "false"]),
    ColumnType.ENUM: st.sampled_from([*SIDE.values, "gone"]),
}


def column_texts(column: Column) -> st.SearchStrategy[str]:
    """What the database may send for a column that is not null: mostly sensible, sometimes anything."""
    return st.one_of(_likely.get(column.type, texts), _likely.get(column.type, texts), texts)


def rows(source: Source) -> st.SearchStrategy[Row]:
    """Rows of the source: the key is sound, other columns may be null or drift."""
    return st.tuples(
        *(
            _likely.get(column.type, texts).filter(lambda text: text != "gone")
            if column.name in source.primary_key
            else st.none() | column_texts(column)
            for column in source.columns
        )
    )


class Shelf:
    """A reader over rows at hand."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002
        return [row for row in self._rows if filter.matches(row)]

    async def row(self, lookup: KeyLookup) -> Row | None:
        rows = {lookup.filter.source.key_of(row): row for row in self._rows}
        found = lookup.candidates(rows)
        return next((row for row in (rows.values() if found is None else found) if lookup.filter.matches(row)), None)


def engine(rows: Sequence[Row] = (ROW,), limits: Limits | None = None) -> Engine:
    """An engine over these rows of `trades`."""
    return Engine(CATALOG, limits or Limits(), Shelf(rows))


def ordered(text: str | bytes) -> object:
    """JSON as nested lists of pairs: equal where values are equal (12 is 12.0) and members have the same order."""
    return json.loads(text, object_pairs_hook=list)
