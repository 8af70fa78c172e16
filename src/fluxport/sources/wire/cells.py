"""Converts cells to Arrow arrays, the columns of one type of a block at a time.

A slice of many columns has few rows, so a call per column would cost more than its cells. Columns of equal type are
therefore one array, column after column, until it is cut into its columns::

    columns   a: c0 c1 c2    d: c0 c1 c2          two columns of three rows
    cells     |a0|a1|a2|d0|d1|d2|                 positions, sizes, values and texts of all of them

Arrow itself copies cells of varying length: the receive buffer becomes the data of a binary array whose elements are,
in turn, a cell and the gap after it; ``take`` then selects every other element. All lengths have been compared with the
ends of their rows before.
::

    buffer    ..[..3foo..].[..2hi......].[..4quux.]..
    edges          ^  ^       ^ ^           ^   ^       offsets of one binary array of 2 * cells - 1 elements
    elements       foo gap    hi gap        quux        take(0, 2, 4) -> foo, hi, quux
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_groups import Groups, cut
from fluxport.findings import Findings
from fluxport.sources.wire.blocks import Block, Mask, Numbers, Positions

Sizes: TypeAlias = npt.NDArray[Any]  # integers of any width


class Place(NamedTuple):
    """The cells of one column: that of row i begins at ``base[i] + offset`` and has ``sizes[i]`` bytes (None: of fixed
    width), 0 where it is null (not ``valid``)."""

    base: Positions
    offset: int
    sizes: Any  # Sizes, or None
    valid: Mask | None


class CellColumn(Protocol):
    """What a column of any protocol has: ``kind`` chooses the converter, ``arrow`` is what it makes."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def arrow(self) -> pa.DataType: ...


C = TypeVar("C", bound=CellColumn)


@dataclass(frozen=True)
class Cells(Generic[C]):
    """The cells of ``columns``, of one type, column after column: ``at`` is the first byte of each, ``sizes`` its bytes
    (0 where null; empty for types of fixed width). ``valid`` is None where no cell is null.
    """

    block: Block
    columns: Sequence[C]
    findings: Findings
    at: Positions
    sizes: Positions
    valid: Mask | None

    @property
    def column(self) -> C:
        """Any of the columns, for what they have in common."""
        return self.columns[0]

    def __len__(self) -> int:
        return len(self.at)

    def count(self, code: str, hits: Mask) -> None:
        """Report the cells that are ``hits`` and not null, by column."""
        if self.valid is not None:
            hits = hits & self.valid
        if hits.any():
            for column, hit in zip(self.columns, hits.reshape(len(self.columns), -1), strict=True):
                self.findings.add(code, column.name, int(np.count_nonzero(hit)))

    def apart(self) -> Iterator[Cells[C]]:
        """The cells of each column."""
        rows = len(self.block)
        for index, column in enumerate(self.columns):
            own = slice(index * rows, (index + 1) * rows)
            valid = None if self.valid is None else self.valid[own]
            yield Cells(self.block, [column], self.findings, self.at[own], self.sizes[own], valid)

    def without(self, code: str, usable: Mask) -> Cells[C]:
        """These cells, null where not ``usable``; those that become null are counted."""
        self.count(code, ~usable)
        return replace(self, valid=usable if self.valid is None else usable & self.valid)


Convert: TypeAlias = Callable[[Cells[C]], pa.Array]


def arrays(
    block: Block,
    places: Sequence[Place],
    columns: Sequence[C],
    alike: Groups,
    findings: Findings,
    converters: Mapping[str, Convert[C]],
) -> list[pa.Array]:
    """One array per column; each group of columns (``alike``) is converted at once, by the converter of its kind."""
    found: list[pa.Array] = [None] * len(columns)
    alone = block.owned  # a huge row
    for group in [[index] for index in range(len(columns))] if alone else alike.of(len(block)):
        cells = _cells(block, [columns[i] for i in group], [places[i] for i in group], findings)
        converted = converters[cells.column.kind](cells)
        for index, array in zip(group, cut(converted, len(group)), strict=True):
            found[index] = array
    return found


