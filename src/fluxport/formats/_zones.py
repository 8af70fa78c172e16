"""UTC offsets of whole arrays of timestamps, by the rules that ``zoneinfo`` reads.

Arrow's own conversion knows only the transitions listed in a zone's file, which end in 2037: every summer after that is
an hour off. This module scans each block of four years of a zone once for its transitions, caches them, and looks up
timestamps in them.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxport.errors import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_S = 86_400
_STEP_S = 3 * DAY_S  # no zone ever had two transitions within it
_BLOCK_S = 1461 * DAY_S
_CYCLE_S = 146_097 * DAY_S  # 400 years, after which the calendar repeats
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = int((datetime(2, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_LATEST = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())


class Clock(NamedTuple):
    """Local time at some timestamps. ``offsets`` are seconds to add to UTC; ``twice`` marks the timestamps in an hour
    that occurs twice because the clock is set back; ``names[name_at]`` are abbreviations like CEST."""

    offsets: NDArray[np.int64]
    twice: NDArray[np.bool_]
    names: list[str]
    name_at: NDArray[np.intp]


class _Rules(NamedTuple):
    """The transitions of a block of days: since when (Unix seconds, ascending) each offset and name apply, and where
    hours that occur twice begin and end."""

    since: list[int]
    offsets: list[int]
    names: list[str]
    twice: list[int]


def is_utc(zone: str) -> bool:
    """Whether timestamps of ``zone`` are written with ``Z``."""
    return zone in ("UTC", "Z", "Etc/UTC", "GMT", "+00:00")


def clock_of(seconds: NDArray[np.int64], zone: str) -> Clock:
    """Local time in ``zone`` at ``seconds`` (Unix time); Refused if there is no such zone."""
    first, last = (int(f(seconds)) // _BLOCK_S for f in (np.min, np.max)) if len(seconds) else (0, 0)
    blocks = range(first, last + 1) if last - first < 64 else np.unique(seconds // _BLOCK_S).tolist()
    rules = [_rules(zone, block) for block in blocks]
    since, offsets = (np.concatenate(column).astype(np.int64) for column in ([r[i] for r in rules] for i in (0, 1)))
    index = np.searchsorted(since, seconds, "right") - 1
    bounds = [bound for r in rules for bound in r.twice]
    twice = (np.searchsorted(bounds, seconds, "right") & 1).astype(np.bool_) if bounds else np.zeros(len(index), bool)
    return Clock(offsets[index], twice, [name for r in rules for name in r.names], index)


@functools.lru_cache(maxsize=512)
def _rules(zone: str, block: int) -> _Rules:
    first, stop = block * _BLOCK_S, (block + 1) * _BLOCK_S
    info = _tzinfo(zone)
    offset, name = _offset_at(first, info)
    rules = _Rules([first], [offset], [name], [])
    if isinstance(info, timezone):
        return rules
    before = first - _STEP_S
    current = _offset_at(before, info)
    for after in range(first, stop + 2 * _STEP_S, _STEP_S):
        following = _offset_at(after, info)
        if following != current:
            at = _changed_at(before, after, current, info)
            if first < at < stop:
                rules.since.append(at)
                rules.offsets.append(following[0])
                rules.names.append(following[1])
            back = max(0, current[0] - following[0])
            bounds = (min(max(bound, first), stop) for bound in (at - back, at + back))
            rules.twice.extend(bounds if back else ())
        before, current = after, following
    return rules


def _changed_at(before: int, after: int, current: tuple[int, str], info: tzinfo) -> int:
    """The first second in (``before``, ``after``] whose offset or name differs from ``current``."""
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset_at(middle, info) == current else (before, middle)
    return after


def _offset_at(at: int, info: tzinfo) -> tuple[int, str]:
    """Offset and name at a Unix time; outside the range of ``datetime``, those of a year with the same calendar."""
    if at < _EARLIEST:
        at = _EARLIEST
    elif at >= _LATEST:
        at = _LATEST - _CYCLE_S + (at - _LATEST) % _CYCLE_S
    local = (_EPOCH + timedelta(seconds=at)).astimezone(info)
    return round((local.utcoffset() or timedelta()).total_seconds()), local.tzname() or ""


@functools.lru_cache(maxsize=64)
def _tzinfo(zone: str) -> tzinfo:
    if fixed := re.fullmatch(r"([+-])(\d\d):?(\d\d)?", zone):
        distance = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
        return timezone(-distance if fixed[1] == "-" else distance, zone.replace(":", ""))
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise Refused(f"The time zone {zone!r} is not known on this machine.", code="unknown_timezone") from error
