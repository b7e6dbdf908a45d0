"""Rules for calculated fields, as a client gives them: read, checked, and made into a derivation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tycostream.filters import Filter, FilterError, parse_filter
from tycostream.model import Source
from tycostream.views.derived import Derivation, no_rules
from tycostream.views.states import Rule, StateMachine

MOST_RULES = 100
"""Rules of one field, unless something else is said."""


class TooManyRulesError(FilterError):
    """A field has more rules than it may."""


def rules_argument(field: str) -> str:
    """The argument that takes a calculated field's rules."""
    return f"derive_{field}"


def parse_condition(source: Source, where: Mapping[str, Any] | None) -> Filter:
    """The filter of a `where` object: on the source, or on its extension where a calculated field matters to it.

    Raises FilterError.
    """
    try:
        return parse_filter(source, where)
    except FilterError as error:
        if not _is_calculated(source, error):
            raise
        condition = parse_filter(source.extended, where)
        # What was said of it may not matter: `{_or: [{}, ...]}` is true
        needs_states = condition.reads >> len(source.columns)
        return condition if needs_states else condition.moved_to(source)


def parse_derivation(
    source: Source, given: Mapping[str, Any], used: Iterable[str], most: int = MOST_RULES
) -> Derivation | None:
    """The derivation that the rules among these arguments ask for; None where there are none, and of the columns `used`
    none is calculated. Raises FilterError, whose path begins with the argument."""
    machines = []
    for column in source.calculated:
        name = rules_argument(column.name)
        machines.append(StateMachine(_rules(source, name, given.get(name) or (), most)))
    if any(machine.rules for machine in machines):
        return Derivation(source, tuple(machines))
    calculated = {column.name for column in source.calculated}
    return no_rules(source) if calculated.intersection(used) else None


def _rules(source: Source, name: str, given: Sequence[Mapping[str, Any]], most: int) -> tuple[Rule, ...]:
    if len(given) > most:
        raise TooManyRulesError((name,), f"found {len(given)} rules, allowed are {most}")
    rules = []
    for index, rule in enumerate(given):
        when = _condition(source, (name, index, "when"), rule["when"])
        until = rule.get("until")
        left = None if until is None else _condition(source, (name, index, "until"), until)
        # A rule that may be left at any time is one without `until`
        rules.append(Rule(rule["state"], when, None if left == parse_filter(source, None) else left))
    return tuple(rules)


def _condition(source: Source, place: tuple[str | int, ...], given: Mapping[str, Any]) -> Filter:
    try:
        return parse_filter(source, given)
    except FilterError as error:
        message = error.message
        if _is_calculated(source, error):
            columns = ", ".join(source.positions)
            message = f"{error.path[-1]} is a calculated field, and rules read the database's columns: {columns}"
        raise FilterError((*place, *error.path), message) from None


def _is_calculated(source: Source, error: FilterError) -> bool:
    """Whether what is wrong for the database's columns is that a calculated field is spoken of."""
    return bool(error.path) and any(column.name == error.path[-1] for column in source.calculated)
