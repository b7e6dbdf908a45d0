"""GraphQL over HTTP: what is answered to which request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from graphql import parse

from tests.web.support import engine, raw, serving
from tycostream.graphql import PreparedQuery
from tycostream.web.application import WebConfig
from tycostream.web.base import MAX_HEADER_BYTES, BaseHandler
from tycostream.web.http import GRAPHQL_RESPONSE, JSON, answer_get, answer_post, error_body, response_type

QUERY = "{ trades { id symbol price } }"
ROWS = {"data": {"trades": [{"id": 1, "symbol": "ACME", "price": 2.5}]}}
SUBSCRIPTION = "subscription { trades { operation } }"


async def post(body: Any, content_type: str = JSON, accept: str = "") -> tuple[int, str, Any]:
    raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await answer_post(engine(), content_type, accept, raw_body)
    return answer.status, answer.content_type, json.loads(answer.body)


@pytest.mark.parametrize("content_type", [
    JSON, "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json ; a=1;CHARSET = utf8",
    'application/json; x="charset=latin-1"', "application/json;",
])  # fmt: skip
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
    (f"{GRAPHQL_RESPONSE};q=0.1, application/json;q=0.05", GRAPHQL_RESPONSE),
    (f"{GRAPHQL_RESPONSE}, */*;q=0.1", GRAPHQL_RESPONSE),
    (f"*/*, {GRAPHQL_RESPONSE}", GRAPHQL_RESPONSE),
    ("application/json;q=0, */*", GRAPHQL_RESPONSE),
    (f"application/*;q=0.4, {GRAPHQL_RESPONSE};q=0.3, */*;q=0.9", JSON),
    (f"{GRAPHQL_RESPONSE} ; Q=0.8 , application/json ; q=0.7", GRAPHQL_RESPONSE),
    (f'text/x;a=", {GRAPHQL_RESPONSE};q=1, ", application/json;q=0.1', JSON),
    (f"multipart/mixed;subscriptionSpec=1.0, {GRAPHQL_RESPONSE}", GRAPHQL_RESPONSE),
    (",, application/json ,", JSON),
    ("text/html", None),
    ("text/*", None),
    ("application/jsonp, application/graphql+json", None),
    ("application/json;q=0", None),
    ("application/json;q=0.000", None),
    ("application/json;q=x", None),
    ("application/json;q=nan", None),
    ("application/json;q=-1", None),
    ("application/json;q=7", None),
    ('";;,', None),
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
                                          "application/jsonp", "application/json; charset=latin-1", "application/graphql",
                                          'application/json; a=";"; charset="utf-16"', "application/json, text/plain", ";"])  # fmt: skip
async def test_another_content_type_is_answered_with_415(content_type: str) -> None:
    status, _, answer = await post({"query": QUERY}, content_type)
    assert status == 415
    assert "errors" in answer


async def test_an_answer_that_is_not_accepted_is_406() -> None:
    for accept in ("text/html", "text/event-stream"):
        status, content_type, answer = await post({"query": QUERY}, accept=accept)
        assert (status, content_type) == (406, "application/json; charset=utf-8")
        (error,) = answer["errors"]
        assert f"answers are {GRAPHQL_RESPONSE} or {JSON}" in error["message"]
        assert ("WebSocket" in error["message"]) is (accept == "text/event-stream"), "who wants a stream is told where"


async def test_a_batch_is_refused() -> None:
    status, _, answer = await post([{"query": QUERY}, {"query": QUERY}])
    assert status == 400
    assert "batches are not answered" in answer["errors"][0]["message"]


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
        await answer_get(engine(), {"query": [SUBSCRIPTION.encode()]}, accept),
    ):
        assert answer.status == 400
        (error,) = json.loads(answer.body)["errors"]
        assert "WebSocket" in error["message"]
        assert "to /graphql " in error["message"]
        assert "graphql-transport-ws or graphql-ws" in error["message"]
        assert error["extensions"] == {"code": "SUBSCRIPTION_OVER_HTTP"}


def encoded(parameters: dict[str, str]) -> dict[str, list[bytes]]:
    return {name: [value.encode()] for name, value in parameters.items()}


async def test_get_with_parameters() -> None:
    query = "query One($id: Int!) { trades(where: {id: {_eq: $id}}) { id symbol price } }"
    parameters = {"query": query, "variables": '{"id": 1}', "operationName": "One", "extensions": "{}", "unknown": "1"}
    for accept, content_type in (("", JSON), (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE)):
        answer = await answer_get(engine(), encoded(parameters), accept)
        assert (answer.status, json.loads(answer.body)) == (200, ROWS)
        assert answer.content_type == f"{content_type}; charset=utf-8"


async def test_an_empty_operation_name_is_none() -> None:
    parameters = {"query": QUERY, "variables": "null", "operationName": "", "extensions": "null"}
    assert json.loads((await answer_get(engine(), encoded(parameters), "")).body) == ROWS


@pytest.mark.parametrize(("parameters", "message"), [
    ({}, "'query' must be a string"),
    ({"variables": "{}"}, "'query' must be a string"),
    ({"query": QUERY, "variables": "x"}, "'variables' is not JSON"),
    ({"query": QUERY, "variables": ""}, "'variables' is not JSON"),
    ({"query": QUERY, "variables": "[]"}, "'variables' must be an object or null"),
    ({"query": QUERY, "extensions": "1"}, "'extensions' must be an object or null"),
])  # fmt: skip
async def test_get_that_is_no_request_is_answered_with_400(parameters: dict[str, str], message: str) -> None:
    for accept in (JSON, GRAPHQL_RESPONSE):
        answer = await answer_get(engine(), encoded(parameters), accept)
        assert answer.status == 400
        assert message in json.loads(answer.body)["errors"][0]["message"]


@pytest.mark.parametrize("name", ["query", "variables", "operationName", "extensions"])
async def test_get_that_says_something_twice_is_answered_with_400(name: str) -> None:
    arguments = encoded({"query": QUERY}) | {name: [b"{}", b"{}"]}
    answer = await answer_get(engine(), arguments, "")
    assert answer.status == 400
    assert json.loads(answer.body)["errors"][0]["message"] == f"'{name}' is given 2 times"


async def test_an_empty_document_by_get_is_a_syntax_error() -> None:
    answer = await answer_get(engine(), {"query": [b""]}, GRAPHQL_RESPONSE)
    assert answer.status == 400
    assert "Syntax Error" in json.loads(answer.body)["errors"][0]["message"]


async def test_a_mutation_by_get_is_answered_with_405(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    mutation = PreparedQuery(one.schema, parse("query A { a } mutation B { b }"), "B", "mutation", {}, (), ())
    monkeypatch.setattr(one, "prepare", lambda *_: mutation)
    answer = await answer_get(one, {"query": [b"mutation B { b }"]}, "")
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
        assert json.loads(answer.body)["errors"][0]["message"] == "'query' is not UTF-8"


async def test_query_parameters_are_taken_as_they_are() -> None:
    async with serving() as server:
        assert json.loads((await server.fetch(f"/graphql?query={quote('{a:__typename} ')}")).body)["data"] == {
            "a": "Query"
        }
        strange = await server.fetch("/graphql?query=%00{__typename}")
        assert "U+0000" in json.loads(strange.body)["errors"][0]["message"]
        twice = await server.fetch("/graphql?query={a}&query=")
        assert json.loads(twice.body)["errors"][0]["message"] == "'query' is given 2 times"


async def test_head_is_a_get_without_its_body() -> None:
    async with serving(WebConfig(ui=True)) as server:
        for path in (f"/graphql?{urlencode({'query': QUERY})}", "/graphql", "/graphql?query=%7B"):
            for headers in ({"Accept": GRAPHQL_RESPONSE}, {"Accept": "text/html"}):
                got = await server.fetch(path, headers=headers)
                head = await server.fetch(path, method="HEAD", headers=headers)
                assert (head.code, head.body) == (got.code, b"")
                for name in ("Content-Type", "Content-Length", "Access-Control-Allow-Origin"):
                    assert head.headers[name] == got.headers[name]
        asked = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert (await server.fetch("/graphql", method="HEAD", headers=asked)).code == 400


METHODS = "GET, HEAD, POST, OPTIONS"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "INVENTED", "post"])
async def test_other_methods_are_answered_with_405(method: str) -> None:
    async with serving() as server:
        for body in (None, "x" * 100_000):
            answer = await server.fetch("/graphql", method=method, body=body, allow_nonstandard_methods=True)
            assert answer.code == 405
            assert answer.headers["Allow"] == METHODS
            assert json.loads(answer.body) == error_body("Method Not Allowed", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("refused", ["PUT /graphql", "POST /nothing", "OPTIONS /graphql"])
async def test_the_body_of_what_is_refused_is_passed_over(refused: str) -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        body = b"x" * 100_000
        client.writer.write(f"{refused} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        client.writer.write(b"GET /ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        first, *_, last = (await client.eof()).split(b"HTTP/1.1 ")[1:]
        assert first[:3] in (b"404", b"405", b"204")
        assert last[:3] == b"200"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "INVENTED"])
async def test_elsewhere_there_is_nothing_for_any_method(method: str) -> None:
    async with serving(WebConfig(ui=True)) as server:
        for path in ("/nothing", "/graphql%00", "/graphql/%2e%2e/", "/graphql/x?query={a}"):
            answer = await server.fetch(path, method=method, allow_nonstandard_methods=True)
            assert answer.code == 404
            expected = error_body("there is nothing here; GraphQL is at /graphql", "NOT_FOUND")
            assert method == "HEAD" or json.loads(answer.body) == expected


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    async with serving() as server:
        for headers in ({"Upgrade": "h2c", "Connection": "Upgrade"}, {"Upgrade": "websocket, h2c"}):
            answer = await server.fetch(f"/graphql?{urlencode({'query': QUERY})}", headers=headers)
            assert json.loads(answer.body) == ROWS


PAGE = "https://app.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def test_without_the_ui_no_page_of_another_origin_may_read() -> None:
    async with serving() as server:
        for answer in (
            await server.fetch("/graphql", method="OPTIONS", headers=PREFLIGHT),
            await server.fetch("/graphql?query={__typename}", headers={"Origin": PAGE}),
        ):
            assert answer.code in (200, 204)
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_cors_is_open_while_the_ui_is_on() -> None:
    async with serving(WebConfig(ui=True, max_message_bytes=1024)) as server:
        before = await server.fetch("/graphql", method="OPTIONS", headers=PREFLIGHT)
        assert (before.code, before.body) == (204, b"")
        assert before.headers["Access-Control-Allow-Origin"] == "*"
        assert before.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert before.headers["Access-Control-Allow-Methods"] == METHODS
        assert int(before.headers["Access-Control-Max-Age"]) > 0
        for body, status in (("{}", 415), ("x" * 2000, 413)):
            answer = await server.fetch("/graphql", method="POST", body=body)
            assert (answer.code, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
        wrong = await server.fetch("/graphql", method="PUT", body="")
        assert wrong.headers["Access-Control-Allow-Origin"] == "*"
        asked = await server.fetch("/graphql", method="OPTIONS")
        assert (asked.code, asked.headers["Allow"]) == (204, METHODS)


@pytest.mark.parametrize("wanted", ["", "x\u00e9y", "a;b", "<x>"])
async def test_names_of_headers_that_are_none_are_not_repeated(wanted: str) -> None:
    async with serving(WebConfig(ui=True)) as server:
        headers = PREFLIGHT | {"Access-Control-Request-Headers": wanted}
        before = await server.fetch("/graphql", method="OPTIONS", headers=headers)
        assert before.headers["Access-Control-Allow-Headers"] == "*"


@pytest.mark.parametrize("ui", [False, True])
@pytest.mark.parametrize(("origin", "allowed"), [
    (PAGE, True), ("HTTPS://APP.example", True), ("https://evil.example", False), ("null", False), (None, False),
])  # fmt: skip
async def test_origins_that_are_named_may_read_and_no_others(ui: bool, origin: str | None, allowed: bool) -> None:
    async with serving(WebConfig(ui=ui, origins=frozenset({PAGE}))) as server:
        headers = {} if origin is None else {"Origin": origin}
        before = await server.fetch("/graphql", method="OPTIONS", headers=PREFLIGHT | headers if origin else headers)
        answer = await server.fetch("/graphql?query={__typename}", headers=headers)
        for one in (before, answer):
            assert one.code in (200, 204)
            assert one.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
            assert "Origin" in one.headers["Vary"], "or a cache would hand one origin's answer to another"
        assert ("Access-Control-Allow-Methods" in before.headers) is allowed
        assert "Accept" in answer.headers["Vary"]


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
        assert json.loads(answer.body) == error_body("Internal error", "INTERNAL_SERVER_ERROR")


async def test_headers_that_are_too_long_are_answered_with_431() -> None:
    async with serving() as server:
        for path, headers in (
            ("/graphql", {"X": "a" * MAX_HEADER_BYTES}),
            (f"/graphql?query={'a' * MAX_HEADER_BYTES}", {}),
            ("/nothing", {f"X{number}": "a" * 100 for number in range(1000)}),
        ):
            answer = await server.fetch(path, headers=headers)
            assert answer.code == 431
            assert json.loads(answer.body) == error_body("Request Header Fields Too Large", "HEADERS_TOO_LARGE")
        fits = await server.fetch("/graphql?query={__typename}", headers={"X": "a" * (MAX_HEADER_BYTES - 1000)})
        assert fits.code == 200


HEAD = b"POST /graphql HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
MALFORMED = {
    "a null in the path": b"GET /gra\0phql HTTP/1.1\r\nHost: h\r\n\r\n",
    "no version": b"GET /graphql\r\n\r\n",
    "another version": b"GET /graphql HTTP/3.0\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /graphql?query={secret} HTTP/1.1\r\n\r\n",
    "a header that is none": b"GET /graphql?query={secret} HTTP/1.1\r\nHost: h\r\nsecret\r\n\r\n",
    "a chunk that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
    "a chunk that is longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nsecret\r\n0\r\n\r\n",
    "another transfer encoding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "two framings": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nsecret",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: 1e3\r\n\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_what_is_no_http_is_answered_with_400_and_nothing_else(what: str) -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        client.writer.write(MALFORMED[what])
        assert await client.eof() == b"HTTP/1.1 400 Bad Request\r\n\r\n"
        assert (await server.fetch("/ready")).code == 200


async def test_headers_without_end_are_cut_off() -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        client.writer.write(b"GET /graphql HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2_000_000)
        with contextlib.suppress(ConnectionError):
            assert await client.eof() == b""
        assert (await server.fetch("/ready")).code == 200


@pytest.mark.parametrize("keep", [False, True])
async def test_http_1_0_is_understood(keep: bool) -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        body = json.dumps({"query": QUERY}).encode()
        wish = b"Connection: keep-alive\r\n" if keep else b""
        head = b"POST /graphql HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
        for _ in range(1 + keep):
            client.writer.write(head % (len(body), wish) + body)
            answer = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(await client.reader.readexactly(len(json.dumps(ROWS, separators=(",", ":"))))) == ROWS
        if not keep:
            assert await client.eof() == b"", "the connection ends with the answer"
