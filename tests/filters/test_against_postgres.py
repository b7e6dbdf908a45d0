"""Filters agree with PostgreSQL (COLLATE "C") on every operator and type, on NULLs and nasty values, nested."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from tests.support.postgres import Database
from tycostream.filters import OPERATORS, Filter, FilterError, FilterIndex, Operand, Operator, parse_filter
from tycostream.model import Column, ColumnType, EnumType, Relation, Row, Source
from tycostream.model import ColumnType as T

SIDE = EnumType("side", ("low", "middle", "high"))

# column: our type, the database's type, values of its rows, operands beyond those
COLUMNS: dict[str, tuple[ColumnType, str, list[str | None], list[Any]]] = {
    "i": (T.INTEGER, "int4", ["0", "-1", "7", "2147483647", "-2147483648"], [0, 7, -1, 10]),
    "big": (T.BIGINT, "int8", ["0", "9007199254740993", "-9223372036854775808", "10", "9"], ["9007199254740992", "10", "+9", "-0"]),
    "f": (T.FLOAT, "float8", ["0", "-0", "1.5", "1e-07", "NaN", "Infinity", "-Infinity", "1e+300"], [1.5, 0, "NaN", "Infinity", -1]),
    "n": (T.NUMERIC, "numeric", ["0", "1.50", "1.5", "NaN", "Infinity", "-Infinity", "99999999999999999999.000000000001"],
          ["1.500", "NaN", "-Infinity", "1e2", 3]),
    "s": (T.STRING, "text", ["", " ", "a", "A", "ab", "Ab", "b", "é", "É", "a\nb", "a%b", "a_b", "a\\b", "ſ", "\u212a", "k", "10", "9",
                             "a.b", "\U0001f600", "a-b", "]", "aa"], ["AB", "z", "\u00df"]),
    "u": (T.UUID, "uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
          ["{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc999c0b4ef8bb6d6bb9bd380a12", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"]),
    "ts": (T.TIMESTAMP, "timestamp", ["2024-01-02 03:04:05", "2024-01-02 03:04:05.678", "infinity", "-infinity", "0044-03-15 00:00:00 BC",
                                      "12024-02-29 23:59:59.999999"],
           ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00", "2024-01-02", "2024-01-02 03:04:05.678"]),
    "tz": (T.TIMESTAMP, "timestamptz", ["2024-01-02 03:04:05+00", "2024-01-02 01:04:05+00", "infinity", "0044-03-15 00:00:00+00 BC"],
           ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00", "2024-01-02 03:04:05", "2024-01-02 03:04:05.0004-01:30"]),
    "d": (T.DATE, "date", ["2024-01-02", "2024-02-29", "infinity", "0044-03-15 BC", "12024-01-01", "5874897-12-31"],
          ["2024-01-03", "2024-1-2", "2024-01-02 23:59:60+05", "5874897-12-31"]),
    "t": (T.TIME, "time", ["00:00:00", "24:00:00", "03:04:05.678", "23:59:59.999999"], ["03:04", "03:04:05.678+02"]),
    "ttz": (T.TIME, "timetz", ["12:00:00+02", "10:00:00+00", "10:00:00-05:30", "00:00:00+00"], ["10:00:00", "12:00:00+02", "11:00+01"]),
    "b": (T.BOOLEAN, "bool", ["t", "f"], [True, False]),
    "e": (T.ENUM, "side", ["low", "middle", "high"], []),
    "j": (T.JSON, "jsonb", ["null", "true", "false", "1", "1.0", "1.50", '"a"', '"b"', "[]", "{}", "[1]", "[1, 2]", '["a", "b"]',
                            '{"a": 1}', '{"a": {"b": [1, 2]}}', '{"b": 1, "aa": null}', '[[1, 2], {"a": 1}]', '"1"', "[[]]", "[null]",
                            '{"a": 1, "b": 2}'],
          ["1e0", '{"b": 1}', '["b"]', '"a"', '{"a": {}}', "[[1]]", '[{"a": 1}]']),
    "arr": (T.ARRAY, "text[]", ["{}", "{a}", "{a,b}", '{"a b",NULL}', '{"NULL",""}', "{{a,b},{c,d}}", "{b}", '{"a\\"","\\\\"}', "{\u00a0x,\u3000}",
                                  "[0:1]={a,b}", "[2:3]={a,b}", "[0:1][7:8]={{a,b},{c,d}}"],
            ["{ a , b }", "{NULL}", '{"a"}', "{{}}", "{n\\ull,\\ a}", "[0:1]={a,b}"]),
}  # fmt: skip
LIKES = [
    "%",
    "a%a",
    "a%a%a",
    "%a%a%",
    "_",
    "a%",
    "%b",
    "a_b",
    "",
    "A%",
    "a\\%b",
    "a\\_b",
    "é",
    "a\\\\b",
    "%\n%",
    "k",
    "K",
    "ſ",
    "É",
]
REGEXES = ["a", "^a$", "^a", ".", "a.b", "[ab]", "[^a]", "a|b", "(a|b)+", "\\d", "\\w", "\\s", "\\W", "[[:alpha:]]", "a*", "a{1,2}",
           "\\u00e9", "[a-c]", "[]]", "[a-]", "\\.", "\\\\", "\\ya\\y", "\\A[[:space:]]*\\Z", "k", "S", "[k-s]", "é", "É", "a+?b?", "\\Sb",
           "[\\d_]", "x{0}", "[^\\n]b", "(?i)A", "a$|^b", "[[:upper:]]", "[^[:lower:]]",
           "k|\\n", "[kK]|\\n", "[sS]"]  # fmt: skip
SIMILARS = ["%", "a%", "(a|b)", "a_b", "[ab]", "a|b", "a+", "%.%", "(a|A)b?", "\\%", "a\\%b", "a{1,2}", "^a$", "[^a]", "é", "[[:alpha:]_%]+",
            "[]_]", "[^]a]", "[^]\\][:space:]%]"]  # fmt: skip
KEYS = ["a", "b", "aa", "", "1"]

SOURCE = Source(
    name="t",
    relation=Relation("t"),
    columns=(
        Column("id", T.INTEGER),
        *(Column(name, kind, SIDE if kind is T.ENUM else None) for name, (kind, *_rest) in COLUMNS.items()),
    ),
    primary_key=("id",),
)
PROVEN = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SQL_SIGNS = {"_eq": "=", "_neq": "<>", "_gt": ">", "_gte": ">=", "_lt": "<", "_lte": "<="}
SQL_TEXT = {
    "_like": "LIKE", "_nlike": "NOT LIKE", "_ilike": "ILIKE", "_nilike": "NOT ILIKE", "_similar": "SIMILAR TO",
    "_nsimilar": "NOT SIMILAR TO", "_regex": "~", "_iregex": "~*", "_nregex": "!~", "_niregex": "!~*",
}  # fmt: skip
SQL_JSON = {"_contains": "@>", "_contained_in": "<@", "_has_key": "?", "_has_keys_any": "?|", "_has_keys_all": "?&"}


def to_sql(where: Any) -> sql.Composable:
    """The condition as PostgreSQL's own SQL. The tables of semantics: docs/guide.md, "Filters"."""
    parts: list[sql.Composable] = []
    for name, value in where.items():
        if name in ("_and", "_or"):
            word, empty = (" AND ", "true") if name == "_and" else (" OR ", "false")
            members = [to_sql(member) for member in value]
            parts.append(sql.SQL("({})").format(sql.SQL(word).join(members)) if members else sql.SQL(empty))
        elif name == "_not":
            parts.append(sql.SQL("(NOT {})").format(to_sql(value)))
        else:
            parts += [column_sql(name, operator, operand) for operator, operand in value.items()]
    return sql.SQL("({})").format(sql.SQL(" AND ").join(parts)) if parts else sql.SQL("true")


