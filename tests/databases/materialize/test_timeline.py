"""What a SUBSCRIBE sends, in either form and cut into reads anywhere, becomes a snapshot and whole timestamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.materialize.formats import COPY_LINE
from tycostream.databases.driver import DatabaseError
from tycostream.databases.materialize.result import HEAD, Result, WireRow
from tycostream.databases.materialize.timeline import Timeline
from tycostream.model import (
    Changes,
    Column,
    ColumnType,
    Event,
    Key,
    Progress,
    Relation,
    Resumed,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
)

SOURCE = Source(
    "trades",
    Relation("trades"),
    (Column("symbol", ColumnType.STRING), Column("id", ColumnType.INTEGER), Column("price", ColumnType.FLOAT)),
    ("id",),
)
PAIRS = Source("pairs", Relation("pairs"), (Column("a", ColumnType.STRING), Column("b", ColumnType.STRING)), ("b", "a"))
COLUMNS = (*HEAD, "id", "symbol", "price")
"""The key comes first, the rest in the order of the SELECT."""


def progress(timestamp: int) -> WireRow:
    return (str(timestamp), "t", None, None, None, None)


def upsert(timestamp: int, key: int, symbol: str | None = "A", price: str | None = "1") -> WireRow:
    return (str(timestamp), "f", "upsert", str(key), symbol, price)


def delete(timestamp: int, key: int) -> WireRow:
    return (str(timestamp), "f", "delete", str(key), None, None)


class Reads:
    """A timeline, and rows for it in one form."""

    def __init__(
        self, form: str, source: Source = SOURCE, columns: Sequence[str] = COLUMNS, relation: str | None = None,
        *, resumed: bool = False, until: int | None = None,
    ) -> None:  # fmt: skip
        self._form = form
        self._result = Result(source, columns)
        self.timeline = Timeline(source, relation=relation, resumed=resumed, until=until)

    def read(self, rows: Sequence[WireRow]) -> Iterator[Event]:
        if self._form == "fetched":
            return self.timeline.read(self._result.fetched(rows))
        return self.timeline.read(self._result.copied(b"".join(map(COPY_LINE.row_tail, rows))))


Start = Callable[..., Reads]


@pytest.fixture(params=["fetched", "copied"])
def timeline(request: pytest.FixtureRequest) -> Start:
    return lambda *args, **keywords: Reads(request.param, *args, **keywords)


def test_a_snapshot_of_the_past_is_complete_with_the_changes_until_the_present(timeline: Start) -> None:
    events = list(
        timeline(until=20).read(
            [progress(10), upsert(10, 1), progress(11), upsert(12, 2), progress(20), delete(20, 1), progress(21)]
        )
    )
    assert events == [
        SnapshotStarted(10),
        SnapshotRows([("A", "1", "1")]),
        Changes(12, [("2", ("A", "2", "1"))], 0.012),
        Changes(20, [("1", None)], 0.02),
        SnapshotComplete(10),
    ]
    idle = list(timeline(until=20).read([progress(10), progress(15), progress(30)]))
    assert idle == [SnapshotStarted(10), Progress(29, 0.029), SnapshotComplete(10)]


def test_a_snapshot_is_complete_at_the_first_later_time(timeline: Start) -> None:
    read = timeline().read
    assert list(read([progress(10)])) == [SnapshotStarted(10)]
    assert list(read([upsert(10, 1), upsert(10, 2, None, "")])) == [SnapshotRows([("A", "1", "1"), (None, "2", "")])]
    assert list(read([upsert(10, 3)])) == [SnapshotRows([("A", "3", "1")])]
    assert list(read([progress(11)])) == [SnapshotComplete()]


def test_an_empty_relation_has_a_snapshot_without_rows(timeline: Start) -> None:
    assert list(timeline().read([progress(10), progress(11)])) == [SnapshotStarted(10), SnapshotComplete()]


def test_a_change_completes_the_snapshot_too(timeline: Start) -> None:
    events = list(timeline().read([progress(10), upsert(12, 1), progress(13)]))
    assert events == [SnapshotStarted(10), SnapshotComplete(), Changes(12, [("1", ("A", "1", "1"))], 0.012)]


def test_a_stream_without_the_first_progress_starts_with_its_rows(timeline: Start) -> None:
    events = list(timeline().read([upsert(10, 1), progress(11)]))
    assert events == [SnapshotStarted(10), SnapshotRows([("A", "1", "1")]), SnapshotComplete()]


def test_changes_wait_until_their_timestamp_is_closed(timeline: Start) -> None:
    read = timeline().read
    list(read([progress(10), progress(11)]))
    assert not list(read([upsert(20, 1)]))
    assert list(read([progress(20)])) == [Progress(19, 0.019)], "rows at 20 may still come"
    assert not list(read([delete(20, 2)]))
    assert list(read([progress(21)])) == [Changes(20, [("1", ("A", "1", "1")), ("2", None)], 0.02)]
    assert list(read([progress(22)])) == [Progress(21, 0.021)]
    assert list(read([progress(23), progress(25)])) == [Progress(24, 0.024)]


def test_without_a_snapshot_there_are_changes_alone(timeline: Start) -> None:
    read = timeline(resumed=True).read
    assert list(read([progress(10)])) == [Resumed()]
    events = list(read([upsert(11, 1), progress(12)]))
    assert events == [Changes(11, [("1", ("A", "1", "1"))], 0.011)]


def test_the_relation_is_told_with_the_snapshot(timeline: Start) -> None:
    assert list(timeline(relation="20001").read([progress(10)])) == [SnapshotStarted(10, "20001")]


def test_a_row_at_a_later_time_closes_the_one_before(timeline: Start) -> None:
    read = timeline().read
    list(read([progress(10), progress(11)]))
    events = list(read([upsert(20, 1), upsert(21, 1, "B"), delete(22, 1)]))
    assert events == [Changes(20, [("1", ("A", "1", "1"))], 0.02), Changes(21, [("1", ("B", "1", "1"))], 0.021)]
    assert list(read([progress(30)])) == [Changes(22, [("1", None)], 0.022), Progress(29, 0.029)]


def test_the_end_of_the_stream_closes_everything(timeline: Start) -> None:
    one = timeline()
    started, _rows = one.read([progress(2**64 - 1), upsert(2**64 - 1, 1)])
    assert started == SnapshotStarted(2**64 - 1)
    assert list(one.timeline.end()) == [SnapshotComplete()]
    other = timeline()
    list(other.read([progress(1), upsert(5, 1)]))
    assert [event.timestamp for event in other.timeline.end() if isinstance(event, Changes)] == [5]
    assert not list(timeline().timeline.end()), "without a first row there was no snapshot"


def test_the_key_comes_first_in_the_order_of_the_schema_file(timeline: Start) -> None:
    read = timeline(PAIRS, (*HEAD, "b", "a")).read
    rows: list[WireRow] = [
        ("1", "t", None, None, None),
        ("2", "f", "upsert", "bee", "ay"),
        ("3", "t", None, None, None),
    ]
    events = list(read(rows))
    assert events[-1] == Changes(2, [(("bee", "ay"), ("ay", "bee"))], 0.002)


@pytest.mark.parametrize("state", ["upsert", "delete"])
@pytest.mark.parametrize("before", [[], [progress(11)]])
def test_a_row_without_a_key_is_told(timeline: Start, before: list[WireRow], state: str) -> None:
    row = (str(11 if before else 10), "f", state, None, "A", "1")
    with pytest.raises(DatabaseError, match=r"^a row has no key \(id=NULL\)$") as caught:
        list(timeline().read([progress(10), *before, upsert(11 if before else 10, 1), row]))
    assert caught.value.permanent


def test_a_key_that_repeats_is_told(timeline: Start) -> None:
    row = ("11", "f", "key_violation", "7", None, None)
    with pytest.raises(DatabaseError, match=r"^several rows have the same key \(id='7'\)$") as caught:
        list(timeline().read([progress(10), row]))
    assert caught.value.permanent
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("primary_key (id) in the schema file must name columns that tell the rows")


@pytest.mark.parametrize("row", [
    ("soon", "f", "upsert", "1", "A", "1"),
    (None, "f", "upsert", "1", "A", "1"),
    ("11", None, "upsert", "1", "A", "1"),
    ("11", "maybe", "upsert", "1", "A", "1"),
    ("11", "f", "upset", "1", "A", "1"),
    ("11", "f", None, "1", "A", "1"),
    ("11", "f", "upsert", "1", "A"),
    ("11", "f"),
    ("9", "f", "upsert", "1", "A", "1"),
])  # fmt: skip
def test_what_can_not_be_read_is_told(timeline: Start, row: WireRow) -> None:
    with pytest.raises(DatabaseError, match=r"^the result of SUBSCRIBE can't be read: "):
        list(timeline().read([progress(10), row, progress(12)]))


@pytest.mark.parametrize("columns", [("id", "symbol"), ("mz_timestamp", "mz_diff", "id"), (*HEAD, "id", "symbol"), ()])
def test_a_result_of_other_columns_is_told(columns: tuple[str, ...]) -> None:
    with pytest.raises(DatabaseError, match=r"^the result of SUBSCRIBE can't be read: "):
        Result(SOURCE, columns)


keys = st.integers(1, 4)
changes = st.dictionaries(keys, st.one_of(st.none(), st.sampled_from(["", " ", "\t", "A", "\\N"])), max_size=4)
histories = st.lists(st.tuples(st.integers(1, 3), changes, st.booleans()), max_size=8)


@given(
    form=st.sampled_from(["fetched", "copied"]),
    snapshot=changes,
    history=histories,
    cuts=st.lists(st.integers(1, 5), max_size=30),
)
def test_any_history_in_any_pieces_ends_in_the_databases_state(
    form: str,
    snapshot: dict[int, str | None],
    history: list[tuple[int, dict[int, str | None], bool]],
    cuts: list[int],
) -> None:
    rows: list[WireRow] = [progress(100), *(upsert(100, key, text) for key, text in snapshot.items())]
    state = {str(key): (text, str(key), "1") for key, text in snapshot.items()}
    states = {100: dict(state)}
    now = 100
    for step, changed, quiet in history:
        now += step
        for key, text in changed.items():
            if text is None:
                rows.append(delete(now, key))
                state.pop(str(key), None)
            else:
                rows.append(upsert(now, key, text))
                state[str(key)] = (text, str(key), "1")
        states[now] = dict(state)
        if not quiet:
            now += 1
            rows.append(progress(now))
    rows.append(progress(now + 1))
    found, then = replay(form, pieces(rows, cuts))
    assert (found, then) == (state, {time: states[time] for time in then})


def pieces(rows: list[WireRow], cuts: list[int]) -> list[list[WireRow]]:
    cut: list[list[WireRow]] = []
    for size in cuts:
        cut.append(rows[:size])
        rows = rows[size:]
    return [*cut, rows]


def replay(form: str, reads: list[list[WireRow]]) -> tuple[dict[Key, Row], dict[int, dict[Key, Row]]]:
    """The rows at the end, and after each timestamp that was handed on."""
    rows: dict[Key, Row] = {}
    states: dict[int, dict[Key, Row]] = {}
    as_of = 0
    one = Reads(form)
    for read in reads:
        for event in one.read(read):
            as_of = apply(event, rows, states, as_of)
    assert one.timeline.complete
    return rows, states


def apply(event: Event, rows: dict[Key, Row], states: dict[int, dict[Key, Row]], as_of: int) -> int:
    if isinstance(event, SnapshotStarted):
        return event.timestamp
    if isinstance(event, SnapshotRows):
        rows.update((SOURCE.key_of(row), row) for row in event.rows)
    elif isinstance(event, SnapshotComplete):
        states[as_of] = dict(rows)
    elif isinstance(event, Changes):
        for key, row in event.changes:
            if row is None:
                rows.pop(key, None)
            else:
                assert isinstance(row, tuple)
                rows[key] = row
        states[event.timestamp] = dict(rows)
    return as_of
