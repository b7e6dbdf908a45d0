"""Clients that show cursors, read as slowly as they like, are cut anywhere, and come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pykka import ActorRef

from actors.runtime import LoopActor, handles
from actors.source_messages import Attach, Attached, Delivered, Detach, Refused
from tests.actors.support import World, until
from tests.views.support import Lines
from tycostream.model import Key, Operation, Row
from tycostream.views import Cursor, Moment, Outbox, Outlet, Subscription
from tycostream.views.applying import ViewChange
from tycostream.views.delivery import in_order


@dataclass(frozen=True)
class Marking:
    """Renders a change as JSON with its cursor and its mark."""

    interest: int = -1

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        return [self._written(*change) for change in changes]

    def _written(self, operation: Operation, _key: Key, row: Row, changed: int, timestamp: int) -> bytes:
        assert isinstance(timestamp, Moment), "a message without a place"
        mark = timestamp.mark.value if timestamp.mark else None
        return json.dumps([operation.value, row, changed, timestamp, timestamp.cursor, mark]).encode()


@dataclass
class Update:
    operation: str
    row: Row
    changed: int
    timestamp: int
    cursor: str
    mark: str | None


class Ping:
    """Answered once all that was told before has been heard."""


class SlowConnection(LoopActor):
    """Keeps what one subscription is told in an outbox, until its client reads."""

    kind = "connection"

    def __init__(self, hold_rows: int) -> None:
        super().__init__()
        self._hold_rows = hold_rows
        self.current: Subscription | None = None
        self.outbox = Outbox(hold_rows=hold_rows, max_rows=1_000_000)
        self.attached = False
        self.refused: str | None = None

    def follow(self, one: Subscription) -> None:
        self.current, self.attached, self.refused = one, False, None
        self.outbox = Outbox(hold_rows=self._hold_rows, max_rows=1_000_000)

    @handles(Ping)
    def _pong(self, _message: Ping) -> bool:
        return True

    @handles(Attached)
    def _on_attached(self, message: Attached) -> None:
        if message.subscription is self.current:
            self.attached = True
            self.outbox.start(message.subscription, message.snapshot)

    @handles(Delivered)
    def _on_delivered(self, message: Delivered) -> None:
        for subscriptions, delivery in in_order(message.deliveries):
            if self.current is not None and self.current in subscriptions:
                self.outbox.put(self.current, delivery.changes)

    @handles(Refused)
    def _on_refused(self, message: Refused) -> None:
        if message.subscription is self.current:
            self.refused = message.message


class Client:
    """The rows of a subscription as its client knows them. Complains of what can't follow from what it knows, unless it
    was cut within a transaction: then rows may be told once more."""

    def __init__(self, world: World, wish: Subscription, hold_rows: int) -> None:
        self._world = world
        self._wish = wish
        self.ref: ActorRef[Any] = SlowConnection.start(hold_rows)
        self.connection: SlowConnection = self.ref._actor_weakref()
        world.adopt(self.ref)
        self._wire: list[Update] = []
        self.rows: dict[Key, Row] = {}
        self.cursor: str | None = None
        self.heard: list[Update] = []
        self._tolerant = False

    @property
    def derivation(self) -> Any:
        return self._wish.derivation

    def connect(self) -> None:
        """Come back with the last cursor."""
        resume = None if self.cursor is None else Cursor.decode(self.cursor, "trades")
        self._tolerant = resume is not None and resume.after != resume.upto
        one = replace(self._wish, outlet=Outlet(self.ref), resume=resume)
        self.connection.follow(one)
        self.heard = []
        self._world.source.tell(Attach(one))

    async def until_attached(self) -> None:
        """Wait for the first message, or for the refusal after which clients subscribe again."""
        await until(lambda: self.connection.attached or self.connection.refused)
        while self.connection.refused:
            self.connect()
            await until(lambda: self.connection.attached or self.connection.refused)

    def cut(self) -> None:
        """What is still on its way is lost."""
        if self.connection.current is not None:
            self._world.source.tell(Detach(self.connection.current))
        self.connection.current = None
        self._wire.clear()

    def read(self, messages: int | None = None) -> int:
        """Take so many messages, or all that there are. Returns how many were taken."""
        taken = 0
        while messages is None or taken < messages:
            if not self._wire:
                if self.connection.outbox.empty:
                    break
                for line in self.connection.outbox.take().splitlines():
                    operation, row, *rest = json.loads(line.split(b" ", 1)[1])
                    self._wire.append(Update(operation, tuple(row), *rest))
                continue
            self._hear(self._wire.pop(0))
            taken += 1
        return taken

    def _hear(self, update: Update) -> None:
        self.heard.append(update)
        self.cursor = update.cursor
        if update.mark == "RESET":
            self.rows.clear()
            self._tolerant = False
        if not update.row:
            return
        key = self._wish.source.key_of(update.row)
        if update.operation == "INSERT":
            assert self._tolerant or key not in self.rows, f"{key} inserted twice"
            self.rows[key] = update.row
        elif update.operation == "DELETE":
            assert self._tolerant or key in self.rows, f"{key} deleted, but not known"
            self.rows.pop(key, None)
        else:
            assert update.changed & self._wish.selection.interest, "an update that changes nothing"
            known = self.rows[key]
            changed = update.changed
            pairs = enumerate(zip(known, update.row, strict=True))
            self.rows[key] = tuple(new if changed >> index & 1 else old for index, (old, new) in pairs)

    def expected(self) -> dict[Key, Row]:
        """What it should know of the source's rows."""
        memory, wish = self._world.memory, self._wish
        rows = memory.cache.rows
        if wish.derivation is not None:
            rows = {key: memory.extended(row, wish.derivation) for key, row in rows.items()}
        return {key: self.shown(row) for key, row in rows.items() if wish.filter.matches(row)}

    def shown(self, row: Row) -> Row:
        """What it has selected of a row: the rest may be out of date."""
        interest = self._wish.selection.interest
        return tuple(value for index, value in enumerate(row) if not index or interest >> index & 1)

    def known(self) -> dict[Key, Row]:
        """The rows that it knows, as far as it has selected them."""
        return {key: self.shown(row) for key, row in self.rows.items()}


def marked(wish: Subscription, interest: int = -1, *, mark_end: bool = False) -> Subscription:
    """The same subscription with cursors."""
    return replace(wish, selection=Marking(interest), envelope=Lines("1"), marked=True, mark_end=mark_end)
