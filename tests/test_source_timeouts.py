"""``connect-timeout`` and ``read-timeout`` are the same for every source, in its URL and by the connection."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fault_proxy import FaultProxy
from fluxport.config import Config
from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.plan import Connection
from fluxport.sources import SourceOptions, open_source
from fluxport.wiring import connections
from identity_support import Clock, empty_store
from mysql_support import scratch_database
from postgres_support import scratch_postgres
from test_jobs_attempts import attempt, attempts, queued

# Each says nothing for a minute before its first row.
SILENT = {
    "mysql": "SELECT SLEEP(60)",
    "postgresql": "SELECT pg_sleep(60)",
    "sqlite": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r WHERE n < 0",
}
# Each gives its first row after more than the shortest timeout below, as a sort does.
SORTED = {
    "mysql": "SELECT SLEEP(1)",
    "postgresql": "SELECT 1 FROM pg_sleep(1)",
    "sqlite": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000000) SELECT max(n) FROM r",
}


@pytest.fixture(params=SILENT, scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "mysql":
        with scratch_database() as mysql:
            yield mysql.url
    elif request.param == "postgresql":
        with scratch_postgres() as postgres:
            yield postgres.url
    else:
        file = tmp_path_factory.mktemp("sqlite") / "rows.db"
        file.touch()
        yield f"sqlite:///{file}"


def kind_of(url: str) -> str:
    return url.partition("://")[0]


def with_option(url: str, option: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{option}"


def ended(url: str, query: str, options: SourceOptions | None = None) -> FluxportError:
    source = open_source(url, query, options=options)
    with closing(source), pytest.raises(FluxportError) as caught:
        list(source.batches())
    return caught.value


@pytest.mark.parametrize("option", ["read-timeout=300ms", "read_timeout=0.3", "READ-TIMEOUT=0.3s"])
def test_silence_is_as_long_as_the_url_says(url: str, option: str) -> None:
    error = ended(with_option(url, option), SILENT[kind_of(url)])
    assert (type(error), error.code) == (Unavailable, "source_timeout")
    assert "raise read-timeout" in error.message


def test_the_timeout_is_that_of_the_connection_and_the_url_wins(url: str) -> None:
    short = SourceOptions(read_timeout_s=0.3)
    assert ended(url, SILENT[kind_of(url)], short).code == "source_timeout"
    source = open_source(with_option(url, "read-timeout=2m"), SORTED[kind_of(url)], options=short)
    with closing(source):
        assert sum(batch.num_rows for batch in source.batches()) == 1


@pytest.mark.parametrize("option", ["connect-timeout=soon", "read-timeout=0", "read-timeout=-5", "read_timeout="])
def test_an_invalid_time_is_refused_in_one_sentence(url: str, option: str) -> None:
    with pytest.raises(Refused, match=r"takes a time such as 10s, 500ms or 1m30s\.$") as caught:
        open_source(with_option(url, option), "SELECT 1")
    assert caught.value.code == "bad_dsn"


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
@pytest.mark.parametrize("by_url", [True, False])
def test_a_server_that_does_not_answer_is_left_after_the_connect_timeout(scheme: str, by_url: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://u@127.0.0.1:{silent.getsockname()[1]}/d"
        if by_url:
            error = ended(with_option(address, "connect-timeout=200ms"), "SELECT 1")
        else:
            error = ended(address, "SELECT 1", SourceOptions(connect_timeout_s=0.2))
    assert type(error) is Unavailable
    assert "0.2 s" in error.message


@pytest.mark.parametrize("option", ["connect-timeout=100ms", "busy-timeout=0.1", "busy-timeout=0"])
def test_a_writer_is_what_sqlite_waits_for(tmp_path: Path, option: str) -> None:
    with closing(sqlite3.connect(tmp_path / "rows.db", isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (v)")
        writer.execute("PRAGMA locking_mode = EXCLUSIVE")
        writer.execute("BEGIN EXCLUSIVE")
        error = ended(f"sqlite:///{tmp_path}/rows.db?{option}", "SELECT v FROM t")
    assert error.code == "source_locked"


def test_connections_of_the_configuration_have_both(tmp_path: Path) -> None:
    url = "postgresql://u@127.0.0.1/d"
    config = Config.model_validate(
        {"connections": {"main": {"url": url, "connect_timeout_s": "3s", "read_timeout_s": "30m"}}}
    )
    options = connections(config)["main"].options
    assert (options.connect_timeout_s, options.read_timeout_s) == (3.0, 1800.0)


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_a_silent_database_holds_its_slot_for_one_read_timeout(scheme: str, tmp_path: Path) -> None:
    """Another attempt would wait as long again; TCP detects a lost peer earlier."""
    with (
        scratch_database() if scheme == "mysql" else scratch_postgres() as database,
        FaultProxy(database.url, "stall", 20_000) as proxy,
        empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as store,
    ):
        query = "SELECT seq FROM seq_1_to_100000" if scheme == "mysql" else "SELECT generate_series(1, 100000)"
        connection = Connection("main", with_option(proxy.url, "read-timeout=500ms"))
        record = queued(store, query)
        assert attempt(store, attempts(store, connection), record) is None
        ended = store.get(record.id)
    assert (ended.status, ended.attempts) == ("failed", 1)
    assert [reason.code for reason in ended.attempt_errors] == ["source_timeout"]
