"""Where the cells of rows in COPY's binary form are: column by column, as a cell lies where the one before it ends.

::

    row       00 03 | 00000004 0000002a | 00000003 "foo" | ffffffff        3 columns: 42, 'foo', NULL
    base      ^                                                            the position of each row
    offset       2         2 + 4 = 6                                       base + 6: 42; then base + 10 + 4: foo
    next base                              ... + 3: the sizes of a column of varying size move each row's position

A column of fixed width is first taken to have no NULLs and moves nothing. The lengths before its cells are compared
with the width afterwards, for many columns at once; if one differs, all columns are located again, and the columns
with NULLs are from then on located with care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fluxport.arrow_groups import Groups
from fluxport.sources.postgres.columns import Column
from fluxport.sources.wire.blocks import Block, Mask, Numbers
from fluxport.sources.wire.cells import Place
from fluxport.sources.wire.malformed import Malformed

COUNT_BYTES, LENGTH_BYTES = 2, 4  # of a row's number of columns; of a cell's length


@dataclass(frozen=True)
class Context:
    """Inputs of decoding besides the bytes. ``nullable`` collects the columns of fixed width that had a NULL."""

    columns: Sequence[Column]
    nullable: set[int] = field(default_factory=set)

    @cached_property
    def alike(self) -> Groups:
        """The columns whose cells are read alike."""
        return Groups([column.alike for column in self.columns])


def places(block: Block, context: Context) -> list[Place]:
    """The places of the cells of each column; Malformed if the rows do not match the columns."""
    try:
        found = _located(block, context)
    except (Malformed, IndexError):  # read at a place that a wrong guess led to, or rightly so
        found = None
    if found is None:
        context.nullable.update(index for index, column in enumerate(context.columns) if column.width)
        found = _located(block, context)
        if found is None:
            raise Malformed
        nullable = [index for index in context.nullable if found[index].valid is not None]
        context.nullable.clear()
        context.nullable.update(nullable)
    return found


def _located(block: Block, context: Context) -> list[Place] | None:
    """None if a column that was taken to have no NULLs has some."""
    lengths = block.window.numbers[LENGTH_BYTES]
    base, offset = block.starts, COUNT_BYTES
    found: list[Place] = []
    guessed: list[int] = []
    sized: dict[int, Numbers] = {}
    for index, column in enumerate(context.columns):
        if column.width and index not in context.nullable:
            found.append(Place(base, offset + LENGTH_BYTES, None, None))
            guessed.append(index)
            offset += LENGTH_BYTES + column.width
            continue
        # As signed numbers, NULL is -1.
        sizes = lengths[base + offset].astype(np.int32)
        sized[index] = sizes
        offset += LENGTH_BYTES
        found.append(Place(base, offset, None if column.width else sizes, None))
        base = base + np.maximum(sizes, 0)
    if not np.array_equal(base + offset, block.ends):
        return None
    if not _have_widths(block, [found[index] for index in guessed], [context.columns[i].width for i in guessed]):
        return None
    _mark_nulls(found, sized, context.columns)
    return found


def _have_widths(block: Block, guessed: Sequence[Place], widths: Sequence[int]) -> bool:
    """Whether each cell of these columns has the width of its column."""
    if not guessed:
        return True
    at = np.stack([place.base for place in guessed])
    at += np.array([place.offset - LENGTH_BYTES for place in guessed])[:, None]
    return bool((block.window.numbers[LENGTH_BYTES][at] == np.array(widths)[:, None]).all())


def _mark_nulls(found: list[Place], sized: dict[int, Numbers], columns: Sequence[Column]) -> None:
    """Set ``valid`` of the columns that have NULLs, and check the other lengths."""
    if not sized:
        return
    least = np.stack(list(sized.values())).min(axis=1)
    if least.min() < -1:
        raise Malformed
    for (index, sizes), smallest in zip(sized.items(), least.tolist(), strict=True):
        valid: Mask | None = None if smallest >= 0 else sizes >= 0
        width = columns[index].width
        if width:
            if not ((sizes == width) | (sizes == -1)).all():
                raise Malformed
            found[index] = found[index]._replace(valid=valid)
        elif valid is not None:
            found[index] = found[index]._replace(sizes=np.maximum(sizes, 0), valid=valid)
