"""`tycostream schema`: the commands, from what they are given to what they print and end with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from graphql import lexicographic_sort_schema, print_schema

from tycostream.app import database_connection
from tycostream.check import told
from tycostream.databases.connection import AsyncConnection
from tycostream.databases.described import UnknownRelationError
from tycostream.databases.driver import DatabaseError
from tycostream.databases.materialize import describe as materialize
from tycostream.databases.postgres import describe as postgres
from tycostream.graphql.schema import build_schema
from tycostream.model import Catalog
from tycostream.schema.diff import compare
from tycostream.schema.generate import Describing, Generated, everything, generate
from tycostream.schema.wishes import Given, UsageError, Wishes, collect
from tycostream.schema.writing import relation_text
from tycostream.settings import Settings, load_schema

OK, FAILED, MISUSED = 0, 1, 2


async def run_generate(settings: Settings, given: Sequence[Given], *, all_relations: bool) -> int:
    """Print a schema file for the database, or without a wish what it could be written for. Returns the exit code."""
    try:
        wishes = collect(given)
        if all_relations and wishes.sources:
            raise UsageError("--all takes every relation: leave out -s, or --all")
        async with database_connection(settings) as connection:
            database: Describing = materialize if settings.database.type == "materialize" else postgres
            if not all_relations and not wishes.sources:
                print(await _offer(connection, database), end="")
                return OK
            if all_relations:
                wishes = Wishes(wishes.enums, await everything(connection, database))
            generated = await generate(connection, database, wishes)
    except UsageError as error:
        return _complain(str(error), MISUSED)
    except UnknownRelationError as error:
        return _complain(told(error), MISUSED)
    except DatabaseError as error:
        return _complain(f"the database: {told(error)}", FAILED)
    print(generated.text, end="")
    _remark(generated)
    return OK


def run_print(catalog: Catalog) -> int:
    """Print the GraphQL schema of a catalog, sorted, as SDL. Returns the exit code."""
    print(print_schema(lexicographic_sort_schema(build_schema(catalog))))
    return OK


def run_diff(old: Path, new: Path, *, as_json: bool) -> int:
    """Print what changes for clients. Returns the exit code: 1 where some client breaks. Raises SettingsError."""
    difference = compare(load_schema(old), load_schema(new))
    print(json.dumps(difference.as_json(), indent=2) if as_json else difference.as_text(), end="\n" if as_json else "")
    return FAILED if difference.breaks else OK


async def _offer(connection: AsyncConnection, database: Describing) -> str:
    """The relations, as comments: whoever writes them into the schema file at once has a file that says what to do."""
    listed = await database.list_relations(connection)
    if not listed:
        return "# The database has no tables or views yet.\n"
    lines = ["# Name relations with -s, or take them all with --all. The database has:"]
    lines += [f"#   {relation_text(one.relation)} ({one.kind})" for one in listed]
    return "\n".join(lines) + "\n"


def _remark(generated: Generated) -> None:
    if generated.left_out:
        names = ", ".join(generated.left_out)
        print(f"Left out, for want of a column that GraphQL can hold: {names}", file=sys.stderr)
    if generated.unfinished:
        names = ", ".join(generated.unfinished)
        print(f"Fill in primary_key before you use the file: {names} (or name it with -p)", file=sys.stderr)


def _complain(text: str, code: int) -> int:
    print(f"tycostream schema generate: {text}", file=sys.stderr)
    return code
