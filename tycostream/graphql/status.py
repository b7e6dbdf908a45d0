"""`source_status`: how sources stand, as a query and as a subscription, and beside the first change after a state's.

The subscription follows the source STATUS (tycostream/status.py) as others follow a source of the schema file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import orjson
from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLString,
)

from tycostream.filters import Filter, parse_filter
from tycostream.graphql.encoding import encoder
from tycostream.graphql.errors import BAD_USER_INPUT
from tycostream.graphql.rendering import Field
from tycostream.model import Operation, Row
from tycostream.status import SOURCE_STATUS, STATUS, SourceState, Standing, written
from tycostream.triggers.definition import some_of
from tycostream.views.applying import ViewChange
from tycostream.views.delivery import OnUnavailable

TYPE = "SourceStatus"
REMOVED = "the schema file names it no more"

_STATE_HELP = {
    SourceState.IDLE: "Nobody has asked for its rows yet, or not for a while.",
    SourceState.CONNECTING: "Its first rows are on their way.",
    SourceState.LIVE: "It follows the database.",
    SourceState.STALE: "The connection to the database is lost: the last rows are served, and it tries again.",
    SourceState.FAILED: "Somebody has to mend the database or the schema file; it tries again now and then.",
}
_TEXT = GraphQLNonNull(GraphQLString)


def unavailable_argument() -> GraphQLArgument:
    """The argument `on_unavailable` of subscriptions."""
    return GraphQLArgument(
        GraphQLEnumType(
            "OnUnavailable",
            {
                "WAIT": GraphQLEnumValue(OnUnavailable.WAIT, description="Wait until it has, however long that takes."),
                "ERROR": GraphQLEnumValue(
                    OnUnavailable.ERROR,
                    description="End with the error SOURCE_UNAVAILABLE once several attempts have failed.",
                ),
            },
            description="What becomes of a subscription to a source that has no rows, and can't get any now.",
        ),
        description="What to do while the source has no rows and can't get any. Without it: wait where the database "
        "may be back soon, an error where somebody has to mend something first.",
    )


class StatusReader(Protocol):
    """Who knows how sources stand."""

    def standings(self, names: Collection[str] | None = None) -> Sequence[Standing]:
        """How these sources stand now, or all."""


class StatusTypes:
    """The types and fields of `source_status` for sources of these names."""

    def __init__(self, sources: Collection[str], reader: StatusReader | None) -> None:
        self._sources = sources
        self._reader = reader
        states = GraphQLEnumType(
            "SourceState",
            {state.value: GraphQLEnumValue(state.value, description=text) for state, text in _STATE_HELP.items()},
            description="How a source stands to its database.",
        )
        self._status = GraphQLObjectType(
            TYPE,
            {
                "source": GraphQLField(_TEXT, description="The source's name."),
                "state": GraphQLField(GraphQLNonNull(states), description="How it stands."),
                "since": GraphQLField(_TEXT, description="Since when it has stood so (ISO 8601, UTC)."),
                "reason": GraphQLField(GraphQLString, description="Why, where there is something to say."),
                "lag_ms": GraphQLField(
                    GraphQLFloat,
                    description="How far its rows are behind the database, in milliseconds, at the time of this "
                    "message; null where that is not known.",
                ),
            },
            description="How a source stands.",
        )
        self._arguments = {
            "sources": GraphQLArgument(
                GraphQLList(GraphQLNonNull(GraphQLString)), description="Which sources; without it, all."
            )
        }

    def query(self) -> GraphQLField:
        """`Query.source_status`."""
        return GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(self._status))),
            self._arguments,
            resolve=self._resolve,
            description="How the sources stand now.",
        )

    def subscription(self) -> GraphQLField:
        """`Subscription.source_status`."""
        return GraphQLField(
            GraphQLNonNull(self._status),
            self._arguments,
            description="Follow how the sources stand: each as it stands now, then every change of a state or reason.",
        )

    def _resolve(
        self, _root: object, _info: GraphQLResolveInfo[Any], sources: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        chosen = _known(sources, self._sources)
        standings = self._reader.standings(chosen) if self._reader is not None else ()
        return [_told(standing) for standing in standings if standing.source in self._sources]


class StatusSelection:
    """What a subscription to `source_status` selects; see `views.delivery.Selection`.

    A change of the lag alone is no event. What is selected besides, every change of the state is worth a message.
    """

    def __init__(self, response_key: str, fields: tuple[Field, ...]) -> None:
        self._identity = (response_key, fields)
        self._hash = hash(self._identity)
        self._head = b'{"data":{%b:{' % orjson.dumps(response_key)
        self._members = [(orjson.dumps(field.key) + b":", STATUS.positions.get(field.name)) for field in fields]
        wanted = {position for _, position in self._members if position is not None} | {STATUS.positions["state"]}
        self.interest = sum(1 << position for position in wanted - {STATUS.positions["lag_ms"]})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StatusSelection) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        """Standings, each of them whole."""
        return [self._standing(operation, row) for operation, _key, row, _changed, _timestamp in changes]

    def _standing(self, operation: Operation, row: Row) -> bytes:
        if operation is Operation.DELETE:
            source, _state, since, _reason, _lag = row
            row = (source, SourceState.IDLE.value, since, REMOVED, None)
        values = [
            key + (b'"%b"' % TYPE.encode() if position is None else _ENCODERS[position](row[position]))
            for key, position in self._members
        ]
        return self._head + b",".join(values) + b"}}}"


_ENCODERS = [encoder(column) for column in STATUS.columns]


def status_filter(sources: Collection[str], node: FieldNode, arguments: Mapping[str, Any]) -> Filter:
    """Which standings a field asks for. Raises GraphQLError."""
    try:
        chosen = _known(arguments.get("sources"), sources)
    except GraphQLError as error:
        raise GraphQLError(error.message, node, extensions=error.extensions) from None
    return parse_filter(STATUS, None if chosen is None else {"source": {"_in": list(chosen)}})


def _known(names: Sequence[str] | None, sources: Collection[str]) -> Sequence[str] | None:
    if names is None:
        return None
    there_are = some_of(list(sources))
    for name in names:
        if name not in sources:
            raise _wrong(f'there is no source "{name}"; there are {there_are}')
    if not names:
        raise _wrong(f"it names no source; leave it out for all, or name some of {there_are}")
    return names


def _wrong(text: str) -> GraphQLError:
    return GraphQLError(f'Argument "sources" of "{SOURCE_STATUS}": {text}', extensions={"code": BAD_USER_INPUT})


def _told(standing: Standing) -> dict[str, Any]:
    return {
        "source": standing.source,
        "state": standing.state.value,
        "since": written(standing.since),
        "reason": standing.reason,
        "lag_ms": standing.lag_ms,
    }


def news_of(standing: Standing) -> bytes:
    """The extensions that the first change after a change of the source's state comes with."""
    return b'{"%b":%b}' % (SOURCE_STATUS.encode(), orjson.dumps(_told(standing)))
