"""The order of a dataset's rows as its caller chooses it, and a page of them.

A NULL sorts as the smallest value, first ascending and last descending: MySQL and SQLite do so by themselves, and can
use an index for it; others are told to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fluxport.errors import Refused

ROWS_MAX = 2**53 - 1  # every number up to here is exact in JSON and in every database
_NULLS_SMALLEST = ("mssql", "mysql", "sqlite")  # by themselves; the first two have no NULLS FIRST
# SQLite reads an unknown name in double quotes as text, and the others every one, depending on settings.
_BACKTICKS = ("bigquery", "databricks", "mysql", "sqlite")
_FETCH = ("db2", "firebird", "mssql", "oracle")  # standard SQL instead of LIMIT


class SortKey(NamedTuple):
    column: str
    descending: bool = False


class Page(NamedTuple):
    """``limit`` rows behind ``offset`` others."""

    limit: int
    offset: int


def sort_keys(value: Any) -> list[SortKey]:
    """The keys of a sort: text such as ``-entryAt,id``, or a list of such names and of objects with ``column`` and
    ``descending``. Refused (``bad_sort``) for anything else."""
    if value is None:
        return []
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise _bad_sort()
    keys = [_sort_key(item) for item in items]
    if repeated := [name for name, number in Counter(key.column for key in keys).items() if number > 1]:
        raise Refused(f"'sort' has the column {repeated[0]!r} twice; name it once.", code="bad_sort")
    return keys


def _sort_key(item: Any) -> SortKey:
    if isinstance(item, str) and item.removeprefix("-"):
        return SortKey(item.removeprefix("-"), item.startswith("-"))
    if isinstance(item, Mapping) and {"column"} <= item.keys() <= {"column", "descending"}:
        key = SortKey(item["column"], item.get("descending", False))
        if isinstance(key.column, str) and isinstance(key.descending, bool):
            return key
    raise _bad_sort()


def _bad_sort() -> Refused:
    return Refused(
        "'sort' is a list of columns such as \"-placedAt\", or of objects such as "
        '{"column": "placedAt", "descending": true}.',
        code="bad_sort",
    )


def order_terms(keys: Sequence[SortKey], dialect: str) -> list[str]:
    """The terms of an ORDER BY; names that are not quoted could be those of other columns of the query's tables."""
    mark = "`" if dialect in _BACKTICKS else '"'
    up, down = ("ASC", "DESC") if dialect in _NULLS_SMALLEST else ("ASC NULLS FIRST", "DESC NULLS LAST")
    return [f"{mark}{k.column.replace(mark, 2 * mark)}{mark} {down if k.descending else up}" for k in keys]


def page_of(limit: Any, offset: Any) -> Page | None:
    """The page, or None if neither is given; Refused (``bad_page``) if they are invalid."""
    if limit is None and offset is None:
        return None
    if limit is None:
        raise Refused("'offset' needs 'limit', the number of rows of a page.", code="bad_page")
    offset = 0 if offset is None else offset
    for name, value, low in (("limit", limit, 1), ("offset", offset, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= ROWS_MAX:
            raise Refused(f"'{name}' is a whole number from {low} to {ROWS_MAX:,}.", code="bad_page")
    return Page(limit, offset)


def page_clause(limit: str, offset: str | None, dialect: str) -> str:
    """The clause after ORDER BY; both are SQL."""
    if dialect in _FETCH:
        return f"OFFSET {offset or '0'} ROWS FETCH NEXT {limit} ROWS ONLY"
    return f"LIMIT {limit}" + (f" OFFSET {offset}" if offset is not None else "")
