"""What a source remembers of its changes, and for whom that is enough."""

from __future__ import annotations

import pytest

from tests.views.support import SOURCE
from tycostream.model import Operation, Row
from tycostream.views import BadCursorError, Cursor, Delta, Moment, RecentChanges, RecentLimits
from tycostream.views.cursor import merged

A: Row = ("1", "A", "1")
B: Row = ("1", "B", "1")


def changed(key: str = "1") -> list[Delta]:
    return [(key, (key, "A", "1"), (key, "B", "1"), 2)]


class Log:
    """A log with a clock of its own, which settles what it notes."""

    def __init__(self, relation: str | None = "u1", **limits: float) -> None:
        self.time = 0.0
        self.now = 10
        self.recent = RecentChanges(SOURCE, RecentLimits(**limits), lambda: self.time)  # type: ignore[arg-type]
        self.recent.start(relation, self.now)

    def happen(self, timestamp: int, deltas: list[Delta] | None = None) -> None:
        self.recent.note(changed() if deltas is None else deltas, timestamp, self.now)
        self.now = timestamp
        self.recent.settle(self.now)

    def cursor(self, after: int | None, upto: int | None = None) -> Cursor:
        return Cursor("trades", self.recent.history, after, (after or 0) if upto is None else upto)

    def missed(self, after: int | None, upto: int | None = None) -> list[int] | None:
        return self.told(self.cursor(after, upto))

    def told(self, cursor: Cursor) -> list[int] | None:
        batches = self.recent.after(cursor, self.now)
        return None if batches is None else [batch.timestamp for batch in batches]


def test_what_came_after_is_told_and_nothing_else() -> None:
    log = Log()
    for timestamp in (12, 14, 16):
        log.happen(timestamp)
    assert log.missed(10) == [12, 14, 16]
    assert log.missed(12) == [14, 16]
    assert log.missed(12, 14) == [14, 16]
    assert log.missed(16) == []
    assert log.missed(9) is None, "before the log began"
    assert log.missed(17) is None, "later than everything"
    assert log.missed(16, 18) is None
    assert log.missed(None, 12) is None, "cut within the first rows"


def test_one_who_has_a_part_of_a_sum_can_not_be_told_the_rest() -> None:
    log = Log()
    log.happen(20)
    assert log.missed(15) is None
    assert log.missed(10) == [20]


@pytest.mark.parametrize(
    ("limits", "kept"), [({"rows": 2}, 2), ({"bytes": 0}, 0), ({"bytes": 1000}, 2), ({"seconds": 2.5}, 3)]
)
def test_limits(limits: dict[str, float], kept: int) -> None:
    log = Log(**limits)
    for timestamp in range(11, 21):
        log.time += 1
        log.happen(timestamp)
    assert log.missed(20 - kept) == [*range(21 - kept, 21)]
    assert log.missed(19 - kept) is None
    assert log.recent.details()["rows"] == kept


def test_only_time_that_passes_makes_nothing_unknown() -> None:
    log = Log(seconds=1)
    log.happen(12)
    log.time += 100
    log.happen(14, [])
    assert log.missed(12) == []
    assert log.missed(10) is None


def test_a_timestamp_that_comes_again_begins_another_history() -> None:
    for again in (14, 13):
        log = Log()
        log.happen(14)
        old = log.cursor(14)
        assert log.told(old) == []
        log.happen(again)
        assert log.told(old) is None
        assert log.missed(again) == [], "whose cursors are good"


def test_time_that_goes_back_without_a_change_begins_another_history() -> None:
    log = Log()
    log.happen(14)
    old = log.cursor(12, 12)
    log.happen(12, [])
    assert log.told(old) is None
    log.happen(13)
    assert log.missed(12) == [13]


def test_what_is_told_while_the_order_is_broken_can_not_be_resumed_from() -> None:
    log = Log()
    log.happen(14)
    log.recent.note(changed(), 13, 14)
    ((*_, timestamp),) = log.recent.stamp([(Operation.UPDATE, "1", B, 2, 13)], 13)
    assert isinstance(timestamp, Moment)
    assert timestamp.after is None


def test_what_is_taken_back_was_never_there() -> None:
    log = Log()
    log.recent.note(changed(), 12, 10)
    log.recent.take_back(10)
    log.recent.settle(11)
    assert log.missed(10) == []
    log.happen(12)
    assert log.missed(10) == [12]


def test_half_a_transaction_that_was_told_before_a_crash_begins_another_history() -> None:
    log = Log()
    log.happen(12)
    old = log.cursor(12)
    log.recent.note(changed(), 14, 12)
    log.recent.settle(12)
    log.recent.take_back(12)
    assert log.told(old) is None
    assert log.missed(12) == []


def test_another_relation_has_another_history() -> None:
    log = Log()
    log.happen(12)
    old = log.cursor(12)
    log.now = 14
    log.recent.moved("u2", 14)
    assert log.told(old) is None
    log.happen(16)
    assert log.missed(14) == [16]
    log.recent.moved("u2", 16)
    assert log.missed(14) == [16], "the same one goes on"


def test_cursors_of_relations_with_an_identity_outlive_the_log() -> None:
    assert Log("u1").cursor(10) == Log("u1").cursor(10)
    assert Log(None).cursor(10) != Log(None).cursor(10)


def test_the_last_change_of_a_whole_timestamp_completes_it() -> None:
    log = Log()
    for timestamp in (12, 14):
        log.recent.note([*changed("1"), *changed("2")], timestamp, timestamp - 2)
    told = log.recent.stamp([(Operation.UPDATE, "1", B, 2, timestamp) for timestamp in (12, 12, 14, 14)], 12)
    moments = [change[4] for change in told]
    assert [(one.before, one.after, int(one)) for one in moments if isinstance(one, Moment)] == [
        (10, 10, 12),
        (10, 12, 12),
        (12, 12, 14),
        (12, 12, 14),  # more of it may come
    ]
    within, last = merged(moments[0], moments[1])
    assert isinstance(within, Moment)
    assert isinstance(last, Moment)
    assert (within.after, last.after) == (10, 12)
    within, last = merged(moments[0], moments[2])
    assert isinstance(within, Moment)
    assert isinstance(last, Moment)
    assert (within.after, last.after, int(last)) == (10, 12, 14)
    assert merged(1, 2) == (2, 2)


def test_a_cursor_is_read_as_it_was_written() -> None:
    for cursor in (Cursor("trades", "u1~x", 5, 2**64), Cursor("trades", "", None, 0)):
        text = cursor.encode()
        assert Cursor.decode(text, "trades") == cursor
        assert text.replace("-", "").replace("_", "").isalnum()


def test_what_is_no_cursor_is_refused() -> None:
    text = Cursor("trades", "u1", 5, 6).encode()
    for wrong in ("", "x", "é", "AAAA", text[:-1], text + "A", text[1:], "A" * 5000, text.swapcase(), " " + text):
        with pytest.raises(BadCursorError):
            Cursor.decode(wrong, "trades")
    with pytest.raises(BadCursorError, match="it is a cursor of trades"):
        Cursor.decode(text, "orders")
