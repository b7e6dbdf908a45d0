"""Whether there is a night's time (`TYCOSTREAM_LONG=1`; see docs/architecture.md)."""

from __future__ import annotations

import os

LONG = os.environ.get("TYCOSTREAM_LONG", "") not in ("", "0")
