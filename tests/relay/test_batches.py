"""What is relayed comes out as it went in, whatever it is; what is no batch is refused."""

from __future__ import annotations

import marshal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.views.support import SOURCE, applied, deltas_of
from tycostream.model import UNCHANGED, Change, Column, ColumnType, PartialRow, Past, Relation, Row, Source, Unseen
from tycostream.relay.batches import (
    BadBatchError,
    Piece,
    decode_past,
    decode_pieces,
    decode_rows,
    encode_past,
    encode_pieces,
    encode_rows,
)
from tycostream.relay.shape import shape_of
from tycostream.views import RowCache

WIDE = Source(
    "wide", Relation("wide", "risk"), tuple(Column(name, ColumnType.STRING) for name in "abcd"), ("c", "a")
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.one_of(st.none(), texts)
timestamps = st.integers(0, 2**64 - 1)


@st.composite
def rows(draw: st.DrawFn, source: Source) -> Row:
    return tuple(draw(texts if column.name in source.primary_key else values) for column in source.columns)


@st.composite
def changes(draw: st.DrawFn, source: Source) -> Change:
    row = draw(rows(source))
    return source.key_of(row), row if draw(st.booleans()) else None


def pieces(source: Source) -> st.SearchStrategy[list[Piece]]:
    moments = st.one_of(st.none(), st.floats(0, 4e9))
    piece = st.builds(Piece, timestamps, st.lists(changes(source), max_size=5), st.booleans(), moments)
    return st.lists(piece, max_size=4)


@given(st.sampled_from([SOURCE, WIDE]).flatmap(lambda source: st.tuples(st.just(source), pieces(source))), timestamps)
def test_any_batch_comes_back(batch: tuple[Source, list[Piece]], number: int) -> None:
    source, told = batch
    assert decode_pieces(source, encode_pieces(source, number, told)) == (number, told)


@given(st.lists(rows(WIDE), max_size=20))
def test_any_rows_come_back(some: list[Row]) -> None:
    found = decode_rows(WIDE, encode_rows(some))
    assert found == some
    assert all(type(row) is tuple for row in found)


@given(st.lists(st.lists(changes(SOURCE), min_size=1, max_size=5), max_size=5), st.sets(st.integers(0, 4)))
def test_any_past_comes_back(history: list[list[Change]], unseen: set[int]) -> None:
    cache = RowCache(SOURCE)
    past = []
    for timestamp, some in enumerate(history, 1):
        deltas = deltas_of(applied(cache, some))
        for place in unseen & set(range(len(deltas))):
            key, _old, new, _mask = deltas[place]
            deltas[place] = key, Unseen(SOURCE.row_of(key)), new, 0
        past.append(Past(timestamp - 1, timestamp, deltas))
    found = decode_past(SOURCE, encode_past(SOURCE, past))
    assert found == past
    kinds = [[type(delta[1]) for delta in one.deltas] for one in past]
    assert [[type(delta[1]) for delta in one.deltas] for one in found] == kinds


def test_columns_beyond_64_come_back_as_changed() -> None:
    many = Source("many", Relation("many"), tuple(Column(f"c{n}", ColumnType.STRING) for n in range(80)), ("c0",))
    old, new = ("k", *["1"] * 79), ("k", *["1"] * 78, "2")
    past = [Past(1, 2, [("k", old, new, 1 << 79)])]
    assert decode_past(many, encode_past(many, past)) == past


def test_rows_of_which_values_are_missing_are_not_sent() -> None:
    partial = PartialRow(("1", UNCHANGED, "2"), "1")
    with pytest.raises(ValueError, match="a row of trades can't be relayed"):
        encode_pieces(SOURCE, 1, [Piece(1, [("1", partial)])])


@pytest.mark.parametrize("payload", [
    b"", b"{}", b"[1]", b'[1,[[1,true,null,[],[["1","A"]]]]]', b'[1,[[1,true,null,[3],[["1","A","2"]]]]]',
    b'["x",[]]', marshal.dumps((1, [])), b"[1,[[1]]]", b"[1,7]",
])  # fmt: skip
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(BadBatchError, match="no batch of trades"):
        decode_pieces(SOURCE, payload)


@pytest.mark.parametrize("payload", [b"", b"7", b'[["1"]]', b"[1]", b"\xff"])
def test_what_are_no_rows_or_no_past_is_refused(payload: bytes) -> None:
    with pytest.raises(BadBatchError):
        decode_rows(SOURCE, payload)
    with pytest.raises(BadBatchError):
        decode_past(SOURCE, payload)


@given(st.binary(max_size=60))
def test_no_bytes_do_harm(payload: bytes) -> None:
    for decode in (decode_rows, decode_past, decode_pieces):
        try:
            decode(SOURCE, payload)  # type: ignore[operator]
        except BadBatchError:
            continue


def test_a_batch_is_json() -> None:
    told: Any = orjson.loads(encode_pieces(SOURCE, 7, [Piece(5, [("1", ("1", "A", None)), ("2", None)], True, 1.5)]))
    assert told == [7, [[5, True, 1.5, [1], [["1", "A", None], ["2", None, None]]]]]


def test_a_shape_is_that_of_sources_that_serve_as_one_another() -> None:
    described = Source("trades", SOURCE.relation, SOURCE.columns, ("id",), "a description")
    others = [
        Source("orders", SOURCE.relation, SOURCE.columns, ("id",)),
        Source("trades", Relation("trades", "risk"), SOURCE.columns, ("id",)),
        Source("trades", SOURCE.relation, SOURCE.columns, ("symbol",)),
        Source("trades", SOURCE.relation, SOURCE.columns[:2], ("id",)),
        Source("trades", SOURCE.relation, SOURCE.columns[:2], ("id",), calculated=SOURCE.columns[2:]),
    ]
    assert shape_of(described) == shape_of(SOURCE)
    for other in others:
        assert not other.serves_as(SOURCE)
        assert shape_of(other) != shape_of(SOURCE)
