"""A stream of record batches in slices of a size the encoder chooses, however the source cut them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fluxport.formats.text import string_window
from fluxport.stages import Batches


def resumed(first: pa.RecordBatch | None, rest: Batches) -> Batches:
    """A batch that was looked at, and those behind it."""
    if first is not None:
        yield first
    yield from rest


def slices(batches: Batches, rows: int, text_bytes: int | None = None) -> Batches:
    """The same rows in batches of exactly ``rows`` rows, the last one shorter; never an empty batch.

    With ``text_bytes`` a slice also ends after the row by which its string and binary columns reach that many bytes, so
    long texts take no more memory than short ones. Slices are views where one batch holds them; only a slice that spans
    batches is copied. ``batches`` is closed when this generator is.
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
    """The first rows of ``part`` until their texts have ``text_bytes`` bytes, or all; and how many they have."""
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
