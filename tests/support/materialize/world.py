"""The database behind the wire: relations on one timeline, and the subscriptions that follow them.

Every commit has a timestamp of its own in milliseconds since the epoch, above all earlier ones. The frontier is the lowest timestamp that a
later commit can have: a progress row names it, so a row *at* a progress timestamp may still come, below it none.
Sources: MaterializeInc/materialize doc/user/content/sql/subscribe.md, src/adapter/src/coord/timestamp_selection.rs,
src/adapter/src/error.rs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from tests.support.materialize.behaviour import Behaviour
from tests.support.materialize.formats import Field, Format
from tests.support.materialize.relations import Relation, Row, Update, column
from tests.support.materialize.statements import Name, Subscribe
from tests.support.materialize.subscribe import Plan, Subscription
from tests.support.materialize.wire import SqlError

Change = tuple[str, Row, int]
"""Relation (in schema public, or with its schema: `other.name`), row, multiplicity."""


class World:
    """Relations, time, and who subscribes. All methods are for the loop's thread."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.frontier = behaviour.clock()
        self.subscribes_started: Counter[str] = Counter()
        self._relations: dict[tuple[str, str], Relation] = {}
        self._subscriptions: list[Subscription] = []
        self._items = itertools.count(1)
        self._holds_progress = self._holds_output = 0

    # Relations

    def create(self, name: str, columns: Mapping[str, str], schema: str = "public") -> Relation:
        """A new, empty relation; columns by name with their SQL types (and `not null`). It takes a timestamp and can't be read below it."""
        assert (schema, name) not in self._relations, f"{name} is there already"
        time = self._next_time()
        described = [
            column(one, type_name.removesuffix(" not null"), nullable=not type_name.endswith(" not null"))
            for one, type_name in columns.items()
        ]
        relation = Relation(f"u{next(self._items)}", self.behaviour.database, schema, name, described, time)
        self._relations[schema, name] = relation
        return relation

    def drop(self, name: str) -> None:
        """It is gone, and its subscriptions end with an error (test/pgtest-mz/subscribe-dependency-dropped.pt)."""
        relation = self.relation(name)
        del self._relations[self._key(relation)]
        for subscription in self._of(relation):
            subscription.end(self._dropped(relation))

    def swap(self, one: str, other: str) -> None:
        """Exchange the names of two relations, as ALTER ... SWAP does; who follows one of them goes on following it."""
        first, second = (self._key(self.relation(name)) for name in (one, other))
        self._relations[first], self._relations[second] = self._relations[second], self._relations[first]

    def _key(self, relation: Relation) -> tuple[str, str]:
        return next(key for key, one in self._relations.items() if one is relation)

    def _dropped(self, relation: Relation) -> SqlError:
        return {
            "current": SqlError("42704", f"relation '{relation.full_name}' was dropped"),
            "earlier": SqlError(
                "XX000", f'query could not complete because relation "{relation.full_name}" was dropped'
            ),
            "earliest": SqlError(
                "XX000",
                f'subscribe has been terminated because underlying relation "{relation.full_name}" was dropped',
            ),
        }[self.behaviour.drop_text]

    def relation(self, name: str) -> Relation:
        """By the name that tests use."""
        schema, _, last = name.rpartition(".")
        return self._relations[schema or "public", last]

    def relations(self) -> dict[str, Relation]:
        """Those of schema public, by name."""
        return {name: relation for (schema, name), relation in self._relations.items() if schema == "public"}

    def names(self) -> list[tuple[str, str]]:
        """Schema and name of each, sorted."""
        return sorted(self._relations)

    def contents(self, name: str) -> Counter[Row]:
        """The rows and how often each is there."""
        return Counter(self.relation(name).contents())

    # Time

    def _next_time(self) -> int:
        time = max(self.frontier, self.behaviour.clock())
        self.frontier = time + 1
        return time

    def commit(self, changes: Iterable[Change], *, allow_negative: bool = False) -> int:
        """One transaction; its timestamp. Raises ValueError for rows that are not there or do not fit, and changes nothing then."""
        by_relation: dict[str, list[Update]] = {}
        for name, row, diff in changes:
            by_relation.setdefault(name, []).append((row, diff))
        for name, updates in by_relation.items():
            self.relation(name).check(updates, allow_negative=allow_negative)
        time = self._next_time()
        for name, updates in by_relation.items():
            self.relation(name).apply(time, updates)
        self._advance()
        return time

    def insert(self, name: str, *rows: Row) -> int:
        """Add rows in one transaction; its timestamp."""
        return self.commit((name, row, 1) for row in rows)

    def delete(self, name: str, *rows: Row) -> int:
        """Take rows away in one transaction; its timestamp."""
        return self.commit((name, row, -1) for row in rows)

    def replace(self, name: str, old: Row, new: Row) -> int:
        """An UPDATE of one row; its timestamp."""
        return self.commit([(name, old, -1), (name, new, 1)])

    def tick(self) -> int:
        """Time passes and nothing happens; the new frontier, which subscriptions hear of."""
        self.frontier = max(self.frontier + 1, self.behaviour.clock())
        self._advance()
        return self.frontier

    def _advance(self) -> None:
        if not self._holds_output:
            for subscription in list(self._subscriptions):
                subscription.advance(self.frontier, progress=not self._holds_progress)
        if self.behaviour.retain_history_ms is not None:
            self.compact(self.frontier - self.behaviour.retain_history_ms)

    @contextmanager
    def hold_progress(self) -> Iterator[None]:
        """Commits inside send their data at once and no progress; one progress row for all of them follows at the end."""
        self._holds_progress += 1
        try:
            yield
        finally:
            self._holds_progress -= 1
            self._advance()

    @contextmanager
    def hold_output(self) -> Iterator[None]:
        """Commits inside send nothing; at the end all their timestamps come in one batch, then one progress row."""
        self._holds_output += 1
        try:
            yield
        finally:
            self._holds_output -= 1
            self._advance()

    def close_gate(self) -> None:
        """What live subscriptions are sent from now on gathers in them, encoded, out of their clients' reach (for benchmarks)."""
        for subscription in self._subscriptions:
            subscription.gated = True

    def open_gate(self) -> None:
        """Their clients can have it."""
        for subscription in self._subscriptions:
            subscription.open_gate()

    def compact(self, to: int, name: str | None = None) -> None:
        """History below a timestamp can no longer be read, of one relation or of all. What live subscriptions still owe is kept for them."""
        to = min(to, self.frontier - 1)
        for relation in [self.relation(name)] if name else self._relations.values():
            relation.since = max(relation.since, to)
            owed = [one.emitted_to - 1 for one in self._of(relation) if not one.ended]
            relation.forget(min([relation.since, *owed]) + 1)

    # Subscriptions

    def plan(self, statement: Subscribe) -> Plan:
        """Resolve the names. Raises SqlError."""
        return Plan(statement, self.resolve(statement.name))

    def resolve(self, name: Name) -> Relation:
        """The relation of a name in SQL. Raises SqlError."""
        database, schema, last = (
            ((self.behaviour.database,) if len(name) < 3 else ()) + (("public",) if len(name) == 1 else ()) + name
        )
        relation = self._relations.get((schema, last))
        if relation is None or database != self.behaviour.database:
            raise SqlError(self.behaviour.unknown_item_sqlstate, f"unknown catalog item '{'.'.join(name)}'")
        return relation

    def subscribe(self, plan: Plan, rows: Format, woken: Callable[[], None]) -> Subscription:
        """Start one. Raises SqlError where its times can't be read, or what it reads is gone."""
        relation, statement = plan.relation, plan.statement
        if relation not in self._relations.values():
            raise self._dropped(relation)
        as_of = max(self.frontier - 1, relation.since)
        if statement.as_of is not None:
            as_of = max(statement.as_of, as_of) if statement.at_least else statement.as_of
        up_to = statement.up_to
        if as_of < relation.since:
            if self.behaviour.old_since_text:
                raise SqlError("XX000", f"Timestamp ({as_of}) is not valid for all inputs: [Antichain {{ elements: [{relation.since}] }}]")  # fmt: skip
            raise SqlError("22000", "could not find a valid timestamp for the query")
        if up_to is not None and up_to < as_of:
            raise SqlError("22000", f'subscription lower ("as of") bound is beyond its upper ("up to") bound: {up_to} < {as_of}')  # fmt: skip
        subscription = Subscription(plan, rows, as_of, up_to, woken)
        subscription.max_buffered_bytes = self.behaviour.max_buffered_bytes
        subscription.max_result_bytes = self.behaviour.max_result_bytes
        self._subscriptions.append(subscription)
        self.subscribes_started[relation.name] += 1
        if relation.poison is not None:
            subscription.end(SqlError("XX000", relation.poison))
        elif not self._holds_output:
            subscription.advance(self.frontier, progress=not self._holds_progress)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Its session has no use for it any more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _of(self, relation: Relation) -> list[Subscription]:
        return [one for one in self._subscriptions if one.plan.relation is relation]

    def active_subscribes(self, name: str | None = None) -> int:
        """How many run, of one relation or of all."""
        running = [one for one in self._subscriptions if not one.ended]
        return sum(name in (None, one.plan.relation.name) for one in running)

    # What goes wrong inside of the database

    def poison(self, name: str, message: str = "division by zero") -> None:
        """The dataflow fails: live subscriptions end with this error, and so does every new one until `heal` (`poison` in
        src/compute/src/sink/subscribe.rs).
        """
        self.relation(name).poison = message
        self.fail_subscribes("XX000", message, name)

    def heal(self, name: str) -> None:
        """New subscriptions work again."""
        self.relation(name).poison = None

    def fail_subscribes(self, sqlstate: str, message: str, name: str | None = None) -> None:
        """End the live subscriptions, of one relation or of all, with an error."""
        for subscription in self._subscriptions if name is None else self._of(self.relation(name)):
            subscription.end(SqlError(sqlstate, message))

    def emit(self, name: str, fields: list[Field]) -> None:
        """Send live subscriptions of a relation a row of these bytes, whatever they say."""
        for subscription in self._of(self.relation(name)):
            subscription.push_fields(fields)
