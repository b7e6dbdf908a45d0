"""What a source hands to its subscribers: changes of a view, rendered once for all who share view and selection."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from tycostream.filters import Filter
from tycostream.model import Key, Operation, Row, Source
from tycostream.views.batches import Batches, extensions
from tycostream.views.cursor import Cursor
from tycostream.views.derived import Derivation
from tycostream.views.pace import Rhythm, SlowPolicy

ViewChange = tuple[Operation, Key, Row, int, int]
"""operation, key, row (the last one for a DELETE), changed columns as a bitmask, timestamp."""


class Selection(Hashable, Protocol):
    """What of a row a subscription asks for, and how that is written. Equal selections share what is rendered."""

    @property
    def interest(self) -> int:
        """Bitmask of columns: an UPDATE that changed none of them is not worth a message."""

    def render(self, operation: Operation, row: Row, changed: int, timestamp: int) -> bytes:
        """One result, as the client gets it inside its protocol's message."""


class Envelope(Protocol):
    """How one subscription's results are wrapped for its wire. Envelopes with the same key share the bytes."""

    @property
    def key(self) -> Hashable:
        """What tells this envelope from others."""

    def wrap(self, payloads: Sequence[bytes]) -> bytes:
        """The results as complete messages, one after the other."""


class OnUnavailable(enum.Enum):
    """What becomes of a subscription whose source has no rows, and can't get any now."""

    WAIT = "WAIT"
    ERROR = "ERROR"


@dataclass(eq=False, slots=True)
class Subscription:
    """One client's subscription. Its connection and its source hold the same object and compare it by identity."""

    source: Source
    filter: Filter
    selection: Selection
    envelope: Envelope
    connection: Any
    """The connection actor's reference: who is told."""
    operation_id: str
    derivation: Derivation | None = None
    """Whose calculated fields its rows have; None where it is told of the database's columns alone."""
    on_unavailable: OnUnavailable | None = None
    """None waits where the database may be back soon, and is an error where somebody has to mend something."""
    news: bytes | None = None
    """What its next result is to say beside the data: see `Delivery.news`."""
    marked: bool = False
    """Whether its selection shows cursors or a snapshot's marks: its timestamps are Moments."""
    resume: Cursor | None = None
    """From where its client goes on."""
    mark_end: bool = False
    """Whether its client is told, by a message of its own, when it has all rows."""
    slow: SlowPolicy = SlowPolicy.CONFLATE
    rhythm: Rhythm | None = None
    """None: every change is told at once, in a message of its own."""


class Delivery:
    """Changes for every subscription that shares a view and a selection, in order.

    It lives for one turn of the source: payloads and wrapped bytes are shared by all who are told of it. A connection
    that can't send at once keeps `changes` and `news` and drops the rest.

    `news` is the JSON of the first result's extensions, of which there are few: a source has changed its state.
    """

    __slots__ = ("_payloads", "_wrapped", "changes", "news", "selection")

    def __init__(self, selection: Selection, changes: list[ViewChange]) -> None:
        self.selection = selection
        self.changes = changes
        self.news: bytes | None = None
        self._payloads: list[bytes] | None = None
        self._wrapped: dict[Hashable, bytes] = {}

    def wrapped(self, envelope: Envelope) -> bytes:
        """All changes as messages for subscriptions with this envelope."""
        key = envelope.key
        wrapped = self._wrapped.get(key)
        if wrapped is None:
            wrapped = self._wrapped[key] = envelope.wrap(self.payloads())
        return wrapped

    def payloads(self) -> list[bytes]:
        """The rendered changes; see `render_all`."""
        if self._payloads is None:
            self._payloads = render_all(self.selection, self.changes, news=self.news)
        return self._payloads


def render_all(
    selection: Selection, changes: Sequence[ViewChange], *, dropped: int = 0, news: bytes | None = None
) -> list[bytes]:
    """The results of the changes, one each; or, where they come in batches, as few as can be. The first one says how
    many changes are missing before it, and the news."""
    if isinstance(selection, Batches):
        return selection.messages(changes, news=news)
    render = selection.render
    results = [render(operation, row, changed, timestamp) for operation, _key, row, changed, timestamp in changes]
    if dropped or news is not None:
        results[0] = b"%b%b}" % (results[0][:-1], extensions(dropped=dropped, news=news))
    return results


def in_order(deliveries: list[tuple[Subscription, Delivery]]) -> list[tuple[Subscription, Delivery]]:
    """Deliveries of one source to several subscriptions of a connection, cut so that each gets a timestamp's changes
    before any gets the next one's. A batch is not cut."""
    if len(deliveries) == 1 or len({change[4] for _, part in deliveries for change in part.changes}) == 1:
        return deliveries
    pieces: list[tuple[int, Subscription, Delivery]] = []
    for subscription, part in deliveries:
        news = part.news
        for timestamp, changes in _pieces(part):
            piece = Delivery(part.selection, changes)
            piece.news, news = news, None
            pieces.append((timestamp, subscription, piece))
    pieces.sort(key=itemgetter(0))
    return [(subscription, piece) for _timestamp, subscription, piece in pieces]


def _pieces(delivery: Delivery) -> list[tuple[int, list[ViewChange]]]:
    changes = delivery.changes
    if delivery.selection.__class__ is Batches:
        return [(changes[-1][4], changes)]
    return [(timestamp, list(piece)) for timestamp, piece in groupby(changes, key=itemgetter(4))]
