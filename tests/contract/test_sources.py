"""The contract of sources, run on every built-in one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from duckdb import connect as database

from firebird_server import firebird_database
from flight_sql_server import flight_sql_server
from fluxport.findings import Findings
from fluxport.sources import SOURCES, SourceOptions, open_source
from fluxport.stages import Limits
from fluxport.testing import SourceCase, SourceContract
from mysql_support import scratch_database
from odbc_support import odbc_of_mariadb, odbc_of_postgres
from postgres_support import scratch_postgres
from processes import holders


def wide(columns: int, row: str, half: str, text: str = "'row ' || {} || ' of {}'") -> str:
    """The columns of ``wide_value`` in SQL; ``row`` is the number of the row, ``half`` the double 0.5."""
    kinds = (
        lambda k: f"{row} * 1000 + {k}",
        lambda k: f"{row} * {half} + {k}",
        lambda k: text.format(row, k),
        lambda k: f"CASE WHEN ({row} + {k}) % 3 <> 0 THEN {row} - {k} END",
        lambda k: f"CASE WHEN ({row} + {k}) % 3 <> 0 THEN substr('ééééé', 1, {row} % 5) END",
    )
    return ", ".join(f"{kinds[k % 5](k)} AS c{k}" for k in range(columns))


# What every database rejects, with the code of the error.
REJECTED = {
    "SELECT * FROM no_such_table": "unknown_table",
    "SELECT no_such_column FROM (SELECT 1 AS a) AS t": "unknown_column",
    "SELECT no_such_function(1)": "unknown_function",
    "SELECT 'a secret' FROM": "syntax_error",
    "SELECT 'a secret'; SELECT 'no_such'": "syntax_error",
    "": "no_result_set",
    "-- no_such statement": "no_result_set",
    "SELECT * FROM no_such_schema.t": "unknown_table",
}
# By drivers that tell no kinds of errors: only what they are not given has its code.
UNTOLD = {
    statement: code if code == "no_result_set" or ";" in statement else "query_failed"
    for statement, code in REJECTED.items()
}
# Firebird's SELECT has a FROM.
FIREBIRD_REJECTED = {
    "SELECT * FROM no_such_table": "unknown_table",
    "SELECT * FROM no_such_procedure(1)": "unknown_table",
    "SELECT no_such_column FROM rdb$database": "unknown_column",
    "SELECT no_such_function(1) FROM rdb$database": "unknown_function",
    "SELECT 'a secret' FROM": "syntax_error",
    "SELECT 'a secret'; SELECT 'no_such'": "syntax_error",
    "SELECT CAST('a secret' AS INTEGER) FROM rdb$database": "bad_value",
    "CREATE TABLE no_such_table (a INTEGER)": "read_only",
    "": "no_result_set",
    "-- no_such statement": "no_result_set",
}
SQLITE_MANY = 400_000
MYSQL_TEXT = "CONCAT('row ', {}, ' of {}')"


@contextmanager
def mysql(options: str, url_of: Callable[[str], str] = str) -> Iterator[SourceCase]:
    with scratch_database() as database:
        url = url_of(database.url) + options
        yield SourceCase(
            open=lambda query: open_source(url, query, findings=Findings(), limits=Limits()),
            limited=lambda query, limits: open_source(url, query, limits=limits),
            numbers=lambda n: f"SELECT seq AS id, CONCAT('row ', seq) AS label FROM seq_1_to_{n}",
            endless="SELECT SLEEP(60) AS s",
            running=lambda: len(database.connections()),
            rejected=REJECTED,
            wide=lambda columns, n: (
                f"SELECT {wide(columns, 'CAST(seq AS SIGNED)', '0.5e0', MYSQL_TEXT)} FROM seq_1_to_{n}"
            ),
        )


@contextmanager
def postgres(url_of: Callable[[str], str] = str) -> Iterator[SourceCase]:
    with scratch_postgres() as database:
        url = url_of(database.url)
        yield SourceCase(
            open=lambda query: open_source(url, query, findings=Findings(), limits=Limits()),
            limited=lambda query, limits: open_source(url, query, limits=limits),
            numbers=lambda n: f"SELECT g AS id, 'row ' || g AS label FROM generate_series(1, {n}) AS g",
            endless="SELECT pg_sleep(60) AS s",
            running=lambda: len(database.backends()),
            rejected=REJECTED | {"CALL no_such_procedure()": "unknown_function"},
            wide=lambda columns, n: f"SELECT {wide(columns, 'g', '0.5::float8')} FROM generate_series(1, {n}) AS g",
        )


@contextmanager
def sqlite(options: SourceOptions, rows: str = "", scheme: str = "sqlite") -> Iterator[SourceCase]:
    """``rows``: the name of a table of many numbers; without it they are computed."""
    numbers = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < {}) "
    with TemporaryDirectory() as folder:
        file = Path(folder, "numbers.db")
        with closing(sqlite3.connect(file)) as connection, connection:
            if rows:
                connection.execute(f"CREATE TABLE {rows} (g INTEGER PRIMARY KEY)")
                connection.execute(f"INSERT INTO {rows} {numbers.format(SQLITE_MANY)} SELECT g FROM s")

        def of(n: int, columns: str) -> str:
            if rows:
                return f"SELECT {columns} FROM (SELECT g FROM {rows} WHERE g <= {n})"
            return f"{numbers.format(n)} SELECT {columns} FROM s"

        yield SourceCase(
            open=lambda query: open_source(f"{scheme}:///{file}", query, options=options),
            limited=lambda query, limits: open_source(f"{scheme}:///{file}", query, options=options, limits=limits),
            numbers=lambda n: of(n, "g AS id, 'row ' || g AS label"),
            endless=numbers.format("g + 1") + "SELECT g FROM s WHERE g < 0",
            running=lambda: len(set(holders(file))),  # the processes: a driver may open it more than once
            wide=lambda columns, n: of(n, wide(columns, "g", "0.5")),
            rejected=REJECTED | {"CALL no_such_procedure()": "syntax_error"},
            many=SQLITE_MANY,
        )


@contextmanager
def duckdb(options: SourceOptions) -> Iterator[SourceCase]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "numbers.duckdb")
        database(str(file)).close()
        yield SourceCase(
            open=lambda query: open_source(f"duckdb:{file}", query, options=options),
            limited=lambda query, limits: open_source(f"duckdb:{file}", query, options=options, limits=limits),
            rejected=REJECTED | {"CALL no_such_procedure()": "no_result_set"},
            numbers=lambda n: f"SELECT g AS id, 'row ' || g AS label FROM range(1, {n} + 1) AS r (g)",
            endless="SELECT 1 FROM range(9999) a, range(9999) b, range(9999) c, range(9999) d WHERE random() < 0",
            running=lambda: len(set(holders(file))),
            wide=lambda columns, n: f"SELECT {wide(columns, 'g', '0.5::DOUBLE')} FROM range(1, {n} + 1) AS r (g)",
        )


@contextmanager
def adbc_sqlite() -> Iterator[SourceCase]:
    """The driver cannot cancel: its process is killed."""
    with sqlite(SourceOptions(), scheme="adbc+sqlite") as made:
        yield replace(made, many=4_000_000, rejected=UNTOLD, syntax_error="query_failed")


@contextmanager
def adbc_duckdb() -> Iterator[SourceCase]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "numbers.duckdb")
        database(str(file)).close()
        yield arrow_case(f"adbc+duckdb:///{file}", lambda: len(set(holders(file))))


@contextmanager
def adbc_flightsql() -> Iterator[SourceCase]:
    with flight_sql_server() as server:
        yield arrow_case(server.url, lambda: server.running)


@contextmanager
def odbc_mariadb() -> Iterator[SourceCase]:
    """The driver reads the whole result before the first row, and takes long for wide ones."""
    with mysql("", odbc_of_mariadb) as made:
        rejected = REJECTED | {"SELECT no_such_function(1)": "syntax_error"}
        yield replace(made, many=100_000, wide=None, rejected=rejected)


@contextmanager
def firebird() -> Iterator[SourceCase]:
    """The driver is slow, so the rows are fewer."""
    with TemporaryDirectory() as folder, firebird_database(Path(folder)) as database:
        database.run(
            "CREATE PROCEDURE numbers (n BIGINT) RETURNS (id BIGINT, label VARCHAR(30)) AS "
            "BEGIN id = 0; WHILE (id < n) DO BEGIN id = id + 1; label = 'row ' || id; SUSPEND; END END"
        )
        types = ", ".join(f"rdb$types t{n}" for n in range(5))
        yield SourceCase(
            open=lambda query: open_source(database.url, query),
            limited=lambda query, limits: open_source(database.url, query, limits=limits),
            numbers=lambda n: f'SELECT id AS "id", label AS "label" FROM numbers({n})',
            rows=20_000,
            endless=f"SELECT COUNT(*) AS s FROM {types}",
            running=database.connections,
            rejected=FIREBIRD_REJECTED,
        )


def arrow_case(url: str, running: Callable[[], int]) -> SourceCase:
    """In DuckDB's dialect, by a driver that tells no kinds of errors."""
    return SourceCase(
        open=lambda query: open_source(url, query),
        limited=lambda query, limits: open_source(url, query, limits=limits),
        numbers=lambda n: f"SELECT g AS id, 'row ' || g AS label FROM range(1, {n} + 1) AS r (g)",
        endless="SELECT 1 AS s FROM range(9999) a, range(9999) b, range(9999) c, range(9999) d WHERE random() < 0",
        running=running,
        wide=lambda columns, n: f"SELECT {wide(columns, 'g', '0.5::DOUBLE')} FROM range(1, {n} + 1) AS r (g)",
        rejected=UNTOLD,
        syntax_error="query_failed",
    )


