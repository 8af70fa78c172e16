"""Columns of cells joined into lines by one call of Arrow's ``take``, at a cost per cell that does not grow with the
number of columns.

A line is a sequence of strings that alternate: what stands between two cells, and a cell. All of them are in one string
array, and a matrix with a row for each line has their indices. The bytes of the strings so taken are the lines:

    strings   | 0: ,   1: ,"   2: ",   3: LF ... | a0 | a1 | ... | b0 | b1 | ...
    indices   start  a0  ,"  b0  "LF                start  a1  ,  b1  LF
    taken     |    | 7 | ," | x,y | "LF |           |    | 8 | , | z | LF |

What stands between two cells depends on whether each of them is quoted, plain or null. So quotes and the text for null
cost nothing, and no cell is changed for its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import bytes_of, valid_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

_PLAIN, _QUOTED, _NULL = 0, 1, 2
_CLOSINGS, _OPENINGS = 3, 2  # what can end before, and begin after, the text between two cells
_VARIANTS = _CLOSINGS * _OPENINGS
_CELLS = 1 << 15  # taken at a time, so that the lines are in the cache when they are read
LONG_ROW = 4 << 20  # bytes; a single row of more is joined without copies of its cells


class Cells(NamedTuple):
    """The cells of one column, or of several columns of equal length, one after the other.

    Indices count from the first cell of the first column. A null cell is written as the text for null, never quoted.
    """

    columns: Sequence[int]  # their indices
    text: pa.StringArray
    quoted: bool = False  # whether each cell is in quotes
    in_quotes: Rows | None = None  # the cells in quotes, where not all are
    changed: Rows | None = None  # the cells with another text than in ``text``, and their texts
    texts: pa.StringArray | None = None


class Lines:
    """Lines with one of ``starts`` before the cell of each column, ``end`` at their ends, and ``null`` for null."""

    def __init__(self, starts: Sequence[str], end: str, null: str) -> None:
        self._columns = len(starts)
        closings, openings = ("", '"', null), ("", '"')
        between = [c + start + o for start in (*starts, end) for c in closings for o in openings]
        self._between = pc.from_strings([*between, ""])
        self._empty = len(between)
        self._indices: tuple[object, NDArray[np.int32]] | None = None

    def join(self, groups: Sequence[Cells], rows: int) -> list[memoryview]:
        """The lines of ``rows`` rows, whose columns are all in ``groups``, as consecutive pieces."""
        if rows == 1 and sum(len(bytes_of(group.text)) for group in groups) > LONG_ROW:
            return [self._long_row(groups)]
        strings = [self._between]
        indices = self._plain_indices(groups, rows)
        total = len(self._between) + rows * self._columns
        exact, start = False, len(self._between)
        for group in groups:
            strings.append(group.text)
            special = group.text.null_count or group.in_quotes is not None or group.changed is not None
            if special and not exact:
                indices, exact = indices.copy(), True
            if special:
                self._adjust(indices, group, total)
            if group.texts is not None:
                total += len(group.texts)
            start += len(group.text)
        strings += [group.texts for group in groups if group.texts is not None]
        table = pa.concat_arrays(strings)
        if table.null_count:  # no index refers to a null
            table = pa.StringArray.from_buffers(len(table), *table.buffers()[1:])
        step = max(1, _CELLS // self._columns)
        return [_taken(table, indices[first : first + step]) for first in range(0, rows, step)]

    def _plain_indices(self, groups: Sequence[Cells], rows: int) -> NDArray[np.int32]:
        """The indices of lines without a null or a cell that is quoted unlike the rest of its column; not to be
        written to, as they are used again."""
        key = rows, tuple((tuple(group.columns), group.quoted) for group in groups)
        if self._indices is not None and self._indices[0] == key:
            return self._indices[1]
        states = np.zeros(self._columns + 2, np.int32)  # of each column, between the start and the end of the line
        cells = np.empty(self._columns, np.int32)
        start = len(self._between)
        for group in groups:
            at = np.asarray(group.columns)
            states[at + 1] = _QUOTED if group.quoted else _PLAIN
            cells[at] = start + np.arange(len(at)) * rows
            start += len(at) * rows
        indices = np.empty((rows, 2 * self._columns + 1), np.int32)
        indices[:, ::2] = np.arange(self._columns + 1) * _VARIANTS + states[:-1] * _OPENINGS + states[1:]
        indices[:, 1::2] = cells + np.arange(rows, dtype=np.int32)[:, None]
        self._indices = key, indices
        return indices

    def _adjust(self, indices: NDArray[np.int32], group: Cells, changed_start: int) -> None:
        """Correct the indices at the special cells of a group."""
        rows, width = indices.shape
        flat = indices.reshape(-1)
        columns = np.asarray(group.columns) * 2

        def places(cells: Rows) -> Rows:
            column = cells // rows
            at: Rows = (cells - column * rows) * width + columns[column]
            return at

        if group.in_quotes is not None:
            at = places(group.in_quotes)
            flat[at] += _QUOTED
            flat[at + 2] += _QUOTED * _OPENINGS
        if group.changed is not None:
            flat[places(group.changed) + 1] = np.arange(changed_start, changed_start + len(group.changed))
        if group.text.null_count:
            at = places(np.flatnonzero(~valid_rows(group.text)))
            if group.quoted:
                flat[at] -= _QUOTED
            flat[at + 1] = self._empty
            flat[at + 2] += (_NULL - (_QUOTED if group.quoted else _PLAIN)) * _OPENINGS

    def _long_row(self, groups: Sequence[Cells]) -> memoryview:
        texts: list[bytes | memoryview] = [b""] * self._columns
        states = [_PLAIN] * (self._columns + 2)
        for group in groups:
            for place, column in enumerate(group.columns):
                cell = group.text.slice(place, 1)
                if cell.null_count:
                    states[column + 1] = _NULL
                    continue
                if group.quoted or (group.in_quotes is not None and place in group.in_quotes):
                    states[column + 1] = _QUOTED
                if group.changed is not None and group.texts is not None and place in group.changed:
                    cell = group.texts.slice(int(np.searchsorted(group.changed, place)), 1)
                texts[column] = bytes_of(cell).data
        parts: list[bytes | memoryview] = []
        for column in range(self._columns + 1):
            opening = int(states[column + 1] == _QUOTED)
            parts.append(self._between[column * _VARIANTS + states[column] * _OPENINGS + opening].as_buffer())
            parts += texts[column : column + 1]
        return memoryview(b"".join(parts))


def _taken(strings: pa.StringArray, indices: NDArray[np.int32]) -> memoryview:
    return bytes_of(pc.take(strings, pc.from_numpy(indices.reshape(-1)), checked=False)).data
