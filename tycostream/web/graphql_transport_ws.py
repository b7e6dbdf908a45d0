"""The protocol graphql-transport-ws as a state machine; rules: enisdenjo/graphql-ws, PROTOCOL.md."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tycostream.web.close_codes import CloseCode
from tycostream.web.json_text import InvalidJsonError, dump, parse
from tycostream.web.protocol import Operations, Peer, request_of

NAME = "graphql-transport-ws"


class _Phase(enum.Enum):
    NEW = "waiting for connection_init"
    READY = "acknowledged"
    CLOSED = "closed"


class GraphqlTransportWs:
    """One connection's side of the protocol."""

    def __init__(self, peer: Peer, operations: Operations) -> None:
        self._peer = peer
        self._operations = operations
        self._phase = _Phase.NEW
        self._active: set[str] = set()

    @property
    def keep_alive_seconds(self) -> float:
        """See `ServerProtocol`. Pings of the WebSocket itself are enough."""
        return 0.0

    @property
    def active(self) -> Collection[str]:
        """See `ServerProtocol`."""
        return self._active

    # What the client says

    def received(self, text: str) -> None:
        """See `ServerProtocol`."""
        if self._phase is _Phase.CLOSED:
            return
        try:
            message = parse(text)
        except InvalidJsonError as error:
            self._close(CloseCode.BAD_REQUEST, f"Invalid message: not JSON: {error}")
            return
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self._close(CloseCode.BAD_REQUEST, "Invalid message: expected an object with a string 'type'")
            return
        payload = message.get("payload")
        match message["type"]:
            case "connection_init":
                self._on_init(payload)
            case "subscribe":
                self._on_subscribe(message.get("id"), payload)
            case "complete":
                self._on_complete(message.get("id"))
            case "ping":
                if self._valid_payload("ping", payload):
                    self._send("pong", payload=payload) if payload is not None else self._send("pong")
            case "pong":
                self._valid_payload("pong", payload)
            case other:
                self._close(CloseCode.BAD_REQUEST, f"Invalid message: unknown type '{other[:40]}'")

    def init_timed_out(self) -> None:
        """See `ServerProtocol`."""
        if self._phase is _Phase.NEW:
            self._close(CloseCode.INITIALISATION_TIMEOUT)

    def _on_init(self, payload: Any) -> None:
        if self._phase is not _Phase.NEW:
            self._close(CloseCode.TOO_MANY_INITIALISATIONS)
        elif self._valid_payload("connection_init", payload):
            self._phase = _Phase.READY
            self._send("connection_ack")

    def _on_subscribe(self, operation_id: Any, payload: Any) -> None:
        if self._phase is not _Phase.READY:
            self._close(CloseCode.UNAUTHORIZED)
            return
        if not isinstance(operation_id, str) or not operation_id:
            self._close(CloseCode.BAD_REQUEST, "Invalid message: 'subscribe' needs an 'id', a non-empty string")
            return
        request = request_of("subscribe", payload)
        if isinstance(request, str):
            self._close(CloseCode.BAD_REQUEST, f"Invalid message: {request}")
        elif operation_id in self._active:
            self._close(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {operation_id} already exists")
        else:
            self._active.add(operation_id)
            self._operations.start_operation(operation_id, request)

    def _on_complete(self, operation_id: Any) -> None:
        if not isinstance(operation_id, str) or not operation_id:
            self._close(CloseCode.BAD_REQUEST, "Invalid message: 'complete' needs an 'id', a non-empty string")
        elif operation_id in self._active:
            self._active.remove(operation_id)
            self._operations.stop_operation(operation_id)

    def _valid_payload(self, kind: str, payload: Any) -> bool:
        if payload is None or isinstance(payload, dict):
            return True
        self._close(CloseCode.BAD_REQUEST, f"Invalid message: the payload of '{kind}' must be an object or null")
        return False

    # What the client is told

    def keep_alive(self) -> None:
        """See `ServerProtocol`."""

    def next_prefix(self, operation_id: str) -> bytes:
        """See `ServerProtocol`."""
        return b'{"id":%s,"type":"next","payload":' % dump(operation_id)

    def send_next(self, operation_id: str, result: Mapping[str, Any]) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            self._send("next", id=operation_id, payload=result)

    def send_error(self, operation_id: str, errors: Sequence[Mapping[str, Any]]) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            self._active.remove(operation_id)
            self._send("error", id=operation_id, payload=list(errors))
            self._peer.told(errors)

    def send_complete(self, operation_id: str) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            self._active.remove(operation_id)
            self._send("complete", id=operation_id)

    def _send(self, kind: str, **rest: Any) -> None:
        self._peer.send(dump({"type": kind} | rest).decode())

    def _close(self, code: CloseCode, reason: str | None = None) -> None:
        self._phase = _Phase.CLOSED
        self._peer.close(code, reason if reason is not None else code.reason)
