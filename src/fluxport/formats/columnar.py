"""Shared by the columnar formats: plain column types, row groups bounded in rows and bytes, a buffer to write to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import valid_rows, values_of
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.stages import Batches, Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Leaf = Callable[[pa.DataType], pa.DataType | None]

OUR_METADATA = b"fluxport:"
DECIMAL128_DIGITS = 38
SINK_BYTES, CHUNK_BYTES = 256 << 10, 1 << 20
STEPS_JOINED = 4  # of fewer steps a batch, all rows are copied into one chunk: each boundary takes calls per column


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


Convert = Callable[[pa.Array], pa.Array]


def stored_column(
    field: pa.Field, name: str, kind: pa.DataType | None, findings: Findings
) -> tuple[pa.Field, Convert | None]:
    """The field of a column in the file, and a function that converts its arrays to ``kind`` (None: to text); None
    where they have it already."""
    stored = pa.field(name, kind or pa.string(), field.nullable, without_our_metadata(field.metadata))
    if kind is not None:
        return stored, None if kind == field.type else partial(plain_array, kind=kind)

    from fluxport.formats.text import TextStyle, text_of  # which Arrow files do not need

    def as_text(array: pa.Array) -> pa.Array:
        findings.add("type_as_text", name, len(array) - array.null_count)
        return text_of(array, field, TextStyle())

    return stored, as_text


def stored_kinds(schema: pa.Schema, kind_of: Callable[[pa.Field], pa.DataType | None]) -> list[Stored]:
    """The type of each column in the file, which ``kind_of`` returns as for :func:`stored_column`."""
    kinds = [kind_of(field) for field in schema]
    return [Stored("string", ("type_as_text",)) if kind is None else Stored(str(kind)) for kind in kinds]


def converted(batches: Batches, converts: Sequence[Convert | None]) -> Batches:
    """The batches with each column converted; the schema becomes that of the file in :func:`row_groups`."""
    changes = [(index, convert) for index, convert in enumerate(converts) if convert is not None]
    for batch in batches:
        if not changes:
            yield batch
            continue
        arrays = batch.columns
        for index, convert in changes:
            arrays[index] = convert(arrays[index])
        yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def without_our_metadata(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Field or schema metadata without our internal entries."""
    foreign = {k: v for k, v in (metadata or {}).items() if not k.startswith(OUR_METADATA)}
    return foreign or None


def pulled_first(batches: Batches) -> Batches:
    """The same batches; the first one is pulled at once, so that its failure is raised here."""
    first = [next(batches, None)]

    def resumed() -> Batches:
        batch = first.pop()
        if batch is not None:
            yield batch
            del batch  # not kept until the last one
        yield from batches

    return resumed()


def row_groups(batches: Batches, rows_max: int, bytes_max: int, schema: pa.Schema | None = None) -> Batches:
    """The same rows in batches of ``rows_max`` rows or about ``bytes_max`` bytes, whichever is reached first, with the
    fields of ``schema``, if given.

    Where a group ends depends on the rows alone: the row that reaches a limit is its last, so it may exceed
    ``bytes_max`` by one row. Each batch owns its buffers, with no neighbouring rows in their padding, so the bytes
    written do not depend on the input batches either (except for dense unions, whose children are not copied).
    ``batches`` is closed when this generator is.
    """
    with closing(_groups(batches, rows_max, bytes_max)) as groups:
        for parts in groups:
            yield _own(parts, parts[0].schema if schema is None else schema)


def row_tables(
    batches: Batches, rows_max: int, bytes_max: int, schema: pa.Schema, step: int = 1
) -> Generator[pa.Table, None, None]:
    """The groups of :func:`row_groups` without a copy of most rows, for writers that read on across chunks, or take
    ``step`` rows at a time from each: every chunk but the last has a multiple of that, wherever the batches ended."""
    with closing(_groups(batches, rows_max, bytes_max)) as groups:
        for parts in groups:
            yield _table(parts, schema, step)


