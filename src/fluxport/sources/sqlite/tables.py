"""The tables of an SQLite file; their rows are estimated only where ANALYZE has run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fluxport.errors import QueryFailed
from fluxport.sources.tables import Query, TableColumn, TableInfo
from fluxport.stages import FIELD_TYPE

_NAMES = "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
# The first number of ``stat`` is that of the rows of the table, for each of its indexes.
_ROWS = "SELECT tbl, MAX(CAST(stat AS INTEGER)) AS n FROM sqlite_stat1 GROUP BY tbl"


def tables(query: Query) -> Iterator[TableInfo]:
    """A view that cannot be read, as when its table is gone, has no columns; a column without a declared type has
    an empty one."""
    kinds = _pairs(query, _NAMES)
    estimates = _pairs(query, _ROWS) if "sqlite_stat1" in kinds else {}
    for name, kind in kinds.items():
        if not name.startswith("sqlite_"):
            yield TableInfo(None, name, kind, estimates.get(name), _columns(query, name))


def _pairs(query: Query, statement: str) -> dict[str, Any]:
    names, values = (column.to_pylist() for column in query(statement).columns)
    return dict(zip(names, values, strict=True))


def _columns(query: Query, table: str) -> tuple[TableColumn, ...]:
    quoted = table.replace('"', '""')
    try:
        schema = query(f'SELECT * FROM "{quoted}" LIMIT 0').schema  # noqa: S608  a name of the file, quoted
    except QueryFailed:
        return ()
    types = ((field.metadata or {}).get(FIELD_TYPE, b"").decode() for field in schema)
    return tuple(
        TableColumn(name, "" if type_ == "null" else type_) for name, type_ in zip(schema.names, types, strict=True)
    )
