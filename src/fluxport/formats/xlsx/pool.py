"""The texts of a slice in one string array, whose buffers are used again for the next slice.

texts      kept from slice to slice           | added: of one slice
data       </v></c><c r="B  1234" s="1"><v> .. | 45.5  7  text 3 ...
                            ^^^^ rewritten in place
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport.arrow_strings import string_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BYTES_MAX = np.iinfo(np.int32).max
_ROOM = 8 << 20  # bytes that stay, however short the next slice is


class Pool:
    """String arrays, one after the other; an array that it returns is valid until the next call."""

    def __init__(self) -> None:
        self._data = np.empty(0, np.uint8)
        self._offsets = np.zeros(1, np.int32)
        self._kept, self._kept_bytes = 0, 0

    def keep(self, texts: pa.Array) -> None:
        """Begin with ``texts``, which have no nulls, from now on."""
        self._kept = self._kept_bytes = 0
        self.with_added([string_window(texts)])
        self._kept, self._kept_bytes = len(texts), int(self._offsets[len(texts)])

    def lines(self, text: int, skipped: int, count: int, width: int) -> NDArray[np.void]:
        """``width`` bytes of each of ``count`` kept texts of equal length, the first of which is ``text``, after
        ``skipped`` bytes; to be written to before the next call."""
        first, second = self._offsets[text : text + 2].tolist()
        return np.ndarray((count,), f"V{width}", self._data, first + skipped, (second - first,))

    def with_added(self, windows: Sequence[tuple[NDArray[Any], NDArray[np.uint8]]]) -> pa.Array:
        """The kept texts, and those of each window (the offsets of its texts, and their data)."""
        texts = self._kept + sum(len(offsets) - 1 for offsets, _ in windows)
        size = self._kept_bytes + sum(int(offsets[-1]) - int(offsets[0]) for offsets, _ in windows)
        self._make_room(texts, size)
        text, end = self._kept, self._kept_bytes
        for offsets, data in windows:
            first, last = int(offsets[0]), int(offsets[-1])
            np.add(offsets, end - first, out=self._offsets[text : text + len(offsets)])
            self._data[end : end + last - first] = data[first:last]
            text, end = text + len(offsets) - 1, end + last - first
        buffers: list[Any] = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._data)]
        return pa.Array.from_buffers(pa.string(), texts, buffers)

    def _make_room(self, texts: int, size: int) -> None:
        if size > _BYTES_MAX:
            raise pa.ArrowCapacityError("text of one slice is longer than 2 GiB")
        if size > len(self._data) or len(self._data) > max(_ROOM, 4 * size):  # a huge row came before
            self._data = _larger(self._data, self._kept_bytes, size)
        if texts >= len(self._offsets):
            self._offsets = _larger(self._offsets, self._kept + 1, texts + 1)


def _larger(old: NDArray[Any], kept: int, size: int) -> NDArray[Any]:
    """A copy of the first ``kept`` items with room for ``size``, and some more so that this is rare."""
    new = np.empty(size + size // 8, old.dtype)
    new[:kept] = old[:kept]
    return new
