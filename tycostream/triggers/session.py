"""The adapter for tornado-httpclient-session 0.2.5: one endpoint's client, which keeps the endpoint's cookies.

Sticky load balancers and receivers with a login need them. The library was written for Python 2 and Tornado 4; what it
lacks is supplied here:

- while it is imported it needs `collections.MutableMapping` and `tornado.httputil._normalized_headers`. The second is
  of use on Python 2 alone;
- its `Session.fetch` passes a `callback` to the client, which Tornado 6 refuses;
- its request lacks `type` and `host`, which `http.cookiejar` asks for as soon as a cookie is Secure or has a Port.
"""

from __future__ import annotations

import collections
import collections.abc
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any

from tornado import httputil
from tornado.httpclient import HTTPRequest, HTTPResponse

from tycostream.triggers.client import Client

MOST_COOKIES = 50
LARGEST_COOKIE = 4096
"""What RFC 6265 (section 6.1) asks of a client: that many cookies, of that many bytes each. More are not kept."""


@contextmanager
def _names_of_old() -> Iterator[None]:
    supplied: list[tuple[Any, str, object]] = [
        (collections, "MutableMapping", collections.abc.MutableMapping),
        (httputil, "_normalized_headers", {}),
    ]
    supplied = [(module, name, value) for module, name, value in supplied if not hasattr(module, name)]
    for module, name, value in supplied:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, _value in supplied:
            delattr(module, name)


with _names_of_old():
    from httpclient_session import Session
    from httpclient_session.mocks import MockRequest, MockResponse


class _CookieRequest(MockRequest):  # type: ignore[misc]
    """A request as `http.cookiejar` wants to see it."""

    @property
    def type(self) -> str:
        return str(self.get_type())

    @property
    def host(self) -> str:
        return str(self.get_host())


class _CookiePolicy(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        size = len(cookie.name) + len(cookie.value or "")
        return size <= LARGEST_COOKIE and super().set_ok(cookie, request)


class EndpointSession(Session):  # type: ignore[misc]
    """A client of its own for one endpoint, and the cookies which that endpoint has set."""

    def __init__(self, client: Client) -> None:
        super().__init__(lambda: client)
        self._client = client
        self.cookies.set_policy(_CookiePolicy())

    async def fetch(self, request: HTTPRequest) -> HTTPResponse:
        """As `Client.fetch`, with the cookies that belong to the request's URL; those of the answer are kept."""
        if self._closed:
            raise RuntimeError("fetch() called on closed session")
        response = await self._client.fetch(self.prepare_request(request))
        self.cookies.extract_cookies(MockResponse(response), _CookieRequest(request))
        self._forget_surplus()
        return response

    def prepare_request(self, request: HTTPRequest) -> HTTPRequest:
        """The request, with the cookies that belong to its URL added to its headers."""
        self.cookies.add_cookie_header(_CookieRequest(request))
        return request

    def _forget_surplus(self) -> None:
        surplus = list(self.cookies)[:-MOST_COOKIES]
        for cookie in surplus:
            self.cookies.clear(cookie.domain, cookie.path, cookie.name)
