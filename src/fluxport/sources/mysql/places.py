"""Where the cells of a block are: the step that is taken column by column, as a cell lies where the one before it ends.

The position of a cell differs from row to row, so ``base`` is an array with one position per row. Only cells of varying
size and NULLs move it; what all rows have in common is added to ``offset``::

    buffer    ..[00 bm 07000000 3foo..]..[00 bm 08000000 1x..]..
    base        ^                        ^                         the rows' starts
    offset             2        7                                  base + 7: foo, x; sizes 3, 1
    next base   ...  + sizes: 3 and 1 further; offset 7

A length is first taken to be one byte, the usual case. Where one is not (cells of 251 bytes and more) or the rows do
not end where they should, all columns of the block are located again, every length with care; columns with such cells
are then measured with care from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fluxport.arrow_groups import Groups
from fluxport.errors import LimitExceeded
from fluxport.findings import Findings
from fluxport.sources.errors import cell_too_large
from fluxport.sources.mysql.columns import Column
from fluxport.sources.wire.blocks import Block, Mask, Positions
from fluxport.sources.wire.cells import Place, Sizes
from fluxport.sources.wire.malformed import Malformed

_NULL = 0xFB  # in place of a length, in the text protocol
_ONE_BYTE_MAX = 250  # the longest cell whose length is one byte
_MOMENT_MAX = 12  # bytes of a TIME, which no limit of cells is about; such short texts are checked as arrays
_SIZES = np.arange(256, dtype=np.int64)  # of cells by their first byte, in the text protocol
_SIZES[_NULL] = 0


@dataclass(frozen=True)
class Context:
    """Inputs of decoding besides the bytes. ``wide`` collects the columns with a cell of 251 bytes or more."""

    columns: Sequence[Column]
    findings: Findings
    cell_bytes_max: int
    wide: set[int] = field(default_factory=set)

    @cached_property
    def alike(self) -> Groups:
        """The columns whose cells are read alike."""
        return Groups([column.alike for column in self.columns])


def in_binary(
    block: Block, widths: Sequence[int], nulls: Sequence[Mask | None], start: int, context: Context
) -> list[Place]:
    """The places of rows of the binary protocol, whose first cell is ``start`` bytes after the row's start.

    ``widths``: bytes of each column's cells, 0 where they begin with their length; ``nulls``: where a column is not
    null, None if nowhere. Malformed if the rows do not match the columns.
    """

    def located(careful: Collection[int]) -> list[Place] | None:
        data, base, offset = block.window.bytes, block.starts, start
        places = []
        for index, (width, valid) in enumerate(zip(widths, nulls, strict=True)):
            if width:
                places.append(Place(base, offset, None, valid))
                if valid is None:
                    offset += width
                else:
                    base = base + valid * np.int64(width)
                continue
            if index in careful:
                place = _measured(block, index, base + offset, valid, context)
            else:
                sizes = data[offset:].take(base, mode="clip")  # outside the buffer if a guess is wrong: found out below
                if valid is None:
                    place = Place(base, offset + 1, sizes, None)
                else:
                    sizes *= valid
                    place = Place(base + valid, offset, sizes, valid)
            places.append(place)
            base, offset = place.base + place.sizes, place.offset
        short = [p.sizes for i, p in enumerate(places) if p.sizes is not None and i not in careful]
        return places if _fits(block, base + offset, short, context) else None

    return _guessed(located, len(widths), context)


def in_text(block: Block, columns: int, context: Context) -> list[Place]:
    """The places of rows of the text protocol; Malformed if the rows do not match the columns."""

    def located(careful: Collection[int]) -> list[Place] | None:
        data, base, offset = block.window.bytes, block.starts, 0
        places = []
        short = []
        for index in range(columns):
            if index in careful:
                at = base + offset
                valid = data[at] != _NULL
                place = _measured(block, index, at, None if valid.all() else valid, context, null_bytes=1)
                base = place.base + place.sizes
                offset = 0
            else:
                first = data[offset:].take(base, mode="clip")
                offset += 1
                place = Place(base, offset, first, None)
                short.append(index)
                base = base + _SIZES.take(first)
            places.append(place)
        _mark_nulls(places, short)
        sizes = [places[index].sizes for index in short]
        return places if _fits(block, base + offset, sizes, context) else None

    return _guessed(located, columns, context)


def _mark_nulls(places: list[Place], short: Sequence[int]) -> None:
    """Replace the mark of NULL in the sizes of the columns ``short``."""
    if not short:
        return
    nulls = np.stack([places[index].sizes for index in short]) == _NULL
    for row in np.flatnonzero(nulls.any(axis=1)).tolist():
        place = places[short[row]]
        valid = ~nulls[row]
        places[short[row]] = place._replace(sizes=place.sizes * valid, valid=valid)


def _guessed(located: Callable[[Collection[int]], list[Place] | None], columns: int, context: Context) -> list[Place]:
    try:
        places = located(context.wide)
    except (Malformed, IndexError, LimitExceeded):  # measured at a place that a wrong guess led to, or rightly so
        places = None
    if places is None:
        places = located(range(columns))
    if places is None:
        raise Malformed
    return places


def _fits(block: Block, after: Positions, short: Sequence[Sizes], context: Context) -> bool:
    """Whether the rows end where their last cells do, and each of the lengths ``short`` is one byte."""
    if (
        short
        and len(block)
        and np.concatenate(short).max() > min(_ONE_BYTE_MAX, max(context.cell_bytes_max, _MOMENT_MAX))
    ):
        return False
    return np.array_equal(after, block.ends)


def _measured(
    block: Block, index: int, at: Positions, valid: Mask | None, context: Context, *, null_bytes: int = 0
) -> Place:
    """The cells of a column that begin at ``at`` with their length, of any size; a NULL takes ``null_bytes``."""
    first = block.window.bytes[at]
    sizes = first.astype(np.int64)
    begin = at + 1
    if valid is not None:
        sizes[~valid] = 0
        begin = at + np.where(valid, 1, null_bytes)
        first = np.where(valid, first, 0)
    if len(first) and first.max() > _ONE_BYTE_MAX:
        context.wide.add(index)
        _read_long_sizes(block, first, at, begin, sizes)
    if (begin + sizes > block.ends).any():
        raise Malformed
    if len(first) and (largest := int(sizes.max())) > max(context.cell_bytes_max, _MOMENT_MAX):
        row = block.first_row + int(sizes.argmax())
        raise cell_too_large(context.columns[index].name, row, largest, context.cell_bytes_max)
    return Place(begin, 0, sizes, valid)


def _read_long_sizes(
    block: Block, first: npt.NDArray[np.uint8], at: Positions, begin: Positions, sizes: Positions
) -> None:
    """Store lengths of 251 bytes and more (2, 3 or 8 bytes after the mark 0xFC, 0xFD or 0xFE) in ``sizes``, and in
    ``begin`` where these cells begin."""
    for mark, width, mask in ((0xFC, 2, 0xFFFF), (0xFD, 3, 0xFFFFFF), (0xFE, 8, 0xFFFFFFFFFFFFFFFF)):
        marked = np.flatnonzero(first == mark)
        if len(marked):
            places = at[marked] + 1
            if (places + width > block.ends[marked]).any():
                raise Malformed
            sizes[marked] = block.window.numbers[4 if width == 3 else width][places] & mask
            begin[marked] += width
    # A length with its highest bit set is negative here; no row reaches 2 GiB.
    if (first == 0xFF).any() or (first == _NULL).any() or ((sizes < 0) | (sizes > 0x7FFFFFFF)).any():
        raise Malformed
