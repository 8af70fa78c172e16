"""Converts cells to Arrow arrays, a column of a block at a time; shared by the binary and the text protocol.

Arrow itself copies cells of varying length: the receive buffer becomes the data of a binary array whose elements are,
in turn, a cell and the gap after it; ``take`` then selects every other element. Every length is compared with the end
of its row before it is used.
::

    buffer    ..[..3foo..].[..2hi......].[..4quux.]..
    edges          ^  ^       ^ ^           ^   ^       offsets of one binary array of 2 * rows - 1 elements
    elements       foo gap    hi gap        quux        take(0, 2, 4) -> foo, hi, quux
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.errors import Broken
from fluxport.findings import Findings
from fluxport.sources.errors import cell_too_large
from fluxport.sources.mysql.columns import DISTINGUISHABLE_BITS, Column
from fluxport.sources.mysql.malformed import Malformed
from fluxport.sources.mysql.rows import Block, Positions

Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[Any]

DAY_S = 86_400
TIME_HOURS_MAX = 9999  # the server's limit is 838; this bound keeps a count of microseconds within 64 bits
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class Cells:
    """The cells of one column in a block: ``at`` is the first byte of each, ``sizes`` its bytes (0 where null).

    ``valid`` is None where no cell is null.
    """

    block: Block
    column: Column
    findings: Findings
    at: Positions
    sizes: Positions
    valid: Mask | None

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Context:
    """Inputs of decoding besides the bytes."""

    findings: Findings
    cell_bytes_max: int


def sized(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None, *, null_mark: bool
) -> tuple[Cells, Positions]:
    """The cells at ``at`` that begin with their length, and where the next column begins.

    ``null_mark``: a first byte of 0xFB is NULL (text protocol); else ``valid`` marks the NULLs, which take no bytes.
    """
    window = block.window
    first = window.bytes[at]
    if null_mark:
        nulls = first == 0xFB
        valid = ~nulls if nulls.any() else None
    elif valid is not None:
        first = np.where(valid, first, 0)
    sizes = first.astype(np.int64)
    begin = at + 1
    if valid is not None:
        sizes[~valid] = 0
        if not null_mark:
            begin = at + valid
    if len(first) and first.max() > 250:
        begin = _wide_sizes(block, first, at, begin, sizes, null_mark=null_mark)
    after = begin + sizes
    if (after > block.ends).any():
        raise Malformed
    if len(first) and (largest := int(sizes.max())) > context.cell_bytes_max:
        row = block.first_row + int(sizes.argmax())
        raise cell_too_large(column.name, row, largest, context.cell_bytes_max)
    return Cells(block, column, context.findings, begin, sizes, valid), after


def _wide_sizes(
    block: Block, first: Numbers, at: Positions, begin: Positions, sizes: Positions, *, null_mark: bool
) -> Positions:
    """Store lengths of 251 bytes and more (2, 3 or 8 bytes after the mark 0xFC, 0xFD or 0xFE) in ``sizes``; returns
    where the cells begin."""
    for mark, width, mask in ((0xFC, 2, 0xFFFF), (0xFD, 3, 0xFFFFFF), (0xFE, 8, 0xFFFFFFFFFFFFFFFF)):
        marked = np.flatnonzero(first == mark)
        if len(marked):
            places = at[marked] + 1
            if (places + width > block.ends[marked]).any():
                raise Malformed
            sizes[marked] = block.window.numbers[4 if width == 3 else width][places] & mask
            begin[marked] += width
    if (first == 0xFF).any() or (not null_mark and (first == 0xFB).any()) or not _possible(sizes).all():
        raise Malformed
    return begin


def _possible(sizes: Positions) -> Mask:
    """Less than 2 GiB; a length with its highest bit set is negative here."""
    return (sizes >= 0) & (sizes <= 0x7FFFFFFF)


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
    invalid = 0
    for raw in pa.Array.from_buffers(pa.binary(), len(texts), texts.buffers()).to_pylist():
        if raw is None:
            values.append(None)
            continue
        try:
            values.append(raw.decode())
        except UnicodeDecodeError:
            values.append(raw.decode(errors="replace"))
            invalid += 1
    cells.findings.add("invalid_text_replaced", cells.column.name, invalid)
    return pa.array(values, pa.utf8())


def to_decimal(cells: Cells) -> pa.Array:
    try:
        return pc.cast(with_type(cells, packed(cells), pa.utf8()), cells.column.arrow)
    except pa.ArrowInvalid:
        raise Broken(
            f"Column {cells.column.name!r} has a number that does not fit its declared {cells.column.type_name}; "
            "CAST it in the query to a wider DECIMAL.",
            code="decimal_overflow",
        ) from None


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


def datetimes(
    column: Column, findings: Findings, ymd: tuple[Numbers, Numbers, Numbers], clock: Clock | None, valid: Mask | None
) -> pa.Array:
    """Dates, or timestamps if ``clock`` is given; dates that do not exist become null and are counted."""
    year, month, day = ymd
    if clock is not None and clock.seconds.max(initial=0) >= DAY_S:
        raise Malformed
    known = (year > 0) & (month > 0) & (day > 0)
    if not known.all():
        valid = _dropped(column, findings, "zero_date_null", known, valid)
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
            valid = _dropped(column, findings, "impossible_date_null", possible, valid)
    days = starts[index] + (day - 1)
    if clock is None:
        return fixed(column.arrow, days.astype(np.int32), valid)
    return _in_unit(column, findings, Clock(days.astype(np.int64) * DAY_S + clock.seconds, clock.micros), valid)


def _dropped(column: Column, findings: Findings, code: str, usable: Mask, valid: Mask | None) -> Mask:
    """``valid`` and ``usable``; the values dropped by ``usable`` are counted."""
    findings.add(code, column.name, int((~usable if valid is None else ~usable & valid).sum()))
    return usable if valid is None else usable & valid


def durations(column: Column, findings: Findings, clock: Clock, negative: Mask, valid: Mask | None) -> pa.Array:
    sign = np.where(negative, -1, 1)
    return _in_unit(
        column, findings, Clock(clock.seconds * sign, None if clock.micros is None else clock.micros * sign), valid
    )


def _in_unit(column: Column, findings: Findings, clock: Clock, valid: Mask | None) -> pa.Array:
    """Counts of the column's unit; fractions finer than the column declares are counted as findings."""
    per_second = UNITS_PER_SECOND[column.arrow.unit]
    values = clock.seconds.astype(np.int64) * per_second if per_second > 1 else clock.seconds.astype(np.int64)
    if clock.micros is not None:
        fraction, finer = np.divmod(clock.micros.astype(np.int64), 1_000_000 // per_second)
        values += fraction
        findings.add("precision_reduced", column.name, int(np.count_nonzero(finer if valid is None else finer[valid])))
    return fixed(column.arrow, values, valid)
