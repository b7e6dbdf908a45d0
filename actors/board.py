"""The board on which the supervisor posts how sources stand, and the driver by which the source `source_status` follows
it. Nobody polls: a standing is told once, when it is posted, and the source tells all who follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from actors.source_messages import SourceStateChanged
from tycostream.databases.driver import Ready
from tycostream.metrics import Sample, sample
from tycostream.metrics.samples import one_of
from tycostream.model import Changes, Event, Position, SnapshotComplete, SnapshotRows, SnapshotStarted
from tycostream.status import SOURCE_STATUS, SourceState, Standing

STATES = tuple(state.value for state in SourceState)

Listener = Callable[[int, str, Standing | None], None]
"""Is told of the board's new revision, the source, and how it stands; None where it is on the board no more."""


Watcher = Callable[[str, SourceStateChanged | None], None]
"""Is told of everything that is posted, clients need not know of it; None where a source is on the board no more."""


@dataclass(eq=False, slots=True)
class SourceBoard:
    """The state that each source last told, by name. Written by the supervisor alone."""

    states: dict[str, SourceStateChanged] = field(default_factory=dict)
    revision: int = 1
    """Rises with every change that clients are told of: the timestamps of STATUS."""
    _listeners: dict[Listener, None] = field(default_factory=dict)
    _watchers: dict[Watcher, None] = field(default_factory=dict)

    def post(self, told: SourceStateChanged) -> None:
        """A source has told how it stands."""
        if told.name == SOURCE_STATUS:
            return
        before = self.states.get(told.name)
        self.states[told.name] = told
        for watcher in list(self._watchers):
            watcher(told.name, told)
        if before is None or (before.state, before.since, before.told) != (told.state, told.since, told.told):
            self._tell(told.name, _standing(told))

    def remove(self, name: str) -> None:
        """There is no such source any more."""
        if self.states.pop(name, None) is not None:
            for watcher in list(self._watchers):
                watcher(name, None)
            self._tell(name, None)

    def standings(self, names: Collection[str] | None = None) -> list[Standing]:
        """How these sources stand now, or all; one that has not told yet is left out."""
        return [_standing(told) for name, told in self.states.items() if names is None or name in names]

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`: how sources stand."""
        for name, told in self.states.items():
            yield from one_of("tycostream_source_state", STATES, told.state.value, source=name)
            yield sample("tycostream_source_state_timestamp_seconds", told.since, source=name)

    def follow(self, listener: Listener) -> None:
        """Tell the listener of every change from now on."""
        self._listeners[listener] = None

    def unfollow(self, listener: Listener) -> None:
        """Tell it no more."""
        self._listeners.pop(listener, None)

    def watch(self, watcher: Watcher) -> None:
        """Tell the watcher of everything from now on, and now of what stands there."""
        self._watchers[watcher] = None
        for name, told in self.states.items():
            watcher(name, told)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers.pop(watcher, None)

    def _tell(self, name: str, standing: Standing | None) -> None:
        self.revision += 1
        for listener in list(self._listeners):
            listener(self.revision, name, standing)


def _standing(told: SourceStateChanged) -> Standing:
    return Standing(told.name, told.state, told.since, told.told, told.lag.ms)


class BoardDriver:
    """Follows the board for the source STATUS; see `databases.driver.Driver`."""

    def __init__(self, board: SourceBoard) -> None:
        self._board = board

    async def run(self, emit: Callable[[Event], None], ready: Ready, _resume: Position | None = None) -> None:
        """See `databases.driver.Driver`. There is always a snapshot: it is small."""

        def listen(revision: int, name: str, standing: Standing | None) -> None:
            emit(Changes(revision, [(name, None if standing is None else standing.row)]))

        board = self._board
        emit(SnapshotStarted(board.revision))
        emit(SnapshotRows([standing.row for standing in board.standings()]))
        emit(SnapshotComplete())
        board.follow(listen)
        try:
            await ready()
            await asyncio.get_running_loop().create_future()  # until it is cancelled
        finally:
            board.unfollow(listen)
