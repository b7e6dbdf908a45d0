"""Rows come in the order of PostgreSQL's own ORDER BY, for every type of column, with NULLs, limits and offsets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import sql
from tornado.ioloop import IOLoop

from tests.filters.test_against_postgres import COLUMNS, PROVEN, SIDE, SOURCE
from tests.graphql.examples import Shelf
from tests.support.postgres import Database
from tycostream.graphql import Engine, Limits, PreparedQuery, sorting
from tycostream.graphql.ordering import DIRECTIONS
from tycostream.model import Catalog, ColumnType, Row, Source

# What PostgreSQL sorts by where that is not the column itself
EXPRESSIONS = {"s": 's COLLATE "C"', "arr": 'arr COLLATE "C"', "j": 'j::text COLLATE "C"'}
NULLS = {
    "asc": "ASC NULLS LAST", "asc_nulls_first": "ASC NULLS FIRST", "asc_nulls_last": "ASC NULLS LAST",
    "desc": "DESC NULLS FIRST", "desc_nulls_first": "DESC NULLS FIRST", "desc_nulls_last": "DESC NULLS LAST",
}  # fmt: skip


def years(last: int) -> st.SearchStrategy[tuple[str, str]]:
    """A day of any year that PostgreSQL knows, and the mark of those before our era."""
    year = st.one_of(st.integers(2023, 2024), st.integers(-4711, last))
    return st.builds(
        lambda year, month, day: (
            f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}",
            "" if year > 0 else " BC",
        ),
        year,
        st.integers(1, 12),
        st.integers(1, 28),
    )


micros = st.sampled_from(["", ".5", ".25", ".000001", ".999999"])
clocks = st.builds(
    lambda hour, minute, second, fraction: f"{hour:02}:{minute:02}:{second:02}{fraction}",
    st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), micros,
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
offsets = st.sampled_from(["+00", "+02", "-05:30", "+14", "-12"])


def timestamps(zone: str) -> st.SearchStrategy[str]:
    return st.builds(lambda day, clock: f"{day[0]} {clock}{zone}{day[1]}", years(294275), clocks)


def array(elements: list[str | None]) -> str:
    quoted = ["NULL" if one is None else '"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in elements]
    return "{" + ",".join(quoted) + "}"


RANDOM: dict[str, st.SearchStrategy[str]] = {
    "i": st.integers(-(2**31), 2**31 - 1).map(str),
    "big": st.integers(-(2**63), 2**63 - 1).map(str),
    "f": st.floats().map(lambda number: "NaN" if math.isnan(number) else repr(number)),
    "n": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=12).map(str),
    "s": texts,
    "u": st.uuids().map(str),
    "ts": timestamps(""),
    "tz": timestamps("+00"),
    "d": years(5874896).map("".join),
    "t": clocks,
    "ttz": st.builds(lambda clock, offset: clock + offset, clocks, offsets),
    "b": st.booleans().map(str),
    "e": st.sampled_from(SIDE.values),
    "j": st.integers().map(str),
    "arr": st.lists(st.none() | texts, max_size=3).map(array),
}
values = st.tuples(
    *(
        st.one_of(st.none(), st.sampled_from(pool), RANDOM[name], RANDOM[name])
        for name, (_, _, pool, _) in COLUMNS.items()
    )
)
orders = st.lists(st.tuples(st.sampled_from(list(COLUMNS)), st.sampled_from(list(DIRECTIONS))), max_size=3)
keys = st.one_of(st.none(), st.sampled_from(list(COLUMNS)))

Ask = Callable[[Source, list[Row], dict[str, Any]], list[int]]


@pytest.fixture(scope="module")
def database(postgres_server: Any) -> Iterator[Database]:
    made = postgres_server.create_database()
    declared = ", ".join(f'"{name}" {database_type}' for name, (_, database_type, *_rest) in COLUMNS.items())
    made.execute("CREATE TYPE side AS ENUM ('low', 'middle', 'high')")
    made.execute(f"CREATE TABLE t (id int PRIMARY KEY, {declared})")
    made.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
    yield made
    made.drop()


@pytest.fixture
def ask(io_loop: IOLoop) -> Ask:
    """Asks an engine over these rows; the ids of what it answers."""

    def asked(source: Source, rows: list[Row], variables: dict[str, Any]) -> list[int]:
        engine = Engine(Catalog({"t": source}, {"side": SIDE}), Limits(), Shelf(rows))
        query = "query ($by: [t_order_by!], $limit: Int, $offset: Int) { t(order_by: $by, limit: $limit, offset: $offset) { id } }"
        prepared = engine.prepare(query, None, variables)
        assert isinstance(prepared, PreparedQuery)
        answer: Any = io_loop.run_sync(lambda: engine.execute(prepared))
        return [row["id"] for row in answer["data"]["t"]]

    return asked


def fill(database: Database, rows: list[tuple[str | None, ...]]) -> list[Row]:
    """The table holds these rows and no others; as the service reads them."""
    types = [database_type for _, database_type, *_rest in COLUMNS.values()]
    one = "(%s, " + ", ".join(f"%s::{database_type}" for database_type in types) + ")"
    parameters = [value for number, row in enumerate(rows) for value in (number, *row)]
    database.execute("DELETE FROM t")
    if rows:
        database.execute(f"INSERT INTO t VALUES {', '.join([one] * len(rows))}", parameters)
    read = [f"left({name}::text, 1)" if name == "b" else f'"{name}"::text' for name in COLUMNS]
    return database.execute(f"SELECT id::text, {', '.join(read)} FROM t ORDER BY random()")


def order_of_postgres(
    database: Database, order: list[tuple[str, str]], key: str | None, limit: int | None, offset: int
) -> list[int]:
    terms = [f"{EXPRESSIONS.get(name, name)} {NULLS[direction]}" for name, direction in order]
    if key is not None:
        terms.append(f"{EXPRESSIONS.get(key, key)} ASC NULLS LAST")
    statement = sql.SQL("SELECT id FROM t ORDER BY {} LIMIT {} OFFSET {}").format(
        sql.SQL(", ".join([*terms, "id"])), sql.Literal(limit), sql.Literal(offset)
    )
    database.execute("SELECT 1")
    return [id_ for (id_,) in database.execute(statement.as_string(database._connection))]


@settings(PROVEN, max_examples=250)
@given(
    given=st.lists(values, max_size=14),
    order=orders,
    key=keys,
    limit=st.none() | st.integers(0, 16),
    offset=st.integers(0, 5),
    run=st.sampled_from([1, 3, 2000]),
)
def test_any_rows_in_any_order(
    given: list[tuple[str | None, ...]],
    order: list[tuple[str, str]],
    key: str | None,
    limit: int | None,
    offset: int,
    run: int,
    database: Database,
    ask: Ask,
) -> None:
    rows = fill(database, given)
    source = SOURCE if key is None else replace(SOURCE, primary_key=(key, "id"))
    by = [{name: direction} for name, direction in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "RUN_ROWS", run)  # few are wanted, or so many that runs are merged
        found = ask(source, rows, {"by": by, "limit": limit, "offset": offset})
    assert found == order_of_postgres(database, order, key, limit, offset)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", COLUMNS)
def test_each_type_in_each_direction(name: str, direction: str, database: Database, ask: Ask) -> None:
    """All the values that are known to be hard, at once."""
    longest = max(len(pool) for _, _, pool, _ in COLUMNS.values()) + 1
    rows = fill(
        database,
        [
            tuple([None, *pool][(number + index) % (len(pool) + 1)] for index, (_, _, pool, _) in enumerate(COLUMNS.values()))
            for number in range(longest)
        ],
    )  # fmt: skip
    found = ask(SOURCE, rows, {"by": {name: direction}})
    assert found == order_of_postgres(database, [(name, direction)], None, None, 0)


def test_every_type_is_tried() -> None:
    assert {kind for kind, *_rest in COLUMNS.values()} == set(ColumnType)
