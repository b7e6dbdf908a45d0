"""The rules of graphql-ws (apollographql/subscriptions-transport-ws: PROTOCOL.md, src/server.ts, src/client.ts), each in a test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web.support import RecordingPeer
from tycostream.web.graphql_ws import MAX_KEEP_ALIVE_SECONDS, GraphqlWs

QUERY = {"query": "subscription { trades { operation } }"}
ACK = {"type": "connection_ack"}
KEEP_ALIVE = {"type": "ka"}


@pytest.fixture
def peer() -> RecordingPeer:
    return RecordingPeer()


@pytest.fixture
def fresh(peer: RecordingPeer) -> GraphqlWs:
    return GraphqlWs(peer, peer, 12.0)


@pytest.fixture
def ready(fresh: GraphqlWs, peer: RecordingPeer) -> GraphqlWs:
    say(fresh, type="connection_init")
    peer.sent.clear()
    return fresh


def say(protocol: GraphqlWs, **message: Any) -> None:
    protocol.received(json.dumps(message))


def start(protocol: GraphqlWs, operation_id: Any = "1", **payload: Any) -> None:
    say(protocol, type="start", id=operation_id, payload=QUERY | payload)


def assert_rejected(peer: RecordingPeer) -> None:
    (answer,) = peer.sent
    assert answer.keys() == {"type", "payload"}
    assert answer["type"] == "connection_error"
    assert answer["payload"]["message"].startswith("Invalid message: ")
    assert peer.closed is None


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", "null", "{}", '{"type": 1}', '{"type": null}', '{"type": "start"', "[" * 100_000, "\ud800"],
)
def test_what_is_no_message_is_answered_and_the_connection_kept(
    fresh: GraphqlWs, peer: RecordingPeer, text: str
) -> None:
    """PROTOCOL.md, GQL_CONNECTION_ERROR."""
    fresh.received(text)
    assert_rejected(peer)
    peer.sent.clear()
    say(fresh, type="connection_init")
    assert peer.sent[0] == ACK


@pytest.mark.parametrize("kind", ["subscribe", "ping", "data", "ka", "complete", "connection_ack", "", "x" * 500])
def test_an_unknown_type_is_answered_and_ends_no_operation(ready: GraphqlWs, peer: RecordingPeer, kind: str) -> None:
    """src/server.ts answers with an error for the id, which its client would take for the end of that operation."""
    start(ready, "a")
    say(ready, type=kind, id="a", payload=QUERY)
    assert_rejected(peer)
    assert list(ready.active) == ["a"]
    assert not peer.stopped


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}, {"payload": {"token": "t"}}])
def test_init_is_acknowledged_and_a_keep_alive_follows_at_once(
    fresh: GraphqlWs, peer: RecordingPeer, payload: dict[str, Any]
) -> None:
    """PROTOCOL.md, GQL_CONNECTION_KEEP_ALIVE: right after each acknowledgement."""
    say(fresh, type="connection_init", **payload)
    assert peer.sent == [ACK, KEEP_ALIVE]


def test_a_keep_alive_is_sent_whenever_it_is_due_once_acknowledged(fresh: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, GQL_CONNECTION_KEEP_ALIVE: periodically."""
    fresh.keep_alive()
    assert not peer.sent
    say(fresh, type="connection_init")
    fresh.keep_alive()
    assert peer.sent == [ACK, KEEP_ALIVE, KEEP_ALIVE]
    say(fresh, type="connection_terminate")
    fresh.keep_alive()
    assert len(peer.sent) == 3


@pytest.mark.parametrize(("ping", "seconds"), [(0.0, 0.0), (5.0, 5.0), (12.0, MAX_KEEP_ALIVE_SECONDS)])
def test_keep_alives_are_as_far_apart_as_pings_but_never_too_far_for_the_client(ping: float, seconds: float) -> None:
    """src/client.ts: one that has seen a `ka` leaves when it misses them for 10 s (CHANGELOG.md, 0.9.7)."""
    peer = RecordingPeer()
    assert GraphqlWs(peer, peer, ping).keep_alive_seconds == seconds < 10


def test_without_pings_there_is_not_even_the_first_keep_alive(peer: RecordingPeer) -> None:
    """src/client.ts: a client that has seen one expects more."""
    say(GraphqlWs(peer, peer, 0), type="connection_init")
    assert peer.sent == [ACK]


@pytest.mark.parametrize("payload", [1, "text", [], True])
def test_an_init_whose_payload_is_no_object_is_rejected(fresh: GraphqlWs, peer: RecordingPeer, payload: Any) -> None:
    """PROTOCOL.md, GQL_CONNECTION_INIT: `payload: Object`, optional."""
    say(fresh, type="connection_init", payload=payload)
    assert_rejected(peer)
    fresh.init_timed_out()
    assert peer.closed is not None


