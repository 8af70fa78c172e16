"""The tables and views of a database with their columns, and the rows of a statement, as the database itself describes
and estimates them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fluxport.errors import FluxportError, Refused
from fluxport.sources import Params, SourceOptions, open_source
from fluxport.sources.table import SOURCES, source_of
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

LIST_TIMEOUT_S = 60.0  # of one statement


class TableColumn(NamedTuple):
    """A column, and the database's name of its type."""

    name: str
    type: str


class TableInfo(NamedTuple):
    """A table or view. ``schema`` is None where the database has one only; ``rows`` is the catalogue's estimate, None
    where it has none."""

    schema: str | None
    name: str
    kind: str
    rows: int | None
    columns: tuple[TableColumn, ...]

    @property
    def full_name(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


# Runs a statement on the database, in a transaction of its own.
Query: TypeAlias = "Callable[[str], pa.Table]"
# What ``SourceEntry.tables`` names, as ``module:name``.
ListTables: TypeAlias = Callable[[Query], Iterator[TableInfo]]
# What ``SourceEntry.estimate`` names: the estimated rows of a statement, None if they are not known.
Estimate: TypeAlias = Callable[[Query, str], int | None]


def list_tables(url: str, options: SourceOptions | None = None) -> list[TableInfo]:
    """The tables of ``url`` that its account may read and ``options.may_read`` allows, in the catalogue's order; raises
    the errors of a query."""
    name = source_of(url)
    entry = SOURCES[name]
    if entry.tables is None:
        raise Refused(
            f"The tables of {entry.label} cannot be listed; query its catalogue by fluxport preview.",
            code="not_listed",
        )
    options = options or SourceOptions()
    listed: ListTables = SOURCES.attribute(name, *entry.tables.split(":"))
    may_read = options.may_read or (lambda schema, table: True)
    # The catalogue itself is none of the tables that callers may read.
    query = _reader(url, SourceOptions(shown=options.shown, **options.timeouts))
    return [table for table in listed(query) if may_read(table.schema, table.name)]


def estimated_rows(url: str, statement: str, params: Params, options: SourceOptions) -> int | None:
    """The database's own estimate of the rows of ``statement``; None if there is none."""
    name = source_of(url)
    entry = SOURCES[name]
    if entry.estimate is None:
        return None
    estimate: Estimate = SOURCES.attribute(name, *entry.estimate.split(":"))
    try:
        return estimate(_reader(url, SourceOptions(shown=options.shown, **options.timeouts), params), statement)
    except FluxportError:  # a proxy or an old server may not explain it
        return None


def _reader(url: str, options: SourceOptions, params: Params = ()) -> Query:
    def query(statement: str) -> pa.Table:
        import pyarrow as pa

        source = open_source(url, statement, params, options=options, limits=Limits(deadline_s=LIST_TIMEOUT_S))
        try:
            schema = source.schema
            return pa.Table.from_batches(source.batches(), schema)
        finally:
            source.close()

    return query


def by_column(rows: pa.Table) -> Iterator[TableInfo]:
    """The tables of a result with a row for each column: schema, table, kind, estimated rows, column (NULL for a table
    without any) and type. The rows of a table are together."""
    lines = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    for (schema, name, kind, estimate), group in groupby(lines, key=lambda line: line[:4]):
        columns = tuple(TableColumn(column, type_) for *_, column, type_ in group if column is not None)
        yield TableInfo(schema, name, kind, None if estimate is None else int(estimate), columns)
