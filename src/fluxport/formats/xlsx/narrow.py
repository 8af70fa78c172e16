"""Rows of few columns and many rows, joined from fewer and longer texts than :mod:`rows` has.

All that has the same width in every row (constants, row numbers with the same number of digits, and values such as
dates, codes and most ids) between two values of varying width is one piece: a byte matrix with one line per row, in
which one assignment writes a row number or a value of all rows::

    piece                                                               value     piece
    <row r="|1234|"><c r="A|1234|" s="1"><v>|45000|</v></c><c r="B|1234|" t="inlineStr"><is><t>| Ada | </t></is>...
    const    field const    field const      field const          field const

The matrices are texts of the pool, and their constants are written once. A column with absent cells has texts of its
own, which are left out with the cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import fixed_width_text
from fluxport.formats.xlsx.pool import Pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_JOINED = 2048
_NUMBER = -1


class Texts(NamedTuple):
    """The cells of one column: ``offsets`` and ``data`` of its values, and which are ``present`` (None: all)."""

    head: str
    offsets: NDArray[Any]
    data: NDArray[np.uint8]
    close: str
    present: NDArray[np.bool_] | None


class _Part(NamedTuple):
    """One text of each row: the value of column ``value``, or else ``items``, which are constants, the values of a
    column (its index) or the row's number. ``cell`` is the column whose absent cells leave it out."""

    items: tuple[str | int, ...] = ()
    value: int | None = None
    cell: int | None = None

    @property
    def constant(self) -> bool:
        return self.value is None and all(isinstance(item, str) for item in self.items)


class NarrowJoiner:
    """Joins rows, in one thread at a time."""

    def __init__(self) -> None:
        self._pool = Pool()
        self._kept: tuple[Any, ...] = ()
        self._parts: list[_Part] = []
        self._starts: list[int] = []  # where each part that is not a value begins in the pool
        self._count = 0  # kept texts
        self._places: dict[int, NDArray[np.int32]] = {}  # by the number of rows

    def joined(
        self, columns: Sequence[Texts], references: Sequence[str], numbers: NDArray[np.void]
    ) -> Iterator[pa.Array]:
        """The rows with ``numbers`` as strings, ROWS_JOINED or fewer at a time; ``references`` begin the cells."""
        count = -(-len(numbers) // ROWS_JOINED)
        rows = -(-len(numbers) // count)
        widths = tuple(_width(column) for column in columns)
        around = tuple((column.head, column.close, column.present is not None) for column in columns)
        kept = (rows, numbers.dtype.itemsize, widths, around)
        if kept != self._kept:
            self._keep(_parts(tuple(references), around, widths), rows, (*widths, numbers.dtype.itemsize))
            self._kept = kept
        for start in range(0, len(numbers), rows):
            window = slice(start, min(start + rows, len(numbers)))
            self._write(columns, numbers, window)
            yield self._taken(columns, window)

    def _keep(self, parts: list[_Part], rows: int, widths: tuple[int, ...]) -> None:
        """Begin the pool with the lines of all pieces, for ``rows`` rows."""
        texts = [pc.from_strings([""])]
        self._parts, self._starts, self._count, self._places = parts, [], 1, {}
        for part in parts:
            self._starts.append(self._count)
            if part.value is not None:
                continue
            line = b"".join(item.encode() if isinstance(item, str) else bytes(widths[item]) for item in part.items)
            lines = 1 if part.constant else rows
            texts.append(fixed_width_text(np.frombuffer(line * lines, np.uint8).reshape(lines, -1)))
            self._count += lines
        self._pool.keep(pa.concat_arrays(texts))

    def _write(self, columns: Sequence[Texts], numbers: NDArray[np.void], window: slice) -> None:
        """Write the row numbers and values of ``window`` into the pieces."""
        count = window.stop - window.start
        number = numbers[window]
        for part, text in zip(self._parts, self._starts, strict=True):
            at = 0
            for item in part.items:
                if isinstance(item, str):
                    at += len(item)
                    continue
                values = number if item == _NUMBER else _field(columns[item], window)
                self._pool.lines(text, at, count, values.itemsize)[:] = values
                at += values.itemsize

    def _taken(self, columns: Sequence[Texts], window: slice) -> pa.Array:
        count = window.stop - window.start
        bounds = slice(window.start, window.stop + 1)
        if len(self._parts) == 1:  # the lines are the rows
            return self._pool.with_added([]).slice(self._starts[0], count)
        values = [(columns[p.value].offsets[bounds], columns[p.value].data) for p in self._parts if p.value is not None]
        pool = self._pool.with_added(values)
        places = self._places.get(count)
        if places is None:
            places = self._places[count] = self._places_of(count)
        if any(part.cell is not None for part in self._parts):
            places = places.copy()
            for at, part in enumerate(self._parts):
                if part.cell is not None and (present := columns[part.cell].present) is not None:
                    places[:, at] *= present[window].view(np.int8)
        return pc.take(pool, pc.from_numpy(places.ravel()), checked=False)

    def _places_of(self, count: int) -> NDArray[np.int32]:
        """A line for each of ``count`` rows with the places of its texts in the pool; place 0 has an empty text."""
        row = np.arange(count, dtype=np.int32)
        places = np.empty((count, len(self._parts)), np.int32)
        values = self._count
        for at, (part, start) in enumerate(zip(self._parts, self._starts, strict=True)):
            if part.value is not None:
                places[:, at] = row + values
                values += count
            else:
                places[:, at] = start if part.constant else row + start
        return places


@lru_cache(maxsize=4)
def _parts(
    references: tuple[str, ...], around: tuple[tuple[str, str, bool], ...], widths: tuple[int, ...]
) -> list[_Part]:
    """The texts of a row. ``around`` has the head and close of each column and whether cells are absent, ``widths`` the
    width of its values, or 0 if they vary."""
    parts: list[_Part] = []
    held: list[str | int] = ['<row r="', _NUMBER, '">']
    for column, (reference, (head, close, absent), width) in enumerate(zip(references, around, widths, strict=True)):
        opening: list[str | int] = [reference, _NUMBER, f'"{head}']
        if absent:
            parts += [_Part(tuple(held))] if held else []
            parts += [_Part(tuple(opening), cell=column), _Part(value=column, cell=column)]
            parts += [_Part((close,), cell=column)] if close else []
            held = []
        elif width:
            held += [*opening, column, close]
        else:
            parts += [_Part((*held, *opening)), _Part(value=column)]
            held = [close]
    return [*parts, _Part((*held, "</row>"))]


def _width(column: Texts) -> int:
    """The width of the values if no cell is absent and it is the same for all; else 0."""
    offsets = column.offsets
    width = int(offsets[1] - offsets[0])
    if column.present is not None or int(offsets[-1]) - int(offsets[0]) != width * (len(offsets) - 1):
        return 0
    return width if (np.diff(offsets) == width).all() else 0


def _field(column: Texts, window: slice) -> NDArray[np.void]:
    first, last = int(column.offsets[window.start]), int(column.offsets[window.stop])
    return column.data[first:last].view(f"V{(last - first) // (window.stop - window.start)}")
