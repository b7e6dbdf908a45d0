"""The schema generator against real databases: what it writes, that it loads and fits, and what it refuses."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql
from tornado.ioloop import IOLoop

from tests.schema.support import Generator, generator_of
from tests.support.materialize import simulating
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database
from tycostream.check import check_database
from tycostream.databases.connection import opened
from tycostream.databases.postgres import describe, examine
from tycostream.model import Relation
from tycostream.schema.generate import generate
from tycostream.schema.wishes import SourceWish, Wishes
from tycostream.settings import load_settings
from tycostream.settings.schema_file import parse_schema

TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TYPE mood AS ENUM ('so-so', 'fine');
CREATE TABLE trades (id int PRIMARY KEY, side side, "my column" text, price numeric(10, 2), mood mood, address inet,
    tags text[], "yes" bool, state text, placed timestamptz);
CREATE SCHEMA risk;
CREATE TABLE risk.positions (v float8, day date, account uuid, PRIMARY KEY (account, day));
CREATE VIEW dear AS SELECT id, price FROM trades;
CREATE TABLE "Odd name" (payload jsonb PRIMARY KEY);
CREATE TABLE bare ();
"""

TRADES = """\
sources:
  trades:
    primary_key: id
    columns:
      id: Integer
      side: side
      # my column: String is left out: GraphQL allows letters of a to z, digits and _ in a name, and no digit first
      price: Float  # the database's numeric(10,2); Numeric would keep every digit, as a string
      mood: String  # the database's enum mood has 'so-so', which GraphQL can't hold
      address: String  # the database's inet
      tags: Array  # the database's text[]
      'yes': Boolean
      state: String
      placed: Timestamp
"""
SIDE = "  side: [buy, sell]  # in rising order\n"
POSITIONS = """
  risk_positions:
    relation: risk.positions
    primary_key: [account, day]
    columns:
      v: Float
      day: Date
      account: UUID
"""


