"""What outlives a crash of a source's actor: the rows as those who follow them know them, and who follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from tycostream.model import Row
from tycostream.triggers.watches import Watch, Watches
from tycostream.views import Delta, RowCache, Views


@dataclass(eq=False)
class SourceMemory:
    """A source's rows, the subscriptions and triggers on them, and what these have not been told of yet.

    `unseen` are watches that have not looked at any rows, for there are none yet; with whether rows that match are to
    fire.
    """

    cache: RowCache
    views: Views = field(default_factory=Views)
    watches: Watches = field(init=False)
    unseen: dict[Watch, bool] = field(default_factory=dict)
    undelivered: list[Delta] = field(default_factory=list)
    timestamp_delivered: int | None = None

    def __post_init__(self) -> None:
        self.watches = Watches(self.cache.source)

    @property
    def followed(self) -> bool:
        """Whether somebody needs the rows to be kept up to date."""
        return bool(len(self.views) or len(self.watches) or self.unseen)

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
        self.watches.route(deltas, timestamp)

    def delivered(self) -> None:
        """Everybody has been told."""
        self.undelivered.clear()
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
        self.views.discard()
        self.watches.discard()
        self.cache.undo(self.undelivered)
        self.undelivered.clear()
        self.cache.timestamp = self.timestamp_delivered
