"""Errors for cells and rows beyond the limits of an export, the same for every source."""

from __future__ import annotations

from fluxport.errors import LimitExceeded

ROW_CELLS_MAX = 4  # a row may be this many times the largest allowed cell


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
