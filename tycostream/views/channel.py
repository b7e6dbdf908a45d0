"""Who is told of a group's changes: for each connection a channel, with all its subscriptions that share the group.

A connection lends its sources an `Outlet`. While nothing stands before a change, a source hands the bytes to the socket
itself; at any other time it tells the connection, which sees to the order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tycostream.views.delivery import Delivery, Envelope, Run, Subscription, runs_of

Put = Callable[[bytes], int]
"""Hands bytes to the kernel and says how many it took, at once; OSError where it takes none."""


class Sockets(dict[Put, "Channel"]):
    """Channels by what gives changes to their sockets; all of them take the same bytes, wrapped in this envelope, or
    each its own, where there is none."""

    __slots__ = ("envelope",)

    def __init__(self, envelope: Envelope | None) -> None:
        self.envelope = envelope


class Sender(Protocol):
    """A socket, as far as an outlet needs it."""

    def put(self, frames: bytes, /) -> int:
        """See `Put`. Only for who knows that nothing stands before these bytes."""

    def left(self, frames: bytes, taken: int) -> None:
        """`put` took only so much of these frames: the rest is seen to. From now on something stands before others."""


class _Nowhere:
    def put(self, _frames: bytes) -> int:
        return 0

    def left(self, _frames: bytes, _taken: int) -> None:
        pass


NOWHERE = _Nowhere()


class Outlet:
    """A connection as its sources see it: `connection` is its actor's reference.

    `free` says that nothing stands before a change: no message to the connection, nothing in its outbox, nothing that
    its socket has not taken. Only then may `sender` be given frames. The connection releases its outlet at the end of
    its turns; who puts something before later changes occupies it, be it a source, the connection or its socket.
    """

    __slots__ = ("_channels", "connection", "free", "sender")

    def __init__(self, connection: Any, sender: Sender = NOWHERE) -> None:
        self.connection = connection
        self.sender = sender
        self.free = False
        self._channels: dict[object, dict[Channel, None]] = {}

    def release(self) -> None:
        """Nothing stands before a change any more."""
        if not self.free:
            self.free = True
            self._sort()

    def occupy(self) -> None:
        """Something does."""
        if self.free:
            self.free = False
            self._sort()

    def _sort(self) -> None:
        for channels in self._channels.values():
            if len(channels) == 1:  # the others are never ready
                next(iter(channels)).sort()

    def enter(self, channel: Channel) -> None:
        """The connection follows one more group of a source."""
        channels = self._channels.setdefault(channel.source, {})
        channels[channel] = None
        channel.alone = len(channels) == 1
        if len(channels) == 2:
            self._alone(channels, False)

    def leave(self, channel: Channel) -> None:
        """It follows the group no more."""
        channels = self._channels[channel.source]
        del channels[channel]
        if len(channels) == 1:
            self._alone(channels, True)
        elif not channels:
            del self._channels[channel.source]

    def _alone(self, channels: dict[Channel, None], alone: bool) -> None:
        first = next(iter(channels))
        first.alone = alone
        first.sort()


class Channel:
    """A connection's subscriptions that share a group. `source` tells the channels of one source from others.

    `alone`: the connection follows nothing else of the source, so that there is nothing to bring into order. `intact`:
    none of its subscriptions has been ended by its client, or has something to tell that is its own. `subscriptions` is
    a tuple that is replaced, never changed; those whose prefixes are equally long stand together. `stands`: among which
    of the ready channels it is, if any.
    """

    __slots__ = ("_others", "_runs", "alone", "intact", "outlet", "source", "stands", "subscriptions")

    def __init__(self, source: object, outlet: Outlet, others: Channels) -> None:
        self.source = source
        self.outlet = outlet
        self.alone = False
        self.intact = True
        self.subscriptions: tuple[Subscription, ...] = ()
        self.stands: Sockets | None = None
        self._runs: list[Run] | None = None
        self._others = others

    def sort(self) -> None:
        """What decides whether it is ready, and for which bytes, may have changed."""
        self._others.sort(self, ready=self.alone and self.intact and self.outlet.free)

    @property
    def sole(self) -> Envelope | None:
        """The envelope of its only subscription; None where there are several."""
        return self.subscriptions[0].envelope if len(self.subscriptions) == 1 else None

    def add(self, subscription: Subscription) -> None:
        """One more of the same connection."""
        others = self.subscriptions
        at = bisect_right(others, _prefix_length(subscription), key=_prefix_length)
        self._have((*others[:at], subscription, *others[at:]))
        subscription.channel = self

    def remove(self, subscription: Subscription) -> None:
        """One less."""
        self._have(tuple(one for one in self.subscriptions if one is not subscription))
        subscription.channel = None

    def _have(self, subscriptions: tuple[Subscription, ...]) -> None:
        self.subscriptions = subscriptions
        self._runs = None
        self.look()

    def look(self) -> None:
        """One of its subscriptions may have been ended, or has told what was its own, or is not among them any more."""
        self.intact = all(one.live and one.explanation is None for one in self.subscriptions)
        self.sort()

    def frames(self, delivery: Delivery) -> bytes:
        """The delivery as messages for all of them."""
        if self._runs is None:
            self._runs = runs_of(self.subscriptions)
        return delivery.joined(self._runs)


class Channels:
    """The channels of a group. `ready` are those whose sockets may be given changes now: by the envelope of their only
    subscription, or under None where they have several. `occupied` are all others.

    They are kept apart so that a change costs nothing but a send for each of a thousand clients: every object that is
    looked at for each of them, to ask whether and what it may be sent, would have to come from memory.
    """

    __slots__ = ("_by_outlet", "occupied", "ready", "subscribed")

    def __init__(self) -> None:
        self._by_outlet: dict[Outlet, Channel] = {}
        self.subscribed = 0
        """How many subscriptions there are in all of them."""
        self.ready: dict[Envelope | None, Sockets] = {}
        self.occupied: dict[Channel, None] = {}

    def __len__(self) -> int:
        return len(self._by_outlet)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._by_outlet.values())

    def add(self, subscription: Subscription) -> None:
        """One more, in the channel of its connection."""
        outlet = subscription.outlet
        channel = self._by_outlet.get(outlet)
        if channel is None:
            channel = self._by_outlet[outlet] = Channel(subscription.source, outlet, self)
            outlet.enter(channel)
        channel.add(subscription)
        self.subscribed += 1

    def remove(self, subscription: Subscription) -> bool:
        """One less. Returns whether it was there."""
        outlet = subscription.outlet
        channel = self._by_outlet.get(outlet)
        if channel is None or subscription not in channel.subscriptions:
            return False
        channel.remove(subscription)
        self.subscribed -= 1
        if not channel.subscriptions:
            outlet.leave(channel)
            self.sort(channel, ready=False)
            del self._by_outlet[outlet], self.occupied[channel]
        return True

    def sort(self, channel: Channel, *, ready: bool) -> None:
        """Put one where it belongs."""
        put = channel.outlet.sender.put
        if (sockets := channel.stands) is None:
            self.occupied.pop(channel, None)
        else:
            del sockets[put]
            if not sockets:
                del self.ready[sockets.envelope]
        if ready:
            envelope = channel.sole
            channel.stands = self.ready.get(envelope) or Sockets(envelope)
            channel.stands[put] = channel
            self.ready[envelope] = channel.stands
        else:
            channel.stands = None
            self.occupied[channel] = None


def _prefix_length(subscription: Subscription) -> int:
    return len(subscription.envelope.prefix)
