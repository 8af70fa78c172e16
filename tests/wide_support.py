"""Rows of a thousand columns of six types in turn, as typed values and as a SELECT of MySQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

import pyarrow as pa

COLUMNS = 1000
TYPES = (pa.int64(), pa.decimal128(12, 2), pa.string(), pa.timestamp("s"), pa.float64(), pa.string())
BEGIN = datetime(2020, 1, 1)

Value: TypeAlias = int | Decimal | str | datetime | float | None


def value(column: int, row: int) -> Value:
    """The value of a column, from 0, in a row, from 1."""
    values: tuple[Value, ...] = (
        row * 1_000_003 - column,
        Decimal(row * 999_983 - column * 7919).scaleb(-2),
        f"täxt {row} of {column}",
        BEGIN + timedelta(seconds=row * 86_399 + column),
        row * 0.1 * (column + 1),
        None if (row + column) % 3 == 0 else f"note {row + column}",
    )
    return values[column % 6]


def query(numbers: str) -> str:
    """The same values; ``numbers`` has a column ``n``, the number of the row."""
    terms = (
        "CAST(n * 1000003 - {k} AS SIGNED)",
        "CAST((n * 999983 - {k} * 7919) * 0.01 AS DECIMAL(12,2))",
        "CONCAT('täxt ', n, ' of {k}')",
        "CAST('2020-01-01 00:00:00' AS DATETIME) + INTERVAL (n * 86399 + {k}) SECOND",
        "n * 0.1e0 * ({k} + 1)",
        "IF((n + {k}) % 3 = 0, NULL, CONCAT('note ', n + {k}))",
    )
    columns = ", ".join(f"{terms[k % 6].format(k=k)} AS c{k}" for k in range(COLUMNS))
    return f"SELECT {columns} FROM {numbers} ORDER BY n"


def table(rows: int) -> pa.Table:
    arrays = [pa.array([value(k, row) for row in range(1, rows + 1)], TYPES[k % 6]) for k in range(COLUMNS)]
    return pa.table(arrays, names=[f"c{k}" for k in range(COLUMNS)])
