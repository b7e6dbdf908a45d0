"""Answers to the small questions of a client: what this server is, and what columns a relation has.

Sources: MaterializeInc/materialize src/sql/src/plan/statement/show.rs (SHOW COLUMNS), doc/user/content/sql/functions (mz_version, mz_now).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.materialize.relations import Column, Relation, column
from tests.support.materialize.world import World


@dataclass(frozen=True, slots=True)
class Answer:
    """A small result, and the tag of its CommandComplete."""

    columns: Sequence[Column]
    rows: Sequence[tuple[str, ...]]
    tag: str


def show_columns(relation: Relation) -> Answer:
    """SHOW COLUMNS: name, nullable, type, comment, in the relation's order."""
    names = [("name", "text"), ("nullable", "boolean"), ("type", "text"), ("comment", "text")]
    rows = [(one.name, "t" if one.nullable else "f", one.type, "") for one in relation.columns]
    return Answer([column(*pair) for pair in names], rows, f"SELECT {len(rows)}")


def oid(relation: Relation) -> Answer:
    """A relation's OID: user objects have numbers from 20000 on (src/pgrepr-consts/src/oid.rs)."""
    return Answer([column("oid", "oid")], [(str(20_000 + int(relation.id.removeprefix("u"))),)], "SELECT 1")


def relations(world: World) -> Answer:
    """Schema, name and type of the users' relations (mz_relations in doc/user/content/sql/system-catalog)."""
    rows = [(schema, name, "view") for schema, name in world.names()]
    return Answer([column(name, "text") for name in ("name", "name", "type")], rows, f"SELECT {len(rows)}")


def select(what: str, world: World) -> Answer:
    """SELECT of 1 or of a function without arguments."""
    name, type_name, value = {
        "1": ("?column?", "integer", "1"),
        "mz_version": ("mz_version", "text", world.behaviour.version),
        "mz_version_num": ("mz_version_num", "integer", "2601000"),
        "mz_now": ("mz_now", "mz_timestamp", str(world.frontier - 1)),
    }[what]
    return Answer([column(name, type_name)], [(value,)], "SELECT 1")


def cancelled(*, done: bool) -> Answer:
    """SELECT pg_cancel_backend(...)."""
    return Answer([column("pg_cancel_backend", "boolean")], [("t" if done else "f",)], "SELECT 1")
