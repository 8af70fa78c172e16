"""A stream of record batches re-sliced to a size that the encoder chooses, whatever the source's batch size."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fluxport.formats.text import string_window
from fluxport.stages import Batches


def resumed(first: pa.RecordBatch | None, rest: Batches) -> Batches:
    """``first``, a batch already pulled from the stream, followed by ``rest``."""
    if first is not None:
        yield first
    yield from rest


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
    count = size = 0
    try:
        for batch in batches:
            start = 0
            while start < batch.num_rows:
                part = batch.slice(start, rows - count)
                if text_bytes is not None:
                    part, part_size = _reaching(part, text_bytes - size)
                    size += part_size
                start += part.num_rows
                count += part.num_rows
                held.append(part)
                if count == rows or (text_bytes is not None and size >= text_bytes):
                    yield _joined(held)
                    held, count, size = [], 0, 0
        if held:
            yield _joined(held)
    finally:
        batches.close()


def _reaching(part: pa.RecordBatch, text_bytes: int) -> tuple[pa.RecordBatch, int]:
    """The first rows of ``part`` that reach ``text_bytes`` bytes of text, or all of them; and their text bytes."""
    windows = [string_window(array)[0] for array in part.columns if _has_offsets(array.type)]
    size = sum(int(offsets[-1]) - int(offsets[0]) for offsets in windows)
    if size < text_bytes:
        return part, size
    sizes = np.zeros(part.num_rows, np.int64)
    for offsets in windows:
        sizes += offsets[1:]
        sizes -= offsets[0]
    rows = int(np.searchsorted(sizes, text_bytes)) + 1
    return part.slice(0, rows), int(sizes[min(rows, len(sizes)) - 1])


def _has_offsets(kind: pa.DataType) -> bool:
    t = pa.types
    return any(fits(kind) for fits in (t.is_string, t.is_large_string, t.is_binary, t.is_large_binary))


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)
