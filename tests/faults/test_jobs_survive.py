"""Jobs outlive their workers: killed, stopped and started again, an export completes once, with one file."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service_support import Client, children, emulator, process, service

ROWS = 400_000
QUERY = "SELECT id, name, email, created_at, score FROM users"
SLOW = {"source": {"query": QUERY}, "format": "csv"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@contextlib.contextmanager
def worker(folder: Path, url: str) -> Iterator[Any]:
    environ = {"MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(folder / "exports")}
    with process("worker", folder=folder, environ=environ, until="worker ready") as (started, _):
        yield started


@contextlib.contextmanager
def api(folder: Path, url: str, **environ: str) -> Iterator[Client]:
    """The service without a worker."""
    with service(folder, url, "--no-worker", **environ) as client:
        yield client


def until(client: Client, export_id: str, condition: Any, limit_s: float = 30.0) -> dict[str, Any]:
    """The job object once ``condition`` holds for it."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
        if condition(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job}")


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "exports").iterdir())


def ended(job: dict[str, Any]) -> bool:
    return job["status"] not in ("queued", "running")


@pytest.mark.parametrize("bytes_before", [0, 1_000_000, 15_000_000])
def test_a_killed_worker_is_replaced_and_the_export_completes_once(
    tmp_path: Path, database: str, bytes_before: int
) -> None:
    from fault_proxy import FaultProxy

    with api(tmp_path, database) as client, FaultProxy(database, "stall", bytes_before + 20_000) as stalling:
        with worker(tmp_path, stalling.url) as first:
            export_id = client.post("/v1/exports", SLOW).json()["id"]
            assert stalling.faulted.wait(60)
            until(client, export_id, lambda job: job["status"] == "running")
            first.send_signal(signal.SIGKILL)
            first.wait()
        with worker(tmp_path, database):
            job = until(client, export_id, ended)
        assert (job["status"], job["rows"], job["attempts"]) == ("completed", ROWS, 2)
        assert [error["code"] for error in job["attempt_errors"]] == ["worker_lost"]
        assert files(tmp_path) == [f"{export_id}-2.csv"]


def test_a_worker_paused_past_its_lease_changes_nothing_when_it_comes_back(tmp_path: Path, database: str) -> None:
    from fault_proxy import FaultProxy

    with api(tmp_path, database) as client, FaultProxy(database, "slow", 5_000_000, slow_bytes_s=4_000_000) as slow:
        with worker(tmp_path, slow.url) as paused:
            export_id = client.post("/v1/exports", SLOW).json()["id"]
            assert slow.faulted.wait(60)
            paused.send_signal(signal.SIGSTOP)
            with worker(tmp_path, database):
                job = until(client, export_id, ended)
                paused.send_signal(signal.SIGCONT)
                time.sleep(3)
                after = client.get(f"/v1/exports/{export_id}").json()
        assert (job["status"], job["rows"], job["attempts"]) == ("completed", ROWS, 2)
        assert after["files"] == job["files"]
        assert files(tmp_path) == [f"{export_id}-2.csv"]


def test_a_stopped_worker_requeues_its_export_and_a_restart_resumes_it(tmp_path: Path, database: str) -> None:
    from fault_proxy import FaultProxy

    environ = {"FLUXPORT_SERVER__GRACE_S": "1"}
    with FaultProxy(database, "stall", 2_000_000) as stalling:
        with service(tmp_path, stalling.url, **environ) as client:
            export_id = client.post("/v1/exports", SLOW).json()["id"]
            assert stalling.faulted.wait(60)
            until(client, export_id, lambda job: job["status"] == "running")
    with service(tmp_path, database, **environ) as client:
        job = until(client, export_id, ended)
    assert (job["status"], job["rows"], job["attempts"]) == ("completed", ROWS, 2)
    assert [error["code"] for error in job["attempt_errors"]] == ["worker_stopped"]
    assert len(files(tmp_path)) == 1


def test_the_embedded_worker_is_restarted_when_it_exits(tmp_path: Path, database: str) -> None:
    with service(tmp_path, database) as client:
        first = client.post("/v1/exports", SLOW).json()["id"]
        until(client, first, ended)
        for child in children(client.pid):
            os.kill(child, signal.SIGKILL)
        second = client.post("/v1/exports", SLOW).json()["id"]
        assert until(client, second, ended)["status"] == "completed"


def test_a_database_that_recovers_is_retried_and_every_reason_is_recorded(tmp_path: Path, database: str) -> None:
    nowhere = "mysql://fluxport:fluxport@127.0.0.1:1/app"
    with service(tmp_path, nowhere) as client:
        export_id = client.post("/v1/exports", SLOW).json()["id"]
        job = until(client, export_id, ended)
    assert (job["status"], job["attempts"]) == ("failed", 3)
    assert [error["code"] for error in job["attempt_errors"]] == ["source_unreachable"] * 3
    moments = [job["created_at"], *(error["at"] for error in job["attempt_errors"]), job["finished_at"]]
    assert moments == sorted(moments)  # of one form, so that they can be compared
    assert files(tmp_path) == []
