"""Lines of COPY become the values that were there, whoever wrote them."""

from __future__ import annotations

import io
from contextlib import closing

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import sql

from tests.support.materialize.formats import COPY_LINE
from tests.support.postgres import Database
from tycostream.databases.materialize.result import HEAD, Result, WireRow, columns_of
from tycostream.model import Column, ColumnType, Relation, Row, Source

NAMES = ("text", "key", "other")
SOURCE = Source("notes", Relation("notes"), tuple(Column(name, ColumnType.STRING) for name in NAMES), ("key",))
FEW = Source("keys", Relation("keys"), (Column("key", ColumnType.STRING),), ("key",))

special = st.sampled_from(
    [
        "",
        "\\N",
        "\\",
        "\\\\",
        "\\.",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\b\f\v",
        "\\t",
        "t",
        "f",
        "NULL",
        "é",
        "😀",
        "\u2028",
        "\x7f",
    ]
)
texts = st.one_of(
    st.none(), special, st.lists(special).map("".join), st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
heads = st.tuples(st.sampled_from(["10", "11", "200"]), st.just("f"), st.sampled_from(["upsert", "delete"]))
progress = st.sampled_from(["10", "11"]).map(lambda time: (time, "t", None, None, None, None))
changes = st.tuples(heads, st.tuples(texts, texts, texts)).map(lambda both: (*both[0], *both[1]))


def result() -> Result:
    return Result(SOURCE, (*HEAD, *columns_of(SOURCE)))


def flat(lines: bytes) -> list[tuple[str | None, bool, str | None, Row | None]]:
    """Each row with its head."""
    return [
        (run.timestamp, run.progressed, run.state, row)
        for run in result().copied(lines)
        for row in (run.rows or [None])  # type: ignore[list-item]
    ]


def expected(rows: list[WireRow]) -> list[tuple[str | None, bool, str | None, Row | None]]:
    """The same from rows that came through a cursor."""
    return [
        (time, False, state, (text, key, other)) if state else (time, True, None, None)
        for time, _progressed, state, key, text, other in rows
    ]


@given(st.lists(st.one_of(changes, progress)))
def test_any_rows_as_materialize_writes_them(rows: list[WireRow]) -> None:
    assert flat(b"".join(map(COPY_LINE.row_tail, rows))) == expected(rows)


def test_any_rows_as_postgresql_writes_them(postgres: Database) -> None:
    with closing(psycopg2.connect(postgres.dsn)) as connection, connection.cursor() as cursor:

        @given(st.lists(changes, min_size=1, max_size=20))
        def check(rows: list[WireRow]) -> None:
            values = [sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows]
            file = io.BytesIO()
            typed = sql.SQL("SELECT a::text, b::text, c::text, d::text, e::text, f::text")
            statement = sql.SQL("COPY ({} FROM (VALUES {}) v (a, b, c, d, e, f)) TO STDOUT")
            cursor.copy_expert(statement.format(typed, sql.SQL(", ").join(values)), file)
            assert flat(file.getvalue()) == expected(rows)

        check()


def test_a_source_that_is_its_key() -> None:
    (run, last) = Result(FEW, (*HEAD, *columns_of(FEW))).copied(
        b"5\tf\tupsert\ta\n5\tf\tupsert\t\\\\N\n6\tt\t\\N\t\\N\n"
    )
    assert run == ("5", False, "upsert", [("a",), ("\\N",)])
    assert last == ("6", True, None, [])


@pytest.mark.parametrize("line", [
    b"10\tf\tupsert\t1\ta\n", b"10\tf\tupsert\t1\ta\tb\tc\n", b"10\tf\tupsert\n", b"10\n", b"\n", b"10\tmaybe\tupsert\t1\ta\tb\n",
    b"10\tf\tupsert\t1\t\xff\xfe\tb\n",
])  # fmt: skip
@pytest.mark.parametrize("others", [b"", b"10\tf\tupsert\t2\ta\tb\n", b"10\tf\tdelete\t2\t\\N\t\\N\n"])
def test_what_is_no_row_is_an_error(line: bytes, others: bytes) -> None:
    for lines in (line + others, others + line, others + line + others):
        with pytest.raises((ValueError, KeyError)):
            list(result().copied(lines))
