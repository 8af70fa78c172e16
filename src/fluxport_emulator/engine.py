"""The embedded database: created, filled and locked once, then read by one cursor per client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from fluxport_emulator import faults, packets, types, wire
from fluxport_emulator.dialect import Translated
from fluxport_emulator.faults import SqlError
from fluxport_emulator.functions import MACROS
from fluxport_emulator.origins import Origin
from fluxport_emulator.tables import Catalog

BATCH_ROWS = 8_192  # more is not faster, and a stalled reader holds only a few batches


class Engine:
    """Isolated from the machine: no files, no network, no extensions, no settings."""

    def __init__(self, catalog: Catalog, *, memory_limit: str, threads: int | None = None) -> None:
        self.catalog = catalog
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "error_on_division_by_zero": "false",
            "ieee_floating_point_ops": "false",
            "python_enable_replacements": "false",  # else a name in FROM could refer to a Python variable
        }
        self._connection = duckdb.connect(config=config if threads is None else config | {"threads": str(threads)})
        for statement in (
            "SET GLOBAL TimeZone = 'UTC'",
            "SET enable_progress_bar = false",  # it would write to standard output on slow machines
            "SET GLOBAL default_null_order = 'NULLS_FIRST'",
            *MACROS,
            *catalog.statements(),
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(statement)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self._connection.cursor()

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Result:
    """A running query: its columns, and its rows as packets of one of the two formats."""

    columns: tuple[wire.ColumnDefinition, ...]
    layouts: tuple[types.Layout, ...]
    reader: pa.RecordBatchReader | None
    binary: bool

    def packets(self, sequence: int) -> Iterator[tuple[packets.Buffer, int]]:
        """Parts of the rows, each with the sequence id after it; raises faults.SqlError."""
        if self.reader is None:
            return
        for batch in _batches(self.reader):
            for part in packets.slices(batch):
                if self.binary:
                    data, sequence = packets.binary_rows(part, self.layouts, sequence)
                else:
                    data, sequence = packets.text_rows(part, sequence)
                yield data, sequence

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
            raise sql_error(error) from error
        yield batch


def run(cursor: duckdb.DuckDBPyConnection, query: Translated, *, binary: bool, describe_only: bool = False) -> Result:
    """Start a query, or only determine its columns. Raises faults.SqlError."""
    try:
        relation = cursor.sql(query.sql)
        if relation is None:
            raise faults.syntax(query.sql)
        headers, origins = _fitted(query, relation.columns)
        kinds = [
            _kind(origin, types.of_duckdb(str(kind))) for origin, kind in zip(origins, relation.types, strict=True)
        ]
        names = [f"c{index}" for index in range(len(kinds))]
        prepared = ", ".join(
            f"{(kind.binary if binary else kind.text).format(name)} AS {name}"
            for kind, name in zip(kinds, names, strict=True)
        )
        reader = None
        if not describe_only:
            rows = f"SELECT {prepared} FROM ({query.sql}\n) AS result({', '.join(names)})"
            reader = cursor.sql(rows).to_arrow_reader(BATCH_ROWS)
    except (duckdb.Error, pa.ArrowException) as error:
        raise sql_error(error) from error
    columns = tuple(_definition(*column) for column in zip(headers, kinds, origins, strict=True))
    return Result(columns, tuple(kind.layout for kind in kinds), reader, binary)


def rows_of(cursor: duckdb.DuckDBPyConnection, query: Translated) -> list[tuple[Any, ...]]:
    """All rows of a small query as Python values."""
    try:
        rows: list[tuple[Any, ...]] = cursor.sql(query.sql).fetchall()
    except duckdb.Error as error:
        raise sql_error(error) from error
    return rows


def _fitted(query: Translated, names: Sequence[str]) -> tuple[list[str], list[Origin | None]]:
    """Headers and origins of DuckDB's columns; DuckDB's own names where the translation has none."""
    known = len(query.headers)
    if known > len(names):
        return list(names), [None] * len(names)
    headers = [header if header is not None else name for header, name in zip(query.headers, names, strict=False)]
    return headers + list(names[known:]), query.origins + [None] * (len(names) - known)


def _kind(origin: Origin | None, kind: types.ColumnType) -> types.ColumnType:
    return kind if origin is None else origin.column.type


def _definition(header: str, kind: types.ColumnType, origin: Origin | None) -> wire.ColumnDefinition:
    if origin is None:
        return wire.ColumnDefinition(header, kind.code, kind.charset, kind.length, kind.flags, kind.decimals)
    flags = origin.column.flags & ~(types.NOT_NULL if origin.nullable else 0)
    return wire.ColumnDefinition(
        header,
        kind.code,
        kind.charset,
        kind.length,
        flags,
        kind.decimals,
        schema=origin.database,
        table=origin.table,
        table_alias=origin.alias,
        original_name=origin.column.name,
    )


# DuckDB's errors have no codes; MySQL's numbers follow from the class of the error and the text around a name.
_Known = tuple[type[Exception], str, int, str, str]
_KNOWN: tuple[_Known, ...] = (
    (duckdb.InterruptException, "", 1317, "70100", "Query execution was interrupted"),
    (duckdb.OutOfMemoryException, "", 1041, "HY000", "Out of memory; the query needs more than the server may use"),
    (duckdb.ParserException, r"at or near \"(.*?)\"", 1064, "42000", "You have an error in your SQL syntax near '{0}'"),
    (duckdb.ParserException, "", 1064, "42000", "You have an error in your SQL syntax"),
    (duckdb.CatalogException, r"Function with name \"?(\w+)", 1305, "42000", "FUNCTION {0} does not exist"),
    (duckdb.CatalogException, r"with name \"?([\w.]+)", 1146, "42S02", "Table '{0}' doesn't exist"),
    (
        duckdb.BinderException,
        r"(?:Referenced column|does not have a column named|column named) \"([^\"]+)\"",
        1054,
        "42S22",
        "Unknown column '{0}' in 'field list'",
    ),
    (duckdb.BinderException, r"Referenced table \"([^\"]+)\"", 1109, "42S02", "Unknown table '{0}' in field list"),
    (duckdb.BinderException, r"Ambiguous reference to column name \"([^\"]+)\"", 1052, "23000",
     "Column '{0}' in field list is ambiguous"),
    (duckdb.BinderException, r"column \"([^\"]+)\" must appear in the GROUP BY", 1055, "42000",
     "Expression of SELECT list is not in GROUP BY clause and contains nonaggregated column '{0}'; this is "
     "incompatible with sql_mode=only_full_group_by"),
    (duckdb.BinderException, r"cannot contain aggregates", 1111, "HY000", "Invalid use of group function"),
    (duckdb.BinderException, r"same number of result columns", 1222, "21000",
     "The used SELECT statements have a different number of columns"),
    (duckdb.ConversionException, "", 1292, "22007", "Truncated incorrect value"),
    (duckdb.OutOfRangeException, "", 1690, "22003", "Value is out of range"),
    (duckdb.InvalidInputException, r"More than one row returned by a subquery", 1242, "21000",
     "Subquery returns more than 1 row"),
    (duckdb.PermissionException, "", 1142, "42000", "SELECT command denied"),
)  # fmt: skip


def sql_error(error: BaseException) -> SqlError:
    """MySQL's error for one of DuckDB's; 1105 with DuckDB's first line if MySQL has no equivalent."""
    text = str(error)
    if isinstance(error, pa.ArrowException | RuntimeError):  # a failing stream carries DuckDB's error as text
        kind: type[BaseException] | None = next((kind for prefix, kind in _STREAMED if prefix in text), None)
    else:
        kind = type(error)
    for family, pattern, number, state, message in _KNOWN:
        if kind is not None and issubclass(kind, family) and (match := re.search(pattern, text)):
            return SqlError(number, state, message.format(*match.groups()))
    return SqlError(1105, "HY000", text.splitlines()[0][:400] if text else "Unknown error")


_STREAMED: tuple[tuple[str, type[Exception]], ...] = (
    ("INTERRUPT", duckdb.InterruptException),
    ("Out of Memory", duckdb.OutOfMemoryException),
    ("Conversion Error", duckdb.ConversionException),
    ("Out of Range", duckdb.OutOfRangeException),
    ("More than one row returned", duckdb.InvalidInputException),
)
