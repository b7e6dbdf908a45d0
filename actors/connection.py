"""The Connection actor: one per WebSocket client. It owns the client's protocol state, subscriptions and outbox.

While the socket takes everything, deliveries go straight through as bytes that all clients share. When it does not,
changes wait in the outbox and are sent as the socket drains.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from pykka import ActorRef

from actors.connection_limits import ConnectionConfig, ConnectionLimits, FloodError, SharedLimits
from actors.handing_out import may_go_at_once
from actors.runtime import LoopActor, handles, tell
from actors.source_messages import Attach, Attached, Delivered, Detach, Refused, interrupted, place_of
from tycostream.errors import known
from tycostream.graphql import Engine, PreparedQuery, RequestError, SubscriptionPlan
from tycostream.graphql.errors import SCHEMA_CHANGED, UNAVAILABLE
from tycostream.metrics.clients import WEBSOCKET
from tycostream.views import Addressed, Beginning, OutboxOverflowError, Outlet, Subscription
from tycostream.views.delivery import OnUnavailable, in_order
from tycostream.views.outbox import NOTHING_WAITS, NothingWaits, Outbox
from tycostream.web.close_codes import CloseCode
from tycostream.web.debug import NOT_LOCAL
from tycostream.web.envelope import text_frame, text_frames
from tycostream.web.protocol import Request
from tycostream.web.subprotocols import make_protocol
from tycostream.web.transport import ConnectionInfo, Transport

log = logging.getLogger("tycostream.connection")

AWAIT_SECONDS = 0.1
AWAIT_MOST_SECONDS = 10.0
"""How long a source that is being restarted is given before it is told again; twice as long each time."""

NOT_EXPLAINED = json.dumps({"explain": {"error": NOT_LOCAL}}).encode()

SLOW, FLOOD = known("TRY_AGAIN_LATER"), known("POLICY_VIOLATION")


# Messages


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A text frame came from the client."""

    text: str


@dataclass(frozen=True, slots=True)
class SourceAwaited:
    """A source that was being restarted may be back: what it has to be told, and for how long it was waited, in
    seconds."""

    message: Attach | Detach
    waited: float


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """The socket is gone."""

    code: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class SocketDrained:
    """The kernel has taken all that was sent."""


@dataclass(frozen=True, slots=True)
class SendMore:
    """The outbox has more, and the socket took what it was given."""


@dataclass(frozen=True, slots=True)
class InitTimedOut:
    """The client has had its time to say connection_init."""


@dataclass(frozen=True, slots=True)
class KeepAliveDue:
    """The client is to be shown that somebody is there."""


@dataclass(frozen=True, slots=True)
class IdleDue:
    """The client may have been idle for too long."""


