"""What a SUBSCRIBE emits, and when: snapshot, changes, progress, end.

Sources: MaterializeInc/materialize src/sql/src/plan/statement/dml.rs `describe_subscribe` (columns and their order),
src/adapter/src/active_compute_sink.rs (rows, upsert groups, order, progress at AS OF first), src/compute/src/sink/subscribe.rs
(`should_emit`: with a snapshot times from AS OF on, without one only times above it; errors end it for good),
doc/user/content/sql/subscribe.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

from tests.support.materialize.formats import Batch, Field, Format
from tests.support.materialize.relations import Column, Relation, Row, Update, column, consolidate
from tests.support.materialize.statements import Subscribe
from tests.support.materialize.wire import SqlError

QUEUED_MESSAGE_BYTES = 1024
"""What each queued message costs on top of its payload, when the server decides that a client fell behind (pull request #37905)."""


class Plan:
    """A SUBSCRIBE whose names are resolved: the columns of its result. Raises SqlError for unknown columns."""

    def __init__(self, statement: Subscribe, relation: Relation) -> None:
        self.statement, self.relation = statement, relation
        names = [one.name for one in relation.columns]
        wanted = list(statement.columns or names)
        key = statement.key or ()
        for name, known in [*((name, names) for name in wanted), *((name, wanted) for name in key)]:
            if name not in known:
                raise SqlError("42703", f'column "{name}" does not exist')
        if len(set(key)) < len(key):
            raise SqlError("42701", "a column appears twice in KEY")
        self.key_width = len(key)
        order = [*key, *(name for name in wanted if name not in key)]
        self._indexes = [names.index(name) for name in order]
        self._keeps_rows_apart = set(self._indexes) == set(range(len(names)))
        self.marker_name = "mz_diff" if statement.key is None else "mz_state"
        loose = statement.progress
        self.columns: list[Column] = [Column("mz_timestamp", "numeric", 1700, -1, nullable=False)]
        if statement.progress:
            self.columns.append(column("mz_progressed", "boolean", nullable=False))
        self.columns.append(column(self.marker_name, "bigint" if statement.key is None else "text", nullable=loose))
        self.columns += (relation.columns[index] for index in self._indexes)

    def entries(self, updates: Iterable[Update], *, in_order: bool) -> Iterator[tuple[str, Row]]:
        """What one timestamp's consolidated updates look like: diffs or states, with the columns in the order of the result.

        Servers of today order by row within a timestamp, so that the new row may come before the old; older ones don't.
        """
        projected = self._project(updates)
        entries = self._diffs(projected) if self.statement.key is None else self._upserts(projected)
        return iter(sorted(entries, key=_order)) if in_order else entries

    def _project(self, updates: Iterable[Update]) -> list[Update]:
        if self._indexes == list(range(len(self.relation.columns))):
            return list(updates)
        if len(self._indexes) == 1:
            (only,) = self._indexes
            projected: list[Update] = [((row[only],), diff) for row, diff in updates]
        else:
            pick: Callable[[Row], Any] = itemgetter(*self._indexes)
            projected = [(pick(row), diff) for row, diff in updates]
        return projected if self._keeps_rows_apart else consolidate(projected)

    def _diffs(self, updates: list[Update]) -> Iterator[tuple[str, Row]]:
        return ((str(diff), row) for row, diff in updates)

    def _upserts(self, updates: list[Update]) -> Iterator[tuple[str, Row]]:
        """Per key: one row that came is an upsert, also with one that went; one that went alone is a delete; all else violates the key."""
        width = self.key_width
        if all(diff == 1 for _, diff in updates) and len({row[:width] for row, _ in updates}) == len(updates):
            yield from (("upsert", row) for row, _ in updates)  # a snapshot without violations, the quick way
            return
        groups: dict[Row, list[Update]] = {}
        for update in updates:
            groups.setdefault(update[0][:width], []).append(update)
        nulls: Row = (None,) * (len(self._indexes) - width)
        for key, group in groups.items():
            came = [row for row, diff in group if diff == 1]
            if len(came) == 1 and (len(group) == 1 or (len(group) == 2 and group[0][1] + group[1][1] == 0)):
                yield "upsert", came[0]
            elif len(group) == 1 and group[0][1] == -1:
                yield "delete", key + nulls
            else:
                yield "key_violation", key + nulls


def _order(entry: tuple[str, Row]) -> list[tuple[bool, str]]:
    return [(value is None, value or "") for value in entry[1]]


class Subscription:
    """One that runs: rows wait in it until its session takes them.

    Batches are what the server flushes together. `woken` is called whenever there is something new to take.
    """

    def __init__(self, plan: Plan, rows: Format, as_of: int, up_to: int | None, woken: Callable[[], None]) -> None:
        self.plan, self.as_of = plan, as_of
        self.ended = False
        self.gated = False
        self.max_buffered_bytes: int | None = None
        self.max_result_bytes: int | None = None
        self._error: SqlError | None = None
        self._format, self._up_to, self._woken = rows, up_to, woken
        self._tails = plan.relation.tails.setdefault(rows.name, {})
        self._owes_snapshot = plan.statement.snapshot
        self.emitted_to = as_of + (not plan.statement.snapshot)
        self._progress = as_of
        self._batches: deque[Batch] = deque()
        self._waiting = 0
        if up_to == as_of:
            self.end()
        else:
            self._push_progress(as_of)

    @property
    def ready(self) -> int:
        """Rows that can be taken."""
        return 0 if self.gated else self._waiting

    @property
    def finished(self) -> bool:
        """Nothing is left to take and nothing will come."""
        return self.ended and not self.ready and not self.gated

    def advance(self, frontier: int, *, progress: bool) -> None:
        """All times below the frontier are complete: emit them in one batch, and the progress in another (unless it is withheld)."""
        if self.ended:
            return
        limit = frontier if self._up_to is None else min(frontier, self._up_to)
        batch = self._batch(limit)
        if batch:
            self._push(batch)
        if self.ended:
            return
        if self._up_to is not None and frontier >= self._up_to:
            self.end()  # without a last progress row
        elif progress and frontier > self._progress:
            self._progress = frontier
            self._push_progress(frontier)

    def _batch(self, limit: int) -> Batch:
        batch = Batch(self._format.kind)
        relation = self.plan.relation
        if self._owes_snapshot and self.as_of < limit:
            self._owes_snapshot = False
            rows = relation.contents(self.as_of)
            self._write(batch, self.as_of, self.plan.entries(rows.items(), in_order=False))
            self.emitted_to = self.as_of + 1
        if self.emitted_to < limit and not self._owes_snapshot:
            for time, updates in relation.between(self.emitted_to, limit):
                self._write(batch, time, self.plan.entries(updates, in_order=True))
            self.emitted_to = limit
        return batch

    def _write(self, batch: Batch, time: int, entries: Iterator[tuple[str, Row]]) -> None:
        heads: dict[str, bytes] = {}
        tails, row_tail = self._tails, self._format.row_tail
        for marker, row in entries:
            head = heads.get(marker)
            if head is None:
                head = heads[marker] = self._head(time, "f", marker)
            tail = tails.get(row)
            if tail is None:
                tail = tails[row] = row_tail(row)
            batch.heads.append(head)
            batch.tails.append(tail)

    def _head(self, time: int, progressed: str, marker: str | None) -> bytes:
        fields: list[Field] = [str(time).encode()]
        if self.plan.statement.progress:
            fields.append(progressed.encode())
        fields.append(None if marker is None else marker.encode())
        return self._format.head(fields, len(self.plan.columns))

    def _push_progress(self, time: int) -> None:
        if self.plan.statement.progress:
            nulls = self._format.tail([None] * (len(self.plan.columns) - 3))
            self._push(Batch(self._format.kind, [self._head(time, "t", None)], [nulls]))

    def push_fields(self, fields: list[Field]) -> None:
        """A row with these very bytes, right or wrong, in a batch of its own."""
        head = self._format.head(fields[:1], len(fields))
        self._push(Batch(self._format.kind, [head], [self._format.tail(fields[1:])]))

    def _push(self, batch: Batch) -> None:
        if self.max_result_bytes is not None and batch.size > self.max_result_bytes:
            self.end(SqlError("XX000", f"total result exceeds max size of {self.max_result_bytes} B"))
            return
        self._batches.append(batch)
        self._waiting += len(batch)
        if self.max_buffered_bytes is not None:
            queued = sum(one.size + QUEUED_MESSAGE_BYTES for one in self._batches)
            if queued > self.max_buffered_bytes:
                self._batches.clear()
                self._waiting = 0
                self.end(SqlError("53200", "subscribe fell behind: its client reads too slowly"))
                return
        self._woken()

    def end(self, error: SqlError | None = None) -> None:
        """No row comes any more; those that wait can still be taken, then comes the error, if it is one."""
        self.ended, self._error = True, error
        self._woken()

    def open_gate(self) -> None:
        """Rows that were prepared behind the gate can be taken from now on."""
        self.gated = False
        self._woken()

    def take(self, limit: int) -> tuple[bytes, int]:
        """The messages of up to `limit` rows, and how many they are."""
        parts, count = [], 0
        while self._batches and count < limit and not self.gated:
            batch = self._batches[0]
            before = len(batch)
            parts.append(batch.take(limit - count))
            count += before - len(batch)
            if not batch:
                self._batches.popleft()
        self._waiting -= count
        return b"".join(parts), count

    def take_batch(self, limit: int) -> tuple[bytes, int]:
        """As `take`, of the next batch only."""
        return self.take(min(limit, len(self._batches[0]))) if self._batches and not self.gated else (b"", 0)

    def raise_error(self) -> None:
        """Raises what ended the subscription."""
        if self._error is not None and not self.ready:
            raise self._error
