"""Columns of cells joined into rows of sheet XML.

A row is a sequence of constant text, the row's number (in every reference: ``<c r="B123">``) and values. Everything
with the same width in all rows of the slice (constants, row numbers with the same number of digits, and values such as
dates, codes and most ids) needs no join: it is a field of a byte matrix with one line per row, and one assignment
writes the whole field. Only values of varying width go through the join, which is the expensive step:

            piece: a byte matrix, one line per row          piece
            |                                      | value  |
    row 0   <row r="|1234|"><c r="A|1234|" s="1"><v>| 45.5  |</v></c><c r="B|1234|" t="inlineStr"><is><t>| ...
    row 1   <row r="|1235|"><c r="A|1235|" s="1"><v>| 7     |</v></c><c r="B|1235|" t="inlineStr"><is><t>| ...
            const    field const    field const       join   const           field const

One thread builds the cells of a slice; another writes the pieces, joins and deflates them, so few rows at a time that
they stay in its processor's cache. Matrices are reused, so their constants are written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import valid_rows
from fluxport.digits import common_width, digits
from fluxport.formats.text import string_window
from fluxport.formats.xlsx.cells import Cells
from fluxport.formats.xlsx.kernels import join, strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # A part of every row: a constant, a field of fixed width (one item of dtype V<width> per row), or strings.
    Item: TypeAlias = str | NDArray[np.void] | pa.Array


ROWS_JOINED = 2048  # maximum; a slice with many columns has fewer rows


def column_letters(index: int) -> str:
    """``A`` for 0, ``AA`` for 26."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


class Lines(NamedTuple):
    """A piece of each row: constants and fields; with ``present``, only in the rows where that is true."""

    items: list[Item]
    present: NDArray[np.bool_] | None = None

    @property
    def size(self) -> int:
        width = sum(len(item) if isinstance(item, str) else item.dtype.itemsize for item in self.items)
        rows = next(len(item) for item in self.items if not isinstance(item, str))
        return width * (rows if self.present is None else int(np.count_nonzero(self.present)))


class Rows(NamedTuple):
    """The XML of ``length`` rows before the join: the parts of each row, with ``null`` in place of a null."""

    length: int
    parts: list[str | pa.Array | Lines]
    null: str

    @property
    def size(self) -> int:
        """The bytes of all rows."""
        return sum(self._size_of(part) for part in self.parts)

    def _size_of(self, part: str | pa.Array | Lines) -> int:
        if isinstance(part, str):
            return self.length * len(part)
        if isinstance(part, Lines):
            return part.size
        if part.null_count:
            present: int = pc.sum(pc.binary_length(part)).as_py() or 0
            nulls: int = part.null_count
            return present + nulls * len(self.null)
        offsets, _ = string_window(part)
        return int(offsets[-1]) - int(offsets[0])


class Joiner:
    """Joins rows, in one thread at a time; each result is valid until the next one is requested."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[str | int, ...], _Piece] = {}

    def joined(self, rows: Rows) -> Iterator[memoryview]:
        """The bytes of ``rows``, ROWS_JOINED rows at a time."""
        for start in range(0, rows.length, ROWS_JOINED):
            window = slice(start, min(start + ROWS_JOINED, rows.length))
            parts = [self._part(part, window) for part in rows.parts]
            yield _bytes(parts[0] if len(parts) == 1 else join(*parts, null=rows.null))
        layouts = {_layout(part.items) for part in rows.parts if isinstance(part, Lines)}
        self._pieces = {layout: piece for layout, piece in self._pieces.items() if layout in layouts}

    def _part(self, part: str | pa.Array | Lines, window: slice) -> str | pa.Array:
        if isinstance(part, str):
            return part
        if not isinstance(part, Lines):
            return part.slice(window.start, window.stop - window.start)
        layout, count = _layout(part.items), window.stop - window.start
        piece = self._pieces.get(layout)
        if piece is None or len(piece) < count:
            piece = self._pieces[layout] = _Piece(layout, count)
        piece.write([item[window] for item in part.items if not isinstance(item, str)])
        return piece.all(count) if part.present is None else piece.some(part.present[window])


def _layout(items: Sequence[Item]) -> tuple[str | int, ...]:
    """The layout of a piece; its constants include the column's letters, so it is unique within a row."""
    return tuple(item if isinstance(item, str) else item.dtype.itemsize for item in items)


def compact_rows(columns: Sequence[Cells]) -> Rows:
    """Rows without references; a cell's position identifies it, so an absent one is an empty element."""
    parts: list[Any] = []
    before = "<row>"
    for head, values, close in columns:
        if values.null_count:
            parts += [before, join(f"<c{head}", values, close)]
            before = ""
        else:
            parts += [f"{before}<c{head}", values]
            before = close
    return Rows(len(columns[0].values), [*parts, f"{before}</row>"], "<c/>")


