"""Columns of cells joined into rows of sheet XML.

The XML of a slice is a sequence of texts, most of which occur many times: the text between two cells, the row's number
with what follows it in all cells of a style, and the values themselves. One array, the pool, holds each of them once,
a matrix has the place of every text in the pool, and Arrow's ``take`` copies them out row by row:

    pool    | "" | <c r="A | </v></c><c r="B | ... | 1234" s="1"><v> | 1235" s="1"><v> | ... | 45.5 | 7 | ...
              0    between cells                     row numbers and heads, by head            values, by column

    row 0   | row | <c r="A | 1234" s="1"><v> | 45.5 | </v></c><c r="B | 1234" t="inlineStr"><is><t> | ... | </row>
    row 1   | row | <c r="A | 1235" s="1"><v> | 7    | </v></c><c r="B | 1235" t="inlineStr"><is><t> | ... | </row>

A cell that is absent takes the empty text for its number and value, and the texts around it are those of an absent
cell. So the cost follows the cells, not the columns: what remains per column are some list items per slice.
:mod:`fluxport.formats.xlsx.narrow` joins long slices of few columns, where longer texts are faster.

One thread builds the cells of a slice; another joins and deflates them, so few cells at a time that they stay in its
processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import fixed_width_text, valid_rows
from fluxport.digits import common_width, digits
from fluxport.formats.text import string_window
from fluxport.formats.xlsx.cells import Cells
from fluxport.formats.xlsx.kernels import join
from fluxport.formats.xlsx.narrow import NarrowJoiner, Texts
from fluxport.formats.xlsx.pool import Pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS_JOINED = 16_384
_FEW_COLUMNS, _MANY_ROWS = 16, 512  # where longer texts save more than a loop over columns takes (measured)
_ONE_BY_ONE = 64  # so many columns with absent cells are handled faster one by one
_POWERS = 10 ** np.arange(10)


def column_letters(index: int) -> str:
    """``A`` for 0, ``AA`` for 26."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


class Rows:
    """The XML of ``length`` rows before the join.

    ``groups`` are the cells of columns with their positions in the row; together they have each column once.
    ``first_row`` is the number of the first row, which is in every cell's reference; None leaves the references out.
    Then a cell's position identifies it, so an absent one is an empty element.
    """

    def __init__(self, groups: Sequence[tuple[NDArray[np.intp], Cells]], first_row: int | None) -> None:
        self.length = len(groups[0][1].values) // len(groups[0][0]) if groups else 0
        self.groups = groups
        self.first_row = first_row
        self.columns = sum(len(at) for at, _ in groups)
        # Which cells of each group are present, as (columns, rows); None if all are.
        self.present = [valid_rows(c.values).reshape(len(at), -1) if c.values.null_count else None for at, c in groups]

    def heads(self) -> tuple[str, ...]:
        """The head of each column in the row."""
        return self._each([cells.head for _, cells in self.groups])

    def closes(self) -> tuple[str, ...]:
        """The close of each column in the row."""
        return self._each([cells.close for _, cells in self.groups])

    def _each(self, parts: Sequence[str | tuple[str, ...]]) -> tuple[str, ...]:
        texts = np.empty(self.columns, object)
        for (at, _), part in zip(self.groups, parts, strict=True):
            texts[at] = part
        return tuple(texts.tolist())

    @property
    def size(self) -> int:
        """The bytes of all rows."""
        if not self.length:
            return 0
        digits = np.zeros(self.length, np.int64)  # of the number of each row
        if self.first_row is not None:
            digits = np.searchsorted(_POWERS, np.arange(self.first_row, self.first_row + self.length), side="right")
        size = len("<row></row>") * self.length
        if self.first_row is not None:
            size += len(' r=""') * self.length + int(digits.sum())
        for (at, cells), present in zip(self.groups, self.present, strict=True):
            size += self._size_of(at, cells, present, digits)
        return size

    def _size_of(
        self, at: NDArray[np.intp], cells: Cells, present: NDArray[np.bool_] | None, digits: NDArray[np.int64]
    ) -> int:
        around = _lengths(cells.head, len(at)) + _lengths(cells.close, len(at)) + len("<c")
        if self.first_row is not None:
            around += len(' r=""') + _letter_counts(self.columns)[at]
        offsets, _ = string_window(cells.values)
        if present is None:
            size = int(around.sum()) * self.length + int(offsets[-1]) - int(offsets[0])
            return size + len(at) * int(digits.sum())
        size = int(around @ np.count_nonzero(present, axis=1))
        size += int(digits @ np.count_nonzero(present, axis=0))
        size += int(np.diff(offsets)[present.ravel()].sum(dtype=np.int64))
        absent = 0 if self.first_row is not None else len("<c/>")
        return size + absent * int(present.size - np.count_nonzero(present))


