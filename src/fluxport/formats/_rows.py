"""Shared by the text formats: slices of bounded size, their columns in groups, and slices encoded in order on several
threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport import arrow_groups
from fluxport import compute as pc
from fluxport.arrow_groups import joined
from fluxport.arrow_strings import bytes_of
from fluxport.decimals import DecimalText
from fluxport.errors import LimitExceeded
from fluxport.formats.text import invalid_text, kind_of, plain
from fluxport.stages import PROCESSORS, Batches, Chunks

if TYPE_CHECKING:
    from concurrent.futures import Future

ROWS_MAX = 16_384
CELLS_MAX = 1 << 16  # which the cache holds with their text
ROWS_WIDE, CELLS_WIDE = 256, 1 << 18  # of many columns a slice has more, as each costs some microseconds
ROWS_JOINED = 40  # of many columns, as many rows cost more to join with others than to be a slice
ROWS_ALONE = 4096  # of a column, beside which a call of a kernel costs less than to join it with others
BYTES_MAX = 4 << 20
BYTES_ROUGHLY = 2 * BYTES_MAX  # up to which the size of many columns is not measured column by column
THREADS = 2 if PROCESSORS > 2 else 1  # with two processors, one is busy with the source

Work = Callable[[pa.RecordBatch], Iterable[bytes | memoryview]]


def bounded_slices(batches: Batches, schema: pa.Schema) -> Batches:
    """The same rows in slices small enough to bound the text of a slice and the arrays it is built from.

    Only a single row may exceed the size limit. The first batch passes through at once; later ones that are much
    smaller than a slice are joined. ``batches`` is closed when this generator is.
    """
    rows_wide = max(1, min(ROWS_WIDE, CELLS_WIDE // len(schema)))
    rows_max = min(ROWS_MAX, max(rows_wide, CELLS_MAX // len(schema)))
    rows_min = min(rows_max // 2, max(ROWS_JOINED, CELLS_MAX // 2 // len(schema)))
    views = {i: _VIEWED[kind] for i, kind in enumerate(schema.types) if kind in _VIEWED}
    dictionaries = [i for i, kind in enumerate(schema.types) if _is_text_dictionary(kind)]
    held: list[pa.RecordBatch] = []
    rows = size = 0
    rows_enough = 1
    try:
        for batch in batches:
            if batch.num_rows:
                held.append(_without_views(batch, views))
                rows += batch.num_rows
                size += _text_bytes(held[-1], dictionaries, BYTES_ROUGHLY)
            del batch  # else it would be in memory while the next one is read
            if rows >= rows_enough or size >= BYTES_MAX // 2:
                yield from _cut(_joined(held), rows_max, dictionaries, size)
                rows = size = 0
                rows_enough = rows_min
        if held:
            yield from _cut(_joined(held), rows_max, dictionaries, size)
    finally:
        batches.close()


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of ``parts``, which is emptied: they need not take memory beside it."""
    batch = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    parts.clear()
    return batch


_VIEWED = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def _without_views(batch: pa.RecordBatch, views: dict[int, pa.DataType]) -> pa.RecordBatch:
    """Views share their data buffers among all slices, so they do not show the size of one slice."""
    for index, kind in views.items():
        field = batch.schema.field(index).with_type(kind)
        batch = batch.set_column(index, field, pc.cast(batch.column(index), kind))
    return batch


def _is_text_dictionary(kind: pa.DataType) -> bool:
    t = pa.types
    return t.is_dictionary(kind) and not t.is_nested(kind.value_type) and not t.is_primitive(kind.value_type)


