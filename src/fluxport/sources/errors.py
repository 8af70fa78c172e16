"""The errors that every source raises alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxport.errors import Canceled, LimitExceeded, QueryFailed, Refused, TimedOut

if TYPE_CHECKING:
    import pyarrow as pa

ROW_CELLS_MAX = 4  # a row may be this many times the largest allowed cell


def canceled() -> Canceled:
    """The error of a read after close()."""
    return Canceled("The export was aborted.")


def late() -> TimedOut:
    """The error of a query that has reached its deadline."""
    return TimedOut(
        "The query did not end within its time limit; export fewer rows or raise it.", code="deadline", again=False
    )


def several_statements(detail: str | None = None) -> QueryFailed:
    return QueryFailed("The query must be a single statement.", code="syntax_error", detail=detail)


def no_result_set() -> Refused:
    return Refused("The statement returns no rows; an export takes a SELECT.", code="no_result_set")


def cell_too_large(name: str, row: int, size: int, limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"Column {name!r}, row {row:,} holds a cell of {size:,} bytes; the limit is {limit:,}. "
        "Leave the column out, shorten it in the query, or raise cell_bytes_max.",
        code="cell_too_large",
    )


def row_too_large(row: int, limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"Row {row:,} has more than {limit:,} bytes; leave columns out, shorten them in the query, or raise "
        "cell_bytes_max.",
        code="row_too_large",
    )


def check_cells(batch: pa.RecordBatch, limit: int, rows_before: int) -> None:
    """LimitExceeded names the row (from 1) and the column of a text or binary cell of more than ``limit`` bytes."""
    # The size of whole buffers is found 30 times faster than that of the batch's part of them.
    if batch.get_total_buffer_size() <= limit or batch.nbytes <= limit:
        return
    from pyarrow import types

    from fluxport import compute as pc

    kinds = (types.is_string, types.is_binary, types.is_large_string, types.is_large_binary)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not any(is_kind(column.type) for is_kind in kinds):
            continue
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > limit:
            raise cell_too_large(name, rows_before + pc.index(lengths, longest).as_py() + 1, longest, limit)