def referenced_rows(columns: Sequence[Cells], first_row: int) -> Rows:
    """Rows from ``first_row``, ``r="A1"`` on every cell; at least one column, all of the same length, not empty."""
    count = len(columns[0].values)
    letters = _letters(len(columns))
    number = _row_numbers(first_row, count)
    if isinstance(number, pa.Array):  # at most once per number of digits
        return Rows(count, _plain_row(letters, columns, number), "")
    row: list[Item | Lines] = ['<row r="', number, '">']
    for letter, cells in zip(letters, columns, strict=True):
        row += _cell([f'<c r="{letter}', number, f'"{cells.head}'], cells)
    return Rows(count, _parts([*row, "</row>"]), "")


@lru_cache(maxsize=8)
def _letters(columns: int) -> list[str]:
    return [column_letters(index) for index in range(columns)]


def _cell(opening: list[Item], cells: Cells) -> list[Item | Lines]:
    """The items of a column's cells; a cell is empty where its value is null."""
    field = _fixed_width(cells.values)
    inside: list[Item] = [cells.values if field is None else field, cells.close]
    if not cells.values.null_count:
        return [*opening, *inside]
    present = valid_rows(cells.values)
    if field is not None:
        return [Lines([*opening, *inside], present)]
    ends = np.zeros(len(present) + 1, np.int32)
    np.cumsum(present, out=ends[1:])
    closes = (cells.close * int(ends[-1])).encode()
    return [Lines(opening, present), cells.values, strings(ends * len(cells.close), closes)]


def _parts(row: Sequence[Item | Lines]) -> list[str | pa.Array | Lines]:
    """``row`` with adjacent items that need no join merged into one piece."""
    parts: list[str | pa.Array | Lines] = []
    held: list[Item] = []
    for item in row:
        if not isinstance(item, pa.Array | Lines):
            held.append(item)
            continue
        if held:
            parts.append(_piece_of(held))
            held = []
        parts.append(item)
    return [*parts, _piece_of(held)]


def _piece_of(items: list[Item]) -> str | Lines:
    if all(isinstance(item, str) for item in items):
        return "".join(str(item) for item in items)
    return Lines(items)


class _Piece:
    """A byte matrix with ``count`` lines, each with the constants (str) and fields (their widths) of ``layout``::

    layout   ('<c r="B', 4, '" s="1"><v>')
    line     <c r="B????" s="1"><v>         written once; ???? is a view of the field in all lines
    offsets  0, 22, 44, ...                 so the lines are Arrow strings without a copy
    """

    def __init__(self, layout: Sequence[str | int], count: int) -> None:
        line = b"".join(item.encode() if isinstance(item, str) else bytes(item) for item in layout)
        widths = [len(item) if isinstance(item, str) else item for item in layout]
        ends = np.cumsum(widths).tolist()
        self._lines = np.full(count, np.void(line), f"V{len(line)}")
        self._offsets = np.arange(count + 1, dtype=np.int32) * len(line)
        self._fields = [
            self._lines.view(_field(end - width, width, len(line)))["field"]
            for item, width, end in zip(layout, widths, ends, strict=True)
            if isinstance(item, int)
        ]

    def __len__(self) -> int:
        return len(self._lines)

    def write(self, fields: Sequence[Any]) -> None:
        for target, field in zip(self._fields, fields, strict=True):
            target[: len(field)] = field

    def all(self, count: int) -> pa.Array:
        """The first ``count`` lines, until the next :meth:`write`."""
        return strings(self._offsets[: count + 1], self._lines)

    def some(self, present: NDArray[np.bool_]) -> pa.Array:
        """The lines that are ``present``; the others are empty strings."""
        ends = np.zeros(len(present) + 1, np.int32)
        np.cumsum(present, out=ends[1:])
        return strings(ends * self._lines.itemsize, self._lines[: len(present)][present])


def _field(offset: int, width: int, line: int) -> np.dtype[Any]:
    return np.dtype({"names": ["field"], "formats": [f"V{width}"], "offsets": [offset], "itemsize": line})


def _plain_row(letters: Sequence[str], columns: Sequence[Cells], number: pa.Array) -> list[Any]:
    """The parts of rows whose numbers differ in their digits."""
    parts: list[Any] = ['<row r="', number, '">']
    for name, (head, values, close) in zip(letters, columns, strict=True):
        cell = [f'<c r="{name}', number, f'"{head}', values, close]
        parts += [join(*cell)] if values.null_count else cell
    return [*parts, "</row>"]


def _row_numbers(first: int, count: int) -> NDArray[np.void] | pa.Array:
    """The texts of ``count`` ascending numbers: a field if they have the same width, else strings."""
    numbers = np.arange(first, first + count, dtype=np.int32)
    width = common_width(numbers)
    if width is None:
        return pc.cast(pc.from_numpy(numbers), pa.string())
    return digits(numbers, width).view(f"V{width}").ravel()


def _fixed_width(values: pa.Array) -> NDArray[np.void] | None:
    """Strings as a field if they all have the same width, including the bytes under nulls; else None."""
    offsets, data = string_window(values)
    width = int(offsets[1] - offsets[0])
    if not width or offsets[-1] - offsets[0] != width * len(values) or not (np.diff(offsets) == width).all():
        return None
    return data[offsets[0] : offsets[-1]].view(f"V{width}")


def _bytes(rows: pa.Array) -> memoryview:
    offsets, _ = string_window(rows)
    return memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]]
