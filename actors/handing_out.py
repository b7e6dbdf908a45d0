"""How a source's deliveries leave it: straight to the sockets that are free, and to the connections of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from pykka import ActorRef

from tycostream.metrics import ClientCounts
from tycostream.views import Addressed, Channel, Delivery, Subscription
from tycostream.views.channel import Put
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
        others = list(group.channels.occupied)
        ready = group.channels.ready
        most = left if ready and len(delivery.changes) <= DIRECT_ROWS and _can_be_rendered(delivery) else 0
        stuck: list[_Stuck] = []
        for sockets in ready.values():
            these: dict[Put, Channel] = sockets
            if most < len(sockets):
                others += islice(sockets.values(), most, None)
                these = dict(islice(sockets.items(), most))
            if not these:
                continue
            most -= len(these)
            left -= len(these)
            if sockets.envelope is not None:
                stuck += _send(delivery.wrapped(sockets.envelope), these, counts)
                continue
            for put, channel in these.items():
                if may_go_at_once(channel.subscriptions, delivery):
                    stuck += _send(channel.frames(delivery), {put: channel}, counts)
                else:
                    others.append(channel)
        for channel, frames, taken in stuck:
            channel.outlet.sender.left(frames, taken)
        for channel in others:
            channel.outlet.occupy()
            rest.setdefault(channel.outlet.connection, []).append((channel.subscriptions, delivery))
    return rest


_Stuck = tuple[Channel, bytes, int]
"""Whose socket has not taken these bytes, or only so many of them."""


def _send(frames: bytes, sockets: dict[Put, Channel], counts: ClientCounts) -> list[_Stuck]:
    """Give them to all of the sockets. The loop runs once for each client and change: it is all that a further client
    costs besides its send."""
    stuck: list[_Stuck] = []
    size = len(frames)
    for put in sockets:  # noqa: PLC0206  # a channel that is not looked at need not come from memory
        try:
            taken = put(frames)
        except OSError:  # the kernel has no room, or the socket is gone
            taken = 0
        if taken != size:
            stuck.append((sockets[put], frames, taken))
    counts.sent += size * len(sockets)
    return stuck


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
