"""Triggers in the GraphQL schema. graphql-core executes their fields, on a `TriggerService` that is its context."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from graphql import (
    GRAPHQL_MAX_INT,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLString,
)

from tycostream.graphql.encoding import decoder
from tycostream.model import Key, Source
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.definition import LONGEST_NAME, OnCreate
from tycostream.triggers.status import TriggerStatus
from tycostream.turns import Turns

Info = GraphQLResolveInfo[Any]

SOME_KEYS = 100
MOST_KEYS = 1000
"""Rows that `fired_rows` lists at one time: unless something else is wished, and at most."""


class TriggerService(Protocol):
    """What clients can do to triggers. Raises TriggerError."""

    def find(self, source: Source, name: str) -> TriggerStatus | None:
        """The trigger of that name."""

    def all_of(self, source: Source) -> Iterator[TriggerStatus]:
        """The source's triggers, each as it stands when it is asked for."""

    async def create(self, source: Source, wish: Mapping[str, Any]) -> TriggerStatus:
        """Create the trigger that a `<source>TriggerInput` describes."""

    async def delete(self, source: Source, name: str) -> TriggerStatus:
        """End the trigger; returns how it stood."""

    async def enable(self, source: Source, name: str) -> TriggerStatus:
        """Call its webhook again."""

    async def disable(self, source: Source, name: str) -> TriggerStatus:
        """Call its webhook no more, for a while."""

    async def test(self, source: Source, name: str) -> TriggerStatus:
        """Call its webhook with an example."""


_TEXT = GraphQLNonNull(GraphQLString)
_COUNT = GraphQLNonNull(GraphQLInt)
_TRUTH = GraphQLNonNull(GraphQLBoolean)
_TEXTS = GraphQLList(_TEXT)

_ON_CREATE_HELP = {
    OnCreate.REMEMBER_EXISTING: "They do not fire, but clear once they do not match any more.",
    OnCreate.FIRE_EXISTING: "They fire at once.",
}

_DEEDS = {
    "delete": "End a trigger of {}, and drop what waits for its webhook. Returns how it stood.",
    "enable": "Call the webhook of a trigger of {} again: one that was disabled, or answered 410.",
    "disable": "Go on following the rows of a trigger of {}, but do not call its webhook.",
    "test": "Call the webhook of a trigger of {} with an example: `event_type` TEST, `test` true.",
}


class TriggerTypes:
    """The types that triggers of all sources share, and the fields for each source."""

    def __init__(self) -> None:
        self._trigger = _trigger_type()
        self._on_create = GraphQLEnumType(
            "TriggerOnCreate",
            {one.value: GraphQLEnumValue(one.value, description=text) for one, text in _ON_CREATE_HELP.items()},
            description="What happens to rows that match when a trigger is created.",
        )

    def queries(self, source: Source) -> dict[str, GraphQLField]:
        """The fields of Query that show the source's triggers."""

        def find(_root: object, info: Info, name: str) -> TriggerStatus | None:
            return _service(info).find(source, name)

        async def all_of(_root: object, info: Info) -> AsyncIterator[TriggerStatus]:
            async with Turns() as turns:  # there may be thousands, and graphql-core writes each as it comes
                for status in _service(info).all_of(source):
                    yield status
                    await turns.between()

        return {
            f"{source.name}_triggers": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(self._trigger))),
                resolve=all_of,
                description=f"The triggers of `{source.name}`, in the order in which they were created.",
            ),
            f"{source.name}_trigger": GraphQLField(
                self._trigger,
                {"name": GraphQLArgument(_TEXT)},
                resolve=find,
                description=f"The trigger of `{source.name}` with this name, or null.",
            ),
        }

    def mutations(
        self, source: Source, expression: GraphQLInputObjectType, rules: Mapping[str, GraphQLArgument]
    ) -> dict[str, GraphQLField]:
        """The fields of Mutation for the source. `expression` is the type of its filters, `rules` are the arguments for
        its calculated fields."""
        trigger = GraphQLNonNull(self._trigger)

        def create(_root: object, info: Info, input: Mapping[str, Any]) -> Awaitable[TriggerStatus]:  # noqa: A002
            return _service(info).create(source, input)

        fields = {
            f"create_{source.name}_trigger": GraphQLField(
                trigger,
                {"input": GraphQLArgument(GraphQLNonNull(self._input_type(source, expression, rules)))},
                resolve=create,
                description=f"Call a webhook whenever a row of `{source.name}` comes to match, and when it ceases to.",
            )
        }
        for deed, text in _DEEDS.items():
            fields[f"{deed}_{source.name}_trigger"] = GraphQLField(
                trigger,
                {"name": GraphQLArgument(_TEXT)},
                resolve=_doing(deed, source),
                description=text.format(f"`{source.name}`"),
            )
        return fields

    def _input_type(
        self, source: Source, expression: GraphQLInputObjectType, rules: Mapping[str, GraphQLArgument]
    ) -> GraphQLInputObjectType:
        return GraphQLInputObjectType(
            f"{source.name}TriggerInput",
            {
                "name": GraphQLInputField(
                    _TEXT, description=f"Unlike the source's other triggers'; at most {LONGEST_NAME} characters."
                ),
                "webhook": GraphQLInputField(_TEXT, description="The URL to POST to."),
                "fire": GraphQLInputField(
                    GraphQLNonNull(expression), description="A row that comes to match this fires."
                ),
                "clear": GraphQLInputField(
                    expression,
                    description="A row that has fired clears once it matches this and does not match `fire`. Without "
                    "it, once it does not match `fire`.",
                ),
                "on_create": GraphQLInputField(
                    self._on_create,
                    default_value=OnCreate.REMEMBER_EXISTING.value,
                    description="What happens to rows that match already.",
                ),
                "fields": GraphQLInputField(
                    _TEXTS, description="The columns that the webhook's `data` holds; without it, all."
                ),
                "cooldown_seconds": GraphQLInputField(
                    GraphQLFloat,
                    description="The least time between two FIREs of one row. A FIRE that comes earlier is not sent, "
                    "nor the CLEAR that belongs to it.",
                ),
                **{
                    name: GraphQLInputField(argument.type, description=argument.description)
                    for name, argument in rules.items()
                },
            },
            description=f"A trigger on the rows of `{source.name}`.",
        )


