"""Converts cells to Arrow arrays, the columns of one type of a block at a time; shared by both protocols.

A slice of many columns has few rows, so a call per column would cost more than its cells. Columns of equal type are
therefore one array, column after column, until it is cut into its columns::

    columns   a: c0 c1 c2    d: c0 c1 c2          two columns of three rows
    cells     |a0|a1|a2|d0|d1|d2|                 positions, sizes, values and texts of all of them

Arrow itself copies cells of varying length: the receive buffer becomes the data of a binary array whose elements are,
in turn, a cell and the gap after it; ``take`` then selects every other element. All lengths have been compared with the
ends of their rows before.
::

    buffer    ..[..3foo..].[..2hi......].[..4quux.]..
    edges          ^  ^       ^ ^           ^   ^       offsets of one binary array of 2 * cells - 1 elements
    elements       foo gap    hi gap        quux        take(0, 2, 4) -> foo, hi, quux
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_groups import cut
from fluxport.decimals import DecimalText, from_text
from fluxport.errors import Broken
from fluxport.findings import Findings
from fluxport.sources.errors import cell_too_large
from fluxport.sources.mysql.columns import DISTINGUISHABLE_BITS, Column
from fluxport.sources.mysql.malformed import Malformed
from fluxport.sources.mysql.places import Context, Mask, Place
from fluxport.sources.mysql.rows import Block, Positions

Numbers: TypeAlias = npt.NDArray[Any]

DAY_S = 86_400
TIME_HOURS_MAX = 9999  # the server's limit is 838; this bound keeps a count of microseconds within 64 bits
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class Cells:
    """The cells of ``columns``, of one type, column after column: ``at`` is the first byte of each, ``sizes`` its bytes
    (0 where null; empty for types of fixed width). ``valid`` is None where no cell is null.
    """

    block: Block
    columns: Sequence[Column]
    findings: Findings
    at: Positions
    sizes: Positions
    valid: Mask | None

    @property
    def column(self) -> Column:
        """Any of the columns, for what they have in common."""
        return self.columns[0]

    def __len__(self) -> int:
        return len(self.at)

    def count(self, code: str, hits: Mask) -> None:
        """Report the cells that are ``hits`` and not null, by column."""
        if self.valid is not None:
            hits = hits & self.valid
        if hits.any():
            for column, hit in zip(self.columns, hits.reshape(len(self.columns), -1), strict=True):
                self.findings.add(code, column.name, int(np.count_nonzero(hit)))

    def apart(self) -> Iterator[Cells]:
        """The cells of each column."""
        rows = len(self.block)
        for index, column in enumerate(self.columns):
            own = slice(index * rows, (index + 1) * rows)
            valid = None if self.valid is None else self.valid[own]
            yield Cells(self.block, [column], self.findings, self.at[own], self.sizes[own], valid)


Convert: TypeAlias = Callable[[Cells], pa.Array]


def arrays(block: Block, places: Sequence[Place], context: Context, converters: dict[str, Convert]) -> list[pa.Array]:
    """One array per column, each group of columns converted at once."""
    columns = context.columns
    found: list[pa.Array] = [None] * len(columns)
    alone = block.owned  # a huge row
    for group in [[index] for index in range(len(columns))] if alone else context.alike.of(len(block)):
        cells = _cells(block, [columns[i] for i in group], [places[i] for i in group], context)
        converted = converters[cells.column.kind](cells)
        for index, array in zip(group, cut(converted, len(group)), strict=True):
            found[index] = array
    return found


def _cells(block: Block, columns: Sequence[Column], places: Sequence[Place], context: Context) -> Cells:
    if len(places) == 1:
        (place,) = places
        at, sizes, valid = place.base + place.offset, place.sizes, place.valid
    else:
        rows = len(block)
        at = np.concatenate([place.base for place in places])
        by_column = at.reshape(-1, rows)
        by_column += np.array([place.offset for place in places])[:, None]
        sizes = None if places[0].sizes is None else np.concatenate([place.sizes for place in places])
        valid = None
        if any(place.valid is not None for place in places):
            valid = np.concatenate([np.ones(rows, np.bool_) if p.valid is None else p.valid for p in places])
    return Cells(block, columns, context.findings, at, _NO_SIZES if sizes is None else sizes.astype(np.int64), valid)


_NO_SIZES = np.empty(0, np.int64)


def packed(cells: Cells, skip: int = 0) -> pa.Array:
    """The bytes of the cells (without their first ``skip``) as a binary array without nulls."""
    block = cells.block
    rows = len(cells)
    edges = np.empty((rows, 2), np.int32)
    edges[:, 0] = cells.at
    if skip:
        edges[:, 0] += np.minimum(skip, cells.sizes).astype(np.int32)
    np.add(cells.at, cells.sizes, out=edges[:, 1], casting="unsafe")
    gapped = pa.Array.from_buffers(pa.binary(), 2 * rows - 1, [None, pa.py_buffer(edges), block.window.arrow])
    return gapped if block.owned and rows == 1 else pc.take(gapped, _even(rows))


_EVEN_ROWS = 1 << 12


def _even(rows: int) -> pa.Array:
    return _even_numbers(rows) if rows > _EVEN_ROWS else _first_even_numbers()[:rows]


@cache
def _first_even_numbers() -> pa.Array:
    return _even_numbers(_EVEN_ROWS)


def _even_numbers(count: int) -> pa.Array:
    return pc.from_numpy(np.arange(0, 2 * count, 2, dtype=np.int32))


def bitmap(valid: Mask | None) -> Any:
    """``valid`` as Arrow's validity buffer."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def fixed(arrow: pa.DataType, values: Numbers, valid: Mask | None) -> pa.Array:
    """``values`` (of the width of ``arrow``) as an array; values that are not valid become 0."""
    if valid is not None:
        values[~valid] = 0
    return pa.Array.from_buffers(arrow, len(values), [bitmap(valid), pa.py_buffer(np.ascontiguousarray(values))])


