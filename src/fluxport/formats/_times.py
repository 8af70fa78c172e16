"""Dates, times and durations as text, a whole array at a time.

A pattern is split into segments that depend only on the day or only on the second of the day. Each day that occurs and
each second of a day is formatted once; rows look up these texts. Where all texts of a segment have the same width, as
in most patterns, the rows are assembled in one matrix of bytes, one line per row:

    segments  |day "%Y-%m-%d "|clock "%H:%M:%S"|fraction ".3"|
    line 0    |2026-01-31     |23:59:58        |.125         |
    line 1    |2026-02-01     |00:00:00        |.000         |

A table copies its texts in columns of 8, 4, 2 or 1 bytes, each as one array of integers. The last column of a segment
may overlap the one before: 11 bytes are the columns 0-7 and 3-10.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import bytes_of, fixed_width_text, string_window, valid_rows, values_of, with_nulls_of
from fluxport.digits import whole_text
from fluxport.errors import Refused
from fluxport.formats._zones import DAY_S, Clock, clock_of, is_utc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.int64]

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

_DAY_DIRECTIVES = frozenset("aAbBdehjmuwxyCDFGUVWY")
_CLOCK_DIRECTIVES = frozenset("HIMpRrSTX")
_OTHER_DIRECTIVES = frozenset("fzZnt%")
_UNPADDED = frozenset("dmyjHIMSUVW")
_DIRECTIVE = re.compile(r"%(-?)(.?)", re.DOTALL)

_ARROW_FORMATS_S = 30_000 * 365 * DAY_S

_TABLE_DAYS = 1024  # tables of days start and end at multiples of this, so that one serves many slices
_TABLE_DAYS_MAX = 64 * _TABLE_DAYS


class _Table(NamedTuple):
    """Texts to look up, and how to copy them into rows of bytes if they have the same width."""

    texts: pa.StringArray
    width: int | None
    moves: tuple[tuple[int, NDArray[Any]], ...]  # (first column, its bytes as integers); columns may overlap


class _Lookup(NamedTuple):
    """A text for each row: ``table.texts[at]``, or ``table.texts`` itself where ``at`` is None."""

    table: _Table
    at: Numbers | None = None


_Part: TypeAlias = "str | _Lookup"


class _Segment(NamedTuple):
    kind: str  # "day", "clock", "fraction", "offset", "zone" or "literal"
    text: str  # a strftime pattern, the literal, or the text before a fraction and its number of digits


def check_pattern(pattern: str, option: str) -> None:
    """Refused unless ``pattern`` is "rfc3339" or all its directives are known."""
    known = _DAY_DIRECTIVES | _CLOCK_DIRECTIVES | _OTHER_DIRECTIVES
    for flag, letter in _DIRECTIVE.findall(pattern):
        if letter not in (_UNPADDED if flag else known) or not letter:
            raise Refused(
                f"Option {option!r} has the directive '%{flag}{letter}', which is unknown; it takes a strftime "
                f"pattern of {' '.join('%' + d for d in sorted(known))} and %- before {' '.join(sorted(_UNPADDED))}.",
                code="bad_option",
            )
    if not pattern:
        raise Refused(f"Option {option!r} cannot be empty; leave it out or give a strftime pattern.", code="bad_option")


@functools.lru_cache(maxsize=64)
def _segments(pattern: str) -> tuple[_Segment, ...]:
    segments: list[_Segment] = []
    for token in re.findall(r"%-?[a-zA-Z%]|[^%]+", pattern):
        letter = token[-1]
        if token[0] != "%" or letter in "%nt":
            segments.append(_Segment("literal", {"%%": "%", "%n": "\n", "%t": "\t"}.get(token, token)))
        elif letter == "f":
            segments.append(_Segment("fraction", "6"))
        elif letter in "zZ":
            segments.append(_Segment("offset" if letter == "z" else "zone", token))
        else:
            segments.append(_Segment("day" if letter in _DAY_DIRECTIVES else "clock", token))
    return _merged(segments)


def _merged(segments: Sequence[_Segment]) -> tuple[_Segment, ...]:
    """Merge adjacent segments that one table can serve, and the literal text after them."""
    merged: list[_Segment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        if last is not None and last.kind in ("day", "clock") and segment.kind in (last.kind, "literal"):
            text = segment.text.replace("%", "%%") if segment.kind == "literal" else segment.text
            merged[-1] = _Segment(last.kind, last.text + text)
        else:
            merged.append(segment)
    return tuple(merged)


@functools.lru_cache(maxsize=64)
def _default_segments(unit: str, separator: str, zoned: bool) -> tuple[_Segment, ...]:
    digits = _digits_of(unit)
    segments = [_Segment("day", f"%Y-%m-%d{separator}"), _Segment("clock", "%H:%M:%S")]
    if digits:
        segments.append(_Segment("fraction", f".{digits}"))
    if zoned:
        segments.append(_Segment("offset", "rfc3339"))
    return tuple(segments)


def _digits_of(unit: str) -> int:
    return len(str(PER_SECOND[unit])) - 1


def hides_fraction(pattern: str | None) -> bool:
    """Whether ``pattern`` omits the fraction of a second."""
    if pattern is None or pattern == "rfc3339":
        return False
    return all(segment.kind != "fraction" for segment in _segments(pattern))


def fractions_in(array: pa.Array) -> NDArray[np.bool_]:
    """Which timestamps are not whole seconds."""
    if array.type.unit == "s":
        return np.zeros(len(array), np.bool_)
    parts: NDArray[np.bool_] = _filled(array) % PER_SECOND[array.type.unit] != 0
    return parts


def hides_offset(pattern: str | None) -> bool:
    """Whether ``pattern`` omits the UTC offset of a zoned timestamp."""
    if pattern is None or pattern == "rfc3339":
        return False
    return all(segment.kind not in ("offset", "zone") for segment in _segments(pattern))


def ambiguous_in(array: pa.Array) -> NDArray[np.bool_]:
    """Which timestamps lie in an hour that occurs twice in their zone."""
    zone = array.type.tz
    if zone is None or is_utc(zone) or not len(array):
        return np.zeros(len(array), np.bool_)
    twice: NDArray[np.bool_] = clock_of(_filled(array) // PER_SECOND[array.type.unit], zone).twice
    return twice & valid_rows(array) if array.null_count else twice


def timestamp_text(array: pa.Array, pattern: str | None) -> pa.StringArray:
    """Timestamps by a strftime pattern, as RFC 3339 (``"rfc3339"``, and by default if zoned), or with a space.

    A zoned timestamp is written in its own zone. The fraction has the digits of the unit; ``%f`` always has six.
    """
    unit, zone = array.type.unit, array.type.tz
    rfc3339 = pattern == "rfc3339" or (pattern is None and zone is not None)
    if pattern is None or rfc3339:
        segments = _default_segments(unit, "T" if rfc3339 else " ", zone is not None)
    else:
        segments = _segments(pattern)
    seconds, ticks = np.divmod(_filled(array), PER_SECOND[unit]) if unit != "s" else (_filled(array), None)
    clock: Clock | None = None
    offsets: Numbers | None = None
    local = seconds
    if zone is not None and not is_utc(zone):
        clock = clock_of(seconds, zone)
        # Historical offsets have seconds; RFC 3339 has minutes only, so they are rounded.
        offsets = np.rint(clock.offsets / 60).astype(np.int64) * 60 if rfc3339 else clock.offsets
        local = seconds + offsets
    days = local // DAY_S
    of_day = local - days * DAY_S
    parts: list[_Part] = []
    for kind, text in segments:
        if kind == "day":
            parts.append(_day_text(days, text))
        elif kind == "clock":
            parts.append(_Lookup(_clock_table(text), of_day))
        elif kind == "fraction":
            parts += _fraction_text(ticks, _digits_of(unit), int(text[-1]), text[:-1])
        elif kind == "offset":
            parts.append(_offset_text(zone, offsets, text))
        elif kind == "zone":
            parts.append(_zone_text(zone, clock))
        else:
            parts.append(text)
    return with_nulls_of(_joined(parts, len(array)), array)


def date_text(array: pa.Array, pattern: str | None) -> pa.StringArray:
    """date32 and date64 by a strftime pattern (its clock is midnight), by default as ``2026-01-31``."""
    days = _filled(array)
    if pa.types.is_date64(array.type):
        days = days // (DAY_S * 1000)
    if pattern is None or pattern == "rfc3339":
        return with_nulls_of(_joined([_day_text(days, "%Y-%m-%d")], len(array)), array)
    return with_nulls_of(
        timestamp_text(pc.from_numpy(days.astype(np.int64) * DAY_S, pa.timestamp("s")), pattern), array
    )


def time_text(array: pa.Array) -> pa.StringArray:
    """time32, time64 and durations as ``[-]HH:MM:SS[.f]``; hours may exceed 24."""
    negative, minutes, seconds, fraction = _magnitudes(array)
    parts: list[_Part]
    if len(array) and (minutes.max() >= DAY_S // 60 or negative.any()):
        hours = minutes // 60
        signs = pc.if_else(pc.from_numpy(negative), "-", "")
        parts = [_each(signs), _each(pc.ascii_lpad(whole_text(hours), 2, "0"))]
        parts.append(_Lookup(_clock_table(":%M:%S"), (minutes - hours * 60) * 60 + seconds))
    else:
        parts = [_Lookup(_clock_table("%H:%M:%S"), minutes * 60 + seconds)]
    return with_nulls_of(_joined([*parts, *fraction], len(array)), array)


def duration_text(array: pa.Array) -> pa.StringArray:
    """Durations as ISO 8601, always with hours, minutes and seconds: ``PT26H0M1.500S``, ``-PT0H0M1S``."""
    negative, minutes, seconds, fraction = _magnitudes(array)
    hours = minutes // 60
    parts: list[_Part] = [
        _each(pc.if_else(pc.from_numpy(negative), "-PT", "PT")),
        *(_each(whole_text(hours)), "H"),
        *(_each(whole_text(minutes - hours * 60)), "M"),
        *(_each(whole_text(seconds)), *fraction, "S"),
    ]
    return with_nulls_of(_joined(parts, len(array)), array)


def interval_text(array: pa.Array) -> pa.StringArray:
    """Months, days and nanoseconds as ISO 8601, each with its own sign: ``P1M2DT-3.000000000S``."""
    values = values_of(array, np.dtype([("months", "<i4"), ("days", "<i4"), ("ns", "<i8")]))
    negative, minutes, seconds, fraction = _magnitudes(pa.array(values["ns"], pa.duration("ns")))
    parts: list[_Part] = [
        *("P", _each(whole_text(values["months"].astype(np.int64))), "M"),
        *(_each(whole_text(values["days"].astype(np.int64))), "DT"),
        *(
            _each(pc.if_else(pc.from_numpy(negative), "-", "")),
            _each(whole_text(minutes * 60 + seconds)),
            *fraction,
            "S",
        ),
    ]
    return with_nulls_of(_joined(parts, len(array)), array)


def _filled(array: pa.Array) -> Numbers:
    """The values as int64, 0 for null: the value stored under a null may be out of range."""
    dtype = np.dtype(f"i{array.type.bit_width // 8}")
    if array.null_count:
        array = pc.fill_null(array.view(str(dtype)), 0)
    return values_of(array, dtype).astype(np.int64, copy=False)


def _magnitudes(array: pa.Array) -> tuple[NDArray[np.bool_], Numbers, Numbers, list[_Part]]:
    """Sign, whole minutes, the seconds of the minute, and the text of the fraction, of times and durations."""
    values = _filled(array)
    per = np.uint64(PER_SECOND[array.type.unit])
    magnitudes = np.abs(values).view(np.uint64)  # abs(-2**63) wraps around to itself, which is right as unsigned
    seconds = magnitudes // per
    minutes = seconds // np.uint64(60)
    digits = _digits_of(array.type.unit)
    fraction = _fraction_text((magnitudes - seconds * per).view(np.int64), digits, digits, ".") if digits else []
    return values < 0, minutes.view(np.int64), (seconds - minutes * np.uint64(60)).view(np.int64), fraction


def _offset_text(zone: str | None, offsets: Numbers | None, style: str) -> _Part:
    """``Z`` or ``+01:00`` for "rfc3339", else ``+0100``; nothing for naive times."""
    if zone is None:
        return ""
    if offsets is None:
        return "Z" if style == "rfc3339" else "+0000"
    minutes = offsets // 60
    if len(minutes) == 0:
        return ""
    lowest = int(minutes.min())
    colon = ":" if style == "rfc3339" else ""
    texts = [
        f"{'-' if m < 0 else '+'}{abs(m) // 60:02d}{colon}{abs(m) % 60:02d}"
        for m in range(lowest, int(minutes.max()) + 1)
    ]
    return _Lookup(_table(pc.from_strings(texts)), minutes - lowest)


def _zone_text(zone: str | None, clock: Clock | None) -> _Part:
    if clock is None:
        return "" if zone is None else "UTC"
    return _Lookup(_table(pc.from_strings(clock.names)), clock.name_at)


def _strftime(seconds: Numbers, pattern: str) -> pa.StringArray:
    """Unix times by ``pattern``; a year beyond 32,767, which Arrow cannot format, always becomes an ISO date."""
    far = np.abs(seconds) > _ARROW_FORMATS_S
    if far.any():
        text = _strftime(np.where(far, 0, seconds), pattern)
        dates = np.datetime_as_string((seconds[far] // DAY_S).astype("M8[D]"))
        ending = _DIRECTIVE.split(pattern)[-1]
        return pc.replace_with_mask(text, pc.from_numpy(far), pc.binary_join_element_wise(pa.array(dates), ending, ""))
    at = pc.from_numpy(seconds, pa.timestamp("s"))
    for directives, kind in (("%Y-%m-%d", pa.date32()), ("%H:%M:%S", pa.time32("s"))):
        if pattern.startswith(directives) and "%" not in pattern[8:]:  # Arrow casts these 30 times faster
            return pc.binary_join_element_wise(pc.cast(pc.cast(at, kind), pa.string()), pattern[8:], "")
    if "%-" not in pattern:
        return pc.strftime(at, pattern)
    texts = []
    for token in re.findall(r"%-[a-zA-Z]|(?:[^%]|%[^-])+", pattern):
        text = pc.strftime(at, token.replace("%-", "%"))
        if token.startswith("%-"):
            text = pc.ascii_ltrim(text, "0")
            text = pc.if_else(pc.equal(text, ""), "0", text)
        texts.append(text)
    return pc.binary_join_element_wise(*texts, "")


@functools.lru_cache(maxsize=16)
def _clock_table(pattern: str) -> _Table:
    """The texts of every second of a day."""
    return _table(_strftime(np.arange(DAY_S), pattern))


@functools.lru_cache(maxsize=16)
def _day_table(pattern: str, first: int, stop: int) -> _Table:
    return _table(_strftime(np.arange(first, stop) * DAY_S, pattern))


@functools.lru_cache(maxsize=4)
def _thousand_table(before: str) -> _Table:
    return _table(pc.binary_replace_slice(pc.ascii_lpad(whole_text(np.arange(1000)), 3, "0"), 0, 0, before))


@functools.lru_cache(maxsize=64)
def _constant_table(text: str) -> _Table:
    return _table(pc.from_strings([text]))


def _day_text(days: Numbers, pattern: str) -> _Part:
    if len(days) == 0:
        return ""
    first = int(days.min()) // _TABLE_DAYS * _TABLE_DAYS
    stop = (int(days.max()) // _TABLE_DAYS + 1) * _TABLE_DAYS
    if stop - first > _TABLE_DAYS_MAX:
        return _each(_strftime(days * DAY_S, pattern))
    return _Lookup(_day_table(pattern, first, stop), days - first)


def _fraction_text(ticks: Numbers | None, digits: int, wanted: int, before: str) -> list[_Part]:
    """Fractions of a second with ``digits`` digits (0: none, 3, 6 or 9) as text of ``wanted`` digits (3, 6 or 9)."""
    if ticks is None:
        return [before + "0" * wanted]
    parts: list[_Part] = []
    rest = ticks
    for place in range(3, wanted + 1, 3):
        if place > digits:
            parts.append(before + "000")
        else:
            thousandths = rest // 10 ** (digits - place)
            rest = rest - thousandths * 10 ** (digits - place)
            parts.append(_Lookup(_thousand_table(before), thousandths))
        before = ""
    return parts


def _each(texts: pa.StringArray) -> _Lookup:
    """A lookup with a separate text for each row."""
    return _Lookup(_table(texts))


def _table(texts: pa.StringArray) -> _Table:
    offsets, _ = string_window(texts)
    width = int(offsets[-1] - offsets[0]) // max(1, len(texts))
    if not (np.diff(offsets) == width).all():
        return _Table(texts, None, ())
    if width == 0:
        return _Table(texts, 0, ())
    matrix = bytes_of(texts).reshape(-1, width)
    size = next(s for s in (8, 4, 2, 1) if s <= width)
    columns = dict.fromkeys([*range(0, width - size, size), width - size])
    moves = ((c, np.ascontiguousarray(matrix[:, c : c + size]).view(f"u{size}").ravel()) for c in columns)
    return _Table(texts, width, tuple(moves))


def _texts(part: _Part) -> str | pa.StringArray:
    if isinstance(part, str):
        return part
    return part.table.texts if part.at is None else pc.take(part.table.texts, part.at)


def _joined(parts: Sequence[_Part], rows: int) -> pa.StringArray:
    if rows == 0:
        return pc.from_strings([])
    lookups = [_Lookup(_constant_table(part)) if isinstance(part, str) else part for part in parts]
    widths = [table.width for table, _ in lookups if table.width is not None]
    if len(widths) < len(lookups):
        return pc.binary_join_element_wise(*map(_texts, parts), "")
    matrix = np.empty((rows, sum(widths)), np.uint8)
    start = 0
    for (table, at), width in zip(lookups, widths, strict=True):
        for column, words in table.moves:
            target = np.ndarray(rows, words.dtype, matrix, start + column, (matrix.shape[1],))
            target[...] = words if at is None else words.take(at)
        start += width
    return fixed_width_text(matrix)
