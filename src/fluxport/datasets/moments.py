"""Bounds of a range of days or instants, as values to compare a column with: column >= lower and column < upper.

A day belongs to a time zone: it starts at its first instant there, which daylight saving time may move to 01:00, and
ends where the next one starts. An instant (RFC 3339) at the end of a range is included.
::

    from 2026-03-01 to 2026-03-02           [03-01 00:00 ........ 03-02 ........)03-03 00:00
    from 2026-03-01 to 2026-03-02T12:00:00Z [03-01 00:00 ........ 03-02 12:00:00] + 1 microsecond, or + 1 unit
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

EXPECTED = "a day such as 2026-01-31 or an RFC 3339 instant such as 2026-01-31T23:59:59Z"
EXPECTED_DAY = "a day such as 2026-01-31"


class NotATime(ValueError):
    """The value is neither a day nor an instant; the text says what is expected."""


def parsed(value: Any, *, days_only: bool) -> date | datetime:
    """A day, or an instant with its offset; NotATime for anything else."""
    expected = EXPECTED_DAY if days_only else EXPECTED
    if isinstance(value, str):
        try:
            if _DAY.fullmatch(value):
                value = date.fromisoformat(value)
            elif _INSTANT.fullmatch(value):
                value = datetime.fromisoformat(value.upper())
        except ValueError:
            raise NotATime(expected) from None
    if isinstance(value, datetime):
        if value.tzinfo is not None and not days_only:
            return value
    elif isinstance(value, date):
        return value
    raise NotATime(expected)


def lower(value: date | datetime, zone: ZoneInfo, bind: str) -> Any:
    """The lower bound, inclusive, in the form ``bind``, one of BIND_NAMES."""
    if bind == "date":
        return value
    return BINDS[bind](_start(value, zone) if not isinstance(value, datetime) else value, zone)


def upper(value: date | datetime, zone: ZoneInfo, bind: str) -> Any:
    """The upper bound, exclusive; OverflowError at the end of the calendar."""
    if not isinstance(value, datetime):
        following = value + timedelta(days=1)
        return following if bind == "date" else BINDS[bind](_start(following, zone), zone)
    # Whole units up to the instant are in the range; the first unit after it is the bound.
    if bind in _UNITS:
        return (value - _EPOCH) // _UNITS[bind] + 1
    return BINDS[bind](value + _MICROSECOND, zone)


def disordered(first: date | datetime, last: date | datetime, zone: ZoneInfo) -> bool:
    """Whether the range ends before it begins. A day that its zone skipped is an empty range, which is allowed."""
    return first != last and bool(lower(first, zone, "utc") >= upper(last, zone, "utc"))


def _start(day: date, zone: ZoneInfo) -> datetime:
    # fold=0: for a midnight that does not exist, the instant of the change; for one that occurs twice, the first.
    return datetime.combine(day, time(), zone)


def _utc(instant: datetime, _: ZoneInfo) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _epoch(unit: timedelta) -> Callable[[datetime, ZoneInfo], int]:
    # Rounded up: a unit that starts before the instant is not in the range.
    return lambda instant, _: -((_EPOCH - instant) // unit)


_UNITS = {"epoch_s": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
BINDS: dict[str, Callable[[datetime, ZoneInfo], Any]] = {
    "utc": _utc,  # a column of naive UTC times, or of instants
    "local": _local,  # a column of wall-clock times in the filter's zone
    "epoch_s": _epoch(_UNITS["epoch_s"]),
    "epoch_ms": _epoch(_UNITS["epoch_ms"]),
}
BIND_NAMES = (*BINDS, "date")
