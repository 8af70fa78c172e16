"""Decodes rows of the binary protocol (prepared statements), a column of a whole block at a time.

::

    payload:  00 | null bitmap (column i: bit i + 2) | cell | cell | ...   no bytes for NULL
    cells:    42 00 00 00   LONG: fixed width, little-endian
              03 66 6f 6f   text: length, bytes
              04 ea 07 01 1f   DATE: length (0, 4, 7 or 11), year, month, day; trailing zero parts are left out

A column of fixed width is one gather from the buffer:
::

    buffer    ..[00 bm 07.. 03f o o ]..[00 bm 08.. 01x ]..
    at              ^                         ^             window.numbers[4][at] -> [7, 8]
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fluxport.sources.mysql import cells, places
from fluxport.sources.mysql.cells import Cells, Clock
from fluxport.sources.mysql.columns import Column
from fluxport.sources.mysql.definitions import Type
from fluxport.sources.mysql.places import Context
from fluxport.sources.wire.blocks import Block, Mask, Numbers, Positions
from fluxport.sources.wire.cells import bitmap, fixed
from fluxport.sources.wire.malformed import Malformed

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


def width_of(column: Column) -> int:
    """Bytes of every cell; 0 where each cell starts with its length."""
    return FIXED_WIDTHS.get(column.code, 0)


def decode(block: Block, context: Context) -> list[pa.Array]:
    """One array per column; Malformed or IndexError if the rows do not match the columns."""
    columns = context.columns
    bitmap_bytes = (len(columns) + 9) // 8
    start = 1 + bitmap_bytes
    if (block.starts + start > block.ends).any():
        raise Malformed
    widths = [width_of(column) for column in columns]
    found = places.in_binary(block, widths, _not_null(block, len(columns), bitmap_bytes), start, context)
    return cells.arrays(block, found, context, CONVERTERS)


def _not_null(block: Block, columns: int, bitmap_bytes: int) -> list[Mask | None]:
    """Where each column is not null; None for a column without NULLs."""
    bits = block.window.bytes[(block.starts + 1)[:, None] + np.arange(bitmap_bytes)]
    seen = np.unpackbits(np.bitwise_or.reduce(bits, axis=0), bitorder="little")[2:]
    masks: list[Mask | None] = [None] * columns
    for index in np.flatnonzero(seen[:columns]).tolist():
        byte, bit = divmod(index + 2, 8)
        masks[index] = (bits[:, byte] & (1 << bit)) == 0
    return masks


def _fixed(group: Cells) -> pa.Array:
    column = group.column
    values = _numbers(group)
    width = FIXED_WIDTHS[column.code]
    if column.arrow.bit_width > 8 * width:  # declared wider than the protocol sends it
        signed = pa.types.is_signed_integer(column.arrow)
        values = values.view(f"<{'i' if signed else 'u'}{width}").astype(np.int64)
    return fixed(column.arrow, values, group.valid)


def _bool(group: Cells) -> pa.Array:
    values = _numbers(group)
    bits = pa.py_buffer(np.packbits(values != 0, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [bitmap(group.valid), bits])


def _numbers(group: Cells) -> Numbers:
    return group.block.window.numbers[FIXED_WIDTHS[group.column.code]][group.at]


_DATETIME_SIZES = np.isin(np.arange(256), (0, 4, 7, 11))
_TIME_SIZES = np.isin(np.arange(256), (0, 8, 12))


def _check_sizes(group: Cells, possible: Mask) -> None:
    """Malformed unless the sizes of dates or times (trailing zero parts are left out) are among ``possible``."""
    if group.sizes.max(initial=0) > 255 or not possible[group.sizes].all():
        raise Malformed


def _datetime(group: Cells) -> pa.Array:
    _check_sizes(group, _DATETIME_SIZES)
    sizes, begin, window = group.sizes, group.at, group.block.window
    parts = window.numbers[8][begin].astype(np.int64)  # year 2, month 1, day 1, hour, minute, second, 1 unused
    if len(sizes) and sizes.min() < 7:
        parts = np.where(sizes >= 7, parts, np.where(sizes >= 4, parts & 0xFFFFFFFF, 0))
    ymd = (parts & 0xFFFF, parts >> 16 & 0xFF, parts >> 24 & 0xFF)
    clock = None
    if group.column.kind == "datetime":
        micros = _micros(group.block, begin + 7, sizes >= 11)
        clock = Clock.of(parts >> 32 & 0xFF, parts >> 40 & 0xFF, parts >> 48 & 0xFF, micros)
    elif len(sizes) and sizes.max() > 4:  # a DATE has no time of day
        raise Malformed
    return cells.datetimes(group, ymd, clock)


def _time(group: Cells) -> pa.Array:
    _check_sizes(group, _TIME_SIZES)
    sizes, begin, window = group.sizes, group.at, group.block.window
    nonzero = sizes >= 8
    days = np.where(nonzero, window.numbers[4][begin + 1], 0).astype(np.int64)
    clock = np.where(nonzero, window.numbers[4][begin + 5], 0).astype(np.int64)  # hour, minute, second, 1 unused
    hours, negative = clock & 0xFF, np.where(nonzero, window.bytes[begin], 0)
    if hours.max(initial=0) > 23 or negative.max(initial=0) > 1:
        raise Malformed
    micros = _micros(group.block, begin + 8, sizes >= 12)
    duration = Clock.of(days * 24 + hours, clock >> 8 & 0xFF, clock >> 16 & 0xFF, micros)
    return cells.durations(group, duration, negative > 0)


def _micros(block: Block, at: Positions, fractional: Mask) -> Numbers | None:
    if not fractional.any():
        return None
    micros = block.window.numbers[4][np.where(fractional, at, 0)]
    return np.where(fractional, micros, 0).astype(np.int64)


CONVERTERS: dict[str, cells.Convert] = {
    "integer": _fixed,
    "float": _fixed,
    "bool": _bool,
    "date": _datetime,
    "datetime": _datetime,
    "time": _time,
    **cells.CONVERTERS,
}
