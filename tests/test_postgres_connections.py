"""PostgreSQL's connections: TLS and sockets, passwords and service files of libpq, PgBouncer."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from fault_proxy import Fault, FaultProxy
from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, TimedOut, Unavailable
from fluxport.sources import SourceOptions, open_source
from fluxport.sources.postgres.link import Link, conninfo
from fluxport.sources.postgres.rows import RowShape, libpq_blocks
from fluxport.stages import Limits
from mysql_support import read_all, wait_until
from private_postgres import PASSWORD, PrivatePostgres, pgbouncer, private_postgres

NUMBERS = "SELECT g AS id, 'row ' || g AS label, g / 4.0::numeric(12,2) AS n FROM generate_series(1, {}) AS g"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with private_postgres() as made:
        yield made


def sessions(server: PrivatePostgres, state: str = "%") -> int:
    with psycopg.connect(server.url_of_socket) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state LIKE %s"
        found = connection.execute(query + " AND pid <> pg_backend_pid()", [state]).fetchone()
    assert found is not None
    return int(found[0])


def encrypted(server: PrivatePostgres) -> str:
    return f"{server.url}?sslmode=verify-full&sslrootcert={server.ca}"


@pytest.mark.parametrize("way", ["tls", "plain", "socket"])
def test_rows_are_the_same_by_every_way(server: PrivatePostgres, way: str) -> None:
    urls = {"tls": encrypted(server), "plain": f"{server.url}?sslmode=disable", "socket": server.url_of_socket}
    used, _ = read_all(urls[way], "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert used["ssl"].to_pylist() == [way == "tls"]
    table, _ = read_all(urls[way], NUMBERS.format(50_000))
    assert table["id"].to_pylist() == list(range(1, 50_001))
    assert table["label"].to_pylist() == [f"row {g}" for g in range(1, 50_001)]
    assert table["n"].to_pylist()[:2] == ["0.25000000000000000000", "0.50000000000000000000"]
    assert read_all(urls[way], NUMBERS.format(0))[0].num_rows == 0


def raised(url: str, query: str, limits: Limits | None = None) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        for _ in open_source(url, query, limits=limits).batches():
            pass
    assert "sensitive" not in caught.value.message
    return caught.value


def test_errors_and_ends_are_told_through_tls_too(server: PrivatePostgres) -> None:
    url = encrypted(server)
    late = raised(url, "SELECT 1 / (100000 - g) FROM generate_series(1, 200000) AS g")
    assert isinstance(late, QueryFailed)
    assert late.code == "bad_value"
    assert isinstance(raised(url, "SELECT pg_sleep(60)", Limits(deadline_s=0.3)), TimedOut)
    large = raised(url, "SELECT repeat('x', 3000) AS v", Limits(cell_bytes_max=2000))
    assert isinstance(large, LimitExceeded)
    killing = "SELECT g, CASE WHEN g = 150000 THEN pg_terminate_backend(pg_backend_pid()) END FROM generate_series"
    lost = raised(url, f"{killing}(1, 200000) AS g")
    assert isinstance(lost, Unavailable)
    assert lost.code == "source_lost"
    batches = open_source(url, NUMBERS.format(5_000_000)).batches()
    next(batches)
    batches.close()
    assert wait_until(lambda: sessions(server) == 0)


@pytest.mark.parametrize("fault", ["fin", "rst", "stall"])
def test_an_encrypted_connection_that_breaks_is_an_error(server: PrivatePostgres, fault: Fault) -> None:
    with FaultProxy(server.url, fault, 3_000_000) as proxy:
        options = SourceOptions(connect_timeout_s=5, read_timeout_s=0.5)
        source = open_source(f"{proxy.url}?sslmode=require", NUMBERS.format(300_000), options=options)
        with pytest.raises(Unavailable) as caught:
            list(source.batches())
    assert caught.value.code == ("source_timeout" if fault == "stall" else "source_lost")
    assert wait_until(lambda: sessions(server) == 0)


def read_by_libpq(server: PrivatePostgres, query: str, bytes_max: int = 1 << 20) -> list[tuple[int, int]]:
    """The first row and the number of rows of each block, as they are read where only libpq can decrypt them."""
    address, connect_s, read_s = conninfo(encrypted(server), {})
    link = Link(address, lambda: None, connect_s, read_s)
    try:
        link.connect()
        link.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)")
        return [(block.first_row, len(block)) for block in libpq_blocks(link, RowShape(1, bytes_max))]
    finally:
        link.end()


def test_rows_that_only_libpq_can_read(server: PrivatePostgres) -> None:
    found = read_by_libpq(server, "SELECT g FROM generate_series(1, 200000) AS g")
    assert sum(rows for _, rows in found) == 200_000
    assert [first for first, _ in found] == list(itertools.accumulate((rows for _, rows in found), initial=1))[:-1]
    assert read_by_libpq(server, "SELECT 1 WHERE false") == []
    with pytest.raises(QueryFailed):
        read_by_libpq(server, "SELECT 1 / (100000 - g) FROM generate_series(1, 200000) AS g")
    with pytest.raises(LimitExceeded, match="Row 3 "):
        read_by_libpq(server, "SELECT repeat('x', g * g * 1000) FROM generate_series(1, 5) AS g", 5000)
    with pytest.raises(Unavailable) as caught:
        killing = "CASE WHEN g = 150000 THEN pg_terminate_backend(pg_backend_pid()) END"
        read_by_libpq(server, f"SELECT {killing} FROM generate_series(1, 200000) AS g")
    assert caught.value.code == "source_lost"


def test_a_certificate_of_another_authority_is_refused(server: PrivatePostgres, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("")
    error = raised(f"{server.url}?sslmode=verify-full&sslrootcert={tmp_path / 'none.pem'}", "SELECT 1")
    assert error.code == "login_refused"


def exported(url: str, query: str, **environment: str) -> str:
    """The rows as CSV, by a command whose variables of libpq are these only."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    words = ["export", query, "--no-guard", "--from", url, "--to", "-", "--format", "csv", "-o", "header=false"]
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", *words],
        capture_output=True,
        text=True,
        check=False,
        env=own | environment,
    )
    return done.stdout.strip() or done.stderr


