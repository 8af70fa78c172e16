"""Rows of the text protocol, for what cannot be prepared: every cell is text behind its length.

Same arrays as the binary protocol gives, but for FLOAT, of which the server prints no more than six digits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.errors import Broken
from fluxport.sources.mysql import cells
from fluxport.sources.mysql.cells import Cells, Clock, Context, Numbers
from fluxport.sources.mysql.columns import Column
from fluxport.sources.mysql.malformed import Malformed
from fluxport.sources.mysql.rows import Block


def decode(block: Block, columns: list[Column], context: Context) -> list[pa.Array]:
    """One array per column; Malformed or IndexError if the rows are not what the columns say."""
    at = block.starts
    arrays = []
    for column in columns:
        if (at >= block.ends).any():
            raise Malformed
        found, at = cells.sized(block, column, context, at, None, null_mark=True)
        arrays.append(CONVERTERS[column.kind](found))
    if not np.array_equal(at, block.ends):
        raise Malformed
    return arrays


def _number(found: Cells) -> pa.Array:
    return _cast(found, found.column.arrow)


def _bool(found: Cells) -> pa.Array:
    return pc.not_equal(_cast(found, pa.int64()), 0)


def _cast(found: Cells, arrow: pa.DataType) -> pa.Array:
    packed = cells.packed(found)
    if pa.types.is_integer(arrow) and cells.content(packed).max(initial=0) > ord("9"):
        raise Malformed  # Arrow reads 0x1f as a number, which no server means
    try:
        return pc.cast(cells.with_type(found, packed, pa.utf8()), arrow)
    except pa.ArrowInvalid:
        raise Broken(
            f"Column {found.column.name!r} has a number that does not fit its declared {found.column.type_name}; "
            "CAST it in the query.",
            code="number_overflow",
        ) from None


def _digits(found: Cells, rows: npt.NDArray[np.int64], offset: int, width: int) -> Numbers:
    """The number in ``width`` digits that begin ``offset`` bytes behind the start of the cells ``rows`` point to."""
    value = np.zeros(len(rows), np.int64)
    for index in range(offset, offset + width):
        digit = found.block.window.bytes[rows + index].astype(np.int64) - 48
        if ((digit < 0) | (digit > 9)).any():
            raise Malformed
        value = value * 10 + digit
    return value


def _marks(found: Cells, rows: npt.NDArray[np.int64], marks: dict[int, str]) -> None:
    """Malformed unless every cell has these characters at these places."""
    for offset, mark in marks.items():
        if (found.block.window.bytes[rows + offset] != ord(mark)).any():
            raise Malformed


def _moment(found: Cells) -> pa.Array:
    """``YYYY-MM-DD[ HH:MM:SS[.ffffff]]``: every cell of a column has the same length."""
    column = found.column
    there = np.arange(len(found)) if found.valid is None else np.flatnonzero(found.valid)
    sizes = found.sizes[there]
    width = int(sizes[0]) if len(sizes) else 10
    wanted = width == 10 if column.kind == "date" else width == 19 or 21 <= width <= 26 or not len(sizes)
    if not wanted or (sizes != width).any():
        raise Malformed
    rows = found.at[there]
    _marks(found, rows, {4: "-", 7: "-"})

    def spread(values: Numbers, missing: int) -> Numbers:
        if found.valid is None:
            return values
        full = np.full(len(found), missing, np.int64)
        full[there] = values
        return full

    ymd = (
        spread(_digits(found, rows, 0, 4), 1),
        spread(_digits(found, rows, 5, 2), 1),
        spread(_digits(found, rows, 8, 2), 1),
    )
    clock = None
    if column.kind == "datetime":
        zero = np.zeros(len(rows), np.int64)
        (hours, minutes, seconds), micros = _clock(found, rows, width) if width > 10 else ((zero, zero, zero), None)
        micros = None if micros is None else spread(micros, 0)
        clock = Clock.of(spread(hours, 0), spread(minutes, 0), spread(seconds, 0), micros)
    return cells.moments(column, found.findings, ymd, clock, found.valid)


def _clock(
    found: Cells, rows: npt.NDArray[np.int64], width: int
) -> tuple[tuple[Numbers, Numbers, Numbers], Numbers | None]:
    """`` HH:MM:SS[.ffffff]`` behind the date: hours, minutes and seconds, and microseconds."""
    _marks(found, rows, {10: " ", 13: ":", 16: ":"} | ({19: "."} if width > 19 else {}))
    hms = _digits(found, rows, 11, 2), _digits(found, rows, 14, 2), _digits(found, rows, 17, 2)
    fraction = width - 20
    return hms, _digits(found, rows, 20, fraction) * 10 ** (6 - fraction) if fraction > 0 else None


def _time(found: Cells) -> pa.Array:
    """``[-]H...HH:MM:SS[.ffffff]``, few and never alike in length: read by Arrow's regular expressions."""
    printed = cells.with_type(found, cells.packed(found), pa.utf8())
    parts = pc.extract_regex(
        printed, r"^(?P<s>-?)(?P<h>[0-9]{1,4}):(?P<m>[0-9]{2}):(?P<c>[0-9]{2})(?:\.(?P<f>[0-9]{1,6}))?$"
    )
    valid = found.valid
    if parts.null_count != printed.null_count:
        raise Malformed

    def number(name: str) -> Numbers:
        texts = pc.struct_field(parts, name)
        texts = pc.if_else(pc.equal(texts, ""), "0", texts)
        return np.asarray(pc.fill_null(pc.cast(texts, pa.int64()), 0))

    fractions = pc.struct_field(parts, "f")
    padded = pc.utf8_rpad(fractions, 6, "0")
    micros = np.asarray(pc.fill_null(pc.cast(padded, pa.int64()), 0))
    negative = np.asarray(pc.fill_null(pc.equal(pc.struct_field(parts, "s"), "-"), False))
    clock = Clock.of(number("h"), number("m"), number("c"), micros)
    return cells.durations(found.column, found.findings, clock, negative, valid)


def _null(found: Cells) -> pa.Array:
    if found.valid is None or found.valid.any():
        raise Malformed
    return pa.nulls(len(found))


CONVERTERS: dict[str, Callable[[Cells], pa.Array]] = {
    "integer": _number,
    "float": _number,
    "bool": _bool,
    "date": _moment,
    "datetime": _moment,
    "time": _time,
    "null": _null,
    "decimal": cells.to_decimal,
    "text": cells.to_text,
    "bytes": cells.to_bytes,
    "bit": cells.to_bit,
    "bit_or_digits": cells.to_bit_or_digits,
    "geometry": cells.to_hex,
    "hex": cells.to_hex,
}
