"""`tycostream check`: holds the schema file against the database before anything is served."""

from __future__ import annotations

from tycostream.app import database_connection
from tycostream.databases import materialize, postgres
from tycostream.databases.connection import AsyncConnection
from tycostream.databases.driver import DatabaseError
from tycostream.model import Catalog, Source
from tycostream.settings import Settings


async def check_database(settings: Settings, catalog: Catalog) -> int:
    """Hold the catalog against the database and print what is found. Returns the process's exit code."""
    examine = _examine_materialize if settings.database.type == "materialize" else _examine_postgres
    problems = 0
    try:
        async with database_connection(settings) as connection:
            for source in catalog.sources.values():
                try:
                    print(f"  {source.name}: {await examine(connection, source)}")
                except DatabaseError as error:
                    problems += 1
                    print(f"  {source.name}: {told(error)}")
    except DatabaseError as error:
        print(f"  the database: {told(error)}")
        return 1
    print("Everything fits." if not problems else f"{problems} of {len(catalog.sources)} sources do not fit.")
    return 1 if problems else 0


async def _examine_postgres(connection: AsyncConnection, source: Source) -> str:
    plan = await postgres.examine(connection, source)
    how = plan.mode.value if plan.reason is None else f"{plan.mode.value}: {plan.reason}"
    return f"fits; followed by {how}"


async def _examine_materialize(connection: AsyncConnection, source: Source) -> str:
    note = await materialize.examine(connection, source)
    key = f"whether ({', '.join(source.primary_key)}) tells its rows apart shows once they are read"
    return f"served as far as it fits: {note}; {key}" if note else f"fits; followed by SUBSCRIBE; {key}"


def told(error: DatabaseError) -> str:
    """The error, and what to do about it."""
    return f"{error} ({error.hint})" if error.hint else str(error)
