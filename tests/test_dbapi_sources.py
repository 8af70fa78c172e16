"""ODBC and Firebird: types, errors, parameters, faults; what all sources have in common is in
contract/test_sources.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

import fluxport
from fault_proxy import FaultProxy
from firebird_server import FirebirdDatabase, firebird_database
from fluxport.errors import FluxportError, QueryFailed, QueryRefused, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.plan import guard_dialect
from fluxport.sources import dialect_of, open_source, scheme_of
from fluxport.sources.accounts import inspect_account
from fluxport.sources.dbapi.columns import Decoder, decided
from fluxport.sources.table import is_url
from fluxport.stages import FIELD_KIND
from mysql_support import Database, scratch_database
from odbc_support import odbc_of_mariadb, odbc_of_postgres
from postgres_support import PostgresDatabase, scratch_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as database:
        yield database


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Database]:
    with scratch_database() as database:
        yield database


@pytest.fixture(scope="module")
def firebird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirebirdDatabase]:
    with firebird_database(tmp_path_factory.mktemp("firebird")) as database:
        database.run(
            "CREATE TABLE t (a INTEGER, n NUMERIC(10,2), x VARCHAR(20), b BLOB, s BLOB SUB_TYPE TEXT, f BOOLEAN)"
        )
        database.run("INSERT INTO t VALUES (1, 1.50, 'é😀', ?, 'long', TRUE)", b"\x00\xff")
        database.run("INSERT INTO t (a) VALUES (NULL)")
        yield database


def table(url: str, query: str, params: Any = (), findings: Findings | None = None) -> pa.Table:
    source = open_source(url, query, params, findings=findings)
    return pa.Table.from_batches(list(source.batches()), source.schema)


def error(url: str, query: str = "SELECT 1", params: Any = ()) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        table(url, query, params)
    return caught.value


# -- types of Python objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "cells", "arrow"),
    [
        (None, [1, None], pa.int64()),
        (None, [1 << 63], pa.uint64()),
        (None, [None, 1.5], pa.float64()),
        (None, [True], pa.bool_()),
        (None, [b"x"], pa.binary()),
        (None, [bytearray(b"x")], pa.binary()),
        (None, [date(2026, 1, 31)], pa.date32()),
        (None, [datetime(2026, 1, 31)], pa.timestamp("us")),
        (None, [datetime(2026, 1, 31, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        (None, [time(12)], pa.duration("us")),
        (None, [timedelta(hours=-100)], pa.duration("us")),
        (None, [UUID(int=1)], pa.utf8()),
        (None, [None], pa.utf8()),
        (None, [], pa.utf8()),
        (None, [1, "x"], pa.utf8()),
        (None, [Decimal("1.50")], pa.utf8()),
        (pa.decimal128(10, 2), [Decimal("1.50")], pa.decimal128(10, 2)),
        (pa.decimal128(10, 2), [], pa.decimal128(10, 2)),
        (pa.float64(), [], pa.float64()),
    ],
)
def test_a_column_has_the_declared_type_or_that_of_its_cells(declared: Any, cells: list[Any], arrow: Any) -> None:
    column = decided("c", declared, cells)
    assert column.arrow == arrow
    assert len(column.array(cells, Findings())) == len(cells)


def test_decimals_without_a_declared_scale_are_exact_numbers() -> None:
    column = decided("c", None, [Decimal("1.5")])
    findings = Findings()
    cells = [Decimal("1E+3"), Decimal("-0.00000000001"), Decimal("NaN"), None]
    assert column.array(cells, findings).to_pylist() == ["1000", "-0.00000000001", None, None]
    assert (column.field.metadata or {})[FIELD_KIND] == b"number"
    assert [(f.code, f.count) for f in findings] == [("not_a_number", 1)]


def test_a_later_cell_of_another_type_is_an_error_except_in_text() -> None:
    findings = Findings()
    for first, later in ((1, "x"), (1, 1 << 64), (1, 1.5), (date(2026, 1, 1), 1.5), (b"x", "x"), (True, 1)):
        decoder = Decoder([decided("c", None, [first])], findings)
        with pytest.raises(QueryFailed, match="Column 'c' has a value that its type") as caught:
            decoder.batch([(later,)])
        assert caught.value.code == "unstable_types"
    with pytest.raises(QueryFailed):
        Decoder([decided("c", pa.decimal128(5, 2), [Decimal("1.50")])], findings).batch([(Decimal("1.505"),)])
    assert not findings
    texts = Decoder([decided("c", None, ["x"])], findings).batch([(1,), (b"\xff",), (0.1,), ("y",)])
    assert texts.column(0).to_pylist() == ["1", "ff", "0.1", "y"]
    assert [(f.code, f.count) for f in findings] == [("mixed_types_as_text", 3)]


# -- ODBC --------------------------------------------------------------------------------------------------------------


def test_odbc_types_of_postgresql(postgres: PostgresDatabase) -> None:
    uuid = "11111111-2222-3333-4444-5555aaaabbbb"
    rows = table(
        odbc_of_postgres(postgres.url),
        "SELECT 1.50::numeric(10,2) AS d, n, true AS b, '12:00:00.5'::time AS t, repeat('é', 20000) AS long, "
        f"'\\x41'::bytea AS raw, '{uuid}'::uuid AS u, NULL AS nothing FROM (VALUES (1.5), (2.123456789)) v (n)",
    )
    assert rows.schema.types[:4] == [pa.decimal128(10, 2), pa.utf8(), pa.bool_(), pa.duration("us")]
    assert rows["n"].to_pylist() == ["1.5", "2.123456789"]
    last = rows.to_pylist()[1]
    assert (last["d"], last["b"], last["t"]) == (Decimal("1.50"), True, timedelta(hours=12, milliseconds=500))
    assert (last["long"], last["raw"], last["u"], last["nothing"]) == ("é" * 20_000, b"A", uuid, None)


def test_odbc_types_of_mariadb(mariadb: Database) -> None:
    rows = table(
        odbc_of_mariadb(mariadb.url),
        "SELECT 18446744073709551615 AS big, 1.50 AS d, CAST('-100:00:00.5' AS TIME(1)) AS t, 'é😀' AS x, "
        "REPEAT('ab', 20000) AS y, CAST('2026-01-31 10:00:00.123456' AS DATETIME(6)) AS m",
    )
    assert rows.schema.field("d").type == pa.decimal128(3, 2)
    (row,) = rows.to_pylist()
    assert (row["big"], row["d"], row["x"], row["y"]) == ((1 << 64) - 1, Decimal("1.50"), "é😀", "ab" * 20_000)
    assert row["t"] == -timedelta(hours=100, milliseconds=500)
    assert row["m"] == datetime(2026, 1, 31, 10, 0, 0, 123456)


def test_a_value_that_a_driver_cannot_convert_is_an_error(postgres: PostgresDatabase) -> None:
    raised = error(odbc_of_postgres(postgres.url), "SELECT '24:00'::time AS t")
    assert (type(raised), raised.code) == (QueryFailed, "bad_value")


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_odbc_parameters_are_values(postgres: PostgresDatabase, mariadb: Database, server: str) -> None:
    url, text = odbc_of_mariadb(mariadb.url), "TEXT" if server == "postgres" else "CHAR(99)"
    if server == "postgres":
        url = odbc_of_postgres(postgres.url)
    value = "it's; -- ? :a"
    query = f"SELECT CAST(:text AS {text}) AS t, ':text' AS q"
    assert table(url, query, {"text": value}).to_pylist() == [{"t": value, "q": ":text"}]


def test_a_statement_never_changes_the_database(postgres: PostgresDatabase) -> None:
    postgres.run("CREATE TABLE kept (a int)")
    raised = error(odbc_of_postgres(postgres.url), "INSERT INTO kept VALUES (1)")
    assert (type(raised), raised.code) == (Refused, "no_result_set")
    assert table(odbc_of_postgres(postgres.url), "INSERT INTO kept VALUES (1) RETURNING a").num_rows == 1
    assert postgres.run("SELECT count(*) FROM kept") == [(0,)]


def test_a_procedure_with_two_results_is_refused(mariadb: Database) -> None:
    mariadb.run("CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS b; END")
    raised = error(odbc_of_mariadb(mariadb.url), "CALL two()")
    assert (type(raised), raised.code) == (QueryFailed, "several_results")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("odbc:", "bad_dsn"),
        ("odbc:nothing", "bad_dsn"),
        ("odbc:UID=a;PWD=secret", "bad_dsn"),
        ("odbc:DSN=nosuchname;PWD=secret", "bad_dsn"),
        ("odbc:DSN=x;PWD={secret;read-timeout=1s", "bad_dsn"),
        ("odbc:DSN=x;read-timeout=never;PWD=secret", "bad_dsn"),
        ("odbc:Driver={NoSuchDriver};PWD=secret", "missing_extra"),
        ("firebird://host", "bad_dsn"),
        ("firebird://host/alias", "bad_dsn"),
        ("firebird://user:secret@host:port/alias", "bad_dsn"),
        ("firebird://user:secret@host/alias?ssl=1", "bad_dsn"),
        ("firebird://user:secret@127.0.0.1:1/alias", "source_unreachable"),
    ],
)
def test_a_bad_url_is_one_sentence_without_the_url(url: str, code: str) -> None:
    raised = error(url)
    assert raised.code == code
    assert "secret" not in raised.message


def test_a_refused_login_and_a_server_that_is_away_are_told_apart(
    postgres: PostgresDatabase, mariadb: Database
) -> None:
    assert error(odbc_of_postgres(postgres.url.replace("postgres@", "nosuchrole@"))).code == "login_refused"
    assert error(odbc_of_mariadb(mariadb.url.replace("root@", "nosuchuser:wrong@"))).code == "login_refused"
    assert error(odbc_of_postgres("postgresql://a@127.0.0.1:1/b")).code == "source_unreachable"
    assert error(odbc_of_mariadb("mysql://a@127.0.0.1:1/b")).code == "source_unreachable"


@pytest.mark.parametrize(
    ("query", "code"),
    [("SELEC", "syntax_error"), ("SELECT * FROM nosuch", "unknown_table"), ("SELECT nosuch", "unknown_column")],
)
def test_odbc_states_have_their_codes(postgres: PostgresDatabase, mariadb: Database, query: str, code: str) -> None:
    assert error(odbc_of_postgres(postgres.url), query).code == code
    assert error(odbc_of_mariadb(mariadb.url), query).code == code


@pytest.mark.parametrize(
    ("fault", "code"), [("fin", "source_lost"), ("rst", "source_lost"), ("stall", "source_timeout")]
)
def test_a_connection_that_fails_between_rows_is_no_end(postgres: PostgresDatabase, fault: Any, code: str) -> None:
    with FaultProxy(postgres.url, fault, 400_000) as proxy:
        url = odbc_of_postgres(proxy.url) + "read-timeout=1s"
        raised = error(url, "SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g")
    assert (isinstance(raised, Unavailable), raised.code) == (True, code)


def test_the_forms_of_odbc_are_urls_and_those_of_mysql_stay_its_own() -> None:
    password = "odbc:Driver={x};PWD=a@/b(c)"
    assert scheme_of(password) == "odbc"
    assert all(map(is_url, ("ODBC:DSN=x", "DuckDB:", "duckdb:a.db", "user@/db", "tcp(host)/db", "adbc+duckdb:///")))
    assert not any(map(is_url, ("sales", "odbc", "duckdb", "tcp/sales")))
    assert scheme_of("odbc:secret@tcp(host:3306)/db") == "odbc"
    assert scheme_of("user:odbc@tcp(host:3306)/db") == "mysql"


def test_callers_statements_are_not_checked_and_datasets_are_declared_for_other() -> None:
    for url in ("odbc:DSN=x", "firebird://user@host/alias"):
        with pytest.raises(QueryRefused):
            guard_dialect(url)
        assert dialect_of(url) == "other"


# -- Firebird ----------------------------------------------------------------------------------------------------------


def test_firebird_types(firebird: FirebirdDatabase) -> None:
    rows = table(
        firebird.url, "SELECT a, n, x, b, s, f, n / 3.000 AS q, COUNT(*) OVER () AS c FROM t ORDER BY a NULLS LAST"
    )
    kinds = [pa.int64(), pa.decimal128(19, 2), pa.utf8(), pa.binary(), pa.utf8(), pa.bool_()]
    assert rows.schema.types[:6] == kinds
    assert list(rows.to_pylist()[0].values()) == [
        1,
        Decimal("1.50"),
        "é😀",
        b"\x00\xff",
        "long",
        True,
        Decimal("0.50000"),
        2,
    ]
    assert set(list(rows.to_pylist()[1].values())[:6]) == {None}


def test_firebird_moments_are_exact(firebird: FirebirdDatabase) -> None:
    query = "SELECT TIME '23:59:59.9999' AS t, TIMESTAMP '0001-01-01 00:00:00.0001' AS m FROM rdb$database"
    assert b"".join(fluxport.stream(query, source=firebird.url)) == (
        b"T,M\n23:59:59.999900,0001-01-01 00:00:00.000100\n"
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELEC", "syntax_error"),
        ("SELECT * FROM nosuch", "unknown_table"),
        ("SELECT nosuch FROM t", "unknown_column"),
        ("SELECT 1 / 0 FROM t", "bad_value"),
        ("INSERT INTO t (a) VALUES (9)", "read_only"),
        ("UPDATE t SET a = 9 WHERE a = 1 RETURNING a", "read_only"),
        ("SELECT 1 FROM t; DELETE FROM t", "syntax_error"),
    ],
)
def test_firebird_errors_have_their_codes(firebird: FirebirdDatabase, query: str, code: str) -> None:
    assert error(firebird.url, query).code == code
    assert firebird.run("SELECT COUNT(*) FROM t") == [(2,)]


def test_the_rights_of_a_firebird_account_are_checked(firebird: FirebirdDatabase) -> None:
    account = inspect_account(firebird.url)
    assert account.server.startswith("Firebird 3.")
    assert "everything (SYSDBA)" in account.excess
    firebird.run("CREATE USER reader PASSWORD 'secret'")
    firebird.run("GRANT SELECT ON t TO USER reader")
    reader = firebird.url.replace("SYSDBA:masterkey@", "reader:secret@")
    assert inspect_account(reader).sentence == "it can only read."
    firebird.run("GRANT INSERT, UPDATE ON t TO USER reader")
    assert inspect_account(reader).excess == ("INSERT", "UPDATE")


def test_firebird_logins_and_databases(firebird: FirebirdDatabase) -> None:
    assert error(firebird.url.replace(":masterkey@", ":wrong@")).code == "login_refused"
    assert error(firebird.url + "x").code == "unknown_database"
    url, query = firebird.url, "SELECT CAST(:n AS INTEGER) + 1 AS n, CAST(:t AS VARCHAR(20)) AS t FROM rdb$database"
    assert table(url, query, {"n": 41, "t": "it's"}).to_pylist() == [{"N": 42, "T": "it's"}]


@pytest.mark.parametrize(("fault", "code"), [("rst", "source_lost"), ("stall", "source_timeout")])
def test_a_firebird_that_fails_between_rows_is_no_end(firebird: FirebirdDatabase, fault: Any, code: str) -> None:
    with FaultProxy(firebird.url, fault, 100_000) as proxy:
        query = "SELECT a.rdb$type_name AS x FROM rdb$types a, rdb$types b, rdb$types c"
        raised = error(f"{proxy.url}?read-timeout=1s", query)
    assert (isinstance(raised, Unavailable), raised.code) == (True, code)
