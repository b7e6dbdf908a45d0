"""A long run takes as long as it takes."""

from __future__ import annotations

import pytest

from tests.support.long import LONG

LONG_SECONDS = 3600


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For the tests of this folder; those that are coroutines have one limit with all others."""
    if LONG:
        config.option.async_test_timeout = LONG_SECONDS
        for item in items:
            if item.path.parent.name == "faults":
                item.add_marker(pytest.mark.timeout(LONG_SECONDS))
