"""How a source's deliveries leave it: straight to the sockets that are free, and to the connections of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from pykka import ActorRef

from tycostream.views import Addressed, Delivery, Subscription
from tycostream.views.delivery import Envelope
from tycostream.views.views import Group

log = logging.getLogger("tycostream.source")

DIRECT_ROWS = 5000
"""Changes that are rendered at once; a larger transaction goes through the outbox, piece by piece."""

DIRECT_MESSAGES = 50_000
"""Messages that are handed to one socket at once, where several subscriptions get the same changes."""

MOST_SENDS = 1500
"""Sends during which a source keeps the loop. Clients beyond these are told by message and wait for their turn."""


def hand_out(told: Iterable[tuple[Group, Delivery]]) -> dict[ActorRef[Any], list[Addressed]]:
    """Put on the wire what can go there now. The rest is returned, by the connection that is to be told of it.

    A connection that follows several groups of the source is always told, since it has to bring their changes into
    one order, and so is one that has ended a subscription of which this source does not know that. The loop runs once
    for each client and change: it is all that a further client costs besides its send.
    """
    rest: dict[ActorRef[Any], list[Addressed]] = {}
    left = MOST_SENDS
    for group, delivery in told:
        direct = len(delivery.changes) <= DIRECT_ROWS and _can_be_rendered(delivery)
        envelope: Envelope | None = None
        frames = b""
        for channel in group.channels.values():
            outlet = channel.outlet
            if direct and left and outlet.free and channel.alone and channel.intact:
                left -= 1
                if (only := channel.sole) is not None:
                    if only is not envelope:
                        envelope = only
                        frames = delivery.wrapped(envelope)
                    if outlet.sender.try_send(frames):
                        continue
                elif may_go_at_once(channel.subscriptions, delivery):
                    frames, envelope = channel.frames(delivery), None
                    if outlet.sender.try_send(frames):
                        continue
            outlet.free = False
            rest.setdefault(outlet.connection, []).append((channel.subscriptions, delivery))
    return rest


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
