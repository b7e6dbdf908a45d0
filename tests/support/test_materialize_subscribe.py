"""What the simulated Materialize's SUBSCRIBE emits: snapshot, changes, progress, envelopes, resuming."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.materialize import simulating
from tests.support.materialize.clients import TextClient, fields, text_client, wire_client

Rows = list[tuple[str | None, ...]]
PEOPLE = {"name": "text", "id": "integer", "age": "integer"}
A, B, C = ("Ann", "1", "30"), ("Bob", "2", None), ("Ann", "1", "31")
NOW = "WITH (TIMEOUT = '0s')"


async def ready(client: TextClient) -> Rows:
    """What can be fetched now."""
    return await client.rows(f"FETCH ALL c {NOW}")


async def test_snapshot_changes_and_progress() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        last = simulator.insert("people", A, B)
        await client.declare("people WITH (PROGRESS)")
        rows = await client.rows("FETCH ALL c")
        as_of, after = str(last), str(last + 1)
        assert rows == [
            (as_of, "t", None, None, None, None),
            (as_of, "f", "1", *A),
            (as_of, "f", "1", *B),
            (after, "t", None, None, None, None),
        ]
        described = [(column.name, column.type_code) for column in client.cursor.description]
        assert described == [("mz_timestamp", 1700), ("mz_progressed", 16), ("mz_diff", 20), ("name", 25), ("id", 23), ("age", 23)]  # fmt: skip
        changed = simulator.replace("people", A, C)
        assert changed >= int(after)
        moment, then = str(changed), str(changed + 1)
        assert await ready(client) == [(moment, "f", "-1", *A), (moment, "f", "1", *C), (then, "t", *[None] * 4)]
        assert await ready(client) == []
        idle = simulator.tick()
        assert await ready(client) == [(str(idle), "t", *[None] * 4)]


async def test_an_empty_relation_has_two_progress_rows() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        await client.declare("people WITH (PROGRESS)")
        first, second = await client.rows("FETCH ALL c")
        assert (first[1], second[1]) == ("t", "t")
        assert int(second[0] or "") > int(first[0] or "")


async def test_without_progress_only_data_comes() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        time = simulator.insert("people", A)
        await client.declare("people")
        assert await client.rows("FETCH ALL c") == [(str(time), "1", *A)]
        simulator.tick()
        assert await ready(client) == []


async def test_idle_progress_comes_by_itself() -> None:
    async with simulating(tick_seconds=0.01) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        await client.declare("people WITH (PROGRESS)")
        times = [int((await client.rows("FETCH c"))[0][0] or "") for _ in range(5)]
        assert times == sorted(set(times))


async def test_every_commit_has_a_later_timestamp_even_when_the_clock_stands_still() -> None:
    async with simulating(tick_seconds=None, clock=lambda: 1_000) as simulator:
        simulator.create("t", {"id": "integer"})
        times = [simulator.insert("t", (str(number),)) for number in range(3)]
        assert times == [1001, 1002, 1003]  # the relation itself took 1000
        assert simulator.tick() == 1005
        assert simulator.insert("t", ("3",)) == 1005  # at the time of the last progress row: that is allowed


async def test_progress_can_be_withheld() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        await client.declare("people WITH (PROGRESS)")
        await client.rows("FETCH ALL c")
        with simulator.hold_progress():
            one = simulator.insert("people", A)
            assert await ready(client) == [(str(one), "f", "1", *A)]
            simulator.tick()
            two = simulator.insert("people", B)
            assert await ready(client) == [(str(two), "f", "1", *B)]
        assert await ready(client) == [(str(two + 1), "t", *[None] * 4)]


async def test_several_timestamps_come_in_one_batch() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("people", PEOPLE)
        client.query("COPY (SUBSCRIBE people WITH (PROGRESS, SNAPSHOT false)) TO STDOUT")
        assert [(await client.message())[0] for _ in range(3)] == ["H", "d", "d"]
        before = simulator.sessions[0].connection.sent_bytes
        with simulator.hold_output():
            times = [simulator.insert("people", A), simulator.insert("people", B), simulator.delete("people", A)]
            simulator.compact(times[-1])  # what is owed stays
            assert simulator.sessions[0].connection.sent_bytes == before
        lines = [(await client.message())[1].split(b"\t") for _ in range(4)]
        assert [int(line[0]) for line in lines] == [*times, times[-1] + 1]
        assert [line[1] for line in lines] == [b"f", b"f", b"f", b"t"]


async def test_key_columns_come_first_in_the_order_of_the_key() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", {"a": "text", "b": "bigint", "c": "uuid", "d": "boolean"})
        simulator.insert("people", ("a", "1", "c", "t"))
        await client.declare("people ENVELOPE UPSERT (KEY (d, b))")
        ((*_, state, d, b, a, c),) = await client.rows("FETCH c")
        names = [(column.name, column.type_code) for column in client.cursor.description]
        assert names == [("mz_timestamp", 1700), ("mz_state", 25), ("d", 16), ("b", 20), ("a", 25), ("c", 2950)]
        assert (state, d, b, a, c) == ("upsert", "t", "1", "a", "c")


@pytest.mark.parametrize(
    ("changes", "state", "value"),
    [
        ([("x", 1)], "upsert", "x"),
        ([("x", -1)], "delete", None),
        ([("x", -1), ("y", 1)], "upsert", "y"),
        ([("y", 1), ("x", -1)], "upsert", "y"),
        ([("x", 1), ("y", 1)], "key_violation", None),
        ([("x", 2)], "key_violation", None),
        ([("x", -2)], "key_violation", None),
        ([("x", -1), ("y", -1)], "key_violation", None),
        ([("x", -1), ("y", 2)], "key_violation", None),
        ([("x", -2), ("y", 1)], "key_violation", None),
        ([("x", 1), ("y", 1), ("z", -1)], "key_violation", None),
    ],
)
async def test_upsert_groups(changes: list[tuple[str, int]], state: str, value: str | None) -> None:
    """The table of states (active_compute_sink.rs), at one timestamp for one key."""
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer", "v": "text"})
        await client.declare("t ENVELOPE UPSERT (KEY (id))")
        await client.rows("FETCH 0 c")
        time = simulator.commit([("t", ("1", v), diff) for v, diff in changes], allow_negative=True)
        assert await client.rows("FETCH ALL c") == [(str(time), state, "1", value)]
        if state == "key_violation":  # the stream goes on
            simulator.insert("t", ("2", "z"))
            assert (await client.rows("FETCH ALL c"))[0][1:] == ("upsert", "2", "z")


async def test_the_snapshot_violates_keys_too() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer", "v": "text"})
        simulator.insert("t", ("1", "x"), ("1", "y"), ("2", "x"), ("3", "x"), ("3", "x"))
        await client.declare("t ENVELOPE UPSERT (KEY (id))")
        rows = await client.rows("FETCH ALL c")
        assert [row[1:] for row in rows] == [("key_violation", "1", None), ("upsert", "2", "x"), ("key_violation", "3", None)]  # fmt: skip


async def test_diffs_are_consolidated_and_the_new_row_may_come_first() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer", "v": "text"})
        await client.declare("t")
        await client.rows("FETCH 0 c")
        simulator.insert("t", ("1", "b"), ("1", "b"), ("1", "b"))
        assert [row[1:] for row in await client.rows("FETCH ALL c")] == [("3", "1", "b")]
        simulator.commit([("t", ("1", "b"), -2), ("t", ("1", "a"), 1), ("t", ("2", "x"), 1), ("t", ("2", "x"), -1)])
        assert [row[1:] for row in await client.rows("FETCH ALL c")] == [("1", "1", "a"), ("-2", "1", "b")]


async def test_a_query_sees_its_columns_only() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("Pe ople", PEOPLE, schema="other")
        simulator.insert("other.Pe ople", A, ("Ann", "9", "30"), B)
        await client.declare('(SELECT "age", name FROM "materialize"."other"."Pe ople") WITH (PROGRESS)')
        rows = await client.rows("FETCH ALL c")
        assert [row[2:] for row in rows[1:-1]] == [("2", "30", "Ann"), ("1", None, "Bob")]
        simulator.replace("other.Pe ople", A, ("Ann", "7", "30"))  # no difference in these columns
        assert [row[1] for row in await ready(client)] == ["t"]
        await client.call(client.raw.rollback)
        await client.declare('(SELECT * FROM other."Pe ople") ENVELOPE UPSERT (KEY (id))')
        assert [row[2] for row in await client.rows("FETCH ALL c")] == ["9", "2", "7"]


async def test_names_and_columns_must_be_known() -> None:
    async with simulating() as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        for name in ("nobody", "other.people", '"People"', "elsewhere.public.people"):
            sqlstate, text = await client.error(f"DECLARE c CURSOR FOR SUBSCRIBE {name}")
            assert (sqlstate, text) == ("XX000", f"unknown catalog item '{name.replace(chr(34), '')}'")
            await client.call(client.raw.rollback)
        for what in ("(SELECT nothing FROM people)", "people ENVELOPE UPSERT (KEY (nothing))", "(SELECT id FROM people) ENVELOPE UPSERT (KEY (name))"):  # fmt: skip
            assert (await client.error(f"DECLARE c CURSOR FOR SUBSCRIBE {what}"))[0] == "42703"
            await client.call(client.raw.rollback)
        simulator.behaviour.unknown_item_sqlstate = "42704"
        assert (await client.error("DECLARE c CURSOR FOR SUBSCRIBE nobody"))[0] == "42704"


async def test_resuming_at_the_frontier_loses_a_row_and_one_below_does_not() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        simulator.insert("people", B)
        frontier = simulator.frontier  # the last progress row that a client knows
        time = simulator.insert("people", A)
        simulator.insert("people", C)
        assert time >= frontier
        with_clock_still = time == frontier
        for as_of, expected in ((time - 1, [A, C]), (time, [C])):
            await client.declare(f"people WITH (PROGRESS, SNAPSHOT = false) AS OF {as_of}")
            rows = await client.rows("FETCH ALL c")
            assert rows[0] == (str(as_of), "t", *[None] * 4)
            assert [row[3:] for row in rows if row[1] == "f"] == expected
            await client.call(client.raw.rollback)
        assert with_clock_still or time > frontier
        await client.declare(f"people WITH (PROGRESS, SNAPSHOT) AS OF '{time}'")
        rows = await client.rows("FETCH ALL c")
        assert [(row[0], row[3:]) for row in rows if row[1] == "f"] == [
            (str(time), B), (str(time), A), (str(simulator.frontier - 1), C),
        ]  # fmt: skip


async def test_history_that_is_gone() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client, wire_client(simulator.port) as wire:  # fmt: skip
        simulator.create("people", PEOPLE)
        time = simulator.insert("people", A)
        simulator.insert("people", B)
        simulator.compact(time + 1)
        await client.declare(f"people AS OF {time}")  # only the first FETCH tells
        assert await client.error("FETCH 0 c") == ("22000", "could not find a valid timestamp for the query")
        await client.call(client.raw.rollback)
        answer = await wire.answer(f"COPY (SUBSCRIBE people AS OF {time}) TO STDOUT")
        assert [kind for kind, _ in answer] == ["E", "Z"]
        simulator.behaviour.old_since_text = True
        await client.declare(f"people AS OF {time}")
        sqlstate, text = await client.error("FETCH 0 c")
        assert (sqlstate, text.startswith(f"Timestamp ({time}) is not valid for all inputs: [")) == ("XX000", True)
        await client.call(client.raw.rollback)
        await client.declare(f"people AS OF AT LEAST {time}")
        assert {row[0] for row in await client.rows("FETCH ALL c")} == {str(simulator.frontier - 1)}
        await client.call(client.raw.rollback)
        await client.declare(f"people WITH (SNAPSHOT = false) AS OF {time + 1}")
        await client.rows("FETCH 0 c")


async def test_history_ages_by_itself() -> None:
    now = 10_000
    async with simulating(tick_seconds=None, retain_history_ms=1000, clock=lambda: now) as simulator:
        relation = simulator.create("people", PEOPLE)
        simulator.insert("people", A)
        now = 15_000
        simulator.tick()
        assert relation.since == 14_000


async def test_a_relation_cannot_be_read_before_it_was_made() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        simulator.insert("people", A)
        known = simulator.frontier
        old = simulator.relation("people").id
        simulator.drop("people")
        assert simulator.create("people", PEOPLE).id != old
        await client.declare(f"people WITH (SNAPSHOT = false) AS OF {known - 1}")
        assert (await client.error("FETCH 0 c"))[0] == "22000"


async def test_up_to() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client, wire_client(simulator.port) as wire:  # fmt: skip
        simulator.create("people", PEOPLE)
        start = simulator.insert("people", A)
        end = simulator.insert("people", B)
        simulator.insert("people", C)
        answer = await wire.answer(f"COPY (SUBSCRIBE people WITH (PROGRESS) AS OF {start} UP TO {end + 1}) TO STDOUT")
        assert [kind for kind, _ in answer] == ["H", "d", "d", "d", "c", "C", "Z"]
        assert answer[-2][1] == b"COPY 3\0"  # progress at AS OF, A, B; no progress at the end
        await client.declare(f"people AS OF {start} UP TO {end}")
        assert await client.rows("FETCH ALL c") == [(str(start), "1", *A)]
        assert await client.rows("FETCH ALL c") == []
        await client.call(client.raw.rollback)
        await client.declare(f"people WITH (PROGRESS) AS OF {end} UP TO {end}")
        assert await client.rows("FETCH ALL c") == []
        assert "guaranteed to be empty" in client.raw.notices[-1]
        await client.call(client.raw.rollback)
        await client.declare(f"people AS OF {end} UP TO {start}")
        assert await client.error("FETCH ALL c") == (
            "22000", f'subscription lower ("as of") bound is beyond its upper ("up to") bound: {start} < {end}',
        )  # fmt: skip


async def test_a_time_in_the_future_has_to_come_first() -> None:
    now = 1_000
    async with simulating(tick_seconds=None, clock=lambda: now) as simulator, text_client(simulator.dsn) as client:
        simulator.create("people", PEOPLE)
        await client.declare("people WITH (PROGRESS) AS OF 5000")
        assert await client.rows("FETCH ALL c") == [("5000", "t", *[None] * 4)]
        simulator.insert("people", A)
        assert await ready(client) == []
        now = 5_000
        simulator.tick()
        assert await ready(client) == []  # there can still be a commit at 5000
        assert simulator.insert("people", B) == 5_000
        assert await ready(client) == [("5000", "f", "1", *A), ("5000", "f", "1", *B), ("5001", "t", *[None] * 4)]


async def test_mistakes_of_tests_are_refused() -> None:
    async with simulating() as simulator:
        simulator.create("people", PEOPLE)
        frontier = simulator.frontier
        for changes in ([("people", A, 1), ("people", B, -1)], [("people", ("x",), 1)], [("people", (1, 2, 3), 1)]):
            with pytest.raises(ValueError, match="people"):
                simulator.commit(changes)  # type: ignore[arg-type]
        assert (simulator.contents("people"), simulator.frontier) == (Counter(), frontier)


async def test_plain_subscribe_warns_and_streams() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("people", PEOPLE)
        time = simulator.insert("people", A)
        answer = await client.answer(f"SUBSCRIBE TO people UP TO {time + 1}")
        assert [kind for kind, _ in answer] == ["N", "T", "D", "C", "Z"]
        assert b"C01000\0Mstreaming SUBSCRIBE rows directly requires a client that does not buffer output\0" in answer[0][1]  # fmt: skip
        assert fields(answer[2][1]) == [str(time), "1", *A]
