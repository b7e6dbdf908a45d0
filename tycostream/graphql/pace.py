"""The arguments of a subscription that say how it is told of changes, and the field that tells of many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from graphql import FieldNode, GraphQLArgument, GraphQLEnumType, GraphQLEnumValue, GraphQLError, GraphQLInt

from tycostream.graphql.rendering import Selection
from tycostream.model import Source
from tycostream.views.batches import Batches
from tycostream.views.pace import Rhythm, SlowPolicy

ON_SLOW, COALESCE, MAX_ROWS, MAX_WAIT = "on_slow", "coalesce_ms", "max_rows", "max_wait_ms"

MOST_ROWS = 5000
MOST_MILLISECONDS = 60_000

_ROWS, _WAIT_MILLISECONDS = 500, 100


def batch_name(source: Source) -> str:
    """The subscription field that tells of many changes at once."""
    return f"{source.name}_batch"


class PaceArguments:
    """What subscriptions of every source take. One for a schema."""

    def __init__(self) -> None:
        policy = GraphQLEnumType(
            "SlowConsumerPolicy",
            {one.name: GraphQLEnumValue(one, description=one.value) for one in SlowPolicy},
            description="What becomes of changes while a client reads more slowly than they come.",
        )
        on_slow = GraphQLArgument(
            policy,
            description="What becomes of changes while the client reads more slowly than they come; left out: what "
            "the service is set to, which is CONFLATE unless somebody has changed it.",
        )
        self.subscription = {
            ON_SLOW: on_slow,
            COALESCE: GraphQLArgument(
                GraphQLInt,
                description="Tell of changes every so many milliseconds at most, those of the same row merged to one; "
                "0 or left out: tell of each at once.",
            ),
        }
        self.batch = {
            ON_SLOW: on_slow,
            MAX_ROWS: GraphQLArgument(
                GraphQLInt,
                default_value=_ROWS,
                description="The most changes in one list. Those of one timestamp stay together; where they alone are "
                "more, each message of them but the last says so in `extensions.incomplete`.",
            ),
            MAX_WAIT: GraphQLArgument(
                GraphQLInt,
                default_value=_WAIT_MILLISECONDS,
                description="How many milliseconds a change waits at most for others to share its list.",
            ),
        }


def slow_policy(arguments: Mapping[str, Any]) -> SlowPolicy | None:
    """What was asked for; None where it is left to the service."""
    policy: SlowPolicy | None = arguments.get(ON_SLOW)
    return policy


def rhythm(node: FieldNode, arguments: Mapping[str, Any]) -> Rhythm | None:
    """When changes are told; None: at once. Raises GraphQLError."""
    milliseconds = _number(node, arguments, COALESCE, 0, 0, MOST_MILLISECONDS)
    return Rhythm(milliseconds / 1000) if milliseconds else None


def batches(node: FieldNode, arguments: Mapping[str, Any], selection: Selection) -> tuple[Batches, Rhythm]:
    """How the changes of a batch field are written, and when they are told. Raises GraphQLError."""
    rows = _number(node, arguments, MAX_ROWS, _ROWS, 1, MOST_ROWS)
    milliseconds = _number(node, arguments, MAX_WAIT, _WAIT_MILLISECONDS, 0, MOST_MILLISECONDS)
    before = b'{"data":{%b:' % orjson.dumps(selection.response_key)
    return Batches(selection, before, rows), Rhythm(milliseconds / 1000, rows)


def _number(node: FieldNode, arguments: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    given: int | None = arguments.get(name)
    if given is None:
        return default
    if not least <= given <= most:
        raise GraphQLError(
            f'Argument "{name}" of "{node.name.value}": {given} is not allowed; {least} to {most} would be valid.', node
        )
    return given
