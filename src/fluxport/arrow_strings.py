"""Arrow's string arrays as numpy arrays, and back: offsets and bytes, without copies.

offsets  | 0 | 3 | 3 | 7 |        n + 1 absolute offsets; a slice starts at offsets[0]
data     | a b c | d e f g |      row i is data[offsets[i]:offsets[i + 1]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray


def values_of(array: pa.Array, dtype: Any) -> NDArray[Any]:
    """The values buffer of a fixed-width array as numpy, without a copy; values of nulls are arbitrary."""
    dtype = np.dtype(dtype)
    if len(array) == 0:
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def string_window(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The offsets (n + 1, absolute) and the whole data buffer of a (large) string or binary array, without a copy.

    The bytes of the slice are ``data[offsets[0]:offsets[-1]]``; bytes of nulls are undefined but readable.
    """
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    if len(array) == 0:
        return np.zeros(1, dtype), np.empty(0, np.uint8)
    _, offsets, data = array.buffers()
    window = np.frombuffer(offsets, dtype, len(array) + 1, array.offset * dtype.itemsize)
    return window, np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)


def bytes_of(array: pa.Array) -> NDArray[np.uint8]:
    """The bytes of all values of a (large) string or binary array, one after the other."""
    offsets, data = string_window(array)
    return data[offsets[0] : offsets[-1]]


def rows_at(text: pa.StringArray, positions: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which rows hold the bytes at ``positions``, counted from the first byte of the array."""
    offsets, _ = string_window(text)
    rows = np.zeros(len(text), np.bool_)
    rows[np.searchsorted(offsets[1:], positions + offsets[0], side="right")] = True
    return rows


def replaced_at(text: pa.StringArray, rows: NDArray[np.intp], values: pa.StringArray) -> pa.StringArray:
    """``text`` with ``values`` at ``rows``."""
    at = np.arange(len(text), dtype=np.int32)
    at[rows] = np.arange(len(text), len(text) + len(rows), dtype=np.int32)
    return pc.take(pa.concat_arrays([text, values]), pc.from_numpy(at))


def valid_rows(array: pa.Array) -> NDArray[np.bool_]:
    """Which values are not null."""
    return true_rows(pc.is_valid(array))


def true_rows(mask: pa.BooleanArray) -> NDArray[np.bool_]:
    """Where ``mask`` is true, null as False; ``to_numpy()`` would try to import pandas first."""
    present, bits = mask.buffers()
    rows = _bits(bits, mask)
    return rows & _bits(present, mask) if mask.null_count else rows


def _bits(bitmap: pa.Buffer, of: pa.Array) -> NDArray[np.bool_]:
    if len(of) == 0:
        return np.empty(0, np.bool_)
    unpacked = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=of.offset + len(of), bitorder="little")
    return unpacked[of.offset :].view(np.bool_)


def with_nulls_of(text: pa.StringArray, array: pa.Array) -> pa.StringArray:
    """``text`` (offset 0, no nulls) with the nulls of ``array``."""
    if array.null_count == 0:
        return text
    bitmap = pc.is_valid(array).buffers()[1]
    return pa.StringArray.from_buffers(len(text), text.buffers()[1], text.buffers()[2], bitmap)


def fixed_width_text(matrix: NDArray[np.uint8]) -> pa.StringArray:
    """One string per row of a matrix of UTF-8 bytes."""
    rows, width = matrix.shape
    if rows * width > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError("text of one slice is longer than 2 GiB")
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(matrix)))
