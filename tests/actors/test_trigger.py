"""The trigger actor and the registry: every crossing is handed on once, whoever crashes; what is deleted is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.runtime import LoopActor, handles, stop_actor, tell
from actors.source_messages import Attach, ReadRows, ShowRow, StartWatch
from actors.supervisor import ListActors, Restart
from actors.trigger import CROSSINGS_AT_A_TIME
from actors.trigger_memory import TriggerMemory
from actors.triggers import RegistryConfig, TriggerRegistry
from tests.actors.support import SOURCE, ScriptedDriver, World, subscription, until, world
from tests.actors.test_source import Poison, Poisoned
from tests.support.outlet import RecordingOutlet
from tests.views.support import every_row
from tycostream.databases.driver import DatabaseError
from tycostream.model import Row
from tycostream.triggers import TargetPolicy
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.status import TriggerStatus

URL = "http://127.0.0.1:9/hook"
DEAR = {"price": {"_gt": 100}}


def row(id_: int, price: float | None) -> Row:
    return (str(id_), "A", None if price is None else str(price))


class House:
    """A source that the test drives, and a registry of triggers on it."""

    def __init__(self, world: World, most: int, within: float) -> None:
        self.world = world
        self.outlet = RecordingOutlet()
        self.registry = TriggerRegistry(RegistryConfig(TargetPolicy(), most, within), world.directory)
        self.registry.open(world.supervisor, self.outlet)
        self._timestamp = 10

    async def create(self, name: str = "dear", fire: dict[str, Any] | None = None, **more: Any) -> TriggerStatus:
        wish = {"name": name, "webhook": URL, "fire": fire or DEAR, **more}
        return await self.registry.create(SOURCE, wish)

    async def live(self, *rows: Row, number: int = 1) -> ScriptedDriver:
        """The driver's run of that number, with its snapshot."""
        driver = await self.world.run(number)
        self._timestamp += 1
        driver.snapshot(self._timestamp, *rows)
        await until(lambda: self.world.state == "LIVE")
        return driver

    def change(self, *rows: Row, gone: tuple[int, ...] = ()) -> None:
        """One transaction."""
        self._timestamp += 1
        changes: list[Any] = [(one[0], one) for one in rows] + [(str(id_), None) for id_ in gone]
        self.world.runs[-1].change(self._timestamp, *changes)

    def memory(self, name: str = "dear") -> TriggerMemory:
        return self.registry._triggers[SOURCE][name]

    def status(self, name: str = "dear") -> TriggerStatus:
        found = self.registry.find(SOURCE, name)
        assert found is not None
        return found

    async def quiet(self) -> None:
        """Until everything that was reported has been handled, and handed on."""
        await self.world.source.ask(ReadRows(every_row()), block=False)
        await until(lambda: all(not one.watch.crossings for one in self.registry._triggers.get(SOURCE, {}).values()))

    async def children(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = await self.world.supervisor.ask(ListActors("trigger"), block=False)
        return listed


@asynccontextmanager
async def house(most: int = 100, within: float = 5.0, **config: Any) -> AsyncIterator[House]:
    async with world(**config) as made:
        yield House(made, most, within)


@asynccontextmanager
async def living(*rows: Row, **wish: Any) -> AsyncIterator[House]:
    """With a trigger "dear" on these rows."""
    async with house() as h:
        creating = asyncio.ensure_future(h.create(**wish))
        await h.live(*rows)
        assert (await creating).watching
        yield h


async def test_rows_fire_and_clear() -> None:
    async with living(row(1, 50), row(2, 150), clear={"price": {"_lt": 90}}) as h:
        assert h.outlet.told == [], "rows that match already do not fire"
        h.change(row(1, 101), row(3, 200))
        h.change(row(1, 95), row(2, 80))
        h.change(row(1, 89), gone=(3,))
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1), ("FIRE", 3), ("CLEAR", 2), ("CLEAR", 1), ("CLEAR", 3)]
        last = h.outlet.bodies[-1]
        assert last["data"] == {"id": 3, "symbol": "A", "price": 200.0}, "a row that is gone clears as it was"
        assert (last["trigger_name"], last["source"], last["source_timestamp"]) == ("dear", "trades", "14")
        assert {event.url for event in h.outlet.events} == {URL}
        assert len({event.order_key for event in h.outlet.events}) == 3
        status = h.status()
        assert (status.fired, status.cleared, status.suppressed, status.fired_count) == (2, 3, 0, 0)
        assert status.last_fired_at is not None


