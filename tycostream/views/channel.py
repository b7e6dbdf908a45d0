"""Who is told of a group's changes: for each connection a channel, with all its subscriptions that share the group.

A connection lends its sources an `Outlet`. While nothing stands before a change, a source hands the bytes to the socket
itself; at any other time it tells the connection, which sees to the order.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Protocol

from tycostream.views.delivery import Delivery, Envelope, Run, Subscription, runs_of


class Sender(Protocol):
    """A socket, as far as an outlet needs it."""

    def try_send(self, frames: bytes) -> bool:
        """Send them unless something stands before them. Returns whether it did."""


class _Nowhere:
    def try_send(self, _frames: bytes) -> bool:
        return False


NOWHERE = _Nowhere()


class Outlet:
    """A connection as its sources see it: `connection` is its actor's reference.

    `free` says that nothing stands before a change: no message to the connection, nothing in its outbox, nothing that
    its socket has not taken. Only then may `sender` be given frames; it says whether it took them. The connection sets
    `free` at the end of its turns; a source that tells it something takes it back.
    """

    __slots__ = ("_channels", "connection", "free", "sender")

    def __init__(self, connection: Any, sender: Sender = NOWHERE) -> None:
        self.connection = connection
        self.sender = sender
        self.free = False
        self._channels: dict[object, dict[Channel, None]] = {}

    def enter(self, channel: Channel) -> None:
        """The connection follows one more group of a source."""
        channels = self._channels.setdefault(channel.source, {})
        channels[channel] = None
        channel.alone = len(channels) == 1
        if len(channels) == 2:
            next(iter(channels)).alone = False

    def leave(self, channel: Channel) -> None:
        """It follows the group no more."""
        channels = self._channels[channel.source]
        del channels[channel]
        if len(channels) == 1:
            next(iter(channels)).alone = True
        elif not channels:
            del self._channels[channel.source]


class Channel:
    """A connection's subscriptions that share a group. `source` tells the channels of one source from others.

    `alone`: the connection follows nothing else of the source, so that there is nothing to bring into order. `intact`:
    none of its subscriptions has been ended by its client. `subscriptions` is a tuple that is replaced, never changed;
    those whose prefixes are equally long stand together. `sole` is the envelope of the only one, if it is that: with a
    thousand clients every object that is looked at for each of them has to come from memory.
    """

    __slots__ = ("_runs", "alone", "intact", "outlet", "sole", "source", "subscriptions")

    def __init__(self, source: object, outlet: Outlet) -> None:
        self.source = source
        self.outlet = outlet
        self.alone = False
        self.intact = True
        self.subscriptions: tuple[Subscription, ...] = ()
        self.sole: Envelope | None = None
        self._runs: list[Run] | None = None
        outlet.enter(self)

    def add(self, subscription: Subscription) -> None:
        """One more of the same connection."""
        others = self.subscriptions
        at = bisect_right(others, _prefix_length(subscription), key=_prefix_length)
        self._have((*others[:at], subscription, *others[at:]))
        subscription.channel = self
        self.intact = self.intact and subscription.live

    def remove(self, subscription: Subscription) -> None:
        """One less; an empty channel is to be closed."""
        self._have(tuple(one for one in self.subscriptions if one is not subscription))
        subscription.channel = None
        self.intact = all(one.live for one in self.subscriptions)

    def _have(self, subscriptions: tuple[Subscription, ...]) -> None:
        self.subscriptions = subscriptions
        self.sole = subscriptions[0].envelope if len(subscriptions) == 1 else None
        self._runs = None

    def frames(self, delivery: Delivery) -> bytes:
        """The delivery as messages for all of them."""
        if self._runs is None:
            self._runs = runs_of(self.subscriptions)
        return delivery.joined(self._runs)

    def close(self) -> None:
        """Nothing more comes through it."""
        self.outlet.leave(self)


def _prefix_length(subscription: Subscription) -> int:
    return len(subscription.envelope.prefix)
