"""Health, debug pages and the console, and what is answered elsewhere."""

from __future__ import annotations

import json
import posixpath
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.web.support import serving
from tycostream.web.application import WebConfig
from tycostream.web.debug import PAGE_ACTORS, is_loopback, page
from tycostream.web.health import ServiceStatus, SourceStatus
from tycostream.web.static_files import read_static

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def status(*states: str, ready: bool = True, reason: str | None = None) -> ServiceStatus:
    sources = [SourceStatus(f"s{index}", state, reason, 5.0) for index, state in enumerate(states)]
    return ServiceStatus(ready, tuple(sources))


@pytest.mark.parametrize(("told", "code", "word"), [
    (status("LIVE", "IDLE", "CONNECTING"), 200, "ok"),
    (status(), 200, "ok"),
    (status("LIVE", "CONNECTING", reason="nobody answers"), 200, "degraded"),
    (status("LIVE", "STALE"), 200, "degraded"),
    (status("STALE"), 200, "degraded"),
    (status("LIVE", "FAILED"), 200, "degraded"),
    (status("FAILED", "FAILED"), 503, "failed"),
    (status("FAILED", "IDLE"), 200, "degraded"),
])  # fmt: skip
async def test_health_names_every_source(told: ServiceStatus, code: int, word: str) -> None:
    async with serving() as server:
        server.status = told
        answer = await server.fetch("/health")
        body = json.loads(answer.body)
        assert (answer.code, body["status"]) == (code, word)
        assert {name: one["state"] for name, one in body["sources"].items()} == {s.name: s.state for s in told.sources}
        head = await server.fetch("/health", method="HEAD")
        assert (head.code, head.body) == (code, b"")


@pytest.mark.parametrize(("ready", "code"), [(True, 200), (False, 503)])
async def test_ready(ready: bool, code: int) -> None:
    async with serving() as server:
        server.status = status("LIVE", ready=ready)
        answer = await server.fetch("/ready")
        assert (answer.code, json.loads(answer.body)) == (code, {"ready": ready})


@pytest.mark.parametrize("path", ["/nothing", "/graphql/", "/../etc/passwd", "/static/console/main.js", "/%ff", "/"])
async def test_every_other_path_is_404(path: str) -> None:
    async with serving() as server:
        for method, body in (("GET", None), ("POST", "x"), ("HEAD", None)):
            answer = await server.fetch(path, method=method, body=body)
            assert answer.code == 404
            assert answer.headers["Server"] == "tycostream"
            if method != "HEAD":
                assert json.loads(answer.body)["errors"]


async def test_the_console_is_for_browsers() -> None:
    async with serving(WebConfig(ui=True)) as server:
        for path in ("/", "/graphql"):
            answer = await server.fetch(path, headers=BROWSER)
            assert answer.code == 200
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["require-trusted-types-for"] == "'script'"
            assert "unsafe" not in str(policy)
        assert (await server.fetch("/graphql", headers={"Accept": "application/json"})).code == 400
        assert json.loads((await server.fetch("/graphql?query={__typename}", headers=BROWSER)).body)["data"]


async def test_everything_that_the_console_loads_is_served() -> None:
    async with serving(WebConfig(ui=True)) as server:
        page = (await server.fetch("/", headers=BROWSER)).body.decode()
        wanted = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
        seen: set[str] = set()
        while wanted:
            path = wanted.pop()
            if path in seen:
                continue
            seen.add(path)
            answer = await server.fetch(f"/{path}")
            assert answer.code == 200, path
            kind = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
            assert answer.headers["Content-Type"] == kind[path.rpartition(".")[2]]
            imports = re.findall(r'^import .*?"(\.[^"]+)";$', answer.body.decode(), re.MULTILINE)
            wanted += [posixpath.normpath(posixpath.join(posixpath.dirname(path), one)) for one in imports]
        served = {f"static/{path}" for path in read_static()}
        assert seen <= served
        assert {path for path in served if path.startswith("static/console/")} <= seen, "nothing is there for nothing"


