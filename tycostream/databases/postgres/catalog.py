"""Looks a relation up in PostgreSQL's catalog: does it fit the schema file, and how can it be followed?"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.described import UnknownRelationError, suggest_relation
from tycostream.databases.fitting import ActualColumn, require_fit
from tycostream.model import Relation, Source


class Mode(enum.Enum):
    """How a relation is followed."""

    STREAM = "logical replication"
    REQUERY = "a query whenever a table beneath it changes"
    POLL = "a query at an interval"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a publication can carry."""

    oid: int
    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted, with its schema."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a source is followed. `tables` is what has to be published for it; `reason` says why it is polled, and
    what would change that."""

    mode: Mode
    relation: Table
    tables: tuple[Table, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Server:
    """What the server and the user's rights allow."""

    obstacle: str | None


@dataclass(frozen=True, slots=True)
class _Index:
    names: tuple[str, ...]
    primary: bool
    identity: bool
    immediate: bool

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.names)


@dataclass(frozen=True, slots=True)
class Facts:
    """One relation's catalog entries."""

    table: Table
    kind: str
    persistence: str
    identity: str
    owned: bool
    secured: bool
    has_children: bool
    columns: dict[str, dict[str, Any]]
    unique: tuple[_Index, ...] = field(default=())

    @property
    def actual_columns(self) -> dict[str, ActualColumn]:
        """The columns by name, in their order."""
        return {name: _actual(column) for name, column in self.columns.items()}

    @property
    def immediate(self) -> list[_Index]:
        """The unique indexes that hold at every moment, not at the end of a transaction alone."""
        return [index for index in self.unique if index.immediate]

    @property
    def identity_columns(self) -> frozenset[str] | None:
        """The columns that an old row carries; None where it carries nothing, so that it must not be published."""
        if self.identity == "f":
            return frozenset(self.columns)
        for index in self.immediate:
            if (self.identity == "d" and index.primary) or (self.identity == "i" and index.identity):
                return index.columns
        return None


_SERVER = """
SELECT json_build_object(
    'wal_level', current_setting('wal_level'),
    'recovery', pg_is_in_recovery(),
    'replication', EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = current_user AND (rolsuper OR rolreplication)
           OR rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER')),
    'create', has_database_privilege(current_database(), 'CREATE'),
    'database', current_database(), 'user', current_user)
"""

_RELATION = """
SELECT json_build_object(
    'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
    'identity', c.relreplident, 'owned', pg_has_role(c.relowner, 'USAGE'), 'secured', row_security_active(c.oid),
    'children', c.relhassubclass,
    'columns', (
        SELECT json_agg(json_build_object(
            'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
            'generated', a.attgenerated <> '', 'base', coalesce(b.typname, t.typname),
            'kind', coalesce(b.typtype, t.typtype), 'category', coalesce(b.typcategory, t.typcategory),
            'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
                       WHERE e.enumtypid = coalesce(b.oid, t.oid))) ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'unique', (
        SELECT json_agg(json_build_object(
            'primary', i.indisprimary, 'identity', i.indisreplident, 'immediate', i.indimmediate,
            'columns', (SELECT json_agg(a.attname ORDER BY k.place)
                        FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, place)
                        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number)))
        FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[])
"""

_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

_BENEATH = """
WITH RECURSIVE beneath(oid, kind) AS (
    SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = %s
    UNION
    SELECT c.oid, c.relkind
    FROM beneath
    JOIN pg_rewrite r ON r.ev_class = beneath.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.refobjid
    WHERE beneath.kind = 'v'
)
SELECT beneath.oid::bigint, beneath.kind,
       EXISTS (SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
               WHERE r.ev_class = beneath.oid AND d.refclassid = 'pg_proc'::regclass)
FROM beneath
"""


async def examine(connection: AsyncConnection, source: Source) -> Plan:
    """How this source can be followed. Raises a permanent DatabaseError that names all that does not fit."""
    facts = await find(connection, source.relation)
    require_fit(source, facts.table.name, facts.actual_columns)
    if facts.kind == "v":
        return await _plan_view(connection, facts)
    if facts.kind not in ("r", "p"):
        kind = {"m": "a materialized view, which changes when it is refreshed", "f": "a foreign table"}
        return Plan(Mode.POLL, facts.table, reason=f"{facts.table.name} is {kind.get(facts.kind, 'no table')}")
    parts = await _leaves(connection, facts)
    obstacle = (
        await _server_obstacle(connection) or _publishing_obstacle(facts, parts) or _key_obstacle(source, facts, parts)
    )
    if obstacle:
        return Plan(Mode.POLL, facts.table, reason=obstacle)
    return Plan(Mode.STREAM, facts.table, (facts.table,))


async def find(connection: AsyncConnection, relation: Relation) -> Facts:
    """The relation's catalog entries. Raises UnknownRelationError."""
    identifier = sql.Identifier(*((relation.schema, relation.name) if relation.schema else (relation.name,)))
    quoted = identifier.as_string(connection.raw)
    ((oid,),) = await connection.execute("SELECT to_regclass(%s)::oid::bigint", (quoted,))
    if oid is None:
        elsewhere = [(schema, name) for schema, name, *_ in await relations(connection)]
        raise UnknownRelationError(relation, suggest_relation(relation.name, elsewhere))
    return (await _facts(connection, [int(oid)]))[0]


async def relations(connection: AsyncConnection) -> list[tuple[str, str, str, bool]]:
    """Schema, name, kind (as in pg_class) of each relation of the users' own, and whether its name alone finds it."""
    rows = await connection.execute(_RELATIONS)
    return [(schema, name, kind, visible == "t") for schema, name, kind, visible in rows]


