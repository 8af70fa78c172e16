"""Expiry is decided by the database's clock, whatever the clock of a process shows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxport.auth.caller import Caller
from fluxport.auth.signing import sign_v2
from fluxport.errors import Unavailable
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.spec import ExportSpec
from postgres_support import PostgresDatabase, scratch_postgres
from service_support import SECRET, service

DAY_S = 86_400.0


@contextlib.contextmanager
def database_of_another_time(ahead_s: float) -> Iterator[PostgresDatabase]:
    """A database whose clock is ahead of this process's by that much."""
    with scratch_postgres() as made:
        made.run("CREATE SCHEMA shifted")
        made.run(
            "CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            f"$$ SELECT pg_catalog.clock_timestamp() + interval '{ahead_s} s' $$"
        )
        made.run(f"ALTER DATABASE {made.name} SET search_path = shifted, pg_catalog, public")
        yield made


def opened(url: str) -> JobStore:
    store = JobStore(url)
    store.create_tables()
    return store


def completed(store: JobStore, keep_s: float) -> Record:
    record, _ = store.create(
        ExportRequest(ExportSpec("SELECT 1")),
        Caller("ann"),
        api="native",
        active_max=9,
        queue_max=9,
    )
    store.claim(record.id, attempts_max=1)
    return store.move(record.id, "completed", expires_at=store.clock() + keep_s)


@pytest.mark.parametrize("ahead_s", [-8 * DAY_S, 8 * DAY_S, 31.0])
def test_a_process_whose_clock_differs_sweeps_nothing_and_reports_it(
    ahead_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    with database_of_another_time(ahead_s) as database:
        store = opened(database.url)
        record = completed(store, keep_s=-1.0)
        for sweep in (store.expire, lambda: store.purge_history(0.0), lambda: store.purge_audit(0.0)):
            with pytest.raises(Unavailable) as refused:
                sweep()
            assert refused.value.code == "clock_differs"
        with pytest.raises(Unavailable):
            store.check_clock()
        assert store.get(record.id).status == "completed"
        store.close()
    side = "behind" if ahead_s > 0 else "ahead of"
    assert any(f"s {side} that of the service's database" in line.getMessage() for line in caplog.records)


@pytest.mark.parametrize("ahead_s", [-8 * DAY_S, 8 * DAY_S])
def test_what_a_process_writes_down_has_the_times_of_the_database(ahead_s: float) -> None:
    with database_of_another_time(ahead_s) as database:
        store = opened(database.url)
        record = completed(store, keep_s=60.0)
        store.create_push(
            ExportSpec(connection="push", pushed=[{"name": "a", "type": "string"}]),
            Caller("ann"),
            api="grpc",
            key=("push:1", "1"),
            held_until=store.clock() + 60.0,
        )
        assert store.lost_pushes() == []
        assert store.lost_streams(60.0) == []
        store.close()
    assert abs(record.created_at - time.time() - ahead_s) < 30
    assert record.finished_at is not None
    assert record.created_at <= record.finished_at + 1


def test_a_synchronized_clock_sweeps_what_is_due(tmp_path: Path) -> None:
    store = opened(f"sqlite:///{tmp_path}/fluxport.db")
    due, retained = completed(store, keep_s=-1.0), completed(store, keep_s=3600.0)
    assert [record.id for record in store.expire()] == [due.id]
    assert store.get(retained.id).status == "completed"
    store.close()


def test_a_service_eight_days_ahead_is_not_ready_and_lets_in_what_the_database_finds_fresh(tmp_path: Path) -> None:
    with database_of_another_time(-8 * DAY_S) as database:
        nowhere = "mysql://nobody@127.0.0.1:1/app"
        with service(tmp_path, nowhere, "--no-worker", FLUXPORT_DATABASE=database.url) as client:
            ready = client.plain_get("/health/ready").json()
            signed = sign_v2(SECRET, "default", "GET", "/v1/exports", b"", int(time.time() - 8 * DAY_S), "a" * 24)
            fresh = client.plain_get("/v1/exports", signed)
            stale = client.get("/v1/exports")
    assert ready["clock"] == "unavailable"
    assert fresh.status_code == 200
    assert stale.status_code == 401