async def test_rows_that_match_fire_at_once_where_that_is_wished() -> None:
    async with living(row(1, 150), row(2, 50), on_create="FIRE_EXISTING") as h:
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1)]
        second = await h.create("second", on_create="FIRE_EXISTING")  # there are rows already
        await until(lambda: len(h.outlet.events) == 2)
        assert (second.fired_count, list(second.fired_keys)) == (1, ["1"])


async def test_more_crossings_than_are_handed_on_at_a_time() -> None:
    number = 3 * CROSSINGS_AT_A_TIME + 1
    async with living() as h:
        h.change(*(row(id_, 200) for id_ in range(number)))
        await h.quiet()
        assert h.outlet.told == [("FIRE", id_) for id_ in range(number)]


async def test_creating_waits_until_the_rows_that_are_there_are_known() -> None:
    async with house() as h:
        creating = asyncio.ensure_future(h.create())
        await h.world.run(1)
        assert (await _awaited(h.world.source.ask(ShowRow(), block=False))) == (None, None)
        assert not creating.done()
        await h.live(row(1, 150))
        assert list((await creating).fired_keys) == ["1"]


async def test_a_trigger_on_a_source_without_rows_is_answered_in_time_and_works_later() -> None:
    async with house(within=0.02) as h:
        status = await h.create()
        assert not status.watching
        assert h.world.state == "CONNECTING"
        await h.live(row(1, 150), row(2, 1))
        h.change(row(1, 1), row(2, 150))
        await h.quiet()
        assert h.outlet.told == [("CLEAR", 1), ("FIRE", 2)]
        assert h.status().watching


async def test_on_a_source_that_has_failed_nobody_waits_and_it_is_tried_again() -> None:
    async with house(within=60) as h:
        creating = asyncio.ensure_future(h.create())
        (await h.world.run(1)).fail(DatabaseError("there is no relation trades", permanent=True))
        assert not (await creating).watching
        assert h.world.state == "FAILED"
        assert not (await h.create("second")).watching
        await h.live(row(1, 1), number=2)
        h.change(row(1, 150))
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1), ("FIRE", 1)]


async def test_a_failed_source_that_nobody_followed_is_tried_again_for_a_new_trigger() -> None:
    async with house(within=60) as h:
        question = h.world.source.ask(ReadRows(every_row(), within=60), block=False)
        (await h.world.run(1)).fail(DatabaseError("there is no relation trades", permanent=True))
        await asyncio.gather(_awaited(question), return_exceptions=True)
        await until(lambda: h.world.state == "FAILED")
        assert len(h.world.runs) == 1
        assert not (await h.create()).watching
        await h.live(row(1, 1), number=2)


async def _awaited(future: Any) -> Any:
    return await future


# Crashes


async def crash_source(h: House, change: Any) -> None:
    """The source's actor chokes on a change, and another takes its place."""
    ref, listener = h.world.listener()
    h.world.source.tell(Attach(subscription("9", connection=ref, selection=Poisoned())))
    await until(lambda: listener.tells)
    first = h.world.source
    Poison.armed = True
    change()
    await until(lambda: not first.is_alive() and h.world.directory.get(("source", "trades")) not in (None, first))
    assert not Poison.armed


async def test_a_crash_of_the_source_neither_fires_again_nor_forgets_to_clear() -> None:
    async with living(row(1, 50), row(2, 50), row(3, 50)) as h:
        h.change(row(1, 150), row(2, 150))
        await h.quiet()
        await crash_source(h, lambda: h.change(row(1, 1), row(3, 150)))
        assert h.outlet.told == [("FIRE", 1), ("FIRE", 2)], "what the source had not told is taken back"
        await h.live(row(2, 160), row(3, 170), number=2)
        await until(lambda: len(h.outlet.events) == 4)
        h.change(row(2, 1), row(3, 180))
        await h.quiet()
        assert sorted(h.outlet.told[2:4]) == [("CLEAR", 1), ("FIRE", 3)]
        assert h.outlet.told[4:] == [("CLEAR", 2)]
        assert h.outlet.bodies[2 if h.outlet.told[2][0] == "CLEAR" else 3]["data"]["price"] == 150.0


