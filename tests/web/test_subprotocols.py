"""Which protocol is spoken with whom."""

from __future__ import annotations

import json

import pytest

from tests.web.support import RecordingPeer
from tycostream.web.subprotocols import make_protocol, select_protocol


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["graphql-transport-ws"], "graphql-transport-ws"),
        (["graphql-ws"], "graphql-ws"),
        (["other", "graphql-transport-ws"], "graphql-transport-ws"),
        (["graphql-transport-ws", "graphql-ws"], "graphql-transport-ws"),
        (["graphql-ws", "graphql-transport-ws"], "graphql-transport-ws"),  # as gql offers them
        ([], None),
        (["GraphQL-Transport-WS"], None),
        (["GraphQL-WS"], None),
        (["graphql"], None),
        (["graphql-subscriptions"], None),
    ],
)
def test_the_protocol_is_selected_by_its_exact_name_and_the_newer_one_first(
    offered: list[str], selected: str | None
) -> None:
    assert select_protocol(offered) == selected


@pytest.mark.parametrize(
    ("name", "start", "result"), [("graphql-transport-ws", "subscribe", "next"), ("graphql-ws", "start", "data")]
)
def test_the_protocol_of_a_name_speaks_so(name: str, start: str, result: str) -> None:
    peer = RecordingPeer()
    protocol = make_protocol(name, peer, peer, 0)
    protocol.received('{"type":"connection_init"}')
    protocol.received(json.dumps({"type": start, "id": "1", "payload": {"query": "{ a }"}}))
    assert [operation_id for operation_id, _ in peer.started] == ["1"]
    assert json.loads(protocol.next_prefix("1") + b"1}") == {"type": result, "id": "1", "payload": 1}
    assert list(protocol.active) == ["1"]


def test_a_protocol_that_is_not_spoken_can_not_be_made() -> None:
    peer = RecordingPeer()
    with pytest.raises(KeyError):
        make_protocol("graphql", peer, peer, 0)
