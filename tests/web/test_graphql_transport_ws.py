"""The rules of graphql-transport-ws (enisdenjo/graphql-ws, PROTOCOL.md), one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web.support import RecordingPeer
from tycostream.web.close_codes import CloseCode
from tycostream.web.graphql_transport_ws import GraphqlTransportWs

QUERY = {"query": "subscription { trades { operation } }"}


@pytest.fixture
def peer() -> RecordingPeer:
    return RecordingPeer()


@pytest.fixture
def fresh(peer: RecordingPeer) -> GraphqlTransportWs:
    return GraphqlTransportWs(peer, peer)


@pytest.fixture
def ready(fresh: GraphqlTransportWs, peer: RecordingPeer) -> GraphqlTransportWs:
    say(fresh, type="connection_init")
    peer.sent.clear()
    return fresh


def say(protocol: GraphqlTransportWs, **message: Any) -> None:
    protocol.received(json.dumps(message))


def subscribe(protocol: GraphqlTransportWs, operation_id: str = "1", **payload: Any) -> None:
    say(protocol, type="subscribe", id=operation_id, payload=QUERY | payload)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        '"connection_init"',
        "null",
        "{}",
        '{"type": 1}',
        '{"type": null}',
        '{"type": "connection_init"',
        '{"type": "ping", "payload": "\\ud800"}',
        '{"type": "ping", "payload": {"a": NaN}}',
        "[" * 100_000,
        '{"type": "ping", "payload": {"a": ' + "[" * 990 + "]" * 990 + "}}",
        "\ud800",
    ],
)
def test_what_is_no_message_closes_with_4400(fresh: GraphqlTransportWs, peer: RecordingPeer, text: str) -> None:
    fresh.received(text)
    assert peer.closed is not None
    assert peer.closed[0] == 4400
    assert peer.closed[1].startswith("Invalid message: ")
    assert not peer.sent


@pytest.mark.parametrize("kind", ["next", "error", "connection_ack", "start", "connection_terminate", "", "x" * 500])
def test_unknown_and_server_only_types_close_with_4400(
    ready: GraphqlTransportWs, peer: RecordingPeer, kind: str
) -> None:
    say(ready, type=kind, id="1", payload={})
    assert peer.closed is not None
    assert peer.closed[0] == CloseCode.BAD_REQUEST


def test_of_a_name_that_stands_twice_the_last_counts(fresh: GraphqlTransportWs, peer: RecordingPeer) -> None:
    fresh.received('{"type": "x", "type": "ping"}')
    assert peer.sent == [{"type": "pong"}]


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}, {"payload": {"token": "t"}}])
def test_init_is_acknowledged_once(fresh: GraphqlTransportWs, peer: RecordingPeer, payload: dict[str, Any]) -> None:
    say(fresh, type="connection_init", **payload)
    assert peer.sent == [{"type": "connection_ack"}]


@pytest.mark.parametrize("kind", ["connection_init", "ping", "pong"])
@pytest.mark.parametrize("payload", [1, "text", [], True])
def test_a_payload_that_is_no_object_closes_with_4400(
    fresh: GraphqlTransportWs, peer: RecordingPeer, kind: str, payload: Any
) -> None:
    say(fresh, type=kind, payload=payload)
    assert peer.closed == (4400, f"Invalid message: the payload of '{kind}' must be an object or null")


def test_no_init_in_time_closes_with_4408(fresh: GraphqlTransportWs, peer: RecordingPeer) -> None:
    fresh.init_timed_out()
    assert peer.closed == (4408, "Connection initialisation timeout")


def test_the_timer_does_nothing_after_init(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    ready.init_timed_out()
    assert peer.closed is None


def test_the_timer_does_nothing_after_a_close(fresh: GraphqlTransportWs, peer: RecordingPeer) -> None:
    fresh.received("x")
    fresh.init_timed_out()
    assert peer.closed is not None
    assert peer.closed[0] == 4400


def test_a_second_init_closes_with_4429(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    say(ready, type="connection_init")
    assert peer.closed == (4429, "Too many initialisation requests")


def test_subscribe_before_the_acknowledgement_closes_with_4401(fresh: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(fresh)
    assert peer.closed == (4401, "Unauthorized")
    assert not peer.started


def test_subscribe_starts_an_operation(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "a", operationName="Q", variables={"v": 12345678901234567890}, extensions={"e": None})
    ((operation_id, request),) = peer.started
    assert operation_id == "a"
    assert (request.query, request.operation_name) == (QUERY["query"], "Q")
    assert (request.variables, request.extensions) == ({"v": 12345678901234567890}, {"e": None})
    assert list(ready.active) == ["a"]


def test_what_subscribe_may_leave_out_may_be_null(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "1", operationName=None, variables=None, extensions=None)
    subscribe(ready, "2")
    assert peer.started[0][1] == peer.started[1][1]


@pytest.mark.parametrize(
    "message",
    [
        {"payload": QUERY},
        {"id": "", "payload": QUERY},
        {"id": 1, "payload": QUERY},
        {"id": None, "payload": QUERY},
        {"id": "1"},
        {"id": "1", "payload": None},
        {"id": "1", "payload": "query"},
        {"id": "1", "payload": {}},
        {"id": "1", "payload": {"query": None}},
        {"id": "1", "payload": {"query": {}}},
        {"id": "1", "payload": QUERY | {"operationName": 1}},
        {"id": "1", "payload": QUERY | {"variables": []}},
        {"id": "1", "payload": QUERY | {"variables": "{}"}},
        {"id": "1", "payload": QUERY | {"extensions": 1}},
    ],
)
def test_a_malformed_subscribe_closes_with_4400(
    ready: GraphqlTransportWs, peer: RecordingPeer, message: dict[str, Any]
) -> None:
    say(ready, type="subscribe", **message)
    assert peer.closed is not None
    assert peer.closed[0] == 4400
    assert not peer.started


def test_an_id_in_use_closes_with_4409(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "a")
    subscribe(ready, "a")
    assert peer.closed == (4409, "Subscriber for a already exists")
    assert len(peer.started) == 1


@pytest.mark.parametrize("ending", ["complete", "error", "client"])
def test_an_id_is_free_again_after_the_end(ready: GraphqlTransportWs, peer: RecordingPeer, ending: str) -> None:
    subscribe(ready, "a")
    if ending == "complete":
        ready.send_complete("a")
    elif ending == "error":
        ready.send_error("a", [{"message": "no"}])
    else:
        say(ready, type="complete", id="a")
    assert not ready.active
    subscribe(ready, "a")
    assert len(peer.started) == 2
    assert peer.closed is None


def test_an_error_has_a_list_and_no_complete_follows(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "a")
    ready.send_error("a", [{"message": "no"}])
    ready.send_complete("a")
    assert peer.sent == [{"type": "error", "id": "a", "payload": [{"message": "no"}]}]
    assert peer.closed is None


def test_results_and_the_end_of_a_query(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "a")
    result = {"data": None, "errors": [{"message": "no"}]}
    ready.send_next("a", result)
    ready.send_complete("a")
    assert peer.sent == [{"type": "next", "id": "a", "payload": result}, {"type": "complete", "id": "a"}]


@pytest.mark.parametrize("operation_id", ["1", 'a"b\\c', "é\n", "\x00", "x" * 100_000])
def test_the_prefix_makes_a_next_message(ready: GraphqlTransportWs, operation_id: str) -> None:
    message = json.loads(ready.next_prefix(operation_id) + b'{"data":1}' + b"}")
    assert message == {"id": operation_id, "type": "next", "payload": {"data": 1}}


def test_after_the_clients_complete_nothing_is_said(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    subscribe(ready, "a")
    say(ready, type="complete", id="a")
    assert peer.stopped == ["a"]
    ready.send_next("a", {"data": 1})
    ready.send_error("a", [{"message": "late"}])
    ready.send_complete("a")
    assert not peer.sent


def test_complete_of_an_unknown_id_is_ignored(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    say(ready, type="complete", id="never")
    subscribe(ready, "a")
    ready.send_complete("a")
    say(ready, type="complete", id="a")
    assert peer.closed is None
    assert not peer.stopped


@pytest.mark.parametrize("operation_id", [None, 1, ""])
def test_complete_needs_an_id(ready: GraphqlTransportWs, peer: RecordingPeer, operation_id: Any) -> None:
    say(ready, type="complete", id=operation_id)
    assert peer.closed is not None
    assert peer.closed[0] == 4400


@pytest.mark.parametrize("payload", [{"a": [1, None, "é"]}, {}, {"n": 123456789012345678901234567890}])
def test_ping_is_answered_with_its_payload_before_init_too(
    fresh: GraphqlTransportWs, peer: RecordingPeer, payload: dict[str, Any]
) -> None:
    say(fresh, type="ping", payload=payload)
    say(fresh, type="ping")
    assert peer.sent == [{"type": "pong", "payload": payload}, {"type": "pong"}]


def test_a_pong_that_nobody_asked_for_is_ignored(fresh: GraphqlTransportWs, peer: RecordingPeer) -> None:
    say(fresh, type="pong", payload={"a": 1})
    say(fresh, type="pong")
    assert not peer.sent
    assert peer.closed is None


def test_nothing_is_heard_after_a_close(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    ready.received("x")
    say(ready, type="ping")
    subscribe(ready)
    assert not peer.sent
    assert not peer.started


def test_it_has_no_keep_alive_messages(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    """Pings of the WebSocket itself do that."""
    assert ready.keep_alive_seconds == 0
    ready.keep_alive()
    assert not peer.sent


def test_operations_do_not_touch_each_other(ready: GraphqlTransportWs, peer: RecordingPeer) -> None:
    for operation_id in ("a", "b", "c"):
        subscribe(ready, operation_id)
    ready.send_error("a", [{"message": "no"}])
    say(ready, type="complete", id="b")
    ready.send_next("c", {"data": 1})
    assert list(ready.active) == ["c"]
    assert peer.sent[-1] == {"type": "next", "id": "c", "payload": {"data": 1}}
