"""Whatever receivers do, and whenever: every event has one outcome, none is lost while the queue has room, each row's
are in order."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.receiver import Received, Wire, breaking
from tests.triggers.support import Told, couriers
from tycostream.triggers import Patience, Result, Schedule

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAULTS = ("ok", "500", "429", "reset", "close", "half head", "garbage", "silent", "half body", "late")


async def do(fault: str, wire: Wire) -> None:
    match fault:
        case "ok":
            await wire.send(OK)
        case "500" | "429":
            await wire.send(b"HTTP/1.1 %b X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n" % fault.encode())
        case "reset":
            wire.reset()
        case "half head":
            await wire.send(OK[:12])
        case "garbage":
            await wire.send(b"\x16\x03\x01\x02\x00\r\n\r\n")
        case "silent":
            await wire.closed()
        case "half body":
            await wire.send(OK[:-1])
            wire.reset()
        case "late":
            await asyncio.sleep(0.01)
            await wire.send(OK)


async def history(events: list[tuple[int, int]], faults: list[str], per_endpoint: int, pauses: list[int]) -> None:
    """Events as (endpoint, row) to two endpoints, whose connections meet these faults and are fine after that."""
    told = Told()
    left = list(faults)

    async def fault(wire: Wire, _: Received) -> None:
        await do(left.pop(0) if left else "ok", wire)

    never_give_up = Schedule(attempts=100, least=0.001, most=0.01, max_age=60.0)
    async with (
        breaking(fault) as one,
        breaking(fault) as other,
        couriers(
            schedule=never_give_up, patience=Patience(5.0, 0.1), concurrency=4, concurrency_per_endpoint=per_endpoint
        ) as courier,
    ):
        receivers = (one, other)
        for number, (endpoint, row) in enumerate(events):
            courier.send(told.event(receivers[endpoint].url(), b"%d:%d" % (row, number), row))
            if number in pauses:
                await asyncio.sleep(0.002)
        outcomes = await told.until(len(events))
        assert {outcome.result for outcome in outcomes} <= {Result.DELIVERED}
        assert max(one.most_in_flight, other.most_in_flight) <= per_endpoint + len(faults)  # given up, but not yet seen
        for endpoint, receiver in enumerate(receivers):
            sent = [b"%d:%d" % (row, number) for number, (to, row) in enumerate(events) if to == endpoint]
            assert set(receiver.bodies) == set(sent)
            for row in range(3):
                arrived = [int(body.split(b":")[1]) for body in receiver.bodies if body.startswith(b"%d:" % row)]
                assert arrived == sorted(arrived)
        totals = courier.totals()
        assert (totals.delivered, totals.waiting, totals.in_flight, totals.failed) == (len(events), 0, 0, 0)
        assert courier._bytes == courier._delays == 0
        assert not any(endpoint.lanes or endpoint.ready for endpoint in courier._endpoints.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=25),
    faults=st.lists(st.sampled_from(FAULTS), max_size=15),
    per_endpoint=st.integers(1, 4),
    pauses=st.lists(st.integers(0, 24), max_size=4),
)
def test_no_event_is_lost_and_rows_are_in_order(io_loop: Any, events, faults, per_endpoint, pauses) -> None:
    io_loop.run_sync(lambda: history(events, faults, per_endpoint, pauses))


async def disturbance(seed: int) -> None:
    """Sends, overflows, forgets, disables and closes at random."""
    chance = random.Random(seed)
    told = Told()
    sent = 0

    async def fault(wire: Wire, _: Received) -> None:
        if chance.random() < 0.05:
            await wire.send(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        else:
            await do(chance.choice(("ok", "ok", "500", "reset", "silent", "late")), wire)

    async with (
        breaking(fault) as one,
        breaking(fault) as other,
        couriers(
            schedule=Schedule(3, 0.001, 0.02, 60.0),
            patience=Patience(5.0, 0.05),
            concurrency=3,
            concurrency_per_endpoint=2,
            queue=20,
            queue_per_endpoint=15,
        ) as courier,
    ):
        for _ in range(30):
            for _ in range(chance.randrange(12)):
                url = chance.choice((one, other)).url(chance.choice(("/a", "/b")))
                courier.send(told.event(url, b"%d" % sent, chance.randrange(5), chance.randrange(3)))
                sent += 1
            assert courier.totals().waiting <= 20
            assert max([one.waiting for one in courier.endpoints().values()], default=0) <= 15
            if chance.random() < 0.1:
                courier.forget(chance.randrange(3))
            if chance.random() < 0.3:
                courier.enable(one.url("/a"))
            await asyncio.sleep(chance.choice((0, 0.001, 0.005)))
        await courier.close(chance.choice((0, 0.05)))
        await told.until(sent)
        totals = courier.totals()
        assert (totals.waiting, totals.in_flight) == (0, 0)
        assert totals.delivered == told.results().count(Result.DELIVERED)
        assert totals.failed == told.results().count(Result.FAILED)
        assert courier._bytes == courier._delays == 0
        assert courier._turns.idle
        assert courier._turns._failing_in_flight == 0
        assert not any(endpoint.lanes or endpoint.ready for endpoint in courier._endpoints.values())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_every_event_has_one_outcome_whatever_happens(io_loop: Any, seed: int) -> None:
    io_loop.run_sync(lambda: disturbance(seed))
    gc.collect()
