"""Cookies: kept as their attributes say, sent back, and to that endpoint alone; nothing of the adapter stays behind."""

from __future__ import annotations

import collections
import subprocess
import sys

import pytest
from tornado import httputil
from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPHeaders

from tests.support.receiver import Answer, Received, Receiver, certificates, receiving
from tests.triggers.test_client import client
from tycostream.triggers.session import LARGEST_COOKIE, MOST_COOKIES, EndpointSession


async def cookies_at(session: EndpointSession, receiver: Receiver, path: str, host: str = "127.0.0.1") -> str | None:
    """The Cookie header that a request to this path has."""
    await session.fetch(HTTPRequest(receiver.url(path, host), "POST", HTTPHeaders(), b""))
    return receiver.requests[-1].headers.get("Cookie")


def setting(*cookies: str):
    """Sets the cookies in the answer to a request for /set."""

    def script(request: Received) -> Answer:
        if request.uri.endswith("/set"):
            return Answer(204, tuple(("Set-Cookie", cookie) for cookie in cookies))
        return Answer()

    return script


@pytest.mark.parametrize(
    ("cookie", "sent"),
    [
        ("a=1", "a=1"),
        ("a=1; Path=/", "a=1"),
        ("a=1; Path=/in", "a=1"),
        ("a=1; Path=/elsewhere", None),
        ("a=1; Path=/; Secure", None),
        ("a=1; Path=/; HttpOnly; SameSite=Strict", "a=1"),
        ("a=1; Max-Age=60", "a=1"),
        ("a=1; Max-Age=0", None),
        ("a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT", "a=1"),
        ("a=1; Domain=127.0.0.1", "a=1"),
        ("a=1; Domain=example.com", None),
        ("a=1; Domain=.com", None),
        ("a=1; Port", "a=1"),
        ("a=1; Version=1", "a=1"),
        ('a="x y"', 'a="x y"'),
        ("", None),
        (f"a={'x' * LARGEST_COOKIE}", None),
    ],
)
async def test_a_cookie_is_sent_back_as_its_attributes_say(cookie: str, sent: str | None) -> None:
    async with receiving(setting(cookie)) as receiver:
        session = EndpointSession(client())
        assert await cookies_at(session, receiver, "/in/set") is None
        assert await cookies_at(session, receiver, "/in/hook") == sent


async def test_a_secure_cookie_is_sent_back_over_https() -> None:
    server, trusting = certificates("127.0.0.1")
    async with receiving(setting("a=1; Path=/; Secure"), tls=server) as receiver:
        session = EndpointSession(client(tls=trusting))
        await cookies_at(session, receiver, "/set")
        assert await cookies_at(session, receiver, "/hook") == "a=1"


async def test_cookies_are_replaced_and_deleted() -> None:
    answers = iter([("a=1", "b=2"), ("a=3",), ("b=; Max-Age=0",), ()])
    async with receiving(lambda _: Answer(200, tuple(("Set-Cookie", one) for one in next(answers)))) as receiver:
        session = EndpointSession(client())
        found = [await cookies_at(session, receiver, "/") for _ in range(4)]
        assert found == [None, "a=1; b=2", "a=3; b=2", "a=3"]


async def test_each_endpoint_has_its_own_cookies() -> None:
    async with receiving(setting("a=1; Path=/")) as one, receiving() as other:
        first, second = EndpointSession(client()), EndpointSession(client())
        await cookies_at(first, one, "/set")
        assert await cookies_at(first, one, "/hook") == "a=1"
        assert await cookies_at(second, other, "/hook") is None
        assert await cookies_at(second, one, "/hook") is None


async def test_a_cookie_belongs_to_the_host_that_set_it() -> None:
    async with receiving(setting("a=1; Path=/")) as receiver:
        session = EndpointSession(client())
        await cookies_at(session, receiver, "/set", "localhost")
        assert await cookies_at(session, receiver, "/hook", "127.0.0.1") is None
        assert await cookies_at(session, receiver, "/hook", "localhost") == "a=1"


async def test_no_more_cookies_are_kept_than_there_is_room_for() -> None:
    many = [f"c{number}=x" for number in range(MOST_COOKIES + 30)]
    async with receiving(setting(*many)) as receiver:
        session = EndpointSession(client())
        await cookies_at(session, receiver, "/set")
        kept = await cookies_at(session, receiver, "/hook")
        assert kept is not None
        assert sorted(kept.split("; ")) == sorted(many[30:])


async def test_a_closed_session_sends_nothing() -> None:
    session = EndpointSession(client())
    session.close()
    with pytest.raises(RuntimeError):
        await session.fetch(HTTPRequest("http://127.0.0.1:1/", "POST", body=b""))


def test_the_names_that_the_import_needs_are_gone_after_it() -> None:
    assert not hasattr(collections, "MutableMapping")
    assert not hasattr(httputil, "_normalized_headers")
    assert subprocess.run(
        [sys.executable, "-c", "import httpclient_session"], check=False, capture_output=True
    ).returncode


def test_the_import_raises_no_warning() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", "import tycostream.triggers.session"], check=True)
