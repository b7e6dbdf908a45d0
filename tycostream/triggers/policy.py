"""Which targets webhooks may call: judged when a URL is given, and again by address whenever one is about to be called.

In this order, the first that applies decides:

1. what WEBHOOK_DENY names, by network or by host name, is denied;
2. what WEBHOOK_ALLOW names is allowed;
3. with `*` in WEBHOOK_DENY everything else is denied, with `private` loopback and private networks are;
4. addresses that are never a receiver are denied: link-local ones, those where clouds keep their machines' credentials,
   unspecified, multicast, broadcast and reserved ones;
5. the rest is allowed, loopback and private networks included.

A denied IPv4 address is denied in every IPv6 form that leads to it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048

_SCHEMES = {"http": 80, "https": 443}
_NETLOC = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?))(?::(?P<port>[0-9]{1,5}))?"
)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# IANA's registries of special-purpose addresses, and the documents of the clouds
_NEVER = {
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "cloud metadata": _networks(
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure
    ),
    "unspecified": _networks("0.0.0.0/8", "::"),
    "multicast": _networks("224.0.0.0/4", "ff00::/8"),
    "broadcast or reserved": _networks("240.0.0.0/4"),
}
_PRIVATE = {
    "loopback": _networks("127.0.0.0/8", "::1"),
    "private": _networks(
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7", "fec0::/10"
    ),
}
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = IPv6Network("::/96")


class TargetError(ValueError):
    """A webhook may not be called; the text says what would be valid. It never holds more of the URL than its host."""


class TargetPolicy:
    """The rules of WEBHOOK_ALLOW and WEBHOOK_DENY on top of the defaults.

    Entries are networks, addresses, host names or `*.example.com` (names below it, not itself), in lower case; `deny`
    may hold the words `private` and `*`. Raises ValueError for a network that is none.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        denied = set(deny)
        self._everything = "*" in denied
        self._defaults = _NEVER | (_PRIVATE if "private" in denied else {})
        self._denied = _Rules(denied - {"*", "private"})
        self._allowed = _Rules(allow)

    def check_url(self, text: str) -> str:
        """The URL with scheme and host in lower case. Raises TargetError where it may not be called as it is written.

        User name and password are refused, since a URL is shown to whoever may see the trigger; so is a fragment,
        which is never sent.
        """
        scheme, netloc, rest = _split(text)
        host = _host_of(netloc)
        reason = self._name_refusal(host)
        address = _literal(host)
        if reason is None and address is not None:
            reason = self.refusal(host, address)
        if reason is not None:
            raise TargetError(f"the host {host} may not be called: {reason}")
        return f"{scheme}://{netloc.lower()}{rest}"

    def refusal(self, host: str, address: str) -> str | None:
        """Why this address of this host may not be called; None where it may."""
        if self._denied.names(host):
            return "WEBHOOK_DENY names it"
        forms = list(_forms(ip_address(address)))
        if any(self._denied.holds(form) for form in forms):
            return "WEBHOOK_DENY names its address"
        if self._allowed.names(host) or self._allowed.holds(forms[0]):
            return None
        if self._everything:
            return "WEBHOOK_ALLOW does not name it"
        for kind, networks in self._defaults.items():
            if any(form in network for form in forms for network in networks):
                return f"its address is {kind}; WEBHOOK_ALLOW can allow it"
        return None

    def _name_refusal(self, host: str) -> str | None:
        """What is known of a host before its name is resolved."""
        if self._denied.names(host):
            return "WEBHOOK_DENY names it"
        if self._everything and not self._allowed.networks and not self._allowed.names(host):
            return "WEBHOOK_ALLOW does not name it"
        return None


class _Rules:
    def __init__(self, entries: Iterable[str]) -> None:
        self.networks: list[Network] = []
        self._hosts: set[str] = set()
        self._domains: list[str] = []
        for entry in entries:
            if entry.startswith("*."):
                self._domains.append(entry[1:])
            elif ":" in entry or re.fullmatch(r"[0-9.]+(/.*)?", entry):
                self.networks.append(ip_network(entry))
            else:
                self._hosts.add(entry)

    def names(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return name in self._hosts or any(name.endswith(domain) for domain in self._domains)

    def holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


@lru_cache(maxsize=4096)
def endpoint_of(url: str) -> str:
    """Scheme, host and port of a URL that `check_url` returned: `https://example.com:443`."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _SCHEMES[parts.scheme]}"


def _split(text: str) -> tuple[str, str, str]:
    if len(text) > LONGEST_URL:
        raise TargetError(f"the URL has {len(text)} characters, expected at most {LONGEST_URL}")
    if not re.fullmatch(r"[!-~]*", text) or "\\" in text:
        raise TargetError(
            "the URL holds characters that a URL can't hold; spaces, backslashes and letters beyond ASCII are written"
            " as %XX, in a host name as xn--"
        )
    scheme, separator, after = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _SCHEMES:
        raise TargetError("expected a URL that begins with http:// or https://")
    match = re.match(r"[^/?#]*", after)
    netloc = match.group() if match else ""
    rest = after[len(netloc) :]
    if "@" in netloc:
        raise TargetError("expected a URL without user name and password")
    if "#" in rest:
        raise TargetError("expected a URL without a fragment (#...), which would never be sent")
    return scheme, netloc, rest


def _host_of(netloc: str) -> str:
    """The host, in lower case and without brackets."""
    match = _NETLOC.fullmatch(netloc)
    if match is None:
        raise TargetError(
            f"found {netloc[:80]!r}, expected a host and perhaps a port, such as hooks.example.com:8443 or [::1]:8080"
        )
    if match["port"] and not 1 <= int(match["port"]) <= 65535:
        raise TargetError(f"found the port {match['port']}, expected 1 to 65535")
    if match["v6"]:
        if _literal(match["v6"]) is None:
            raise TargetError(f"{match['v6'][:80]!r} is no IPv6 address")
        return match["v6"].lower()
    host = match["name"].lower()
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or any(len(label) > 63 for label in labels):
        raise TargetError("a part of the host name is longer than 63 characters, or all of it longer than 253")
    # Resolvers take 0x7f.1 and 2130706433 for addresses too; nobody means that
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]) and _literal(host) is None:
        raise TargetError(f"{host!r} is no host name, expected an IPv4 address as four numbers: 192.0.2.1")
    return host


def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _forms(address: Address) -> Iterator[Address]:
    """The address, an IPv4-mapped one as the IPv4 address it is; then the IPv4 addresses that it leads to: 6to4 (RFC
    3056), Teredo (RFC 4380), NAT64 (RFC 6052, 8215) and the IPv4-compatible form of RFC 4291."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    yield address
    number = int(address)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or address in _LOCAL_NAT64 or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:  # with a prefix of 48 bits the address goes around the bits 64 to 71
        yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
