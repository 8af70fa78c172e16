"""Columns of a slice as cells: one kernel per Arrow type.

A kernel turns an array into :class:`Cells`. The cells of a column usually differ only in their values, so the constant
parts stay outside the array. Where single cells differ (say, a number that must be text), the array holds whole cells
and the constant parts are empty:

              <c r="B7"| head           | value                    | close    |
    alike              | s="2"><v>      | 45                       | </v></c> |
    differing          |                | s="2"><v>45</v></c>      |          |
                       |                | t="inlineStr"><is>...    |          |
    null               no cell: the value is null in the array

One call may handle several columns that are alike (:mod:`fluxport.arrow_groups`): their rows follow one another in
the array, and a constant part is one text for all of them or a tuple of one per column. What a column's cells look
like never depends on the columns beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_groups import cut
from fluxport.arrow_strings import (
    fixed_width_text,
    string_window,
    true_rows,
    valid_rows,
    values_of,
    with_nulls_of,
)
from fluxport.decimals import DecimalText
from fluxport.digits import decimal_text, exponents, float_text, infinite_texts, integer_text, whole_text
from fluxport.findings import Findings
from fluxport.formats._zones import clock_of, is_utc
from fluxport.formats.text import TextStyle, text_of
from fluxport.formats.xlsx.kernels import join

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 10**15  # integers below have at most DIGITS_MAX digits
_SHOWN_BY_GENERAL = 10**11  # the format General shows all digits of integers below
MS_PER_DAY = 86_400_000
_DAYS_TO_1970 = 25_569  # Excel's serial of 1970-01-01
_FIRST_DAY = -25_567  # 1900-01-01 in days since 1970, Excel's day 1
_LEAP_BUG = -25_508  # 1900-03-01: serials before it are one less, as Excel counts a 1900-02-29
_LAST_DAY = 2_932_896  # 9999-12-31
_MS_EXACT = MS_PER_DAY >> 10  # multiples of it are binary fractions of a day
_MS_PER_UNIT = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_DECIMALS_TRIED = (0, 1, 2, 3, 4, 6)
DIGITS_MAX = 15  # Excel's precision
_DOUBLE_DIGITS_MAX = 17  # of the shortest text of a double
_ALL_DIGITS = Context(prec=100_000)
_SMALLEST, _LARGEST = 2.2251e-308, 9.99999999999999e307  # magnitudes of Excel's numbers besides 0
_LENGTH_IN_RANGE = 300  # up to which a text without an exponent and of at most 15 digits is of a number in that range


class Cells(NamedTuple):
    """Where ``values`` (strings) is null there is no cell; else ``head + value + close`` follows the reference.

    ``head`` and ``close`` are one text, or a tuple with one for each column in ``values``.
    """

    head: str | tuple[str, ...]
    values: pa.Array
    close: str | tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """What kernels use of columns that are alike; ``style``, ``text_style`` and ``quoted_style`` index styles.xml.

    ``names`` has the name of each column in the array. ``text_style`` is for values of other types that must be text
    cells, ``quoted_style`` for text that looks like a formula (equal to ``style`` if the option ``sanitize`` is off).
    ``right``: values are aligned to the right.
    """

    names: tuple[str, ...]
    field: pa.Field
    style: int
    text_style: int
    quoted_style: int
    right: bool
    text: TextStyle
    cut_long: bool
    findings: Findings

    def report(self, code: str, rows: NDArray[np.bool_]) -> None:
        """Count the values where ``rows`` (one per value of all columns) is true."""
        if rows.any():
            for name, count in zip(self.names, by_column(rows, self).sum(axis=1).tolist(), strict=True):
                self.findings.add(code, name, count)


# Called with columns, their array, and the number (from 1) of the first data row in that array.
Kernel = Callable[[Column, pa.Array, int], Cells]


def by_column(values: NDArray[Any], column: Column) -> NDArray[Any]:
    """``values``, one per row of each column, as a matrix with one line per column."""
    return values.reshape(len(column.names), -1)


def number(style: int | tuple[int, ...], values: pa.Array, exponent: int = 0) -> Cells:
    """Number cells of the decimal texts ``values`` times 10 ** ``exponent``; a tuple of styles has one per column."""
    head = f"{_s(style)}><v>" if isinstance(style, int) else tuple(f"{_s(one)}><v>" for one in style)
    return Cells(head, values, _number_close(exponent))


def inline_text(style: int, values: pa.Array, *, preserve: bool | tuple[bool, ...] = False) -> Cells:
    """Text cells of ``values``, already escaped for XML; ``preserve`` (a tuple: for each column) retains leading and
    trailing white space."""
    cropped, kept = (f'{_s(style)} t="inlineStr"><is>{tag}' for tag in ("<t>", '<t xml:space="preserve">'))
    if isinstance(preserve, tuple):
        return Cells(tuple(kept if one else cropped for one in preserve), values, "</t></is></c>")
    return Cells(kept if preserve else cropped, values, "</t></is></c>")


def whole(cells: Cells) -> Cells:
    """The same cells with their constant parts moved into the array."""
    head, close = (_each_row(part, len(cells.values)) for part in (cells.head, cells.close))
    return Cells("", join(head, cells.values, close), "")


def _each_row(part: str | tuple[str, ...], rows: int) -> str | pa.Array:
    """``part`` as it is, or the text of each of ``rows`` rows."""
    if isinstance(part, str):
        return part
    at = np.repeat(np.arange(len(part), dtype=np.int32), rows // len(part))
    return pc.take(pc.from_strings(part), pc.from_numpy(at))


def replaced(cells: Cells, mask: NDArray[np.bool_], others: Cells) -> Cells:
    """``cells`` with the cells of ``others``, one per True of ``mask``, where ``mask`` is True."""
    return Cells("", pc.replace_with_mask(whole(cells).values, pc.from_numpy(mask), whole(others).values), "")


def filled(cells: Cells, mask: pa.Array, other: Cells) -> Cells:
    """``cells`` with the one cell of ``other`` where ``mask`` is true."""
    return Cells("", pc.if_else(mask, whole(other).values[0], whole(cells).values), "")


def boolean(column: Column, array: pa.Array, first_row: int) -> Cells:
    digits = pc.fill_null(pc.cast(array, pa.uint8()), 0)
    digit_texts = fixed_width_text(values_of(digits, np.uint8).reshape(-1, 1) + np.uint8(ord("0")))
    return Cells(f'{_s(column.style)} t="b"><v>', with_nulls_of(digit_texts, array), "</v></c>")


def integer(column: Column, array: pa.Array, first_row: int) -> Cells:
    if array.type.bit_width < 64:
        return number(column.style, integer_text(array))
    return _whole_numbers(column, array, _longs(array), column.style)


@cache
def by_length(long_style: int) -> Kernel:
    """Like :func:`integer`, in ``long_style`` for slices of a column with an integer that General would show as
    1.23457E+11."""

    def cells(column: Column, array: pa.Array, first_row: int) -> Cells:
        values = _longs(array)
        if -_SHOWN_BY_GENERAL < values.min(initial=0) <= values.max(initial=0) < _SHOWN_BY_GENERAL:
            return number(column.style, integer_text(array))
        matrix = by_column(values, column)
        long = (matrix.max(axis=1) >= _SHOWN_BY_GENERAL) | (matrix.min(axis=1) <= -_SHOWN_BY_GENERAL)
        return _whole_numbers(column, array, values, tuple(np.where(long, long_style, column.style).tolist()))

    return cells


def _whole_numbers(column: Column, array: pa.Array, values: NDArray[Any], style: int | tuple[int, ...]) -> Cells:
    cells = number(style, integer_text(array))
    if -EXACT < values.min(initial=0) <= values.max(initial=0) < EXACT:
        return cells
    return _too_long(column, cells, cells.values, (values >= EXACT) | (values <= -EXACT))


def _longs(array: pa.Array) -> NDArray[Any]:
    """64-bit integers, 0 where they are null."""
    values = values_of(array, np.uint64 if pa.types.is_unsigned_integer(array.type) else np.int64)
    return values * valid_rows(array) if array.null_count else values


def floating(column: Column, array: pa.Array, first_row: int) -> Cells:
    values = values_of(array, f"f{array.type.bit_width // 8}")
    clean: NDArray[np.bool_] = np.isfinite(values)
    not_finite = ~clean
    if array.null_count:
        present = valid_rows(array)
        clean, not_finite = clean & present, not_finite & present
    if not_finite.any():
        column.report("not_a_number", not_finite)
        array = pc.if_else(pc.from_numpy(not_finite), pa.scalar(None, array.type), array)
    if array.type != pa.float64():
        return number(column.style, float_text(array))
    return _doubles(column, array, by_column(values, column), by_column(clean, column))


def _doubles(column: Column, array: pa.Array, matrix: NDArray[np.float64], finite: NDArray[np.bool_]) -> Cells:
    """Number cells; ``matrix`` has the values, and ``finite`` which of them are numbers, a line per column."""
    clean: NDArray[np.bool_] = np.logical_and.reduce(finite, axis=1)
    if not clean.any():
        return number(column.style, float_text(array))
    integers, decimals = _short_decimals(matrix if clean.all() else matrix[clean])
    short = clean.copy()
    short[clean] = decimals >= 0
    if not short.any():
        return number(column.style, float_text(array))
    texts = whole_text(integers[decimals >= 0].ravel())
    if not short.all():
        others = float_text(pc.filter(array, pc.from_numpy(np.repeat(~short, matrix.shape[1]))))
        pieces = iter(cut(texts, int(short.sum()))), iter(cut(others, int((~short).sum())))
        texts = pa.concat_arrays([next(pieces[0 if one else 1]) for one in short.tolist()])
    found = np.zeros(len(short), np.int64)
    found[clean] = np.maximum(decimals, 0)
    return number(column.style, texts)._replace(close=tuple(map(_number_close, (-found).tolist())))


def decimal(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Decimals, or their texts (:class:`fluxport.decimals.DecimalText`), with all digits of their scale."""
    kind = array.type
    if isinstance(kind, DecimalText):
        kind, texts = kind.decimal, array.storage
    else:
        texts = decimal_text(array)
    cells = number(column.style, texts)
    if kind.precision <= DIGITS_MAX:
        return cells
    mask = _more_digits(texts, kind.scale)
    return cells if mask is None else _too_long(column, cells, texts, mask)


