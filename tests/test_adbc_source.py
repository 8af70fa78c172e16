"""Databases with an ADBC driver: types, errors, timeouts, parameters; what all sources have in common is in
contract/test_sources.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import fluxport
from fault_proxy import FaultProxy
from flight_sql_server import flight_sql_server
from fluxport.errors import Broken, FluxportError, QueryFailed, QueryRefused, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.plan import guard_dialect
from fluxport.sources import SOURCES, dialect_of, guard_of, open_source
from fluxport.sources.accounts import inspect_account
from fluxport.stages import FIELD_KIND, FIELD_TYPE
from postgres_support import PostgresDatabase, scratch_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as database:
        yield database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "rows.db")) as connection, connection:
        connection.execute("CREATE TABLE t (v)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5000)])
        connection.execute("INSERT INTO t VALUES ('a text')")
    return tmp_path / "rows.db"


def table(url: str, query: str, params: Any = (), findings: Findings | None = None) -> pa.Table:
    source = open_source(url, query, params, findings=findings)
    return pa.Table.from_batches(list(source.batches()), source.schema)


def error(url: str, query: str = "SELECT 1", params: Any = ()) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        table(url, query, params)
    return caught.value


# -- types -------------------------------------------------------------------------------------------------------------


def test_decimals_stay_decimals_and_those_without_precision_are_exact_numbers(postgres: PostgresDatabase) -> None:
    findings = Findings()
    query = (
        "SELECT 1.50::numeric(10,2) AS d, n, 'NaN'::numeric AS x FROM (VALUES (1.5), (2.123456789012345678901)) v (n)"
    )
    rows = table(f"adbc+{postgres.url}", query, findings=findings)
    assert rows.schema.types == [pa.decimal128(10, 2), pa.utf8(), pa.utf8()]
    assert rows["d"].to_pylist() == [Decimal("1.50")] * 2
    assert rows["n"].to_pylist() == ["1.5", "2.123456789012345678901"]
    assert (rows.schema.field("n").metadata or {})[FIELD_KIND] == b"number"
    assert [(f.code, f.column, f.count) for f in findings] == [("not_a_number", "x", 2)]


def test_values_that_no_arrow_type_has_are_null_and_counted(postgres: PostgresDatabase) -> None:
    findings = Findings()
    kinds = {"date": "d", "timestamp": "t", "timestamptz": "z"}
    columns = [f"'{sign}infinity'::{kind} AS {n}{len(sign)}" for kind, n in kinds.items() for sign in ("", "-")]
    rows = table(
        f"adbc+{postgres.url}", f"SELECT {', '.join(columns)}, '0044-03-15 BC'::date AS old", findings=findings
    )
    assert rows.drop_columns("old").to_pylist() == [{f"{n}{m}": None for n in kinds.values() for m in (0, 1)}]
    assert rows["old"].cast(pa.int32()).to_pylist() == [-735_160]
    assert {(f.code, f.count) for f in findings} == {("infinity_null", 1)}


def test_a_timestamp_that_the_driver_cannot_hold_is_an_error(postgres: PostgresDatabase) -> None:
    raised = error(f"adbc+{postgres.url}", "SELECT '294276-01-01'::timestamp AS t")
    assert (type(raised), raised.code) == (Broken, "timestamp_overflow")


def test_the_last_time_of_a_day_is_kept(postgres: PostgresDatabase) -> None:
    chunks = fluxport.stream("SELECT '24:00'::time AS t", source=f"adbc+{postgres.url}")
    assert b"".join(chunks) == b"t\n24:00:00.000000\n"


def test_json_is_embedded_in_json(postgres: PostgresDatabase) -> None:
    chunks = fluxport.stream("""SELECT '{"a": [1]}'::jsonb AS j""", source=f"adbc+{postgres.url}", format="json")
    assert b'{"j":{"a": [1]}}' in b"".join(chunks)


@pytest.mark.parametrize("value", ["'10.0.0.1'::inet", "'5'::money", "'(1,2)'::point", "'[1,3)'::int4range"])
def test_a_type_that_only_the_driver_can_read_is_refused_by_name(postgres: PostgresDatabase, value: str) -> None:
    raised = error(f"adbc+{postgres.url}", f"SELECT {value} AS v")
    assert (type(raised), raised.code) == (Refused, "unsupported_type")
    assert "Column 'v'" in raised.message
    assert "CAST it AS text" in raised.message


def test_nested_types_and_names_of_types_come_as_the_driver_tells_them() -> None:
    rows = table("adbc+duckdb:///", "SELECT [1, 2] AS l, {'a': 1} AS s, 1.5::DECIMAL(9,3) AS d, 'x'::ENUM('x') AS e")
    assert rows.to_pylist() == [{"l": [1, 2], "s": {"a": 1}, "d": Decimal("1.500"), "e": "x"}]
    assert (rows.schema.field("d").metadata or {})[FIELD_TYPE] == b"decimal128(9, 3)"


def test_text_that_is_not_utf_8_is_replaced_and_counted(file: Path) -> None:
    findings = Findings()
    rows = table(
        f"adbc+sqlite:///{file}", "SELECT CAST(x'41ff42' AS TEXT) AS v UNION ALL SELECT 'é'", findings=findings
    )
    assert rows["v"].to_pylist() == ["A\ufffdB", "é"]
    assert [(f.code, f.column, f.count) for f in findings] == [("invalid_text_replaced", "v", 1)]


def test_a_type_that_later_rows_contradict_is_an_error(file: Path) -> None:
    """The driver takes the types of the first rows."""
    raised = error(f"adbc+sqlite:///{file}", "SELECT v FROM t ORDER BY rowid")
    assert (type(raised), raised.code) == (QueryFailed, "query_failed")
    assert "Type mismatch in column 0" in (raised.detail or "")


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["postgresql", "sqlite", "duckdb"])
def test_parameters_are_values_never_text(postgres: PostgresDatabase, file: Path, name: str) -> None:
    url = {"postgresql": postgres.url, "sqlite": f"sqlite:///{file}", "duckdb": "duckdb:///"}[name]
    text = "it's; DROP TABLE t -- $1 ? :a \\"
    rows = table(
        f"adbc+{url}", "SELECT :text AS t, ':text' AS q, CAST(:n AS INTEGER) + 1 AS n", {"text": text, "n": 41}
    )
    assert rows.to_pylist() == [{"t": text, "q": ":text", "n": 42}]


def test_a_value_that_cannot_be_bound_is_refused(file: Path) -> None:
    raised = error(f"adbc+sqlite:///{file}", "SELECT ?", [object()])
    assert (raised.code, raised.message) == ("bad_params", "Parameter 1 is a object, which cannot be bound.")


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("adbc+snowflake://user@account/db", "missing_extra"),
        ("adbc+nosuchdriver://host", "missing_extra"),
        ("adbc://host", "bad_dsn"),
        ("adbc+../evil.so://host", "bad_dsn"),
        ("adbc+flightsql://host:1/path", "bad_dsn"),
        ("adbc+flightsql://host:1?tls=maybe", "bad_dsn"),
        ("adbc+sqlite://file.db", "bad_dsn"),
        ("adbc+sqlite:///file.db?mode=rwc", "bad_dsn"),
        ("adbc+sqlite:///nosuchfile.db", "unknown_database"),
        ("adbc+duckdb:///nosuchfile.db", "unknown_database"),
        ("adbc+flightsql://127.0.0.1:1?tls=off", "source_unreachable"),
        ("adbc+flightsql://127.0.0.1:1?read-timeout=never", "bad_dsn"),
        ("adbc+postgresql://postgres:secret@127.0.0.1:1/db", "source_unreachable"),
    ],
)
def test_a_bad_url_is_one_sentence_without_the_url(url: str, code: str) -> None:
    raised = error(url)
    assert raised.code == code
    assert "secret" not in raised.message


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT 1; DELETE FROM t", "syntax_error"),
        ("CREATE TABLE made (a int)", "read_only"),
        ("INSERT INTO t VALUES (1)", "read_only"),
        ("SELEC", "syntax_error"),
        ("SELECT * FROM nosuchtable", "unknown_table"),
        ("SELECT 1 / (30000 - g) FROM generate_series(1, 40000) g", "bad_value"),
    ],
)
def test_a_bad_statement_is_refused_with_its_code(postgres: PostgresDatabase, query: str, code: str) -> None:
    postgres.run("CREATE TABLE IF NOT EXISTS t (a int)")
    assert error(f"adbc+{postgres.url}", query).code == code
    assert postgres.run("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("driver", ["sqlite", "duckdb"])
def test_a_file_is_opened_for_reading_only(tmp_path: Path, driver: str) -> None:
    file = tmp_path / "rows"
    with closing(sqlite3.connect(file) if driver == "sqlite" else duckdb.connect(str(file))) as connection:
        connection.execute("CREATE TABLE t (a int)")
    before = file.read_bytes()
    assert isinstance(error(f"adbc+{driver}:///{file}", "INSERT INTO t VALUES (1)"), Refused)
    assert file.read_bytes() == before


def test_a_wrong_password_and_a_server_without_tls_are_told_apart(postgres: PostgresDatabase) -> None:
    with flight_sql_server("right") as server:
        with_login = server.url.replace("127.0.0.1", "reader:{}@127.0.0.1")
        assert table(with_login.format("right"), "SELECT 1 AS a").to_pylist() == [{"a": 1}]
        assert error(with_login.format("wrong")).code == "login_refused"
        assert error(server.url.removesuffix("?tls=off")).code == "source_unreachable"
    user = postgres.url.replace("postgres@", "nosuchrole@")
    assert error(f"adbc+{user}").code == "login_refused"


def test_two_thousand_columns(postgres: PostgresDatabase) -> None:
    columns = ", ".join(f"g + {n} AS c{n}" for n in range(1600))  # the server's most
    rows = table(f"adbc+{postgres.url}", f"SELECT {columns} FROM generate_series(1, 3) g")
    assert (rows.num_rows, rows.num_columns, rows["c1599"].to_pylist()) == (3, 1600, [1600, 1601, 1602])
    more = ", ".join(f"{n} AS c{n}" for n in range(2000))
    assert table("adbc+duckdb:///", f"SELECT {more}").num_columns == 2000


def test_a_server_that_stalls_is_left_after_the_read_timeout(postgres: PostgresDatabase) -> None:
    with FaultProxy(postgres.url, "stall", 200_000) as proxy:
        raised = error(
            f"adbc+{proxy.url}?read-timeout=1s", "SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) g"
        )
    assert (type(raised), raised.code, raised.again) == (Unavailable, "source_timeout", False)


def test_a_server_that_stalls_at_the_login_is_left_after_the_connect_timeout(postgres: PostgresDatabase) -> None:
    with FaultProxy(postgres.url, "stall", 0) as proxy:
        raised = error(f"adbc+{proxy.url}?connect-timeout=1s")
    assert (type(raised), raised.code) == (Unavailable, "source_unreachable")


@pytest.mark.parametrize("fault", ["fin", "rst"])
def test_a_connection_that_breaks_between_rows_is_no_end(postgres: PostgresDatabase, fault: Any) -> None:
    with FaultProxy(postgres.url, fault, 200_000) as proxy:
        raised = error(f"adbc+{proxy.url}", "SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) g")
    assert isinstance(raised, Unavailable)
    assert raised.code == "source_lost"


# -- the guard ---------------------------------------------------------------------------------------------------------


def test_the_guard_is_that_of_the_server_and_none_for_engines_in_the_process() -> None:
    assert guard_of("adbc+postgresql://host/db") == SOURCES["postgresql"].guard
    for driver in ("sqlite", "duckdb", "flightsql", "snowflake"):
        with pytest.raises(QueryRefused):
            guard_dialect(f"adbc+{driver}://host/db")


def test_the_account_is_checked_as_the_server_s_own_source_does(postgres: PostgresDatabase) -> None:
    account = inspect_account(f"adbc+{postgres.url}")
    assert account.server.startswith("PostgreSQL ")
    assert "everything (superuser)" in account.excess
    assert not inspect_account("adbc+duckdb:///").checked


def test_datasets_have_the_dialect_of_the_database_where_it_is_known() -> None:
    assert [dialect_of(f"adbc+{driver}://x") for driver in ("postgresql", "sqlite", "flightsql")] == [
        "postgresql",
        "sqlite",
        "other",
    ]
