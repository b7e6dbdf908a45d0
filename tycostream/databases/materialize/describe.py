"""What Materialize tells of its relations to somebody who writes a schema file.

It knows of no unique columns (see `catalog`), so no key is found. mz_relations, mz_schemas and mz_databases stand in
doc/user/content/sql/system-catalog/mz_catalog.md; the ids of what users have made begin with u.
"""

from __future__ import annotations

import re

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.described import Described, Listed, UnknownRelationError, suggest_relation
from tycostream.databases.driver import DatabaseError
from tycostream.databases.materialize.catalog import show_columns
from tycostream.model import Relation

_RELATIONS = (
    "SELECT s.name, r.name, r.type FROM mz_catalog.mz_relations r"
    " JOIN mz_catalog.mz_schemas s ON r.schema_id = s.id JOIN mz_catalog.mz_databases d ON s.database_id = d.id"
    " WHERE r.id LIKE 'u%' AND d.name = current_database() ORDER BY s.name, r.name"
)
NO_KEY = "Materialize does not tell which columns are unique"


async def list_relations(connection: AsyncConnection) -> list[Listed]:
    """All that users have made in this database, by schema and name."""
    ((path,),) = await connection.execute("SHOW search_path")
    first = path.split(",")[0].strip().strip('"')
    return [
        Listed(Relation(name, None if schema == first else schema), kind.replace("-", " "))
        for schema, name, kind in await connection.execute(_RELATIONS)
    ]


async def describe(connection: AsyncConnection, relation: Relation) -> Described:
    """The relation's columns. Raises UnknownRelationError, and DatabaseError for what has no columns."""
    try:
        columns = await show_columns(connection, relation)
    except DatabaseError as error:
        if error.sqlstate is None or not re.search("unknown|does not exist", str(error)):
            raise
        known = [(schema, name) for schema, name, _ in await connection.execute(_RELATIONS)]
        raise UnknownRelationError(relation, suggest_relation(relation.name, known)) from None
    return Described(relation, "relation", columns, (), NO_KEY)
