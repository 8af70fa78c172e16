"""Rows in memory of the calling program: an Arrow table, a reader, or an iterator of record batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused
from fluxport.sources.errors import canceled
from fluxport.stages import Batches

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 4 << 20


class ArrowSource:
    """See :class:`fluxport.stages.Source`.

    ``rows`` is a Table, a RecordBatch, a RecordBatchReader, an object with ``__arrow_c_stream__`` (Polars and pandas
    data frames, DuckDB relations), or an iterator of record batches, which is pulled in a thread of the export. Its own
    errors propagate unchanged. ``close`` cannot interrupt a pull that waits on the iterator, but nothing is read after
    that. This is not a BaseSource, because ``close`` of a BaseSource waits for the pull.
    """

    def __init__(self, rows: Any) -> None:
        self._schema: pa.Schema | None = None
        self._closed = False
        import pyarrow as pa

        if isinstance(rows, pa.RecordBatch):
            rows = pa.Table.from_batches([rows])
        if isinstance(rows, pa.Table):
            rows = rows.to_reader()
        elif not isinstance(rows, pa.RecordBatchReader) and hasattr(rows, "__arrow_c_stream__"):
            rows = pa.RecordBatchReader.from_stream(rows)
        if isinstance(rows, pa.RecordBatchReader):
            self._schema = rows.schema
        try:
            self._iterator: Iterator[Any] = iter(rows)
        except TypeError:
            raise Refused(
                "The source is neither a URL nor Arrow data: give a database URL, a Table, a RecordBatchReader or an "
                "iterator of record batches.",
                code="bad_source",
            ) from None
        self._rows = self._iterator

    @property
    def declared(self) -> pa.Schema | None:
        """The schema, where it is known before the first batch."""
        return self._schema

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            first = next(self._rows, None)
            if first is None:
                raise Refused(
                    "The iterator has no record batch, so the columns are unknown; yield a batch without rows, or "
                    "pass a RecordBatchReader.",
                    code="bad_source",
                )
            self._schema = _batch(first).schema
            self._rows = chain((first,), self._rows)
        return self._schema

    def batches(self) -> Batches:
        schema = self.schema
        iterator: Any = self._iterator
        with closing(iterator) if hasattr(iterator, "close") else nullcontext():
            for number, batch in enumerate(self._rows, 1):
                if self._closed:
                    raise canceled()
                if _batch(batch).schema != schema:
                    raise Refused(f"Record batch {number} has other columns than the first one.", code="bad_batch")
                yield from sliced(batch)

    def close(self) -> None:
        self._closed = True


def _batch(item: Any) -> pa.RecordBatch:
    import pyarrow as pa

    if not isinstance(item, pa.RecordBatch):
        raise Refused(f"The iterator yielded a {type(item).__name__}, not a record batch.", code="bad_batch")
    return item


def sliced(batch: pa.RecordBatch, bytes_max: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """The rows in batches of at most ``bytes_max``, or of a single row; none without rows."""
    if batch.num_rows > 1 and batch.nbytes > bytes_max:
        half = batch.num_rows // 2
        yield from sliced(batch.slice(0, half), bytes_max)
        yield from sliced(batch.slice(half), bytes_max)
    elif batch.num_rows:
        yield batch
