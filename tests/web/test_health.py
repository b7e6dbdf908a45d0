"""What /health makes of sources and workers."""

from __future__ import annotations

import pytest

from tycostream.web.health import ServiceStatus, SourceStatus, WorkerStatus, health

LIVE = SourceStatus("trades", "LIVE", None, 1.0)


@pytest.mark.parametrize(("state", "wanted"), [("running", "ok"), ("starting", "degraded"), ("restarting", "degraded")])
def test_a_worker_that_does_not_run_is_told(state: str, wanted: str) -> None:
    one, other = WorkerStatus("1", "running", 7, 0, None), WorkerStatus("2", state, None, 3, "SIGKILL")
    code, body = health(ServiceStatus(True, (LIVE,), workers=(one, other)))
    assert (code, body["status"]) == (200, wanted)
    assert body["workers"] == [
        {"name": "1", "state": "running", "pid": 7, "restarts": 0, "last_exit": None},
        {"name": "2", "state": state, "pid": None, "restarts": 3, "last_exit": "SIGKILL"},
    ]


def test_one_process_has_no_workers_to_tell_of() -> None:
    code, body = health(ServiceStatus(True, (LIVE,)))
    assert (code, body["status"], "workers" in body) == (200, "ok", False)
