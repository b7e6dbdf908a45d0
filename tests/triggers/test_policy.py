"""Which targets may be called: by URL, by address, with the rules of the configuration."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.triggers import TargetError, TargetPolicy
from tycostream.triggers.policy import endpoint_of
from tycostream.triggers.resolver import GuardedResolver


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTPS://Example.COM:8443/Path?Q=A", "https://example.com:8443/Path?Q=A"),
        ("http://127.0.0.1:3001/webhook", "http://127.0.0.1:3001/webhook"),
        ("http://localhost?x", "http://localhost?x"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://10.0.0.1/", "http://10.0.0.1/"),
        ("http://my_service.default.svc.cluster.local.:80/", "http://my_service.default.svc.cluster.local.:80/"),
        ("http://example.com/a:b@c", "http://example.com/a:b@c"),
        ("http://1.example/", "http://1.example/"),
        ("http://169.254.169.254.example/", "http://169.254.169.254.example/"),
    ],
)
def test_a_url_that_may_be_called(given: str, expected: str) -> None:
    assert TargetPolicy().check_url(given) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "expected a URL that begins with http:// or https://"),
        ("example.com/x", "expected a URL that begins with"),
        ("ftp://example.com", "expected a URL that begins with"),
        ("file:///etc/passwd", "expected a URL that begins with"),
        ("//example.com", "expected a URL that begins with"),
        ("http:/example.com", "expected a URL that begins with"),
        ("http://", "expected a host and perhaps a port"),
        ("http:///path", "expected a host and perhaps a port"),
        ("http://?x", "expected a host and perhaps a port"),
        ("http://:80/", "expected a host and perhaps a port"),
        ("http://a..b/", "expected a host and perhaps a port"),
        ("http://example.com:/", "expected a host and perhaps a port"),
        ("http://example.com:80:80/", "expected a host and perhaps a port"),
        ("http://[::1/", "expected a host and perhaps a port"),
        ("http://[fe80::1%25eth0]/", "expected a host and perhaps a port"),
        ("http://[:::]/", "is no IPv6 address"),
        ("http://example.com:0/", "expected 1 to 65535"),
        ("http://example.com:65536/", "expected 1 to 65535"),
        ("http://user:sesame@example.com/", "without user name and password"),
        ("http://@example.com/", "without user name and password"),
        ("http://example.com/#top", "without a fragment"),
        ("http://example.com/a b", "characters that a URL can't hold"),
        ("http://example.com\\@evil.example/", "characters that a URL can't hold"),
        ("http://example.com/\r\nX: y", "characters that a URL can't hold"),
        (" http://example.com/", "characters that a URL can't hold"),
        ("http://example.com/ü", "characters that a URL can't hold"),
        ("http://１２７.0.0.1/", "characters that a URL can't hold"),
        ("http://example.com/" + "x" * 2048, "expected at most 2048"),
        ("http://" + "x" * 64 + ".com/", "longer than 63"),
        ("http://2852039166/", "no host name, expected an IPv4 address"),
        ("http://0xa9fea9fe/", "no host name, expected an IPv4 address"),
        ("http://169.254.43518/", "no host name, expected an IPv4 address"),
        ("http://0251.0376.0251.0376/", "no host name, expected an IPv4 address"),
        ("http://169.254.169.254/latest/meta-data", "link-local; WEBHOOK_ALLOW can allow it"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
        ("http://[fd00:ec2::254]/", "cloud metadata"),
        ("http://0.0.0.0:4000/", "unspecified"),
        ("http://[::]/", "unspecified"),
    ],
)
def test_a_url_that_may_not_be_called(url: str, message: str) -> None:
    with pytest.raises(TargetError) as raised:
        TargetPolicy().check_url(url)
    assert message in str(raised.value)
    assert "sesame" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
        "168.63.129.16", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1",
        "::ffff:169.254.169.254", "::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:00a9:fe00::", "2001:0:4136:e378:8000:63bf:5601:5601", "::ffff:0.0.0.0",
    ],
)  # fmt: skip
def test_addresses_that_are_denied_by_default(address: str) -> None:
    assert TargetPolicy().refusal("example.com", address) is not None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "100.64.0.1", "8.8.8.8", "2001:4860::8",
     "::ffff:10.0.0.1", "64:ff9b::808:808", "2002:808:808::1"],
)  # fmt: skip
def test_addresses_that_are_allowed_by_default(address: str) -> None:
    assert TargetPolicy().refusal("example.com", address) is None


@pytest.mark.parametrize(
    ("allow", "deny", "host", "address", "allowed"),
    [
        # deny goes before allow
        ("10.0.0.0/8", "10.1.0.0/16", "a.b", "10.1.0.1", False),
        ("10.1.0.1", "10.0.0.0/8", "a.b", "10.1.0.1", False),
        ("a.b", "10.0.0.0/8", "a.b", "10.1.0.1", False),
        ("8.8.8.8", "a.b", "a.b", "8.8.8.8", False),
        ("", "10.0.0.0/8", "a.b", "::ffff:10.0.0.1", False),
        ("", "10.0.0.0/8", "a.b", "64:ff9b::a00:1", False),
        ("", "10.0.0.0/8", "a.b", "11.0.0.1", True),
        # allow goes before the defaults
        ("169.254.1.0/24", "", "a.b", "169.254.1.9", True),
        ("169.254.1.0/24", "", "a.b", "::ffff:169.254.1.9", True),
        ("169.254.1.0/24", "", "a.b", "169.254.2.9", False),
        ("a.b", "", "a.b", "169.254.1.9", True),
        ("a.b", "", "c.b", "169.254.1.9", False),
        # names
        ("", "a.b", "A.B.", "8.8.8.8", False),
        ("", "*.a.b", "x.a.b", "8.8.8.8", False),
        ("", "*.a.b", "y.x.a.b", "8.8.8.8", False),
        ("", "*.a.b", "a.b", "8.8.8.8", True),
        ("", "*.a.b", "xa.b", "8.8.8.8", True),
        # private and *
        ("", "private", "a.b", "127.0.0.1", False),
        ("", "private", "a.b", "::1", False),
        ("", "private", "a.b", "::ffff:192.168.0.1", False),
        ("", "private", "a.b", "8.8.8.8", True),
        ("10.1.0.0/16", "private", "a.b", "10.1.0.1", True),
        ("10.1.0.0/16", "private", "a.b", "10.2.0.1", False),
        ("", "*", "a.b", "8.8.8.8", False),
        ("a.b", "*", "a.b", "8.8.8.8", True),
        ("*.b", "*", "a.b", "8.8.8.8", True),
        ("8.8.0.0/16", "*", "a.b", "8.8.8.8", True),
        ("8.8.0.0/16", "*", "a.b", "9.9.9.9", False),
    ],
)
def test_the_rules_of_the_configuration(allow: str, deny: str, host: str, address: str, allowed: bool) -> None:
    policy = TargetPolicy(allow.split(",") if allow else (), deny.split(",") if deny else ())
    assert (policy.refusal(host, address) is None) is allowed


@pytest.mark.parametrize(
    ("allow", "deny", "url", "allowed"),
    [
        ((), ("a.b",), "http://a.b/", False),
        ((), ("a.b",), "http://A.B:81/", False),
        ((), ("*",), "http://a.b/", False),
        (("a.b",), ("*",), "http://a.b/", True),
        (("8.8.8.8/32",), ("*",), "http://a.b/", True),  # its address is judged once it is known
        (("8.8.8.8/32",), ("*",), "http://9.9.9.9/", False),
        ((), ("private",), "http://127.0.0.1/", False),
        ((), ("127.0.0.0/8",), "http://127.0.0.1/", False),
        ((), ("::1",), "http://[0::1]/", False),
        (("169.254.169.254",), (), "http://169.254.169.254/", True),
    ],
)
def test_urls_are_judged_by_the_rules_too(allow: Any, deny: Any, url: str, allowed: bool) -> None:
    policy = TargetPolicy(allow, deny)
    if allowed:
        assert policy.check_url(url) == url
    else:
        with pytest.raises(TargetError, match="may not be called"):
            policy.check_url(url)


@given(
    st.text(alphabet=st.sampled_from("htps:/[]@.#?%\\0129af:xe \x00é-_"), max_size=30).map("http://".__add__)
    | st.text()
)
def test_any_text_is_a_url_or_refused_and_a_url_is_read_as_it_was_judged(text: str) -> None:
    try:
        checked = TargetPolicy().check_url(text)
    except TargetError:
        return
    assert TargetPolicy().check_url(checked) == checked
    name = endpoint_of(checked)
    assert name.startswith(("http://", "https://"))
    assert 1 <= int(name.rpartition(":")[2]) <= 65535
    assert checked.split("/")[2].partition("?")[0].startswith(name.split("/")[2].rpartition(":")[0])


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://a.b", "http://a.b:80"),
        ("https://a.b/x?y=:9", "https://a.b:443"),
        ("https://a.b:8443/", "https://a.b:8443"),
        ("http://[::1]/", "http://[::1]:80"),
    ],
)
def test_the_endpoint_of_a_url(url: str, endpoint: str) -> None:
    assert endpoint_of(url) == endpoint


V4 = socket.AF_INET


def resolver(found: list[str], policy: TargetPolicy | None = None) -> GuardedResolver:
    async def look_up(_host: str, port: int, _family: int) -> list[tuple[int, Any]]:
        return [(V4, (address, port)) for address in found]

    return GuardedResolver(policy=policy or TargetPolicy(), look_up=look_up)


async def test_only_allowed_addresses_come_out_of_the_resolver() -> None:
    found = await resolver(["169.254.169.254", "127.0.0.1", "0.0.0.0", "8.8.8.8"]).resolve("a.b", 80)
    assert found == [(V4, ("127.0.0.1", 80)), (V4, ("8.8.8.8", 80))]


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["169.254.0.1", "0.0.0.0"]])
async def test_a_host_without_an_allowed_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(TargetError, match=r"the host a\.b may not be called: its address is link-local"):
        await resolver(addresses).resolve("a.b", 80)


async def test_a_host_without_any_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolver([]).resolve("a.b", 80)


async def test_literal_addresses_are_judged_without_a_lookup() -> None:
    guarded = resolver(["8.8.8.8"])
    assert await guarded.resolve("127.0.0.1", 80) == [(V4, ("127.0.0.1", 80))]
    assert await guarded.resolve("::1", 80) == [(socket.AF_INET6, ("::1", 80, 0, 0))]
    with pytest.raises(TargetError):
        await guarded.resolve("fe80::1", 80)


async def test_the_systems_resolver_is_asked() -> None:
    found = await GuardedResolver(policy=TargetPolicy()).resolve("localhost", 80)
    assert ("127.0.0.1", 80) in [address[:2] for _, address in found]


async def test_one_lookup_answers_all_who_ask_at_the_same_time_and_silent_ones_leave_room() -> None:
    asked: list[str] = []
    gate = asyncio.Event()

    async def look_up(host: str, port: int, _family: int) -> list[tuple[int, Any]]:
        asked.append(host)
        if host == "silent":
            await gate.wait()
        return [(V4, ("127.0.0.1", port))]

    guarded = GuardedResolver(policy=TargetPolicy(), look_up=look_up)
    silent = [asyncio.create_task(guarded.resolve("silent", 80)) for _ in range(20)]
    assert await asyncio.wait_for(guarded.resolve("a.b", 80), 10)
    silent[0].cancel()
    gate.set()
    results = await asyncio.gather(*silent, return_exceptions=True)
    assert asked == ["silent", "a.b"]
    assert [type(result) for result in results] == [asyncio.CancelledError] + [list] * 19


async def test_closing_gives_up_what_is_being_looked_up() -> None:
    async def look_up(_host: str, _port: int, _family: int) -> list[tuple[int, Any]]:
        await asyncio.Event().wait()
        return []

    guarded = GuardedResolver(policy=TargetPolicy(), look_up=look_up)
    task = asyncio.create_task(guarded.resolve("a.b", 80))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    guarded.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