def test_a_second_init_is_acknowledged_again(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/server.ts, onMessage."""
    start(ready, "a")
    say(ready, type="connection_init", payload={})
    assert peer.sent == [ACK, KEEP_ALIVE]
    assert list(ready.active) == ["a"]


def test_no_init_in_time_closes_with_4408(fresh: GraphqlWs, peer: RecordingPeer) -> None:
    """The protocol knows no such rule, and its client reconnects after any code (src/client.ts)."""
    fresh.init_timed_out()
    assert peer.closed == (4408, "Connection initialisation timeout")


def test_the_timer_does_nothing_after_init(ready: GraphqlWs, peer: RecordingPeer) -> None:
    ready.init_timed_out()
    assert peer.closed is None


def test_the_timer_does_nothing_after_a_close(fresh: GraphqlWs, peer: RecordingPeer) -> None:
    say(fresh, type="connection_terminate")
    fresh.init_timed_out()
    assert peer.closed is not None
    assert peer.closed[0] == 1000


def test_start_before_init_is_an_error_of_that_operation(fresh: GraphqlWs, peer: RecordingPeer) -> None:
    """src/server.ts would carry it out. An error, and not connection_error, so that the client's operation ends."""
    start(fresh, "a")
    (answer,) = peer.sent
    assert (answer["type"], answer["id"]) == ("error", "a")
    assert "connection_init" in answer["payload"]["message"]
    assert not peer.started
    assert not fresh.active
    say(fresh, type="connection_init")
    start(fresh, "a")
    assert len(peer.started) == 1


def test_start_starts_an_operation(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, GQL_START."""
    start(ready, "a", operationName="Q", variables={"v": 12345678901234567890}, extensions={"e": None}, context={})
    ((operation_id, request),) = peer.started
    assert operation_id == "a"
    assert (request.query, request.operation_name) == (QUERY["query"], "Q")
    assert (request.variables, request.extensions) == ({"v": 12345678901234567890}, {"e": None})
    assert list(ready.active) == ["a"]
    assert not peer.sent


def test_what_start_may_leave_out_may_be_null(ready: GraphqlWs, peer: RecordingPeer) -> None:
    start(ready, "1", operationName=None, variables=None, extensions=None)
    start(ready, "2")
    assert peer.started[0][1] == peer.started[1][1]


def test_what_the_apollo_client_sends_is_understood(fresh: GraphqlWs, peer: RecordingPeer) -> None:
    """src/client.ts behind apollo-link-ws, to the letter; it does not wait for the acknowledgement."""
    fresh.received('{"type":"connection_init","payload":{}}')
    fresh.received(
        '{"id":"1","type":"start","payload":{"variables":{},"extensions":{},"operationName":null,'
        '"query":"subscription {\\n  trades {\\n    operation\\n    __typename\\n  }\\n}\\n"}}'
    )
    fresh.received('{"id":"1","type":"stop"}')
    fresh.received('{"type":"connection_terminate","payload":null}')
    ((_, request),) = peer.started
    assert (request.operation_name, request.variables, request.extensions) == (None, {}, {})
    assert peer.sent == [ACK, KEEP_ALIVE, {"type": "complete", "id": "1"}]
    assert peer.closed is not None
    assert peer.closed[0] == 1000


@pytest.mark.parametrize("kind", ["start", "stop"])
@pytest.mark.parametrize("message", [{}, {"id": ""}, {"id": None}, {"id": 1.5}, {"id": True}, {"id": ["1"]}])
def test_start_and_stop_need_an_id(ready: GraphqlWs, peer: RecordingPeer, kind: str, message: dict[str, Any]) -> None:
    say(ready, type=kind, payload=QUERY, **message)
    assert_rejected(peer)
    assert not peer.started


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"payload": None},
        {"payload": "query"},
        {"payload": {}},
        {"payload": {"query": None}},
        {"payload": {"query": {"kind": "Document"}}},
        {"payload": QUERY | {"operationName": 1}},
        {"payload": QUERY | {"variables": []}},
        {"payload": QUERY | {"extensions": 1}},
    ],
)
def test_a_malformed_start_is_an_error_of_that_operation(
    ready: GraphqlWs, peer: RecordingPeer, message: dict[str, Any]
) -> None:
    """src/server.ts, onMessage: what goes wrong while the operation is prepared is an error with its id."""
    say(ready, type="start", id="a", **message)
    (answer,) = peer.sent
    assert (answer["type"], answer["id"]) == ("error", "a")
    assert answer["payload"]["message"].startswith("Invalid message: ")
    assert not peer.started
    assert not ready.active
    assert peer.closed is None


def test_an_id_in_use_ends_the_older_operation_and_starts_the_newer(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/server.ts, onMessage: it unsubscribes first. A complete would end the newer one for the client."""
    start(ready, "a")
    start(ready, "a", operationName="Newer")
    assert peer.stopped == ["a"]
    assert [request.operation_name for _, request in peer.started] == [None, "Newer"]
    assert not peer.sent
    assert list(ready.active) == ["a"]


def test_a_malformed_start_with_an_id_in_use_ends_the_older_operation(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/client.ts: after an error with its id the client forgets the operation."""
    start(ready, "a")
    say(ready, type="start", id="a", payload={})
    assert peer.stopped == ["a"]
    assert [answer["type"] for answer in peer.sent] == ["error"]
    assert not ready.active


def test_stop_is_answered_with_complete_and_nothing_follows(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, Connected Phase: the server sends GQL_COMPLETE when the client unsubscribes."""
    start(ready, "a")
    say(ready, type="stop", id="a")
    assert peer.stopped == ["a"]
    ready.send_next("a", {"data": 1})
    ready.send_error("a", [{"message": "late"}])
    ready.send_complete("a")
    assert peer.sent == [{"type": "complete", "id": "a"}]


def test_stop_of_what_does_not_run_is_not_answered(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/client.ts before 0.7.2 answers a complete that it does not know with stop: the two would never end."""
    say(ready, type="stop", id="never")
    start(ready, "a")
    ready.send_complete("a")
    peer.sent.clear()
    say(ready, type="stop", id="a")
    assert not peer.sent
    assert not peer.stopped


@pytest.mark.parametrize("ending", ["complete", "error", "client"])
def test_an_id_is_free_again_after_the_end(ready: GraphqlWs, peer: RecordingPeer, ending: str) -> None:
    start(ready, "a")
    if ending == "complete":
        ready.send_complete("a")
    elif ending == "error":
        ready.send_error("a", [{"message": "no"}])
    else:
        say(ready, type="stop", id="a")
    assert not ready.active
    peer.stopped.clear()
    start(ready, "a")
    assert len(peer.started) == 2
    assert not peer.stopped


def test_an_error_has_an_object_and_no_complete_follows(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, GQL_ERROR: `payload: Error`. gql refuses a list."""
    start(ready, "a")
    ready.send_error("a", [{"message": "no", "extensions": {"code": "NO"}}])
    ready.send_complete("a")
    assert peer.sent == [{"type": "error", "id": "a", "payload": {"message": "no", "extensions": {"code": "NO"}}}]
    assert peer.closed is None


def test_several_errors_are_one_object_that_has_them_all(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/client.ts, formatErrors: it takes the payload's `errors`, and without them the payload for the one error."""
    errors = [{"message": "first", "path": ["a"]}, {"message": "second"}]
    start(ready, "a")
    ready.send_error("a", errors)
    assert peer.sent[0]["payload"] == {"message": "first", "path": ["a"], "errors": errors}


def test_results_and_the_end_of_a_query(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, GQL_DATA: errors of resolvers are part of it."""
    start(ready, "a")
    result = {"data": None, "errors": [{"message": "no"}]}
    ready.send_next("a", result)
    ready.send_complete("a")
    assert peer.sent == [{"type": "data", "id": "a", "payload": result}, {"type": "complete", "id": "a"}]


@pytest.mark.parametrize("operation_id", ["1", 'a"b\\c', "é\n", "\x00", "x" * 100_000, 7, 0, -1, 2**70])
def test_the_prefix_makes_a_data_message(ready: GraphqlWs, operation_id: str | int) -> None:
    start(ready, operation_id)
    message = json.loads(ready.next_prefix(str(operation_id)) + b'{"data":1}' + b"}")
    assert message == {"id": operation_id, "type": "data", "payload": {"data": 1}}


def test_an_integer_is_an_id_and_comes_back_as_one(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """src/client.ts before 0.7.2 counts its operations in integers from 0."""
    for number in (0, 1, 2):
        start(ready, number)
    ready.send_next("0", {"data": 1})
    ready.send_error("1", [{"message": "no"}])
    say(ready, type="stop", id=2)
    assert [answer["id"] for answer in peer.sent] == [0, 1, 2]
    assert peer.stopped == ["2"]
    say(ready, type="stop", id="0")  # to JavaScript the same key
    assert not ready.active


def test_terminate_closes_with_1000(ready: GraphqlWs, peer: RecordingPeer) -> None:
    """PROTOCOL.md, GQL_CONNECTION_TERMINATE."""
    start(ready, "a")
    say(ready, type="connection_terminate")
    assert peer.closed == (1000, "the client terminated the connection")


def test_nothing_is_heard_after_a_close(ready: GraphqlWs, peer: RecordingPeer) -> None:
    say(ready, type="connection_terminate")
    ready.received("x")
    say(ready, type="connection_init")
    start(ready)
    assert not peer.sent
    assert not peer.started


def test_operations_do_not_touch_each_other(ready: GraphqlWs, peer: RecordingPeer) -> None:
    for operation_id in ("a", "b", "c"):
        start(ready, operation_id)
    ready.send_error("a", [{"message": "no"}])
    say(ready, type="stop", id="b")
    ready.send_next("c", {"data": 1})
    assert list(ready.active) == ["c"]
    assert peer.sent[-1] == {"type": "data", "id": "c", "payload": {"data": 1}}
