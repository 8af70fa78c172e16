"""``duckdb:`` for files alone, ``duckdb:file.db`` or ``duckdb:///file.db`` for a database, with timeouts as options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from fluxport.errors import Refused
from fluxport.sources import timeouts


@dataclass(frozen=True)
class Dsn:
    """``path`` is absolute, None without a database. ``read_timeout_s`` None: a statement may run without a row until
    the deadline."""

    path: Path | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float | None = None


def parse_dsn(text: str, defaults: Dsn | None = None) -> Dsn:
    place, _, query = text.partition(":")[2].partition("?")
    if place.startswith("//"):
        if not place.startswith("///"):
            raise _refused(
                "write duckdb:file.db or duckdb:///file.db for a relative path, duckdb:/path/file.db or "
                "duckdb:////path/file.db for an absolute one, and duckdb: for files alone"
            )
        place = place[3:]
    name = unquote(place)
    if "\0" in name:
        raise _refused("the path holds a zero byte")
    fields: dict[str, Any] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        field, seconds = timeouts.field_of(option), timeouts.timeout(value)
        if field is None:
            raise _refused(f"unknown option {option!r}; choose from: {', '.join(timeouts.FIELDS)}")
        if seconds is None:
            raise _refused(timeouts.refused(option))
        fields[field] = seconds
    path = Path(name).absolute() if name and name != ":memory:" else None
    return replace(defaults or Dsn(), path=path, **fields)


def _refused(what: str) -> Refused:
    return Refused(f"The DuckDB data source is invalid: {what}.", code="bad_dsn")
