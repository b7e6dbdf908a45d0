"""A selection and an envelope that keep changes readable, and a client that replays them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tycostream.filters import Filter, parse_filter
from tycostream.model import Change, Changes, Column, ColumnType, Key, Operation, Relation, Row, Source
from tycostream.views import Applied, Delta, Outlet, RowCache, Subscription
from tycostream.views.applying import ViewChange

SOURCE = Source(
    name="trades",
    relation=Relation("trades"),
    columns=(
        Column("id", ColumnType.INTEGER),
        Column("symbol", ColumnType.STRING),
        Column("price", ColumnType.FLOAT),
    ),
    primary_key=("id",),
)


def applied(cache: RowCache, changes: Iterable[Change], timestamp: int = 0) -> Applied:
    """What changes of one timestamp do to the rows."""
    done = Applied()
    cache.apply([Changes(timestamp, list(changes))], timestamp - 1, done)
    return done


def happened(timestamp: int, *deltas: Delta) -> Applied:
    """What one transaction did."""
    done = Applied(timestamps=[timestamp])
    for key, old, new, mask in deltas:
        operation = Operation.DELETE if new is None else Operation.INSERT if old is None else Operation.UPDATE
        row = old if new is None else new
        assert row is not None
        done.changes.append((operation, key, row, mask, timestamp))
        done.before.append(old)
    return done


def deltas_of(done: Applied) -> list[Delta]:
    """All of it, key by key."""
    return [delta for deltas, _timestamp, _since in done.by_timestamp(None) for delta in deltas]


@dataclass(frozen=True)
class Everything:
    """Renders a change as JSON: the whole row whatever the operation, so that tests can judge it."""

    interest: int = -1

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        return [
            json.dumps({"data": [operation.value, row, changed, timestamp]}).encode()
            for operation, _key, row, changed, timestamp in changes
        ]


@dataclass(frozen=True)
class Lines:
    """One line a message, named after the operation."""

    operation_id: str

    @property
    def prefix(self) -> bytes:
        return b"%s " % self.operation_id.encode()

    def wrap(self, payloads: Sequence[bytes]) -> bytes:
        return self.prefix.join(self.cut(payloads))

    def cut(self, payloads: Sequence[bytes]) -> list[bytes]:
        return [b"", *(b"%s\n" % payload for payload in payloads)] if payloads else [b""]


def subscription(
    operation_id: str = "1",
    where: dict[str, Any] | None = None,
    connection: Any = None,
    selection: Any = None,
    **wishes: Any,
) -> Subscription:
    """A subscription to SOURCE."""
    return Subscription(
        source=SOURCE,
        filter=parse_filter(SOURCE, where),
        selection=selection or Everything(),
        envelope=Lines(operation_id),
        outlet=Outlet(connection),
        operation_id=operation_id,
        **wishes,
    )


def every_row() -> Filter:
    """The filter that admits all."""
    return parse_filter(SOURCE, None)


def changes_of(lines: bytes) -> Iterator[tuple[str, str, tuple[str | None, ...], int, int]]:
    """Operation id, operation, row, changed columns, timestamp of each message."""
    for line in lines.splitlines():
        operation_id, payload = line.split(b" ", 1)
        operation, row, changed, timestamp = json.loads(payload)["data"]
        yield operation_id.decode(), operation, tuple(row), changed, timestamp


@dataclass
class Client:
    """What one subscriber's rows are after all that it was told; complains of what can't follow from what it knows."""

    rows: dict[Key, Row] = field(default_factory=dict)
    timestamps: list[int] = field(default_factory=list)

    def hear(self, operation: str, row: Row, changed: int, timestamp: int) -> None:
        key = SOURCE.key_of(row)
        self.timestamps.append(timestamp)
        if operation == "INSERT":
            assert key not in self.rows, f"{key} inserted twice"
            self.rows[key] = row
        elif operation == "UPDATE":
            assert changed, "an update that changes nothing"
            known = self.rows[key]
            self.rows[key] = tuple(
                new if changed >> index & 1 else old for index, (old, new) in enumerate(zip(known, row, strict=True))
            )
        else:
            del self.rows[key]
