"""Many changes in one message: a list of results under one response key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it is delivery.py that asks for messages
    from tycostream.views.applying import ViewChange
    from tycostream.views.delivery import Selection
    from tycostream.views.snapshot import Beginning

_AFTER = b"}}"
"""How each of them ends, behind the update."""


@dataclass(frozen=True, slots=True)
class Batches:
    """A selection whose results come in lists of at most `rows`. `before` is how each of its results begins, up to the
    update itself.

    Changes of one timestamp stay in one message. Where they are more than `rows` they take several, and each but the
    last has `extensions.incomplete`.
    """

    single: Selection
    before: bytes
    rows: int

    @property
    def interest(self) -> int:
        """See `Selection`."""
        return self.single.interest

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        """Messages of one change each."""
        return [self.message([change]) for change in changes]

    def messages(self, changes: Sequence[ViewChange], *, news: bytes | None = None) -> list[bytes]:
        """All changes, in as few messages as can be. The first one says the news."""
        found = []
        start = 0
        while start < len(changes):
            end, more = self.cut(changes, start)
            found.append(self.message(changes[start:end], more=more, news=news))
            start, news = end, None
        return found

    def cut(self, changes: Sequence[ViewChange], start: int) -> tuple[int, bool]:
        """Where the message that begins at `start` ends, and whether its last timestamp goes on in the next one."""
        end = start + self.rows
        if end >= len(changes):
            return len(changes), False
        if changes[end - 1][4] != changes[end][4]:
            return end, False
        whole = end
        while whole > start and changes[whole - 1][4] == changes[end][4]:
            whole -= 1
        return (end, True) if whole == start else (whole, False)

    def message(
        self, changes: Sequence[ViewChange], *, more: bool = False, dropped: int = 0, news: bytes | None = None
    ) -> bytes:
        """One message; `more`: of its last timestamp more follow; `dropped`: so many changes are missing before it;
        `news`: see `Delivery.news`."""
        start, end = len(self.before), -len(_AFTER)
        updates = [result[start:end] for result in self.single.render(changes)]
        return b"%b[%b]}%b}" % (self.before, b",".join(updates), extensions(more=more, dropped=dropped, news=news))


def extensions(*, more: bool = False, dropped: int = 0, news: bytes | None = None) -> bytes:
    """The member `extensions` of a result, with the comma before it; nothing where there is nothing to say. `news` is a
    JSON object, whose members come last."""
    members = [b'"incomplete":true'] if more else []
    if dropped:
        members.append(b'"dropped":%d' % dropped)
    if news is not None:
        members.append(news[1:-1])
    return b',"extensions":{%b}' % b",".join(members) if members else b""


class GatheringReader:
    """Reads a snapshot until a whole message of rows is together."""

    def __init__(self, snapshot: Beginning, rows: int) -> None:
        self._snapshot = snapshot
        self._rows = rows
        self._gathered: list[ViewChange] = []

    @property
    def done(self) -> bool:
        """Whether every row has been handed out."""
        return self._snapshot.done and not self._gathered

    def read(self, count: int) -> list[ViewChange]:
        """Look at the next `count` rows; a message's rows where there are so many, or where they are the last."""
        if not self._snapshot.done:
            self._gathered += self._snapshot.read(count)
        if len(self._gathered) < self._rows and not self._snapshot.done:
            return []
        taken, self._gathered = self._gathered[: self._rows], self._gathered[self._rows :]
        return taken
