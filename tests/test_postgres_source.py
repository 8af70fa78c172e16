"""PostgreSQL in practice: refused logins, killed backends, stalls, deadlines, writers, large results."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from fault_proxy import Fault, FaultProxy
from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Refused, TimedOut, Unavailable
from fluxport.findings import Finding
from fluxport.sources import SourceOptions, open_source
from fluxport.stages import Limits
from mysql_support import read_all, wait_until
from postgres_support import PostgresDatabase, scratch_postgres


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        yield made


def code_of(
    url: str, query: str, limits: Limits | None = None, options: SourceOptions | None = None
) -> tuple[type, str]:
    source = open_source(url, query, limits=limits, options=options)
    with pytest.raises(FluxportError) as caught:
        for _ in source.batches():
            pass
    assert "sensitive" not in caught.value.message
    return type(caught.value), caught.value.code


REJECTED = [
    ("SELECT FROM WHERE", "syntax_error"),
    ("SELECT * FROM missing", "unknown_table"),
    ("SELECT missing FROM pg_class", "unknown_column"),
    ("SELECT missing(1)", "unknown_function"),
    ("SELECT 'x'::int", "bad_value"),
    ("SELECT 1/g FROM generate_series(-100000, 0) g", "bad_value"),
    ("CREATE TABLE u (v int)", "no_result_set"),
    ("SHOW all", "syntax_error"),
    ("SELECT 1; SELECT 2", "syntax_error"),
    ("SELECT 1) TO STDOUT; DROP TABLE kept; --", "syntax_error"),
    ("SELECT 1) TO PROGRAM 'touch /sensitive' --", "syntax_error"),
    ("WITH d AS (DELETE FROM kept RETURNING v) SELECT * FROM d", "read_only"),
    ("SELECT nextval('counter')", "read_only"),
]


@pytest.mark.parametrize(("query", "code"), REJECTED)
def test_what_is_rejected_has_a_code_and_changes_nothing(database: PostgresDatabase, query: str, code: str) -> None:
    database.run("CREATE TABLE IF NOT EXISTS kept (v text)")
    database.run("CREATE SEQUENCE IF NOT EXISTS counter")
    database.run("TRUNCATE kept")
    database.run("INSERT INTO kept VALUES ('sensitive')")
    assert code_of(database.url, query) == (QueryFailed if code != "no_result_set" else Refused, code)
    assert database.run("SELECT v FROM kept") == [("sensitive",)]


def test_what_a_read_only_transaction_lets_through_is_rolled_back(database: PostgresDatabase) -> None:
    read_all(database.url, "SELECT lo_create(0) IS NOT NULL AS v")
    assert database.run("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


def test_comments_and_a_semicolon_at_the_end_are_accepted(database: PostgresDatabase) -> None:
    assert read_all(database.url, "SELECT 1 AS v ; \n")[0].to_pylist() == [{"v": 1}]
    assert read_all(database.url, "SELECT 1 AS v -- the end")[0].to_pylist() == [{"v": 1}]


def test_the_order_of_the_query_is_preserved(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, "SELECT g FROM generate_series(1, 200000) g ORDER BY g DESC")
    assert table["g"].to_pylist() == list(range(200_000, 0, -1))


def test_a_refused_connection_is_recognized_by_its_sqlstate(database: PostgresDatabase) -> None:
    parts = urlsplit(database.url)
    place = f"{parts.hostname}:{parts.port}"
    full = f"{database.name}_full"
    database.run(f"CREATE ROLE {full} LOGIN CONNECTION LIMIT 0")
    try:
        no_one = parts._replace(netloc=f"no_such_role:sensitive@{place}").geturl()
        assert code_of(no_one, "SELECT 1") == (QueryFailed, "login_refused")
        nowhere = parts._replace(path="/no_such_database").geturl()
        assert code_of(nowhere, "SELECT 1") == (QueryFailed, "unknown_database")
        crowded = parts._replace(netloc=f"{full}@{place}").geturl()
        assert code_of(crowded, "SELECT 1") == (Unavailable, "source_busy")
    finally:
        database.run(f"DROP ROLE {full}")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"R\0\0\0\x08\0\0\0\x03", (QueryFailed, "login_refused")),  # it wants a password
        (b"E\0\0\0\x14SFATAL\0C53300\0\0", (Unavailable, "source_busy")),
        (b"junk", (Unavailable, "source_unreachable")),
    ],
)
def test_the_error_of_a_server_before_the_login_is_reported(answer: bytes, expected: tuple[type, str]) -> None:
    """A server that sends ``answer`` on every connection and closes it; libpq fails, then the cause is determined."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        options = "sslmode=disable&gssencmode=disable"
        assert code_of(f"postgresql://u:@127.0.0.1:{port}/d?{options}", "SELECT 1") == expected
        thread.join(5)


