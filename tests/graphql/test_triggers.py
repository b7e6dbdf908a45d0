"""Triggers in GraphQL, on a service that the test makes up; the real one is in tests/end_to_end/test_triggers.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.graphql.examples import CATALOG, TRADES, Shelf
from tycostream.graphql import Engine, Limits, PreparedQuery
from tycostream.model import Catalog, Source
from tycostream.triggers import Statistics, TargetPolicy
from tycostream.triggers.definition import define
from tycostream.triggers.status import TriggerStatus

WISH = {"name": "n", "webhook": "http://a/", "fire": {"id": {"_gt": 1}}}
MOMENT = datetime(2024, 1, 2, 3, 4, 5, 678900, UTC)


def status(**more: Any) -> TriggerStatus:
    known = {
        "definition": define(TRADES, WISH, TargetPolicy()), "enabled": True, "watching": True,
        "endpoint_disabled": False, "created_at": MOMENT, "updated_at": MOMENT, "last_fired_at": None, "fired": 0,
        "cleared": 0, "suppressed": 0, "sent": Statistics(), "waiting": 0, "fired_count": 0, "fired_keys": (),
    }  # fmt: skip
    return TriggerStatus(**(known | more))


class Made:
    """Remembers what it was asked to do, in order; what is done takes a turn of the loop or two."""

    def __init__(self, *statuses: TriggerStatus, error: Exception | None = None) -> None:
        self.statuses = statuses
        self.done: list[tuple[str, object]] = []
        self._error = error

    def find(self, source: Source, name: str) -> TriggerStatus | None:
        if self._error is not None:
            raise self._error
        return next((one for one in self.statuses if one.definition.name == name), None)

    def all_of(self, source: Source) -> Iterator[TriggerStatus]:
        return iter(self.statuses)

    async def create(self, source: Source, wish: Mapping[str, Any]) -> TriggerStatus:
        return await self._do("create", dict(wish))

    async def delete(self, source: Source, name: str) -> TriggerStatus:
        return await self._do("delete", name)

    async def enable(self, source: Source, name: str) -> TriggerStatus:
        return await self._do("enable", name)

    async def disable(self, source: Source, name: str) -> TriggerStatus:
        return await self._do("disable", name)

    async def test(self, source: Source, name: str) -> TriggerStatus:
        return await self._do("test", name)

    async def _do(self, deed: str, what: object) -> TriggerStatus:
        self.done.append((f"begin {deed}", what))
        await asyncio.sleep(0)
        self.done.append((f"end {deed}", what))
        return status()


async def ask(service: Made, query: str, catalog: Catalog = CATALOG) -> Any:
    engine = Engine(catalog, Limits(), Shelf([]), service)
    prepared = engine.prepare(query, None, None)
    assert isinstance(prepared, PreparedQuery)
    return await engine.execute(prepared)


async def test_mutations_of_a_document_are_done_one_after_the_other() -> None:
    service = Made()
    deeds = ("disable", "enable", "test", "delete")
    await ask(service, "mutation {" + " ".join(f'{one}_trades_trigger(name: "a") {{ name }}' for one in deeds) + "}")
    assert service.done == [(f"{when} {deed}", "a") for deed in deeds for when in ("begin", "end")]


async def test_a_wish_comes_as_it_is_meant() -> None:
    service = Made()
    query = (
        'mutation { create_trades_trigger(input: {name: "n", webhook: "w", fire: {side: {_in: sell}, id: {_gt: 1}}, '
        'cooldown_seconds: 2, fields: "id"}) { created_at last_fired_at } }'
    )
    answer = await ask(service, query)
    assert answer["data"] == {
        "create_trades_trigger": {"created_at": "2024-01-02T03:04:05.678Z", "last_fired_at": None}
    }
    assert service.done[0][1] == {
        "name": "n", "webhook": "w", "fire": {"id": {"_gt": 1}, "side": {"_in": ["sell"]}}, "fields": ["id"],
        "on_create": "REMEMBER_EXISTING", "cooldown_seconds": 2.0,
    }  # fmt: skip


async def test_a_source_may_be_named_like_a_mutation_of_another() -> None:
    name = "delete_trades_trigger"
    other = Source(name, TRADES.relation, TRADES.columns, TRADES.primary_key)
    catalog = Catalog({"trades": TRADES, name: other}, CATALOG.enums)
    answer = await ask(Made(), f'mutation {{ {name}(name: "a") {{ name }} }}', catalog)
    assert answer == {"data": {name: {"name": "n"}}}


async def test_a_long_list_leaves_the_loop_to_others() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(count())
    answer = await ask(Made(*[status()] * 3000), "{ trades_triggers { name webhook fire fired } }")
    other.cancel()
    assert len(answer["data"]["trades_triggers"]) == 3000
    assert turns > 5


async def test_keys_come_in_pages_and_counts_fit() -> None:
    one = status(fired=2**40, fired_count=500, fired_keys=dict.fromkeys(str(number) for number in range(500)))
    query = '{ t: trades_trigger(name: "n") { fired a: fired_rows b: fired_rows(limit: 2, offset: 499) '
    answer = await ask(Made(one), query + "c: fired_rows(limit: null, offset: null) d: fired_rows(limit: 0) } }")
    found = answer["data"]["t"]
    assert found["fired"] == 2**31 - 1
    assert (len(found["a"]), found["a"][1], found["b"], found["d"]) == (100, '{"id":1}', ['{"id":499}'], [])
    assert found["c"] == found["a"]


async def test_an_error_within_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    answer = await ask(Made(error=RuntimeError("the password is 1234")), '{ t: trades_trigger(name: "n") { name } }')
    (error,) = answer["errors"]
    assert answer["data"] == {"t": None}
    assert (error["message"], error["extensions"]) == ("Internal error", {"code": "INTERNAL_SERVER_ERROR"})