CASES: dict[str, Callable[[], AbstractContextManager[SourceCase]]] = {
    "mysql": lambda: mysql(""),
    "mysql-text-protocol": lambda: mysql("?prepared=false"),
    "postgresql": postgres,
    "sqlite": lambda: sqlite(SourceOptions()),
    "sqlite-bulk": lambda: sqlite(SourceOptions(own_process=True), "numbers"),
    "sqlite-separate": lambda: sqlite(SourceOptions(separate=True), "numbers"),
    "duckdb": lambda: duckdb(SourceOptions()),
    "duckdb-separate": lambda: duckdb(SourceOptions(separate=True)),
    "adbc-postgresql": lambda: postgres("adbc+{}".format),
    "adbc-sqlite": adbc_sqlite,
    "adbc-duckdb": adbc_duckdb,
    "adbc-flightsql": adbc_flightsql,
    "odbc-postgresql": lambda: postgres(odbc_of_postgres),
    "odbc-mariadb": odbc_mariadb,
    "firebird": firebird,
}


@pytest.fixture(scope="module", params=CASES)
def subject(request: pytest.FixtureRequest) -> Iterator[SourceCase]:
    with CASES[request.param]() as made:
        yield made


def test_every_source_of_the_table_is_in_this_suite() -> None:
    assert list(dict.fromkeys(case.partition("-")[0] for case in CASES)) == list(SOURCES.built_in)


class TestSources(SourceContract):
    pass
