"""What a client wishes of a trigger, checked."""

from __future__ import annotations

import enum
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tycostream.filters import Filter, FilterError, dotted, parse_filter
from tycostream.model import Source
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.policy import TargetError, TargetPolicy
from tycostream.views.derived import Derivation
from tycostream.views.rules import TooManyRulesError, parse_condition, parse_derivation, rules_argument
from tycostream.views.states import Rule

LONGEST_NAME = 200
_NAMED = 10
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, surrogates, and separators of lines and paragraphs."""


class OnCreate(enum.StrEnum):
    """What happens to rows that match when a trigger is created. Either way their state is remembered."""

    REMEMBER_EXISTING = "REMEMBER_EXISTING"
    FIRE_EXISTING = "FIRE_EXISTING"


@dataclass(frozen=True, slots=True)
class TriggerDefinition:
    """A trigger as it was created.

    `webhook`, `fire` and `clear` are what the client gave (the expressions as JSON text), `url` and `rule` what became
    of it. `fields` are the columns that a webhook is told, all of them where it is None. `cooldown` is in seconds. With
    a `derivation` the trigger sees rows with calculated fields. `wish` is all that the client gave.
    """

    source: Source
    name: str
    webhook: str
    url: str
    fire: str
    clear: str | None
    rule: Rule
    fields: tuple[str, ...] | None = None
    cooldown: float = 0.0
    on_create: OnCreate = OnCreate.REMEMBER_EXISTING
    derivation: Derivation | None = None
    wish: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> Source:
        """The source as the trigger sees its rows."""
        return self.source if self.derivation is None else self.source.extended


def define(source: Source, wish: Mapping[str, Any], policy: TargetPolicy) -> TriggerDefinition:
    """The trigger that a `<source>TriggerInput` describes. Raises TriggerError."""
    name = _checked_name(wish["name"])
    try:
        url = policy.check_url(wish["webhook"])
    except TargetError as error:
        raise TriggerError(Code.BAD_WEBHOOK_URL, f'"webhook": {error}') from None
    fire = _condition(source, "fire", wish["fire"])
    if fire == parse_filter(source, None):
        example = next(column.name for column in source.columns)
        message = (
            f'"fire" is always true; expected a condition on some column, such as {{{example}: {{_is_null: false}}}}'
        )
        raise TriggerError(Code.EMPTY_FIRE, message)
    clear = wish.get("clear")
    until = None if clear is None else _condition(source, "clear", clear)
    fields = _checked_fields(source, wish.get("fields"))
    used = {*fire.columns(), *(() if until is None else until.columns()), *(fields or ())}
    return TriggerDefinition(
        source=source,
        name=name,
        webhook=wish["webhook"],
        url=url,
        fire=_written(wish["fire"]),
        clear=None if clear is None else _written(clear),
        rule=Rule("fired", fire, until),
        fields=fields,
        cooldown=_checked_cooldown(wish.get("cooldown_seconds")),
        on_create=OnCreate(wish.get("on_create") or OnCreate.REMEMBER_EXISTING),
        derivation=_derivation(source, wish, used),
        wish=wish,
    )


def define_again(definition: TriggerDefinition, source: Source, policy: TargetPolicy) -> TriggerDefinition:
    """The same trigger on a source that has taken the place of its own. Raises TriggerError where that is not
    possible."""
    wish = definition.wish
    calculated = {rules_argument(column.name): column for column in source.calculated}
    for column in definition.source.calculated:
        argument = rules_argument(column.name)
        if not (rules := wish.get(argument)):
            continue
        if argument not in calculated:
            raise TriggerError(Code.UNKNOWN_FIELD, f'"{argument}": there is no calculated field {column.name}')
        enum = calculated[argument].enum
        assert enum is not None  # as of every calculated field
        if unknown := [rule["state"] for rule in rules if rule["state"] not in enum.values]:
            raise TriggerError(Code.BAD_USER_INPUT, f'"{argument}": {some_of(unknown)} is no value of {enum.name}')
    return define(source, wish, policy)


def some_of(names: Sequence[str]) -> str:
    """A few of the names, quoted, for a message."""
    listed = ", ".join(f'"{name}"' for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} more" if len(names) > _NAMED else listed


def _checked_name(name: str) -> str:
    valid = f"expected 1 to {LONGEST_NAME} characters, none of them a control character"
    if not name.strip():
        raise TriggerError(Code.BAD_TRIGGER_NAME, f'"name" is empty; {valid}')
    if len(name) > LONGEST_NAME:
        raise TriggerError(Code.BAD_TRIGGER_NAME, f'"name" has {len(name)} characters; {valid}')
    for place, character in enumerate(name):
        if unicodedata.category(character) in _UNFIT:
            message = f'"name" holds the character U+{ord(character):04X} at place {place}; {valid}'
            raise TriggerError(Code.BAD_TRIGGER_NAME, message)
    return name


def _condition(source: Source, name: str, where: Mapping[str, object]) -> Filter:
    try:
        return parse_condition(source, where)
    except FilterError as error:
        place = dotted((name, *error.path))
        raise TriggerError(Code.BAD_USER_INPUT, f"{place}: {error.message}") from None


def _derivation(source: Source, wish: Mapping[str, Any], used: Iterable[str]) -> Derivation | None:
    try:
        return parse_derivation(source, wish, used)
    except FilterError as error:
        code = Code.LIMIT_EXCEEDED if isinstance(error, TooManyRulesError) else Code.BAD_USER_INPUT
        raise TriggerError(code, f"{dotted(error.path)}: {error.message}") from None


def _written(where: Mapping[str, object]) -> str:
    return json.dumps(where, ensure_ascii=False, separators=(",", ":"))


def _checked_fields(source: Source, fields: Sequence[str] | None) -> tuple[str, ...] | None:
    if fields is None:
        return None
    columns = source.extended.positions
    if unknown := [name for name in fields if name not in columns]:
        message = f"{source.name} has no column {some_of(unknown)}; its columns are {', '.join(columns)}"
        raise TriggerError(Code.UNKNOWN_FIELD, f'"fields": {message}')
    return tuple(dict.fromkeys(fields))


def _checked_cooldown(seconds: float | None) -> float:
    if seconds is not None and not 0 <= seconds < float("inf"):
        message = f'"cooldown_seconds": {seconds:g} is not a length of time; 0 (none) or more would be valid'
        raise TriggerError(Code.BAD_USER_INPUT, message)
    return seconds or 0.0
