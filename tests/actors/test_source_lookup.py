"""The source actor finds the row of a key without asking the others."""

from __future__ import annotations

from actors.source_messages import ReadRows
from tests.actors.support import SOURCE, until, world
from tycostream.filters import key_lookup
from tycostream.model import Row

ROWS: list[Row] = [("1", "AAPL", "1"), ("2", "MSFT", "2"), ("3", "IBM", "3")]


def by_key(key: int) -> ReadRows:
    lookup = key_lookup(SOURCE, {"id": key})
    return ReadRows(lookup.filter, lookup=lookup)


async def test_a_row_by_its_key() -> None:
    async with world() as made:
        waiting = made.source.ask(by_key(2), block=False)
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        assert await waiting == [ROWS[1]]
        assert await made.source.ask(by_key(3), block=False) == [ROWS[2]]
        assert await made.source.ask(by_key(4), block=False) == []
        driver.change(2, ("4", ("4", "NEW", None)), ("3", None))
        await until(lambda: made.memory.cache.timestamp == 2)
        assert await made.source.ask(by_key(4), block=False) == [("4", "NEW", None)]
        assert await made.source.ask(by_key(3), block=False) == []
        assert made.memory.cache._frozen is None  # no copy of all rows was made
