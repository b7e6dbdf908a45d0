"""The codec of what is relayed: changes, whole rows, and recent changes, as bytes.

It is JSON, by orjson. Python's marshal reads rows in two thirds of the time (0.15 against 0.24 µs a row of 8 columns)
and takes twice as long to write them (0.08 against 0.04), but it is bound to a version of Python, and hostile bytes
crash it; these bytes are to be fit for other ways of travelling than a socket between two processes of one program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from tycostream.model import Change, Past, Row, Source, Unseen

_AS_THEY_ARE = orjson.OPT_PASSTHROUGH_DATACLASS
"""So that a PartialRow is refused."""


class BadBatchError(ValueError):
    """The bytes are no batch of this source; the message says in what."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Changes of one timestamp, all of them or a part: `whole` says that nothing more follows at this timestamp. A
    whole piece without changes says that everything up to its timestamp has been told.

    `at` is when the database committed the changes, or for what moment the timestamp stands where there are none, in
    seconds since 1970; None where it does not say.
    """

    timestamp: int
    changes: list[Change]
    whole: bool = True
    at: float | None = None


def encode_pieces(source: Source, number: int, pieces: Iterable[Piece]) -> bytes:
    """A batch. `number` is its place in the order of the batches of its stream. Rows have to be whole: raises
    ValueError for a PartialRow."""
    try:
        return orjson.dumps((number, [_written(source, piece) for piece in pieces]), option=_AS_THEY_ARE)
    except TypeError as error:
        raise ValueError(f"a row of {source.name} can't be relayed: {error}") from None


def _written(source: Source, piece: Piece) -> tuple[object, ...]:
    changes = piece.changes
    rows = [row for _key, row in changes]
    gone = []
    if None in rows:
        for index, row in enumerate(rows):
            if row is None:
                gone.append(index)
                rows[index] = source.row_of(changes[index][0])
    return piece.timestamp, piece.whole, piece.at, gone, rows


def decode_pieces(source: Source, payload: bytes) -> tuple[int, list[Piece]]:
    """The number and the pieces of a batch. Raises BadBatchError."""
    try:
        number, pieces = orjson.loads(payload)
        return int(number), [_read(source, *piece) for piece in pieces]
    except (ValueError, TypeError, IndexError) as error:
        raise BadBatchError(f"no batch of {source.name}: {error}") from None


def _read(
    source: Source, timestamp: int, whole: bool, at: float | None, gone: list[int], written: list[list[str | None]]
) -> Piece:
    rows = _rows(source, written)
    changes: list[Change] = list(zip(map(source.key_of, rows), rows, strict=True))
    for index in gone:
        changes[index] = (changes[index][0], None)
    return Piece(timestamp, changes, whole, at)


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Whole rows."""
    return orjson.dumps(rows)


def decode_rows(source: Source, payload: bytes) -> list[Row]:
    """The rows. Raises BadBatchError."""
    try:
        return _rows(source, orjson.loads(payload))
    except (ValueError, TypeError) as error:
        raise BadBatchError(f"no rows of {source.name}: {error}") from None


def encode_past(source: Source, past: Iterable[Past]) -> bytes:
    """Recent changes, with the rows that they replaced."""
    return orjson.dumps([_past_written(source, one) for one in past])


def _past_written(source: Source, past: Past) -> tuple[object, ...]:
    nothing = source.row_of
    deltas = past.deltas
    old = [nothing(key) if old is None or isinstance(old, Unseen) else old for key, old, _new, _mask in deltas]
    new = [nothing(key) if new is None else new for key, _old, new, _mask in deltas]
    came = [index for index, delta in enumerate(deltas) if delta[1] is None]
    unseen = [index for index, delta in enumerate(deltas) if isinstance(delta[1], Unseen)]
    went = [index for index, delta in enumerate(deltas) if delta[2] is None]
    masks = [format(mask, "x") for _key, _old, _new, mask in deltas]
    return past.since, past.timestamp, old, new, (came, unseen, went), masks


def decode_past(source: Source, payload: bytes) -> list[Past]:
    """The recent changes. Raises BadBatchError."""
    try:
        return [_past_read(source, *one) for one in orjson.loads(payload)]
    except (ValueError, TypeError, IndexError) as error:
        raise BadBatchError(f"no recent changes of {source.name}: {error}") from None


def _past_read(
    source: Source,
    since: int,
    timestamp: int,
    old: list[list[str | None]],
    new: list[list[str | None]],
    places: tuple[list[int], list[int], list[int]],
    masks: list[str],
) -> Past:
    before: list[Row | None] = list(_rows(source, old))
    after: list[Row | None] = list(_rows(source, new))
    keys = [source.key_of(row) for row in after if row is not None]
    came, unseen, went = places
    for index in came:
        before[index] = None
    for index in unseen:
        before[index] = Unseen(old[index])
    for index in went:
        after[index] = None
    changed = [int(mask, 16) for mask in masks]
    return Past(since, timestamp, list(zip(keys, before, after, changed, strict=True)))


def _rows(source: Source, written: list[list[str | None]]) -> list[Row]:
    rows: list[Row] = list(map(tuple, written))
    if rows and set(map(len, rows)) != {len(source.columns)}:
        raise ValueError(f"a row has not {len(source.columns)} values")
    return rows
