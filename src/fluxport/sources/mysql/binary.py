"""Decodes rows of the binary protocol (prepared statements), a column of a whole block at a time.

::

    payload:  00 | null bitmap (column i: bit i + 2) | cell | cell | ...   no bytes for NULL
    cells:    42 00 00 00   LONG: fixed width, little-endian
              03 66 6f 6f   text: length, bytes
              04 ea 07 01 1f   DATE: length (0, 4, 7 or 11), year, month, day; trailing zero parts are left out

The position of a cell differs from row to row, so ``at`` is an array with one position per row, which each column
advances by the size of its cells. A column of fixed width is then one gather from the buffer:
::

    buffer    ..[00 bm 07.. 03f o o ]..[00 bm 08.. 01x ]..
    at              ^                         ^             window.numbers[4][at] -> [7, 8]
    next at             ^                         ^         at + 4 (+ 0 where NULL)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from fluxport.sources.mysql import cells
from fluxport.sources.mysql.cells import Clock, Context, Mask, Numbers
from fluxport.sources.mysql.columns import Column
from fluxport.sources.mysql.definitions import Type
from fluxport.sources.mysql.malformed import Malformed
from fluxport.sources.mysql.rows import Block, Positions

FIXED_WIDTHS: dict[int, int] = {
    Type.TINY: 1,
    Type.SHORT: 2,
    Type.YEAR: 2,
    Type.INT24: 4,
    Type.LONG: 4,
    Type.LONGLONG: 8,
    Type.FLOAT: 4,
    Type.DOUBLE: 8,
}

# Reads one column: (block, column, context, position of each cell, valid) -> (array, position of each next cell)
Reader = Callable[[Block, Column, Context, Positions, "Mask | None"], tuple[pa.Array, Positions]]


def width_of(column: Column) -> int:
    """Bytes of every cell; 0 where each cell starts with its length."""
    return FIXED_WIDTHS.get(column.code, 0)


def decode(block: Block, columns: list[Column], context: Context) -> list[pa.Array]:
    """One array per column; Malformed or IndexError if the rows do not match the columns."""
    bitmap_bytes = (len(columns) + 9) // 8
    at = block.starts + (1 + bitmap_bytes)
    if (at > block.ends).any():
        raise Malformed
    bits = block.window.bytes[(block.starts + 1)[:, None] + np.arange(bitmap_bytes)]
    any_null = np.bitwise_or.reduce(bits, axis=0)
    arrays = []
    for index, column in enumerate(columns):
        byte, mask = (index + 2) >> 3, 1 << ((index + 2) & 7)
        valid = (bits[:, byte] & mask) == 0 if any_null[byte] & mask else None
        array, at = READERS[column.kind](block, column, context, at, valid)
        arrays.append(array)
    if not np.array_equal(at, block.ends):
        raise Malformed
    return arrays


def _fixed(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
) -> tuple[pa.Array, Positions]:
    values, after = _numbers(block, column, at, valid)
    width = FIXED_WIDTHS[column.code]
    if column.arrow.bit_width > 8 * width:  # declared wider than the protocol sends it
        signed = pa.types.is_signed_integer(column.arrow)
        values = values.view(f"<{'i' if signed else 'u'}{width}").astype(np.int64)
    return cells.fixed(column.arrow, values, valid), after


def _bool(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
) -> tuple[pa.Array, Positions]:
    values, after = _numbers(block, column, at, valid)
    bits = pa.py_buffer(np.packbits(values != 0, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [cells.bitmap(valid), bits]), after


def _numbers(block: Block, column: Column, at: Positions, valid: Mask | None) -> tuple[Numbers, Positions]:
    width = FIXED_WIDTHS[column.code]
    values = block.window.numbers[width][at]
    return values, at + (width if valid is None else valid * np.int64(width))


def _temporal_sizes(block: Block, at: Positions, valid: Mask | None) -> tuple[Positions, Positions]:
    """Bytes of each date or time (trailing zero parts are left out), and where it begins."""
    sizes = block.window.bytes[at].astype(np.int64)
    if valid is None:
        return sizes, at + 1
    sizes[~valid] = 0
    return sizes, at + valid


_DATETIME_SIZES = np.isin(np.arange(256), (0, 4, 7, 11))
_TIME_SIZES = np.isin(np.arange(256), (0, 8, 12))


def _datetime(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
) -> tuple[pa.Array, Positions]:
    sizes, begin = _temporal_sizes(block, at, valid)
    after = begin + sizes
    if (after > block.ends).any() or not _DATETIME_SIZES[sizes].all():
        raise Malformed
    parts = block.window.numbers[8][begin].astype(np.int64)  # year 2, month 1, day 1, hour, minute, second, 1 unused
    if len(sizes) and sizes.min() < 7:
        parts = np.where(sizes >= 7, parts, np.where(sizes >= 4, parts & 0xFFFFFFFF, 0))
    ymd = (parts & 0xFFFF, parts >> 16 & 0xFF, parts >> 24 & 0xFF)
    clock = None
    if column.kind == "datetime":
        micros = _micros(block, begin + 7, sizes >= 11)
        clock = Clock.of(parts >> 32 & 0xFF, parts >> 40 & 0xFF, parts >> 48 & 0xFF, micros)
    elif len(sizes) and sizes.max() > 4:  # a DATE has no time of day
        raise Malformed
    return cells.datetimes(column, context.findings, ymd, clock, valid), after


def _time(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
) -> tuple[pa.Array, Positions]:
    sizes, begin = _temporal_sizes(block, at, valid)
    after = begin + sizes
    if (after > block.ends).any() or not _TIME_SIZES[sizes].all():
        raise Malformed
    window, nonzero = block.window, sizes >= 8
    days = np.where(nonzero, window.numbers[4][begin + 1], 0).astype(np.int64)
    clock = np.where(nonzero, window.numbers[4][begin + 5], 0).astype(np.int64)  # hour, minute, second, 1 unused
    hours, negative = clock & 0xFF, np.where(nonzero, window.bytes[begin], 0)
    if hours.max(initial=0) > 23 or negative.max(initial=0) > 1:
        raise Malformed
    micros = _micros(block, begin + 8, sizes >= 12)
    duration = Clock.of(days * 24 + hours, clock >> 8 & 0xFF, clock >> 16 & 0xFF, micros)
    return cells.durations(column, context.findings, duration, negative > 0, valid), after


def _micros(block: Block, at: Positions, fractional: Mask) -> Numbers | None:
    if not fractional.any():
        return None
    micros = block.window.numbers[4][np.where(fractional, at, 0)]
    return np.where(fractional, micros, 0).astype(np.int64)


def _null(
    block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
) -> tuple[pa.Array, Positions]:
    if valid is None or valid.any():
        raise Malformed
    return pa.nulls(len(at)), at


def _sized(convert: Callable[[cells.Cells], Any]) -> Reader:
    def read(
        block: Block, column: Column, context: Context, at: Positions, valid: Mask | None
    ) -> tuple[pa.Array, Positions]:
        values, after = cells.sized(block, column, context, at, valid, null_mark=False)
        return convert(values), after

    return read


READERS: dict[str, Reader] = {
    "integer": _fixed,
    "float": _fixed,
    "bool": _bool,
    "date": _datetime,
    "datetime": _datetime,
    "time": _time,
    "null": _null,
    "decimal": _sized(cells.to_decimal),
    "text": _sized(cells.to_text),
    "bytes": _sized(cells.to_bytes),
    "bit": _sized(cells.to_bit),
    "bit_or_digits": _sized(cells.to_bit_or_digits),
    "geometry": _sized(cells.to_hex),
    "hex": _sized(cells.to_hex),
}
