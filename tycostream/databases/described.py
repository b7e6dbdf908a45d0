"""What a database tells of its relations to somebody who writes a schema file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tycostream.databases.driver import DatabaseError
from tycostream.databases.fitting import ActualColumn
from tycostream.model import Relation


class UnknownRelationError(DatabaseError):
    """The database has no relation of this name; `hint` names one that may be meant."""

    def __init__(self, relation: Relation, hint: str | None) -> None:
        super().__init__(f"there is no relation {relation} in the database", hint=hint, permanent=True)


@dataclass(frozen=True, slots=True)
class Listed:
    """A relation that can be served. `relation` has no schema where its name alone finds it; `kind` is for people."""

    relation: Relation
    kind: str


@dataclass(frozen=True, slots=True)
class Described:
    """A relation and its columns, in their order.

    `key` names the columns of a primary key, or of a unique one without NULLs; it is empty where the database knows of
    none, and `no_key` then says why; `likely` are columns that may well be one.
    """

    relation: Relation
    kind: str
    columns: Mapping[str, ActualColumn]
    key: tuple[str, ...] = ()
    no_key: str = ""
    likely: tuple[str, ...] = ()


def suggest_relation(name: str, known: Sequence[tuple[str, str]]) -> str | None:
    """A sentence about a relation that may be meant by this name; `known` are schemas and names."""
    for schema, other in known:
        if other == name:
            return f"there is one in the schema {schema}: write relation: {schema}.{name}"
    by_folded = {other.lower(): other for _, other in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1)
    return f"did you mean {by_folded[near[0]]}?" if near else None
