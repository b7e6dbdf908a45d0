"""Which protocols are spoken, and which of them with a client that offers several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tycostream.web import graphql_transport_ws, graphql_ws
from tycostream.web.protocol import Operations, Peer, ServerProtocol

_SPOKEN: Mapping[str, Callable[[Peer, Operations, float], ServerProtocol]] = {  # the preferred one first
    graphql_transport_ws.NAME: lambda peer, operations, _: graphql_transport_ws.GraphqlTransportWs(peer, operations),
    graphql_ws.NAME: graphql_ws.GraphqlWs,
}


def select_protocol(offered: Sequence[str]) -> str | None:
    """The name of the protocol to speak with a client that offers these; None where there is none.

    The choice is the server's (RFC 6455 section 4.2.2), and clients that offer both, such as Python's gql, take either.
    """
    return next((name for name in _SPOKEN if name in offered), None)


def make_protocol(name: str, peer: Peer, operations: Operations, ping_seconds: float) -> ServerProtocol:
    """One connection's side of the protocol of this name. `ping_seconds`: see `graphql_ws`."""
    return _SPOKEN[name](peer, operations, ping_seconds)
