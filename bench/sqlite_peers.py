"""Other programs that export an SQLite query to a CSV file, one function each; run by the peers' own interpreter.

PYTHONPATH=bench build/bench-venv/bin/python -m sqlite_peers NAME DATABASE QUERY FILE
"""

from __future__ import annotations

import csv
import sqlite3
import sys
from collections.abc import Callable
from importlib import import_module

from peers import load_extension


def duckdb(database: str, query: str, path: str) -> None:
    connection = import_module("duckdb").connect()
    load_extension(connection, "sqlite_scanner")
    connection.execute(f"ATTACH '{database}' AS source (TYPE sqlite, READ_ONLY)")
    connection.execute("USE source")
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT csv)")


def adbc(database: str, query: str, path: str) -> None:
    """The driver's low level: its DB-API imports pandas."""
    pyarrow, manager = import_module("pyarrow"), import_module("adbc_driver_manager")
    with (
        import_module("adbc_driver_sqlite").connect(f"file:{database}?mode=ro") as opened,
        manager.AdbcConnection(opened) as connection,
        manager.AdbcStatement(connection) as statement,
    ):
        statement.set_options(**{"adbc.sqlite.query.batch_rows": "8192"})
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        with (
            pyarrow.RecordBatchReader.from_stream(stream) as reader,
            import_module("pyarrow.csv").CSVWriter(path, reader.schema) as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)


def connectorx(database: str, query: str, path: str) -> None:
    table = import_module("connectorx").read_sql(f"sqlite://{database}", query, return_type="arrow")
    import_module("pyarrow.csv").write_csv(table, path)


def pandas(database: str, query: str, path: str) -> None:
    frames = import_module("pandas").read_sql_query(query, sqlite3.connect(database), chunksize=50_000)
    for index, frame in enumerate(frames):
        frame.to_csv(path, mode="a" if index else "w", header=not index, index=False)


def python(database: str, query: str, path: str) -> None:
    cursor = sqlite3.connect(database).execute(query)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column[0] for column in cursor.description])
        writer.writerows(cursor)


NAMES: dict[str, Callable[[str, str, str], None]] = {
    function.__name__: function for function in (duckdb, adbc, connectorx, pandas, python)
}

if __name__ == "__main__":
    NAMES[sys.argv[1]](*sys.argv[2:])
