"""Converts the cells that both protocols send alike, and dates and times, to Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.decimals import DecimalText, from_text
from fluxport.errors import Broken
from fluxport.sources.errors import cell_too_large
from fluxport.sources.mysql.columns import DISTINGUISHABLE_BITS, Column
from fluxport.sources.mysql.places import Context
from fluxport.sources.wire import cells as wire_cells
from fluxport.sources.wire.blocks import Block, Mask, Numbers
from fluxport.sources.wire.cells import Place, bitmap, content, fixed, packed, to_bytes, to_text, with_type
from fluxport.sources.wire.malformed import Malformed

Cells: TypeAlias = wire_cells.Cells[Column]
Convert: TypeAlias = wire_cells.Convert[Column]

DAY_S = 86_400
TIME_HOURS_MAX = 9999  # the server's limit is 838; this bound keeps a count of microseconds within 64 bits
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


def arrays(block: Block, places: Sequence[Place], context: Context, converters: dict[str, Convert]) -> list[pa.Array]:
    """One array per column, each group of columns converted at once."""
    return wire_cells.arrays(block, places, context.columns, context.alike, context.findings, converters)


def to_decimal(cells: Cells) -> pa.Array:
    """Decimals, or their texts if the column is of DecimalText."""
    kind = cells.column.arrow
    texts = with_type(cells, packed(cells), pa.utf8())
    try:
        return from_text(texts, kind) if isinstance(kind, DecimalText) else pc.cast(texts, kind)
    except pa.ArrowInvalid:
        if len(cells.columns) > 1:  # the column is named
            return pa.concat_arrays([to_decimal(own) for own in cells.apart()])
        raise Broken(
            f"Column {cells.column.name!r} has a number that does not fit its declared {cells.column.type_name}; "
            "CAST it in the query to a wider DECIMAL.",
            code="decimal_overflow",
        ) from None


def to_null(cells: Cells) -> pa.Array:
    if cells.valid is None or cells.valid.any():
        raise Malformed
    return pa.nulls(len(cells))


def to_bit(cells: Cells) -> pa.Array:
    """BIT(n): up to 8 bytes, big-endian."""
    width = int(cells.sizes.max()) if len(cells) else 0
    if width > 8:
        raise Malformed
    values = np.zeros(len(cells), np.uint64)
    for index in range(width):
        present = index < cells.sizes
        byte = cells.block.window.bytes[cells.at + index]
        values = np.where(present, values << np.uint64(8) | byte, values)
    return fixed(pa.uint64(), values, cells.valid)


def to_bit_or_digits(cells: Cells) -> pa.Array:
    """BIT(n) of at most DISTINGUISHABLE_BITS: one byte, or decimal digits, whose codes are larger than such bytes."""
    sizes = cells.sizes
    if len(cells) and sizes.max() > 2:
        raise Malformed
    first, second = (cells.block.window.bytes[cells.at + index].astype(np.int64) for index in (0, 1))
    tens, ones = first - ord("0"), second - ord("0")
    bits, one, two = first < 1 << DISTINGUISHABLE_BITS, _digit(tens), _digit(tens) & _digit(ones)
    if not np.select([sizes == 0, sizes == 1], [True, bits | one], two).all():
        raise Malformed
    values = np.select([sizes == 0, sizes == 2, bits], [np.int64(0), tens * 10 + ones, first], tens)
    return fixed(pa.uint64(), values.astype(np.uint64), cells.valid)


def _digit(value: Numbers) -> Mask:
    return (value >= 0) & (value <= 9)


_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "<u2")
SRID_BYTES = 4


def to_hex(cells: Cells) -> pa.Array:
    """Lower-case hex; a geometry loses the 4 bytes of SRID that MySQL puts before the WKB."""
    raw = packed(cells, SRID_BYTES if cells.column.kind == "geometry" else 0)
    edges = np.frombuffer(raw.buffers()[1], np.int32, len(raw) + 1)
    data = _HEX[content(raw)]
    if len(data) > 0x3FFFFFFF:
        raise cell_too_large(cells.column.name, cells.block.first_row, len(data), 0x3FFFFFFF)
    buffers = [bitmap(cells.valid), pa.py_buffer((edges - edges[0]) * np.int32(2)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.utf8(), len(raw), buffers)


USUAL_YEARS, ALL_YEARS = (1900, 2100), (0, 9999)


@cache
def _month_starts(first: int, last: int) -> npt.NDArray[np.int32]:
    """Days from 1970-01-01 to the first of every month from January ``first`` to January ``last`` + 1."""
    months = np.arange(f"{first:04}-01", f"{last + 1:04}-02", dtype="datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int32)


@dataclass(frozen=True)
class Clock:
    """Seconds (of the day, or of a TIME) and microseconds; None where no cell has a fraction."""

    seconds: Numbers
    micros: Numbers | None

    @staticmethod
    def of(hours: Numbers, minutes: Numbers, seconds: Numbers, micros: Numbers | None) -> Clock:
        """Malformed if a part is out of its range, which in a sum would become another time."""
        if (
            max(minutes.max(initial=0), seconds.max(initial=0)) > 59
            or hours.max(initial=0) > TIME_HOURS_MAX
            or (micros is not None and micros.max(initial=0) > 999_999)
        ):
            raise Malformed
        return Clock(hours * 3600 + minutes * 60 + seconds, micros)


def datetimes(cells: Cells, ymd: tuple[Numbers, Numbers, Numbers], clock: Clock | None) -> pa.Array:
    """Dates, or timestamps if ``clock`` is given; dates that do not exist become null and are counted."""
    year, month, day = ymd
    if clock is not None and clock.seconds.max(initial=0) >= DAY_S:
        raise Malformed
    known = (year > 0) & (month > 0) & (day > 0)
    if not known.all():
        cells = cells.without("zero_date_null", known)
        year, month, day = np.where(known, year, 1970), np.where(known, month, 1), np.where(known, day, 1)
    latest = year.max(initial=USUAL_YEARS[0])
    if month.max(initial=1) > 12 or latest > ALL_YEARS[1]:
        raise Malformed
    usual = USUAL_YEARS[0] <= year.min(initial=latest) and latest <= USUAL_YEARS[1]
    first, last = USUAL_YEARS if usual else ALL_YEARS
    starts = _month_starts(first, last)
    index = (year - first) * 12 + month - 1
    if len(day) and day.max() > 28:
        possible = day <= starts[index + 1] - starts[index]
        if not possible.all():
            cells = cells.without("impossible_date_null", possible)
    days = starts[index] + (day - 1)
    if clock is None:
        return fixed(cells.column.arrow, days.astype(np.int32), cells.valid)
    return _in_unit(cells, Clock(days.astype(np.int64) * DAY_S + clock.seconds, clock.micros))


def durations(cells: Cells, clock: Clock, negative: Mask) -> pa.Array:
    sign = np.where(negative, -1, 1)
    return _in_unit(cells, Clock(clock.seconds * sign, None if clock.micros is None else clock.micros * sign))


def _in_unit(cells: Cells, clock: Clock) -> pa.Array:
    """Counts of the column's unit; fractions finer than the column declares are counted as findings."""
    kind = cells.column.arrow
    per_second = UNITS_PER_SECOND[kind.unit]
    values = clock.seconds.astype(np.int64) * per_second if per_second > 1 else clock.seconds.astype(np.int64)
    if clock.micros is not None:
        fraction, finer = np.divmod(clock.micros.astype(np.int64), 1_000_000 // per_second)
        values += fraction
        cells.count("precision_reduced", finer != 0)
    return fixed(kind, values, cells.valid)


CONVERTERS: dict[str, Convert] = {  # of cells that both protocols send alike
    "null": to_null,
    "decimal": to_decimal,
    "text": to_text,
    "bytes": to_bytes,
    "bit": to_bit,
    "bit_or_digits": to_bit_or_digits,
    "geometry": to_hex,
    "hex": to_hex,
}