def _more_digits(texts: pa.Array, scale: int) -> NDArray[np.bool_] | None:
    """Which decimals have more than 15 digits without leading zeros and trailing zeros of the fraction; None if none.

    Zeros are counted only in texts that are long enough, one place at a time, until too few digits are left.
    """
    offsets, data = string_window(texts)
    if np.diff(offsets).max(initial=0) <= DIGITS_MAX:
        return None
    at = np.flatnonzero((np.diff(offsets) > DIGITS_MAX) & valid_rows(texts))
    first, last = offsets[:-1][at], offsets[1:][at] - 1
    first = first + (data[first] == ord("-"))
    digits = last + 1 - first + (-1 if scale > 0 else scale)  # without the point, or the zeros of a negative scale
    from_right = (last - place for place in range(scale))
    from_left = (first + place for place in (0, *range(2, 2 + scale)))
    for places in (from_right, from_left):
        rest = np.flatnonzero(digits > DIGITS_MAX)
        for place in places:
            rest = rest[(digits[rest] > DIGITS_MAX) & (data[place[rest]] == ord("0"))]
            if not len(rest):
                break
            digits[rest] -= 1
    mask = np.zeros(len(texts), np.bool_)
    mask[at[digits > DIGITS_MAX]] = True
    return mask if mask.any() else None


