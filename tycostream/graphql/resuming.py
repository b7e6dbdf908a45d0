"""Coming back without a new snapshot, in GraphQL's terms: the arguments and fields of cursors and snapshot marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLString,
)

from tycostream.graphql.errors import BAD_CURSOR, BAD_USER_INPUT
from tycostream.graphql.rendering import Field
from tycostream.model import Source
from tycostream.views.cursor import BadCursorError, Cursor, SnapshotMark

RESUME = "resume_from"
MARKS = "snapshot_marks"

_MARK_HELP = {
    SnapshotMark.RESET: "A snapshot begins: forget every row. `data` is its first row, or null where it has none.",
    SnapshotMark.ROW: "A further row of the snapshot.",
    SnapshotMark.END: "All rows have been sent. `data` is null. Only sent with `snapshot_marks: true`.",
}


def snapshot_mark_type() -> GraphQLEnumType:
    """The type of the field `snapshot`."""
    return GraphQLEnumType(
        "SnapshotMark",
        {mark.value: GraphQLEnumValue(mark.value, description=text) for mark, text in _MARK_HELP.items()},
        description="What an update says of the snapshot that it belongs to.",
    )


def resume_arguments() -> dict[str, GraphQLArgument]:
    """Of a subscription's field."""
    return {
        RESUME: GraphQLArgument(
            GraphQLString,
            description="The `cursor` of the last update that was received under the same `where` and rules: what "
            "came after it follows, or where that is not known any more, a snapshot that begins with RESET.",
        ),
        MARKS: GraphQLArgument(
            GraphQLBoolean,
            default_value=False,
            description="Send an update without a row, marked END, once all rows have been sent; and one marked RESET "
            "where there are none.",
        ),
    }


def resume_fields(mark: GraphQLEnumType) -> dict[str, GraphQLField]:
    """Of an update."""
    return {
        "cursor": GraphQLField(
            GraphQLNonNull(GraphQLString),
            description="Where this update leaves its receiver, for `resume_from`. Its form may change at any time.",
        ),
        "snapshot": GraphQLField(
            mark, description="Set on the rows that a subscription begins with, null on every change."
        ),
    }


def resumption(
    source: Source, node: FieldNode, arguments: Mapping[str, Any], tree: Iterable[Field]
) -> tuple[Cursor | None, bool]:
    """From where the subscription goes on, and whether its snapshot's end is told. Raises GraphQLError."""
    text, mark_end = arguments.get(RESUME), bool(arguments.get(MARKS))
    if (text is not None or mark_end) and all(field.name != "snapshot" for field in tree):
        argument = MARKS if text is None else RESUME
        raise _wrong(node, argument, "select the field snapshot too; it says when rows must be cleared", BAD_USER_INPUT)
    if text is None:
        return None, mark_end
    try:
        return Cursor.decode(text, source.name), mark_end
    except BadCursorError as error:
        raise _wrong(node, RESUME, f"{error}; subscribe without it", BAD_CURSOR) from None


def _wrong(node: FieldNode, argument: str, message: str, code: str) -> GraphQLError:
    text = f'Argument "{argument}" of "{node.name.value}": {message}.'
    return GraphQLError(text, node, extensions={"code": code})
