"""Dates, times and timestamps as numbers that compare as PostgreSQL compares them.

A row's text is PostgreSQL's ISO form in a session whose time zone is UTC. Whether a column has a zone is not in the
schema file, but its text shows it: `timestamptz` ends with an offset. An operand may have one; against a column without
zone it is ignored, as PostgreSQL ignores it. Such an operand is a `Moment`, which has a value for either kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from tycostream.filters.errors import shown

_DAY = 86_400_000_000
_ENDLESS = 1 << 80

_DATE = r"(?P<year>\d{4,7})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,}))?)?"
_ZONE = r"(?P<zone>[zZ]|[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?)"
_TIMESTAMP_TEXT = re.compile(rf"\s*{_DATE}(?:[ T]{_CLOCK}\s?{_ZONE}?)?(?P<bc> BC)?\s*", re.ASCII | re.IGNORECASE)
_TIME_TEXT = re.compile(rf"\s*{_CLOCK}\s?{_ZONE}?\s*", re.ASCII)


class Zoned(int):
    """A timestamp of a column with a time zone, in microseconds since 1970 UTC."""

    __slots__ = ()


class ZonedTime(tuple[int, int]):
    """A `timetz`: the time in UTC, then the zone (seconds west of UTC) where that is the same."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """An operand with an offset: `instant` counts against columns with a time zone, `local` against those without."""

    instant: Any
    local: Any

    def against(self, value: Any) -> Any:
        """What to compare with a row's value."""
        return self.instant if isinstance(value, Zoned | ZonedTime) else self.local


def read_timestamp(text: str) -> int:
    """A row's timestamp in microseconds; the type says whether it has a zone."""
    zoned = text.endswith("+00")
    try:  # the years that Python knows, ten times faster
        since = datetime.fromisoformat(text[:-3] if zoned else text) - _EPOCH
    except (ValueError, TypeError):
        return _read_any_timestamp(text)
    micros = since.days * _DAY + since.seconds * 1_000_000 + since.microseconds
    return Zoned(micros) if zoned else micros


def _read_any_timestamp(text: str) -> int:
    endless = _endless(text)
    if endless is not None:
        return endless
    days, clock, offset = _timestamp(text)
    local = days * _DAY + clock
    return local if offset is None else Zoned(local - offset * 1_000_000)


def timestamp_operand(value: object) -> Any:
    """A client's timestamp. Without an offset it means UTC where the column has a zone."""
    endless = _endless(value)
    if endless is not None:
        return endless
    try:
        days, clock, offset = _timestamp(value)
        local = days * _DAY + clock
    except ValueError:
        valid = '"2024-01-02T03:04:05Z" or "2024-01-02 03:04:05"'
        raise ValueError(f"{shown(value)} is not a timestamp, such as {valid}") from None
    if not _FIRST_DAY * _DAY <= local < _END_OF_TIMESTAMPS * _DAY:
        raise ValueError(f"{shown(value)} is not between the years 4714 BC and 294276")
    return local if offset in (None, 0) else Moment(local - (offset or 0) * 1_000_000, local)


def timestamp_texts(value: Any) -> tuple[str, ...]:
    """How PostgreSQL prints an operand without a time zone and with. No texts for years beyond Python's."""
    moment = value if isinstance(value, Moment) else Moment(value, value)
    try:
        local, instant = (_EPOCH + timedelta(microseconds=micros) for micros in (moment.local, moment.instant))
    except OverflowError:
        return ()
    return _printed(local), f"{_printed(instant)}+00"


def _printed(moment: datetime) -> str:
    text = moment.isoformat(" ")
    return text.rstrip("0") if "." in text else text


def read_date(text: str) -> int:
    """A row's date in days."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        endless = _endless(text)
        return _timestamp(text)[0] if endless is None else endless


def date_operand(value: object) -> int:
    """A client's date; the time of a timestamp is left away, as PostgreSQL leaves it away."""
    endless = _endless(value)
    if endless is not None:
        return endless
    try:
        days = _timestamp(value)[0]
    except ValueError:
        raise ValueError(f'{shown(value)} is not a date, such as "2024-01-02"') from None
    if not _FIRST_DAY <= days < _END_OF_DATES:
        raise ValueError(f"{shown(value)} is not between the years 4714 BC and 5874897")
    return days


def date_texts(value: int) -> tuple[str, ...]:
    """How PostgreSQL prints an operand; none for years beyond Python's."""
    try:
        return (date.fromordinal(value + _EPOCH_ORDINAL).isoformat(),)
    except (ValueError, OverflowError):
        return ()


def read_time(text: str) -> Any:
    """A row's time: microseconds, or a ZonedTime."""
    local, offset = _time(text)
    return local if offset is None else ZonedTime((local - offset * 1_000_000, -offset))


def rank_time(text: str) -> tuple[int, int]:
    """What times are sorted by: with a zone or without, they compare."""
    value: Any = read_time(text)
    return value if isinstance(value, ZonedTime) else (value, 0)


def time_operand(value: object) -> Any:
    """A client's time. Without an offset it means UTC where the column has a zone."""
    try:
        local, offset = _time(value)
    except ValueError:
        raise ValueError(f'{shown(value)} is not a time, such as "03:04:05" or "03:04:05+02"') from None
    return Moment(ZonedTime((local - (offset or 0) * 1_000_000, -(offset or 0))), local)


def _endless(value: object) -> int | None:
    if isinstance(value, str) and (text := value.strip().lower()) in ("infinity", "+infinity", "-infinity"):
        return -_ENDLESS if text.startswith("-") else _ENDLESS
    return None


def _timestamp(text: object) -> tuple[int, int, int | None]:
    """Days since 1970, microseconds of the day, and the offset in seconds where there is one."""
    found = _TIMESTAMP_TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("not a timestamp")
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    if found["bc"]:
        year = 1 - year
    if not 1 <= month <= 12 or not 1 <= day <= _days_of_month(year, month) or int(found["year"]) == 0:
        raise ValueError("no such day")
    clock = _clock(found) if found["hour"] is not None else 0
    return _days(year, month, day), clock, _offset(found["zone"])


def _time(text: object) -> tuple[int, int | None]:
    found = _TIME_TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("not a time")
    return _clock(found), _offset(found["zone"])


def _clock(found: re.Match[str]) -> int:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    fraction = found["fraction"] or ""
    # PostgreSQL keeps microseconds and rounds what is finer
    micros = (int(fraction[:12].ljust(12, "0")) + 500_000) // 1_000_000 if fraction else 0
    total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
    if minute > 59 or second > 60 or total > _DAY:
        raise ValueError("no such time")
    return total


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone in "zZ":
        return 0
    digits = zone[1:].replace(":", "")
    if len(digits) % 2:
        digits = "0" + digits
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4] or 0), int(digits[4:6] or 0)
    if hours > 15 or minutes > 59 or seconds > 59:
        raise ValueError("no such offset")
    total = (hours * 60 + minutes) * 60 + seconds
    return -total if zone[0] == "-" else total


def _days_of_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


_EPOCH = datetime(1970, 1, 1)  # the zone, always UTC, is taken off the text before
_EPOCH_ORDINAL = _EPOCH.toordinal()
# PostgreSQL documentation, "Date/Time Types": the range of each type
_FIRST_DAY, _END_OF_TIMESTAMPS, _END_OF_DATES = _days(-4713, 11, 24), _days(294277, 1, 1), _days(5874898, 1, 1)