@pytest.fixture
def generator(postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator:
    postgres.execute(TABLES)
    return generator_of(postgres, tmp_path, capsys)


async def test_keys_and_enums_are_found(generator: Generator) -> None:
    expected = f"enums:\n{SIDE}\n{TRADES}{POSITIONS}"
    assert await generator("-s", "trades", "-s", "risk.positions") == (0, expected, "")


async def test_the_old_flags_and_their_long_forms_say_the_same(generator: Generator) -> None:
    short = await generator(
        "-e", "state", "open,no", "-s", "dear", "-p", "id", "-s", "trades", "-p", "id", "-c", "state:state"
    )
    long = await generator(
        "--source", "dear", "--primary-key", "id", "--source", "trades", "--primary-key", "id", "--column", "state:state",
        "--enum", "state", "open,no",
    )  # fmt: skip
    assert short == long
    code, text, errors = short
    assert (code, errors) == (0, "")
    assert text.startswith("enums:\n  state: [open, 'no']  # in rising order\n  side: [buy, sell]")
    assert "      state: state  # the database's text\n" in text
    catalog = parse_schema("s", text)
    assert catalog.enums["state"].values == ("open", "no")
    assert (catalog.sources["dear"].primary_key, catalog.sources["trades"].primary_key) == (("id",), ("id",))


async def test_a_key_of_several_columns_is_given_one_by_one_or_with_commas(generator: Generator) -> None:
    one_by_one = await generator("-s", "dear", "-p", "id", "-p", "price")
    assert one_by_one == await generator("-s", "dear", "-p", "id,price")
    assert "    primary_key: [id, price]\n" in one_by_one[1]


async def test_without_a_source_the_relations_are_listed(generator: Generator) -> None:
    code, text, errors = await generator()
    assert (code, errors) == (0, "")
    assert text == (
        "# Name relations with -s, or take them all with --all. The database has:\n"
        '#   "Odd name" (table)\n#   bare (table)\n#   dear (view)\n#   trades (table)\n#   risk.positions (table)\n'
    )


async def test_all_writes_everything_and_says_what_to_fill_in(generator: Generator) -> None:
    code, text, errors = await generator("--all")
    assert code == 0
    assert errors.splitlines() == [
        "Left out, for want of a column that GraphQL can hold: bare",
        "Fill in primary_key before you use the file: Odd_name, dear (or name it with -p)",
    ]
    assert (
        "  Odd_name:\n    relation: '\"Odd name\"'\n    # Fill in what tells the rows apart: one column, or several; its key can't"
        in text
    )
    assert (
        "    # Fill in what tells the rows apart: one column, or several; a view has no primary key.\n    # primary_key: id\n"
        in text
    )
    assert "  # table bare is left out: it has no column that GraphQL can hold\n" in text
    assert TRADES.removeprefix("sources:\n") in text
    assert text == (await generator("--all"))[1]
    filled = re.sub(r"# primary_key: payload", "primary_key: text", text.replace("payload: JSON", "text: String"))
    catalog = parse_schema("s", filled.replace("# primary_key: id", "primary_key: id"))
    assert list(catalog.sources) == ["Odd_name", "dear", "trades", "risk_positions"]


@pytest.mark.parametrize(
    ("ddl", "key"),
    [
        ("id int, code text NOT NULL UNIQUE", ("code",)),
        ("id int UNIQUE, code text", None),  # NULLs are not told apart
        ("b int NOT NULL, a int NOT NULL, c int NOT NULL UNIQUE, UNIQUE (b, a)", ("c",)),
        ("b int NOT NULL, a int NOT NULL, UNIQUE (b, a)", ("b", "a")),
        ("z int NOT NULL UNIQUE, a int NOT NULL UNIQUE", ("a",)),
        ("a int NOT NULL UNIQUE, id int PRIMARY KEY DEFERRABLE", ("id",)),
        ("id int NOT NULL UNIQUE, \"not a name\" int PRIMARY KEY", None),
    ],
)  # fmt: skip
async def test_which_unique_columns_are_the_key(postgres: Database, ddl: str, key: tuple[str, ...] | None) -> None:
    postgres.execute(f"CREATE TABLE t ({ddl})")
    async with opened(postgres.parameters) as connection:
        generated = await generate(connection, describe, Wishes({}, [SourceWish(Relation("t"))]))
    if key is None:
        assert generated.unfinished == ("t",)
    else:
        assert parse_schema("s", generated.text).sources["t"].primary_key == key


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-s", "trade"], "there is no relation trade in the database (did you mean trades?)"),
        (["-s", "Trades"], "there is no relation Trades in the database (did you mean trades?)"),
        (["-s", "positions"], "there is no relation positions in the database (there is one in the schema risk: write relation: risk.positions)"),
        (["-s", "a.b.c"], "-s: found 'a.b.c', expected a name and at most its schema; DATABASE_NAME chooses the database"),
        (["-s", "trades", "-s", "trades"], "-s trades is there twice"),
        (["-s", "trades", "-p", "ID"], "-p ID: trades has no such column; did you mean id?"),
        (["-s", "dear", "-p", "zzz"], "-p zzz: dear has no such column; its columns are id, price"),
        (["-s", "trades", "-p", "id", "-p", "id"], "-p id is there twice for trades"),
        (["-s", "trades", "-p", "id,,x"], "-p: found 'id,,x', expected a column's name"),
        (["-s", "trades", "-p", "tags"], "-p 'tags' is of type Array, whose equal values can be written differently: it can't be in a key"),
        (["-s", "trades", "-p", "my column"], "-p 'my column' can't be a column: GraphQL allows letters of a to z, digits and _ in a name, and no digit first"),
        (["-p", "id", "-s", "trades"], "-p id belongs to a source: put it behind its -s"),
        (["-c", "side:side"], "-c side:side belongs to a source: put it behind its -s"),
        (["-s", "trades", "-c", "state:stat", "-e", "state", "a"], "-c state:stat: there is no -e stat; did you mean state?"),
        (["-s", "trades", "-c", "state:x"], '-c state:x: there is no -e x; declare it with -e x "value,value"'),
        (["-s", "trades", "-c", "state"], "-c: found 'state', expected COLUMN:ENUM, such as side:side"),
        (["-s", "trades", "-e", "x", "a", "-c", "stat:x"], "-c stat: trades has no such column; did you mean state?"),
        (["-s", "trades", "-e", "x", "a", "-c", "state:x", "-c", "state:x"], "-c state is there twice for trades"),
        (["-s", "trades", "-e", "x", "a", "-c", "id:x"], "-c id:x does not fit trades: column id: x does not fit the database's integer; Integer would"),
        (["-s", "trades", "-e", "x", "buy", "-c", "side:x"], "-c side:x does not fit trades: column side: the database's type side also has sell: add to enum x"),
        (["-s", "trades", "-e", "x", "a", "-c", "my column:x"], "-c 'my column' can't be a column: GraphQL allows letters of a to z, digits and _ in a name, and no digit first"),
        (["-e", "x", "a,so-so"], "-e x: 'so-so' can't be an enum value: GraphQL allows letters of a to z, digits and _ in a name, and no digit first"),
        (["-e", "x", "a,a"], "-e x: 'a' is there twice"),
        (["-e", "x", "a,"], '-e x: found \'a,\', expected values such as "buy,sell"'),
        (["-e", "x-y", "a"], "-e 'x-y' can't be a name: GraphQL allows letters of a to z, digits and _ in a name, and no digit first"),
        (["-e", "Integer", "a"], "-e Integer: a column type has that name"),
        (["-e", "Query", "a"], "-e Query needs the GraphQL type Query, which tycostream itself has already"),
        (["-e", "x", "a", "-e", "x", "b"], "-e x is there twice"),
        (["--all", "-s", "trades"], "--all takes every relation: leave out -s, or --all"),
    ],
)  # fmt: skip
async def test_what_can_not_be_is_told_in_one_line(generator: Generator, arguments: list[str], told: str) -> None:
    assert await generator(*arguments) == (2, "", f"tycostream schema generate: {told}\n")


