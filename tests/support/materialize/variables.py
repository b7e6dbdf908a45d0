"""A session's settings. Source: MaterializeInc/materialize src/sql/src/session/vars/definitions.rs."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.materialize.behaviour import Behaviour
from tests.support.materialize.syntax import interval_seconds
from tests.support.materialize.wire import SqlError

_REPORTED = {
    "server_version": "9.5.0", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
    "integer_datetimes": "on", "standard_conforming_strings": "on", "TimeZone": "UTC", "IntervalStyle": "postgres",
    "application_name": "", "is_superuser": "off", "mz_version": "",
}  # fmt: skip
_OTHERS = {
    "cluster": "quickstart", "search_path": "public", "transaction_isolation": "strict serializable", "statement_timeout": "60 s",
    "extra_float_digits": "3", "client_min_messages": "notice",
}  # fmt: skip


class Variables:
    """Values by name, in any case. Any name can be set: what a client sets is for tests to judge."""

    def __init__(self, behaviour: Behaviour) -> None:
        own = {
            "mz_version": behaviour.version,
            "database": behaviour.database,
            "idle_in_transaction_session_timeout": f"{behaviour.idle_in_transaction_session_timeout}s",
        }
        self._defaults = {name.lower(): value for name, value in (_REPORTED | _OTHERS | own).items()}
        self._values = dict(self._defaults)

    def update(self, values: Mapping[str, str]) -> None:
        """What the startup message says."""
        self._values |= {name.lower(): value for name, value in values.items()}

    def set(self, name: str, value: str | None) -> tuple[str, str] | None:
        """SET, or RESET with None; the report that the client gets by itself for some of them."""
        self._values[name] = self._defaults.get(name, "") if value is None else value
        return next((report for report in self.reported() if report[0].lower() == name), None)

    def show(self, name: str) -> str:
        """SHOW. Raises SqlError."""
        if name not in self._values:
            raise SqlError("42704", f'unrecognized configuration parameter "{name}"')
        return self._values[name]

    def reported(self) -> list[tuple[str, str]]:
        """Those that clients are told of, with the name as it is written there."""
        return [(name, self._values[name.lower()]) for name in _REPORTED]

    @property
    def idle_in_transaction_seconds(self) -> float:
        """0 is no limit; a bare number is milliseconds."""
        value = self._values["idle_in_transaction_session_timeout"]
        return int(value) / 1000 if value.isdigit() else interval_seconds(value)
