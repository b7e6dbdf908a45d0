"""The rows of a source that triggers watch: which of them are fired, and what a change does to that.

A watch is what a source knows of a trigger. Its state is kept here, beside the rows, and only for rows that are fired:
so it changes in the same step as they do, and outlives the actors of the source and of the trigger. A change is held
against those triggers alone whose conditions it may cross.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tycostream.filters import CrossingIndex
from tycostream.model import Key, Operation, Row, Source
from tycostream.views.applying import Applied
from tycostream.views.derived import Derivation
from tycostream.views.states import Rule, StateMachine

MOST_CROSSINGS = 100_000
"""Crossings that wait for a trigger's actor. One that runs takes them as they come."""


class Happening(enum.Enum):
    """What a trigger tells of a row."""

    FIRE = "FIRE"
    CLEAR = "CLEAR"


@dataclass(frozen=True, slots=True)
class Crossing:
    """A row has come to be fired, or ceased to be. `row` is the row as it is now; the last one where it is gone."""

    happening: Happening
    key: Key
    row: Row
    timestamp: int


@dataclass(eq=False, slots=True)
class Watch:
    """One trigger, as its source sees it. `rule` is fire (`when`) and clear (`until`). With a `derivation` the rows
    have calculated fields.

    `crossings` are on their way to the trigger, which takes them from the left as it has handed them on: what an actor
    that fails had not handed on is there for the next; where no actor takes any, the oldest go. `receiver` is the
    reference of the actor that is to be woken. `looked`: the rows that were there before it have been looked at.
    `ended`: it is not wanted any more, whether its source has heard of that or not. `carried` are the rows that were
    fired for another watch, in whose place this one is: what differs once the rows have been looked at is told.
    """

    rule: Rule
    derivation: Derivation | None = None
    receiver: Any = None
    crossings: deque[Crossing] = field(default_factory=lambda: deque(maxlen=MOST_CROSSINGS))
    fired: dict[Key, None] = field(default_factory=dict)
    looked: bool = False
    ended: bool = False
    carried: Collection[Key] = ()
    machine: StateMachine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = StateMachine((self.rule,))


class Watches:
    """All watches of a source."""

    def __init__(self, source: Source) -> None:
        self._fire: CrossingIndex[Watch] = CrossingIndex(source)
        self._clear: CrossingIndex[Watch] = CrossingIndex(source)
        self._watches: dict[Watch, None] = {}
        self._fired: dict[Key, dict[Watch, None]] = {}
        self._noted: list[tuple[Watch, Crossing]] = []

    def __len__(self) -> int:
        return len(self._watches)

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._watches)

    def __contains__(self, watch: Watch) -> bool:
        return watch in self._watches

    @property
    def fired_rows(self) -> int:
        """How many rows are fired for some watch."""
        return len(self._fired)

    def add(self, watch: Watch) -> None:
        """Watch from now on; what is there already is looked at by `look_at`."""
        self._watches[watch] = None
        self._fire.add(watch.rule.when, watch)
        if watch.rule.until is not None:
            self._clear.add(watch.rule.until, watch)

    def look_at(self, watch: Watch, rows: Iterable[tuple[Key, Row]], timestamp: int, *, fire: bool) -> None:
        """Rows that were there before the watch: they count as fired where they match, and `fire` says whether that is
        told. One that is carried stays fired, or clears."""
        matches = watch.rule.when.matches
        for key, row in rows:
            if key in watch.carried:
                if watch.machine.step(1, row):
                    self._set(watch, key, fired=True)
                else:
                    self._cross(watch, Crossing(Happening.CLEAR, key, row, timestamp))
            elif key not in watch.fired and matches(row):
                self._set(watch, key, fired=True)
                if fire:
                    self._noted.append((watch, Crossing(Happening.FIRE, key, row, timestamp)))

    def finish_look(self, watch: Watch, gone: Iterable[tuple[Key, Row]], timestamp: int) -> None:
        """All rows have been looked at; `gone` are those that are carried and not there any more."""
        for key, row in gone:
            self._cross(watch, Crossing(Happening.CLEAR, key, row, timestamp))
        watch.carried = ()
        watch.looked = True

    def remove(self, watch: Watch) -> bool:
        """Watch no more. Returns whether it was there."""
        if watch not in self._watches:
            return False
        del self._watches[watch]
        self._fire.remove(watch.rule.when, watch)
        if watch.rule.until is not None:
            self._clear.remove(watch.rule.until, watch)
        for key in list(watch.fired):
            self._set(watch, key, fired=False)
        self._noted = [noted for noted in self._noted if noted[0] is not watch]
        return True

    def route(self, applied: Applied) -> None:
        """Note what these changes mean."""
        if not self._watches:
            return
        for (operation, key, row, _mask, timestamp), old in applied:
            if operation is Operation.DELETE:
                for watch in list(self._fired.get(key, ())):
                    self._cross(watch, Crossing(Happening.CLEAR, key, row, timestamp))
                continue
            if old is None:
                candidates = self._fire.holding(row)
            else:
                candidates = self._fire.crossed(old, row)
                candidates.update(self._clear.crossed(old, row))
            for watch in candidates:
                was = key in watch.fired
                if (now := bool(watch.machine.step(was, row))) != was:
                    happening = Happening.FIRE if now else Happening.CLEAR
                    self._cross(watch, Crossing(happening, key, row, timestamp))

    def flush(self) -> list[Watch]:
        """Hand over what has been noted since the last flush; the watches whose receivers have to be woken."""
        if not self._noted:  # the usual case
            return []
        noted, self._noted = self._noted, []
        touched: dict[Watch, None] = {}
        for watch, crossing in noted:
            watch.crossings.append(crossing)
            touched[watch] = None
        return list(touched)

    def discard(self) -> None:
        """Take back what has been noted since the last flush."""
        for watch, crossing in reversed(self._noted):
            self._set(watch, crossing.key, fired=crossing.happening is Happening.CLEAR)
        self._noted = []

    def _cross(self, watch: Watch, crossing: Crossing) -> None:
        self._set(watch, crossing.key, fired=crossing.happening is Happening.FIRE)
        self._noted.append((watch, crossing))

    def _set(self, watch: Watch, key: Key, *, fired: bool) -> None:
        if fired:
            watch.fired[key] = None
            self._fired.setdefault(key, {})[watch] = None
            return
        watch.fired.pop(key, None)
        watches = self._fired.get(key)
        if watches is not None:
            watches.pop(watch, None)
            if not watches:
                del self._fired[key]