class Choking:
    """A payload that can't be written, so many times, once as many have been."""

    def __init__(self, payload: Any, after: int, times: int = 1) -> None:
        self._payload = payload
        self._after = after
        self._times = times

    def write(self, *args: Any) -> Any:
        if self._after == 0 and self._times > 0:
            self._times -= 1
            raise RuntimeError("choked")
        self._after = max(0, self._after - 1)
        return self._payload.write(*args)


async def test_a_crash_of_the_trigger_loses_and_doubles_nothing() -> None:
    async with living() as h:
        first = h.world.directory["trigger", "trades/dear"]
        h.memory().payload = Choking(h.memory().payload, after=5)  # type: ignore[assignment]
        h.change(*(row(id_, 200) for id_ in range(10)))
        await until(lambda: not first.is_alive() and len(h.outlet.events) == 10)
        h.change(*(row(id_, 1) for id_ in range(10)))
        await h.quiet()
        assert h.outlet.told == [("FIRE", id_) for id_ in range(10)] + [("CLEAR", id_) for id_ in range(10)]
        (child,) = await h.children()
        assert (child["restarts"], child["last_error"]) == (1, "RuntimeError: choked")
        assert child["details"]["fired"] == child["details"]["cleared"] == 10


async def test_what_a_crashed_trigger_left_is_handed_on_though_its_source_is_down() -> None:
    async with living() as h:
        source = h.world.directory["source", "trades"]
        h.memory().payload = Choking(h.memory().payload, after=0)  # type: ignore[assignment]
        h.change(row(1, 150))
        await until(lambda: h.memory().watch.crossings)
        del h.world.directory["source", "trades"]
        await until(lambda: h.outlet.told == [("FIRE", 1)])
        h.world.directory["source", "trades"] = source


async def test_a_source_that_crashes_before_it_has_rows_is_asked_again() -> None:
    async with house(within=60) as h:
        creating = asyncio.ensure_future(h.create())
        await h.world.run(1)
        first = h.world.source
        await until(lambda: h.memory().watch in h.world.memory.unseen)
        tell(first, Attach(None))  # type: ignore[arg-type]
        h.world.runs[0].snapshot(1, row(1, 150))
        await until(lambda: not first.is_alive())
        await h.live(row(1, 150), number=2)
        assert list((await creating).fired_keys) == ["1"]


async def test_a_trigger_that_was_given_up_is_run_again_when_it_is_enabled() -> None:
    async with living() as h:
        times = Restart().give_up
        h.memory().payload = Choking(h.memory().payload, after=0, times=times)  # type: ignore[assignment]
        child = h.world.supervisor._actor_weakref()._children["trigger", "trades/dear"]
        child.restart = Restart(delay=0.001, most=0.001, give_up=times)
        h.change(row(1, 150))
        await until(lambda: child.state == "given up")
        h.change(row(2, 150))
        await h.world.source.ask(ReadRows(every_row()), block=False)
        assert h.outlet.told == []
        await asyncio.gather(h.registry.enable(SOURCE, "dear"), h.registry.enable(SOURCE, "dear"))
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1), ("FIRE", 2)]
        (listed,) = await h.children()
        assert listed["state"] == "running"


class Deaf(LoopActor):
    """Stands where the source was, and dies of what it is asked."""

    kind = "source"

    def __init__(self, heard: list[Any]) -> None:
        super().__init__()
        self._heard = heard

    @handles(StartWatch)
    def start_watch(self, message: StartWatch) -> None:
        self._heard.append(message)
        raise RuntimeError("crashed")


async def test_a_trigger_created_while_its_source_is_down_is_watched_once_there_is_one() -> None:
    async with house(within=0.02) as h:
        await until(lambda: ("source", "trades") in h.world.directory)
        source = h.world.directory.pop(("source", "trades"))
        assert not (await h.create()).watching
        heard: list[Any] = []
        h.world.directory["source", "trades"] = Deaf.start(heard)
        await until(lambda: heard)
        assert not h.memory().settled.is_set()
        h.world.directory["source", "trades"] = source
        await h.live(row(1, 150))
        await until(lambda: h.status().watching)
        assert list(h.status().fired_keys) == ["1"]


