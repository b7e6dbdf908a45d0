"""What fits, what does not, and how a relation is followed: with the reason, and what would change it."""

from __future__ import annotations

import re

import pytest

from tests.databases.postgres.support import source_of
from tests.support.postgres import Database, Postgres
from tycostream.databases.connection import ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres import Mode, Plan, examine
from tycostream.model import Column, EnumType, Relation, Source
from tycostream.model import ColumnType as T

PLAIN = {"id": T.INTEGER, "v": T.STRING}


async def plan_of(parameters: ConnectionParameters, source: Source) -> Plan:
    async with opened(parameters) as connection:
        return await examine(connection, source)


@pytest.mark.parametrize(
    ("ddl", "mode", "reason"),
    [
        ("CREATE TABLE t (id int PRIMARY KEY, v text)", Mode.STREAM, None),
        ("CREATE TABLE t (id int UNIQUE NOT NULL, v text); ALTER TABLE t REPLICA IDENTITY FULL", Mode.STREAM, None),
        ("CREATE TABLE t (id int, v text)", Mode.POLL, "has no replica identity"),
        ("CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY NOTHING", Mode.POLL, "has no replica identity"),
        ("CREATE TABLE t (pk int PRIMARY KEY, id int UNIQUE NOT NULL, v text)", Mode.POLL, r"reported by \(pk\) alone, not by the key \(id\)"),
        ("CREATE TABLE t (id int UNIQUE, v text); ALTER TABLE t REPLICA IDENTITY FULL", Mode.POLL, "can be NULL"),
        ("CREATE TABLE t (id int NOT NULL, v text); ALTER TABLE t REPLICA IDENTITY FULL", Mode.POLL, "no unique constraint"),
        ("CREATE TABLE t (id int NOT NULL UNIQUE DEFERRABLE, v text); ALTER TABLE t REPLICA IDENTITY FULL", Mode.POLL, "no unique constraint"),
        ("CREATE TABLE t (id int NOT NULL, v text); CREATE UNIQUE INDEX ON t (id) WHERE id > 0; ALTER TABLE t REPLICA IDENTITY FULL", Mode.POLL, "no unique constraint"),
        ("CREATE UNLOGGED TABLE t (id int PRIMARY KEY, v text)", Mode.POLL, "unlogged"),
        ("CREATE TABLE t (id int PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED)", Mode.POLL, "v is a generated column"),
        ("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (t)", Mode.POLL, "child tables"),
        ("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", Mode.STREAM, None),
        (("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
         " ALTER TABLE t1 REPLICA IDENTITY NOTHING"), Mode.POLL, "t1 has no replica identity"),
        ("CREATE TABLE u (id int PRIMARY KEY, v text); CREATE VIEW t AS SELECT * FROM u", Mode.REQUERY, None),
        ("CREATE TABLE u (id int, v text); CREATE VIEW t AS SELECT * FROM u", Mode.POLL, "u has no replica identity"),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT 1::text'; CREATE VIEW t AS SELECT 1 AS id, f() AS v", Mode.POLL, "calls functions"),
        ("CREATE VIEW t AS SELECT 1 AS id, 'x' AS v", Mode.POLL, "reads no table"),
        ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS id, 'x' AS v", Mode.POLL, "a materialized view"),
    ],
)  # fmt: skip
async def test_how_a_relation_is_followed(postgres: Database, ddl: str, mode: Mode, reason: str | None) -> None:
    postgres.execute(ddl)
    plan = await plan_of(postgres.parameters, source_of("t", PLAIN))
    assert plan.mode is mode, plan.reason
    if reason is None:
        assert plan.reason is None
    else:
        assert re.search(reason, plan.reason or "")


