"""Columns of a slice as cells: one kernel per Arrow type.

A kernel turns an array into :class:`Cells`. The cells of a column usually differ only in their values, so the constant
parts stay outside the array. Where single cells differ (say, a number that must be text), the array holds whole cells
and the constant parts are empty:

              <c r="B7"| head           | value                    | close    |
    alike              | s="2"><v>      | 45                       | </v></c> |
    differing          |                | s="2"><v>45</v></c>      |          |
                       |                | t="inlineStr"><is>...    |          |
    null               no cell: the value is null in the array
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import fixed_width_text, true_rows, valid_rows, values_of, with_nulls_of
from fluxport.digits import float_text, integer_text, whole_text
from fluxport.findings import Findings
from fluxport.formats._zones import clock_of, is_utc
from fluxport.formats.text import TextStyle, text_of
from fluxport.formats.xlsx.kernels import join

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 10**15  # integers below have at most 15 digits, Excel's precision
_SHOWN_BY_GENERAL = 10**11  # the format General shows all digits of integers below
MS_PER_DAY = 86_400_000
_DAYS_TO_1970 = 25_569  # Excel's serial of 1970-01-01
_FIRST_DAY = -25_567  # 1900-01-01 in days since 1970, Excel's day 1
_LEAP_BUG = -25_508  # 1900-03-01: serials before it are one less, as Excel counts a 1900-02-29
_LAST_DAY = 2_932_896  # 9999-12-31
_MS_EXACT = MS_PER_DAY >> 10  # multiples of it are binary fractions of a day
_MS_PER_UNIT = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_DECIMALS_TRIED = (0, 1, 2, 3, 4, 6)
_POWERS_TRIED = 10.0 ** np.array(_DECIMALS_TRIED)
_ALL_DIGITS = Context(prec=100_000)


class Cells(NamedTuple):
    """Where ``values`` (strings) is null there is no cell; else `` + head + value + close`` follows the reference."""

    head: str
    values: pa.Array
    close: str


@dataclass(frozen=True)
class Column:
    """The properties of a column that kernels use; ``style``, ``text_style`` and ``quoted_style`` index styles.xml.

    ``text_style`` is for values of other types that must be text cells, ``quoted_style`` for text that looks like a
    formula (equal to ``style`` if the option ``sanitize`` is off). ``right``: values are aligned to the right.
    """

    name: str
    field: pa.Field
    style: int
    text_style: int
    quoted_style: int
    right: bool
    text: TextStyle
    cut_long: bool
    findings: Findings

    def report(self, code: str, count: int | np.integer[Any]) -> None:
        self.findings.add(code, self.name, int(count))


# Called with a column, its array, and the number (from 1) of the first data row in that array.
Kernel = Callable[[Column, pa.Array, int], Cells]


def number(style: int, values: pa.Array, exponent: int = 0) -> Cells:
    """Number cells of the decimal texts ``values`` times 10 ** ``exponent``."""
    return Cells(f"{_s(style)}><v>", values, f"E{exponent}</v></c>" if exponent else "</v></c>")


def inline_text(style: int, values: pa.Array, *, preserve: bool = False) -> Cells:
    """Text cells of ``values``, already escaped for XML; ``preserve`` retains leading and trailing white space."""
    tag = '<t xml:space="preserve">' if preserve else "<t>"
    return Cells(f'{_s(style)} t="inlineStr"><is>{tag}', values, "</t></is></c>")


def whole(cells: Cells) -> Cells:
    """The same cells with their constant parts moved into the array."""
    return Cells("", join(cells.head, cells.values, cells.close), "")


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
    cells = number(column.style, integer_text(array))
    if array.type.bit_width < 64:
        return cells
    lowest, highest = _bounds(array)
    if -EXACT < lowest <= highest < EXACT:
        return cells
    outside = pc.greater_equal(array, pa.scalar(EXACT, array.type))
    if lowest <= -EXACT:
        outside = pc.or_(outside, pc.less_equal(array, pa.scalar(-EXACT, array.type)))
    return _too_long(column, cells, cells.values, true_rows(outside))


def by_length(long_style: int) -> Kernel:
    """Like :func:`integer`, in ``long_style`` for slices with an integer that General would show as 1.23457E+11."""

    def cells(column: Column, array: pa.Array, first_row: int) -> Cells:
        lowest, highest = _bounds(array)
        if not -_SHOWN_BY_GENERAL < lowest <= highest < _SHOWN_BY_GENERAL:
            column = replace(column, style=long_style)
        return integer(column, array, first_row)

    return cells


def _bounds(array: pa.Array) -> tuple[int, int]:
    """The minimum and maximum of 64-bit integers; (0, 0) if there are none."""
    if array.null_count or not len(array):  # the values under nulls are arbitrary
        least, greatest = pc.min_max(array).as_py().values()
        return (0, 0) if least is None else (least, greatest)
    values = values_of(array, np.uint64 if pa.types.is_unsigned_integer(array.type) else np.int64)
    return int(values.min()), int(values.max())


def floating(column: Column, array: pa.Array, first_row: int) -> Cells:
    values = values_of(array, f"f{array.type.bit_width // 8}")
    finite = np.isfinite(values)
    if not finite.all():
        not_finite = ~finite & valid_rows(array)
        column.report("not_a_number", np.count_nonzero(not_finite))
        if not_finite.any():
            array = pc.if_else(pc.from_numpy(not_finite), pa.scalar(None, array.type), array)
    elif array.type == pa.float64() and not array.null_count and (short := _short_decimals(values)):
        whole_numbers, decimals = short
        return number(column.style, whole_text(whole_numbers), -decimals)
    return number(column.style, float_text(array))


def decimal(column: Column, array: pa.Array, first_row: int) -> Cells:
    unscaled = _unscaled(array)
    if unscaled is None:
        return _long_decimal(column, array)
    scale = array.type.scale
    values = _strings(unscaled, array)
    cells = number(column.style, values, -scale)
    if array.type.precision <= 15 or -EXACT < unscaled.min(initial=0) <= unscaled.max(initial=0) < EXACT:
        return cells
    at = np.flatnonzero((unscaled >= EXACT) | (unscaled <= -EXACT))
    rest = unscaled[at]
    for _ in range(min(scale, 18)):
        rest = np.where(rest % 10 == 0, rest // 10, rest)
    mask = np.zeros(len(array), bool)
    mask[at[(rest >= EXACT) | (rest <= -EXACT)]] = True
    mask &= valid_rows(array)
    return _too_long(column, cells, text_of(array, column.field, column.text), mask) if mask.any() else cells


def number_text(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Numbers given as text, as in JSON."""
    cells = number(column.style, array)
    if (pc.max(pc.binary_length(array)).as_py() or 0) <= 15:
        return cells
    mask = true_rows(pc.greater(pc.binary_length(array), 15))
    mask[mask] = [not _exact_in_excel(value) for value in pc.filter(array, pc.from_numpy(mask)).to_pylist()]
    return _too_long(column, cells, array, mask) if mask.any() else cells