def _table(parts: list[pa.RecordBatch], schema: pa.Schema, step: int) -> pa.Table:
    """The rows of ``parts``, which is emptied."""
    table = pa.Table.from_batches(_stepped(parts, step))
    parts.clear()
    return table if table.schema.equals(schema) else pa.Table.from_arrays(table.columns, schema=schema)


def _groups(batches: Batches, rows_max: int, bytes_max: int) -> Generator[list[pa.RecordBatch], None, None]:
    """The groups of :func:`row_groups` as views of the input batches; the consumer empties each list."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    sizes = None
    try:
        for batch in batches:
            sizes = sizes or _Sizes(batch.schema)
            if rows + batch.num_rows < rows_max and size + (more := sizes.total(batch)) < bytes_max:
                held.append(batch)
                rows += batch.num_rows
                size += more
                continue
            ends = sizes.ends(batch)
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
                    yield held
                    held, rows, size = [], 0, 0
        if rows:
            yield held
    finally:
        batches.close()


def _stepped(parts: list[pa.RecordBatch], step: int) -> list[pa.RecordBatch]:
    """The rows of ``parts`` in batches of multiples of ``step`` rows; only the last one has any other number."""
    rows = sum(part.num_rows for part in parts)
    if len(parts) > 1 and rows <= max(step, len(parts) * step * STEPS_JOINED):
        return [_own(parts, parts[0].schema)]
    stepped: list[pa.RecordBatch] = []
    waiting: list[pa.RecordBatch] = []  # less than a step
    for part in parts:
        start = min(part.num_rows, -sum(piece.num_rows for piece in waiting) % step)
        stop = start + (part.num_rows - start) // step * step
        if start:
            waiting.append(part.slice(0, start))
            if sum(piece.num_rows for piece in waiting) == step:
                stepped.append(pa.concat_batches(waiting))
                waiting.clear()
        if stop > start:
            stepped.append(part.slice(start, stop - start))
        if stop < part.num_rows:
            waiting.append(part.slice(stop))
    if waiting:
        stepped.append(pa.concat_batches(waiting))
    return stepped


def _own(parts: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of ``parts``, which is emptied, with the fields of ``schema``: the pieces of a column are freed once
    they are joined."""
    if not len(schema):
        joined = pa.concat_batches(parts)
        parts.clear()
        return joined
    kinds = parts[0].schema.types
    columns = [part.columns for part in parts]
    parts.clear()
    arrays: list[pa.Array] = [None] * len(kinds)
    # Columns of one type may be views of the same memory, which is freed after the last of them.
    for index in sorted(range(len(kinds)), key=lambda index: kinds[index].id):
        pieces = [column[index] for column in columns]
        for column in columns:
            column[index] = None
        # A single one would be returned as a view; with an empty second one it is copied.
        arrays[index] = pa.concat_arrays(pieces if len(pieces) > 1 else [pieces[0], pieces[0].slice(0, 0)])
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Sizes:
    """The approximate sizes of values in batches of one schema; they do not depend on the batch they came in."""

    def __init__(self, schema: pa.Schema) -> None:
        widths = [_width(kind) for kind in schema.types]
        self._fixed = sum(width for width in widths if width is not None)
        varying = [(i, _offset_type(kind)) for i, kind in enumerate(schema.types) if widths[i] is None]
        self._texts = [(index, dtype) for index, dtype in varying if dtype is not None]
        self._others = [index for index, dtype in varying if dtype is None]

    def total(self, batch: pa.RecordBatch) -> int:
        """The bytes of all values."""
        total: int = self._fixed * batch.num_rows
        for index, dtype in self._texts:
            column = batch.column(index)
            offsets = _offsets(column, dtype)
            total += int(_filled(column, offsets).sum()) if column.null_count else int(offsets[-1]) - int(offsets[0])
        for index in self._others:
            total += int(_sizes(batch.column(index)).sum())
        return total

    def ends(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """The bytes of the rows up to each one, itself included."""
        ends = np.arange(1, batch.num_rows + 1, dtype=np.int64) * self._fixed
        start = 0
        for index, dtype in self._texts:
            column = batch.column(index)
            offsets = _offsets(column, dtype)
            if column.null_count:
                ends += np.cumsum(_filled(column, offsets))
            else:
                ends += offsets[1:]
                start += int(offsets[0])
        for index in self._others:
            ends += np.cumsum(_sizes(batch.column(index)))
        ends -= start
        return ends


def _width(kind: pa.DataType) -> int | None:
    """The bytes of each value; None where they differ."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _width(kind.storage_type)
    if _offset_type(kind) is not None or t.is_struct(kind) or t.is_map(kind):
        return None
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return None
    if t.is_primitive(kind) or t.is_decimal(kind) or t.is_fixed_size_binary(kind):
        width: int = kind.bit_width
        return max(1, width // 8)
    return 16


def _offset_type(kind: pa.DataType) -> np.dtype[Any] | None:
    """The type of the offsets of texts and binary values; None for other types."""
    t = pa.types
    if t.is_string(kind) or t.is_binary(kind):
        return np.dtype(np.int32)
    return np.dtype(np.int64) if t.is_large_string(kind) or t.is_large_binary(kind) else None


def _offsets(array: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not len(array):
        return np.zeros(1, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array) + 1, array.offset * dtype.itemsize)


def _filled(array: pa.Array, offsets: NDArray[Any]) -> NDArray[Any]:
    """The length of each text, 0 for nulls."""
    lengths: NDArray[Any] = offsets[1:] - offsets[:-1]
    present = np.frombuffer(array.buffers()[0], np.uint8)
    lengths *= np.unpackbits(present, count=array.offset + len(array), bitorder="little")[array.offset :]
    return lengths


def _sizes(array: pa.Array) -> NDArray[np.int64]:
    kind = array.type
    t = pa.types
    if (width := _width(kind)) is not None:
        return np.full(len(array), width, np.int64)
    if isinstance(kind, pa.BaseExtensionType):
        return _sizes(array.storage)
    if (dtype := _offset_type(kind)) is not None:
        offsets = _offsets(array, dtype)
        lengths = _filled(array, offsets) if array.null_count else np.diff(offsets)
        return lengths.astype(np.int64, copy=False)
    if t.is_struct(kind):
        total = np.zeros(len(array), np.int64)
        for child in array.flatten():
            total += _sizes(child)
        return total
    if t.is_map(kind):
        array = pc.cast(array, pa.list_(pa.struct([kind.key_field, kind.item_field])))
    items = array.flatten()
    ends = np.concatenate(([0], np.cumsum(_sizes(items))))
    stops = np.cumsum(_numbers(pc.list_value_length(array)))
    sizes: NDArray[np.int64] = np.diff(ends[stops], prepend=0)
    return sizes


def _numbers(array: pa.Array) -> NDArray[np.int64]:
    """Integers, 0 where one is null."""
    numbers = values_of(array, f"i{array.type.bit_width // 8}").astype(np.int64)
    if array.null_count:
        numbers[~valid_rows(array)] = 0
    return numbers


class Output:
    """A file in memory for Arrow's writers, ``sink``, drained after each step."""

    def __init__(self) -> None:
        self._buffer = OutputBuffer()
        # Without it each page of a column, and each array of a batch, is a call of Python.
        self.sink = pa.BufferedOutputStream(pa.PythonFile(self._buffer, mode="w"), SINK_BYTES)

    def drain(self) -> Iterator[bytes]:
        """What was written since the last call, in chunks; what one is made of is freed before the next."""
        self.sink.flush()
        yield from self._buffer.taken()


class OutputBuffer:
    """The write-only Python file behind it."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        return len(data)

    def taken(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        parts.reverse()
        while parts:
            chunk = [parts.pop()]
            size = len(chunk[0])
            while parts and size + len(parts[-1]) <= CHUNK_BYTES:
                chunk.append(parts.pop())
                size += len(chunk[-1])
            yield b"".join(chunk)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        self.closed = True
