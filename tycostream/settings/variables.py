"""One environment variable: how its text becomes a value, and what documentation says of it."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from tycostream.settings.problems import did_you_mean, quoted

T = TypeVar("T")

DatabaseType = Literal["materialize", "postgres", "risingwave", "embedded"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's name, default (as text; "" is none), parser and explanation.

    `defaults` holds the defaults that differ by DATABASE_TYPE. `parse` takes text that is not empty and raises
    ValueError, whose text says what was found and what would be valid.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    defaults: Mapping[DatabaseType, str]
    secret: bool
    group: str = ""
    field: str = ""


def variable(
    name: str,
    default: str,
    parse: Callable[[str], T],
    help: str,  # noqa: A002
    *,
    defaults: Mapping[DatabaseType, str] | None = None,
    secret: bool = False,
) -> T:
    """A dataclass field that the variable sets, with the variable's default. A secret is not shown by repr."""
    described = Variable(name, default, parse, help, defaults or {}, secret)
    made: T = dataclasses.field(default=parse(default), repr=not secret, metadata={"variable": described})
    return made


def variables_of(group: str, settings: type) -> tuple[Variable, ...]:
    """The variables that set the fields of this dataclass, in their order."""
    return tuple(
        dataclasses.replace(field.metadata["variable"], group=group, field=field.name)
        for field in dataclasses.fields(settings)
    )


def text(value: str) -> str:
    """Any text that a database's protocol can carry."""
    if "\0" in value:
        raise ValueError("found a NUL character, expected text")
    return value


def slot_name(value: str) -> str:
    """A name as PostgreSQL's replication slots may have (documentation, "Replication Slots"), and none that tycostream
    gives to temporary ones."""
    if value and (not re.fullmatch(r"[a-z0-9_]{1,63}", value) or re.fullmatch(r"tycostream_[0-9a-f]{12}", value)):
        raise ValueError(
            f"found {quoted(value)}, expected 1 to 63 of the characters a-z, 0-9 and _, such as tycostream_prod"
            " (tycostream_ and twelve hexadecimal digits are taken for temporary slots)"
        )
    return value


def hosts(value: str) -> str:
    """Hosts with or without a port, separated by commas."""
    addresses(value, 1)
    return value


def addresses(value: str, default_port: int) -> list[tuple[str, int]]:
    """The hosts and ports of such a text: `db`, `a:6875,b:6875`, `[::1]:6875`, `/run/postgresql`."""
    found = []
    for part in map(str.strip, text(value).split(",")):
        bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(.*))?", part, re.DOTALL)
        host, number = (bracketed[1], bracketed[2]) if bracketed else (part, None)
        if not bracketed and part.count(":") == 1 and not part.startswith("/"):
            host, number = part.split(":")
        if not host:
            raise ValueError(f"found {quoted(value)}, expected a host, or several such as a:6875,b:6875")
        found.append((host, default_port if number is None else port(1)(number)))
    return found


def path(value: str) -> Path:
    """A file or folder."""
    if "\0" in value:
        raise ValueError(f"found {quoted(value)}, expected a path")
    return Path(value)


def optional_path(value: str) -> Path | None:
    """A file or folder, or none."""
    return path(value) if value else None


def yes_or_no(value: str) -> bool:
    """A switch, in the usual spellings and any case."""
    folded = value.lower()
    if folded in {"true", "1", "yes", "on"}:
        return True
    if folded in {"false", "0", "no", "off"}:
        return False
    raise ValueError(f"found {quoted(value)}, expected true or false (or 1, 0, yes, no, on, off)")


def one_of(choices: type[T] | Any) -> Callable[[str], T]:
    """One of a Literal's words, in any case."""
    words: tuple[Any, ...] = get_args(choices)

    def parse(value: str) -> T:
        if value.lower() in words:
            found: T = words[words.index(value.lower())]
            return found
        raise ValueError(f"found {quoted(value)}, expected one of {', '.join(words)}{did_you_mean(value, words)}")

    return parse


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A whole number in decimal digits, within bounds."""

    def parse(value: str) -> int:
        if re.fullmatch(r"[0-9]{1,18}", value) and least <= int(value) <= most:
            return int(value)
        raise ValueError(f"found {quoted(value)}, expected a whole number from {least} to {most}")

    return parse


def port(least: int) -> Callable[[str], int]:
    """A TCP port."""
    number = whole_number(least, 65535)

    def parse(value: str) -> int:
        try:
            return number(value)
        except ValueError as error:
            if value.startswith("tcp://"):
                raise ValueError(
                    f"{error}; Kubernetes sets such a value for a service of that name:"
                    " rename the service, or set enableServiceLinks to false in the pod"
                ) from None
            raise

    return parse


def seconds(least: float, most: float = 86_400) -> Callable[[str], float]:
    """A duration in seconds, with or without a fraction, within bounds."""

    def parse(value: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) and least <= float(value) <= most:
            return float(value)
        raise ValueError(f"found {quoted(value)}, expected a number of seconds from {least:g} to {most:g}")

    return parse


def at_least_zero(most: float) -> Callable[[str], float]:
    """A number that is not negative, with or without a fraction."""

    def parse(value: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) and float(value) <= most:
            return float(value)
        raise ValueError(f"found {quoted(value)}, expected a number from 0 to {most:g}")

    return parse


def origins(value: str) -> tuple[str, ...]:
    """Web origins as browsers write them in the Origin header; none for any (also written `*`)."""
    found = [origin.strip() for origin in value.split(",") if origin.strip()]
    return () if "*" in found else tuple(_origin(origin) for origin in found)


def networks(value: str) -> tuple[str, ...]:
    """Networks, of which an address is one, separated by commas."""
    try:
        return tuple(str(ipaddress.ip_network(part.strip())) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"found {quoted(value)}, expected networks such as 10.0.0.0/8, 192.0.2.1 or ::1") from None


def networks_and_hosts(*words: str) -> Callable[[str], tuple[str, ...]]:
    """Networks (an address is one) and host names (`*.example.com` for those below it), and these words, separated by
    commas; in lower case."""

    def parse(value: str) -> tuple[str, ...]:
        found = [part.strip().lower() for part in value.split(",") if part.strip()]
        return tuple(part if part in words else _network_or_host(part, words) for part in found)

    return parse


def _network_or_host(value: str, words: tuple[str, ...]) -> str:
    numeric = re.fullmatch(r"[0-9.]+(/.*)?", value)
    if not numeric and re.fullmatch(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", value):
        return value
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        also = f", or {' or '.join(words)}" if words else ""
        raise ValueError(
            f"found {quoted(value)}, expected networks and host names such as 10.0.0.0/8, ::1,"
            f" hooks.example.com or *.example.com{also}"
        ) from None


def _origin(value: str) -> str:
    try:
        parts = urlsplit(value.lower().removesuffix("/"))
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.geturl() != f"{parts.scheme}://{parts.netloc}"
        ):
            raise ValueError
        if "@" in parts.netloc or re.search(r"[^\x21-\x7e]", parts.netloc):
            raise ValueError
        number = parts.port
    except ValueError:
        raise ValueError(
            f"found {quoted(value)}, expected origins such as https://app.example.com:8443, or *"
        ) from None
    standard = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if number in {None, standard} else f":{number}")