async def test_a_database_that_does_not_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"DATABASE_TYPE": "postgres", "DATABASE_HOST": str(tmp_path)}
    code, text, errors = await Generator(environ, tmp_path, capsys)("-s", "trades")
    assert (code, text) == (1, "")
    assert errors.count("\n") == 1
    assert errors.startswith("tycostream schema generate: the database: connection to server on socket ")
    assert "check that the database runs, and DATABASE_HOST and DATABASE_PORT" in errors


async def test_partitions_extensions_and_system_relations_are_not_listed(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute(
        "CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (9); CREATE MATERIALIZED VIEW seen AS SELECT 1 AS id"
    )
    postgres.execute("CREATE VIEW extended AS SELECT 1 AS id; ALTER EXTENSION plpgsql ADD VIEW extended")
    _, text, _ = await generator_of(postgres, tmp_path, capsys)()
    assert text.splitlines()[1:] == ["#   seen (materialized view)", "#   whole (table)"]


async def test_unique_columns_that_may_be_null_are_proposed(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute(
        "CREATE MATERIALIZED VIEW seen AS SELECT 'x' AS v, 1 AS id, 2 AS at; CREATE UNIQUE INDEX ON seen (id, at)"
    )
    code, text, _ = await generator_of(postgres, tmp_path, capsys)("-s", "seen")
    assert code == 0
    assert (
        "    # Fill in what tells the rows apart: one column, or several; a materialized view has no primary key, and what is unique, (id, at), may be NULL.\n"
        "    # primary_key: [id, at]\n"
    ) in text


async def test_enums_of_one_name_in_two_schemas_are_two(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute(
        "CREATE SCHEMA other; CREATE TYPE side AS ENUM ('buy', 'sell'); CREATE TYPE other.side AS ENUM ('left', 'right');"
        "CREATE DOMAIN way AS other.side;"
        "CREATE TABLE a (id int PRIMARY KEY, x side, y other.side, z way, side int); CREATE VIEW other.side_2 AS SELECT * FROM a"
    )
    code, text, _ = await generator_of(postgres, tmp_path, capsys)("--all")
    assert code == 0
    catalog = parse_schema("s", text.replace("# primary_key", "primary_key"))
    assert {name: enum.values for name, enum in catalog.enums.items()} == {
        "side": ("buy", "sell"),
        "side_2": ("left", "right"),
    }
    columns = catalog.sources["a"].columns
    assert [column.enum.name for column in columns if column.enum] == ["side", "side_2", "side_2"]


async def test_a_source_gives_way_to_names_that_are_taken(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute(
        'CREATE TABLE side (id int PRIMARY KEY); CREATE TABLE "Query" (id int PRIMARY KEY); CREATE TABLE "7 %" (id int PRIMARY KEY)'
    )
    code, text, _ = await generator_of(postgres, tmp_path, capsys)("--all", "-e", "side", "buy,sell")
    assert code == 0
    sources = parse_schema("s", text).sources
    assert {name: str(source.relation) for name, source in sources.items()} == {
        "_7_": "7 %", "Query_2": "Query", "side_2": "side"
    }  # fmt: skip


async def test_the_usual_schema_is_not_part_of_a_name(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.execute("CREATE TABLE plain (id int PRIMARY KEY)")
    _, text, _ = await generator_of(postgres, tmp_path, capsys)("-s", "public.plain")
    assert text.startswith("sources:\n  plain:\n    relation: public.plain\n    primary_key: id\n")


# Every table


TYPES = [
    "int2", "int4", "int8", "float4", "float8", "numeric", "numeric(9,3)", "text", "varchar(5)", "char(3)", "uuid", "timestamp",
    "timestamptz", "date", "time", "timetz", "bool", "json", "jsonb", "int4[]", "text[]", "inet", "bytea", "interval", "money",
    "tone", '"Odd Tone"', "short", "point", "tone[]",
]  # fmt: skip
KEYS = {
    "int2",
    "int4",
    "int8",
    "text",
    "varchar(5)",
    "uuid",
    "date",
    "bool",
    "jsonb",
    "tone",
    "int4[]",
    "short",
    "numeric",
}
WORDS = [
    "yes",
    "no",
    "null",
    "on",
    "y",
    "n",
    "_and",
    "_or",
    "id",
    "1",
    "1e3",
    "~",
    "__typename",
    "Query",
    "String",
    "tone",
    "order_by",
]
NAMES = st.sampled_from(WORDS) | st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=12
)


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[str, list[tuple[str, str]], list[str]]]:
    """Names, columns with types, and keys."""
    made = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        columns = draw(st.lists(st.tuples(NAMES, st.sampled_from(TYPES)), max_size=6, unique_by=lambda one: one[0]))
        able = [column for column, kind in columns if kind in KEYS]
        key = draw(st.lists(st.sampled_from(able), max_size=2, unique=True)) if able else []
        made.append((name, columns, key))
    return made


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(made=tables())
def test_what_is_generated_for_any_tables_loads_and_fits(postgres: Database, io_loop: IOLoop, made) -> None:
    postgres.execute(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TYPE tone AS ENUM ('yes', 'no', 'id');"
        "CREATE TYPE \"Odd Tone\" AS ENUM ('1', 'null'); CREATE DOMAIN short AS varchar(7)"
    )
    connection = postgres.connect()
    try:
        with connection, connection.cursor() as cursor:
            for name, columns, key in made:
                parts = [sql.SQL("{} " + kind).format(sql.Identifier(column)) for column, kind in columns]
                if key:
                    parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key))))
                cursor.execute(
                    sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(f"{name}_"), sql.SQL(", ").join(parts))
                )
    finally:
        connection.close()

    async def judge() -> None:
        async with opened(postgres.parameters) as asked:
            wishes = Wishes({}, [SourceWish(Relation(f"{name}_")) for name, _, _ in made])
            generated = await generate(asked, describe, wishes)
            assert generated == await generate(asked, describe, wishes)
            text = generated.text
            for _ in generated.unfinished:
                text = re.sub(r"^    # primary_key: ", "    primary_key: ", text, count=1, flags=re.MULTILINE)
            if len(generated.left_out) == len(made):
                return
            if any(has_no_key(text, name) for name in generated.unfinished):
                return
            catalog = parse_schema("generated", text)
            assert len(catalog.sources) == len(made) - len(generated.left_out)
            for source in catalog.sources.values():
                await examine(asked, source)

    io_loop.run_sync(judge, timeout=60)


