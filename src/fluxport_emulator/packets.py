"""Whole record batches as the row packets of MySQL's two formats, without a Python object per value or row.

A row is a sequence of *pieces*: a piece is either a byte matrix, one fixed-width line per row, or an Arrow binary
array. Adjacent matrices are merged, the frame header (length and sequence id) is the first of them, and one Arrow
kernel joins the remaining pieces row by row:

             matrix                          binary  matrix    binary
             |length 3|seq 1|length of value|value  |length   |value   |
    row 0    |0B 00 00|02   |05             |hello  |04       |2026    |
    row 1    |07 00 00|03   |02             |hi     |03       |abc     |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fluxport_emulator import wire
from fluxport_emulator.types import Layout

Matrix: TypeAlias = npt.NDArray[np.uint8]
Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Piece: TypeAlias = "Matrix | pa.BinaryArray"
Buffer: TypeAlias = "bytes | memoryview"

CHUNK_BYTES = 2 << 20  # approximate bytes laid out at once, whatever the width of the rows
NULL_MARK = 0xFB  # in place of a length in the text format


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts of about CHUNK_BYTES, at least one row each."""
    rows = max(1, batch.num_rows * CHUNK_BYTES // max(batch.nbytes, 1))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def text_rows(batch: pa.RecordBatch, sequence: int) -> tuple[Buffer, int]:
    """Row packets of the text format (columns of strings or bytes), and the sequence id after them."""
    pieces: list[Piece] = []
    for column in batch.columns:
        pieces += _bytes_pieces(column, _nulls(column))
    return _framed(pieces, batch.num_rows, sequence)


def binary_rows(batch: pa.RecordBatch, layouts: Sequence[Layout], sequence: int) -> tuple[Buffer, int]:
    """Row packets of the binary format, each a zero byte, a bitmap of the nulls, and the values that are not null."""
    bitmap = np.zeros((batch.num_rows, 1 + (batch.num_columns + 9) // 8), np.uint8)
    pieces: list[Piece] = [bitmap]
    for index, (column, layout) in enumerate(zip(batch.columns, layouts, strict=True)):
        nulls = _nulls(column)
        if nulls is not None:
            bit = index + 2  # the bitmap of a row starts with two unused bits
            bitmap[:, 1 + bit // 8] |= nulls.astype(np.uint8) << (bit % 8)
        if layout is Layout.BYTES:
            prefix, values = _bytes_pieces(column, nulls)
            pieces += (_without(prefix, nulls), values)
        else:
            pieces.append(_without(_fixed_width(column, layout), nulls))
    return _framed(pieces, batch.num_rows, sequence)


def _nulls(column: pa.Array) -> Mask | None:
    if not column.null_count:
        return None
    mask: Mask = column.is_null().to_numpy(zero_copy_only=False)
    return mask


def _bytes_pieces(column: pa.Array, nulls: Mask | None) -> tuple[Piece, pa.BinaryArray]:
    """A length-encoded length (the null mark for a null), and the bytes themselves."""
    if pa.types.is_null(column.type):
        column = column.cast(pa.binary())
    values = column.view(pa.binary())
    if nulls is not None:
        values = pc.fill_null(values, b"")
    return _length_prefix(_lengths(values), nulls), values


def _lengths(values: pa.BinaryArray) -> Integers:
    offsets = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4)
    return np.diff(offsets).astype(np.int64)


def _length_prefix(lengths: Integers, nulls: Mask | None) -> Piece:
    if lengths.max(initial=0) < NULL_MARK:
        short = lengths.astype(np.uint8)
        if nulls is not None:
            short[nulls] = NULL_MARK
        return short.reshape(-1, 1)
    widths = np.select([lengths < 0xFB, lengths < 1 << 16, lengths < 1 << 24], [1, 3, 4], 9)
    lines = np.empty((len(lengths), 9), np.uint8)
    lines[:, 0] = np.select([widths == 3, widths == 4, widths == 9], [0xFC, 0xFD, 0xFE], lengths)
    lines[:, 1:] = lengths.astype("<u8").reshape(-1, 1).view(np.uint8)
    if nulls is not None:
        lines[nulls, 0] = NULL_MARK
    return _ragged(lines[np.arange(9) < widths[:, None]], widths)


def _ragged(data: npt.NDArray[np.uint8], widths: Integers) -> pa.BinaryArray:
    offsets = np.zeros(len(widths) + 1, np.int32)
    np.cumsum(widths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(widths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _without(piece: Piece, nulls: Mask | None) -> Piece:
    """The piece with empty values in the rows that are null."""
    if nulls is None:
        return piece
    if isinstance(piece, np.ndarray):
        return _ragged(np.ascontiguousarray(piece[~nulls]).reshape(-1), np.where(nulls, 0, piece.shape[1]))
    return pc.if_else(pa.array(nulls), pa.scalar(b"", pa.binary()), piece)


def _fixed_width(column: pa.Array, layout: Layout) -> Matrix:
    if layout is Layout.FIXED:
        return _lines(pc.fill_null(column, 0).to_numpy(zero_copy_only=False))
    if layout is Layout.DATE:
        return _date_lines(_numbers(column, pa.int32()))
    if layout is Layout.DATETIME:
        return _datetime_lines(_numbers(column, pa.int64()))
    return _time_lines(_numbers(column, pa.int64()))


def _numbers(column: pa.Array, width: pa.DataType) -> Integers:
    numbers: Integers = pc.fill_null(column.view(width), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _lines(records: npt.NDArray[np.generic]) -> Matrix:
    flat = np.ascontiguousarray(records)
    return flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize)


_DATE_LINE = [("width", "u1"), ("year", "<u2"), ("month", "u1"), ("day", "u1")]
_CLOCK_LINE = [("hour", "u1"), ("minute", "u1"), ("second", "u1")]
_MICROSECOND = [("microsecond", "<u4")]
_DAY_US = 86_400_000_000


def _date_lines(days: Integers) -> Matrix:
    lines = np.empty(len(days), np.dtype(_DATE_LINE))
    lines["width"] = 4
    _put_date(lines, days)
    return _lines(lines)


def _datetime_lines(timestamps: Integers) -> Matrix:
    days, of_day = np.divmod(timestamps, _DAY_US)
    microseconds = of_day % 1_000_000
    with_fraction = bool(microseconds.any())
    lines = np.empty(len(timestamps), np.dtype(_DATE_LINE + _CLOCK_LINE + (_MICROSECOND if with_fraction else [])))
    lines["width"] = lines.dtype.itemsize - 1
    _put_date(lines, days)
    _put_clock(lines, of_day)
    if with_fraction:
        lines["microsecond"] = microseconds
    return _lines(lines)


def _time_lines(of_day: Integers) -> Matrix:
    lines = np.zeros(
        len(of_day), np.dtype([("width", "u1"), ("negative", "u1"), ("days", "<u4"), *_CLOCK_LINE, *_MICROSECOND])
    )
    lines["width"] = lines.dtype.itemsize - 1
    _put_clock(lines, of_day)
    lines["microsecond"] = of_day % 1_000_000
    return _lines(lines)


def _put_date(lines: npt.NDArray[np.void], days: Integers) -> None:
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    lines["year"] = dates.astype("M8[Y]").astype(np.int64) + 1970
    lines["month"] = months.astype(np.int64) % 12 + 1
    lines["day"] = (dates - months).astype(np.int64) + 1


def _put_clock(lines: npt.NDArray[np.void], of_day: Integers) -> None:
    seconds = of_day // 1_000_000
    lines["hour"] = seconds // 3600
    lines["minute"] = seconds // 60 % 60
    lines["second"] = seconds % 60


def _framed(pieces: Sequence[Piece], rows: int, sequence: int) -> tuple[Buffer, int]:
    lengths = np.zeros(rows, np.int64)
    for piece in pieces:
        lengths += piece.shape[1] if isinstance(piece, np.ndarray) else _lengths(piece)
    if lengths.max(initial=0) >= wire.PAYLOAD_MAX:
        return _framed_apart(pieces, rows, sequence)
    headers = lengths | (((sequence + np.arange(rows)) & 0xFF) << 24)
    joined = _joined([_lines(headers.astype("<u4")), *pieces], rows)
    return memoryview(joined.buffers()[2])[: int(lengths.sum()) + 4 * rows], (sequence + rows) & 0xFF


def _framed_apart(pieces: Sequence[Piece], rows: int, sequence: int) -> tuple[bytes, int]:
    """Row by row, for rows that do not fit into one frame."""
    out = bytearray()
    for row in _joined(pieces, rows):
        framed, sequence = wire.frames(memoryview(row.as_buffer()), sequence)
        out += framed
    return bytes(out), sequence


def _joined(pieces: Sequence[Piece], rows: int) -> pa.BinaryArray:
    parts: list[pa.BinaryArray] = []
    adjacent: list[Matrix] = []
    for piece in pieces:
        if isinstance(piece, np.ndarray):
            adjacent.append(piece)
            continue
        if adjacent:
            parts.append(_evenly(adjacent, rows))
            adjacent = []
        parts.append(piece)
    if adjacent:
        parts.append(_evenly(adjacent, rows))
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, b"")


def _evenly(matrices: Sequence[Matrix], rows: int) -> pa.BinaryArray:
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(matrix.shape[1])
    data = pa.py_buffer(np.ascontiguousarray(matrix))
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), data])
