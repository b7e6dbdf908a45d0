"""Queries and mutations: rows come straight from the sources' caches; all else (triggers, introspection) is
graphql-core's to execute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Protocol

from graphql import DocumentNode, FieldNode, GraphQLError, GraphQLSchema, execute

from tycostream.filters import Filter, KeyLookup, parse_filter
from tycostream.graphql.encoding import Decode, decoder
from tycostream.graphql.errors import BAD_USER_INPUT, INTERNAL, UNAVAILABLE, UnavailableError, formatted
from tycostream.graphql.rendering import Field
from tycostream.graphql.rules import extended
from tycostream.graphql.sorting import SortKey, sort_rows
from tycostream.graphql.triggers import TriggerService
from tycostream.model import Row, Source
from tycostream.triggers.codes import TriggerError
from tycostream.turns import Turns
from tycostream.views.derived import Derivation

log = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 100


class RowReader(Protocol):
    """Where rows come from: the sources' caches.

    Waits for a source's snapshot up to a limit; raises UnavailableError. What is asked for without a turn of the loop
    between is of one moment.
    """

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002  # the field's own word
        """The matching rows of the filter's source, in any order."""

    async def row(self, lookup: KeyLookup) -> Row | None:
        """The row with this key."""


class Elsewhere(Protocol):
    """Carries out requests about triggers where another process has them."""

    async def __call__(self, query: str, operation_name: str | None, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The response object, of which fields that read rows are of no meaning."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of a filter in an order, from place `offset` to before `end`."""

    filter: Filter
    sort_key: SortKey
    offset: int
    end: int | None


@dataclass(frozen=True, slots=True)
class RowsPlan:
    """One field of a query that reads rows: a list of them, or the one of a key; with the states that `derivation`
    gives them, where there is one."""

    key: str
    node: FieldNode
    source: Source
    fields: tuple[Field, ...]
    wanted: Slice | KeyLookup
    derivation: Derivation | None = None

    @property
    def reads(self) -> Filter | KeyLookup:
        """What is asked of the source, which knows of the database's columns alone."""
        if isinstance(self.wanted, KeyLookup):
            return self.wanted
        condition = self.wanted.filter
        return condition if condition.source is self.source else parse_filter(self.source, None)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A query or mutation that is ready to be executed, any number of times, on the schema for which it was prepared.
    `kind` is `query` or `mutation`, `keys` are the response keys in order. `on_triggers`: some fields are about
    triggers."""

    schema: GraphQLSchema
    tree: DocumentNode
    operation_name: str | None
    kind: str
    variables: Mapping[str, Any]
    keys: tuple[str, ...]
    rows: tuple[RowsPlan, ...]
    on_triggers: bool = False


async def execute_query(
    reader: RowReader,
    triggers: TriggerService | None,
    prepared: PreparedQuery,
    elsewhere: Elsewhere | None = None,
) -> dict[str, object]:
    """The response object: `data`, and `errors` where there are any."""
    data: dict[str, object] | None = dict.fromkeys(prepared.keys)
    errors: list[dict[str, Any]] = []
    if len(prepared.rows) < len(prepared.keys):
        if elsewhere is not None and prepared.on_triggers:
            data, errors = await _send(elsewhere, prepared)
        else:
            data, errors = await delegate(triggers, prepared)
    # Asked for together, so that the fields of one source show one moment; sorted and written one after the other
    reads = await asyncio.gather(*(_read(reader, plan.reads) for plan in prepared.rows), return_exceptions=True)
    for plan, read in zip(prepared.rows, reads, strict=True):
        if data is None:
            break
        try:
            if isinstance(read, BaseException):
                raise read
            data[plan.key] = await _result(plan, read)
        except Exception as error:  # told to the client without its text, and logged
            errors.append(_told(error, GraphQLError("", plan.node, path=[plan.key])))
            # A list is not nullable: without it the whole is null, as the specification says.
            data = data if isinstance(plan.wanted, KeyLookup) else None
    return {"data": data, "errors": errors} if errors else {"data": data}


async def _send(elsewhere: Elsewhere, prepared: PreparedQuery) -> tuple[dict[str, object] | None, list[dict[str, Any]]]:
    assert prepared.tree.loc is not None
    text = prepared.tree.loc.source.body
    answer = await elsewhere(text, prepared.operation_name, prepared.variables)
    return answer["data"], list(answer.get("errors", ()))


async def delegate(
    triggers: TriggerService | None, prepared: PreparedQuery
) -> tuple[dict[str, object] | None, list[dict[str, Any]]]:
    """All fields as graphql-core answers them; those that read rows have a stand-in (see schema.py)."""
    result = execute(
        prepared.schema,
        prepared.tree,
        context_value=triggers,
        variable_values=dict(prepared.variables),
        operation_name=prepared.operation_name,
    )
    if isawaitable(result):
        result = await result
    return result.data, [_told(error.original_error or error, error) for error in result.errors or ()]


async def _read(reader: RowReader, wanted: Filter | KeyLookup) -> Sequence[Row]:
    if isinstance(wanted, Filter):
        return await reader.rows(wanted)
    row = await reader.row(wanted)
    return () if row is None else (row,)


async def _result(plan: RowsPlan, rows: Sequence[Row]) -> object:
    members = _members(plan)
    wanted = plan.wanted
    objects: list[dict[str, object]] = []
    async with Turns() as turns:
        if plan.derivation is not None:
            rows = await extended(rows, plan.derivation, _not_asked(plan), turns)
        if isinstance(wanted, KeyLookup):
            return _object(members, rows[0]) if rows else None
        chosen = await sort_rows(rows, wanted.sort_key, wanted.offset, wanted.end, turns)
        for start in range(0, len(chosen), _ROWS_AT_A_TIME):
            objects += [_object(members, row) for row in chosen[start : start + _ROWS_AT_A_TIME]]
            await turns.between()
    return objects


def _not_asked(plan: RowsPlan) -> Filter | None:
    """The condition that speaks of calculated fields, which the source could not be asked."""
    wanted = plan.wanted
    return wanted.filter if isinstance(wanted, Slice) and wanted.filter.source is not plan.source else None


_Member = tuple[str, Decode, int]


def _members(plan: RowsPlan) -> list[_Member]:
    source = plan.source.extended
    members: list[_Member] = []
    for field in plan.fields:
        position = source.positions.get(field.name)
        if position is None:
            members.append((field.key, lambda _: source.name, 0))
        else:
            members.append((field.key, decoder(source.columns[position]), position))
    return members


def _object(members: list[_Member], row: Row) -> dict[str, object]:
    return {key: decode(row[position]) for key, decode, position in members}


def _told(error: Exception, place: GraphQLError) -> dict[str, Any]:
    """The error as the client is told it, at this place: known kinds with their text, others without."""
    if isinstance(error, GraphQLError):
        return formatted(error, BAD_USER_INPUT)
    if isinstance(error, UnavailableError):
        code, message = UNAVAILABLE, str(error)
    elif isinstance(error, TriggerError):
        code, message = error.code.value, str(error)
    else:
        log.error("A query failed [%s]", INTERNAL, exc_info=error)
        code, message = INTERNAL, "Internal error"
    return formatted(GraphQLError(message, place.nodes, path=place.path), code)