def has_no_key(text: str, name: str) -> bool:
    """Whether the only columns that the example of a key could name are of types that no key can have."""
    found = re.search(
        rf"^  '?{name}'?:\n(?:    .*\n)*?    primary_key: (.*)\n    columns:\n((?:      .*\n)*)", text, re.MULTILINE
    )
    assert found is not None, text
    return re.search(rf"^      {re.escape(found[1])}: (JSON|Array)\b", found[2], re.MULTILINE) is not None


# Other databases


async def test_materialize_tells_columns_and_no_key(
    materialize: MaterializeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    materialize.execute(
        "CREATE TABLE trades (id bigint PRIMARY KEY, symbol varchar(9), price numeric(9, 2), tags text[], payload jsonb)"
    )
    generator = generator_of(materialize, tmp_path, capsys)
    assert (await generator())[1].splitlines()[1:] == ["#   trades (view)"]
    expected = """\
enums:
  ticker: [AAPL, MSFT]  # in rising order

sources:
  trades:
    primary_key: id
    columns:
      id: BigInt
      symbol: ticker  # the database's character varying
      price: Float  # the database's numeric; Numeric would keep every digit, as a string
      tags: Array  # the database's text[]
      payload: JSON
"""
    arguments = ("-e", "ticker", "AAPL,MSFT", "-s", "trades", "-p", "id", "-c", "symbol:ticker")
    assert await generator(*arguments) == (0, expected, "")
    (tmp_path / "schema.yaml").write_text(expected)
    settings = load_settings(materialize.environ, tmp_path)
    assert await check_database(settings, parse_schema("s", expected)) == 0
    code, text, errors = await generator("--all")
    assert (code, errors) == (0, "Fill in primary_key before you use the file: trades (or name it with -p)\n")
    assert (
        "    # Fill in what tells the rows apart: one column, or several; Materialize does not tell which columns are unique.\n    # primary_key: id\n"
        in text
    )
    assert await generator("-s", "trade") == (
        2, "", "tycostream schema generate: there is no relation trade in the database (did you mean trades?)\n"
    )  # fmt: skip


async def test_schemas_of_materialize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with simulating() as simulator:
        simulator.world.create("positions", {"account": "uuid", "value": "double precision"}, schema="risk")
        simulator.world.create("trades", {"id": "integer"})
        generator = Generator(simulator.environ, tmp_path, capsys)
        assert (await generator())[1].splitlines()[1:] == ["#   trades (view)", "#   risk.positions (view)"]
        code, text, _ = await generator("-s", "risk.positions", "-p", "account")
        assert code == 0
        assert text.startswith("sources:\n  risk_positions:\n    relation: risk.positions\n    primary_key: account\n")
        assert (await generator("-s", "positions"))[2].endswith(
            "(there is one in the schema risk: write relation: risk.positions)\n"
        )


async def test_the_embedded_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "init.sql").write_text("CREATE TABLE trades (id int PRIMARY KEY, symbol text)")
    environ = {"DATABASE_TYPE": "embedded", "EMBEDDED_INIT": "init.sql"}
    code, text, _ = await asyncio.wait_for(Generator(environ, tmp_path, capsys)("--all"), 60)
    assert (code, text) == (
        0,
        "sources:\n  trades:\n    primary_key: id\n    columns:\n      id: Integer\n      symbol: String\n",
    )
    assert not (tmp_path / ".tycostream" / "postgres" / "data" / "postmaster.pid").exists()
