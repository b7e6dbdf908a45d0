"""What some tests need of the machine. Where it is missing they are skipped, or fail if TYCOSTREAM_REQUIRE_ALL is 1."""

from __future__ import annotations

import os

import pytest


def needs(missing: str | None) -> pytest.MarkDecorator:
    """The mark of tests that need something; `missing` says what is not there, and is None where it is.

    With TYCOSTREAM_REQUIRE_ALL=1 the tests run all the same, and fail over what is missing.
    """
    skipped = missing is not None and os.environ.get("TYCOSTREAM_REQUIRE_ALL") != "1"
    return pytest.mark.skipif(skipped, reason=missing or "")