def _cut(batch: pa.RecordBatch, rows_max: int, dictionaries: Sequence[int], size: int) -> Iterator[pa.RecordBatch]:
    """``batch``, of at most ``size`` bytes, in parts."""
    parts = max(1, round(batch.num_rows / rows_max))
    if parts == 1 and batch.num_rows > 1 and size > BYTES_MAX:
        size = _text_bytes(batch, dictionaries, BYTES_MAX)
        parts = 2 if size > BYTES_MAX else 1
    if parts > 1:
        if size <= BYTES_ROUGHLY:
            size //= parts  # more only where rows differ much in size, and BYTES_ROUGHLY at most
        for part in range(parts):
            start, stop = (batch.num_rows * p // parts for p in (part, part + 1))
            yield from _cut(batch.slice(start, stop - start), rows_max, dictionaries, size)
        return
    whole = [batch]
    del batch
    yield whole.pop()  # held by the consumer alone


def _text_bytes(batch: pa.RecordBatch, dictionaries: Sequence[int], roughly: int) -> int:
    """The size of the values, counting those of the columns ``dictionaries`` once per occurrence; up to ``roughly``
    bytes, that of the buffers, of which the values may be a part."""
    # The size of the buffers is found 30 times faster.
    size: int = batch.get_total_buffer_size()
    if size > roughly:
        size = batch.nbytes
    for column in map(batch.column, dictionaries):
        values = column.dictionary
        if len(values):
            lengths = pc.binary_length(pc.cast(values, pa.large_binary()))
            size += pc.sum(pc.cast(pc.take(lengths, column.indices), pa.int64())).as_py() or 0
    return size


def distinct(schema: pa.Schema) -> tuple[list[pa.Field], list[int]]:
    """The first field of each type and meaning, and for each column which of these is like it."""
    fields: list[pa.Field] = []
    known: dict[tuple[pa.DataType, bytes], int] = {}
    kinds = []
    for field in schema:
        kind = known.setdefault((field.type, kind_of(field)), len(known))
        if kind == len(fields):
            fields.append(field)
        kinds.append(kind)
    return fields, kinds


class Groups:
    """The columns of slices in groups of equal type and meaning, for one kernel call each."""

    def __init__(self, schema: pa.Schema, fields: Sequence[pa.Field], kinds: Sequence[int]) -> None:
        """``fields`` and ``kinds`` as of :func:`distinct`."""
        self._names = schema.names
        plain_types = [_plain_type(field.type) for field in fields]
        wrapped = {kind for kind, field in enumerate(fields) if plain_types[kind] != field.type}
        nested = {kind for kind, plain_type in enumerate(plain_types) if pa.types.is_nested(plain_type)}
        self._wrapped = [index for index, kind in enumerate(kinds) if kind in wrapped]
        self._groups = arrow_groups.Groups([None if kind in nested else kind for kind in kinds])

    def of(self, batch: pa.RecordBatch, *, row_by_row: bool = True) -> Iterator[tuple[list[int], pa.Array]]:
        """The indices of the columns of each group, and their values, row by row or column after column, without
        dictionaries and the like; Refused if a text is not UTF-8.

        Row by row a line reads a few stretches of memory, one for each group; else it reads one for each column, more
        than the processor fetches ahead.
        """
        columns = batch.columns
        for index in self._wrapped:
            self._check(columns[index], [index], columns)
            columns[index] = plain(columns[index])
        for indices in self._together(batch):
            array = joined([columns[index] for index in indices])
            self._check(array, indices, columns)
            yield indices, by_rows(array, len(indices)) if row_by_row else array

    def _together(self, batch: pa.RecordBatch) -> list[list[int]]:
        too_long = batch.num_rows == 1 and batch.nbytes > BYTES_MAX  # to be copied
        if too_long or batch.num_rows >= ROWS_ALONE:
            return [[index] for index in range(batch.num_columns)]
        return self._groups.of(batch.num_rows)

    def _check(self, array: pa.Array, indices: Sequence[int], columns: Sequence[pa.Array]) -> None:
        if not _may_hold_text(array.type) or (_is_string(array.type) and bytes_of(array).max(initial=0) < 0x80):
            return
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            if len(indices) == 1:
                raise invalid_text(self._names[indices[0]]) from error
            for index in indices:
                self._check(columns[index], [index], columns)
            raise


def by_rows(array: pa.Array, columns: int) -> pa.Array:
    """The values of ``columns`` columns, which follow one another, row by row."""
    if columns == 1:
        return array
    values = array.storage if isinstance(array.type, DecimalText) else array
    values = pc.take(values, _places_by_rows(columns, len(array) // columns), checked=False)
    return pa.ExtensionArray.from_storage(array.type, values) if isinstance(array.type, DecimalText) else values


@lru_cache(maxsize=8)
def _places_by_rows(columns: int, rows: int) -> pa.Array:
    return pc.from_numpy(np.arange(columns * rows, dtype=np.int32).reshape(columns, rows).T.ravel())


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of such a column without dictionaries and the like."""
    return kind if isinstance(kind, DecimalText) else plain(pa.nulls(0, kind)).type


def in_order(work: Work, slices: Batches, threads: int) -> Chunks:
    """The results of ``work`` on each slice, in order; with two or more threads, at most ``threads`` + 1 are pending.

    The first slice runs in the calling thread, so its result waits for no further slice and a small file starts no
    thread. An error of ``work`` or ``slices`` is raised in place of its result. When this generator ends, all work has.
    """
    going_on = yield from _next(work, slices)
    if threads < 2:
        while going_on:
            going_on = yield from _next(work, slices)
        return
    from concurrent.futures import ThreadPoolExecutor

    pending: deque[Future[list[bytes | memoryview]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="fluxport-encode") as pool:
        try:
            for part in slices:
                pending.append(pool.submit(_whole, work, [part]))
                del part
                while pending and (len(pending) > threads or pending[0].done()):
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _next(work: Work, slices: Batches) -> Generator[bytes | memoryview, None, bool]:
    """The result of ``work`` on the next slice; returns whether there was one."""
    part = [batch for batch in (next(slices, None),) if batch is not None]
    if not part:
        return False
    yield from _checked(work, part)
    return True


def _checked(work: Work, part: list[pa.RecordBatch]) -> Chunks:
    """The result of ``work`` on the only slice in ``part``, which is emptied: its memory is free where ``work`` has
    what it needs of it."""
    try:
        yield from work(part.pop())
    except pa.ArrowCapacityError as error:
        raise LimitExceeded("A row is too long to be written as text; leave out its largest column.") from error


def _whole(work: Work, part: list[pa.RecordBatch]) -> list[bytes | memoryview]:
    return list(_checked(work, part))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _may_hold_text(kind: pa.DataType) -> bool:
    t = pa.types
    return not (
        t.is_primitive(kind)
        or t.is_decimal(kind)
        or t.is_binary(kind)
        or t.is_fixed_size_binary(kind)
        or isinstance(kind, DecimalText)
    )