def test_an_unreachable_server_may_recover() -> None:
    assert code_of("postgresql://u:sensitive@127.0.0.1:1/d", "SELECT 1") == (Unavailable, "source_unreachable")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sensitive@h:x/d",
        "postgresql://u:p@h/d?sensitive=1",
        "postgres://[sensitive/d",
        "postgresql://u:%zzsensitive@h/d",
    ],
)
def test_a_url_that_libpq_cannot_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Refused) as caught:
        open_source(url, "SELECT 1")
    assert caught.value.code == "bad_dsn"
    assert "sensitive" not in str(caught.value)


def test_options_of_the_url_do_not_lift_the_guards(database: PostgresDatabase) -> None:
    tampering = "-c default_transaction_read_only=off -c DateStyle=German -c TimeZone=Asia/Tokyo"
    query = (
        "SELECT current_setting('transaction_read_only') r, current_setting('transaction_isolation') i, "
        "'2024-01-02'::date::text d, '2024-01-01 00:00+00'::timestamptz::text z"
    )
    row = read_all(f"{database.url}?options={quote(tampering)}", query)[0].to_pylist()
    assert row == [{"r": "on", "i": "repeatable read", "d": "2024-01-02", "z": "2024-01-01 00:00:00+00"}]


def test_a_killed_backend_is_an_error_and_never_a_short_result(database: PostgresDatabase) -> None:
    source = open_source(database.url, "SELECT g, repeat('x', 100) FROM generate_series(1, 300000) g")
    batches = source.batches()
    next(batches)
    for pid in database.backends():
        database.terminate(pid)
    with pytest.raises(Unavailable) as caught:
        list(batches)
    assert caught.value.code == "source_lost"


@pytest.mark.parametrize("fault", ["fin", "rst", "stall"])
@pytest.mark.parametrize("after_bytes", [10, 3_000_000])
def test_a_connection_that_breaks_is_an_error_and_never_a_short_result(
    database: PostgresDatabase, fault: Fault, after_bytes: int
) -> None:
    with FaultProxy(database.url, fault, after_bytes) as proxy:
        url = proxy.url + "?sslmode=disable&gssencmode=disable"
        options = SourceOptions(connect_timeout_s=0.5, read_timeout_s=0.5)
        kind, code = code_of(url, "SELECT g, repeat('x', 100) FROM generate_series(1, 300000) g", options=options)
    assert kind is Unavailable
    assert code in {"source_lost", "source_timeout", "source_unreachable"}
    assert wait_until(lambda: database.backends() == [])


@pytest.mark.parametrize("query", ["SELECT pg_sleep(60)", "SELECT pg_sleep(0.01) FROM generate_series(1, 10000)"])
def test_the_deadline_ends_the_query_on_the_server(database: PostgresDatabase, query: str) -> None:
    assert code_of(database.url, query, Limits(deadline_s=0.3)) == (TimedOut, "deadline")
    assert wait_until(lambda: database.backends() == [], 2)


def test_a_cell_beyond_the_limit_is_named(database: PostgresDatabase) -> None:
    query = "SELECT g AS id, repeat('x', CASE g WHEN 70000 THEN 2000 ELSE 1 END) AS v FROM generate_series(1, 100000) g"
    with pytest.raises(LimitExceeded, match=r"Column 'v', row 70,000 holds a cell of 2,000 bytes") as caught:
        read_all(database.url, query, limits=Limits(cell_bytes_max=1999))
    assert caught.value.code == "cell_too_large"