def column_sql(name: str, operator: str, operand: Any) -> sql.Composable:
    kind, database_type, *_ = COLUMNS[name]
    column: sql.Composable = sql.Identifier(name)
    if kind is T.STRING:
        column = sql.SQL('({} COLLATE "C")').format(column)

    def literal(value: Any) -> sql.Composable:
        text = value if isinstance(value, str) else json.dumps(value)
        return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(database_type))

    if operator == "_is_null":
        return sql.SQL("({} IS {}NULL)").format(column, sql.SQL("" if operand else "NOT "))
    if operator in SQL_SIGNS:
        return sql.SQL("({} {} {})").format(column, sql.SQL(SQL_SIGNS[operator]), literal(operand))
    if operator in ("_in", "_nin"):
        values = sql.SQL(", ").join(map(literal, operand))
        word = "= ANY" if operator == "_in" else "<> ALL"
        if database_type.endswith("[]"):  # an array of arrays would be something else
            joint, sign = (" OR ", "=") if operator == "_in" else (" AND ", "<>")
            parts = [sql.SQL("{} {} {}").format(column, sql.SQL(sign), literal(value)) for value in operand]
            return (
                sql.SQL("({})").format(sql.SQL(joint).join(parts))
                if parts
                else sql.SQL("false" if operator == "_in" else "true")
            )
        return sql.SQL("({} {} (ARRAY[{}]::{}[]))").format(column, sql.SQL(word), values, sql.SQL(database_type))
    if operator in SQL_TEXT:
        return sql.SQL("({} {} {})").format(column, sql.SQL(SQL_TEXT[operator]), sql.Literal(operand))
    if operator in ("_contains", "_contained_in"):
        return sql.SQL("({} {} {})").format(column, sql.SQL(SQL_JSON[operator]), literal(operand))
    if operator == "_has_key":
        return sql.SQL("({} ? {})").format(column, sql.Literal(operand))
    return sql.SQL("({} {} {}::text[])").format(column, sql.SQL(SQL_JSON[operator]), sql.Literal(list(operand)))


