"""Decodes rows of the text protocol, for statements that cannot be prepared: each cell is its length and its text.

The arrays are those of the binary protocol, except that the server prints at most six digits of a FLOAT.
::

    payload:  02 "42" | fb NULL | 0a "2026-01-31" | fc 2c 01 (300 bytes of text) ...

A date column has cells of one length, so its digits are columns of a byte matrix, read at fixed offsets of all rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.errors import Broken
from fluxport.sources.mysql import cells, places
from fluxport.sources.mysql.cells import Cells, Clock
from fluxport.sources.mysql.places import Context
from fluxport.sources.wire.blocks import Block, Numbers
from fluxport.sources.wire.cells import content, packed, with_type
from fluxport.sources.wire.malformed import Malformed


def decode(block: Block, context: Context) -> list[pa.Array]:
    """One array per column; Malformed or IndexError if the rows do not match the columns."""
    return cells.arrays(block, places.in_text(block, len(context.columns), context), context, CONVERTERS)


def _number(column_cells: Cells) -> pa.Array:
    return _cast(column_cells, column_cells.column.arrow)


def _bool(column_cells: Cells) -> pa.Array:
    return pc.not_equal(_cast(column_cells, pa.int64()), 0)


def _cast(column_cells: Cells, arrow: pa.DataType) -> pa.Array:
    column = column_cells.column
    texts = packed(column_cells)
    if pa.types.is_integer(arrow) and content(texts).max(initial=0) > ord("9"):
        raise Malformed  # Arrow reads 0x1f as a number; no server sends that
    try:
        return pc.cast(with_type(column_cells, texts, pa.utf8()), arrow)
    except pa.ArrowInvalid:
        if len(column_cells.columns) > 1:  # the column is named
            return pa.concat_arrays([_cast(own, arrow) for own in column_cells.apart()])
        raise Broken(
            f"Column {column.name!r} has a number that does not fit its declared {column.type_name}; "
            "CAST it in the query.",
            code="number_overflow",
        ) from None


def _digits(column_cells: Cells, rows: npt.NDArray[np.int64], offset: int, width: int) -> Numbers:
    """The numbers in the ``width`` digits at ``offset`` of the cells that start at ``rows``."""
    value = np.zeros(len(rows), np.int64)
    for index in range(offset, offset + width):
        digit = column_cells.block.window.bytes[rows + index].astype(np.int64) - 48
        if ((digit < 0) | (digit > 9)).any():
            raise Malformed
        value = value * 10 + digit
    return value


def _marks(column_cells: Cells, rows: npt.NDArray[np.int64], marks: dict[int, str]) -> None:
    """Malformed unless every cell has these characters at these offsets."""
    for offset, mark in marks.items():
        if (column_cells.block.window.bytes[rows + offset] != ord(mark)).any():
            raise Malformed


def _datetime(column_cells: Cells) -> pa.Array:
    """``YYYY-MM-DD[ HH:MM:SS[.ffffff]]``: every cell of a column has the same length."""
    column = column_cells.column
    present = np.arange(len(column_cells)) if column_cells.valid is None else np.flatnonzero(column_cells.valid)
    sizes = column_cells.sizes[present]
    width = int(sizes[0]) if len(sizes) else 10
    if len(column_cells.columns) > 1 and (sizes != width).any():
        return pa.concat_arrays([_datetime(own) for own in column_cells.apart()])
    expected = width == 10 if column.kind == "date" else width == 19 or 21 <= width <= 26 or not len(sizes)
    if not expected or (sizes != width).any():
        raise Malformed
    rows = column_cells.at[present]
    _marks(column_cells, rows, {4: "-", 7: "-"})

    def spread(values: Numbers, missing: int) -> Numbers:
        if column_cells.valid is None:
            return values
        full = np.full(len(column_cells), missing, np.int64)
        full[present] = values
        return full

    ymd = (
        spread(_digits(column_cells, rows, 0, 4), 1),
        spread(_digits(column_cells, rows, 5, 2), 1),
        spread(_digits(column_cells, rows, 8, 2), 1),
    )
    clock = None
    if column.kind == "datetime":
        zero = np.zeros(len(rows), np.int64)
        (hours, minutes, seconds), micros = (
            _clock(column_cells, rows, width) if width > 10 else ((zero, zero, zero), None)
        )
        micros = None if micros is None else spread(micros, 0)
        clock = Clock.of(spread(hours, 0), spread(minutes, 0), spread(seconds, 0), micros)
    return cells.datetimes(column_cells, ymd, clock)


def _clock(
    column_cells: Cells, rows: npt.NDArray[np.int64], width: int
) -> tuple[tuple[Numbers, Numbers, Numbers], Numbers | None]:
    """`` HH:MM:SS[.ffffff]`` after the date: hours, minutes and seconds, and microseconds."""
    _marks(column_cells, rows, {10: " ", 13: ":", 16: ":"} | ({19: "."} if width > 19 else {}))
    hms = _digits(column_cells, rows, 11, 2), _digits(column_cells, rows, 14, 2), _digits(column_cells, rows, 17, 2)
    fraction = width - 20
    return hms, _digits(column_cells, rows, 20, fraction) * 10 ** (6 - fraction) if fraction > 0 else None


def _time(column_cells: Cells) -> pa.Array:
    """``[-]H...HH:MM:SS[.ffffff]``, rare and of varying length: parsed by Arrow's regular expressions."""
    printed = with_type(column_cells, packed(column_cells), pa.utf8())
    parts = pc.extract_regex(
        printed, r"^(?P<s>-?)(?P<h>[0-9]{1,4}):(?P<m>[0-9]{2}):(?P<c>[0-9]{2})(?:\.(?P<f>[0-9]{1,6}))?$"
    )
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
    return cells.durations(column_cells, clock, negative)


CONVERTERS: dict[str, cells.Convert] = {
    "integer": _number,
    "float": _number,
    "bool": _bool,
    "date": _datetime,
    "datetime": _datetime,
    "time": _time,
    **cells.CONVERTERS,
}
