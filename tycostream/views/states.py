"""States that a row is in by rules, with hysteresis: the one machine behind calculated fields and triggers.

Each rule is a latch: it is set while `when` holds, and once set it stays until `until` holds and `when` does not. The
row's state is that of the first rule whose latch is set. A rule without `until` holds exactly while `when` does. A
trigger is the case of one rule: `fire` sets it, `clear` lets it go.

Because every rule has a latch of its own, a value that falls through several levels passes each of them, whether or
not it was seen in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.filters import Filter
from tycostream.model import Row


@dataclass(frozen=True, slots=True)
class Rule:
    """`when` sets the latch; it is let go where `when` does not hold, and `until` does (None: always does)."""

    state: str
    when: Filter
    until: Filter | None = None


@dataclass(frozen=True)
class StateMachine:
    """Rules in the order of their precedence. Latches are the bits of a number, the first rule's the lowest; a row
    that is new has none. Equal rules make equal machines."""

    rules: tuple[Rule, ...]

    @property
    def remembers(self) -> bool:
        """Whether the latches depend on more than the row as it is."""
        return any(rule.until is not None for rule in self.rules)

    def step(self, latches: int, row: Row) -> int:
        """The latches after the row has become this one."""
        bit = 1
        for rule in self.rules:
            if rule.when.matches(row):
                latches |= bit
            elif latches & bit and (rule.until is None or rule.until.matches(row)):
                latches ^= bit
            bit <<= 1
        return latches

    def state(self, latches: int) -> str | None:
        """The state's name, None where no rule holds."""
        if not latches:
            return None
        return self.rules[(latches & -latches).bit_length() - 1].state
