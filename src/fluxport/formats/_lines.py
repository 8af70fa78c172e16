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

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import bytes_of, valid_rows
from fluxport.stages import Chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[np.intp]
    # Positions in the indices, just before each cell; what to add there; the cell's index; what to add behind it.
    _Exceptions: TypeAlias = tuple[Rows, int, Rows | int | None, int]

_PLAIN, _QUOTED, _NULL = 0, 1, 2
_CLOSINGS, _OPENINGS = 3, 2  # what can end before, and begin after, the text between two cells
_VARIANTS = _CLOSINGS * _OPENINGS
_CELLS = 1 << 15  # taken at a time, so that the lines are in the cache when they are read
_KEPT_BYTES = 1 << 20  # of indices, which are then used again for the next slice
LONG_ROW = 4 << 20  # bytes; a single row of more is joined without copies of its cells


class Cells(NamedTuple):
    """The cells of one column, or of several columns, row by row.

    Cells are counted from the first one. A null cell is written as the text for null, never quoted.
    """

    columns: Sequence[int]  # their indices
    text: pa.StringArray
    quoted: bool = False  # whether each cell is in quotes
    in_quotes: Rows | None = None  # the cells in quotes, where not all are
    changed: Rows | None = None  # the cells with another text than in ``text``, and their texts
    texts: pa.StringArray | None = None


_Layout: TypeAlias = "tuple[int, tuple[tuple[tuple[int, ...], bool], ...]]"  # rows; columns of each group, quoted


class Lines:
    """Lines with one of ``starts`` before the cell of each column, ``end`` at their ends, and ``null`` for null."""

    def __init__(self, starts: Sequence[str], end: str, null: str) -> None:
        self._columns = len(starts)
        closings, openings = ("", '"', null), ("", '"')
        between = [c + start + o for start in (*starts, end) for c in closings for o in openings]
        self._between = pc.from_strings([*between, ""])
        self._empty = len(between)
        self._kept: tuple[_Layout, NDArray[np.int32]] | None = None

    def join(self, groups: list[Cells], rows: int) -> Chunks:
        """The lines of ``rows`` rows, whose columns are all in ``groups``, which is emptied."""
        if rows == 1 and sum(len(bytes_of(group.text)) for group in groups) > LONG_ROW:
            yield self._long_row(groups)
            return
        replaced = [group.texts for group in groups if group.texts is not None]
        strings = pa.concat_arrays([self._between, *(group.text for group in groups), *replaced])
        if strings.null_count:  # no index refers to a null
            strings = pa.StringArray.from_buffers(len(strings), *strings.buffers()[1:])
        exceptions = list(self._exceptions(groups, rows))
        layout = rows, tuple((tuple(group.columns), group.quoted) for group in groups)
        groups.clear()  # ``strings`` has their texts; memory need not hold them twice while lines are made
        del replaced
        indices = self._indices(layout, shared=not exceptions)
        cells = indices.reshape(-1)
        for at, before, cell, after in exceptions:
            if before:
                cells[at] += before
            if cell is not None:
                cells[at + 1] = cell
            if after:
                cells[at + 2] += after
        del exceptions
        step = max(1, _CELLS // self._columns) * indices.shape[1]
        for first in range(0, len(cells), step):
            yield bytes_of(pc.take(strings, pc.from_numpy(cells[first : first + step]), checked=False)).data

    def _indices(self, layout: _Layout, *, shared: bool) -> NDArray[np.int32]:
        """The indices of lines without exceptions; ``shared``: the caller leaves them as they are."""
        kept = self._kept  # read once: other threads replace it
        if kept is not None and kept[0] == layout:
            return kept[1] if shared else kept[1].copy()
        rows, groups = layout
        states = np.zeros(self._columns + 2, np.int32)  # of each column, between the start and the end of the line
        first, step = np.empty((2, self._columns), np.int32)  # the index of a column's first cell; from row to row
        start = len(self._between)
        for columns, quoted in groups:
            at = np.array(columns)
            states[at + 1] = _QUOTED if quoted else _PLAIN
            first[at], step[at] = start + np.arange(len(at)), len(at)
            start += len(at) * rows
        indices = np.empty((rows, 2 * self._columns + 1), np.int32)
        indices[:, ::2] = np.arange(self._columns + 1) * _VARIANTS + states[:-1] * _OPENINGS + states[1:]
        np.multiply(step, np.arange(rows, dtype=np.int32)[:, None], out=indices[:, 1::2])
        indices[:, 1::2] += first
        if indices.nbytes > _KEPT_BYTES:
            return indices
        self._kept = layout, indices
        return indices if shared else indices.copy()

    def _exceptions(self, groups: Sequence[Cells], rows: int) -> Iterator[_Exceptions]:
        """The cells that are null, are quoted unlike the rest of their column, or have another text."""
        changed_start = len(self._between) + rows * self._columns
        width = 2 * self._columns + 1
        for group in groups:
            first = np.asarray(group.columns) * 2

            def places(cells: Rows, first: Rows = first) -> Rows:
                row = cells // len(first)
                at: Rows = row * width + first[cells - row * len(first)]
                return at

            if group.in_quotes is not None:
                yield places(group.in_quotes), _QUOTED, None, _QUOTED * _OPENINGS
            if group.changed is not None:
                stop = changed_start + len(group.changed)
                yield places(group.changed), 0, np.arange(changed_start, stop), 0
                changed_start = stop
            if group.text.null_count:
                nulls = places(np.flatnonzero(~valid_rows(group.text)))
                quoted = _QUOTED if group.quoted else _PLAIN
                yield nulls, -quoted, self._empty, (_NULL - quoted) * _OPENINGS

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