def values_of(name: str) -> list[Any]:
    """Operands of this column: as many of its rows' values, and others."""
    kind, _, values, more = COLUMNS[name]
    if kind is T.BOOLEAN:
        return [True, False]
    return [*([int(value or 0) for value in values] if kind is T.INTEGER else values), *more]


def texts_of(operator: str) -> list[str]:
    """Operands of an operator that takes a text."""
    if operator == "_has_key":
        return KEYS
    return LIKES if "like" in operator else SIMILARS if "similar" in operator else REGEXES


def operands(name: str, operator: Operator) -> st.SearchStrategy[Any]:
    """Operands that are valid for the operator on this column."""
    return {
        Operand.BOOLEAN: st.booleans(),
        Operand.TEXTS: st.lists(st.sampled_from(KEYS), max_size=3),
        Operand.TEXT: st.sampled_from(texts_of(operator.name)),
        Operand.VALUES: st.lists(st.sampled_from(values_of(name)), max_size=4),
        Operand.VALUE: st.sampled_from(values_of(name)),
    }[operator.operand]


def tried(name: str, operator: Operator) -> list[Any]:
    """The operands of `operands`, or enough of them, one by one."""
    values = values_of(name)
    return {
        Operand.BOOLEAN: [True, False],
        Operand.TEXTS: [[], ["a"], ["a", "b"], ["aa", "1", ""]],
        Operand.TEXT: texts_of(operator.name),
        Operand.VALUES: [[], *([value] for value in values), values[:3]],
        Operand.VALUE: values,
    }[operator.operand]


def comparisons(name: str) -> st.SearchStrategy[dict[str, Any]]:
    kind = COLUMNS[name][0]
    one = st.sampled_from([operator for operator in OPERATORS if kind in operator.types]).flatmap(
        lambda operator: operands(name, operator).map(lambda operand: {operator.name: operand})
    )
    return st.one_of(one, st.tuples(one, one).map(lambda two: two[0] | two[1]), st.just({}))