async def test_browsers_keep_scripts_and_ask_whether_they_are_the_same() -> None:
    async with serving(WebConfig(ui=True)) as server:
        answer = await server.fetch("/static/lib/client.js")
        assert answer.headers["Cache-Control"] == "no-cache"
        again = await server.fetch("/static/lib/client.js", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.code, again.body) == (304, b"")
        head = await server.fetch("/static/lib/client.js", method="HEAD")
        assert (head.code, head.headers["ETag"]) == (200, answer.headers["ETag"])


@pytest.mark.parametrize(
    "path", ["package.json", "console/index.html", "console/", "../page.py", "..%2fpage.py", "console/../lib/no.js"]
)
async def test_nothing_else_is_served(path: str) -> None:
    async with serving(WebConfig(ui=True)) as server:
        answer = await server.fetch(f"/static/{path}")
        assert answer.code == 404
        assert json.loads(answer.body)["errors"]


async def test_without_the_ui_there_is_no_page() -> None:
    async with serving() as server:
        answer = await server.fetch("/graphql", headers=BROWSER)
        assert answer.code == 400
        assert json.loads(answer.body)["errors"]


def actor(kind: str, urn: str | None, parent: str | None = "urn:0", **rest: Any) -> dict[str, Any]:
    return {
        "kind": kind, "name": "n", "urn": urn, "state": "running", "parent": parent, "uptime_seconds": 1.5,
        "restarts": 0, "inbox_depth": 0, "messages_handled": 7, "last_error": None, "details": {}, **rest,
    }  # fmt: skip


ACTORS = [actor("supervisor", "urn:0", None), actor("source", "urn:1"), actor("connection", "urn:2")]


async def test_actors_as_json() -> None:
    async with serving() as server:
        server.actors = ACTORS
        answer = await server.fetch("/debug/actors")
        assert answer.headers["Content-Type"].startswith("application/json")
        assert json.loads(answer.body) == {"actors": ACTORS}
        assert json.loads((await server.fetch("/debug/actors?kind=source")).body) == {"actors": [ACTORS[1]]}
        assert json.loads((await server.fetch("/debug/actors/urn:2")).body) == ACTORS[2]
        assert json.loads((await server.fetch("/debug/actors?format=json", headers=BROWSER)).body) == {"actors": ACTORS}
        missing = await server.fetch("/debug/actors/urn:9", headers=BROWSER)
        assert (missing.code, json.loads(missing.body)["errors"][0]["message"]) == (404, "there is no such actor")


async def test_actors_as_a_page() -> None:
    async with serving() as server:
        server.actors = ACTORS
        answer = await server.fetch("/debug/actors", headers=BROWSER)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert b'refresh" content' not in answer.body
        refreshed = await server.fetch("/debug/actors?refresh=2", headers=BROWSER)
        assert b'<meta http-equiv="refresh" content="2">' in refreshed.body
        hostile = await server.fetch("/debug/actors?refresh=0;url=//evil", headers=BROWSER)
        assert b"evil" not in hostile.body


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
@pytest.mark.parametrize(
    "path",
    [
        "/debug/actors",
        "/debug/actors/urn:1",
        "/debug/views",
        "/debug/explain?query=subscription{trades{operation}}",
    ],
)
async def test_debug_pages_refuse_what_a_proxy_passes_on(header: str, path: str) -> None:
    async with serving() as server:
        server.actors = ACTORS
        answer = await server.fetch(path, headers={header: "127.0.0.1"})
        assert answer.code == 403
        assert "DEBUG_ACCESS=any" in json.loads(answer.body)["errors"][0]["message"]
        assert list(json.loads(answer.body)) == ["errors"]
    async with serving(WebConfig(debug_open=True)) as server:
        server.actors = ACTORS
        assert (await server.fetch(path, headers={header: "10.0.0.1"})).code == 200


EVIL = "</pre></style><script>x</script><b>'\""

VIEW = {
    "rules": None, "filter": EVIL, "index": EVIL, "subscriptions": 1000, "selections": 2, "evaluated": 3, "matched": 4
}  # fmt: skip
VIEWS = {
    "trades": {"views": [VIEW, VIEW | {"rules": {"risk": [{"state": EVIL}]}}], "more": 7000},
    "other": {"error": EVIL},
}


