"""Which address a request comes from where proxies stand before this service.

Anybody can send X-Forwarded-For. It is believed only as far as it was written by proxies that the configuration names:
the list is read from its end, where the nearest proxy wrote, for as long as the address that wrote is one of theirs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CLIENT_BITS = 64
"""Of an IPv6 address: whoever has one has the other 2**64 as well (RFC 6177)."""


def client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """The client's address: `peer`, or what trusted proxies say of it in the values of X-Forwarded-For."""
    address = _parse(peer)
    if address is None or not trusted:
        return peer
    written = [part.strip() for value in forwarded for part in value.split(",")]
    while written and any(address in network for network in trusted):
        before = _parse(written.pop())
        if before is None:
            break
        address = before
    return str(address)


def counted_as(address: str) -> str:
    """What of an address tells one client from another: of IPv6 the network of 64 bits."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> _CLIENT_BITS << _CLIENT_BITS, _CLIENT_BITS)))
    return address if parsed is None else str(parsed)


def _parse(text: str) -> Address | None:
    """An address, with or without brackets, a port or a zone; IPv4 within IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