async def test_a_source_that_crashed_before_it_heard_of_the_end_of_a_watch_drops_it() -> None:
    async with living(row(1, 150)) as h:
        watch = h.memory().watch
        source = h.world.directory.pop(("source", "trades"))
        await h.registry.delete(SOURCE, "dear")
        h.world.directory["source", "trades"] = source
        assert watch in h.world.memory.watches
        await crash_source(h, lambda: h.change(row(1, 160)))
        assert watch not in h.world.memory.watches
        assert h.world.memory.watches.fired_rows == 0


async def test_a_source_that_crashes_while_it_looks_at_rows_starts_over() -> None:
    async with house() as h:
        question = h.world.source.ask(ReadRows(every_row(), within=60), block=False)
        await h.live(row(1, 150), row(2, 1))
        await question
        original, memory, calls = h.world.memory.look_at, h.world.memory, []

        def look_at(*args: Any, **wishes: Any) -> None:
            original(*args, **wishes)
            calls.append(args)
            if len(calls) == 1:
                raise RuntimeError("half-way")

        memory.look_at = look_at  # type: ignore[method-assign]
        creating = asyncio.ensure_future(h.create(on_create="FIRE_EXISTING"))
        await h.live(row(1, 150), row(2, 1), number=2)
        assert (await creating).watching
        await h.quiet()
        assert (len(calls), h.outlet.told) == (2, [("FIRE", 1)])


# What clients do


async def test_a_deleted_trigger_is_gone_and_its_name_is_free() -> None:
    async with living(row(1, 150)) as h:
        memory = h.memory()
        actor = h.world.directory["trigger", "trades/dear"]
        status = await h.registry.delete(SOURCE, "dear")
        assert (status.definition.name, list(status.fired_keys)) == ("dear", ["1"])
        assert not actor.is_alive()
        assert await h.children() == []
        assert h.outlet.forgotten == [memory]
        await h.world.source.ask(ReadRows(every_row()), block=False)
        assert len(h.world.memory.watches) == 0
        h.change(row(1, 1), row(2, 150))
        assert (await h.create()).watching
        h.change(row(2, 1))
        await h.quiet()
        assert h.outlet.told == [("CLEAR", 2)]


async def test_a_client_that_goes_away_while_it_deletes_leaves_nothing_half_done() -> None:
    async with living(row(1, 150)) as h:
        deleting = asyncio.ensure_future(h.registry.delete(SOURCE, "dear"))
        await asyncio.sleep(0)
        deleting.cancel()
        await until(lambda: h.outlet.forgotten)
        await until(lambda: len(h.world.memory.watches) == 0)
        assert deleting.cancelled()


async def test_a_source_rests_once_its_last_trigger_is_deleted() -> None:
    async with house(linger=0.01) as h:
        creating = asyncio.ensure_future(h.create())
        await h.live(row(1, 1))
        await creating
        await h.registry.delete(SOURCE, "dear")
        await until(lambda: h.world.state == "IDLE")


async def test_a_trigger_is_deleted_while_it_waits_to_be_started_again() -> None:
    async with living() as h:
        child = h.world.supervisor._actor_weakref()._children["trigger", "trades/dear"]
        child.restart = Restart(delay=60)
        h.memory().payload = Choking(h.memory().payload, after=0, times=2)  # type: ignore[assignment]
        h.change(row(1, 150))
        await until(lambda: child.state == "restarting" and child.failures[1:])
        await h.registry.delete(SOURCE, "dear")
        assert await h.children() == []
        await h.create()
        (listed,) = await h.children()
        assert (listed["state"], listed["restarts"]) == ("running", 0)


async def test_what_a_disabled_trigger_keeps_to_itself_is_counted() -> None:
    async with living(row(1, 150), row(2, 50)) as h:
        before = h.status()
        status = await h.registry.disable(SOURCE, "dear")
        assert not status.enabled
        assert status.updated_at > before.updated_at == before.created_at
        h.change(row(1, 1), row(2, 150), row(3, 150))
        await h.quiet()
        assert h.outlet.told == []
        status = h.status()
        assert (status.fired, status.cleared, status.suppressed) == (2, 1, 3)
        assert list(status.fired_keys) == ["2", "3"], "it goes on following its rows"
        assert (await h.registry.enable(SOURCE, "dear")).enabled
        h.change(row(2, 1), row(1, 150))
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1)], "nobody was told that 2 had fired"
        assert h.status().suppressed == 4


