"""Other programs that export a query on MySQL or PostgreSQL to a file, one function each.

    PYTHONPATH=bench build/bench-venv/bin/python -m peers NAME URL QUERY FILE

The peers' own interpreter runs it. Each uses its fastest reader.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from address import server_of

Peer = Callable[[str, str, str], None]


def connectorx_polars(url: str, query: str, path: str) -> None:
    import_module("connectorx").read_sql(url, query, return_type="polars").write_csv(path)


def connectorx_arrow(url: str, query: str, path: str) -> None:
    table = import_module("connectorx").read_sql(url, query, return_type="arrow")
    import_module("pyarrow.csv").write_csv(table, path)


def connectorx_stream(url: str, query: str, path: str) -> None:
    reader = import_module("connectorx").read_sql(url, query, return_type="arrow_stream", batch_size=10_000)
    with import_module("pyarrow.csv").CSVWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def connectorx_parquet(url: str, query: str, path: str) -> None:
    table = import_module("connectorx").read_sql(url, query, return_type="arrow")
    import_module("pyarrow.parquet").write_table(table, path, compression="zstd")


def conecta(url: str, query: str, path: str) -> None:
    table = import_module("conecta").read_sql(url, query)
    import_module("pyarrow.csv").write_csv(table, path)


def adbc(url: str, query: str, path: str) -> None:
    with _adbc(url, query) as reader, import_module("pyarrow.csv").CSVWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def adbc_parquet(url: str, query: str, path: str) -> None:
    with _adbc(url, query) as reader:
        parquet = import_module("pyarrow.parquet")
        with parquet.ParquetWriter(path, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)


@contextmanager
def _adbc(url: str, query: str) -> Iterator[Any]:
    """A stream of record batches by the driver's own functions, without pandas."""
    low = import_module("adbc_driver_manager")
    with (
        import_module("adbc_driver_postgresql").connect(url) as database,
        low.AdbcConnection(database) as connection,
        low.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        yield import_module("pyarrow").RecordBatchReader._import_from_c(stream.address)


def duckdb_postgres(url: str, query: str, path: str) -> None:
    _duckdb_postgres(url, query, path, "csv")


def duckdb_postgres_parquet(url: str, query: str, path: str) -> None:
    _duckdb_postgres(url, query, path, "parquet, COMPRESSION zstd")


def _duckdb_postgres(url: str, query: str, path: str, form: str) -> None:
    connection = import_module("duckdb").connect()
    load_extension(connection, "postgres_scanner")
    connection.execute(f"ATTACH '{url}' AS source (TYPE postgres, READ_ONLY)")
    connection.execute("USE source")
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT {form})")


def chdb(url: str, query: str, path: str) -> None:
    host, port, user, password, database = server_of(url)
    source = f"mysql('{host}:{port}', '{database}', '{query.rsplit(maxsplit=1)[-1]}', '{user}', '{password}')"
    import_module("chdb").query(f"SELECT * FROM {source} INTO OUTFILE '{path}' FORMAT CSVWithNames")


def duckdb(url: str, query: str, path: str) -> None:
    _duckdb_copy(url, query, path, "csv", "mysql_scanner")


def duckdb_xlsx(url: str, query: str, path: str) -> None:
    _duckdb_copy(url, query, path, "xlsx, HEADER true", "mysql_scanner", "excel")


def _duckdb_copy(url: str, query: str, path: str, form: str, *extensions: str) -> None:
    host, port, user, password, database = server_of(url)
    connection = import_module("duckdb").connect()
    for extension in extensions:
        load_extension(connection, extension)
    place = f"host={host} port={port} user={user} database={database}" + (f" password={password}" if password else "")
    connection.execute(f"ATTACH '{place}' AS source (TYPE mysql)")
    connection.execute("USE source")
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT {form})")


def load_extension(connection: Any, name: str) -> None:
    """Load a DuckDB extension from its Python package, because DuckDB itself would download it."""
    spec = find_spec(f"duckdb_extension_{name}")
    folder = Path(spec.origin or "").parent if spec else Path()
    connection.execute(f"LOAD '{next(folder.rglob('*.duckdb_extension'))}'" if spec else f"LOAD {name}")


def mysqlclient_csv(url: str, query: str, path: str) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(_rows(url, query))


def _rows(url: str, query: str) -> Iterator[Any]:
    """The header and every row as Python values, unbuffered."""
    host, port, user, password, database = server_of(url)
    cursors = import_module("MySQLdb.cursors")
    connection = import_module("MySQLdb").connect(
        host=host, port=port, user=user, password=password, database=database, cursorclass=cursors.SSCursor
    )
    cursor = connection.cursor()
    cursor.execute(query)
    yield tuple(column[0] for column in cursor.description)
    while rows := cursor.fetchmany(1000):
        yield from rows


def rustpy_xlsxwriter(url: str, query: str, path: str) -> None:
    frame = import_module("connectorx").read_sql(url, query, return_type="polars")
    import_module("rustpy_xlsxwriter").FastExcel(path).sheet("Sheet1", frame).save()


def xlsxturbo(url: str, query: str, path: str) -> None:
    frame = import_module("connectorx").read_sql(url, query, return_type="polars")
    import_module("xlsxturbo").df_to_xlsx(frame, path, constant_memory=True, compression_level=1)


def by_columns(writer: str) -> Peer:
    """One of xlsx_writers.py, fed from Arrow."""

    def work(url: str, query: str, path: str) -> None:
        table = import_module("connectorx").read_sql(url, query, return_type="arrow")
        import_module("xlsx_writers").WRITERS[writer](table, Path(path))

    return work


def xlsxwriter(url: str, query: str, path: str) -> None:
    book = import_module("xlsxwriter").Workbook(path, {"constant_memory": True})
    sheet = book.add_worksheet()
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    for index, row in enumerate(_rows(url, query)):
        for column, value in enumerate(row):
            if hasattr(value, "year"):
                sheet.write_datetime(index, column, value, moment)
            else:
                sheet.write(index, column, value)
    book.close()


def openpyxl(url: str, query: str, path: str) -> None:
    book = import_module("openpyxl").Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in _rows(url, query):
        sheet.append(row)
    book.save(path)


def pyfastexcel(url: str, query: str, path: str) -> None:
    book = import_module("pyfastexcel").StreamWriter()
    for row in _rows(url, query):
        book.row_append_list([str(value) if hasattr(value, "year") else value for value in row], create_row=True)
    book.read_lib_and_create_excel()
    book.save(path)


NAMES: dict[str, Peer] = {
    peer.__name__: peer
    for peer in (
        connectorx_polars, connectorx_arrow, connectorx_stream, connectorx_parquet, conecta, adbc, adbc_parquet,
        duckdb_postgres, duckdb_postgres_parquet, chdb, duckdb, mysqlclient_csv, rustpy_xlsxwriter,
        xlsxturbo, xlsxwriter, openpyxl, pyfastexcel, duckdb_xlsx,
    )
} | {
    "rvgsrust_xlsxwriter": by_columns("rvgsrust-xlsxwriter"),
    "neatxlsx": by_columns("neatxlsx"),
    "fastxlsxio": by_columns("fastxlsxio"),
    "libxlsxwriter": by_columns("libxlsxwriter (C)"),
    "excelize": by_columns("excelize (Go)"),
}  # fmt: skip


if __name__ == "__main__":
    try:
        NAMES[sys.argv[1]](*sys.argv[2:])
    except Exception as error:  # noqa: BLE001  the bench prints the last line
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
