"""Columns of cells joined to rows of sheet XML.

A row is a sequence of constant text, the row's number (in every reference: ``<c r="B123">``) and values. Whatever is
equally long in all rows of the slice - constants, row numbers of equally many digits, and values such as dates, codes
and most ids - needs no join: it is a field of a matrix of bytes with one line per row, and a whole field is written by
one assignment. The matrices, called pieces, are kept from slice to slice, so their constants are written once. Only
values of varying length stand between pieces in the join, which is what takes the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.formats._digits import common_width, digits
from fluxport.formats._strings import valid_rows
from fluxport.formats.text import string_window
from fluxport.formats.xlsx.cells import Cells
from fluxport.formats.xlsx.kernels import join, strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Pieces: TypeAlias = "dict[tuple[str | int, ...], _Piece]"
    # A part of every row: a constant, a field of fixed width (one item of dtype V<width> per row), or strings.
    Item: TypeAlias = str | NDArray[np.void] | pa.Array


ROWS_JOINED = 1024


def column_letters(index: int) -> str:
    """``A`` for 0, ``AA`` for 26."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


class Rows(NamedTuple):
    """The XML of ``length`` rows, not joined yet: strings beside string arrays, ``null`` where one is null."""

    length: int
    parts: list[Any]
    null: str

    @property
    def size(self) -> int:
        """The bytes of all rows."""
        return sum(self._size_of(part) for part in self.parts)

    def _size_of(self, part: str | pa.Array) -> int:
        if isinstance(part, str):
            return self.length * len(part)
        if part.null_count:
            present: int = pc.sum(pc.binary_length(part)).as_py() or 0
            nulls: int = part.null_count
            return present + nulls * len(self.null)
        offsets, _ = string_window(part)
        return int(offsets[-1]) - int(offsets[0])

    def joined(self) -> Iterator[memoryview]:
        """The bytes, some rows at a time: what is joined is still in the processor's cache when it is deflated."""
        for start in range(0, self.length, ROWS_JOINED):
            parts = [part if isinstance(part, str) else part.slice(start, ROWS_JOINED) for part in self.parts]
            yield _bytes(parts[0] if len(parts) == 1 else join(*parts, null=self.null))


def compact_rows(columns: Sequence[Cells]) -> Rows:
    """Rows without references; the place of a cell says which it is, so a missing one is an empty element."""
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


class ReferencedRows:
    """Rows with ``r="A1"`` on every cell.

    The pieces of the slice ``ahead`` + 1 before are written again, as the layout of slices nearly always is the same:
    of the rows made for the last ``ahead`` slices and this one the bytes stay as they are.
    """

    def __init__(self, columns: int, ahead: int) -> None:
        self._letters = [column_letters(index) for index in range(columns)]
        self._kept: deque[_Pieces] = deque({} for _ in range(ahead + 1))
        self._used: _Pieces = {}

    def rows(self, columns: Sequence[Cells], first_row: int) -> Rows:
        """Rows ``first_row`` and on; ``columns`` are at least one, of equal length and not empty."""
        count = len(columns[0].values)
        number = _row_numbers(first_row, count)
        if isinstance(number, pa.Array):  # at most once per digit of a sheet's row numbers
            return Rows(count, _plain_row(self._letters, columns, number), "")
        self._used = {}
        row: list[Item] = ['<row r="', number, '">']
        for letters, cells in zip(self._letters, columns, strict=True):
            row += self._cell([f'<c r="{letters}', number, f'"{cells.head}'], cells)
        made = Rows(count, self._parts([*row, "</row>"], count), "")
        self._kept.popleft()
        self._kept.append(self._used)
        return made

    def _cell(self, opening: list[Item], cells: Cells) -> list[Item]:
        """The items of a column's cells, which are empty where the value is null."""
        field = _fixed_width(cells.values)
        inside: list[Item] = [cells.values if field is None else field, cells.close]
        if not cells.values.null_count:
            return opening + inside
        present = valid_rows(cells.values)
        ends = np.zeros(len(present) + 1, np.int32)
        np.cumsum(present, out=ends[1:])
        if field is not None:
            return [self._piece(opening + inside, len(present)).some(present, ends)]
        closes = (cells.close * int(ends[-1])).encode()
        return [
            self._piece(opening, len(present)).some(present, ends),
            cells.values,
            strings(ends * len(cells.close), closes),
        ]

    def _parts(self, row: list[Item], count: int) -> list[Any]:
        parts: list[Any] = []
        held: list[Item] = []
        for item in row:
            if not isinstance(item, pa.Array):
                held.append(item)
                continue
            if held:
                parts.append(self._part(held, count))
                held = []
            parts.append(item)
        return [*parts, self._part(held, count)]

    def _part(self, items: list[Item], count: int) -> str | pa.Array:
        if all(isinstance(item, str) for item in items):
            return "".join(str(item) for item in items)
        return self._piece(items, count).all()

    def _piece(self, items: list[Item], count: int) -> _Piece:
        """The piece of constants and fields ``items``; constants hold the column's letters, so no two are the same."""
        layout = (count, *(item if isinstance(item, str) else item.dtype.itemsize for item in items))
        piece = self._used[layout] = self._kept[0].get(layout) or _Piece(count, layout[1:])
        piece.write([item for item in items if not isinstance(item, str)])
        return piece


class _Piece:
    """A matrix of bytes, each line the constants (str) and fields (their widths) of ``layout``."""

    def __init__(self, count: int, layout: Sequence[str | int]) -> None:
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

    def write(self, fields: Sequence[Any]) -> None:
        for target, field in zip(self._fields, fields, strict=True):
            target[:] = field

    def all(self) -> pa.Array:
        return strings(self._offsets, self._lines)

    def some(self, present: NDArray[np.bool_], ends: NDArray[np.int32]) -> pa.Array:
        """The lines that are ``present``, of which ``ends`` counts those so far, and empty strings for the others."""
        return strings(ends * self._lines.itemsize, self._lines[present])


def _field(offset: int, width: int, line: int) -> np.dtype[Any]:
    return np.dtype({"names": ["field"], "formats": [f"V{width}"], "offsets": [offset], "itemsize": line})


def _plain_row(letters: Sequence[str], columns: Sequence[Cells], number: pa.Array) -> list[Any]:
    """The parts of rows whose numbers have not all equally many digits."""
    parts: list[Any] = ['<row r="', number, '">']
    for name, (head, values, close) in zip(letters, columns, strict=True):
        cell = [f'<c r="{name}', number, f'"{head}', values, close]
        parts += [join(*cell)] if values.null_count else cell
    return [*parts, "</row>"]


def _row_numbers(first: int, count: int) -> NDArray[np.void] | pa.Array:
    """The texts of ``count`` ascending numbers: a field if they are equally long, else strings."""
    numbers = np.arange(first, first + count, dtype=np.int32)
    width = common_width(numbers)
    if width is None:
        return pc.cast(pc.from_numpy(numbers), pa.string())
    return digits(numbers, width).view(f"V{width}").ravel()


def _fixed_width(values: pa.Array) -> NDArray[np.void] | None:
    """Strings as a field if they are all equally long, whatever lies under a null included."""
    offsets, data = string_window(values)
    width = int(offsets[1] - offsets[0])
    if not width or offsets[-1] - offsets[0] != width * len(values) or not (np.diff(offsets) == width).all():
        return None
    return data[offsets[0] : offsets[-1]].view(f"V{width}")


def _bytes(rows: pa.Array) -> memoryview:
    offsets, _ = string_window(rows)
    return memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]]
