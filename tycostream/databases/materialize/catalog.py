"""Looks a relation up in Materialize: has it the source's columns, and of which types?

The key can't be looked up: Materialize's catalog tells of no unique columns, so only `key_violation` shows one that is
wrong (builtin views of src/catalog; `pg_index.indisunique` is constantly false).
"""

from __future__ import annotations

import re

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.driver import DatabaseError
from tycostream.databases.fitting import ActualColumn, misfits, missing_columns, require
from tycostream.databases.materialize.errors import explained
from tycostream.model import Relation, Source

_BASES = {
    "smallint": "int2", "integer": "int4", "bigint": "int8", "real": "float4", "double precision": "float8",
    "character varying": "varchar", "character": "bpchar", "boolean": "bool",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
}  # fmt: skip
_TEXTUAL = frozenset({"text", "varchar", "bpchar", "char"})


def identifier(relation: Relation) -> sql.Identifier:
    """The relation's name, quoted."""
    return sql.Identifier(*((relation.schema, relation.name) if relation.schema else (relation.name,)))


async def examine(connection: AsyncConnection, source: Source) -> str | None:
    """A sentence about types that are not the schema file's, None where all fit.

    Values of another type are still served, as far as they fit: a schema file that served so far goes on serving.
    Raises a permanent DatabaseError where a column is missing, and DatabaseError where the relation is.
    """
    try:
        columns = await show_columns(connection, source.relation)
    except DatabaseError as error:
        raise explained(error, source) from None
    require(missing_columns(source, str(source.relation), columns))
    return "; ".join(misfits(source, columns)) or None


async def identify(connection: AsyncConnection, relation: Relation) -> str | None:
    """What tells the relation from another one of its name, such as one that was swapped in; None where the server
    does not tell."""
    name = identifier(relation).as_string(connection.raw)
    try:
        ((oid,),) = await connection.execute("SELECT %s::regclass::oid", (name,))
    except DatabaseError as error:
        if error.sqlstate is None:
            raise
        return None
    except ValueError:
        return None
    found: str = oid
    return found


async def show_columns(connection: AsyncConnection, relation: Relation) -> dict[str, ActualColumn]:
    """The columns by name, in their order. Raises DatabaseError.

    SHOW COLUMNS gives name, nullable, type, and in newer versions comment (src/sql/src/plan/statement/show.rs).
    """
    cursor = await connection.run(sql.SQL("SHOW COLUMNS FROM {}").format(identifier(relation)))
    names = [column.name for column in cursor.description or ()]
    rows = cursor.fetchall() if names else []
    if not rows or "name" not in names or "type" not in names:
        raise DatabaseError(f"SHOW COLUMNS tells nothing of {relation}")
    name, type_ = names.index("name"), names.index("type")
    return {row[name]: _actual(row[type_]) for row in rows}


def _actual(type_: str) -> ActualColumn:
    plain = re.sub(r"\(.*?\)", "", type_).strip().lower()  # numeric(39,2), character varying(10)
    plain = re.sub(r"\s+", " ", plain)
    array = plain.endswith(("[]", " list"))
    base = _BASES.get(plain, plain)
    return ActualColumn(type=type_, base=base, array=array, textual=base in _TEXTUAL)