class Joiner:
    """Joins rows, in one thread at a time."""

    def __init__(self) -> None:
        self._narrow = NarrowJoiner()
        self._pool = Pool()
        self._kept: tuple[Any, ...] = ()
        self._kept_count = 0
        self._layout: tuple[Any, ...] = ()
        self._places = self._some_places = np.empty((0, 0), np.int32)

    def joined(self, rows: Rows) -> Iterator[memoryview]:
        """The bytes of ``rows``, about CELLS_JOINED cells at a time."""
        if not rows.length:
            return
        if rows.first_row is not None and rows.columns <= _FEW_COLUMNS and rows.length >= _MANY_ROWS:
            numbers = _row_numbers(rows.first_row, rows.length)
            if not isinstance(numbers, pa.Array):
                yield from map(_bytes, self._narrow.joined(_texts(rows), _references(rows.columns), numbers))
                return
        if rows.first_row is None:
            self._keep_between(rows)
            places = self._laid_out(rows, None)
        else:
            places = self._laid_out(rows, self._keep_numbers(rows))
        pool = self._pool.with_added([string_window(cells.values) for _, cells in rows.groups])
        step = max(1, CELLS_JOINED // rows.columns)
        for start in range(0, rows.length, step):
            yield _bytes(pc.take(pool, pc.from_numpy(places[start : start + step].ravel()), checked=False))

    def _keep_between(self, rows: Rows) -> None:
        """Begin the pool with the texts of rows without numbers."""
        heads, closes = rows.heads(), rows.closes()
        if self._kept != (heads, closes):
            between = _between(tuple(f"<c{head}" for head in heads), closes, "<c/>")
            self._pool.keep(between)
            self._kept, self._kept_count = (heads, closes), len(between)

    def _keep_numbers(self, rows: Rows) -> NDArray[np.int32]:
        """Begin the pool with the texts of numbered rows; the place of each column's first number and head."""
        closes = rows.closes()
        between = _between(_references(rows.columns), closes, "")
        numbers = _row_numbers(rows.first_row or 0, rows.length)
        tables_at: dict[str, int] = {}
        places = np.empty(rows.columns, np.int32)
        for at, (head, _, _) in rows.groups:
            for one in (head,) if isinstance(head, str) else head:
                tables_at.setdefault(one, len(between) + (len(tables_at) + 1) * rows.length)
            places[at] = tables_at[head] if isinstance(head, str) else [tables_at[one] for one in head]
        around = [('<row r="', '">'), *(("", f'"{head}') for head in tables_at)]
        kept = (rows.length, closes, around, None if isinstance(numbers, pa.Array) else numbers.dtype)
        if kept != self._kept or isinstance(numbers, pa.Array):
            tables = [_table(before, numbers, after) for before, after in around]
            self._pool.keep(pa.concat_arrays([between, *tables]))
            self._kept, self._kept_count = kept, len(between) + rows.length * len(tables)
        else:
            for number, (before, _) in enumerate(around):
                text = len(between) + number * rows.length
                self._pool.lines(text, len(before), rows.length, numbers.dtype.itemsize)[:] = numbers
        return places

    def _laid_out(self, rows: Rows, numbered: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """A line for each row with the places of its texts in the pool."""
        values = np.empty(rows.columns, np.int32)  # where those of each column start
        start = self._kept_count
        for at, cells in rows.groups:
            values[at] = start + rows.length * np.arange(len(at))
            start += len(cells.values)
        layout = (rows.length, None if numbered is None else numbered.tobytes(), values.tobytes())
        if layout != self._layout:
            self._layout = layout
            self._places = _places(rows.length, numbered, values, 4 * (rows.columns + 1) + 1)
            self._some_places = np.empty_like(self._places)
        if all(present is None for present in rows.present):
            return self._places
        np.copyto(self._some_places, self._places)
        _leave_out_absent(self._some_places, rows)
        return self._some_places


def _texts(rows: Rows) -> list[Texts]:
    """The cells of each column in the row."""
    heads, closes = rows.heads(), rows.closes()
    texts: dict[int, Texts] = {}
    for (at, cells), present in zip(rows.groups, rows.present, strict=True):
        offsets, data = string_window(cells.values)
        for number, column in enumerate(at.tolist()):
            first = number * rows.length
            window = offsets[first : first + rows.length + 1]
            shown = None if present is None or present[number].all() else present[number]
            texts[column] = Texts(heads[column], window, data, closes[column], shown)
    return [texts[column] for column in range(rows.columns)]


@lru_cache(maxsize=8)
def _between(openings: tuple[str, ...], closes: tuple[str, ...], absent: str) -> pa.Array:
    """What stands before each cell and after the last one: four texts for each, by whether the cell before it is
    present (+2) and the cell itself (+1). The first text is empty, the last one begins a row without a number."""
    texts = [""]
    for close, opening in zip(("", *closes), (*openings, "</row>"), strict=True):
        texts += [absent, opening, close + absent, close + opening]
    return pc.from_strings([*texts, "<row>"])


@lru_cache(maxsize=8)
def _references(columns: int) -> tuple[str, ...]:
    return tuple(f'<c r="{column_letters(index)}' for index in range(columns))


@lru_cache(maxsize=8)
def _letter_counts(columns: int) -> NDArray[np.int64]:
    return np.array([len(column_letters(index)) for index in range(columns)])


def _places(
    length: int, numbered: NDArray[np.int32] | None, values: NDArray[np.int32], unnumbered_row: int
) -> NDArray[np.int32]:
    """For each row the places of: its opening; for each cell what stands before it, the row's number with the head (if
    ``numbered``, where those of each column start), and the value (where those of each column start); the row's end."""
    step = 2 if numbered is None else 3
    columns = len(values)
    row = np.arange(length, dtype=np.int32)[:, np.newaxis]
    places = np.empty((length, 2 + step * columns), np.int32)
    places[:, :1] = unnumbered_row if numbered is None else row + (unnumbered_row + 1)
    places[:, 1::step] = 4 * np.arange(1, columns + 2, dtype=np.int32)  # the fourth text of each
    if numbered is not None:
        places[:, 2::step] = row + numbered
    places[:, step::step] = row + values
    return places


def _leave_out_absent(places: NDArray[np.int32], rows: Rows) -> None:
    """Replace the places of absent cells' texts, and of the texts around them."""
    some = [(at, present) for (at, _), present in zip(rows.groups, rows.present, strict=True) if present is not None]
    if sum(len(at) for at, _ in some) <= _ONE_BY_ONE:
        for at, present in some:
            for column, cells in zip(at.tolist(), present, strict=True):
                _leave_out(places, rows, column, cells[:, np.newaxis])
        return
    all_present = np.ones((rows.length, rows.columns), np.bool_)
    for at, present in some:
        all_present[:, at] = present.T
    _leave_out(places, rows, 0, all_present)


def _leave_out(places: NDArray[np.int32], rows: Rows, first: int, present: NDArray[np.bool_]) -> None:
    """Leave out the cells of columns from ``first`` that are not ``present`` (rows, columns)."""
    step = 2 if rows.first_row is None else 3
    start, stop = step * first, step * (first + present.shape[1])
    kept = present.view(np.int8)
    absent = kept ^ 1
    places[:, start + 1 : stop + 1 : step] -= absent
    places[:, start + 1 + step : stop + 1 + step : step] -= absent << 1
    for item in range(2, step + 1):
        places[:, start + item : stop + item : step] *= kept


def _table(before: str, numbers: NDArray[np.void] | pa.Array, after: str) -> pa.Array:
    """Each of ``numbers`` between two constants."""
    if isinstance(numbers, pa.Array):
        return join(before, numbers, after)
    width = numbers.dtype.itemsize
    line = before.encode() + bytes(width) + after.encode()
    matrix = np.frombuffer(bytearray(line * len(numbers)), np.uint8).reshape(-1, len(line))
    matrix.view(_field(len(before), width, len(line)))["field"][:, 0] = numbers
    return fixed_width_text(matrix)


def _field(offset: int, width: int, line: int) -> np.dtype[Any]:
    return np.dtype({"names": ["field"], "formats": [f"V{width}"], "offsets": [offset], "itemsize": line})


def _row_numbers(first: int, count: int) -> NDArray[np.void] | pa.Array:
    """The texts of ``count`` ascending numbers: a field if they have the same width, else strings."""
    numbers = np.arange(first, first + count, dtype=np.int32)
    width = common_width(numbers)
    if width is None:  # at most once per number of digits
        return pc.cast(pc.from_numpy(numbers), pa.string())
    return digits(numbers, width).view(f"V{width}").ravel()


def _lengths(part: str | tuple[str, ...], columns: int) -> NDArray[np.int64]:
    return np.full(columns, len(part)) if isinstance(part, str) else np.array([len(one) for one in part])


def _bytes(rows: pa.Array) -> memoryview:
    offsets, _ = string_window(rows)
    return memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]]
