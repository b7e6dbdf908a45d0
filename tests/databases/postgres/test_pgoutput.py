"""The decoder, against messages built by hand from PostgreSQL's description of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.databases.postgres.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Truncate,
    Update,
    WireRelation,
    decode,
)
from tycostream.model import UNCHANGED


def text(value: str) -> bytes:
    return b"t" + struct.pack(">i", len(value.encode())) + value.encode()


def values(*parts: bytes) -> bytes:
    return struct.pack(">h", len(parts)) + b"".join(parts)


ROW = values(text("1"), b"n", text("é\t\n"), b"u")
READ = ("1", None, "é\t\n", UNCHANGED)
RELATION = (
    b"R" + struct.pack(">I", 3_000_000_000) + b"public\0t\0" + b"d" + struct.pack(">h", 2)
    + b"\x01id\0" + struct.pack(">Ii", 23, -1) + b"\x00v\0" + struct.pack(">Ii", 25, -1)
)  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"B" + struct.pack(">qqi", 5, 1_000_000, 7), Begin(5, 946_684_801.0, 7)),
        (b"C\0" + struct.pack(">qqq", 5, 6, 1_500_000), Commit(6, 946_684_801.5)),
        (RELATION, WireRelation(3_000_000_000, "public", "t", "d", ("id", "v"), frozenset({"id"}), (23, 25))),
        (b"I" + struct.pack(">I", 9) + b"N" + ROW, Insert(9, READ)),
        (b"U" + struct.pack(">I", 9) + b"N" + ROW, Update(9, None, False, READ)),
        (b"U" + struct.pack(">I", 9) + b"K" + values(text("0"), b"n") + b"N" + ROW, Update(9, ("0", None), True, READ)),
        (b"U" + struct.pack(">I", 9) + b"O" + ROW + b"N" + ROW, Update(9, READ, False, READ)),
        (b"D" + struct.pack(">I", 9) + b"K" + ROW, Delete(9, READ, True)),
        (b"D" + struct.pack(">I", 9) + b"O" + ROW, Delete(9, READ, False)),
        (b"T" + struct.pack(">iBII", 2, 0, 9, 10), Truncate((9, 10))),
        (b"Y" + struct.pack(">I", 1) + b"public\0side\0", None),
        (b"O" + struct.pack(">q", 1) + b"elsewhere\0", None),
    ],
)
def test_each_message(payload: bytes, message: object) -> None:
    assert decode(payload) == message


@pytest.mark.parametrize("payload", [b"", b"?", b"I" + struct.pack(">I", 9) + b"N" + struct.pack(">h", 1) + b"x"])
def test_what_the_protocol_does_not_know_is_an_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="unknown"):
        decode(payload)


@given(st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=9))
def test_any_texts_come_through(row: list[str | None]) -> None:
    wire = values(*(b"n" if value is None else text(value) for value in row))
    assert decode(b"I" + struct.pack(">I", 1) + b"N" + wire) == Insert(1, tuple(row))
