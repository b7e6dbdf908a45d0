"""Cursors: how far a subscriber has got, in a text that it hands back to go on from there.

A message's place is carried by its timestamp: a `Moment` is the timestamp that it always was, and knows besides what
its receiver has once the message has arrived. Only subscriptions that show a cursor or a snapshot's marks have them.
"""

from __future__ import annotations

import enum
import hashlib
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from functools import cached_property
from typing import Self

_VERSION = b"\x01"
_CHECK_BYTES = 4
_LONGEST = 2000


class BadCursorError(ValueError):
    """The text is no cursor, or none of this source; the message says so."""


class SnapshotMark(enum.Enum):
    """What a message of a snapshot says of it."""

    RESET = "RESET"
    ROW = "ROW"
    END = "END"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Its holder has everything up to and including the timestamp `after`, and perhaps some of what came later, up to
    and including `upto`. `after` None: it was cut while it read its first rows, and has nothing to go on from.

    `history` names what timestamps mean: those of another relation of the same name, or of another run of a database
    whose relations have no identity, can't be compared.
    """

    source: str
    history: str
    after: int | None
    upto: int

    def encode(self) -> str:
        """The cursor as a text of letters, digits, `-` and `_`."""
        after = "" if self.after is None else self.after
        body = f"{after}\n{self.upto}\n{self.history}\n{self.source}".encode()
        return urlsafe_b64encode(_VERSION + _check(body) + body).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, source: str) -> Self:
        """The cursor that a client of this source hands back. Raises BadCursorError."""
        if len(text) > _LONGEST:
            raise BadCursorError("it is too long for a cursor")
        try:
            raw = b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, Base64Error):
            raise BadCursorError("it is not a cursor") from None
        check, body = raw[1 : 1 + _CHECK_BYTES], raw[1 + _CHECK_BYTES :]
        if raw[:1] != _VERSION or check != _check(body):
            raise BadCursorError("it is not a cursor, or not a whole one")
        after, upto, history, of = body.decode().split("\n")
        if of != source:
            raise BadCursorError(f"it is a cursor of {of}")
        return cls(of, history, int(after) if after else None, int(upto))


class Moment(int):
    """A timestamp, and where in a source's history a message with it leaves its receiver.

    Without the message the receiver has everything up to and including `before`, with it up to and including `after`
    (None: nothing). Equal to the bare timestamp.
    """

    source: str
    history: str
    before: int | None
    after: int | None
    mark: SnapshotMark | None

    def __new__(
        cls,
        timestamp: int,
        source: str,
        history: str,
        before: int | None,
        after: int | None,
        mark: SnapshotMark | None = None,
    ) -> Self:
        """See the class; `mark` where the message belongs to a snapshot."""
        moment = super().__new__(cls, timestamp)
        moment.source, moment.history = source, history
        moment.before, moment.after, moment.mark = before, after, mark
        return moment

    @cached_property
    def cursor(self) -> str:
        """What the receiver resumes from when this was the last that it heard."""
        return Cursor(self.source, self.history, self.after, int(self)).encode()


def merged(first: int, newest: int) -> tuple[int, int]:
    """The timestamps of changes merged from those of `first` to those of `newest`: of all but the last message, which
    leave their receiver where it was but for some rows, and of the last one."""
    if not isinstance(first, Moment) or not isinstance(newest, Moment):
        return newest, newest
    source, history, before = newest.source, newest.history, first.before
    if first.history != history:
        before = None
    within = Moment(newest, source, history, before, before)
    return within, Moment(newest, source, history, before, newest.after)


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()