def with_type(cells: Cells, binary: pa.Array, arrow: pa.DataType) -> pa.Array:
    """The buffers of a binary array as ``arrow`` (a type of the same layout), with the cells' nulls."""
    return pa.Array.from_buffers(arrow, len(binary), [bitmap(cells.valid), *binary.buffers()[1:]])


def to_bytes(cells: Cells) -> pa.Array:
    return with_type(cells, packed(cells), pa.binary())


def to_text(cells: Cells) -> pa.Array:
    """UTF-8; invalid bytes become U+FFFD and are counted. For most blocks one check of the whole buffer is enough."""
    texts = with_type(cells, packed(cells), pa.utf8())
    data = content(texts)
    if not data.size or data.max() < 0x80:
        return texts
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired(cells, texts)
    return texts


def content(array: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all cells of a binary or string array, concatenated."""
    _, offsets, data = array.buffers()
    if data is None:
        return np.empty(0, np.uint8)
    edges = np.frombuffer(offsets, np.int32, len(array) + 1)
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]]


def _repaired(cells: Cells, texts: pa.Array) -> pa.Array:
    values: list[str | None] = []
    invalid = np.zeros(len(texts), np.bool_)
    for index, raw in enumerate(pa.Array.from_buffers(pa.binary(), len(texts), texts.buffers()).to_pylist()):
        try:
            values.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            values.append(raw.decode(errors="replace"))
            invalid[index] = True
    cells.count("invalid_text_replaced", invalid)
    return pa.array(values, pa.utf8())


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
        cells = _dropped(cells, "zero_date_null", known)
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
            cells = _dropped(cells, "impossible_date_null", possible)
    days = starts[index] + (day - 1)
    if clock is None:
        return fixed(cells.column.arrow, days.astype(np.int32), cells.valid)
    return _in_unit(cells, Clock(days.astype(np.int64) * DAY_S + clock.seconds, clock.micros))


def _dropped(cells: Cells, code: str, usable: Mask) -> Cells:
    """``cells``, null where not ``usable``; those that become null are counted."""
    cells.count(code, ~usable)
    return replace(cells, valid=usable if cells.valid is None else usable & cells.valid)


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