def _service(info: Info) -> TriggerService:
    service: TriggerService = info.context
    return service


def _doing(deed: str, source: Source) -> Callable[..., Awaitable[TriggerStatus]]:
    def resolve(_root: object, info: Info, name: str) -> Awaitable[TriggerStatus]:
        done: Awaitable[TriggerStatus] = getattr(_service(info), deed)(source, name)
        return done

    return resolve


def _trigger_type() -> GraphQLObjectType:
    def field(type_: GraphQLOutputType, description: str, value: Callable[[TriggerStatus], object]) -> GraphQLField:
        return GraphQLField(type_, resolve=lambda status, _info: value(status), description=description)

    def count(description: str, value: Callable[[TriggerStatus], int]) -> GraphQLField:
        return field(_COUNT, description, lambda status: min(value(status), GRAPHQL_MAX_INT))

    return GraphQLObjectType(
        "Trigger",
        {
            "name": field(_TEXT, "Its name.", lambda one: one.definition.name),
            "webhook": field(_TEXT, "The URL that is called.", lambda one: one.definition.webhook),
            "fire": field(_TEXT, "The expression that fires, as JSON.", lambda one: one.definition.fire),
            "clear": field(GraphQLString, "The expression that clears, as JSON.", lambda one: one.definition.clear),
            "source": field(_TEXT, "The source whose rows it follows.", lambda one: one.definition.source.name),
            "fields": field(
                _TEXTS,
                "The columns that the webhook's `data` holds; null where it holds all.",
                lambda one: one.definition.fields,
            ),
            "cooldown_seconds": field(
                GraphQLNonNull(GraphQLFloat),
                "The least time between two FIREs of one row.",
                lambda one: one.definition.cooldown,
            ),
            "enabled": field(_TRUTH, "Whether it calls its webhook.", lambda one: one.enabled),
            "endpoint_disabled": field(
                _TRUTH,
                "Whether the webhook answered 410 and is not called until the trigger is enabled.",
                lambda one: one.endpoint_disabled,
            ),
            "watching": field(_TRUTH, "Whether its source has rows, and they are watched.", lambda one: one.watching),
            "created_at": field(_TEXT, "When it was created (ISO 8601).", lambda one: written(one.created_at)),
            "updated_at": field(
                _TEXT, "When it was last created, enabled or disabled.", lambda one: written(one.updated_at)
            ),
            "last_fired_at": field(
                GraphQLString,
                "When a row last came to be fired, told or not.",
                lambda one: None if one.last_fired_at is None else written(one.last_fired_at),
            ),
            "fired": count("How often a row came to be fired, told or not.", lambda one: one.fired),
            "cleared": count("How often a row ceased to be fired, told or not.", lambda one: one.cleared),
            "suppressed": count(
                "FIREs and CLEARs that were not told: it was disabled, or the row's cooldown had not passed.",
                lambda one: one.suppressed,
            ),
            "delivered": count("Events that the webhook accepted.", lambda one: one.sent.delivered),
            "failed": count("Events that the webhook refused for good, or too often.", lambda one: one.sent.failed),
            "dropped": count(
                "Events given up: too many waited, or the webhook answered 410.", lambda one: one.sent.dropped
            ),
            "waiting": count(
                "Events on their way, those that are tried again included.",
                lambda one: one.waiting,
            ),
            "last_status": field(GraphQLInt, "The webhook's last HTTP status.", lambda one: one.sent.last_status),
            "last_error": field(
                GraphQLString,
                "Why the last attempt failed; null after one that did not.",
                lambda one: one.sent.last_error,
            ),
            "fired_count": count("How many rows are fired now.", lambda one: one.fired_count),
            "fired_rows": GraphQLField(
                GraphQLNonNull(_TEXTS),
                {
                    "limit": GraphQLArgument(GraphQLInt, default_value=SOME_KEYS, description=f"At most {MOST_KEYS}."),
                    "offset": GraphQLArgument(GraphQLInt, default_value=0),
                },
                resolve=_fired_rows,
                description="The keys of the rows that are fired now, each as a JSON object of its columns, those that "
                "have been so for longest first.",
            ),
        },
        description="A webhook that is called when a row of a source comes to match, and when it ceases to.",
    )


def written(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: 2024-01-02T03:04:05.678Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _fired_rows(status: TriggerStatus, _info: Info, limit: int | None, offset: int | None) -> list[str]:
    limit, offset = SOME_KEYS if limit is None else limit, offset or 0
    if not 0 <= limit <= MOST_KEYS:
        raise TriggerError(Code.BAD_USER_INPUT, f'"limit": {limit} is not between 0 and {MOST_KEYS}')
    if offset < 0:
        raise TriggerError(Code.BAD_USER_INPUT, f'"offset": {offset} is negative; 0 or more would be valid')
    source = status.definition.source
    return [_written_key(source, key) for key in islice(status.fired_keys, offset, offset + limit)]


def _written_key(source: Source, key: Key) -> str:
    texts = (key,) if isinstance(key, str) else key
    values = {name: decoder(source.column(name))(text) for name, text in zip(source.primary_key, texts, strict=True)}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
