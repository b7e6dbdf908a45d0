"""How a change of a row becomes a change of what subscribers see: row cache, views, calculated fields,
deliveries, outboxes."""

from tycostream.views.applying import Applied, Delta, ViewChange
from tycostream.views.cache import Reload, RowCache
from tycostream.views.channel import Channel, Outlet
from tycostream.views.cursor import BadCursorError, Cursor, Moment, SnapshotMark
from tycostream.views.delivery import Addressed, Delivery, Subscription
from tycostream.views.derived import Derivation, Derived
from tycostream.views.outbox import Outbox, OutboxOverflowError
from tycostream.views.recent import RecentChanges, RecentLimits
from tycostream.views.resume import Marked, Replay
from tycostream.views.snapshot import Beginning, SnapshotReader
from tycostream.views.views import Views

__all__ = [
    "Addressed",
    "Applied",
    "BadCursorError",
    "Beginning",
    "Channel",
    "Cursor",
    "Delivery",
    "Delta",
    "Derivation",
    "Derived",
    "Marked",
    "Moment",
    "Outbox",
    "OutboxOverflowError",
    "Outlet",
    "RecentChanges",
    "RecentLimits",
    "Reload",
    "Replay",
    "RowCache",
    "SnapshotMark",
    "SnapshotReader",
    "Subscription",
    "ViewChange",
    "Views",
]
