"""A stream of record batches re-sliced to a size that the encoder chooses, whatever the source's batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport.formats.text import string_window
from fluxport.stages import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    held = _Held(text_bytes)
    count = 0
    try:
        for batch in batches:
            start = 0
            while start < batch.num_rows:
                part, full = held.add(batch.slice(start, rows - count))
                start += part.num_rows
                count += part.num_rows
                if full or count == rows:
                    yield held.joined()
                    held, count = _Held(text_bytes), 0
        if count:
            yield held.joined()
    finally:
        batches.close()


class _Held:
    """The parts of the next slice, up to the row at which their texts reach ``text_bytes`` (None: no limit).

    To add up the texts of a part takes a call per column, the size of all its buffers one for the part. So texts are
    added up only if the buffers, which may be larger than the part, reach the limit.
    """

    def __init__(self, text_bytes: int | None) -> None:
        self._parts: list[pa.RecordBatch] = []
        self._text_bytes = text_bytes
        self._size = 0  # the bytes of texts in the parts before _counted
        self._counted = 0
        self._buffers = 0  # at least the bytes of texts in all parts

    def add(self, part: pa.RecordBatch) -> tuple[pa.RecordBatch, bool]:
        """Take the first rows of ``part``, as far as the limit allows: those rows, and whether it is reached."""
        full = False
        if self._text_bytes is not None:
            self._buffers += part.get_total_buffer_size()
            if self._buffers >= self._text_bytes:
                self._size += sum(_text_size(part) for part in self._parts[self._counted :])
                part, size = _reaching(part, self._text_bytes - self._size)
                self._size += size
                self._counted = len(self._parts) + 1
                full = self._size >= self._text_bytes
        self._parts.append(part)
        return part, full

    def joined(self) -> pa.RecordBatch:
        return self._parts[0] if len(self._parts) == 1 else pa.concat_batches(self._parts)


def _text_size(part: pa.RecordBatch) -> int:
    return sum(int(offsets[-1]) - int(offsets[0]) for offsets in _offsets(part))


def _reaching(part: pa.RecordBatch, text_bytes: int) -> tuple[pa.RecordBatch, int]:
    """The first rows of ``part`` that reach ``text_bytes`` bytes of text, or all of them; and their text bytes."""
    windows = _offsets(part)
    size = sum(int(offsets[-1]) - int(offsets[0]) for offsets in windows)
    if size < text_bytes:
        return part, size
    sizes = np.zeros(part.num_rows, np.int64)
    for offsets in windows:
        sizes += offsets[1:]
        sizes -= offsets[0]
    rows = int(np.searchsorted(sizes, text_bytes)) + 1
    return part.slice(0, rows), int(sizes[min(rows, len(sizes)) - 1])


def _offsets(part: pa.RecordBatch) -> list[NDArray[Any]]:
    columns = [i for i, kind in enumerate(part.schema.types) if _has_offsets(kind)]
    return [string_window(part.column(i))[0] for i in columns]


def _has_offsets(kind: pa.DataType) -> bool:
    return kind.id in _WITH_OFFSETS


_WITH_OFFSETS = {kind.id for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())}