leaves = st.sampled_from(list(COLUMNS)).flatmap(lambda name: comparisons(name).map(lambda found: {name: found}))
wheres = st.recursive(
    st.one_of(leaves, st.just({})),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"_and": members}),
        st.lists(inner, max_size=3).map(lambda members: {"_or": members}),
        inner.map(lambda member: {"_not": member}),
        st.tuples(inner, leaves).map(lambda two: two[1] | two[0]),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def table(postgres_server: Any) -> Iterator[tuple[Database, list[Row]]]:
    """A table with every value of every column, and NULL, in many combinations; and its rows as the service reads them."""
    database = postgres_server.create_database()
    declared = ", ".join(f'"{name}" {database_type}' for name, (_, database_type, *_rest) in COLUMNS.items())
    database.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
    database.execute(
        f"CREATE TYPE side AS ENUM ('low', 'middle', 'high'); CREATE TABLE t (id int PRIMARY KEY, {declared})"
    )
    longest = max(len(values) for _, _, values, _ in COLUMNS.values()) + 1
    for number in range(longest * 3):
        row = [
            ([None, *values])[(number * (1 + index % 5) + index * (number // longest)) % (len(values) + 1)]
            for index, (_, _, values, _) in enumerate(COLUMNS.values())
        ]
        marks = ", ".join(f"%s::{database_type}" for _, database_type, *_rest in COLUMNS.values())
        database.execute(f"INSERT INTO t VALUES ({number}, {marks})", row)
    booleans = {"true": "t", "false": "f", None: None}
    texts = database.execute(
        f"""SELECT id::text, {", ".join(f'"{name}"::text' for name in COLUMNS)} FROM t ORDER BY id"""
    )
    at = SOURCE.positions["b"]
    rows = [(*row[:at], booleans[row[at]], *row[at + 1 :]) for row in texts]
    yield database, rows
    database.drop()


def admitted(database: Database, where: Any) -> set[str]:
    database.execute("SELECT 1")
    condition = to_sql(where).as_string(database._connection)
    return {key for (key,) in database.execute(f"SELECT id::text FROM t WHERE {condition}".replace("%", "%%"), ())}


def admitted_here(condition: Filter, rows: list[Row]) -> set[str | None]:
    return {row[0] for row in rows if condition.matches(row)}


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        pytest.param(name, operator, id=f"{kind.value}-{name}-{operator.name}")
        for name, (kind, *_rest) in COLUMNS.items()
        for operator in OPERATORS
        if kind in operator.types
    ],
)
def test_each_operator_on_each_type(name: str, operator: Operator, table: tuple[Database, list[Row]]) -> None:
    database, rows = table
    for operand in tried(name, operator):
        for where in ({name: {operator.name: operand}}, {"_not": {name: {operator.name: operand}}}):
            assert admitted_here(parse_filter(SOURCE, where), rows) == admitted(database, where), where


PIECES = ["a", "b", "A", "é", "k", "_", "%", ".", "\n", " ", "1", "-", "^", "$", "|", "(", ")", "*", "+", "?", "{1}", "[ab]", "[^a]", "[]_]", "[k-s]",
          "[[:alpha:]%]", "[^[:upper:]]", "\\d", "\\W", "\\y", "\\A", "\\Z", "\\", "\\%", "\\.", "\\u00e9", "{", "]", "a|", "(?:"]  # fmt: skip


@settings(PROVEN, max_examples=500)
@given(
    pattern=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    operator=st.sampled_from(["_like", "_ilike", "_similar", "_regex", "_iregex"]),
)
def test_any_pattern(pattern: str, operator: str, table: tuple[Database, list[Row]]) -> None:
    database, rows = table
    where = {"s": {operator: pattern}}
    try:
        condition = parse_filter(SOURCE, where)
    except FilterError:
        return  # refused, rather than understood otherwise
    try:
        expected = admitted(database, where)
    except psycopg2.errors.DataError:
        pytest.fail(f"PostgreSQL refuses {where}")
    assert admitted_here(condition, rows) == expected


@settings(PROVEN, max_examples=400)
@given(where=wheres)
def test_any_nested_expression(where: Any, table: tuple[Database, list[Row]]) -> None:
    database, rows = table
    assert admitted_here(parse_filter(SOURCE, where), rows) == admitted(database, where)


@settings(PROVEN, max_examples=200)
@given(conditions=st.lists(wheres, max_size=8), removed=st.integers(0, 8))
def test_the_index_finds_what_asking_every_filter_finds(
    conditions: list[Any], removed: int, table: tuple[Database, list[Row]]
) -> None:
    _, rows = table
    index: FilterIndex[Any] = FilterIndex()
    filters = [(parse_filter(SOURCE, where), object()) for where in conditions]
    for condition, item in filters:
        index.add(condition, item)
    for condition, item in filters[:removed]:
        index.remove(condition, item)
    kept = filters[removed:]
    assert len(index) == len(kept)
    pairs = [*itertools.pairwise(rows), (None, rows[0]), (rows[0], None), (rows[3], rows[3])]
    for old, new in pairs:
        found = {(id(item), before, after) for item, before, after in index.match(old, new)}
        expected = {
            (id(item), before, after)
            for condition, item in kept
            if (before := old is not None and condition.matches(old))
            | (after := new is not None and condition.matches(new))
        }
        assert found == expected
