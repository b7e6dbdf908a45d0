"""A planned selection renders row changes to the bytes of GraphQL results: the hot path.

For each selection a few functions are generated, each one f-string of constant pieces and written values. Generated
code holds names, positions and masks only; every text of the client is a constant in the function's namespace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from types import CodeType

from tycostream.graphql.encoding import NULL, json_string, writer
from tycostream.model import Operation, Row, Source
from tycostream.views.applying import ViewChange
from tycostream.views.cursor import Cursor, Moment, SnapshotMark

_SPECIALISED_MASKS = 32
_COLUMN_LISTS = 1024


_INSERT, _UPDATE = Operation.INSERT, Operation.UPDATE

_Renderer = Callable[[Row, int, int], bytes]

_row_of = itemgetter(2)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a selection: its response key, its name in the schema, and what is selected below it."""

    key: str
    name: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the result that differs from event to event: a Python expression in which `{}` stands for what it
    calls. Both give text."""

    function: Callable[..., str]
    expression: str


class Selection:
    """What a subscription selects of a source's updates. Equal where every result would be equal.

    `interest` is a bit mask over the source's columns: an UPDATE is worth sending only if it changed one of them.
    It is -1 (every change) where all columns are selected, or none: `data` is absent, or has nothing but `__typename`.
    """

    marked = False
    """Whether the timestamps of its changes have to be Moments."""

    def __init__(self, source: Source, response_key: str, fields: tuple[Field, ...]) -> None:
        self.source = source
        self.response_key = response_key
        self.fields = fields
        self._identity = (source, response_key, fields)
        self._hash = hash(self._identity)
        columns = 0
        for field in fields:
            for member in field.fields:
                if member.name in source.positions:
                    columns |= 1 << source.positions[member.name]
        every = (1 << len(source.columns)) - 1
        self.interest = columns if 0 < columns < every else -1
        names_columns = any(field.name == "fields" for field in fields)
        self._visible = every if names_columns else columns
        self._renderers: dict[int, _Renderer] = {}
        self._any_update: _Renderer | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        """The GraphQL results of changes, each of them a JSON object in UTF-8.

        INSERT carries every selected column, UPDATE the key and the changed ones, DELETE the key; the other selected
        columns are null.
        """
        results = []
        kind: Operation | None = None
        same = mask = 0
        for operation, _key, row, changed, timestamp in changes:
            if changed != same or operation is not kind:  # most are like the one before
                kind, same = operation, changed
                mask = changed & self._visible if operation is _UPDATE else -1 if operation is _INSERT else -2
                renderer = self._renderers.get(mask) or self._renderer(operation, mask)
            results.append(renderer(row, mask, timestamp))
        return results

    def _renderer(self, operation: Operation, mask: int) -> _Renderer:
        """The masks of updates are never negative: so one lookup finds a function that there is."""
        if operation is _UPDATE and len(self._renderers) >= _SPECIALISED_MASKS:
            if self._any_update is None:
                self._any_update = _generate(_pieces(self, _UPDATE, None))
            return self._any_update
        renderer = self._renderers[mask] = _generate(_pieces(self, operation, mask))
        return renderer


class MarkedSelection(Selection):
    """One that shows cursors or a snapshot's marks. It also renders what has no row (an empty tuple): a mark alone."""

    marked = True

    def __init__(self, source: Source, response_key: str, fields: tuple[Field, ...]) -> None:
        super().__init__(source, response_key, fields)
        self._mark_alone: _Renderer | None = None

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        """See `Selection.render`."""
        if all(map(_row_of, changes)):
            return super().render(changes)
        if self._mark_alone is None:
            self._mark_alone = _generate(_mark_pieces(self))
        results: list[bytes] = []
        for change in changes:
            _operation, _key, row, changed, timestamp = change
            results += super().render((change,)) if row else (self._mark_alone(row, changed, timestamp),)
        return results


def make_selection(source: Source, response_key: str, fields: tuple[Field, ...]) -> Selection:
    """The selection of these fields."""
    marked = any(field.name in ("cursor", "snapshot") for field in fields)
    return (MarkedSelection if marked else Selection)(source, response_key, fields)


def event_id(source: Source, row: Row, timestamp: int) -> str:
    """32 hexadecimal digits that are the same for everyone who hears of this change: made of the source's name, the
    row's key and the database's timestamp. Without a row, of source and timestamp."""
    key = (row[position] or "" for position in source.key_positions) if row else ()
    parts = (source.name, str(timestamp), *key)
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _pieces(selection: Selection, operation: Operation, mask: int | None) -> Iterator[str | _Slot]:
    """The result in order. `mask` None makes an UPDATE that looks at its mask when it is called."""
    yield f'{{"data":{{{json_string(selection.response_key)}:'
    yield from _object(_update_field(selection.source, field, operation, mask) for field in _keyed(selection.fields))
    yield "}}"


