"""What `order_by` asks for, as a key to sort rows by. Rows that it leaves equal are in the order of their key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import FieldNode, GraphQLError, OperationDefinitionNode, value_from_ast_untyped

from tycostream.filters import dotted, ranker
from tycostream.graphql.sorting import SortKey
from tycostream.model import Row, Source


@dataclass(frozen=True, slots=True)
class Direction:
    """Which way a column sorts. `help` is for the schema."""

    descending: bool
    nulls_first: bool
    help: str


# Where NULL is, where nothing is said of it: as in PostgreSQL and Hasura it counts as greater than every value.
DIRECTIONS: Final = {
    "asc": Direction(False, False, "Rising, NULL last."),
    "asc_nulls_first": Direction(False, True, "Rising, NULL first."),
    "asc_nulls_last": Direction(False, False, "Rising, NULL last."),
    "desc": Direction(True, True, "Falling, NULL first."),
    "desc_nulls_first": Direction(True, True, "Falling, NULL first."),
    "desc_nulls_last": Direction(True, False, "Falling, NULL last."),
}


def parse_order(node: FieldNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> dict[str, str]:
    """The columns that the field's `order_by` names, the most important first, each with its direction.

    The argument has been found valid. Columns of one object count in the order in which the client wrote them, which
    graphql-core's own reading of the value does not keep. Raises GraphQLError for a direction that is null.
    """
    argument = next((one for one in node.arguments or () if one.name.value == "order_by"), None)
    if argument is None:
        return {}
    defaults = {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    given: Any = value_from_ast_untyped(argument.value, defaults | dict(variables))
    order: dict[str, str] = {}
    listed = isinstance(given, list | tuple)
    for index, columns in enumerate(given if listed else [given]):
        for column, direction in columns.items() if isinstance(columns, Mapping) else ():
            if direction is None:
                place = dotted((index, column) if listed else (column,))
                message = f"null is no direction; leave the column out, or say {', '.join(DIRECTIONS)}"
                raise GraphQLError(f'Argument "order_by" of "{node.name.value}": {place}: {message}.', node)
            if direction in DIRECTIONS:  # else a variable that was not given: the column is not there
                order.setdefault(column, direction)
    return order


def sort_key(source: Source, order: Mapping[str, str]) -> SortKey:
    """Sorts rows by these columns, then by their key, whose text settles what compares as equal."""
    columns = dict(order) | {name: "asc" for name in source.primary_key if name not in order}
    ranks = []
    for name, direction in columns.items():
        way = DIRECTIONS[direction]
        position = source.positions[name]
        ranks.append(
            (position, ranker(source.columns[position], descending=way.descending, nulls_first=way.nulls_first))
        )
    key_of = source.key_of

    def key(row: Row) -> tuple[Any, ...]:
        members: list[Any] = []
        for position, rank in ranks:
            members += rank(row[position])
        return (*members, key_of(row), row)

    return key
