"""What outlives a crash of a source's actor: the rows as those who follow them know them, and who follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from tycostream.model import Row
from tycostream.triggers.watches import Watch, Watches
from tycostream.views import Delivery, Delta, Derivation, Derived, RowCache, SnapshotReader, Subscription, Views
from tycostream.views.views import Group


@dataclass(eq=False, slots=True)
class Audience:
    """Those who follow a source under the same rules for its calculated fields."""

    derived: Derived
    views: Views = field(default_factory=Views)


@dataclass(eq=False)
class SourceMemory:
    """A source's rows, the subscriptions and triggers on them, and what these have not been told of yet.

    `views` are of those who follow the database's columns alone; everybody else belongs to the audience of a
    derivation, which is there from its first subscription to its last.
    `unseen` are watches that have not looked at any rows, for there are none yet; with whether rows that match are to
    fire.
    """

    cache: RowCache
    views: Views = field(default_factory=Views)
    audiences: dict[Derivation, Audience] = field(default_factory=dict)
    watches: Watches = field(init=False)
    unseen: dict[Watch, bool] = field(default_factory=dict)
    undelivered: list[Delta] = field(default_factory=list)
    timestamp_delivered: int | None = None

    def __post_init__(self) -> None:
        self.watches = Watches(self.cache.source)

    @property
    def followed(self) -> bool:
        """Whether somebody needs the rows to be kept up to date."""
        return bool(len(self.views) or self.audiences or len(self.watches) or self.unseen)

    def every_views(self) -> Iterator[Views]:
        """The views of everybody."""
        yield self.views
        for audience in self.audiences.values():
            yield audience.views

    def subscriptions(self) -> Iterator[Subscription]:
        """Every subscription."""
        return chain.from_iterable(views.subscriptions() for views in self.every_views())

    def add(self, subscription: Subscription) -> None:
        """From now on the subscription is told of changes; the audience that it belongs to is there."""
        derivation = subscription.derivation
        (self.views if derivation is None else self.audiences[derivation].views).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Tell it no more. The last one takes its audience with it."""
        derivation = subscription.derivation
        if derivation is None:
            self.views.remove(subscription)
        elif (audience := self.audiences.get(derivation)) is not None:
            audience.views.remove(subscription)
            if not len(audience.views):
                del self.audiences[derivation]

    def snapshot(self, subscription: Subscription, timestamp: int) -> SnapshotReader:
        """The rows of this moment for a subscription, whose audience is there."""
        derivation = subscription.derivation
        states = None if derivation is None else self.audiences[derivation].derived.frozen()
        return SnapshotReader(self.cache.source, self.cache.frozen(), timestamp, subscription.filter, states)

    def stop_watch(self, watch: Watch) -> None:
        """Watch no more."""
        self.unseen.pop(watch, None)
        self.watches.remove(watch)

    def drop_ended(self) -> None:
        """Stop the watches of which nobody could be told that they are to end."""
        for watch in [one for one in (*self.watches, *self.unseen) if one.ended]:
            self.stop_watch(watch)

    def route(self, deltas: list[Delta], timestamp: int) -> None:
        """Note what the changes mean to everybody; it is told at the next flush."""
        self.undelivered.extend(deltas)
        self.views.route(deltas, timestamp)
        for audience in self.audiences.values():
            audience.views.route(audience.derived.extend(deltas), timestamp)
        self.watches.route(deltas, timestamp)

    def flush(self) -> Iterator[tuple[Group, Delivery]]:
        """What has been noted for subscriptions since the last flush."""
        return chain.from_iterable(views.flush() for views in self.every_views())

    def delivered(self) -> None:
        """Everybody has been told."""
        self.undelivered.clear()
        for audience in self.audiences.values():
            audience.derived.delivered()
        self.timestamp_delivered = self.cache.timestamp

    def look_at(self, watch: Watch, rows: tuple[Row, ...], timestamp: int, *, fire: bool) -> None:
        """A piece of the rows that were there before a watch."""
        key_of = self.cache.source.key_of
        self.watches.look_at(watch, ((key_of(row), row) for row in rows), timestamp, fire=fire)

    def forget(self) -> None:
        """The rows are not kept any more."""
        self.cache.clear()
        self.timestamp_delivered = None

    def roll_back(self) -> None:
        """Take back what has not been told."""
        for views in self.every_views():
            views.discard()
        for audience in self.audiences.values():
            audience.derived.undo()
        self.watches.discard()
        self.cache.undo(self.undelivered)
        self.undelivered.clear()
        self.cache.timestamp = self.timestamp_delivered
