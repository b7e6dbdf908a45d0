"""How a source's deliveries leave it: straight to the sockets that are free, and to the connections of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pykka import ActorRef

from tycostream.metrics import ClientCounts
from tycostream.views import Addressed, Channel, Delivery, Subscription
from tycostream.views.channel import Put, Sockets
from tycostream.views.delivery import Envelope
from tycostream.views.views import Group

log = logging.getLogger("tycostream.source")

DIRECT_ROWS = 5000
"""Changes that are rendered at once; a larger transaction goes through the outbox, piece by piece."""

DIRECT_MESSAGES = 50_000
"""Messages that are handed to one socket at once, where several subscriptions get the same changes."""

MOST_SENDS = 1500
"""Sends during which a source keeps the loop. Clients beyond these are told by message and wait for their turn."""


def hand_out(told: Iterable[tuple[Group, Delivery]], counts: ClientCounts) -> dict[ActorRef[Any], list[Addressed]]:
    """Put on the wire what can go there now. The rest is returned, by the connection that is to be told of it.

    A connection that follows several groups of the source is always told, since it has to bring their changes into
    one order, and so is one that has ended a subscription of which this source does not know that.
    """
    rest: dict[ActorRef[Any], list[Addressed]] = {}
    left = MOST_SENDS
    for group, delivery in told:
        channels = group.channels
        others = list(channels.occupied)
        if channels.ready:
            direct = len(delivery.changes) <= DIRECT_ROWS and _can_be_rendered(delivery)
            _send(_parcels(channels.ready, delivery, left if direct else 0, others), counts)
            left -= len(channels) - len(others)
        for channel in others:
            channel.outlet.occupy()
            rest.setdefault(channel.outlet.connection, []).append((channel.subscriptions, delivery))
    return rest


def _parcels(
    ready: Mapping[Envelope | None, Sockets], delivery: Delivery, most: int, others: list[Channel]
) -> Iterator[tuple[bytes, Mapping[Put, Channel]]]:
    """Messages, and the sockets that are to have them, so many at most. Who is to be told by message is added to the
    others."""
    cut: list[bytes] = []
    length = 0
    for envelope, sockets in ready.items():
        these: Mapping[Put, Channel] = sockets
        if len(sockets) > most:
            others += islice(sockets.values(), most, None)
            these = dict(islice(sockets.items(), most))
        if not these:
            continue
        most -= len(these)
        if envelope is None:
            for put, channel in these.items():
                if may_go_at_once(channel.subscriptions, delivery):
                    yield channel.frames(delivery), {put: channel}
                else:
                    others.append(channel)
        elif len(ready) == 1:
            yield envelope.wrap(delivery.payloads()), these
        else:
            prefix = envelope.prefix
            if len(prefix) != length:
                cut, length = delivery.cut(envelope), len(prefix)
            yield prefix.join(cut), these


def _send(parcels: Iterable[tuple[bytes, Mapping[Put, Channel]]], counts: ClientCounts) -> None:
    """The inner loop runs once for each client and change: it is all that a further client costs besides its send."""
    stuck: list[tuple[Channel, bytes, int]] = []
    total = 0
    try:
        for frames, sockets in parcels:
            size = len(frames)
            total += size * len(sockets)
            for put in sockets:  # a channel that is not looked at need not come from memory
                try:
                    taken = put(frames)
                except OSError:  # the kernel has no room, or the socket is gone
                    taken = 0
                if taken != size:
                    stuck.append((sockets[put], frames, taken))
    finally:  # whatever happens: half a frame is never left without the other half
        counts.sent += total
        for channel, frames, taken in stuck:
            channel.outlet.sender.left(frames, taken)


def may_go_at_once(subscriptions: Sequence[Subscription], delivery: Delivery) -> bool:
    """Whether it is not too much for one send."""
    changes = len(delivery.changes)
    return changes <= DIRECT_ROWS and changes * len(subscriptions) <= DIRECT_MESSAGES


def _can_be_rendered(delivery: Delivery) -> bool:
    """What can't be is left to the connections: it ends those who asked for it, not the source."""
    try:
        delivery.payloads()
    except Exception:
        log.debug("changes can't be rendered", exc_info=True)
        return False
    return True
