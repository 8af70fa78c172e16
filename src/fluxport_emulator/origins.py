"""Properties of a result's columns that follow from the text: MySQL's headers, and unchanged table columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlglot import exp

from fluxport_emulator.statement import Query
from fluxport_emulator.tables import SampleColumn, SampleTable

# Returns the database and table of a name in FROM, or None for a common table expression; raises faults.SqlError.
Resolve: TypeAlias = "Callable[[exp.Expr], tuple[str, SampleTable] | None]"


@dataclass(frozen=True)
class Origin:
    """The table column that a result column returns unchanged; ``nullable`` includes the effect of outer joins."""

    database: str
    table: str
    alias: str
    column: SampleColumn
    nullable: bool


def describe(query: Query, resolve: Resolve) -> tuple[list[str | None], list[Origin | None]]:
    """Headers and origins of the columns, up to the first item with an unknown number of columns."""
    select = query.tree
    plain = True
    while not isinstance(select, exp.Select):
        plain = plain and not isinstance(select, exp.SetOperation)
        select = select.this
    sources = _sources(select, resolve)
    headers: list[str | None] = []
    origins: list[Origin | None] = []
    texts = query.items if len(query.items) == len(select.expressions) else ()
    for index, item in enumerate(select.expressions):
        if item.is_star:
            expanded = _expanded(item, sources)
            if expanded is None:
                break
            headers += [origin.column.name for origin in expanded]
            origins += expanded
            continue
        headers.append(_header(item, texts[index] if texts else item.sql("mysql")))
        origins.append(_origin(item.unalias(), sources))
    return headers, origins if plain else [None] * len(origins)


def _header(item: exp.Expr, text: str) -> str:
    if isinstance(item, exp.Alias):
        return item.alias
    if isinstance(item, exp.Column):
        return item.name
    if isinstance(item, exp.Literal) and item.is_string:
        return item.name
    if isinstance(item, exp.Null | exp.Boolean):
        return text.upper()
    return text[:256]


_Sources: TypeAlias = "dict[str, tuple[str, SampleTable, bool] | None]"


def _sources(select: exp.Select, resolve: Resolve) -> _Sources:
    """Alias -> database, table, whether an outer join makes it nullable; None if it is not in the catalogue."""
    sources: _Sources = {}
    source = select.args.get("from_")
    if source is None:
        return sources
    for node, join in [(source.this, None), *((join.this, join) for join in select.args.get("joins") or [])]:
        side = join.side.upper() if join is not None else ""
        if side in ("RIGHT", "FULL"):
            sources = {alias: entry and (entry[0], entry[1], True) for alias, entry in sources.items()}
        shared = join is not None and (join.args.get("using") or join.method.upper() == "NATURAL")
        known = isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier) and node.name.lower() != "dual"
        table = resolve(node) if known and not shared and not node.args.get("joins") else None
        sources[node.alias_or_name.lower()] = table and (*table, side in ("LEFT", "FULL"))
        if shared:  # USING merges columns, so a star cannot be expanded by counting
            sources = dict.fromkeys(sources, None)
    return sources


def _expanded(item: exp.Expr, sources: _Sources) -> list[Origin] | None:
    wanted = item.table.lower() if isinstance(item, exp.Column) else ""
    aliases = [wanted] if wanted else list(sources)
    origins: list[Origin] = []
    for alias in aliases:
        entry = sources.get(alias)
        if entry is None:
            return None
        origins += [_of(entry, alias, column) for column in entry[1].columns]
    return origins


def _origin(item: exp.Expr, sources: _Sources) -> Origin | None:
    if not isinstance(item, exp.Column):
        return None
    aliases = [item.table.lower()] if item.table else list(sources)
    entries = [(alias, sources.get(alias)) for alias in aliases]
    if any(entry is None for _, entry in entries):
        return None
    matches = [
        (alias, entry, column)
        for alias, entry in entries
        if entry is not None and (column := entry[1].column(item.name)) is not None
    ]
    return _of(matches[0][1], matches[0][0], matches[0][2]) if len(matches) == 1 else None


def _of(entry: tuple[str, SampleTable, bool], alias: str, column: SampleColumn) -> Origin:
    database, table, outer = entry
    return Origin(database, table.name, alias, column, column.nullable or outer)
