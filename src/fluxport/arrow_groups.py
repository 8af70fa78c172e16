"""Columns of one type handled together, so that the cost of a kernel follows the cells and not the columns.

A call of a kernel takes some microseconds, however few its rows. In a slice of many columns and few rows, columns with
equal keys (type, style and whatever else a kernel reads) are therefore joined into one array for one call, and its
result is cut again::

    columns   a: int64  b: string  c: int64      Groups(["int64", "string", "int64"]).of(2)  ->  [[0, 2], [1]]
    joined    |a0|a1|c0|c1|       |b0|b1|
    kernel    "7" "8" "5" "6"     ...
    cut       a: "7" "8"    c: "5" "6"
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pyarrow as pa

CELLS = 1 << 14  # joined at most, beyond which a call costs little beside its cells
BYTES = 16 << 20  # of a slice that are joined at most: a slice of more has a row of huge cells


class Groups:
    """The indices of columns with equal keys; a key of None stands alone."""

    def __init__(self, keys: Sequence[Hashable]) -> None:
        self._keys = keys
        self._last: tuple[int, list[list[int]]] = 0, []  # of the last slice: the next has about as many rows

    def of(self, rows: int) -> list[list[int]]:
        """The groups for a slice of ``rows`` rows, each of at most CELLS cells."""
        columns_max = max(1, CELLS // max(1, rows))
        rounded = max(0, columns_max.bit_length() - 3)  # so that slices of about as many rows have the same groups
        columns_max = columns_max >> rounded << rounded
        last = self._last  # read once, as another thread may replace it
        if last[0] != columns_max:
            last = self._last = columns_max, self._made(columns_max)
        return last[1]

    def _made(self, columns_max: int) -> list[list[int]]:
        groups: list[list[int]] = []
        open_groups: dict[Hashable, list[int]] = {}
        for index, key in enumerate(self._keys):
            group = open_groups.get(key) if key is not None else None
            if group is None or len(group) == columns_max:
                group = open_groups[key] = []
                groups.append(group)
            group.append(index)
        return groups


def has_huge_cells(batch: pa.RecordBatch) -> bool:
    """Whether a slice is so large that its columns should stand alone: a copy of its cells would cost memory."""
    # The size of all buffers, which others may share, is found many times faster than that of the batch.
    return bool(batch.get_total_buffer_size() > BYTES and batch.nbytes > BYTES)


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """The columns of a group, one after the other."""
    return columns[0] if len(columns) == 1 else pa.concat_arrays(columns)


def cut(array: pa.Array, count: int) -> list[pa.Array]:
    """The ``count`` columns of a group, of equal length, as views."""
    if count == 1:
        return [array]
    rows = len(array) // count
    return [array.slice(start, rows) for start in range(0, rows * count, rows)] if rows else [array] * count
