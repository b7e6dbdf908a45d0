"""What differs between releases of Materialize, or can be set on a server, and tests therefore choose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass
class Behaviour:
    """Defaults are those of a current server, but for the idle timeout (2 minutes there) and for limits."""

    database: str = "materialize"
    user: str = "materialize"
    password: str | None = None
    """Asked for when set."""
    version: str = "v26.1.0 (0123456789)"
    clock: Callable[[], int] = wall_clock
    tick_seconds: float | None = 1.0
    """How often idle relations advance (`default_timestamp_interval`); None: only when the test says so."""
    retain_history_ms: int | None = None
    """Below this age history is dropped at every commit and tick; None: only `compact` drops it."""
    old_since_text: bool = False
    """AS OF below the readable times, as servers before pull request #34712 worded it. Its SQLSTATE is not known."""
    drop_text: str = "current"
    """How the end of a dropped relation is told: `current` (42704), `earlier` or `earliest` (XX000; src/adapter/src/error.rs)."""
    unknown_item_sqlstate: str = "XX000"
    """Or an undefined-object code, 42704."""
    idle_in_transaction_session_timeout: float = 0
    """Seconds, the default of new sessions; 0 is never (src/sql/src/session/vars/definitions.rs)."""
    max_result_bytes: int | None = None
    """`max_result_size`, against which each step is held."""
    max_buffered_bytes: int | None = None
    """`subscribe_max_buffered_bytes` (pull request #37905)."""
    chunk_bytes: int | None = None
    """Send in pieces of so many bytes, each in a turn of the loop of its own, so that reads end anywhere."""
    zero_timeout_luck: Random | None = None
    """With it, FETCH with TIMEOUT '0s' comes back empty half of the time, as the server picks between two things that are ready."""
