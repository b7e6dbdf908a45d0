"""Decodes pgoutput, the messages of PostgreSQL's logical replication, protocol version 1.

Layouts: PostgreSQL documentation, "Logical Replication Message Formats" (protocol-logicalrep-message-formats). Integers
are big-endian, strings end with NUL, times are microseconds since 2000-01-01.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from tycostream.model import UNCHANGED

Values = tuple[object, ...]
"""A tuple of the wire: text, None for NULL, or UNCHANGED, in the relation's own column order."""

EPOCH_OFFSET = 946_684_800
"""Seconds from 1970 to 2000."""


class Begin(NamedTuple):
    """A transaction starts; the whole of it follows."""

    final_lsn: int
    committed_at: float
    xid: int


class Commit(NamedTuple):
    """It ends. Positions are kept and confirmed as `end_lsn`."""

    end_lsn: int
    committed_at: float


@dataclass(frozen=True, slots=True)
class WireRelation:
    """What the following rows of this relation look like. Sent before its first row, and again after it changed."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[str, ...]
    key_columns: frozenset[str]
    types: tuple[int, ...] = ()
    """The oid of each column's type."""


class Insert(NamedTuple):
    """A new row."""

    relation: int
    new: Values


class Update(NamedTuple):
    """A changed row. `old` is there where the identity is FULL, or the key changed (then `old_is_key`: only the
    identity's columns count)."""

    relation: int
    old: Values | None
    old_is_key: bool
    new: Values


class Delete(NamedTuple):
    """A row is gone. With `old_is_key` only the identity's columns count."""

    relation: int
    old: Values
    old_is_key: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    """Every row of these relations is gone."""

    relations: tuple[int, ...]


WireMessage = Begin | Commit | WireRelation | Insert | Update | Delete | Truncate

ROWS = (Insert, Update, Delete)
"""Those that are of one row: for `isinstance`, which with a union of them takes as long as what it decides upon."""

_INT16 = struct.Struct(">h").unpack_from
_INT32 = struct.Struct(">i").unpack_from
_OID = struct.Struct(">I").unpack_from
_BEGIN = struct.Struct(">qqI").unpack_from
_COMMIT = struct.Struct(">bqqq").unpack_from


def decode(payload: bytes) -> WireMessage | None:
    """One message; None for those that carry nothing for us (Origin, Type, Message). Raises ValueError on what the
    protocol does not know."""
    kind = payload[:1]
    if kind == b"I":
        return Insert(_OID(payload, 1)[0], _tuple(payload, 6)[0])
    if kind == b"U":
        return _update(payload)
    if kind == b"D":
        return Delete(_OID(payload, 1)[0], _tuple(payload, 6)[0], payload[5:6] == b"K")
    if kind == b"B":
        final_lsn, microseconds, xid = _BEGIN(payload, 1)
        return Begin(final_lsn, _seconds(microseconds), xid)
    if kind == b"C":
        _flags, _commit_lsn, end_lsn, microseconds = _COMMIT(payload, 1)
        return Commit(end_lsn, _seconds(microseconds))
    if kind == b"R":
        return _relation(payload)
    if kind == b"T":
        count = _INT32(payload, 1)[0]
        return Truncate(struct.unpack_from(f">{count}I", payload, 6))
    if kind in (b"O", b"Y", b"M"):
        return None
    raise ValueError(f"unknown replication message {kind!r}")


def _seconds(microseconds: int) -> float:
    return microseconds / 1_000_000 + EPOCH_OFFSET


def _update(payload: bytes) -> Update:
    relation = _OID(payload, 1)[0]
    kind = payload[5:6]
    if kind == b"N":
        return Update(relation, None, False, _tuple(payload, 6)[0])
    old, position = _tuple(payload, 6)
    return Update(relation, old, kind == b"K", _tuple(payload, position + 1)[0])


def _tuple(payload: bytes, position: int) -> tuple[Values, int]:
    count = _INT16(payload, position)[0]
    position += 2
    values: list[object] = []
    for _ in range(count):
        kind = payload[position]
        position += 1
        if kind == 0x74:  # t: text
            end = position + 4 + _INT32(payload, position)[0]
            values.append(payload[position + 4 : end].decode())
            position = end
        elif kind == 0x6E:  # n: NULL
            values.append(None)
        elif kind == 0x75:  # u: a large value that did not change
            values.append(UNCHANGED)
        else:
            raise ValueError(f"unknown kind of value {chr(kind)!r} in a replication message")
    return tuple(values), position


def _relation(payload: bytes) -> WireRelation:
    oid = _OID(payload, 1)[0]
    schema, position = _string(payload, 5)
    name, position = _string(payload, position)
    identity = chr(payload[position])
    count = _INT16(payload, position + 1)[0]
    position += 3
    columns: list[str] = []
    types: list[int] = []
    keys: set[str] = set()
    for _ in range(count):
        is_key = payload[position] & 1
        column, position = _string(payload, position + 1)
        types.append(_OID(payload, position)[0])
        position += 8  # type and type modifier
        columns.append(column)
        if is_key:
            keys.add(column)
    return WireRelation(oid, schema or "pg_catalog", name, identity, tuple(columns), frozenset(keys), tuple(types))


def _string(payload: bytes, position: int) -> tuple[str, int]:
    end = payload.index(b"\0", position)
    return payload[position:end].decode(), end + 1
