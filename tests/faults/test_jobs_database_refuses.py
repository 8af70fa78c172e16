"""The service's own database returns errors: temporary ones are retried, permanent ones are reported in a sentence."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sqlite3
from pathlib import Path

import httpx
import pytest

from fault_proxy import FaultProxy
from mysql_support import wait_until
from postgres_support import PostgresDatabase, scratch_postgres
from service_support import Client, emulator, process, service

ROWS = 300_000
BODY = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}, "format": "csv"}


def writes(database: PostgresDatabase, allowed: bool) -> None:
    """Make every session of the service read-only, as after a failover to a standby, or writable again."""
    setting = "RESET default_transaction_read_only" if allowed else "SET default_transaction_read_only = on"
    database.run(f"ALTER DATABASE {database.name} {setting}")
    for pid in database.backends():
        database.terminate(pid)


def status(client: Client, export_id: str) -> str:
    found: str = client.get(f"/v1/exports/{export_id}").json().get("status", "")
    return found


def test_exports_that_end_while_the_database_takes_no_writes_are_completed_after(tmp_path: Path) -> None:
    with scratch_postgres() as postgres, emulator(tmp_path, ROWS) as url:
        slow = FaultProxy(url, "slow", 3_000_000, slow_bytes_s=1_000_000)
        with (
            slow,
            service(tmp_path, slow.url, FLUXPORT_DATABASE=postgres.url) as client,
            contextlib.ExitStack() as stack,
        ):
            environ = {"FLUXPORT_DATABASE": postgres.url, "MYSQL_DSN": slow.url}
            environ |= {"LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
            stack.enter_context(process("worker", folder=tmp_path, environ=environ, until="worker ready"))
            ids = [client.post("/v1/exports", BODY).json()["id"] for _ in range(3)]
            assert slow.faulted.wait(60)
            assert wait_until(lambda: all(status(client, i) == "running" for i in ids), 60)
            writes(postgres, allowed=False)
            files = [tmp_path / "exports" / f"{i}.csv" for i in ids]
            assert wait_until(lambda: all(file.exists() for file in files), 90)
            unready = client.plain_get("/health/ready")
            refused = client.post("/v1/exports", BODY)
            assert set(postgres.run("SELECT status FROM exports")) == {("running",)}
            writes(postgres, allowed=True)
            assert wait_until(lambda: all(status(client, i) == "completed" for i in ids), 120)
            # The three slots of the connection are free again, and a worker takes jobs.
            later = [client.post("/v1/exports", BODY).json()["id"] for _ in range(3)]
            assert wait_until(lambda: all(status(client, i) == "completed" for i in later), 120)
            assert wait_until(lambda: client.plain_get("/health/ready").status_code == 200, 60)
            jobs = [client.get(f"/v1/exports/{i}").json() for i in ids]
    assert (unready.status_code, unready.json()["database"]) == (503, "unavailable")
    assert (refused.status_code, refused.json()["code"]) == (503, "database_away")
    # None of the two workers took the other for dead because neither could say that it lives.
    assert [(job["rows"], job["attempts"]) for job in jobs] == [(ROWS, 1)] * 3


def test_a_service_whose_disk_is_full_reports_it_and_continues_when_there_is_space(tmp_path: Path) -> None:
    with emulator(tmp_path, 10) as url, service(tmp_path, url, "--no-worker") as client:
        assert client.plain_get("/health/ready").status_code == 200
        # No space at all: a new log of SQLite would reuse that of the previous one.
        before = resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert wait_until(lambda: client.plain_get("/health/ready").status_code == 503, 60)
        unready = client.plain_get("/health/ready").json()
        refused = client.post("/v1/exports", BODY)
        resource.prlimit(client.pid, resource.RLIMIT_FSIZE, before)
        assert wait_until(lambda: client.plain_get("/health/ready").status_code == 200, 60)
        taken = client.post("/v1/exports", BODY)
    assert unready["database"] == "unavailable"
    assert refused.status_code == 503
    assert taken.status_code == 202


@pytest.mark.parametrize(
    ("file", "part"),
    [("fluxport.db", "database"), ("fluxport.db.signatures", "database"), ("series.db", "series")],
)
def test_a_service_one_of_whose_files_takes_no_writes_is_not_ready(tmp_path: Path, file: str, part: str) -> None:
    (tmp_path / "fluxport.yaml").write_text("series: {path: series.db}\n")
    with emulator(tmp_path, 10) as url, service(tmp_path, url, "--no-worker") as client:
        assert client.plain_get("/health/ready").status_code == 200
        with contextlib.closing(sqlite3.connect(tmp_path / file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert wait_until(lambda: client.plain_get("/health/ready").status_code == 503, 60)
            unready = client.plain_get("/health/ready").json()
        assert wait_until(lambda: client.plain_get("/health/ready").status_code == 200, 60)
    assert [name for name, found in unready.items() if found == "unavailable"] == ["status", part]


def test_a_service_whose_worker_sends_no_heartbeat_is_not_ready(tmp_path: Path) -> None:
    with emulator(tmp_path, 10) as url, service(tmp_path, url, "--no-worker") as client:
        assert client.plain_get("/health/ready").status_code == 200  # workers may come later
        environ = {"MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
        with process("worker", folder=tmp_path, environ=environ, until="worker ready") as (worker, _):
            assert client.plain_get("/health/ready").status_code == 200
            worker.send_signal(signal.SIGSTOP)
            assert wait_until(lambda: client.plain_get("/health/ready").status_code == 503, 90)
            unready = client.plain_get("/health/ready").json()
            worker.send_signal(signal.SIGCONT)
            assert wait_until(lambda: client.plain_get("/health/ready").status_code == 200, 90)
        ended_in_order = client.plain_get("/health/ready").status_code
    assert unready["workers"] == "unavailable"
    assert ended_in_order == 200


def test_a_stream_that_ends_while_the_database_takes_no_writes_is_whole_and_recorded_after(tmp_path: Path) -> None:
    with scratch_postgres() as postgres, emulator(tmp_path, ROWS) as url:
        slow = FaultProxy(url, "slow", 3_000_000, slow_bytes_s=3_000_000)
        with slow, service(tmp_path, slow.url, "--no-worker", FLUXPORT_DATABASE=postgres.url) as client:
            body = json.dumps(BODY).encode()
            headers = client.headers("POST", "/v1/stream", body)
            with httpx.stream("POST", client.base + "/v1/stream", content=body, headers=headers, timeout=60) as answer:
                chunks = answer.iter_bytes()
                lines = next(chunks).count(b"\n")
                writes(postgres, allowed=False)
                lines += sum(chunk.count(b"\n") for chunk in chunks)
            [(before,)] = postgres.run("SELECT status FROM exports")
            writes(postgres, allowed=True)
            assert wait_until(lambda: postgres.run("SELECT status FROM exports") == [("completed",)], 60)
    assert (answer.status_code, lines, before) == (200, ROWS + 1, "running")


def test_a_download_that_ends_while_the_database_takes_no_writes_is_recorded_after(tmp_path: Path) -> None:
    with scratch_postgres() as postgres, emulator(tmp_path, ROWS) as url:
        with service(tmp_path, url, FLUXPORT_DATABASE=postgres.url) as client:
            export_id = client.post("/v1/exports", BODY).json()["id"]
            assert wait_until(lambda: status(client, export_id) == "completed", 60)
            link = client.post(f"/v1/exports/{export_id}/links", {"one_time": True}).json()["url"]
            with httpx.stream("GET", link, timeout=60) as answer:
                chunks = answer.iter_bytes()
                lines = next(chunks).count(b"\n")
                writes(postgres, allowed=False)
                lines += sum(chunk.count(b"\n") for chunk in chunks)
            outcomes = "SELECT outcome FROM audit WHERE action = 'download' ORDER BY id"
            before = postgres.run(outcomes)
            writes(postgres, allowed=True)
            assert wait_until(lambda: postgres.run(outcomes) == [("begun",), ("sent",)], 30), postgres.run(outcomes)
            again = client.plain_get(link).status_code
    assert (answer.status_code, lines, before, again) == (200, ROWS + 1, [("begun",)], 410)