async def _facts(connection: AsyncConnection, oids: Sequence[int]) -> list[Facts]:
    found = []
    for (text,) in await connection.execute(_RELATION, (list(oids),)):
        entry = json.loads(text)
        found.append(
            Facts(
                table=Table(entry["oid"], entry["schema"], entry["name"]),
                kind=entry["kind"],
                persistence=entry["persistence"],
                identity=entry["identity"],
                owned=entry["owned"],
                secured=entry["secured"],
                has_children=entry["children"],
                columns={column["name"]: column for column in entry["columns"] or []},
                unique=tuple(
                    _Index(tuple(index["columns"]), index["primary"], index["identity"], index["immediate"])
                    for index in entry["unique"] or []
                ),
            )
        )
    return found


async def _leaves(connection: AsyncConnection, facts: Facts) -> list[Facts]:
    """The tables that hold the rows: the partitions, or the table itself."""
    if facts.kind != "p":
        return [facts]
    oids = await connection.execute(
        "SELECT relid::oid::bigint FROM pg_partition_tree(%s::oid::regclass) WHERE isleaf", (facts.table.oid,)
    )
    return await _facts(connection, [int(oid) for (oid,) in oids]) if oids else []


def _actual(column: dict[str, Any]) -> ActualColumn:
    return ActualColumn(
        type=column["type"],
        base=column["base"],
        array=column["category"] == "A",
        textual=column["category"] == "S",
        labels=column["labels"] if column["kind"] == "e" else None,
    )


# How can it be followed?


async def _server_obstacle(connection: AsyncConnection) -> str | None:
    ((text,),) = await connection.execute(_SERVER)
    server = json.loads(text)
    if server["recovery"]:
        return "the server is a standby; connect to the primary to stream"
    if server["wal_level"] != "logical":
        remedy = "ALTER SYSTEM SET wal_level = 'logical' and restart the server"
        return f"wal_level is {server['wal_level']}; to stream, {remedy}"
    if not server["replication"]:
        return f"the user may not replicate; to stream, ALTER ROLE {server['user']} REPLICATION"
    if not server["create"]:
        return (
            "the user may not create a publication; to stream, "
            f"GRANT CREATE ON DATABASE {server['database']} TO {server['user']}"
        )
    return None


def _publishing_obstacle(facts: Facts, parts: Sequence[Facts]) -> str | None:
    """Why this table must not, or can't, be published."""
    name = facts.table.name
    if facts.persistence != "p":
        return f"{name} is unlogged or temporary, which is not replicated"
    if not facts.owned:
        return f"only its owner can publish {name}; to stream, make the user a member of the owner's role"
    if facts.kind == "r" and facts.has_children:
        return f"{name} has child tables (inheritance), whose changes are not reported as its own"
    if facts.secured:
        return f"row-level security on {name} holds for the user, and a stream would go past it"
    for part in parts:
        if part.kind != "r" or part.persistence != "p":
            return f"its partition {part.table.name} is no ordinary table"
        if part.identity_columns is None:
            return (
                f"{part.table.name} has no replica identity, and publishing it would make its UPDATEs and DELETEs "
                "fail; to stream, give it a primary key or ALTER TABLE ... REPLICA IDENTITY FULL"
            )
    return None


def _key_obstacle(source: Source, facts: Facts, parts: Sequence[Facts]) -> str | None:
    """Why a stream of this table would not tell its rows apart by the configured key."""
    name, key = facts.table.name, frozenset(source.primary_key)
    listed = ", ".join(source.primary_key)
    generated = [column.name for column in source.columns if facts.columns[column.name]["generated"]]
    if generated:
        return f"{', '.join(generated)} is a generated column, which is not replicated"
    if not all(facts.columns[column]["not_null"] for column in key):
        return f"the key ({listed}) can be NULL in {name}; to stream, make it NOT NULL"
    if not any(index.columns <= key for index in facts.immediate):
        return f"no unique constraint of {name} (not deferrable) makes ({listed}) a key; to stream, add one"
    for part in parts:
        identity = part.identity_columns or frozenset()
        if not key <= identity:
            return (
                f"a deleted row of {part.table.name} is reported by ({', '.join(sorted(identity))}) alone, not by the "
                f"key ({listed}); to stream, ALTER TABLE ... REPLICA IDENTITY USING INDEX the key's, or FULL"
            )
    return None


async def _plan_view(connection: AsyncConnection, facts: Facts) -> Plan:
    name = facts.table.name
    beneath = [
        (int(oid), kind, calls == "t") for oid, kind, calls in await connection.execute(_BENEATH, (facts.table.oid,))
    ]
    if any(calls for _, _, calls in beneath):
        return Plan(Mode.POLL, facts.table, reason=f"{name} calls functions, which may read anything")
    tables = await _facts(connection, [oid for oid, kind, _ in beneath if kind != "v"])
    if not tables:
        return Plan(Mode.POLL, facts.table, reason=f"{name} reads no table")
    obstacle = await _server_obstacle(connection)
    for table in tables:
        if obstacle is None and table.kind not in ("r", "p"):
            obstacle = f"{table.table.name} beneath it is no ordinary table"
        obstacle = obstacle or _publishing_obstacle(table, await _leaves(connection, table))
    if obstacle:
        return Plan(Mode.POLL, facts.table, reason=obstacle)
    return Plan(Mode.REQUERY, facts.table, tuple(table.table for table in tables))