def test_the_environment_of_libpq_and_its_files_apply(server: PrivatePostgres, tmp_path: Path) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{server.port}:*:postgres:{PASSWORD}\n")
    passwords.chmod(0o600)
    services = tmp_path / "services"
    services.write_text(
        f"[shop]\nhost=127.0.0.1\nport={server.port}\ndbname=postgres\nuser=postgres\napplication_name=of_service\n"
    )
    query = (
        "SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS s, "
        "current_setting('application_name') AS a, current_setting('TimeZone') AS z"
    )
    files = {"PGPASSFILE": str(passwords), "PGSERVICEFILE": str(services), "PGTZ": "Asia/Tokyo"}
    assert exported("postgresql:///?service=shop", query, **files) == "true,of_service,UTC"
    assert exported("postgresql://", query, **files, PGSERVICE="shop", PGSSLMODE="disable") == "false,of_service,UTC"
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    named = {"PGPASSWORD": PASSWORD, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": server.ca}
    assert exported("postgresql://", query, **place, **named) == "true,fluxport,UTC"
    assert exported("postgresql://", query, **place, **named, PGAPPNAME="mine") == "true,mine,UTC"
    assert "login" in exported("postgresql://", query, **place, PGPASSWORD="wrong")


def test_a_pooler_of_transactions(server: PrivatePostgres) -> None:
    """Whatever session a transaction gets: its settings are set anew, and are not left behind for others."""
    with pgbouncer(server) as url:
        query = "SELECT g, '2024-01-02 03:04+00'::timestamptz::text AS z, 1.5::numeric(4,2) AS n, ARRAY[g] AS a FROM "
        for _ in range(3):
            table, _ = read_all(url, query + "generate_series(1, 30000) AS g")
            assert table.num_rows == 30_000
            assert table.slice(29_999).to_pylist() == [
                {"g": 30_000, "z": "2024-01-02 03:04:00+00", "n": Decimal("1.50"), "a": "[30000]"}
            ]
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as beside:
            left = beside.execute("SELECT current_setting('IntervalStyle'), current_setting('statement_timeout')")
            assert left.fetchone() == ("postgres", "0")
        batches = open_source(url, NUMBERS.format(5_000_000), options=SourceOptions(read_timeout_s=5)).batches()
        next(batches)
        batches.close()
        assert wait_until(lambda: sessions(server, "active") == 0)
