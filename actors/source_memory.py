"""What outlives a crash of a source's actor: the rows as those who follow them know them, and who follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any

from actors.source_counts import SourceCounts
from tycostream.filters import Filter
from tycostream.metrics import Sample, sample
from tycostream.model import Past, Position, Row
from tycostream.status import Lag
from tycostream.triggers.watches import Watch, Watches
from tycostream.views import (
    Applied,
    Beginning,
    Delivery,
    Derivation,
    Derived,
    Marked,
    RecentChanges,
    RecentLimits,
    Replay,
    RowCache,
    SnapshotReader,
    Subscription,
    Views,
)
from tycostream.views.explaining import explained, views_told
from tycostream.views.pieces import PieceStore
from tycostream.views.views import Group, Stamp

VIEWS_TOLD = 100
DERIVATIONS_TOLD = 20
"""How many of them the debug page lists."""


@dataclass(eq=False, slots=True)
class Audience:
    """Those who follow a source under the same rules for its calculated fields."""

    derived: Derived
    recent: RecentChanges
    """Of the extended rows, where their states depend on what came before: the source's own log can't tell those."""
    views: Views = field(default_factory=Views)
    watches: Watches = field(init=False)

    def __post_init__(self) -> None:
        self.watches = Watches(self.derived.derivation.source.extended)

    def route(self, applied: Applied, since: int | None) -> None:
        """Note what changes of the source's rows, which showed the time `since` before, mean to everybody here."""
        extended = self.derived.extend(applied)
        self.views.route(extended)
        self.watches.route(extended)
        if self.recent.kept:
            self.recent.note_all(extended, since)