@pytest.mark.parametrize(
    ("ddl", "source", "message"),
    [
        ("SELECT 1", source_of("trade", PLAIN), "there is no relation trade in the database"),
        ("CREATE TABLE t (id int PRIMARY KEY, val text)", source_of("t", PLAIN), "t has no column v, did you mean val?|its columns are id, val"),
        ("CREATE TABLE t (id bigint PRIMARY KEY, v int)", source_of("t", PLAIN), "column id: Integer does not fit the database's bigint; BigInt would"),
        ("CREATE TABLE t (id text PRIMARY KEY, v date)", source_of("t", {"id": T.UUID, "v": T.TIMESTAMP}),
         "column id: UUID does not fit the database's text; String would; column v: Timestamp does not fit the database's date; Date would"),
        ("CREATE TABLE t (id int PRIMARY KEY, v int[])", source_of("t", {"id": T.INTEGER, "v": T.JSON}), r"v: JSON does not fit the database's integer\[\]; Array would"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_told_all_at_once(
    postgres: Database, ddl: str, source: Source, message: str
) -> None:
    postgres.execute(ddl)
    with pytest.raises(DatabaseError, match=message) as caught:
        await plan_of(postgres.parameters, source)
    assert caught.value.permanent


async def test_a_relation_of_another_schema_is_pointed_to(postgres: Database) -> None:
    postgres.execute("CREATE SCHEMA sales; CREATE TABLE sales.t (id int PRIMARY KEY, v text)")
    with pytest.raises(DatabaseError) as caught:
        await plan_of(postgres.parameters, source_of("t", PLAIN))
    assert caught.value.hint == "there is one in the schema sales: write relation: sales.t"
    plan = await plan_of(postgres.parameters, source_of("t", PLAIN, schema="sales"))
    assert (plan.mode, plan.relation.schema) == (Mode.STREAM, "sales")


async def test_names_are_quoted(postgres: Database) -> None:
    postgres.execute(
        """CREATE SCHEMA "My ""Schema"; CREATE TABLE "My ""Schema"."Big %s Table" (id int PRIMARY KEY, v text)"""
    )
    plan = await plan_of(postgres.parameters, source_of("Big %s Table", PLAIN, schema='My "Schema'))
    assert plan.mode is Mode.STREAM


async def test_an_enum_must_hold_every_label_of_the_databases_type(postgres: Database) -> None:
    postgres.execute("CREATE TYPE side AS ENUM ('buy', 'sell', 'short'); CREATE TABLE t (id int PRIMARY KEY, v side)")
    side = EnumType("side", ("buy", "sell"))
    source = Source("t", Relation("t"), (Column("id", T.INTEGER), Column("v", T.ENUM, side)), ("id",))
    with pytest.raises(DatabaseError, match="the database's type side also has short: add to enum side"):
        await plan_of(postgres.parameters, source)


async def test_missing_rights_lead_to_polling_with_what_to_grant(postgres: Database, postgres_server: Postgres) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    role = f"reader_{postgres.parameters.name}"
    database = postgres.parameters.name
    reader = postgres_server.parameters(database, user=role)
    source = source_of("t", PLAIN)
    postgres.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}")
    try:
        steps = [
            (f"ALTER ROLE {role} REPLICATION", "the user may not replicate; to stream, ALTER ROLE"),
            (f"GRANT CREATE ON DATABASE {database} TO {role}", "the user may not create a publication"),
            (f"ALTER TABLE t OWNER TO {role}", "only its owner can publish t"),
        ]
        for remedy, reason in steps:
            plan = await plan_of(reader, source)
            assert plan.mode is Mode.POLL
            assert reason in (plan.reason or "")
            postgres.execute(remedy)
        assert (await plan_of(reader, source)).mode is Mode.STREAM
        postgres.execute("ALTER TABLE t OWNER TO postgres; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        assert (await plan_of(reader, source)).mode is Mode.POLL
    finally:
        postgres.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_server_that_does_not_log_for_replication_is_polled() -> None:
    server = Postgres("wal_level = replica\nfsync = off")
    try:
        database = server.create_database()
        database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
        plan = await plan_of(database.parameters, source_of("t", PLAIN))
        assert plan.mode is Mode.POLL
        assert "wal_level is replica; to stream, ALTER SYSTEM SET wal_level = 'logical'" in (plan.reason or "")
        database.close()
    finally:
        server.stop()
