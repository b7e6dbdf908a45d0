"""How the rows of a SUBSCRIBE are written: as DataRow messages or as the lines of COPY, and batches of them.

A row is a head (timestamp, progress, state or diff), the same for many rows, and a tail (the relation's columns), which is encoded once
and kept. Putting the two together costs a small part of a microsecond, so that a benchmark measures its client.

Sources: MaterializeInc/materialize src/pgcopy/src/copy.rs (COPY text: a tab between fields, `\\N` is NULL; backslash, newline,
carriage return and tab are escaped and nothing else), src/pgwire/src/protocol.rs (one CopyData a row).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.materialize.relations import Row

Field = bytes | None

_START = struct.Struct(">ci").pack
_LENGTH = struct.Struct(">i").pack
_COUNT = struct.Struct(">h").pack


def _fields(fields: Sequence[Field]) -> bytes:
    return b"".join(b"\xff\xff\xff\xff" if one is None else _LENGTH(len(one)) + one for one in fields)


def _data_head(fields: Sequence[Field], width: int) -> bytes:
    return _COUNT(width) + _fields(fields)


_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))


def copy_field(value: Field) -> bytes:
    """A field of a COPY line."""
    if value is None:
        return b"\\N"
    for plain, escaped in _ESCAPES:
        if plain in value:
            value = value.replace(plain, escaped)
    return value


def _copy_head(fields: Sequence[Field], _width: int) -> bytes:
    return b"".join(copy_field(one) + b"\t" for one in fields)


def _copy_tail(fields: Sequence[Field]) -> bytes:
    return b"\t".join(map(copy_field, fields)) + b"\n"


@dataclass(frozen=True, slots=True)
class Format:
    """One way of writing rows. `head` gets the number of all fields too."""

    name: str
    kind: bytes
    head: Callable[[Sequence[Field], int], bytes]
    tail: Callable[[Sequence[Field]], bytes]

    def row_tail(self, row: Row) -> bytes:
        """The tail for a row of text."""
        return self.tail([None if value is None else value.encode() for value in row])


DATA_ROW = Format("DataRow", b"D", _data_head, _fields)
COPY_LINE = Format("CopyData", b"d", _copy_head, _copy_tail)


@dataclass(slots=True)
class Batch:
    """Rows that the server sends together; they are taken from the front."""

    kind: bytes
    heads: list[bytes] = field(default_factory=list)
    tails: list[bytes] = field(default_factory=list)
    position: int = 0

    def __len__(self) -> int:
        return len(self.heads) - self.position

    @property
    def size(self) -> int:
        """Bytes of all its rows."""
        return sum(map(len, self.heads)) + sum(map(len, self.tails))

    def take(self, limit: int) -> bytes:
        """The messages of the next rows, at most `limit`."""
        start, kind = self.position, self.kind
        stop = self.position = min(start + limit, len(self.heads))
        parts: list[bytes] = []
        for head, tail in zip(self.heads[start:stop], self.tails[start:stop], strict=True):
            parts += (_START(kind, 4 + len(head) + len(tail)), head, tail)
        return b"".join(parts)
