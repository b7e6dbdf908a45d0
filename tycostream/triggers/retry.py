"""What an answer means, and when to try again.

2xx is success and nothing else is; 3xx is a failure that is not followed; 410 disables the webhook; Retry-After is
honoured (Standard Webhooks 1.0.0, spec/standard-webhooks.md). Its forms are those of RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
_GROWTH = 4


class Verdict(enum.Enum):
    """What to do after an answer."""

    DELIVERED = enum.auto()
    RETRY = enum.auto()
    FAILED = enum.auto()
    GONE = enum.auto()


def judge(status: int) -> Verdict:
    """What an answer with this status means."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    if status in _WORTH_ANOTHER_TRY or status >= 500:
        return Verdict.RETRY
    return Verdict.FAILED


def retry_after(value: str | None, now: float) -> float:
    """The seconds that a Retry-After header asks for at `now` (Unix time); 0 where it can't be read."""
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)


def redirected_to(location: str | None, url: str) -> str | None:
    """Where a Location header points, without what may be secret in it: user, query and fragment."""
    if not location:
        return None
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:500]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Exponential backoff with full jitter: before attempt n+1 a random time of up to `least` times 4 to the n-1, never
    longer than `most`. In seconds. `chance` gives a number from 0 to 1."""

    attempts: int
    least: float
    most: float
    max_age: float
    chance: Callable[[], float] = random.random

    def wait(self, attempts: int, age: float, asked: float = 0.0) -> float | None:
        """How long to wait after so many attempts on an event of this age; None where it has failed for good.

        `asked` is what Retry-After asked for: the wait is no shorter, but for `most`.
        """
        if attempts >= self.attempts:
            return None
        longest = min(self.most, self.least * _GROWTH ** min(attempts - 1, 30))
        wait = min(self.most, max(asked, longest * self.chance()))
        return wait if age + wait <= self.max_age else None
