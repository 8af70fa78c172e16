"""Shared by the columnar formats: plain column types, row groups bounded in rows and bytes, a buffer to write to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import valid_rows, values_of
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.stages import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Leaf = Callable[[pa.DataType], pa.DataType | None]

OUR_METADATA = b"fluxport:"
DECIMAL128_DIGITS = 38


def plain_type(kind: pa.DataType, leaf: Leaf) -> pa.DataType | None:
    """``kind`` without the layouts that depend on how rows were batched: dictionaries, runs and views become plain.

    ``leaf`` maps each type that is not nested (and unions, unchanged); where it returns None, so does this.
    """
    t = pa.types
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return plain_type(kind.value_type, leaf)
    if t.is_string_view(kind):
        return leaf(pa.string())
    if t.is_binary_view(kind):
        return leaf(pa.binary())
    if t.is_struct(kind):
        fields = [_plain_field(f, leaf) for f in kind]
        if any(field is None for field in fields):
            return None
        return pa.struct(fields) if fields else leaf(kind)
    if t.is_map(kind):
        key, item = _plain_field(kind.key_field, leaf), _plain_field(kind.item_field, leaf)
        return None if key is None or item is None else pa.map_(key, item, kind.keys_sorted)
    if (list_type := _list_of(kind)) is not None:
        item = _plain_field(kind.value_field, leaf)
        return None if item is None else list_type(item)
    return leaf(kind)


def _plain_field(field: pa.Field, leaf: Leaf) -> pa.Field | None:
    t = pa.types
    if t.is_run_end_encoded(field.type) or t.is_list_view(field.type) or t.is_large_list_view(field.type):
        raise Refused(f"A column of {field.type} inside another type is not supported; cast it in the query.")
    kind = plain_type(field.type, leaf)
    return None if kind is None else field.with_type(kind)


def _list_of(kind: pa.DataType) -> Callable[[pa.Field], pa.DataType] | None:
    t = pa.types
    list_type: Callable[[pa.Field], pa.DataType] | None = None
    if t.is_list(kind) or t.is_list_view(kind):
        list_type = pa.list_
    elif t.is_large_list(kind) or t.is_large_list_view(kind):
        list_type = pa.large_list
    elif t.is_fixed_size_list(kind):
        list_type = partial(pa.list_, list_size=kind.list_size)
    return list_type


def narrow_decimal(kind: pa.DataType) -> pa.DataType:
    """decimal128 for a decimal256 whose digits fit; any other type unchanged."""
    if pa.types.is_decimal256(kind) and kind.precision <= DECIMAL128_DIGITS:
        return pa.decimal128(kind.precision, kind.scale)
    return kind


def plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """``array`` cast to ``kind``, the :func:`plain_type` of its type; the array itself if it has that type already."""
    t = pa.types
    if t.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    elif t.is_list_view(array.type) or t.is_large_list_view(array.type):
        array = _list_of_view(array)
    return array if array.type == kind else pc.cast(array, kind)


def _list_of_view(array: pa.Array) -> pa.Array:
    # Arrow's own cast builds one offset too few.
    ends = np.cumsum(_numbers(pc.list_value_length(array)))
    large = pa.types.is_large_list_view(array.type)
    offsets = pa.array(np.concatenate(([0], ends)), pa.int64() if large else pa.int32())
    list_array = pa.LargeListArray if large else pa.ListArray
    return list_array.from_arrays(offsets, array.flatten(), mask=pc.is_null(array))


def stored_column(
    field: pa.Field, name: str, kind: pa.DataType | None, findings: Findings
) -> tuple[pa.Field, Callable[[pa.Array], pa.Array]]:
    """The field of a column in the file, and a function that converts its arrays to ``kind``; None: to text."""
    stored = pa.field(name, kind or pa.string(), field.nullable, without_our_metadata(field.metadata))
    if kind is not None:
        return stored, lambda array: plain_array(array, kind)

    from fluxport.formats.text import TextStyle, text_of  # which Arrow files do not need

    def as_text(array: pa.Array) -> pa.Array:
        findings.add("type_as_text", name, len(array) - array.null_count)
        return text_of(array, field, TextStyle())

    return stored, as_text


def without_our_metadata(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Field or schema metadata without our internal entries."""
    foreign = {k: v for k, v in (metadata or {}).items() if not k.startswith(OUR_METADATA)}
    return foreign or None


def row_groups(batches: Batches, rows_max: int, bytes_max: int) -> Batches:
    """The same rows in batches of ``rows_max`` rows or about ``bytes_max`` bytes, whichever is reached first.

    Where a group ends depends on the rows alone: the row that reaches a limit is its last, so it may exceed
    ``bytes_max`` by one row. Each batch owns its buffers, with no neighbouring rows in their padding, so the bytes
    written do not depend on the input batches either (except for dense unions, whose children are not copied).
    ``batches`` is closed when this generator is.
    """
    held: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        for batch in batches:
            ends = np.cumsum(row_bytes(batch))
            start = 0
            while start < batch.num_rows:
                before = int(ends[start - 1]) if start else 0
                full = int(np.searchsorted(ends, before + bytes_max - size)) + 1
                stop = min(start + rows_max - rows, full, batch.num_rows)
                held.append(batch.slice(start, stop - start))
                rows += stop - start
                size += int(ends[stop - 1]) - before
                start = stop
                if rows == rows_max or size >= bytes_max:
                    group = _own(held)
                    held, rows, size = [], 0, 0
                    yield group
                    del group
        if held:
            yield _own(held)
    finally:
        batches.close()


def _own(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    # A single part would be returned as a view; with an empty second part it is copied.
    return pa.concat_batches([*parts, parts[0].slice(0, 0)])


def row_bytes(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """The approximate size of each row's values; it does not depend on the batch they came in."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        total += _sizes(column)
    return total


def _sizes(array: pa.Array) -> NDArray[np.int64] | int:
    kind = array.type
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _sizes(array.storage)
    if t.is_string(kind) or t.is_binary(kind) or t.is_large_string(kind) or t.is_large_binary(kind):
        return _numbers(pc.binary_length(array))
    if t.is_struct(kind):
        total = np.zeros(len(array), np.int64)
        for child in array.flatten():
            total += _sizes(child)
        return total
    if t.is_map(kind):
        array = pc.cast(array, pa.list_(pa.struct([kind.key_field, kind.item_field])))
        kind = array.type
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        items = array.flatten()
        ends = np.concatenate(([0], np.cumsum(np.zeros(len(items), np.int64) + _sizes(items))))
        stops = np.cumsum(_numbers(pc.list_value_length(array)))
        sizes: NDArray[np.int64] = np.diff(ends[stops], prepend=0)
        return sizes
    if t.is_primitive(kind) or t.is_decimal(kind) or t.is_fixed_size_binary(kind):
        return max(1, int(kind.bit_width) // 8)
    return 16


def _numbers(array: pa.Array) -> NDArray[np.int64]:
    """Integers, 0 where one is null."""
    numbers = values_of(array, f"i{array.type.bit_width // 8}").astype(np.int64)
    if array.null_count:
        numbers[~valid_rows(array)] = 0
    return numbers


class OutputBuffer:
    """A write-only file for Arrow's writers, drained after each step."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[Any] = []

    def write(self, data: Any) -> int:
        self._parts.append(data)
        return len(data)

    def drain(self) -> bytes:
        """Everything written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        self.closed = True
