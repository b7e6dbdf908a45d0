"""Any history of the simulated Materialize, read from any time on, ends with what it holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.materialize import Behaviour
from tests.support.materialize.clients import fields
from tests.support.materialize.formats import DATA_ROW
from tests.support.materialize.relations import Row
from tests.support.materialize.statements import Subscribe
from tests.support.materialize.subscribe import Subscription
from tests.support.materialize.wire import SqlError
from tests.support.materialize.world import World

keys, values = st.sampled_from("abc"), st.sampled_from(["x", "y", None])
commits = st.lists(
    st.lists(st.tuples(keys, st.one_of(values, st.just("gone"))), min_size=1, max_size=4), min_size=1, max_size=8
)


def replay(world: World, subscribe: Subscribe) -> tuple[list[list[str | None]], Subscription]:
    """All rows of a subscription from its start until now."""
    subscription = world.subscribe(world.plan(subscribe), DATA_ROW, lambda: None)
    data, count = subscription.take(10_000)
    rows, position = [], 0
    for _ in range(count):
        length = int.from_bytes(data[position + 1 : position + 5], "big")
        rows.append(fields(data[position + 5 : position + 1 + length]))
        position += 1 + length
    return rows, subscription


@settings(max_examples=200, deadline=None)
@given(history=commits, data=st.data())
def test_any_history_replayed_from_any_time_ends_with_the_contents(history: list[Any], data: st.DataObject) -> None:
    """Diffs summed and upserts applied give the contents, with a snapshot at any time and without one from F - 1."""
    world = World(Behaviour(clock=lambda: 0))
    world.create("t", {"v": "text", "k": "text"})
    states: dict[int, dict[str, str | None]] = {world.frontier - 1: {}}
    now: dict[str, str | None] = {}
    for commit in history:
        before = dict(now)
        for key, value in commit:
            now.pop(key, None) if value == "gone" else now.update({key: value})
        old: Counter[Row] = Counter((v, k) for k, v in before.items())
        new: Counter[Row] = Counter((v, k) for k, v in now.items())
        changes = [("t", row, new[row] - old[row]) for row in [*old, *new]]
        time = world.commit({change[1]: change for change in changes}.values())
        states[time] = dict(now)
    since = data.draw(st.sampled_from(list(states)))
    world.compact(since)
    start = data.draw(st.sampled_from(list(states)))
    snapshot = data.draw(st.booleans())
    base = Subscribe(("t",), snapshot=snapshot, progress=True, as_of=start)
    if start < since:
        with pytest.raises(SqlError):
            replay(world, base)
        return
    diffs, _ = replay(world, base)
    upserts, _ = replay(world, Subscribe(("t",), key=("k",), snapshot=snapshot, progress=True, as_of=start))
    counts: Counter[tuple[str | None, ...]] = (
        Counter() if snapshot else Counter((v, k) for k, v in states[start].items())
    )
    for _, progressed, diff, *row in diffs:
        if progressed == "f":
            counts[tuple(row)] += int(diff or "")
    kept = {} if snapshot else dict(states[start])
    for _, progressed, state, key, value in upserts:
        if progressed == "f":
            assert state in ("upsert", "delete")
            kept.pop(key or "") if state == "delete" else kept.update({key or "": value})
    assert +counts == Counter((v, k) for k, v in now.items())
    assert not -counts
    assert kept == now
    for rows in (diffs, upserts):
        times = [(int(row[0] or "")) for row in rows]
        assert times == sorted(times)
        assert (times[0], rows[0][1], rows[-1][1]) == (start, "t", "t")
        assert rows[-1][0] == str(world.frontier)
        if not snapshot:
            assert all(int(row[0] or "") > start for row in rows[1:])
