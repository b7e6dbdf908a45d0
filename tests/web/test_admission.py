"""Who may open one more WebSocket, and where a client is behind proxies."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from tests.web.support import raw, serving
from tycostream.web.application import WebConfig
from tycostream.web.client_address import client_address, counted_as

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(("peer", "forwarded", "address"), [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # anybody can send it
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # what stands before was written by the client
    ("10.0.0.1", ["198.51.100.1", "203.0.113.9, 10.2.3.4"], "203.0.113.9"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("::ffff:10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
    ("::1", ["[2001:db8::5]:80"], "2001:db8::5"),
    ("::1%lo", ["2001:db8::5"], "2001:db8::5"),
    ("", ["203.0.113.9"], ""),
])  # fmt: skip
def test_only_what_trusted_proxies_wrote_is_believed(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address("10.0.0.1", ["203.0.113.9"], ()) == "10.0.0.1"


def test_a_network_of_ipv6_counts_as_one_client() -> None:
    assert counted_as("2001:db8::5") == counted_as("2001:db8::ffff:1") == "2001:db8::/64"
    assert counted_as("2001:db8:0:1::5") == "2001:db8:0:1::/64"
    assert counted_as("::ffff:192.0.2.1") == counted_as("192.0.2.1") == "192.0.2.1"
    assert counted_as("") == ""


async def test_more_connections_from_an_address_than_allowed_are_refused_and_others_are_not() -> None:
    config = WebConfig(max_per_address=2, proxies=(ip_network("127.0.0.0/8"),))
    async with serving(config) as server:
        async with raw(server.port, upgraded=False) as one, raw(server.port, upgraded=False) as two:
            assert (await one.handshake(X_Forwarded_For="203.0.113.9"))[0] == 101
            assert (await two.handshake(X_Forwarded_For="203.0.113.9"))[0] == 101
            first, second = await server.inbox(), await server.inbox()
            assert first.info.remote_address == "203.0.113.9"
            async with raw(server.port, upgraded=False) as third:
                status, head = await third.handshake(X_Forwarded_For="203.0.113.9")
                assert status == 429
                assert "\r\nRetry-After: 5\r\n" in head
                assert json.loads(head.split("\r\n\r\n")[1]) == {
                    "errors": [
                        {
                            "message": "there are 2 connections from your address already",
                            "extensions": {"code": "TOO_MANY_CONNECTIONS"},
                        }
                    ]
                }
            async with raw(server.port, upgraded=False) as other:
                assert (await other.handshake(X_Forwarded_For="203.0.113.8"))[0] == 101
                await server.inbox()
        await first.ended()
        await second.ended()
        async with raw(server.port, upgraded=False) as again:
            assert (await again.handshake(X_Forwarded_For="203.0.113.9"))[0] == 101
            await server.inbox()


async def test_a_header_that_nobody_vouches_for_changes_nothing() -> None:
    async with serving(WebConfig(max_per_address=1)) as server, raw(server.port, upgraded=False) as one:
        assert (await one.handshake(X_Forwarded_For="203.0.113.1"))[0] == 101
        assert (await server.inbox()).info.remote_address == "127.0.0.1"
        async with raw(server.port, upgraded=False) as two:
            assert (await two.handshake(X_Forwarded_For="203.0.113.2"))[0] == 429
