"""What a relay is told, by the worker behind its channel and by others in its process; and how it is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tycostream.model import Source
from tycostream.relay.calls import Answer
from tycostream.relay.channel import Kind


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """`backlog` bytes may wait for a worker; `find` has the source of a name that is served now. `on_silent` is called
    when the worker does not answer any more."""

    find: Callable[[str], Source | None]
    answer: Answer
    on_message: Callable[[dict[str, Any]], None]
    on_silent: Callable[[], object]
    backlog: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame came."""

    kind: Kind
    payload: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker is gone."""


@dataclass(frozen=True, slots=True)
class RoomAgain:
    """The channel takes more."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """See whether sources that were not there are there now."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A source's actor has ended before it heard of this follower."""

    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask whether the worker is well."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """It has answered."""


@dataclass(frozen=True, slots=True)
class TellLags:
    """Tell how far sources lag."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send the worker a message, or something that is pickled."""

    message: dict[str, Any] | None = None
    pickled: bytes | None = None


@dataclass(frozen=True, slots=True)
class AskWorker:
    """Ask the worker a question; answered with its answer, or fails with CallError."""

    name: str
    within: float
    arguments: dict[str, Any] = field(default_factory=dict)
