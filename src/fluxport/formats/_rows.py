"""Shared by the text formats: slices of bounded size, and slices encoded in order on several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from fluxport import compute as pc
from fluxport.errors import LimitExceeded
from fluxport.formats.text import invalid_text
from fluxport.stages import PROCESSORS, Batches

if TYPE_CHECKING:
    from concurrent.futures import Future

ROWS_MAX = 16_384
ROWS_MIN = 64
CELLS_MAX = 1 << 17
BYTES_MAX = 4 << 20
THREADS = 2 if PROCESSORS > 2 else 1  # with two processors, one is busy with the source

Work = Callable[[pa.RecordBatch], memoryview]


def bounded_slices(batches: Batches, columns: int) -> Batches:
    """The same rows in slices small enough to bound the text of a slice and the arrays it is built from.

    Only a single row may exceed the size limit. The first batch passes through at once; later ones that are much
    smaller than a slice are joined. ``batches`` is closed when this generator is.
    """
    rows_max = min(ROWS_MAX, max(ROWS_MIN, CELLS_MAX // columns))
    held: list[pa.RecordBatch] = []
    rows = size = 0
    rows_enough = 1
    try:
        for batch in batches:
            if batch.num_rows:
                held.append(_without_views(batch))
                rows += batch.num_rows
                size += batch.nbytes
            if rows >= rows_enough or size >= BYTES_MAX // 2:
                yield from _cut(_joined(held), rows_max)
                held = []
                rows = size = 0
                rows_enough = rows_max // 2
        if held:
            yield from _cut(_joined(held), rows_max)
    finally:
        batches.close()


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Views share their data buffers among all slices, so they do not show the size of one slice."""
    for index, field in enumerate(batch.schema):
        plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(field.type)
        if plain is not None:
            batch = batch.set_column(index, field.with_type(plain), pc.cast(batch.column(index), plain))
    return batch


def _cut(batch: pa.RecordBatch, rows_max: int) -> Iterator[pa.RecordBatch]:
    parts = -(-batch.num_rows // rows_max)
    if parts == 1 and _size_bytes(batch) > BYTES_MAX and batch.num_rows > 1:
        parts = 2
    if parts == 1:
        yield batch
        return
    for part in range(parts):
        start, stop = (batch.num_rows * p // parts for p in (part, part + 1))
        yield from _cut(batch.slice(start, stop - start), rows_max)


def _size_bytes(batch: pa.RecordBatch) -> int:
    """The size of the values, counting dictionary values once per occurrence."""
    size: int = batch.nbytes
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and not pa.types.is_nested(column.type.value_type):
            values = column.dictionary
            if pa.types.is_primitive(values.type) or len(values) == 0:
                continue
            lengths = pc.binary_length(pc.cast(values, pa.large_binary()))
            size += pc.sum(pc.cast(pc.take(lengths, column.indices), pa.int64())).as_py() or 0
    return size


def in_order(work: Work, slices: Batches, threads: int) -> Generator[memoryview, None, None]:
    """The results of ``work`` on each slice, in order; with two or more threads, at most ``threads`` + 1 are pending.

    The first slice runs in the calling thread, so its result waits for no further slice and a small file starts no
    thread. An error of ``work`` or ``slices`` is raised in place of its result. When this generator ends, all work has.
    """
    for part in slices:
        yield _checked(work, part)
        break
    if threads < 2:
        for part in slices:
            yield _checked(work, part)
        return
    from concurrent.futures import ThreadPoolExecutor

    pending: deque[Future[memoryview]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="fluxport-encode") as pool:
        try:
            for part in slices:
                pending.append(pool.submit(_checked, work, part))
                while pending and (len(pending) > threads or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _checked(work: Work, batch: pa.RecordBatch) -> memoryview:
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if _may_hold_text(field.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise invalid_text(field.name) from error
    try:
        return work(batch)
    except pa.ArrowCapacityError as error:
        raise LimitExceeded("A row is too long to be written as text; leave out its largest column.") from error


def _may_hold_text(kind: pa.DataType) -> bool:
    t = pa.types
    return not (t.is_primitive(kind) or t.is_decimal(kind) or t.is_binary(kind) or t.is_fixed_size_binary(kind))
