"""What every GraphQL protocol over WebSockets has in common here: the request, and the interface to both sides.

A protocol is a state machine that knows no web framework, no clock and no GraphQL. What it may do to its socket is a
`Peer`; who carries out operations is `Operations`; what these two call is a `ServerProtocol`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tycostream.web.close_codes import CloseCode


@dataclass(frozen=True, slots=True)
class Request:
    """A GraphQL request as a client sends it."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None


class Peer(Protocol):
    """What the protocol may do to its socket."""

    def send(self, text: str) -> None:
        """Send one text message."""

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Close after what has been sent."""

    def told(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """The client has been told of these errors."""


class Operations(Protocol):
    """Who carries out what the client asks for."""

    def start_operation(self, operation_id: str, request: Request) -> None:
        """Start it: results, an error or its completion follow through the protocol's `send_...`."""

    def stop_operation(self, operation_id: str) -> None:
        """The client wants no more of it; nothing may follow."""


class ServerProtocol(Protocol):
    """One connection's side of a protocol."""

    @property
    def keep_alive_seconds(self) -> float:
        """How often `keep_alive` is to be called; 0: never."""

    @property
    def active(self) -> Collection[str]:
        """The ids of the operations that run."""

    def received(self, text: str) -> None:
        """One text frame from the client."""

    def init_timed_out(self) -> None:
        """The client has had its time to say connection_init."""

    def keep_alive(self) -> None:
        """Show the client that somebody is there."""

    def next_prefix(self, operation_id: str) -> bytes:
        """What stands before a result of an operation that runs; behind it stands a brace."""

    def send_next(self, operation_id: str, result: Mapping[str, Any]) -> None:
        """A result of an operation that runs."""

    def send_error(self, operation_id: str, errors: Sequence[Mapping[str, Any]]) -> None:
        """The operation could not be carried out, or ends with an error. Its id is free again."""

    def send_complete(self, operation_id: str) -> None:
        """The operation has ended. Its id is free again."""


def request_of(kind: str, payload: Any) -> Request | str:
    """The request in the payload of a message of this kind, or what is wrong with it."""
    if not isinstance(payload, dict):
        return f"the payload of '{kind}' must be an object"
    if not isinstance(payload.get("query"), str):
        return "the payload's 'query' must be a string"
    operation_name = payload.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        return "the payload's 'operationName' must be a string or null"
    for name in ("variables", "extensions"):
        if payload.get(name) is not None and not isinstance(payload[name], dict):
            return f"the payload's '{name}' must be an object or null"
    return Request(payload["query"], operation_name, payload.get("variables"), payload.get("extensions"))