async def test_views_as_json_and_as_a_page() -> None:
    async with serving() as server:
        server.views = VIEWS
        assert json.loads((await server.fetch("/debug/views")).body) == {"sources": VIEWS}
        one = await server.fetch("/debug/views?source=other&format=json", headers=BROWSER)
        assert json.loads(one.body) == {"sources": {"other": VIEWS["other"]}}
        assert (await server.fetch("/debug/views?source=nothing")).code == 404
        page = await server.fetch("/debug/views", headers=BROWSER)
        assert page.headers["Content-Type"].startswith("text/html")
        assert page.headers["Cache-Control"] == "no-store"
        tags = read(page.body.decode())
        assert not {"script", "b"} & set(tags.tags)
        assert tags.text.count("<script>x</script>") == 6  # filter and index twice, rules, error
        for shown in ("1,000", "7,000 more", "matched"):
            assert shown in tags.text


SUBSCRIPTION = "subscription S($price: Float) { trades(where: {price: {_gt: $price}}) { operation } }"


async def test_a_subscription_is_explained_as_it_is_given_to_graphql() -> None:
    async with serving() as server:
        told = {"source": "trades", "filter": '{"price": {"_gt": 5.5}}'}
        wanted = {"query": SUBSCRIPTION, "variables": json.dumps({"price": 5.5}), "operationName": "S"}
        answer = await server.fetch("/debug/explain?" + urlencode(wanted))
        assert (answer.code, json.loads(answer.body)) == (200, told)
        body = json.dumps({"query": SUBSCRIPTION, "variables": {"price": 5.5}})
        options = {"method": "POST", "headers": {"Content-Type": "application/json"}}
        answer = await server.fetch("/debug/explain", body=body, **options)
        assert (answer.code, json.loads(answer.body)) == (200, told)


@pytest.mark.parametrize(("query", "words"), [
    ("{ trades { id } }", "only subscriptions are explained"),
    ("subscription { nothing { id } }", "Cannot query field"),
    ("subscription { trades(where: {price: {_gt: null}}) { operation } }", "null is no operand"),
    ("subscription {", "Syntax Error"),
])  # fmt: skip
async def test_what_is_no_subscription_is_not_explained(query: str, words: str) -> None:
    async with serving() as server:
        answer = await server.fetch("/debug/explain?" + urlencode({"query": query}))
        assert answer.code == 400
        (error,) = json.loads(answer.body)["errors"]
        assert words in error["message"]
        assert error["extensions"]["code"]
        assert (await server.fetch("/debug/explain")).code == 400
        assert (await server.fetch("/debug/explain", method="POST", body="{")).code == 415


@pytest.mark.parametrize(("address", "local"), [
    ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::1%lo", True),
    ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False), ("", False), (None, False), ("x", False),
])  # fmt: skip
def test_loopback_addresses(address: str | None, local: bool) -> None:
    assert is_loopback(address) is local


class Tags(HTMLParser):
    """What is in a page: tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_whatever_an_actor_says_is_text() -> None:
    evil = "</pre></style><script>x</script><b>'\""
    one = actor(evil, f"urn:{evil}", name=evil, state=evil, last_error=evil, details={"user_agent": evil})
    tags = read(page([one]).html)
    assert "script" not in tags.tags
    assert "b" not in tags.tags
    assert tags.text.count("<script>x</script>") == 5  # kind, name, state, error, details
    assert page([one]).policy.count("sha256") == 1


def test_children_stand_below_their_parent_and_orphans_at_the_top() -> None:
    actors = [
        actor("child", "urn:2", "urn:1", name="c"), actor("orphan", "urn:3", "urn:9", name="o"),
        actor("waiting", None, "urn:1", name="w"), actor("parent", "urn:1", None, name="p"),
    ]  # fmt: skip
    text = read(page(actors).html).text
    places = [text.index(name) for name in ("orphan o", "parent p", "child c", "waiting w")]
    assert places == sorted(places)
    assert page(actors).html.count("class=child") == 2


def test_a_page_of_many_says_that_there_are_more() -> None:
    actors = [actor("connection", f"urn:{number}", None) for number in range(PAGE_ACTORS + 3)]
    text = read(page(actors).html).text
    assert "3 more are in the JSON" in text
    assert text.count("connection n") == PAGE_ACTORS