LARGE_ROW = """
import resource, sys
from fluxport.errors import LimitExceeded, TimedOut
from fluxport.sources import open_source
from fluxport.stages import Limits
def read(size):
    source = open_source(sys.argv[1], f"SELECT repeat('x', {size}) AS v", limits=Limits(cell_bytes_max=2 << 20))
    try:
        end = sum(batch.num_rows for batch in source.batches())
    except LimitExceeded as error:
        end = error.code
    return end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small, before = read(2 << 20)
large, after = read(300 << 20)
print(small, large, after - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many bytes of a row have come in")
def test_a_row_too_large_is_refused_before_it_is_held(database: PostgresDatabase) -> None:
    done = subprocess.run([sys.executable, "-c", LARGE_ROW, database.url], capture_output=True, text=True, check=True)
    small, large, taken = done.stdout.split()
    assert (small, large) == ("1", "row_too_large")
    assert int(taken) < 150 << 10  # KiB; whole, libpq holds it twice


def test_bytes_that_are_not_utf8_are_replaced_and_counted() -> None:
    """A database of encoding SQL_ASCII holds any bytes."""
    with scratch_postgres() as made:
        ascii_name = f"{made.name}_ascii"
        made.run(f"CREATE DATABASE {ascii_name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        try:
            url = urlsplit(made.url)._replace(path=f"/{ascii_name}").geturl()
            table, findings = read_all(url, "SELECT E'a\\xffb'::text AS v, 1 AS n UNION ALL SELECT 'c', 2")
        finally:
            made.run(f"DROP DATABASE {ascii_name} WITH (FORCE)")
    assert table.to_pylist() == [{"v": "a\ufffdb", "n": 1}, {"v": "c", "n": 2}]
    assert [(f.code, f.column, f.count) for f in findings] == [("invalid_text_replaced", "v", 1)]


def test_warnings_of_the_server_are_findings_and_notices_are_not(database: PostgresDatabase) -> None:
    database.run(
        "CREATE FUNCTION spoken(level text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
        "IF level = 'warning' THEN RAISE WARNING 'sensitive' USING ERRCODE = '01004'; "
        "ELSE RAISE NOTICE 'sensitive'; END IF; RETURN 1; END $$"
    )
    table, findings = read_all(database.url, "SELECT spoken('notice') AS n, spoken('warning') AS w")
    assert table.to_pylist() == [{"n": 1, "w": 1}]
    assert findings == [Finding("database_warning", None, 1, "SQLSTATE 01004")]
    assert "sensitive" not in findings[0].sentence


def test_what_the_server_says_may_be_larger_than_any_row(database: PostgresDatabase) -> None:
    """While it plans (an immutable function of constants), among the rows, and in an error, which quotes the value."""
    database.run(
        "CREATE FUNCTION wordy(v int, size int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
        "IF v = 3 THEN RAISE WARNING '%', repeat('w', size); ELSE RAISE NOTICE '%', repeat('w', size); END IF; "
        "RETURN v; END $$"
    )
    assert read_all(database.url, "SELECT wordy(1, 100000) AS v")[0].to_pylist() == [{"v": 1}]
    table, findings = read_all(database.url, "SELECT wordy(g, 1500000) AS v FROM generate_series(1, 5) AS g")
    assert table["v"].to_pylist() == [1, 2, 3, 4, 5]
    assert findings == [Finding("database_warning", None, 1, "SQLSTATE 01000")]
    query = "SELECT repeat('x', g * 3000000)::int AS v FROM generate_series(1, 2) AS g"
    assert code_of(database.url, query) == (QueryFailed, "bad_value")


GROWTH = """
import resource, sys
from fluxport.sources import open_source
def peak(rows):
    source = open_source(sys.argv[1], sys.argv[2].format(rows))
    n = sum(batch.num_rows for batch in source.batches())
    assert n == rows, n
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = peak(20_000)
print(peak(300_000) - few)
"""


def test_a_missing_driver_is_named() -> None:
    code = (
        "import ctypes.util, sys; sys.modules.update(psycopg_binary=None, psycopg_c=None); "
        "ctypes.util.find_library = lambda name: None; from fluxport.sources import open_source; "
    )
    done = subprocess.run(
        [sys.executable, "-c", code + "open_source('postgresql://h/d', 'SELECT 1')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Refused: PostgreSQL needs the package psycopg: pip install 'fluxport[postgres]'." in done.stderr


def test_memory_does_not_grow_with_the_rows(database: PostgresDatabase) -> None:
    query = "SELECT g, repeat('x', 200) AS t, now() AS z FROM generate_series(1, {}) g"
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, database.url, query],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    assert int(done.stdout) < 24 << 10  # KiB; the rows are 65 MB
