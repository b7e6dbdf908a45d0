"""What a source hands to its subscribers: changes of a view, rendered once for all who share view and selection."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from tycostream.filters import Filter
from tycostream.model import Source
from tycostream.views.applying import ViewChange
from tycostream.views.batches import Batches, extensions
from tycostream.views.cursor import Cursor
from tycostream.views.derived import Derivation
from tycostream.views.pace import Rhythm, SlowPolicy

if TYPE_CHECKING:
    from tycostream.views.channel import Channel, Outlet


class Selection(Hashable, Protocol):
    """What of a row a subscription asks for, and how that is written. Equal selections share what is rendered."""

    @property
    def interest(self) -> int:
        """Bitmask of columns: an UPDATE that changed none of them is not worth a message. -1: every one is."""

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        """The results of the changes, one each, as the client gets them inside its protocol's messages."""


class Envelope(Protocol):
    """How one subscription's results are wrapped for its wire. Envelopes with the same prefix share the bytes."""

    @property
    def prefix(self) -> bytes:
        """What stands before each result, and tells this envelope from others."""

    def wrap(self, payloads: Sequence[bytes]) -> bytes:
        """Results as complete messages, one after the other. There is at least one."""

    def cut(self, payloads: Sequence[bytes]) -> list[bytes]:
        """What stands before, between and behind the prefixes of these results' messages, one after the other: joined
        with a prefix as the separator it is those messages. The same for all prefixes of one length."""


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
    outlet: Outlet
    """Whose it is."""
    operation_id: str
    derivation: Derivation | None = None
    """Whose calculated fields its rows have; None where it is told of the database's columns alone."""
    on_unavailable: OnUnavailable | None = None
    """None waits where the database may be back soon, and is an error where somebody has to mend something."""
    news: bytes | None = None
    """What its next result is to say beside the data: see `Delivery.news`."""
    explain: bool = False
    """Whether its client wants to know how its view is found."""
    explanation: bytes | None = None
    """That, until it is told: as `news`, but nobody else's."""
    marked: bool = False
    """Whether its selection shows cursors or a snapshot's marks: its timestamps are Moments."""
    resume: Cursor | None = None
    """From where its client goes on."""
    mark_end: bool = False
    """Whether its client is told, by a message of its own, when it has all rows."""
    slow: SlowPolicy = SlowPolicy.CONFLATE
    rhythm: Rhythm | None = None
    """None: every change is told at once, in a message of its own."""
    live: bool = True
    """False once its client has ended it: nothing more may be sent, whatever is on its way."""
    channel: Channel | None = None
    """Through which it is told of changes."""

    def end(self) -> None:
        """Its client wants no more of it."""
        self.live = False
        if self.channel is not None:
            self.channel.look()

    def take_news(self) -> bytes | None:
        """What the next result is to say beside the data. It does so once."""
        news, self.news = self.news, None
        if self.explanation is None:
            return news
        explanation, self.explanation = self.explanation, None
        if self.channel is not None:
            self.channel.look()
        return explanation if news is None else b"%b,%b" % (explanation[:-1], news[1:])

    @property
    def connection(self) -> Any:
        """The connection actor's reference: who is told."""
        return self.outlet.connection


KEPT_WRAPPED = 16
"""For so many operation ids the wrapped bytes are kept, for others with the same one who are told by message, or read
the same piece of a snapshot."""


class Delivery:
    """Changes for every subscription that shares a view and a selection, in order.

    It lives for one turn of the source: payloads and wrapped bytes are shared by all who are told of it. A connection
    that can't send at once keeps `changes` and `news` and drops the rest.

    `news` is the JSON of the first result's extensions, of which there are few: a source has changed its state.
    """

    __slots__ = ("_cuts", "_payloads", "_wrapped", "changes", "news", "selection")

    def __init__(self, selection: Selection, changes: list[ViewChange], news: bytes | None = None) -> None:
        self.selection = selection
        self.changes = changes
        self.news = news
        self._payloads: list[bytes] | None = None
        self._cuts: dict[int, list[bytes]] = {}
        self._wrapped: dict[bytes, bytes] = {}

    def wrapped(self, envelope: Envelope) -> bytes:
        """All changes as messages for subscriptions with this envelope."""
        prefix = envelope.prefix
        wrapped = self._wrapped.get(prefix)
        if wrapped is None:
            wrapped = prefix.join(self.cut(envelope))
            if len(self._wrapped) < KEPT_WRAPPED:
                self._wrapped[prefix] = wrapped
        return wrapped

    def cut(self, envelope: Envelope) -> list[bytes]:
        """What stands around the prefixes: see `Envelope.cut`."""
        length = len(envelope.prefix)
        cut = self._cuts.get(length)
        if cut is None:
            cut = self._cuts[length] = envelope.cut(self.payloads())
        return cut

    def frames(self, subscriptions: Sequence[Subscription]) -> bytes:
        """All changes as messages for a channel's subscriptions, those that have ended left out: each of them is told
        of a change before any is told of the next."""
        if len(subscriptions) == 1:
            return self.wrapped(subscriptions[0].envelope) if subscriptions[0].live else b""
        return self.joined(runs_of(one for one in subscriptions if one.live))

    def joined(self, runs: Sequence[Run]) -> bytes:
        """All changes as messages for everybody in these runs."""
        parts = [
            _messages(envelope.cut((payload,)), prefixes) for payload in self.payloads() for envelope, prefixes in runs
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

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
    results = selection.render(changes)
    if dropped or news is not None:
        results[0] = b"%b%b}" % (results[0][:-1], extensions(dropped=dropped, news=news))
    return results


Run = tuple[Envelope, list[bytes]]
"""Prefixes that are equally long, and the envelope of one of them."""


def runs_of(subscriptions: Iterable[Subscription]) -> list[Run]:
    """The prefixes of subscriptions, of which equally long ones stand together."""
    runs = (list(run) for _length, run in groupby([one.envelope for one in subscriptions], _prefix_length))
    return [(run[0], [envelope.prefix for envelope in run]) for run in runs]


def _prefix_length(envelope: Envelope) -> int:
    return len(envelope.prefix)


def _messages(cut: list[bytes], prefixes: list[bytes]) -> bytes:
    """One result as messages with each of these prefixes, which are equally long: what is between them is the same."""
    before, behind = cut
    first, *rest = prefixes
    if not rest:
        return before + first + behind
    rest[-1] += behind
    return (behind + before).join((before + first, *rest))


Addressed = tuple[Sequence[Subscription], Delivery]
"""A delivery, and those of a connection's subscriptions that it is for."""


def in_order(deliveries: list[Addressed]) -> list[Addressed]:
    """Deliveries of one source to a connection, cut so that each of its subscriptions gets a timestamp's changes before
    any gets the next one's. A batch is not cut."""
    if len(deliveries) == 1 or len({change[4] for _, part in deliveries for change in part.changes}) == 1:
        return deliveries
    pieces: list[tuple[int, Sequence[Subscription], Delivery]] = []
    for subscriptions, part in deliveries:
        news = part.news
        for timestamp, changes in _pieces(part):
            pieces.append((timestamp, subscriptions, Delivery(part.selection, changes, news)))
            news = None
    pieces.sort(key=itemgetter(0))
    return [(subscriptions, piece) for _timestamp, subscriptions, piece in pieces]


def _pieces(delivery: Delivery) -> list[tuple[int, list[ViewChange]]]:
    changes = delivery.changes
    if delivery.selection.__class__ is Batches:
        return [(changes[-1][4], changes)]
    return [(timestamp, list(piece)) for timestamp, piece in groupby(changes, key=itemgetter(4))]
