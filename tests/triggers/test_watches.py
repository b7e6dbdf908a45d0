"""What a source tells its triggers: any walk of values is told as a model of ten lines tells it."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.views.support import applied
from tycostream.filters import parse_filter
from tycostream.model import Change, Column, ColumnType, Relation, Row, Source
from tycostream.triggers.watches import MOST_CROSSINGS, Crossing, Happening, Watch, Watches
from tycostream.views import Applied, RowCache
from tycostream.views.states import Rule

SOURCE = Source(
    "positions",
    Relation("positions"),
    (Column("id", ColumnType.INTEGER), Column("value", ColumnType.INTEGER), Column("kind", ColumnType.STRING)),
    ("id",),
)


def watch(fire: dict[str, Any], clear: dict[str, Any] | None = None) -> Watch:
    return Watch(Rule("fired", parse_filter(SOURCE, fire), None if clear is None else parse_filter(SOURCE, clear)))


def row(id_: object, value: int | None, kind: str = "a") -> Row:
    return (str(id_), None if value is None else str(value), kind)


class Stage:
    """A cache and watches, as a source has them."""

    def __init__(self) -> None:
        self.cache = RowCache(SOURCE)
        self.cache.load({}, 0)
        self.watches = Watches(SOURCE)
        self._timestamp = 0

    def route(self, *changes: Change) -> Applied:
        self._timestamp += 1
        done = applied(self.cache, changes, self._timestamp)
        self.watches.route(done)
        return done

    def add(self, one: Watch, *, fire: bool = False) -> None:
        self.watches.add(one)
        self.watches.look_at(one, list(self.cache.rows.items()), self._timestamp, fire=fire)


def told(one: Watch) -> list[tuple[str, str, str | None]]:
    return [(crossing.happening.value, str(crossing.key), crossing.row[1]) for crossing in one.crossings]


def test_fired_between_and_cleared() -> None:
    stage, one = Stage(), watch({"value": {"_gt": 100}}, {"value": {"_lt": 90}})
    stage.route(("1", row(1, 150)), ("2", row(2, 1)))
    stage.add(one)
    for value in (95, 120, None, 95, 80, 95, 101):
        stage.route(("1", row(1, value)), ("2", row(2, value)))
    stage.route(("1", None), ("2", None))
    assert stage.watches.flush() == [one]
    assert told(one) == [
        ("FIRE", "2", "120"), ("CLEAR", "1", "80"), ("CLEAR", "2", "80"), ("FIRE", "1", "101"), ("FIRE", "2", "101"),
        ("CLEAR", "1", "101"), ("CLEAR", "2", "101"),
    ]  # fmt: skip
    assert stage.watches.flush() == []
    assert stage.watches.fired_rows == 0


def test_a_watch_that_is_removed_hears_nothing_and_leaves_nothing() -> None:
    stage, one, other = Stage(), watch({"value": {"_gt": 100}}), watch({"value": {"_gt": 100}})
    for each in (one, other):
        stage.add(each)
    stage.route(("1", row(1, 150)))
    assert stage.watches.remove(one)
    assert not stage.watches.remove(one)
    stage.route(("1", row(1, 1)))
    assert stage.watches.flush() == [other]
    assert (told(one), told(other)) == ([], [("FIRE", "1", "150"), ("CLEAR", "1", "1")])
    assert list(stage.watches) == [other]


def test_what_nobody_takes_is_bounded() -> None:
    one = watch({"value": {"_gt": 100}})
    one.crossings.extend(
        Crossing(Happening.FIRE, str(number), row(number, 1), 1) for number in range(MOST_CROSSINGS + 5)
    )
    assert (len(one.crossings), one.crossings[0].key) == (MOST_CROSSINGS, "5")


class Model:
    """One trigger with a threshold and perhaps another to clear at, of each row by itself."""

    def __init__(self, fire: int, clear: int | None) -> None:
        self.fire, self.clear = fire, clear
        self.fired: set[str] = set()
        self.told: list[tuple[str, str, str | None]] = []

    def see(self, key: str, old: int | None, new: int | None, *, gone: bool) -> None:
        holds = not gone and new is not None and new > self.fire
        clears = gone or self.clear is None or (new is not None and new < self.clear)
        if holds and key not in self.fired:
            self.fired.add(key)
            self.told.append(("FIRE", key, str(new)))
        elif not holds and clears and key in self.fired:
            self.fired.remove(key)
            last = old if gone else new
            self.told.append(("CLEAR", key, None if last is None else str(last)))


keys = st.sampled_from("123")
values = st.one_of(st.none(), st.integers(85, 115))
batches = st.lists(st.tuples(keys, st.one_of(values, st.just("gone"))), min_size=1, max_size=5)
walks = st.lists(st.tuples(st.sampled_from(["commit", "commit", "commit", "roll back", "again"]), batches), max_size=30)
thresholds = st.lists(
    st.tuples(st.integers(88, 112), st.one_of(st.none(), st.integers(86, 110))), min_size=1, max_size=4
)


@example([("commit", [("1", 89), ("2", 89)]), ("roll back", [("1", "gone")])], [(88, None)], 2, True)
@given(walk=walks, limits=thresholds, late=st.integers(0, 30), fire=st.booleans())
def test_any_walk_is_told_as_the_model_tells_it(
    walk: list[tuple[str, list[tuple[str, Any]]]], limits: list[tuple[int, int | None]], late: int, fire: bool
) -> None:
    """Rolled back: the actor failed before it told, and the batch is lost, or comes again. The triggers are made at some
    moment between."""
    stage = Stage()
    known: dict[str, int | None] = {}
    pairs = [
        (watch({"value": {"_gt": up}}, None if down is None else {"value": {"_lt": down}}), Model(up, down))
        for up, down in limits
    ]
    for number, (action, batch) in enumerate([*walk, ("commit", [("1", 100)])]):
        if number == min(late, len(walk)):
            for one, model in pairs:
                stage.add(one, fire=fire)
                for key in stage.cache.rows:  # in its order: a row that was taken back stands last
                    model.see(key, None, known[key], gone=False)
                if not fire:
                    model.told.clear()
            stage.watches.flush()
        changes: list[Change] = [(key, None if value == "gone" else row(key, value)) for key, value in batch]
        if action != "commit":
            done = stage.route(*changes)
            stage.watches.discard()
            stage.cache.undo(done)
        if action != "roll back":
            stage.route(*changes)
            stage.watches.flush()
            for key, value in batch:
                if value != "gone" or key in known:
                    for _, model in pairs if number >= min(late, len(walk)) else ():
                        gone = value == "gone"
                        model.see(key, known.get(key), None if gone else value, gone=gone)
                known[key] = value
                if value == "gone":
                    del known[key]
    for one, model in pairs:
        assert told(one) == model.told
        assert set(one.fired) == model.fired
    fired = {key for one, _ in pairs for key in one.fired}
    assert stage.watches.fired_rows == len(fired)
    for one, _ in pairs:
        stage.watches.remove(one)
    assert (stage.watches.fired_rows, len(stage.watches)) == (0, 0)
