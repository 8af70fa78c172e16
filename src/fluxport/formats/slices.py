"""A stream of record batches re-sliced to a size that the encoder chooses, whatever the source's batch size."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport.formats.text import string_window
from fluxport.stages import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray


def slices(batches: Batches, rows: int, text_bytes: int | None = None) -> Batches:
    """The same rows in batches of exactly ``rows`` rows, the last one shorter; never an empty batch.

    With ``text_bytes`` a slice also ends after the row at which its string and binary columns reach that many bytes, so
    long texts take no more memory than short ones. A slice within one batch is a view; one that spans batches is
    copied. ``batches`` is closed when this generator is.

        batches  |--------- 10 ---------|--- 4 ---|------- 7 -------|
        slices   |---- 6 ----|---- 6 -----|---- 6 ----|---- 3 ------|    rows=6
                     view        copy         copy        view
    """
    held: list[pa.RecordBatch] = []
    uncounted: list[tuple[_Texts, int, int]] = []  # parts of the slice whose texts have not been added up
    count = size = at_most = 0  # rows; bytes of counted texts; bytes of the buffers of all parts
    columns: list[int] | None = None
    shared = False
    try:
        for batch in batches:
            if not batch.num_rows:
                continue
            if columns is None:
                columns = _text_columns(batch.schema)
                shared = batch.nbytes > batch.get_total_buffer_size()  # which counts buffers of several columns once
            texts = _Texts(batch, columns, batch.nbytes if shared else batch.get_total_buffer_size())
            start = 0
            while start < batch.num_rows:
                stop = min(batch.num_rows, start + rows - count)
                if text_bytes is not None:
                    at_most += texts.at_most
                    if at_most < text_bytes:
                        uncounted.append((texts, start, stop))
                    else:
                        size += sum(other.between(*rows_of_it) for other, *rows_of_it in uncounted)
                        uncounted = []
                        stop = min(stop, texts.reaching(text_bytes - size, start))
                        size += texts.between(start, stop)
                held.append(batch.slice(start, stop - start))
                count += stop - start
                start = stop
                if count == rows or (text_bytes is not None and size >= text_bytes):
                    whole = [_joined(held)]
                    held, uncounted, count, size, at_most = [], [], 0, 0, 0
                    yield whole.pop()  # held by the consumer alone
            del batch, texts  # not held while the next one is read
        if held:
            yield _joined(held)
    finally:
        batches.close()


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


class _Texts:
    """The texts of a batch. To add them up takes a call per column, so that is done once for all slices of the batch,
    and only where ``at_most``, the size of all its buffers, says that they may be as long as the limit."""

    def __init__(self, batch: pa.RecordBatch, columns: list[int], at_most: int) -> None:
        self._batch = batch
        self._columns = columns
        self.at_most = at_most

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The bytes of texts before each row, and of all rows."""
        ends = np.zeros(self._batch.num_rows + 1, np.int64)
        for column in self._columns:
            ends += string_window(self._batch.column(column))[0]
        ends -= int(ends[0])
        return ends

    def between(self, start: int, stop: int) -> int:
        return int(self._ends[stop] - self._ends[start])

    def reaching(self, size: int, start: int) -> int:
        """The end of the first rows from ``start`` that have ``size`` bytes (more than 0) or more of text."""
        return int(np.searchsorted(self._ends, self._ends[start] + size))


def _text_columns(schema: pa.Schema) -> list[int]:
    return [index for index, kind in enumerate(schema.types) if kind.id in _WITH_OFFSETS]


_WITH_OFFSETS = {kind.id for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())}