def number_text(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Numbers given as text, as in JSON."""
    not_finite = infinite_texts(array)
    if not_finite is not None:
        column.report("not_a_number", not_finite)
        array = pc.if_else(pc.from_numpy(not_finite), pa.scalar(None, array.type), array)
    cells = number(column.style, array)
    scientific = exponents(array)
    if scientific is None and (pc.max(pc.binary_length(array)).as_py() or 0) <= DIGITS_MAX:
        return cells
    mask = true_rows(pc.greater(pc.binary_length(array), DIGITS_MAX))
    if scientific is not None:
        mask |= scientific
    mask[mask] = ~_exact_numbers(pc.filter(array, pc.from_numpy(mask)))
    return _too_long(column, cells, array, mask) if mask.any() else cells


def _exact_numbers(texts: pa.StringArray) -> NDArray[np.bool_]:
    """Which numbers Excel holds exactly. Those without an exponent that are short and have few digits, or more than any
    double, need no look at each."""
    significant = pc.ascii_ltrim(pc.ascii_rtrim(texts, "0"), "-0.")  # a point may be among the digits
    digits = values_of(pc.binary_length(significant), np.int32)
    exact: NDArray[np.bool_] = digits <= DIGITS_MAX
    unclear = ~exact & (digits <= _DOUBLE_DIGITS_MAX + 1)
    unclear |= exact & (values_of(pc.binary_length(texts), np.int32) > _LENGTH_IN_RANGE)
    scientific = exponents(texts)
    rows = np.flatnonzero(unclear if scientific is None else unclear | scientific)
    exact[rows] = [_exact_in_excel(text) for text in pc.take(texts, pc.from_numpy(rows)).to_pylist()]
    return exact


def _exact_in_excel(value: str) -> bool:
    """Whether a number's text is 0, or in Excel's range and has at most 15 digits or is the shortest text of a double
    with a fraction."""
    double = float(value)
    if not _SMALLEST <= abs(double) <= _LARGEST:
        return not value.upper().partition("E")[0].strip("+-0.")
    exact = Decimal(value)
    if len(exact.normalize(_ALL_DIGITS).as_tuple().digits) <= DIGITS_MAX:
        return True
    return exact != exact.to_integral_value(context=_ALL_DIGITS) and Decimal(repr(double)) == exact


@cache
def by_time_of_day(date_style: int) -> Kernel:
    """Like :func:`timestamp`, with midnights in the style of a date."""

    def cells(column: Column, array: pa.Array, first_row: int) -> Cells:
        midnight = (_milliseconds(replace(column, findings=Findings()), array) % MS_PER_DAY == 0) & valid_rows(array)
        if np.count_nonzero(midnight) == len(array) - array.null_count:
            return timestamp(replace(column, style=date_style), array, first_row)
        timestamps = timestamp(column, array, first_row)
        if not midnight.any():
            return timestamps
        # Reported by the call above; these cells are no longer those of whole columns.
        date_column = replace(column, style=date_style, findings=Findings(), names=("",))
        return replaced(
            timestamps, midnight, timestamp(date_column, pc.filter(array, pc.from_numpy(midnight)), first_row)
        )

    return cells


def date(column: Column, array: pa.Array, first_row: int) -> Cells:
    days = _integers(array)
    inside = (days >= _FIRST_DAY) & (days <= _LAST_DAY)
    serial = days + _DAYS_TO_1970 - (days < _LEAP_BUG)
    return _dates(column, array, number(column.style, _strings(serial, array)), inside)


def timestamp(column: Column, array: pa.Array, first_row: int) -> Cells:
    ms = _milliseconds(column, array)
    twice = None
    if array.type.tz and not is_utc(array.type.tz):
        if array.null_count:
            ms *= valid_rows(array)  # the values under nulls may be in any year
        clock = clock_of(ms // 1000, array.type.tz)
        ms, twice = ms + clock.offsets * 1000, clock.twice
    days = ms // MS_PER_DAY
    inside = (days >= _FIRST_DAY) & (days <= _LAST_DAY)
    of_day = ms - days * MS_PER_DAY
    # LibreOffice truncates: it shows a double slightly below 35 s as 34 (half of the seconds of 1967 to 1972). Adding
    # half the distance between two doubles (1e-7 s today) makes the nearest double one that is not smaller.
    more = (of_day % _MS_EXACT != 0) * np.where(days < 1 << 15, 5, 235)
    serial = _fraction(of_day) + more + (days + _DAYS_TO_1970 - (days < _LEAP_BUG)) * 10**12
    if twice is not None and twice.any():
        column.report("ambiguous_time", twice & inside & valid_rows(array))
    return _dates(column, array, number(column.style, _strings(serial, array), -12), inside)


def duration(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Durations and times of day. Excel cannot show negative ones."""
    ms = _milliseconds(column, array)
    days = ms // MS_PER_DAY
    inside = (days >= 0) & (days <= _LAST_DAY + _DAYS_TO_1970)
    serial = _fraction(ms - days * MS_PER_DAY) + days * 10**12
    return _dates(column, array, number(column.style, _strings(serial, array), -12), inside)


def _number_close(exponent: int) -> str:
    return f"E{exponent}</v></c>" if exponent else "</v></c>"


def _s(style: int) -> str:
    return f' s="{style}"' if style else ""


def _strings(values: NDArray[Any], like: pa.Array) -> pa.Array:
    """The texts of the integers ``values``, null where ``like`` is."""
    return with_nulls_of(whole_text(values), like)


def _integers(array: pa.Array) -> NDArray[np.int64]:
    """The integers behind a date, time or number array, as int64; arbitrary where it is null."""
    dtype = np.dtype(f"i{array.type.bit_width // 8}")
    values = values_of(array, dtype)
    return values.astype(np.int64, copy=False)


def _milliseconds(column: Column, array: pa.Array) -> NDArray[np.int64]:
    """An array of any unit in milliseconds, saturated; finer digits are dropped and counted.

    Values are never rounded up: the end of a year would move into the next one, and the last instant before clocks are
    set forward into an hour that does not exist.
    """
    values = _integers(array)
    factor, divisor = _MS_PER_UNIT[array.type.unit]
    if factor > 1:
        return np.clip(values, -(2**52), 2**52) * factor
    if divisor == 1:
        return values
    ms = values // divisor
    finer = values != ms * divisor
    if finer.any():
        column.report("precision_reduced", finer & valid_rows(array) if array.null_count else finer)
    return ms


def _fraction(ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Milliseconds of a day in units of 1e-12 days, the finest that 64 bits allow for the year 9999."""
    return (ms * 312_500 + 13) // 27


def _dates(column: Column, array: pa.Array, cells: Cells, inside: NDArray[np.bool_]) -> Cells:
    """``cells``, with text cells for values of ``array`` outside Excel's calendar (where not ``inside``)."""
    if inside.all() or not (outside := ~inside & valid_rows(array)).any():
        return cells
    column.report("date_as_text", outside)
    texts = text_of(pc.filter(array, pc.from_numpy(outside)), column.field, column.text)
    return replaced(cells, outside, inline_text(column.text_style, texts))


def _too_long(column: Column, cells: Cells, texts: pa.Array, mask: NDArray[np.bool_]) -> Cells:
    """``cells``, with text cells of ``texts`` where ``mask``."""
    column.report("number_as_text", mask)
    return replaced(cells, mask, inline_text(column.text_style, pc.filter(texts, pc.from_numpy(mask))))


def _short_decimals(matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers and, for each column (a line of ``matrix``), k such that integer / 10**k equals each of its values bit
    by bit; k is -1 for a column without such a k.

    Money, percentages and ratings are such doubles, and formatting integers is several times cheaper.
    """
    with np.errstate(over="ignore"):  # infinity is not an integer below 10**15 either
        decimals = _decimals_of(matrix[:, :32])
        power = 10.0 ** np.maximum(decimals, 0)[:, np.newaxis]
        scaled = np.rint(matrix * power)
        small = np.abs(scaled).max(axis=1) < EXACT
        fits = small & (scaled / power == matrix).all(axis=1) & ~((scaled == 0) & np.signbit(scaled)).any(axis=1)
    decimals = np.where(fits, decimals, -1)
    scaled[decimals < 0] = 0
    return scaled.astype(np.int64), decimals


def _decimals_of(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """The least of _DECIMALS_TRIED with which each column (a line of ``matrix``) is written exactly, or -1."""
    found = np.full(len(matrix), -1)
    rest = np.arange(len(matrix))
    for decimals in _DECIMALS_TRIED:
        power, some = 10.0**decimals, matrix[rest]
        near = np.rint(some[:, 0] * power) / power == some[:, 0]  # most fail at the first value
        near[near] = (np.rint(some[near] * power) / power == some[near]).all(axis=1)
        found[rest[near]] = decimals
        rest = rest[~near]
        if not len(rest):
            break
    return found