@dataclass(frozen=True, slots=True)
class BacklogFull:
    """Too much waits for all clients together, and most of it for this one."""


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """A query's result."""

    operation_id: str
    run: object
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the socket in an orderly way."""

    code: CloseCode
    reason: str | None = None


class ConnectionActor(LoopActor):
    """See the module. It is the protocol's peer (what it may do to the socket) and carries out its operations."""

    kind = "connection"

    def __init__(
        self,
        transport: Transport,
        info: ConnectionInfo,
        engine: Engine,
        directory: Mapping[tuple[str, str], ActorRef[Any]],
        config: ConnectionConfig,
        shared: SharedLimits | None = None,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._info = info
        self._engine = engine
        self._directory = directory
        self._config = config
        self._protocol = make_protocol(info.protocol, self, self, config.ping)
        self._subscriptions: dict[str, Subscription] = {}
        self._queries: dict[str, asyncio.Task[None]] = {}
        self._outbox: Outbox | NothingWaits = NOTHING_WAITS
        self._outlet = Outlet(self.actor_ref, transport)
        transport.on_blocked = self._outlet.occupy
        shared = shared or SharedLimits()
        self._counts = shared.counts
        self._limits = ConnectionLimits(
            config,
            shared,
            info.remote_address,
            self.dispatcher.loop.time,
            self._too_slow,
        )
        self._more_to_send = False
        self._waiting_bytes = 0
        self._closing = False
        self._since = time.time()

    # Life

    def on_start(self) -> None:
        self.tell_later(self._config.init_timeout, InitTimedOut())
        self._await_keep_alive()
        if self._config.idle:
            self.tell_later(self._config.idle, IdleDue())

    def on_stop(self) -> None:
        self._limits.close()
        self._empty()
        for query in self._queries.values():
            query.cancel()
        for subscription in self._subscriptions.values():
            subscription.end()
            self._tell_source(subscription, Detach(subscription))
        self._subscriptions.clear()
        if not self._closing:
            self.close(CloseCode.GOING_AWAY)
        del self._protocol, self._limits  # they know this actor: rings would wait for the garbage collector

    def on_failure(self, *_error: object) -> None:
        # 1012 invites the client to come back, which the codes for server errors do not (graphql-ws src/client.ts)
        if not self._closing:
            self.close(CloseCode.SERVICE_RESTART)
        self.on_stop()

    def after_turn(self) -> None:
        if self._free and not self._transport.blocked and not self.inbox_depth:
            self._outlet.release()
        else:
            self._outlet.occupy()

    # Messages

    @handles(Delivered)
    def _on_delivered(self, message: Delivered) -> None:
        deliveries = message.deliveries
        alike = True
        for subscriptions, _delivery in deliveries:
            for subscription in subscriptions:
                if not subscription.live:  # its source may be a new one, which was not told
                    self._tell_source(subscription, Detach(subscription))
                alike = alike and subscription.explanation is None
        if self._closing:
            return
        if alike and self._free and all(starmap(may_go_at_once, deliveries)):
            frames = b"".join([delivery.frames(subscriptions) for subscriptions, delivery in in_order(deliveries)])
            if frames:
                self._transport.send(frames)
        else:
            self._put(deliveries)

    @handles(Attached)
    def _on_attached(self, message: Attached) -> None:
        self._begin(message.subscription, message.snapshot)

    @handles(Refused)
    def _on_refused(self, message: Refused) -> None:
        if self._forget(message.subscription):
            self._protocol.send_error(message.subscription.operation_id, [unavailable(message.message, message.code)])

    @handles(FrameReceived)
    def _on_frame(self, message: FrameReceived) -> None:
        if not self._closing:
            self._protocol.received(message.text)

    @handles(SocketDrained)
    def _on_drained(self, _message: SocketDrained) -> None:
        self._pump()

    @handles(SendMore)
    def _on_send_more(self, _message: SendMore) -> None:
        self._more_to_send = False
        self._pump()

    @handles(QueryAnswered)
    def _on_answer(self, message: QueryAnswered) -> None:
        if self._queries.get(message.operation_id) is message.run:
            del self._queries[message.operation_id]
            self._limits.active()
            self._protocol.send_next(message.operation_id, message.result)
            self.told(message.result.get("errors", ()))
            self._protocol.send_complete(message.operation_id)

    @handles(InitTimedOut)
    def _on_init_timed_out(self, _message: InitTimedOut) -> None:
        self._protocol.init_timed_out()

    @handles(KeepAliveDue)
    def _on_keep_alive(self, _message: KeepAliveDue) -> None:
        if not self._closing:
            self._protocol.keep_alive()
            self._await_keep_alive()

    def _await_keep_alive(self) -> None:
        """Few protocols need it: the others have no timer."""
        seconds = self._protocol.keep_alive_seconds
        if seconds:
            self.tell_later(seconds, KeepAliveDue())

    @handles(IdleDue)
    def _on_idle_due(self, _message: IdleDue) -> None:
        busy = bool(self._subscriptions or self._queries)
        left = self._config.idle if busy else self._limits.idle_left()
        if left > 0:
            self.tell_later(left, IdleDue())
        else:
            self.close(CloseCode.NORMAL, f"idle: no operation for {self._config.idle:g} s")

    def _too_slow(self) -> None:
        tell(self.actor_ref, BacklogFull())

    @handles(BacklogFull)
    def _on_backlog_full(self, _message: BacklogFull) -> None:
        self._give_up("more waits for all clients than is kept, most of it for this one")

    @handles(SocketClosed)
    def _on_socket_closed(self, _message: SocketClosed) -> None:
        self._closing = True
        self._stop()

    @handles(CloseConnection)
    def _on_close(self, message: CloseConnection) -> None:
        self.close(message.code, message.reason)

    # What the protocol may do to the socket

    def send(self, text: str) -> None:
        """Send one protocol message, behind whatever waits. (Changes are sent when nothing waits: `_free`.)"""
        frame = text_frame(text.encode())
        self._waiting_bytes = self._waiting_bytes + len(frame) if self._transport.pending else 0
        self._transport.send(frame)
        if self._transport.pending:
            self._account()
            if self._limits.answers_wait(self._waiting_bytes):
                self._give_up("answers are not being read")

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Close the socket after what has been handed to it."""
        if not self._closing:
            self._closing = True
            self._transport.close(code, reason if reason is not None else code.reason)

    def told(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """The client has been told of these errors."""
        self._counts.told(errors, WEBSOCKET)

    def _give_up(self, why: str) -> None:
        """The client is too slow: close it, and keep nothing for it."""
        if not self._closing:
            log.warning("connection from %s: too slow: %s [%s]", self._info.remote_address, why, SLOW)
            self.close(CloseCode.TRY_AGAIN_LATER, f"too slow: {why}")
            self._empty()

    def _account(self) -> None:
        """Tell the limits what waits. Not called on the direct way: what the socket leaves of that counts from the next
        change on, and is shared with all who are sent the same."""
        outbox = self._outbox
        self._limits.waits(outbox.rows, outbox.size + self._transport.pending)

    # Operations

    def start_operation(self, operation_id: str, request: Request) -> None:
        """The client starts an operation."""
        try:
            self._limits.admit(len(self._subscriptions) + len(self._queries))
            plan = self._engine.prepare(request.query, request.operation_name, request.variables)
        except RequestError as error:
            self._protocol.send_error(operation_id, error.errors)
            return
        except FloodError as error:
            log.warning("connection from %s: %s [%s]", self._info.remote_address, error, FLOOD)
            self.close(CloseCode.POLICY_VIOLATION, str(error))
            return
        if isinstance(plan, SubscriptionPlan):
            self._counts.operations["subscription", WEBSOCKET] += 1
            self._subscribe(operation_id, plan, explain=(request.extensions or {}).get("explain") is True)
        else:
            self._counts.operations[plan.kind, WEBSOCKET] += 1
            self._queries[operation_id] = self.spawn(self._execute(operation_id, plan))

    def stop_operation(self, operation_id: str) -> None:
        """The client has had enough."""
        self._limits.active()
        subscription = self._subscriptions.pop(operation_id, None)
        if subscription is not None:
            subscription.end()
            self._outbox.drop(subscription)
            if not self._tell_source(subscription, Detach(subscription)):
                self._await_source(Detach(subscription))
        query = self._queries.pop(operation_id, None)
        if query is not None:
            query.cancel()

    def _subscribe(self, operation_id: str, plan: SubscriptionPlan, *, explain: bool) -> None:
        subscription = Subscription(
            source=plan.source,
            filter=plan.filter,
            selection=plan.selection,
            envelope=text_frames(self._protocol.next_prefix(operation_id)),
            outlet=self._outlet,
            operation_id=operation_id,
            derivation=plan.derivation,
            on_unavailable=plan.on_unavailable,
            marked=plan.marked,
            resume=plan.resume,
            mark_end=plan.mark_end,
            slow=plan.slow or self._config.slow,
            rhythm=plan.rhythm,
        )
        if explain and self._info.debugs:
            subscription.explain = True
        elif explain:
            subscription.explanation = NOT_EXPLAINED
        self._subscriptions[operation_id] = subscription
        if self._tell_source(subscription, Attach(subscription)):
            return
        if subscription.on_unavailable is OnUnavailable.WAIT:
            self._await_source(Attach(subscription))
        elif self._forget(subscription):
            self._protocol.send_error(operation_id, [unavailable(interrupted(plan.source.name))])

    async def _execute(self, operation_id: str, plan: PreparedQuery) -> None:
        run = asyncio.current_task()
        tell(self.actor_ref, QueryAnswered(operation_id, run, await self._engine.execute(plan)))

    def _forget(self, subscription: Subscription) -> bool:
        if self._subscriptions.get(subscription.operation_id) is not subscription:
            return False
        del self._subscriptions[subscription.operation_id]
        subscription.end()
        self._outbox.drop(subscription)
        self._limits.active()
        return True

    def _tell_source(self, subscription: Subscription, message: Attach | Detach) -> bool:
        source = self._directory.get(place_of(subscription.source))
        return source is not None and tell(source, message)

    def _await_source(self, message: Attach | Detach, waited: float = 0.0) -> None:
        """Tell a source that is being restarted when it is back."""
        after = min(max(waited, AWAIT_SECONDS), AWAIT_MOST_SECONDS)
        self.tell_later(after, SourceAwaited(message, waited + after))

    @handles(SourceAwaited)
    def _on_source_awaited(self, awaited: SourceAwaited) -> None:
        message = awaited.message
        subscription = message.subscription
        here = self._subscriptions.get(subscription.operation_id) is subscription
        if here is not isinstance(message, Attach):
            return
        if not self._engine.serves(subscription.source):
            if self._forget(subscription):
                text = f"source {subscription.source.name} is not what it was; subscribe again"
                self._protocol.send_error(subscription.operation_id, [unavailable(text, SCHEMA_CHANGED)])
        elif not self._tell_source(subscription, message):
            self._await_source(message, awaited.waited)

    # Delivery

    def _begin(self, subscription: Subscription, snapshot: Beginning) -> None:
        if self._subscriptions.get(subscription.operation_id) is not subscription:
            self._tell_source(subscription, Detach(subscription))
            return
        self._filling().start(subscription, snapshot)
        self._pump()

    def _put(self, deliveries: list[Addressed]) -> None:
        """Changes that can't be sent at once."""
        outbox = self._filling()
        try:
            for subscriptions, delivery in in_order(deliveries):
                for subscription in subscriptions:
                    if subscription.live:
                        subscription.news = delivery.news or subscription.news
                        outbox.put(subscription, delivery.changes)
        except OutboxOverflowError as error:
            self._give_up(str(error))
            return
        self._pump()

    def _filling(self) -> Outbox:
        """The outbox, which is there only while something waits."""
        if not isinstance(self._outbox, Outbox):
            self._outbox = self._config.outbox()
            self._counts.outboxes.add(self._outbox)
        return self._outbox

    def _empty(self) -> None:
        """Keep nothing for the client any more."""
        if isinstance(self._outbox, Outbox):
            self._counts.emptied(self._outbox)
            self._outbox = NOTHING_WAITS

    @property
    def _free(self) -> bool:
        """Whether nothing stands before what is sent now."""
        return self._outbox.empty and not self._transport.pending and not self._closing

    def _pump(self) -> None:
        """Send a piece of what waits, if the socket is free. The next piece comes after others have had their turn."""
        self._send_piece()
        self._account()

    def _send_piece(self) -> None:
        if self._closing or self._transport.pending or self._outbox.empty:
            return
        data = self._outbox.take()
        if data:
            self._transport.send(data)
        if self._outbox.empty:
            self._empty()
        elif not self._transport.pending and not self._more_to_send:
            self._more_to_send = True
            tell(self.actor_ref, SendMore())

    def details(self) -> dict[str, Any]:
        return {
            "remote_address": self._info.remote_address,
            "user_agent": self._info.user_agent,
            "protocol": self._info.protocol,
            "since": self._since,
            "subscriptions": [
                {
                    "id": one.operation_id,
                    "source": one.source.name,
                    "filter": one.filter.to_json(),
                    "on_slow": one.slow.name,
                }
                for one in self._subscriptions.values()
            ],
            "queries": len(self._queries),
            "outbox_rows": self._outbox.rows + self._outbox.recent_rows,
            "merging": self._outbox.merging,
            "bytes_waiting": self._outbox.size,
            "bytes_pending": self._transport.pending,
            "bytes_acknowledged": self._transport.acknowledged,
        }


def unavailable(text: str, code: str = UNAVAILABLE) -> dict[str, Any]:
    """A GraphQL error: the source can't be served now."""
    return {"message": text, "extensions": {"code": code}}
