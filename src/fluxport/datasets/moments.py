"""Ends of a range of days or instants, as values to compare a column with: at or after the first, before the second.

A day is a day of a time zone: it begins at its first instant there, which daylight saving may put at 01:00, and ends
where the next one begins. An instant (RFC 3339) that ends a range belongs to it.
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


class NotAMoment(ValueError):
    """The value is none; the text says what is expected."""


def parsed(value: Any, *, days_only: bool) -> date | datetime:
    """A day, or an instant with its offset; NotAMoment otherwise."""
    expected = EXPECTED_DAY if days_only else EXPECTED
    if isinstance(value, str):
        try:
            if _DAY.fullmatch(value):
                value = date.fromisoformat(value)
            elif _INSTANT.fullmatch(value):
                value = datetime.fromisoformat(value.upper())
        except ValueError:
            raise NotAMoment(expected) from None
    if isinstance(value, datetime):
        if value.tzinfo is not None and not days_only:
            return value
    elif isinstance(value, date):
        return value
    raise NotAMoment(expected)


def lower(value: date | datetime, zone: ZoneInfo, bind: str) -> Any:
    """The first value of the range in the form ``bind``, a key of BINDS."""
    if bind == "date":
        return value
    return BINDS[bind](_start(value, zone) if not isinstance(value, datetime) else value, zone)


def upper(value: date | datetime, zone: ZoneInfo, bind: str) -> Any:
    """The first value behind the range; OverflowError at the end of the calendar."""
    if not isinstance(value, datetime):
        following = value + timedelta(days=1)
        return following if bind == "date" else BINDS[bind](_start(following, zone), zone)
    # Whole units below the instant belong to the range, and the unit after the last of them does not.
    if bind in _UNITS:
        return (value - _EPOCH) // _UNITS[bind] + 1
    return BINDS[bind](value + _MICROSECOND, zone)


def disordered(first: date | datetime, last: date | datetime, zone: ZoneInfo) -> bool:
    """Whether the range ends before it begins; a day that its zone left out is a range without a moment."""
    return first != last and bool(lower(first, zone, "utc") >= upper(last, zone, "utc"))


def _start(day: date, zone: ZoneInfo) -> datetime:
    # Of a midnight that does not exist fold 0 is the moment of the change, of one that is twice the first.
    return datetime.combine(day, time(), zone)


def _utc(moment: datetime, _: ZoneInfo) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _epoch(unit: timedelta) -> Callable[[datetime, ZoneInfo], int]:
    # Rounded up: a whole unit below the instant is not at or after it.
    return lambda moment, _: -((_EPOCH - moment) // unit)


_UNITS = {"epoch_s": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
BINDS: dict[str, Callable[[datetime, ZoneInfo], Any]] = {
    "utc": _utc,  # a column of naive date-times in UTC, or of instants
    "local": _local,  # a column of wall-clock times of the dataset's zone
    "epoch_s": _epoch(_UNITS["epoch_s"]),
    "epoch_ms": _epoch(_UNITS["epoch_ms"]),
}
BIND_NAMES = (*BINDS, "date")