@dataclass(eq=False)
class SourceMemory:
    """A source's rows, the subscriptions and triggers on them, and what these have not been told of yet.

    `views` and `watches` are of those who follow the database's columns alone; everybody else belongs to the audience
    of a derivation, which is there from the first of them to the last.
    `waiting` are subscriptions for which there are no rows yet; they belong to the actor that runs.
    `unseen` are watches that have not looked at any rows, for there are none yet; with whether rows that match are to
    fire.
    """

    cache: RowCache
    limits: RecentLimits = field(default_factory=RecentLimits)
    views: Views = field(default_factory=Views)
    audiences: dict[Derivation, Audience] = field(default_factory=dict)
    watches: Watches = field(init=False)
    recent: RecentChanges = field(init=False)
    unseen: dict[Watch, bool] = field(default_factory=dict)
    waiting: dict[Subscription, None] = field(default_factory=dict)
    undelivered: list[Applied] = field(default_factory=list)
    timestamp_delivered: int | None = None
    relation: str | None = None
    """Whose history the rows belong to: see `SnapshotStarted`."""
    lag: Lag = field(default_factory=Lag)
    counts: SourceCounts = field(default_factory=SourceCounts)
    _pieces: PieceStore = field(default_factory=PieceStore)

    def __post_init__(self) -> None:
        self.watches = Watches(self.cache.source)
        self.recent = RecentChanges(self.cache.source, self.limits)

    @property
    def position(self) -> Position | None:
        """Up to where everything is known; None where nothing is."""
        return None if self.cache.timestamp is None else Position(self.cache.timestamp, self.relation)

    @property
    def followed(self) -> bool:
        """Whether somebody needs the rows to be kept up to date."""
        return bool(len(self.views) or self.audiences or len(self.watches) or self.unseen)

    def lacks_states(self, derivation: Derivation | None) -> bool:
        """Whether the states of the rows have to be worked out before somebody can follow them."""
        return derivation is not None and derivation not in self.audiences

    def every_views(self) -> Iterator[Views]:
        """The views of everybody."""
        yield self.views
        for audience in self.audiences.values():
            yield audience.views

    def every_watches(self) -> Iterator[Watches]:
        """The watches of every trigger."""
        yield self.watches
        for audience in self.audiences.values():
            yield audience.watches

    def subscriptions(self) -> Iterator[Subscription]:
        """Every subscription."""
        return chain.from_iterable(views.subscriptions() for views in self.every_views())

    def add(self, subscription: Subscription) -> None:
        """From now on the subscription is told of changes; the audience that it belongs to is there."""
        derivation = subscription.derivation
        (self.views if derivation is None else self.audiences[derivation].views).add(subscription)
        self.counts.subscriptions += 1

    def remove(self, subscription: Subscription) -> None:
        """Tell it no more. The last one takes its audience with it."""
        derivation = subscription.derivation
        if derivation is None:
            self.counts.subscriptions -= self.views.remove(subscription)
        elif (audience := self.audiences.get(derivation)) is not None:
            self.counts.subscriptions -= audience.views.remove(subscription)
            self._drop_if_empty(derivation)

    def _drop_if_empty(self, derivation: Derivation) -> None:
        audience = self.audiences[derivation]
        if not len(audience.views) and not len(audience.watches):
            del self.audiences[derivation]

    def start_audience(self, derived: Derived) -> None:
        """There is somebody who follows these states, which have been worked out."""
        recent = RecentChanges(self.cache.source.extended, self.limits)
        self.audiences[derived.derivation] = Audience(derived, recent)

    def beginning(self, subscription: Subscription, timestamp: int) -> Beginning:
        """What a subscription, whose audience is there, is first told: the rows of this moment, or what its client has
        missed."""
        if not subscription.marked:
            return self._snapshot(subscription, timestamp)
        derivation, resume = subscription.derivation, subscription.resume
        recent = self._recent_of(derivation)
        recent.start(self.relation if recent is self.recent else None, timestamp)
        missed = None if resume is None else recent.after(resume, timestamp)
        if resume is None or missed is None:
            beginning: Beginning = self._snapshot(subscription, timestamp)
            before = None
        else:
            extend = derivation.extend if derivation is not None and recent is self.recent else None
            interest = subscription.selection.interest
            beginning = Replay(missed, resume, timestamp, subscription.filter, interest, extend)
            before = resume.after
        return Marked(
            beginning,
            self.cache.source.name,
            recent.history,
            timestamp,
            before,
            mark_empty=resume is not None or subscription.mark_end,
            mark_end=subscription.mark_end,
        )

    def returning(self, elsewhere: Iterable[Position]) -> Position | None:
        """Up to where those who wait for rows and come back with a cursor have everything, those in other processes
        too: the oldest of them."""
        found = [(one.timestamp, one) for one in elsewhere]
        for subscription in self.waiting:
            cursor = subscription.resume
            if cursor is not None and cursor.after is not None:
                found.append((cursor.upto, Position(cursor.after, cursor.history, known=False)))
        if not found:
            return None
        _upto, newest = max(found, key=itemgetter(0))  # others of an earlier history can't be helped
        return min((one for _, one in found if one.relation == newest.relation), key=attrgetter("timestamp"))

    def _recent_of(self, derivation: Derivation | None) -> RecentChanges:
        """The log that tells what a follower of this derivation has missed."""
        if derivation is None or not derivation.remembers:
            return self.recent
        return self.audiences[derivation].recent

    def _snapshot(self, subscription: Subscription, timestamp: int) -> SnapshotReader:
        derivation = subscription.derivation
        states = None if derivation is None else self.audiences[derivation].derived.frozen()
        rows, condition = self.cache.frozen(), subscription.filter
        pieces = self._pieces.of(condition, subscription.selection, rows, timestamp, states)
        return SnapshotReader(self.cache.source, rows, timestamp, condition, states, pieces)

    def extended(self, row: Row, derivation: Derivation) -> Row:
        """A row of this moment with its calculated fields; as if it were new, where nobody follows these rules."""
        audience = self.audiences.get(derivation)
        return derivation.extend(row) if audience is None else audience.derived.extended(row)

    def watching(self, watch: Watch) -> bool:
        """Whether the watch has been started."""
        watches = self._watches_of(watch)
        return watches is not None and watch in watches

    def start_watch(self, watch: Watch) -> None:
        """Watch from now on; the audience that it belongs to is there."""
        watches = self._watches_of(watch)
        assert watches is not None
        if watch not in watches:
            watches.add(watch)

    def stop_watch(self, watch: Watch) -> None:
        """Watch no more."""
        self.unseen.pop(watch, None)
        watches = self._watches_of(watch)
        if watches is not None:
            watches.remove(watch)
            if watch.derivation is not None:
                self._drop_if_empty(watch.derivation)

    def _watches_of(self, watch: Watch) -> Watches | None:
        if watch.derivation is None:
            return self.watches
        audience = self.audiences.get(watch.derivation)
        return None if audience is None else audience.watches

    def drop_ended(self) -> None:
        """Stop the watches of which nobody could be told that they are to end."""
        for watch in [one for one in (*chain.from_iterable(self.every_watches()), *self.unseen) if one.ended]:
            self.stop_watch(watch)

    def route(self, applied: Applied) -> None:
        """Note what changes mean to everybody; it is told at the next flush."""
        self.undelivered.append(applied)
        self.views.route(applied)
        self.watches.route(applied)
        if self.recent.kept:
            self.recent.note_all(applied, self.cache.timestamp)
        for audience in self.audiences.values():
            audience.route(applied, self.cache.timestamp)

    def flush(self) -> tuple[list[tuple[Group, Delivery]], list[Watch]]:
        """What has been noted for subscriptions since the last flush, and the triggers that have to be woken for what
        has been noted for them. It is not taken back any more."""
        told = self.views.flush(self._stamp(self.recent) if self.recent.kept else None)
        for derivation, audience in self.audiences.items():
            recent = self._recent_of(derivation)
            told += audience.views.flush(self._stamp(recent) if recent.kept else None)
        woken = self.watches.flush()
        for audience in self.audiences.values():
            woken += audience.watches.flush()
        self.delivered()
        return told, woken

    def _stamp(self, recent: RecentChanges) -> Stamp | None:
        now = self.cache.timestamp
        return None if now is None else lambda changes: recent.stamp(changes, now)

    def every_recent(self) -> Iterator[RecentChanges]:
        """The logs that are kept."""
        for recent in (self.recent, *(audience.recent for audience in self.audiences.values())):
            if recent.kept:
                yield recent

    def announce(self, news: bytes) -> None:
        """Everybody's next change comes with this: see `Delivery.news`."""
        for views in self.every_views():
            views.announce(news)

    def delivered(self) -> None:
        """Everybody has been told, or will be when a window ends: windows are in this memory too."""
        now = self.timestamp_delivered = self.cache.timestamp
        self.undelivered.clear()
        self.views.settle()
        if self.recent.kept and now is not None:
            self.recent.settle(now)
        for audience in self.audiences.values():
            audience.views.settle()
            audience.derived.delivered()
            if audience.recent.kept and now is not None:
                audience.recent.settle(now)

    def reloaded(self, relation: str | None) -> None:
        """The rows are those of this relation, and everybody has been told."""
        self.relation = relation
        if self.cache.timestamp is not None:
            for recent in self.every_recent():
                recent.moved(relation if recent is self.recent else None, self.cache.timestamp)

    def recall(self, past: list[Past], since: int, relation: str | None) -> None:
        """The rows come from another process, which has told what led to them since then: remember that as if it had
        been here."""
        now = self.cache.timestamp
        assert now is not None
        self.recent.start(relation, min(since, now))
        self.recent.adopt(past)
        self.recent.settle(now)

    def flush_windows(self, now: float) -> Iterator[tuple[Group, Delivery]]:
        """What has been gathered in windows that have ended."""
        return chain.from_iterable(views.flush_windows(now) for views in self.every_views())

    def flush_window(self, subscription: Subscription) -> Iterator[tuple[Group, Delivery]]:
        """What has been gathered in the window that a new subscription will share."""
        derivation = subscription.derivation
        return (self.views if derivation is None else self.audiences[derivation].views).flush_window(subscription)

    @property
    def windows_due(self) -> float | None:
        """When the next window ends; None where none is open."""
        if not self.views.windows and not self.audiences:  # the usual case
            return None
        windows = chain.from_iterable(views.windows.values() for views in self.every_views())
        return min((window.due for window in windows), default=None)

    def look_at(self, watch: Watch, rows: tuple[Row, ...], timestamp: int, *, fire: bool) -> None:
        """A piece of the rows that were there before a watch."""
        key_of = self.cache.source.key_of
        keyed = ((key_of(row), row) for row in rows)
        if watch.derivation is None:
            self.watches.look_at(watch, keyed, timestamp, fire=fire)
        else:
            audience = self.audiences[watch.derivation]
            extended = ((key, audience.derived.extended(row)) for key, row in keyed)
            audience.watches.look_at(watch, extended, timestamp, fire=fire)

    def finish_look(self, watch: Watch, timestamp: int) -> None:
        """All rows that were there before a watch have been looked at."""
        watches = self._watches_of(watch)
        assert watches is not None
        source = self.cache.source if watch.derivation is None else self.cache.source.extended
        gone = [(key, source.row_of(key)) for key in watch.carried if key not in self.cache.rows]
        watches.finish_look(watch, gone, timestamp)
        del self.unseen[watch]

    def forget(self) -> None:
        """The rows are not kept any more."""
        self.cache.clear()
        for recent in self.every_recent():
            recent.stop()
        self.timestamp_delivered = None
        self.lag.forget()

    def roll_back(self) -> None:
        """Take back what has not been told."""
        for views in self.every_views():
            views.discard()
        for audience in self.audiences.values():
            audience.derived.undo()
        for watches in self.every_watches():
            watches.discard()
        for applied in reversed(self.undelivered):
            self.cache.undo(applied)
        self.undelivered.clear()
        self.cache.timestamp = self.timestamp_delivered
        for recent in self.every_recent():
            recent.take_back(self.timestamp_delivered)

    def list_views(self, most: int) -> dict[str, Any]:
        """The views and how they are found; of those under rules, with the rules."""
        told: list[dict[str, Any]] = []
        for derivation, views in ((None, self.views), *((one, two.views) for one, two in self.audiences.items())):
            rules = None if derivation is None else derivation.to_json()
            told += ({"rules": rules, **view} for view in views_told(views, most - len(told)))
        return {"views": told, "more": sum(map(len, self.every_views())) - len(told)}

    def explain(self, condition: Filter, derivation: Derivation | None) -> dict[str, Any]:
        """How the view of a filter is found, or would be."""
        audience = None if derivation is None else self.audiences.get(derivation)
        if audience is not None:
            return explained(audience.views, condition)
        return explained(self.views if derivation is None else Views(), condition)

    def explain_to(self, subscription: Subscription) -> None:
        """Have a subscription's client told how its view is found."""
        found = self.explain(subscription.filter, subscription.derivation)
        told = {"explain": {"source": self.cache.source.name, **found}}
        subscription.explanation = json.dumps(told, ensure_ascii=False).encode()
        assert subscription.channel is not None
        subscription.channel.look()

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        name, counts = self.cache.source.name, self.counts
        yield sample("tycostream_source_rows", len(self.cache.rows), source=name)
        if (lag := self.lag.ms) is not None:
            yield sample("tycostream_source_lag_seconds", lag / 1000, source=name)
        yield sample("tycostream_source_changes_total", counts.changes, source=name)
        yield sample("tycostream_source_snapshots_total", counts.snapshots, source=name)
        yield sample("tycostream_source_resumptions_total", counts.resumptions, source=name)
        yield sample("tycostream_source_failures_total", counts.failures, source=name)
        yield sample("tycostream_source_views", sum(map(len, self.every_views())), source=name)
        yield sample("tycostream_source_subscriptions", counts.subscriptions, source=name)
        yield sample("tycostream_source_subscriptions_waiting", len(self.waiting), source=name)
        recent = [one.details() for one in self.every_recent()]
        yield sample("tycostream_source_recent_changes", sum(one["rows"] for one in recent), source=name)
        yield sample("tycostream_source_recent_bytes", sum(one["bytes"] for one in recent), source=name)

    def details(self) -> dict[str, Any]:
        """Who follows, for the debug page."""
        return {
            "triggers": sum(map(len, self.every_watches())),
            "rows_fired": sum(watches.fired_rows for watches in self.every_watches()),
            "subscriptions": self.counts.subscriptions,
            "recent_changes": self.recent.details(),
            "views": views_told(self.views, VIEWS_TOLD),
            "derivations": [
                {
                    "rules": derivation.to_json(),
                    "rows_in_a_state": audience.derived.rows_in_a_state,
                    "evaluated": audience.derived.evaluated,
                    "views": views_told(audience.views, VIEWS_TOLD),
                    "triggers": len(audience.watches),
                }
                for derivation, audience in islice(self.audiences.items(), DERIVATIONS_TOLD)
            ],
        }