def _mark_pieces(selection: Selection) -> Iterator[str | _Slot]:
    """The result of an update without a row. GraphQL asks for an operation: it is the one that changes nothing."""
    yield f'{{"data":{{{json_string(selection.response_key)}:'
    yield from _object(_mark_field(selection.source, field) for field in _keyed(selection.fields))
    yield "}}"


def _mark_field(source: Source, keyed: tuple[str, Field]) -> Iterator[str | _Slot]:
    key, field = keyed
    match field.name:
        case "data":
            yield key + NULL
        case "fields":
            yield key + "[]"
        case _:
            yield from _update_field(source, keyed, _UPDATE, 0)


def _keyed(fields: tuple[Field, ...]) -> Iterator[tuple[str, Field]]:
    return ((json_string(field.key) + ":", field) for field in fields)


def _object(members: Iterator[Iterator[str | _Slot]]) -> Iterator[str | _Slot]:
    yield "{"
    for index, member in enumerate(members):
        if index:
            yield ","
        yield from member
    yield "}"


def _update_field(
    source: Source, keyed: tuple[str, Field], operation: Operation, mask: int | None
) -> Iterator[str | _Slot]:
    key, field = keyed
    yield key
    match field.name:
        case "operation":
            yield json_string(operation.value)
        case "data":
            yield from _object(_row_field(source, member, operation, mask) for member in _keyed(field.fields))
        case "fields" if mask is None:
            yield _Slot(_ColumnLists(source), "{}(changed)")
        case "fields":
            yield _column_list(source, mask if operation is _UPDATE and mask is not None else -1)
        case "timestamp":
            yield _Slot('"%d"'.__mod__, "{}(timestamp)")
        case "event_id":
            yield _Slot(lambda row, timestamp: f'"{event_id(source, row, timestamp)}"', "{}(row, timestamp)")
        case "cursor":
            yield _Slot(_Cursors(source), "{}(timestamp)")
        case "snapshot":
            yield _Slot(_snapshot_mark, "{}(timestamp)")
        case _:
            yield json_string(f"{source.name}Update")


def _row_field(
    source: Source, keyed: tuple[str, Field], operation: Operation, mask: int | None
) -> Iterator[str | _Slot]:
    key, field = keyed
    yield key
    position = source.positions.get(field.name)
    if position is None:
        yield json_string(source.name)
        return
    write, value = writer(source.columns[position]), f"row[{position}]"
    if operation is Operation.INSERT or position in source.key_positions:
        yield _Slot(write, f"NULL if {value} is None else {{}}({value})")
    elif operation is Operation.DELETE:
        yield NULL
    elif mask is None:
        yield _Slot(write, f"{{}}({value}) if changed & {1 << position} and {value} is not None else NULL")
    elif mask >> position & 1:
        yield _Slot(write, f"NULL if {value} is None else {{}}({value})")
    else:
        yield NULL


class _Cursors:
    """The JSON text of a timestamp's cursor. One without a place, which nobody should send, leads to a snapshot."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, timestamp: int) -> str:
        if isinstance(timestamp, Moment):
            return f'"{timestamp.cursor}"'
        return f'"{Cursor(self._source.name, "", None, timestamp).encode()}"'


_MARKS = {mark: json_string(mark.value) for mark in SnapshotMark}


def _snapshot_mark(timestamp: int) -> str:
    mark = timestamp.mark if isinstance(timestamp, Moment) else None
    return NULL if mark is None else _MARKS[mark]


def _column_list(source: Source, mask: int) -> str:
    names = [json_string(column.name) for index, column in enumerate(source.columns) if mask >> index & 1]
    return f"[{','.join(names)}]"


class _ColumnLists(dict[int, str]):
    """The JSON list of column names for each mask asked for; starts over when it has grown large."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, mask: int) -> str:
        if len(self) >= _COLUMN_LISTS:
            self.clear()
        names = self[mask] = _column_list(self._source, mask)
        return names

    def __call__(self, mask: int) -> str:
        return self[mask]


def _generate(pieces: Iterator[str | _Slot]) -> _Renderer:
    """Compiles the pieces to a function; constants that touch become one."""
    namespace: dict[str, object] = {"NULL": NULL}
    expressions: list[str] = []
    constant = ""
    for piece in (*pieces, None):
        if isinstance(piece, str):
            constant += piece
            continue
        if constant:
            namespace[f"c{len(expressions)}"] = constant
            expressions.append(f"c{len(expressions)}")
            constant = ""
        if piece is not None:
            name = f"c{len(expressions)}"
            namespace[name] = piece.function
            expressions.append(piece.expression.format(name))
    text = "".join(f"{{{expression}}}" for expression in expressions)
    exec(_compiled(f"def render(row, changed, timestamp): return f'{text}'.encode()"), namespace)  # noqa: S102
    renderer: _Renderer = namespace.pop("render")  # type: ignore[assignment]  # it has the namespace: no ring
    return renderer


@lru_cache(maxsize=512)
def _compiled(source: str) -> CodeType:
    """Selections of one shape share their code: it differs only in what its names stand for."""
    return compile(source, "<selection>", "exec")
