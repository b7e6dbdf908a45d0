"""What PostgreSQL tells of its relations to somebody who writes a schema file."""

from __future__ import annotations

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.described import Described, Listed
from tycostream.databases.postgres.catalog import Facts, find, relations
from tycostream.model import Relation

_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}


async def list_relations(connection: AsyncConnection) -> list[Listed]:
    """All that users have made, by schema and name. Partitions and what belongs to extensions are left out."""
    return [
        Listed(Relation(name, None if visible else schema), _KINDS[kind])
        for schema, name, kind, visible in await relations(connection)
    ]


async def describe(connection: AsyncConnection, relation: Relation) -> Described:
    """The relation's columns and its key. Raises UnknownRelationError."""
    facts = await find(connection, relation)
    kind = _KINDS.get(facts.kind, "relation")
    key, may_be_null = _shortest(facts, nullable=False), _shortest(facts, nullable=True)
    why = f"a {kind} has no primary key" if facts.kind not in ("r", "p") else "it has no primary key"
    if may_be_null:
        why += f", and what is unique, ({', '.join(may_be_null)}), may be NULL"
    return Described(relation, kind, facts.actual_columns, key, why, may_be_null)


def _shortest(facts: Facts, *, nullable: bool) -> tuple[str, ...]:
    """The primary key's columns; else those of the shortest unique index, by name among equals."""
    keys = [
        (not index.primary, len(index.names), index.names)
        for index in facts.unique
        if nullable or all(facts.columns[name]["not_null"] for name in index.names)
    ]
    return min(keys)[-1] if keys else ()