async def test_a_webhook_that_is_gone_is_shown_and_enabled_again() -> None:
    async with living() as h:
        h.outlet.disabled.add(URL)
        assert h.status().endpoint_disabled
        assert not (await h.registry.enable(SOURCE, "dear")).endpoint_disabled


async def test_a_row_that_fires_again_too_soon_is_not_told() -> None:
    async with living(cooldown_seconds=3600) as h:
        for _ in range(3):
            h.change(row(1, 150), row(2, 1))
            h.change(row(1, 1))
        h.change(row(2, 150))
        await h.quiet()
        assert h.outlet.told == [("FIRE", 1), ("CLEAR", 1), ("FIRE", 2)]
        assert (h.status().suppressed, h.status().fired) == (4, 4)


async def test_a_test_shows_a_fired_row_or_else_any_or_nulls() -> None:
    async with living() as h:
        await h.registry.test(SOURCE, "dear")
        h.change(row(1, 50), row(2, 60))
        await h.quiet()
        await h.registry.test(SOURCE, "dear")
        h.change(row(2, 150))
        await h.quiet()
        await h.registry.disable(SOURCE, "dear")
        await h.registry.test(SOURCE, "dear")
        nulls, some, fire, fired = h.outlet.bodies
        assert nulls["data"] == {"id": None, "symbol": None, "price": None}
        assert (some["data"]["id"], fired["data"]["id"]) == (1, 2)
        assert [body["event_type"] for body in (nulls, some, fired)] == ["TEST"] * 3
        assert all(body["test"] is True for body in (nulls, some, fired))
        assert "test" not in fire
        assert h.status().fired == 1
        h.world.directory.pop(("source", "trades"))
        await h.registry.test(SOURCE, "dear")
        assert h.outlet.bodies[-1]["data"]["id"] is None


async def test_what_can_not_be_is_refused() -> None:
    async with house(most=2, within=0.01) as h:
        await h.create("one")
        await h.create("two")
        cases = [
            (h.create("one"), Code.TRIGGER_EXISTS, 'trades has a trigger "one" already'),
            (h.create("three"), Code.TOO_MANY_TRIGGERS, "there are 2 triggers.*MAX_TRIGGERS"),
            (h.registry.delete(SOURCE, "x"), Code.TRIGGER_NOT_FOUND, 'no trigger "x"; its triggers are "one", "two"'),
            (h.registry.enable(SOURCE, ""), Code.TRIGGER_NOT_FOUND, "no trigger"),
            (h.registry.disable(SOURCE, "x"), Code.TRIGGER_NOT_FOUND, "no trigger"),
            (h.registry.test(SOURCE, "x"), Code.TRIGGER_NOT_FOUND, "no trigger"),
        ]
        for wish, code, text in cases:
            with pytest.raises(TriggerError, match=text) as raised:
                await wish
            assert raised.value.code is code
        await h.registry.delete(SOURCE, "one")
        assert [one.definition.name for one in h.registry.all_of(SOURCE)] == ["two"]
        await h.create("three")
        assert h.registry.find(SOURCE, "one") is None


async def test_no_trigger_is_made_while_the_service_is_being_stopped() -> None:
    async with house() as h:
        supervisor = h.world.supervisor
        await stop_actor(h.world.source)
        await stop_actor(supervisor)
        with pytest.raises(TriggerError) as raised:
            await h.create()
        assert raised.value.code is Code.UNAVAILABLE
        assert list(h.registry.all_of(SOURCE)) == []
        h.world.stop = _nothing  # type: ignore[method-assign]


async def _nothing() -> None:
    pass


async def test_the_debug_page_shows_triggers_without_their_addresses() -> None:
    async with living(row(1, 150)) as h:
        (child,) = await h.children()
        assert (child["name"], child["state"]) == ("trades/dear", "running")
        assert child["details"]["rows_fired"] == 1
        assert URL not in str(child)
