"""The demonstration's webhook: what is told becomes a row, once; whatever else comes is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.demo.support import demonstrating, fill
from tests.support.postgres import Database
from tycostream.demo import receiver
from tycostream.demo.receiver import KEPT_ALERTS
from tycostream.demo.routes import own_address

ROWS = "SELECT event_id, kind, trigger_name, symbol, detail FROM alerts ORDER BY id"
JSON = {"Content-Type": "application/json"}


def event(**changes: Any) -> dict[str, Any]:
    made = {"event_id": "1", "event_type": "FIRE", "trigger_name": "high", "data": {"symbol": "ALDR", "exposure": 5.5}}
    return made | changes


async def post(url: str, body: bytes | dict[str, Any], headers: dict[str, str] = JSON) -> tuple[int, dict[str, Any]]:
    client = AsyncHTTPClient(force_instance=True)
    try:
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        answer = await client.fetch(url, method="POST", body=sent, headers=headers, raise_error=False)
        return answer.code, json.loads(answer.body)
    finally:
        client.close()


async def test_an_event_is_a_row_and_the_same_one_again_is_not(postgres: Database) -> None:
    await fill(postgres, 1)
    async with demonstrating(postgres) as demo:
        url = f"{demo.url}/alerts"
        events = [event(), event(event_id="2", event_type="CLEAR"), event(event_id="3", event_type="TEST", data={})]
        for one in [*events, events[0]]:
            assert (await post(url, one))[0] == 200
        assert await demo.rows(ROWS) == [
            ("1", "FIRE", "high", "ALDR", {"symbol": "ALDR", "exposure": 5.5}),
            ("2", "CLEAR", "high", "ALDR", {"symbol": "ALDR", "exposure": 5.5}),
            ("3", "TEST", "high", None, {}),
        ]
        answers = await asyncio.gather(*(post(url, event(event_id=f"more {at}")) for at in range(KEPT_ALERTS + 20)))
        assert {code for code, _ in answers} == {200}
        assert await demo.rows("SELECT count(*) FROM alerts") == [(KEPT_ALERTS,)]


@pytest.mark.parametrize(("body", "headers", "code"), [
    (b"{", JSON, 400), (b"[]", JSON, 400), (b"[" * 5000, JSON, 400), (b"\xff", JSON, 400),
    (event(event_type="BANG"), JSON, 400), (event(event_type=["FIRE"]), JSON, 400), (event(data=[1]), JSON, 400),
    (event(event_id=5), JSON, 400), (event(trigger_name=None), JSON, 400), (event(data={"symbol": 5}), JSON, 400),
    (event(data={"symbol": "A\0"}), JSON, 400), ({"event_type": "FIRE"}, JSON, 400),
    (event(trigger_name="x" * 70_000), JSON, 413), (event(), {"Content-Type": "text/plain"}, 415),
    (event(), {"Content-Type": "application/json; charset=utf-8"}, 200),
])  # fmt: skip
async def test_what_is_no_event_is_refused(
    postgres: Database, body: bytes | dict[str, Any], headers: dict[str, str], code: int
) -> None:
    await fill(postgres, 1)
    async with demonstrating(postgres) as demo:
        found, answer = await post(f"{demo.url}/alerts", body, headers)
        assert (found, "errors" in answer) == (code, code != 200)
        assert await demo.rows("SELECT count(*) FROM alerts") == [(int(code == 200),)]


async def test_nobody_but_this_machine_tells_it_anything(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "is_loopback", lambda address: address != "127.0.0.1")
    await fill(postgres, 1)
    async with demonstrating(postgres) as demo:
        # the address that the service itself listens at is its own
        assert (await post(f"{demo.url}/alerts", event()))[0] == 200
        monkeypatch.setattr(receiver.AlertsHandler, "initialize", _elsewhere)
        code, answer = await post(f"{demo.url}/alerts", event(event_id="2"))
        assert (code, "this machine alone" in str(answer)) == (403, True)
        assert await demo.rows("SELECT count(*) FROM alerts") == [(1,)]


def _elsewhere(self: receiver.AlertsHandler, alerts: receiver.Alerts, host: str) -> None:
    self._alerts, self._host = alerts, ""


async def test_a_lost_database_is_told_and_the_next_event_is_kept(postgres: Database) -> None:
    await fill(postgres, 1)
    async with demonstrating(postgres) as demo:
        assert (await post(f"{demo.url}/alerts", event()))[0] == 200
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM alerts%'"
        assert await demo.rows(cut) == [(True,)]
        assert (await post(f"{demo.url}/alerts", event(event_id="2")))[0] == 503
        assert (await post(f"{demo.url}/alerts", event(event_id="2")))[0] == 200
        assert await demo.rows("SELECT event_id FROM alerts ORDER BY id") == [("1",), ("2",)]


@pytest.mark.parametrize(("host", "address"), [
    ("", "http://127.0.0.1:4"), ("0.0.0.0", "http://127.0.0.1:4"), ("::", "http://[::1]:4"),
    ("10.1.2.3", "http://10.1.2.3:4"), ("fe80::1", "http://[fe80::1]:4"), ("localhost", "http://localhost:4"),
])  # fmt: skip
def test_where_this_machine_reaches_the_service(host: str, address: str) -> None:
    assert own_address(host, 4) == address


async def test_the_page_is_told_where_its_webhook_is(postgres: Database) -> None:
    await fill(postgres, 1)
    client = AsyncHTTPClient(force_instance=True)
    async with demonstrating(postgres) as demo:
        about = json.loads((await client.fetch(f"{demo.url}/about")).body)
        assert about == {"webhook": f"{demo.url}/alerts", "instruments": 24, "rate": 0}
    client.close()
