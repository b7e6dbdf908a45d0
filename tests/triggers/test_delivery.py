"""The courier against real receivers: nothing lost, order within a row, bounds, fairness, and what each answer leads to."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import Any

import pytest

import tycostream
from tests.support.receiver import Answer, Received, Wire, breaking, certificates, receiving, refusing
from tests.triggers.support import WAIT, Told, couriers
from tycostream.triggers import Courier, Outcome, Patience, Result, Schedule, Statistics, TargetPolicy, WebhookEvent

ALWAYS_LONGEST = Schedule(attempts=4, least=0.1, most=2.0, max_age=60.0, chance=lambda: 1.0)


def answering(*answers: Answer):
    """These answers, then 200."""
    rest = iter(answers)
    return lambda _: next(rest, Answer())


async def test_an_event_is_posted() -> None:
    told = Told()
    async with receiving() as receiver, couriers() as courier:
        event = told.event(receiver.url("/a?b=c"), b'{"x":1}')
        courier.send(event)
        assert not told.outcomes, "told from within send"
        assert await told.one() == Outcome(Result.DELIVERED, "answered 200", 1, 200)
        assert told.outcomes[0][0] is event
        (request,) = receiver.requests
        assert (request.method, request.uri, request.body) == ("POST", "/a?b=c", b'{"x":1}')
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["User-Agent"] == f"tycostream/{tycostream.__version__}"
        assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_is_success(status: int) -> None:
    told = Told()
    async with receiving(answering(Answer(status))) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url()))
        assert await told.one() == Outcome(Result.DELIVERED, f"answered {status}", 1, status)


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 413, 422])
async def test_these_fail_at_once(status: int) -> None:
    told = Told()
    async with receiving(answering(Answer(status))) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url()))
        assert await told.one() == Outcome(Result.FAILED, f"answered {status}", 1, status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told_location"),
    [("/b?secret=1", "/b"), ("http://u:p@x.example/c?d#e", "http://x.example/c"), ("http://[", None)],
)
async def test_redirects_are_told_and_not_followed(status: int, location: str, told_location: str | None) -> None:
    told = Told()
    async with receiving(answering(Answer(status, (("Location", location),)))) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url("/a")))
        expected = told_location and (receiver.url(told_location) if told_location.startswith("/") else told_location)
        assert await told.one() == Outcome(Result.FAILED, f"answered {status}", 1, status, expected)
        assert [request.uri for request in receiver.requests] == ["/a"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_these_are_tried_again(status: int) -> None:
    told = Told()
    async with receiving(answering(Answer(status), Answer(status))) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url(), b"1"))
        assert await told.one() == Outcome(Result.DELIVERED, "answered 200", 3, 200)
        assert receiver.bodies == [b"1"] * 3
        assert courier.statistics("owner").retried == 2


async def test_attempts_end() -> None:
    told = Told()
    async with receiving(lambda _: Answer(500)) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url()))
        assert await told.one() == Outcome(Result.FAILED, "answered 500; tried 4 times", 4, 500)
        assert len(receiver.requests) == 4


async def test_age_ends_attempts_before_their_number_does() -> None:
    told = Told()
    schedule = Schedule(attempts=1000, least=0.05, most=0.05, max_age=0.3, chance=lambda: 1.0)
    async with receiving(lambda _: Answer(500)) as receiver, couriers(schedule=schedule) as courier:
        courier.send(told.event(receiver.url()))
        outcome = await told.one()
        assert outcome.result is Result.FAILED
        assert 1 < outcome.attempts < 8


async def test_an_event_that_waited_too_long_is_not_tried() -> None:
    told, gate = Told(), asyncio.Event()
    schedule = Schedule(attempts=4, least=0.01, most=0.01, max_age=0.1)
    async with receiving(answering(Answer(gate=gate))) as receiver, couriers(schedule=schedule) as courier:
        courier.send(told.event(receiver.url(), b"1", "key"))
        courier.send(told.event(receiver.url(), b"2", "key"))
        await receiver.until(1)
        asyncio.get_running_loop().call_later(0.2, gate.set)
        assert await told.until(2) == [
            Outcome(Result.DELIVERED, "answered 200", 1, 200),
            Outcome(Result.FAILED, "it waited too long", 0),
        ]
        assert receiver.bodies == [b"1"]


async def test_no_answer_is_tried_again() -> None:
    told = Told()

    async def fault(wire: Wire, _: Received) -> None:
        match len(breaker.requests):
            case 1:
                wire.reset()
            case 2:
                await wire.send(b"HTTP/1.1 200")
            case 3:
                await wire.closed()
            case _:
                await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")

    async with breaking(fault) as breaker, couriers(patience=Patience(5.0, 0.3)) as courier:
        courier.send(told.event(breaker.url(), b"1"))
        assert await told.one() == Outcome(Result.DELIVERED, "answered 200", 4, 200)


async def test_refused_connections_and_unknown_names_are_tried_again() -> None:
    told = Told()

    async def unknown(*_: Any) -> Any:
        raise OSError("nobody of that name")

    async with refusing() as port, couriers() as courier, couriers(look_up=unknown) as lost:
        courier.send(told.event(f"http://127.0.0.1:{port}/"))
        lost.send(told.event("http://nowhere.example/"))
        outcomes = await told.until(2)
        assert {outcome.reason for outcome in outcomes} == {
            "Connection refused; tried 4 times",
            "nobody of that name; tried 4 times",
        }
        assert courier.statistics("owner").last_error == "Connection refused"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured(status: int, form: str) -> None:
    told = Told()
    value = "1" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    script = answering(Answer(status, (("Retry-After", value),)))
    async with receiving(script) as receiver, couriers(schedule=Schedule(4, 0.001, 10.0, 60.0)) as courier:
        began = time.monotonic()
        courier.send(told.event(receiver.url()))
        assert (await told.one()).result is Result.DELIVERED
        assert time.monotonic() - began >= 0.95


async def test_retry_after_is_bounded() -> None:
    told = Told()
    script = answering(Answer(503, (("Retry-After", "999999999"),)))
    async with receiving(script) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url()))
        assert (await told.one()).result is Result.DELIVERED


async def test_a_retry_holds_back_its_own_row_and_no_other() -> None:
    told = Told()

    def script(request: Received) -> Answer:
        first = request.body == b"a1" and receiver.bodies.count(b"a1") == 1
        return Answer(503, (("Retry-After", "1"),)) if first else Answer()

    schedule = Schedule(4, 0.001, 10.0, 60.0)
    async with receiving(script) as receiver, couriers(schedule=schedule, concurrency_per_endpoint=1) as courier:
        for body in (b"a1", b"a2", b"b1", b"b2", b"a3"):
            courier.send(told.event(receiver.url(), body, body[:1]))
        await told.until(5)
        assert receiver.bodies == [b"a1", b"b1", b"b2", b"a1", b"a2", b"a3"]


async def test_rows_of_one_key_are_delivered_in_order() -> None:
    told = Told()

    def script(request: Received) -> Answer:
        return Answer(500) if receiver.bodies.count(request.body) < 2 and request.body[-1] % 3 == 0 else Answer()

    async with receiving(script) as receiver, couriers() as courier:
        for number in range(60):
            courier.send(told.event(receiver.url(), b"%d:%02d" % (number % 4, number), number % 4))
        await told.until(60)
        assert len(receiver.requests) > 60
        for key in range(4):
            seen = [body for body in receiver.bodies if body.startswith(b"%d:" % key)]
            assert seen == sorted(seen)
            assert len(set(seen)) == 15


async def test_calls_at_one_time_are_bounded() -> None:
    told = Told()
    gates = [asyncio.Event(), asyncio.Event()]
    async with (
        receiving(lambda _: Answer(gate=gates[0])) as one,
        receiving(lambda _: Answer(gate=gates[1])) as other,
        couriers(concurrency=5, concurrency_per_endpoint=3) as courier,
    ):
        for _ in range(10):
            courier.send(told.event(one.url()))
        for _ in range(10):
            courier.send(told.event(other.url()))
        await one.until(3)
        await other.until(2)
        assert (courier.totals().in_flight, courier.totals().waiting) == (5, 15)
        gates[0].set()
        await one.until(10)
        await other.until(3)
        gates[1].set()
        await told.until(20)
        assert (one.most_in_flight, other.most_in_flight) == (3, 3)


async def test_an_endpoint_never_gets_all_calls() -> None:
    told, gate = Told(), asyncio.Event()
    async with (
        receiving(lambda _: Answer(gate=gate)) as slow,
        receiving() as quick,
        couriers(concurrency=4, concurrency_per_endpoint=100) as courier,
    ):
        for _ in range(50):
            courier.send(told.event(slow.url()))
        for number in range(50):
            courier.send(told.event(quick.url(), b"%d" % number))
        await told.until(50)
        assert told.results() == [Result.DELIVERED] * 50
        assert slow.most_in_flight == 3
        gate.set()
        await told.until(100)


async def test_many_dead_endpoints_leave_room_for_a_healthy_one() -> None:
    told, living = Told(), Told()

    async def silence(wire: Wire, _: Received) -> None:
        await wire.closed()

    async with AsyncExitStack() as stack:
        dead = [await stack.enter_async_context(breaking(silence)) for _ in range(8)]
        healthy = await stack.enter_async_context(receiving())
        few = {"concurrency": 4, "concurrency_per_endpoint": 2, "patience": Patience(5.0, 0.2)}
        courier = await stack.enter_async_context(couriers(schedule=Schedule(3, 0.01, 0.01, 60.0), **few))
        for breaker in dead:
            for _ in range(6):
                courier.send(told.event(breaker.url()))
        await told.until(8)  # by now most are known to be dead
        for number in range(200):
            courier.send(living.event(healthy.url(), b"%d" % number))
        before = len(told.outcomes)
        await living.until(200)
        assert len(told.outcomes) - before < 20, "the dead had their time, and the living had to wait for it"


async def test_a_failing_endpoint_gets_one_call_at_a_time_until_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tycostream")
    told = Told()
    mended = False

    async def fault(wire: Wire, _: Received) -> None:
        if mended:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            await asyncio.sleep(0.01)  # long enough for another call to come, if there were one

    schedule = Schedule(50, 0.001, 0.001, 60.0)
    async with breaking(fault) as breaker, couriers(schedule=schedule, concurrency_per_endpoint=4) as courier:
        for _ in range(8):
            courier.send(told.event(breaker.url("/secret?token=sesame")))
        await breaker.until(20)
        breaker.most_in_flight = breaker.in_flight
        await breaker.until(40)
        assert breaker.most_in_flight <= 1
        mended = True
        assert [outcome.result for outcome in await told.until(8)] == [Result.DELIVERED] * 8
    texts = [record.getMessage() for record in caplog.records]
    assert len([text for text in texts if "slowing down" in text]) == 1
    assert len([text for text in texts if "answers again" in text]) == 1
    assert not [text for text in texts if "sesame" in text or "secret" in text]


async def test_the_oldest_waiting_event_of_a_full_endpoint_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    told, gate = Told(), asyncio.Event()
    async with (
        receiving(lambda _: Answer(gate=gate)) as receiver,
        couriers(concurrency_per_endpoint=1, queue_per_endpoint=3) as courier,
    ):
        for number in range(8):
            courier.send(told.event(receiver.url("/secret?token=sesame"), b"%d" % number, number % 2))
        assert await told.until(4) == [Outcome(Result.DROPPED, "too many events waited", 0)] * 4
        assert told.bodies(Result.DROPPED) == [b"1", b"2", b"3", b"4"]
        assert courier.statistics("owner").dropped == courier.totals().dropped == 4
        assert (courier.totals().in_flight, courier.totals().waiting) == (1, 3)
        gate.set()
        await told.until(8)
        assert sorted(receiver.bodies) == [b"0", b"5", b"6", b"7"]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "too many wait" in warning
    assert "secret" not in warning


@pytest.mark.parametrize("limit", [{"queue": 3}, {"queue_bytes": 3 + 2}])
async def test_the_oldest_waiting_event_of_all_is_dropped(limit: dict[str, int]) -> None:
    told, gate = Told(), asyncio.Event()
    async with (
        receiving(lambda _: Answer(gate=gate)) as one,
        receiving(lambda _: Answer(gate=gate)) as other,
        couriers(concurrency=2, concurrency_per_endpoint=1, **limit) as courier,
    ):
        for number in range(8):
            courier.send(told.event((one, other)[number % 2].url(), b"%d" % number))
        await told.until(3)
        assert told.bodies(Result.DROPPED) == [b"2", b"3", b"4"]
        gate.set()
        await told.until(8)
        assert len(told.bodies(Result.DELIVERED)) == 5


async def test_a_row_goes_on_when_what_it_waited_to_retry_is_dropped() -> None:
    told = Told()
    script = answering(Answer(503))
    never = Schedule(4, 50.0, 50.0, 60.0, chance=lambda: 1.0)
    async with receiving(script) as receiver, couriers(schedule=never, queue_per_endpoint=1) as courier:
        courier.send(told.event(receiver.url(), b"1", "key"))
        await receiver.until(1)
        async with asyncio.timeout(WAIT):
            while courier.totals().in_flight:
                await asyncio.sleep(0)
        courier.send(told.event(receiver.url(), b"2", "key"))
        outcomes = await told.until(2)
        assert [outcome.result for outcome in outcomes] == [Result.DROPPED, Result.DELIVERED]
        assert receiver.bodies == [b"1", b"2"]


async def test_410_disables_a_webhook_until_it_is_enabled(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    gone, kept = "/gone?token=sesame", "/kept"

    def script(request: Received) -> Answer:
        return Answer(410) if request.uri == gone and len(receiver.requests) == 1 else Answer()

    async with receiving(script) as receiver, couriers(concurrency_per_endpoint=1) as courier:
        url = receiver.url(gone)
        for path in (gone, gone, kept, gone):
            courier.send(told.event(receiver.url(path)))
        outcomes = await told.until(4)
        assert [(outcome.result, outcome.attempts) for outcome in outcomes] == [
            (Result.DISABLED, 1),
            (Result.DISABLED, 0),
            (Result.DISABLED, 0),
            (Result.DELIVERED, 1),
        ]
        assert courier.is_disabled(url)
        assert courier.endpoints()[receiver.url("")].disabled == 1
        courier.send(told.event(url))
        assert (await told.until(5))[4] == Outcome(
            Result.DISABLED, "the webhook answered 410 Gone and is disabled", 0, None
        )
        assert courier.totals().dropped == courier.statistics("owner").dropped == 4
        assert [request.uri for request in receiver.requests] == [gone, kept]
        assert courier.enable(url)
        assert not courier.enable(url)
        courier.send(told.event(url))
        assert (await told.until(6))[5].result is Result.DELIVERED
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "410" in warning
    assert "sesame" not in warning


async def test_a_retry_of_a_webhook_that_was_disabled_meanwhile_is_not_made() -> None:
    told, gate = Told(), asyncio.Event()
    script = answering(Answer(500, gate=gate), Answer(410))
    async with receiving(script) as receiver, couriers() as courier:
        courier.send(told.event(receiver.url(), b"1"))
        await receiver.until(1)
        courier.send(told.event(receiver.url(), b"2"))
        await told.until(1)
        gate.set()
        outcomes = await told.until(2)
        assert [outcome.result for outcome in outcomes] == [Result.DISABLED] * 2
        assert len(receiver.requests) == 2


async def test_what_was_forgotten_while_it_waited_to_be_tried_again_is_not_tried() -> None:
    told = Told()
    async with receiving(lambda _: Answer(503)) as receiver, couriers(schedule=ALWAYS_LONGEST) as courier:
        courier.send(told.event(receiver.url(), b"1"))
        await receiver.until(1)
        while courier.totals().in_flight:
            await asyncio.sleep(0)
        courier.forget("owner")
        assert (await told.one()).result is Result.FORGOTTEN
        courier.send(told.event(receiver.url(), b"2"))
        await receiver.until(3)  # past the moment when the first would have been tried again
        assert receiver.bodies == [b"1", b"2", b"2"]
        assert courier._delays in {0, 1}


async def test_forgetting_an_owner_drops_what_waits_and_retries_nothing() -> None:
    told, gate = Told(), asyncio.Event()
    async with (
        receiving(lambda request: Answer(500 if request.body == b"0" else 200, gate=gate)) as receiver,
        couriers(concurrency_per_endpoint=2) as courier,
    ):
        for number in range(5):
            courier.send(told.event(receiver.url(), b"%d" % number, owner="deleted"))
        courier.send(told.event(receiver.url(), b"kept"))
        await receiver.until(2)
        courier.forget("deleted")
        courier.forget("unknown")
        assert courier.statistics("deleted") == Statistics()
        assert await told.until(3) == [Outcome(Result.FORGOTTEN, "the owner was deleted", 0)] * 3
        gate.set()
        await told.until(6)
        assert told.bodies(Result.FORGOTTEN) == [b"2", b"3", b"4", b"0"]
        assert sorted(told.bodies(Result.DELIVERED)) == [b"1", b"kept"]
        assert courier.statistics("deleted") == Statistics()


async def test_a_name_that_leads_to_a_denied_address_is_refused_at_every_attempt() -> None:
    told = Told()
    addresses = ["127.0.0.1"]

    async def look_up(_host: str, port: int, _family: int) -> Any:
        return [(2, (addresses[-1], port))]

    async with receiving(answering(Answer(500))) as receiver, couriers(look_up=look_up) as courier:
        courier.send(told.event(receiver.url(host="rebinds.example")))
        await receiver.until(1)
        addresses.append("169.254.169.254")
        outcome = await told.one()
        assert outcome == Outcome(
            Result.FAILED,
            "the host rebinds.example may not be called: its address is link-local; WEBHOOK_ALLOW can allow it",
            2,
        )
        assert len(receiver.requests) == 1


async def test_the_policy_of_the_configuration_is_used() -> None:
    told = Told()
    async with receiving() as receiver, couriers(policy=TargetPolicy(deny=["private"])) as courier:
        courier.send(told.event(receiver.url(host="localhost")))
        courier.send(told.event(receiver.url()))
        courier.send(told.event("nonsense"))
        outcomes = await told.until(3)
        assert [(outcome.result, outcome.attempts) for outcome in outcomes] == [
            (Result.FAILED, 0),
            (Result.FAILED, 0),
            (Result.FAILED, 1),
        ]
        assert courier.statistics("owner").failed == courier.totals().failed == 3
        assert not receiver.requests


async def test_https_endpoints_need_a_certificate_that_is_trusted() -> None:
    server, trusting = certificates("localhost")
    told = Told()
    async with receiving(tls=server) as receiver, couriers() as courier, couriers(tls=trusting) as knowing:
        courier.send(told.event(receiver.url(host="localhost")))
        outcome = await told.one()
        assert outcome.result is Result.FAILED
        assert "its certificate can't be trusted" in outcome.reason
        assert not receiver.requests
        knowing.send(told.event(receiver.url(host="localhost")))
        assert (await told.until(2))[1].result is Result.DELIVERED
        knowing.send(told.event(receiver.url()))  # the certificate is not for the address
        assert "IP address mismatch" in (await told.until(3))[2].reason


async def test_cookies_of_an_endpoint_are_sent_back_to_it_alone() -> None:
    told = Told()
    cookie = Answer(200, (("Set-Cookie", "session=1; Path=/"),))
    async with receiving(lambda _: cookie) as one, receiving() as other, couriers() as courier:
        for receiver in (one, other, one):
            courier.send(told.event(receiver.url()))
            await told.until(len(one.requests + other.requests) or 1)
        await told.until(3)
        assert [request.headers.get("Cookie") for request in one.requests] == [None, "session=1"]
        assert other.requests[0].headers.get("Cookie") is None


async def test_who_fails_to_hear_of_an_outcome_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    def deaf(*_: Any) -> None:
        raise RuntimeError("deaf")

    async with receiving() as receiver, couriers() as courier:
        event = told.event(receiver.url())
        courier.send(type(event)(event.url, event.body, "id", 1, 1, deaf))
        courier.send(event)
        assert (await told.one()).result is Result.DELIVERED
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_an_outcome_may_send_the_next_event() -> None:
    told = Told()
    async with receiving() as receiver, couriers() as courier:
        event = told.event(receiver.url())

        def again(*_: Any) -> None:
            courier.send(event)

        courier.send(type(event)(event.url, event.body, "id", 1, 1, again))
        assert (await told.one()).result is Result.DELIVERED


async def test_outcomes_that_lead_to_others_leave_the_loop_its_turns() -> None:
    told = 0

    def again(event: WebhookEvent, _: Outcome) -> None:
        nonlocal told
        told += 1
        if told < 100:
            courier.send(event)

    async with couriers() as courier:
        await courier.close(0)
        courier.send(WebhookEvent("http://127.0.0.1:9/", b"", "id", 1, 1, again))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 1 <= told <= 3
        async with asyncio.timeout(WAIT):
            while told < 100:
                await asyncio.sleep(0)


async def test_statistics() -> None:
    told, gate = Told(), asyncio.Event()
    script = answering(Answer(500), Answer(), Answer(404), Answer(gate=gate))
    async with receiving(script) as receiver, couriers(concurrency_per_endpoint=1) as courier:
        assert courier.statistics("owner") == Statistics()
        courier.send(told.event(receiver.url()))
        await told.until(1)
        courier.send(told.event(receiver.url()))
        await told.until(2)
        courier.send(told.event(receiver.url()))
        courier.send(told.event(receiver.url()))
        await receiver.until(4)
        expected = Statistics(
            waiting=1, in_flight=1, delivered=1, failed=1, retried=1, last_status=404, last_error="answered 404"
        )
        assert courier.statistics("owner") == expected
        assert courier.endpoints() == {receiver.url(""): expected}
        assert courier.totals() == expected
        gate.set()
        await told.until(4)
        assert courier.statistics("owner") == Statistics(
            delivered=3, failed=1, retried=1, last_status=200, last_error=None
        )


async def test_closing_delivers_what_it_can_and_tells_the_rest() -> None:
    told, gate = Told(), asyncio.Event()
    async with (
        receiving(lambda request: Answer(500 if request.body == b"0" else 200, gate=gate)) as receiver,
        couriers(concurrency_per_endpoint=1, schedule=Schedule(4, 50.0, 50.0, 60.0, lambda: 1.0)) as courier,
    ):
        for number in range(3):
            courier.send(told.event(receiver.url(), b"%d" % number))
        await receiver.until(1)
        closing = asyncio.create_task(courier.close(WAIT))
        await asyncio.sleep(0)
        courier.send(told.event(receiver.url(), b"late"))
        gate.set()
        await asyncio.wait_for(closing, WAIT / 2)
        assert receiver.bodies == [b"0", b"1", b"2"]
        assert sorted(told.bodies(Result.DELIVERED)) == [b"1", b"2"]
        assert sorted(told.bodies(Result.DROPPED)) == [b"0", b"late"]


async def test_closing_in_a_hurry_leaves_nothing_behind() -> None:
    told, gone = Told(), asyncio.Event()

    async def silence(wire: Wire, _: Received) -> None:
        await wire.closed()
        gone.set()

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    schedule = Schedule(4, 50.0, 50.0, 60.0, lambda: 1.0)
    async with breaking(silence) as breaker, refusing() as port, couriers(look_up=never, schedule=schedule) as courier:
        for number in range(20):
            courier.send(told.event(breaker.url(), b"%d" % number))
        courier.send(told.event("http://silent.example/"))
        courier.send(told.event(f"http://127.0.0.1:{port}/"))
        await breaker.until(8)
        await courier.close(0.05)
        assert told.results() == [Result.DROPPED] * 22
        assert courier.totals().in_flight == courier.totals().waiting == 0
        await asyncio.wait_for(gone.wait(), WAIT)
        assert len(asyncio.all_tasks()) <= 1 + breaker.most_in_flight
        await courier.close(0)
        await told.until(22)


async def test_there_is_no_task_for_what_waits() -> None:
    told, gate = Told(), asyncio.Event()
    async with receiving(lambda _: Answer(gate=gate)) as receiver, couriers() as courier:
        before = len(asyncio.all_tasks())
        for number in range(5000):
            courier.send(told.event(receiver.url(), b"%d" % number))
        assert len(asyncio.all_tasks()) - before == 8
        gate.set()
        await receiver.until(1)
        await courier.close(0)
        assert len(told.outcomes) == 5000


async def test_retries_of_dropped_events_do_not_pile_up() -> None:
    told = Told()
    never = Schedule(4, 50.0, 50.0, 60.0, chance=lambda: 1.0)
    async with receiving(lambda _: Answer(503)) as receiver, couriers(schedule=never, queue_per_endpoint=10) as courier:
        for number in range(300):
            courier.send(told.event(receiver.url(), b"%d" % number))
            await receiver.until(number + 1)
            while courier.totals().in_flight:
                await asyncio.sleep(0)
        assert len(courier._delayed) <= 2 * 10 + 66
        assert courier._delays == 10


async def test_endpoints_with_nothing_to_do_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.triggers.delivery.MOST_ENDPOINTS", 3)
    told = Told()
    async with refusing() as port, couriers(schedule=Schedule(1, 0.01, 0.01, 60.0)) as courier:
        for number in range(1, 6):
            courier.send(told.event(f"http://127.0.0.{number}:{port}/"))
            await told.until(number)
        assert list(courier.endpoints()) == [f"http://127.0.0.{number}:{port}" for number in (3, 4, 5)]


def test_a_courier_needs_a_loop() -> None:
    from tycostream.triggers import CourierConfig

    with pytest.raises(RuntimeError):
        Courier(CourierConfig(), tls=ssl.create_default_context())