def _cells(block: Block, columns: Sequence[C], places: Sequence[Place], findings: Findings) -> Cells[C]:
    if len(places) == 1:
        (place,) = places
        at, sizes, valid = place.base + place.offset, place.sizes, place.valid
    else:
        rows = len(block)
        at = np.concatenate([place.base for place in places])
        by_column = at.reshape(-1, rows)
        by_column += np.array([place.offset for place in places])[:, None]
        sizes = None if places[0].sizes is None else np.concatenate([place.sizes for place in places])
        valid = None
        if any(place.valid is not None for place in places):
            valid = np.concatenate([np.ones(rows, np.bool_) if p.valid is None else p.valid for p in places])
    return Cells(block, columns, findings, at, _NO_SIZES if sizes is None else sizes.astype(np.int64), valid)


_NO_SIZES = np.empty(0, np.int64)


def packed(cells: Cells[C], skip: int = 0) -> pa.Array:
    """The bytes of the cells (without their first ``skip``) as a binary array without nulls."""
    block = cells.block
    rows = len(cells)
    edges = np.empty((rows, 2), np.int32)
    edges[:, 0] = cells.at
    if skip:
        edges[:, 0] += np.minimum(skip, cells.sizes).astype(np.int32)
    np.add(cells.at, cells.sizes, out=edges[:, 1], casting="unsafe")
    gapped = pa.Array.from_buffers(pa.binary(), 2 * rows - 1, [None, pa.py_buffer(edges), block.window.arrow])
    return gapped if block.owned and rows == 1 else pc.take(gapped, _even(rows))


_EVEN_ROWS = 1 << 12


def _even(rows: int) -> pa.Array:
    return _even_numbers(rows) if rows > _EVEN_ROWS else _first_even_numbers()[:rows]


@cache
def _first_even_numbers() -> pa.Array:
    return _even_numbers(_EVEN_ROWS)


def _even_numbers(count: int) -> pa.Array:
    return pc.from_numpy(np.arange(0, 2 * count, 2, dtype=np.int32))


def bitmap(valid: Mask | None) -> Any:
    """``valid`` as Arrow's validity buffer."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def fixed(arrow: pa.DataType, values: Numbers, valid: Mask | None) -> pa.Array:
    """``values`` (of the width of ``arrow``) as an array; values that are not valid become 0."""
    if valid is not None:
        values[~valid] = 0
    return pa.Array.from_buffers(arrow, len(values), [bitmap(valid), pa.py_buffer(np.ascontiguousarray(values))])


def with_type(cells: Cells[C], binary: pa.Array, arrow: pa.DataType) -> pa.Array:
    """The buffers of a binary array as ``arrow`` (a type of the same layout), with the cells' nulls."""
    return pa.Array.from_buffers(arrow, len(binary), [bitmap(cells.valid), *binary.buffers()[1:]])


def to_bytes(cells: Cells[C]) -> pa.Array:
    return with_type(cells, packed(cells), pa.binary())


def to_text(cells: Cells[C]) -> pa.Array:
    """UTF-8; invalid bytes become U+FFFD and are counted. For most blocks one check of the whole buffer is enough."""
    texts = with_type(cells, packed(cells), pa.utf8())
    data = content(texts)
    if not data.size or data.max() < 0x80:
        return texts
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired(cells, texts)
    return texts


def content(array: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all cells of a binary or string array, concatenated."""
    _, offsets, data = array.buffers()
    if data is None:
        return np.empty(0, np.uint8)
    edges = np.frombuffer(offsets, np.int32, len(array) + 1)
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]]


def _repaired(cells: Cells[C], texts: pa.Array) -> pa.Array:
    values: list[str | None] = []
    invalid = np.zeros(len(texts), np.bool_)
    for index, raw in enumerate(pa.Array.from_buffers(pa.binary(), len(texts), texts.buffers()).to_pylist()):
        try:
            values.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            values.append(raw.decode(errors="replace"))
            invalid[index] = True
    cells.count("invalid_text_replaced", invalid)
    return pa.array(values, pa.utf8())
