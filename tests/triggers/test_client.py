"""One request: what counts as an answer, and what is done with those who answer badly."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

import pytest
from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.tcpclient import TCPClient

from tests.support.receiver import Answer, Received, Wire, breaking, certificates, receiving, refusing
from tycostream.triggers.client import Client, Patience

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Mark: 1\r\n\r\n"


def client(connect: float = 5.0, request: float = 5.0, tls: ssl.SSLContext | None = None) -> Client:
    return Client(TCPClient(), Patience(connect, request), tls or ssl.create_default_context())


def post(url: str, body: bytes = b"{}") -> HTTPRequest:
    return HTTPRequest(url, "POST", HTTPHeaders({"Content-Type": "application/json"}), body)


async def test_a_request_is_sent_as_it_is_and_redirects_are_not_followed() -> None:
    async with receiving(lambda _: Answer(302, (("Location", "/elsewhere"),), b"gone there")) as receiver:
        response = await client().fetch(post(receiver.url("/a%20b?x=1"), b'{"a":1}'))
        (received,) = receiver.requests
        assert (response.code, response.headers["Location"], response.body) == (302, "/elsewhere", b"")
        assert (received.method, received.uri, received.body) == ("POST", "/a%20b?x=1", b'{"a":1}')
        assert received.headers["Host"] == f"127.0.0.1:{receiver.port}"
        assert received.headers["Connection"] == "close"


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
async def test_every_status_is_an_answer(status: int) -> None:
    async with receiving(lambda _: Answer(status)) as receiver:
        assert (await client().fetch(post(receiver.url()))).code == status


async def reset_after_the_head(wire: Wire, _: Received) -> None:
    await wire.send(HEAD + b"half")
    wire.reset()


async def close_after_the_head(wire: Wire, _: Received) -> None:
    await wire.send(HEAD + b"half")


async def silence_after_the_head(wire: Wire, _: Received) -> None:
    await wire.send(HEAD)
    await wire.closed()


async def body_without_end(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await wire.send(b"x" * 65536)


async def larger_body_than_is_read(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
    await wire.closed()


async def early_hints(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def bomb(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")


@pytest.mark.parametrize(
    "fault",
    [
        reset_after_the_head,
        close_after_the_head,
        silence_after_the_head,
        body_without_end,
        larger_body_than_is_read,
        early_hints,
        bomb,
    ],
)
async def test_an_answer_counts_once_its_head_is_there(fault, caplog) -> None:
    caplog.set_level(logging.WARNING)
    async with breaking(fault) as breaker:
        began = time.monotonic()
        assert (await client(request=60).fetch(post(breaker.url()))).code == 200
        assert time.monotonic() - began < 5
    assert not caplog.records


async def reset_at_once(wire: Wire, _: Received) -> None:
    wire.reset()


async def close_at_once(wire: Wire, _: Received) -> None:
    pass


async def reset_within_the_head(wire: Wire, _: Received) -> None:
    await wire.send(HEAD[:20])
    wire.reset()


async def only_early_hints(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def no_http(wire: Wire, _: Received) -> None:
    await wire.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def head_without_end(wire: Wire, _: Received) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await wire.send(b"X-More: " + b"x" * 1000 + b"\r\n")


@pytest.mark.parametrize("reads_body", [True, False])
@pytest.mark.parametrize(
    "fault", [reset_at_once, close_at_once, reset_within_the_head, only_early_hints, no_http, head_without_end]
)
async def test_without_a_complete_head_there_is_no_answer(fault, reads_body, caplog) -> None:
    caplog.set_level(logging.WARNING)
    async with breaking(fault, reads_body=reads_body) as breaker:
        with pytest.raises(OSError, match=r"\w"):
            await client().fetch(post(breaker.url(), b"x" * 5_000_000))
    assert not caplog.records


async def test_nobody_listening_is_an_error() -> None:
    async with refusing() as port:
        with pytest.raises(OSError, match=r"\w"):
            await client().fetch(post(f"http://127.0.0.1:{port}/"))


async def test_a_late_answer_is_an_error_and_the_connection_is_closed() -> None:
    gone = asyncio.Event()

    async def silence(wire: Wire, _: Received) -> None:
        await wire.closed()
        gone.set()

    async with breaking(silence) as breaker:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
            await client(request=0.2).fetch(post(breaker.url()))
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_handshake_that_does_not_come_is_no_connection() -> None:
    async with breaking(silence_after_the_head) as breaker:
        with pytest.raises(TimeoutError, match=r"no connection within 0\.2 s"):
            await client(connect=0.2).fetch(post(f"https://127.0.0.1:{breaker.port}/"))


async def test_cancelling_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def silence(wire: Wire, _: Received) -> None:
        await wire.closed()
        gone.set()

    async with breaking(silence) as breaker:
        task = asyncio.create_task(client().fetch(post(breaker.url())))
        await breaker.until(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 10)


async def test_certificates_are_verified() -> None:
    server, trusting = certificates("127.0.0.1", "localhost")
    async with receiving(tls=server) as receiver:
        with pytest.raises(ssl.SSLCertVerificationError):
            await client().fetch(post(receiver.url()))
        assert (await client(tls=trusting).fetch(post(receiver.url()))).code == 200
        assert (await client(tls=trusting).fetch(post(receiver.url(host="localhost")))).code == 200
    server, trusting = certificates("elsewhere.example")
    async with receiving(tls=server) as receiver:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await client(tls=trusting).fetch(post(receiver.url()))
        assert not receiver.requests
