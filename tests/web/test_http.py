"""GraphQL over HTTP: what is answered to which request."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from graphql import parse

from tests.web.support import engine, raw, serving
from tycostream.graphql import PreparedQuery
from tycostream.web.application import WebConfig
from tycostream.web.base import BaseHandler
from tycostream.web.http import GRAPHQL_RESPONSE, JSON, answer_get, answer_post, response_type

QUERY = "{ trades { id symbol price } }"
ROWS = {"data": {"trades": [{"id": 1, "symbol": "ACME", "price": 2.5}]}}
SUBSCRIPTION = "subscription { trades { operation } }"


async def post(body: Any, content_type: str = JSON, accept: str = "") -> tuple[int, str, Any]:
    raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await answer_post(engine(), content_type, accept, raw_body)
    return answer.status, answer.content_type, json.loads(answer.body)


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_a_query_is_answered(content_type: str) -> None:
    variables = {"id": 1}
    query = "query One($id: Int!) { trades(where: {id: {_eq: $id}}) { id symbol price } }"
    body = {"query": query, "variables": variables, "operationName": "One", "extensions": None, "unknown": 1}
    assert await post(body, content_type) == (200, "application/json; charset=utf-8", ROWS)


@pytest.mark.parametrize(("accept", "chosen"), [
    ("", JSON),
    ("*/*", JSON),
    ("application/*", JSON),
    ("application/json", JSON),
    ("APPLICATION/JSON; charset=utf-8", JSON),
    (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE),
    (f"{GRAPHQL_RESPONSE}; charset=utf-8, application/json; charset=utf-8", GRAPHQL_RESPONSE),
    (f"application/json, {GRAPHQL_RESPONSE}", JSON),
    (f"application/json;q=0.5, {GRAPHQL_RESPONSE};q=0.9", GRAPHQL_RESPONSE),
    ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
    ("text/html", None),
    ("application/json;q=0", None),
    ("application/json;q=x", None),
])  # fmt: skip
def test_the_answers_type_is_the_one_preferred(accept: str, chosen: str | None) -> None:
    assert response_type(accept) == chosen


BAD_BODIES: list[Any] = [
    b"", b"{", b"hello", b"\xff", b'{"query": "\xff"}', b'{"query": "\\ud800"}', b"[" * 10_000,
    [], "text", None, 1, {}, {"query": None}, {"query": 1}, {"query": ["{a}"]}, {"qeury": QUERY},
    {"query": QUERY, "variables": []}, {"query": QUERY, "variables": "{}"}, {"query": QUERY, "extensions": 1},
    {"query": QUERY, "operationName": 1},
]  # fmt: skip


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
@pytest.mark.parametrize("body", BAD_BODIES)
async def test_a_request_that_is_none_is_answered_with_400(body: Any, accept: str) -> None:
    status, content_type, answer = await post(body, accept=accept)
    assert status == 400
    assert content_type == f"{accept}; charset=utf-8"
    assert list(answer) == ["errors"]
    assert answer["errors"][0]["message"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                                          "application/jsonp", "application/json; charset=latin-1"])  # fmt: skip
async def test_another_content_type_is_answered_with_415(content_type: str) -> None:
    status, _, answer = await post({"query": QUERY}, content_type)
    assert status == 415
    assert "errors" in answer


async def test_an_answer_that_is_not_accepted_is_406() -> None:
    assert (await post({"query": QUERY}, accept="text/html"))[0] == 406


@pytest.mark.parametrize("request_", [
    {"query": "{"}, {"query": ""}, {"query": "{ nothing }"}, {"query": "query($v: Int!) { __typename }"},
    {"query": QUERY, "operationName": "Other"}, {"query": "{a:__typename}{b:__typename}"},
])  # fmt: skip
async def test_a_document_that_can_not_be_executed(request_: dict[str, Any]) -> None:
    for accept, expected in ((JSON, 200), (GRAPHQL_RESPONSE, 400)):
        status, _, answer = await post(request_, accept=accept)
        assert status == expected
        assert list(answer) == ["errors"], "no data where nothing was executed"


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
async def test_a_subscription_is_refused_with_a_hint(accept: str) -> None:
    for answer in (
        await answer_post(engine(), JSON, accept, json.dumps({"query": SUBSCRIPTION}).encode()),
        await answer_get(engine(), {"query": SUBSCRIPTION}, accept),
    ):
        assert answer.status == 400
        (error,) = json.loads(answer.body)["errors"]
        assert "WebSocket" in error["message"]
        assert "graphql-transport-ws" in error["message"]


async def test_get_with_parameters() -> None:
    query = "query One($id: Int!) { trades(where: {id: {_eq: $id}}) { id symbol price } }"
    parameters = {"query": query, "variables": '{"id": 1}', "operationName": "One", "extensions": "{}"}
    answer = await answer_get(engine(), parameters, "")
    assert (answer.status, json.loads(answer.body)) == (200, ROWS)


@pytest.mark.parametrize("parameters", [
    {}, {"variables": "{}"}, {"query": QUERY, "variables": "x"}, {"query": QUERY, "variables": "[]"},
    {"query": QUERY, "extensions": "1"}, {"query": QUERY, "variables": ""},
])  # fmt: skip
async def test_get_that_is_no_request_is_answered_with_400(parameters: dict[str, str]) -> None:
    assert (await answer_get(engine(), parameters, "")).status == 400


async def test_a_mutation_by_get_is_answered_with_405(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    mutation = PreparedQuery(parse("query A { a } mutation B { b }"), "B", {}, (), ())
    monkeypatch.setattr(one, "prepare", lambda *_: mutation)
    answer = await answer_get(one, {"query": "mutation B { b }"}, "")
    assert (answer.status, answer.allow) == (405, "POST")


# Over the wire


async def test_post_and_get_over_the_wire() -> None:
    async with serving() as server:
        body = json.dumps({"query": QUERY})
        posted = await server.fetch("/graphql", method="POST", headers={"Content-Type": JSON}, body=body)
        got = await server.fetch(f"/graphql?{urlencode({'query': QUERY})}")
        for answer in (posted, got):
            assert answer.code == 200
            assert json.loads(answer.body) == ROWS
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            assert answer.headers["Server"] == "tycostream"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_query_parameters_that_are_not_utf8_are_answered_with_400() -> None:
    async with serving() as server:
        answer = await server.fetch("/graphql?query=%ff")
        assert answer.code == 400
        assert json.loads(answer.body)["errors"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_answered_with_405(method: str) -> None:
    async with serving() as server:
        answer = await server.fetch("/graphql", method=method, allow_nonstandard_methods=True)
        assert answer.code == 405
        assert answer.headers["Allow"] == "GET, POST, OPTIONS"
        assert json.loads(answer.body) == {"errors": [{"message": "Method Not Allowed"}]}


async def test_cors_is_open_while_the_ui_is_on() -> None:
    async with serving(WebConfig(ui=True, max_message_bytes=1024)) as server:
        before = await server.fetch("/graphql", method="OPTIONS", headers={"Origin": "https://other.example"})
        assert before.code == 204
        assert before.headers["Access-Control-Allow-Headers"] == "*"
        assert "POST" in before.headers["Access-Control-Allow-Methods"]
        for body, status in (("{}", 415), ("x" * 2000, 413)):
            answer = await server.fetch("/graphql", method="POST", body=body)
            assert (answer.code, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
        wrong = await server.fetch("/graphql", method="PUT", body="")
        assert wrong.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_answered_with_413(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    read_body = BaseHandler.read_body

    def noted(handler: BaseHandler) -> bytes | None:
        kept.append(len(handler._body))
        return read_body(handler)

    monkeypatch.setattr(BaseHandler, "read_body", noted)
    async with serving(WebConfig(max_message_bytes=1000)) as server, raw(server.port, upgraded=False) as client:
        for size, status in ((1000, 400), (1001, 413), (3_000_000, 413), (10, 400)):  # on one connection
            body = b"x" * size
            how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            head = f"POST /graphql HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{how}\r\n\r\n".encode()
            client.writer.write(head + (b"%x\r\n%s\r\n0\r\n\r\n" % (size, body) if chunked else body))
            answer = (await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)).decode()
            assert int(answer.split()[1]) == status, size
            length = int(answer.lower().split("content-length: ")[1].split("\r\n")[0])
            assert json.loads(await client.reader.readexactly(length))["errors"]
    assert max(kept) <= 1000


async def test_a_request_that_is_cut_off_leaves_nothing_behind() -> None:
    async with serving() as server:
        async with raw(server.port, upgraded=False) as client:
            client.writer.write(b"POST /graphql HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
            await client.writer.drain()
        assert (await server.fetch("/ready")).code == 200


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with serving(WebConfig(request_seconds=0.1)) as server, raw(server.port, upgraded=False) as client:
        client.writer.write(b"POST /graphql HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        await client.eof()


async def test_an_error_of_ours_is_answered_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = engine()

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(broken, "prepare", fail)
    async with serving(of=broken) as server:
        answer = await server.fetch("/graphql", method="POST", headers={"Content-Type": JSON}, body='{"query":"{a}"}')
        assert answer.code == 500
        assert json.loads(answer.body) == {"errors": [{"message": "Internal error"}]}
