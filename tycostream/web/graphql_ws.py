"""The older protocol, graphql-ws, as a state machine. (The newer one's reference library has the same name.)

Rules: apollographql/subscriptions-transport-ws, PROTOCOL.md, src/server.ts and src/client.ts. Where they disagree, what
clients understand wins:

- Its client may send integers as ids, and has them back as they were (client.ts before 0.7.2).
- `stop` of an operation that does not run is not answered: that client answers a `complete` it does not know with
  `stop`, and the two would never end (client.ts before 0.7.2).
- Parsing and validation errors are an `error` message, as PROTOCOL.md has it and gql reads it; the reference server
  sends the latter as `data`. Its payload is the first error; where there are more, its `errors` has them all, and the
  reference client prefers those.
- `start` before `connection_init` is refused, which the reference server does not do. Every client says
  `connection_init` first.
- A second `connection_init` is acknowledged again, as by the reference server.
- A message of unknown type is answered with `connection_error`, not with `error` as by the reference server: the client
  would take an `error` with the id of an operation that runs for its end.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tycostream.errors import known
from tycostream.web.close_codes import CloseCode
from tycostream.web.json_text import InvalidJsonError, dump, parse
from tycostream.web.protocol import Operations, Peer, request_of

NAME = "graphql-ws"

BAD_REQUEST = known("BAD_REQUEST")
UNAUTHORIZED = known("UNAUTHORIZED")

MAX_KEEP_ALIVE_SECONDS = 8.0
"""A client that has seen one `ka` leaves when none comes for 30 s, or 10 s before version 0.9.7 (CHANGELOG.md)."""


class _Phase(enum.Enum):
    NEW = "waiting for connection_init"
    READY = "acknowledged"
    CLOSED = "closed"


class GraphqlWs:
    """One connection's side of the protocol. `ping_seconds`: the time between two keep-alive messages; 0 sends none."""

    def __init__(self, peer: Peer, operations: Operations, ping_seconds: float) -> None:
        self._peer = peer
        self._operations = operations
        self._keep_alive_seconds = min(ping_seconds, MAX_KEEP_ALIVE_SECONDS)
        self._phase = _Phase.NEW
        self._active: dict[str, str | int] = {}  # and the id as the client wrote it

    @property
    def keep_alive_seconds(self) -> float:
        """See `ServerProtocol`."""
        return self._keep_alive_seconds

    @property
    def active(self) -> Collection[str]:
        """See `ServerProtocol`."""
        return self._active.keys()

    # What the client says

    def received(self, text: str) -> None:
        """See `ServerProtocol`. What is not understood is answered with `connection_error`; the connection is kept."""
        if self._phase is _Phase.CLOSED:
            return
        try:
            message = parse(text)
        except InvalidJsonError as error:
            self._reject(f"not JSON: {error}")
            return
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self._reject("expected an object with a string 'type'")
            return
        match message["type"]:
            case "connection_init":
                self._on_init(message.get("payload"))
            case "start":
                self._on_start(message.get("id"), message.get("payload"))
            case "stop":
                self._on_stop(message.get("id"))
            case "connection_terminate":
                self._close(CloseCode.NORMAL)
            case other:
                self._reject(f"unknown type '{other[:40]}'")

    def init_timed_out(self) -> None:
        """See `ServerProtocol`. The client comes back after any code, so it is the newer protocol's."""
        if self._phase is _Phase.NEW:
            self._close(CloseCode.INITIALISATION_TIMEOUT)

    def _on_init(self, payload: Any) -> None:
        if payload is not None and not isinstance(payload, dict):
            self._reject("the payload of 'connection_init' must be an object or null")
            return
        self._phase = _Phase.READY
        self._send("connection_ack")
        if self._keep_alive_seconds:
            self.keep_alive()

    def _on_start(self, wire_id: Any, payload: Any) -> None:
        operation_id = _key(wire_id)
        if operation_id is None:
            self._reject("'start' needs an 'id', a non-empty string")
            return
        if operation_id in self._active:  # the newer one replaces it
            self._operations.stop_operation(operation_id)
        self._active[operation_id] = wire_id
        request = request_of("start", payload)
        if self._phase is not _Phase.READY:
            self.send_error(operation_id, [_error("connection_init must come before 'start'", UNAUTHORIZED)])
        elif isinstance(request, str):
            self.send_error(operation_id, [_error(f"Invalid message: {request}", BAD_REQUEST)])
        else:
            self._operations.start_operation(operation_id, request)

    def _on_stop(self, wire_id: Any) -> None:
        operation_id = _key(wire_id)
        if operation_id is None:
            self._reject("'stop' needs an 'id', a non-empty string")
        elif operation_id in self._active:
            self._operations.stop_operation(operation_id)
            self.send_complete(operation_id)

    # What the client is told

    def keep_alive(self) -> None:
        """See `ServerProtocol`."""
        if self._phase is _Phase.READY:
            self._send("ka")

    def next_prefix(self, operation_id: str) -> bytes:
        """See `ServerProtocol`."""
        return b'{"id":%s,"type":"data","payload":' % dump(self._active[operation_id])

    def send_next(self, operation_id: str, result: Mapping[str, Any]) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            self._send("data", id=self._active[operation_id], payload=result)

    def send_error(self, operation_id: str, errors: Sequence[Mapping[str, Any]]) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            payload = errors[0] if len(errors) == 1 else {**errors[0], "errors": list(errors)}
            self._send("error", id=self._active.pop(operation_id), payload=payload)
            self._peer.told(errors)

    def send_complete(self, operation_id: str) -> None:
        """See `ServerProtocol`."""
        if operation_id in self._active:
            self._send("complete", id=self._active.pop(operation_id))

    def _reject(self, problem: str) -> None:
        self._send("connection_error", payload={"message": f"Invalid message: {problem}"})
        self._peer.told([_error(problem, BAD_REQUEST)])

    def _send(self, kind: str, **rest: Any) -> None:
        self._peer.send(dump({"type": kind} | rest).decode())

    def _close(self, code: CloseCode) -> None:
        self._phase = _Phase.CLOSED
        self._peer.close(code)


def _error(message: str, code: str) -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code}}


def _key(wire_id: Any) -> str | None:
    """By what an operation is known here; 1 and "1" are one id, as they are to a client in JavaScript."""
    if isinstance(wire_id, bool) or not isinstance(wire_id, str | int):
        return None
    return str(wire_id) or None
