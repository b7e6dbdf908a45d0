"""What the process takes of the machine is what the system says of it."""

from __future__ import annotations

import os

import psutil
import pytest
from prometheus_client.process_collector import ProcessCollector

from tests.metrics.test_exposition import read
from tycostream.metrics.process import process_samples


async def test_the_numbers_are_those_of_the_librarys_own_collector() -> None:
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    try:
        ours = await read({"service": list(process_samples())})
        theirs = {
            one.name: one.value
            for metric in ProcessCollector(namespace="tycostream", registry=None).collect()
            for one in metric.samples
        }
    finally:
        for file in files:
            os.close(file)
    del theirs["tycostream_process_start_time_seconds"]
    assert {one.name for one in ours.samples} - {"tycostream_up"} == set(theirs)
    for name, value in theirs.items():
        assert ours.value(name) == pytest.approx(value, rel=0.1), name
    assert ours.value("tycostream_process_open_fds") == pytest.approx(psutil.Process().num_fds() + 100, abs=5)