def _exact_in_excel(value: str) -> bool:
    """Whether a number's text has at most 15 digits, or is the shortest text of a double with a fraction."""
    exact = Decimal(value)
    if len(exact.normalize(_ALL_DIGITS).as_tuple().digits) <= 15:
        return True
    return exact != exact.to_integral_value(context=_ALL_DIGITS) and Decimal(repr(float(value))) == exact


def by_time_of_day(date_style: int) -> Kernel:
    """Like :func:`timestamp`, with midnights in the style of a date."""

    def cells(column: Column, array: pa.Array, first_row: int) -> Cells:
        midnight = (_milliseconds(replace(column, findings=Findings()), array) % MS_PER_DAY == 0) & valid_rows(array)
        if np.count_nonzero(midnight) == len(array) - array.null_count:
            return timestamp(replace(column, style=date_style), array, first_row)
        timestamps = timestamp(column, array, first_row)
        if not midnight.any():
            return timestamps
        date_column = replace(column, style=date_style, findings=Findings())  # reported by the call above
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
        column.report("ambiguous_time", np.count_nonzero(twice & inside & valid_rows(array)))
    return _dates(column, array, number(column.style, _strings(serial, array), -12), inside)


def duration(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Durations and times of day. Excel cannot show negative ones."""
    ms = _milliseconds(column, array)
    days = ms // MS_PER_DAY
    inside = (days >= 0) & (days <= _LAST_DAY + _DAYS_TO_1970)
    serial = _fraction(ms - days * MS_PER_DAY) + days * 10**12
    return _dates(column, array, number(column.style, _strings(serial, array), -12), inside)


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
        column.report("precision_reduced", np.count_nonzero(finer & valid_rows(array) if array.null_count else finer))
    return ms


def _fraction(ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Milliseconds of a day in units of 1e-12 days, the finest that 64 bits allow for the year 9999."""
    return (ms * 312_500 + 13) // 27


def _dates(column: Column, array: pa.Array, cells: Cells, inside: NDArray[np.bool_]) -> Cells:
    """``cells``, with text cells for values of ``array`` outside Excel's calendar (where not ``inside``)."""
    if inside.all() or not (outside := ~inside & valid_rows(array)).any():
        return cells
    column.report("date_as_text", np.count_nonzero(outside))
    texts = text_of(pc.filter(array, pc.from_numpy(outside)), column.field, column.text)
    return replaced(cells, outside, inline_text(column.text_style, texts))


def _too_long(column: Column, cells: Cells, texts: pa.Array, mask: NDArray[np.bool_]) -> Cells:
    """``cells``, with text cells of ``texts`` where ``mask``."""
    column.report("number_as_text", np.count_nonzero(mask))
    return replaced(cells, mask, inline_text(column.text_style, pc.filter(texts, pc.from_numpy(mask))))


def _short_decimals(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int] | None:
    """Integers and k such that integer / 10**k equals each of ``values`` bit by bit; None if there are none.

    Money, percentages and ratings are such doubles, and formatting integers is several times cheaper.
    """
    some = values[:32, np.newaxis]
    with np.errstate(over="ignore"):
        fits = (np.rint(some * _POWERS_TRIED) / _POWERS_TRIED == some).all(axis=0)
    if not fits.any():
        return None
    decimals = _DECIMALS_TRIED[int(fits.argmax())]
    integers = _times_power(values, decimals)
    return None if integers is None else (integers, decimals)


def _times_power(values: NDArray[np.float64], decimals: int) -> NDArray[np.int64] | None:
    """``values`` times 10**decimals if those are integers below 10**15 that give ``values`` back, signed zeros too."""
    power = 10.0**decimals
    with np.errstate(over="ignore"):  # infinity is not an integer below 10**15 either
        scaled = np.rint(values * power)
    if not (np.abs(scaled).max(initial=0) < EXACT and (scaled / power == values).all()):
        return None
    if np.signbit(scaled[scaled == 0]).any():
        return None
    return scaled.astype(np.int64)


def _unscaled(array: pa.Array) -> NDArray[np.int64] | None:
    """The integers of a decimal array, 0 where it is null; None if one does not fit 64 bits."""
    words = array.type.bit_width // 64
    low, *high = values_of(array, (np.int64, words)).reshape(-1, words).T
    if array.null_count:
        present = valid_rows(array)
        low, high = low * present, [word * present for word in high]
    sign = low >> 63
    return low if all((word == sign).all() for word in high) else None


def _long_decimal(column: Column, array: pa.Array) -> Cells:
    """Decimals of more than 64 bits, from their text."""
    texts = text_of(array, column.field, column.text)
    digits = pc.replace_substring_regex(texts, r"\.?0*$|^$", "")
    digits = pc.if_else(pc.match_substring(texts, "."), digits, texts)
    digits = pc.ascii_ltrim(pc.replace_substring_regex(digits, r"[-.]", ""), "0")
    mask = true_rows(pc.greater(pc.binary_length(digits), 15))
    cells = number(column.style, texts)
    return _too_long(column, cells, texts, mask) if mask.any() else cells
