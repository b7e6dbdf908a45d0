"""Calculated fields: the states that each row of a source is in, by the rules of those who follow it.

A `Derivation` is what a subscriber asks for: rules for each calculated field. Equal ones are shared, as equal filters
are. `Derived` holds the states of all rows under one derivation, and turns rows and their changes into those of the
extended source: the states stand after the columns, and a state that changed counts as a changed column.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from tycostream.model import Key, Operation, Row, Source
from tycostream.views.applying import Applied
from tycostream.views.states import Rule, StateMachine

_STATES_KEPT = 4096


class _States(dict[int, Row]):
    """The names of the states for each combination of latches; starts over when it has grown large."""

    def __init__(self, machines: Iterable[tuple[StateMachine, int, int]]) -> None:
        super().__init__()
        self._machines = tuple(machines)

    def __missing__(self, latches: int) -> Row:
        if len(self) >= _STATES_KEPT:
            self.clear()
        states = self[latches] = tuple(
            machine.state(latches >> shift & latch_bits) for machine, shift, latch_bits in self._machines
        )
        return states


@dataclass(frozen=True)
class Derivation:
    """The rules of each calculated field of a source, in the order of its fields; one without rules is always null.

    The latches of all machines are one number, those of the first field the lowest bits; `states` names the fields'
    values for it. `reads` are the columns that some rule reads, as a bitmask.
    """

    source: Source
    machines: tuple[StateMachine, ...]
    reads: int = field(init=False, compare=False)
    states: _States = field(init=False, compare=False, repr=False)
    _parts: tuple[tuple[StateMachine, int, int, int], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.machines) != len(self.source.calculated):
            raise ValueError(f"{self.source.name} has {len(self.source.calculated)} calculated fields")
        placed: list[tuple[StateMachine, int, int]] = []
        shift = 0
        for machine in self.machines:
            placed.append((machine, shift, (1 << len(machine.rules)) - 1))
            shift += len(machine.rules)
        parts = tuple((*one, _columns_read(one[0].rules)) for one in placed if one[0].rules)
        object.__setattr__(self, "states", _States(placed))
        object.__setattr__(self, "reads", reduce(or_, (part[3] for part in parts), 0))
        object.__setattr__(self, "_parts", parts)

    @property
    def remembers(self) -> bool:
        """Whether the states depend on more than the row as it is."""
        return any(machine.remembers for machine in self.machines)

    def start(self, row: Row) -> int:
        """The latches of a row that is new, or whose past is not known."""
        latches = 0
        for machine, shift, _bits, _reads in self._parts:
            latches |= machine.step(0, row) << shift
        return latches

    def step(self, latches: int, row: Row, changed: int) -> int:
        """The latches after these columns of the row have changed. Fields whose rules read none of them stay."""
        for machine, shift, latch_bits, reads in self._parts:
            if reads & changed:
                part = latches >> shift & latch_bits
                latches ^= (part ^ machine.step(part, row)) << shift
        return latches

    def extend(self, row: Row) -> Row:
        """The row with its states as if it were new: what can be said without its past."""
        return row + self.states[self.start(row)]

    def to_json(self) -> dict[str, Any]:
        """The rules, by field, as they were first given; conditions as JSON text."""
        return {
            column.name: [_rule_json(rule) for rule in machine.rules]
            for column, machine in zip(self.source.calculated, self.machines, strict=True)
        }


def no_rules(source: Source) -> Derivation:
    """Every calculated field is null."""
    return Derivation(source, tuple(StateMachine(()) for _ in source.calculated))


class FrozenStates:
    """The states of one moment, which later changes leave alone."""

    __slots__ = ("_key_of", "_latches", "_states")

    def __init__(self, derivation: Derivation, latches: dict[Key, int]) -> None:
        self._latches = latches
        self._states = derivation.states
        self._key_of = derivation.source.key_of

    def extend(self, row: Row) -> Row:
        """A row of that moment, with its states."""
        return row + self._states[self._latches.get(self._key_of(row), 0)]


class Derived:
    """The states of a source's rows under one derivation: the latches of each row that has one set.

    All latches are kept, also of rules without `until`, though those follow from the row: so a change that touches no
    column of the rules costs no evaluation, and one that does a single one. `evaluated` counts them, by row.
    """

    def __init__(self, derivation: Derivation) -> None:
        self.derivation = derivation
        self.evaluated = 0
        self._latches: dict[Key, int] = {}
        self._frozen: FrozenStates | None = None
        self._journal: list[tuple[Key, int]] = []
        self._first_bit = len(derivation.source.columns)

    @property
    def rows_in_a_state(self) -> int:
        """How many rows have a latch set."""
        return len(self._latches)

    def look_at(self, rows: Iterable[Row]) -> None:
        """Rows that were there before anybody gave these rules."""
        start, key_of, known = self.derivation.start, self.derivation.source.key_of, self._latches
        for row in rows:
            self.evaluated += 1
            if latches := start(row):
                known[key_of(row)] = latches
        self._frozen = None

    def extend(self, applied: Applied) -> Applied:
        """What that does to the extended rows; the latches follow. Where it fails, `undo`."""
        derivation, states, latches = self.derivation, self.derivation.states, self._latches
        reads, delete = derivation.reads, Operation.DELETE
        extended = Applied(timestamps=applied.timestamps)
        for (operation, key, row, mask, timestamp), old in applied:
            was = now = latches.get(key, 0)
            if operation is delete:
                now = 0
            elif old is None:
                self.evaluated += 1
                now = derivation.start(row)
            elif mask & reads:
                self.evaluated += 1
                now = derivation.step(was, row, mask)
            if now != was:
                self._set(key, was, now)
            before, after = states[was], states[was if operation is delete else now]
            changed = mask | self._differences(before, after) if mask and before != after else mask
            extended.changes.append((operation, key, row + after, changed, timestamp))
            extended.before.append(None if old is None else old + before)
        return extended

    def extended(self, row: Row) -> Row:
        """A row as it is now, with its states."""
        derivation = self.derivation
        return row + derivation.states[self._latches.get(derivation.source.key_of(row), 0)]

    def delivered(self) -> None:
        """What has happened so far stays."""
        self._journal.clear()

    def undo(self) -> None:
        """Take back what has happened since `delivered`."""
        journal, self._journal = self._journal, []
        for key, was in reversed(journal):
            if was:
                self._latches[key] = was
            else:
                self._latches.pop(key, None)
        self._frozen = None

    def frozen(self) -> FrozenStates:
        """The states as they are now. Shared until the next change of one."""
        if self._frozen is None:
            self._frozen = FrozenStates(self.derivation, dict(self._latches))
        return self._frozen

    def _set(self, key: Key, was: int, now: int) -> None:
        self._frozen = None
        self._journal.append((key, was))
        if now:
            self._latches[key] = now
        else:
            del self._latches[key]

    def _differences(self, before: Row, after: Row) -> int:
        pairs = enumerate(zip(before, after, strict=True), self._first_bit)
        return sum(1 << position for position, (old, new) in pairs if old != new)


def _columns_read(rules: Iterable[Rule]) -> int:
    mask = 0
    for rule in rules:
        mask |= rule.when.reads | (0 if rule.until is None else rule.until.reads)
    return mask


def _rule_json(rule: Rule) -> dict[str, Any]:
    told = {"state": rule.state, "when": rule.when.to_json()}
    return told if rule.until is None else told | {"until": rule.until.to_json()}
