"""How a change of a row becomes a change of what subscribers see: row cache, views, calculated fields,
deliveries, outboxes."""

from tycostream.views.cache import Delta, Reload, RowCache
from tycostream.views.delivery import Delivery, Subscription, ViewChange
from tycostream.views.derived import Derivation, Derived
from tycostream.views.outbox import Outbox, OutboxOverflowError
from tycostream.views.snapshot import SnapshotReader
from tycostream.views.views import Views

__all__ = [
    "Delivery",
    "Delta",
    "Derivation",
    "Derived",
    "Outbox",
    "OutboxOverflowError",
    "Reload",
    "RowCache",
    "SnapshotReader",
    "Subscription",
    "ViewChange",
    "Views",
]
