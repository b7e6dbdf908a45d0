"""The views of one source: which subscriptions a change concerns, and what it means to each.

A view is one distinct filter; the subscriptions under it are grouped by selection, so that a change is evaluated once a
view and rendered once a selection, however many clients follow. Views and groups go with their last subscription.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tycostream.filters import Explanation, Filter, FilterIndex
from tycostream.model import Operation
from tycostream.views.applying import Applied, ViewChange
from tycostream.views.channel import Channels
from tycostream.views.delivery import Delivery, Selection, Subscription
from tycostream.views.pace import Rhythm
from tycostream.views.windows import Window

Stamp = Callable[[list[ViewChange]], list[ViewChange]]
"""What gives changes their place in the source's history: see `Moment`."""


@dataclass(eq=False, slots=True)
class Group:
    """The subscriptions of a view that share a selection and a rhythm; without a rhythm there is no window. `news` goes
    with the next changes that are told: see `Delivery.news`."""

    selection: Selection
    marked: bool = False
    window: Window | None = None
    channels: Channels = field(default_factory=Channels)
    news: bytes | None = None

    @property
    def subscriptions(self) -> Iterator[Subscription]:
        """All of them, by connection."""
        for channel in self.channels:
            yield from channel.subscriptions


@dataclass(eq=False, slots=True)
class View:
    """One filter and who follows it. `pending` holds changes that are not yet flushed."""

    filter: Filter
    groups: dict[tuple[Selection, Rhythm | None], Group] = field(default_factory=dict)
    pending: list[ViewChange] = field(default_factory=list)


class Views:
    """All views of a source."""

    def __init__(self) -> None:
        self._index: FilterIndex[View] = FilterIndex()
        self._views: dict[Filter, View] = {}
        self._touched: list[View] = []
        self._noted: list[tuple[Group, Window, list[ViewChange]]] = []
        self.windows: dict[Group, Window] = {}
        """Those in which something has been gathered."""

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[View]:
        return iter(self._views.values())

    def subscriptions(self) -> Iterator[Subscription]:
        """Every subscription, by view and group."""
        for view in self._views.values():
            for group in view.groups.values():
                yield from group.subscriptions

    def add(self, subscription: Subscription) -> None:
        """From now on the subscription is told of changes. Flush first: it must not hear of what it already saw."""
        view = self._views.get(subscription.filter)
        if view is None:
            view = self._views[subscription.filter] = View(subscription.filter)
            self._index.add(subscription.filter, view)
        key = subscription.selection, subscription.rhythm
        group = view.groups.get(key)
        if group is None:
            window = Window(subscription.rhythm) if subscription.rhythm else None
            group = view.groups[key] = Group(subscription.selection, subscription.marked, window)
        group.channels.add(subscription)

    def remove(self, subscription: Subscription) -> bool:
        """Returns whether it was there."""
        view = self._views.get(subscription.filter)
        key = subscription.selection, subscription.rhythm
        group = None if view is None else view.groups.get(key)
        if view is None or group is None or not group.channels.remove(subscription):
            return False
        if not group.channels:
            del view.groups[key]
            self.windows.pop(group, None)
        if not view.groups:
            del self._views[subscription.filter]
            self._index.remove(subscription.filter, view)
            view.pending.clear()
        return True

    def route(self, applied: Applied) -> None:
        """Note for every view what changes mean to it: enter, stay or leave."""
        if not self._views:
            return
        if (everything := self._index.sole) is not None:  # it is as it is: nothing is asked
            changes = applied.changes
            self._index.passed += len(changes)
            if changes and not everything.pending:
                self._touched.append(everything)
            everything.pending += changes
            return
        match = self._index.match
        touched = self._touched
        insert, delete = Operation.INSERT, Operation.DELETE
        told: ViewChange
        for change, old in applied:
            operation, key, row, mask, timestamp = change
            for view, before, after in match(old, None if operation is delete else row, mask):
                if before == after:  # both, or it would not have been found
                    told = change
                elif after:
                    told = (insert, key, row, 0, timestamp)
                else:
                    told = (delete, key, old, 0, timestamp)  # type: ignore[assignment]  # a row that matched was there
                if not view.pending:
                    touched.append(view)
                view.pending.append(told)

    def explain(self, condition: Filter) -> tuple[View, Explanation]:
        """The view of a filter, and how it is found; where there is none, an empty one, and how it would be."""
        view = self._views.get(condition)
        if view is not None:
            return view, self._index.explain(condition, view)
        view = View(condition)
        self._index.add(condition, view)
        try:
            return view, self._index.explain(condition, view)
        finally:
            self._index.remove(condition, view)

    def announce(self, news: bytes) -> None:
        """Every group's next changes come with this news; earlier news that were not told yet are forgotten."""
        for view in self._views.values():
            for group in view.groups.values():
                group.news = news

    def discard(self) -> None:
        """Forget what has been noted since the last flush, or was being flushed when that failed."""
        for view in self._views.values():
            view.pending = []
        self._touched = []
        self._noted = []

    def flush(self, stamp: Stamp | None = None) -> list[tuple[Group, Delivery]]:
        """What has been noted since the last flush, for each group that it concerns and that has no rhythm. What goes
        into windows does so with `settle`. `stamp` gives changes their place, for those whose selection shows it."""
        told: list[tuple[Group, Delivery]] = []
        touched, self._touched = self._touched, []
        update = Operation.UPDATE
        for view in touched:
            pending, view.pending = view.pending, []
            for group in view.groups.values():
                interest = group.selection.interest
                if interest == -1:
                    changes = pending
                else:
                    changes = [change for change in pending if change[0] is not update or change[3] & interest]
                    if not changes:
                        continue
                if stamp is not None and group.marked:
                    changes = stamp(changes)
                if group.window is not None:
                    self._noted.append((group, group.window, changes))
                else:
                    told.append((group, Delivery(group.selection, changes, group.news)))
                    group.news = None
        return told

    def settle(self) -> None:
        """What was flushed is told, or in a window; it is not taken back any more."""
        if not self._noted:  # the usual case
            return
        noted, self._noted = self._noted, []
        for group, window, changes in noted:
            if group.channels:
                window.add(changes)
                self.windows[group] = window

    def flush_windows(self, now: float) -> Iterator[tuple[Group, Delivery]]:
        """What windows hold that are due. Not in the middle of a timestamp, which stays together."""
        for group, window in [(group, window) for group, window in self.windows.items() if window.due <= now]:
            yield from self._ended(group, window)

    def flush_window(self, subscription: Subscription) -> Iterator[tuple[Group, Delivery]]:
        """What the window holds that a subscription is about to share: its rows have that already."""
        view = self._views.get(subscription.filter)
        group = None if view is None else view.groups.get((subscription.selection, subscription.rhythm))
        if group is not None and (window := self.windows.get(group)) is not None:
            yield from self._ended(group, window)

    def _ended(self, group: Group, window: Window) -> Iterator[tuple[Group, Delivery]]:
        del self.windows[group]
        if changes := window.take():
            news, group.news = group.news, None
            yield group, Delivery(group.selection, changes, news)
