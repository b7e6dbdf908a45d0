"""How many operations a client may start."""

from __future__ import annotations

from tycostream.limits import OperationRate, Verdict

ADMITTED, REFUSED, FLOOD = Verdict.ADMITTED, Verdict.REFUSED, Verdict.FLOOD


def test_a_burst_is_admitted_then_as_many_are_refused_and_what_follows_is_a_flood() -> None:
    rate = OperationRate(2, 3, 0.0)
    assert [rate.judge(0.0) for _ in range(7)] == [ADMITTED] * 3 + [REFUSED] * 3 + [FLOOD]
    assert rate.used == 3


def test_in_the_long_run_the_rate_is_admitted() -> None:
    rate = OperationRate(2, 3, 0.0)
    verdicts = [rate.judge(at / 8) for at in range(1000)]
    assert verdicts.count(ADMITTED) == 3 + 2 * 999 // 8
    assert rate.judge(130.0) is ADMITTED, "whoever has waited may go on"


def test_a_client_that_keeps_to_the_rate_is_never_refused_and_its_burst_is_no_more_than_it_was() -> None:
    rate = OperationRate(8, 5, 0.0)
    assert {rate.judge(at / 8) for at in range(1000)} == {ADMITTED}
    assert [rate.judge(1000.0) for _ in range(6)] == [ADMITTED] * 5 + [REFUSED]
