"""The connection to the service's own database ends between a COMMIT and its answer: what was done is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from commit_proxy import CommitProxy
from mysql_support import wait_until
from postgres_support import scratch_postgres
from service_support import emulator, process, service

BODY = {"source": {"query": "SELECT id FROM users ORDER BY id"}, "format": "csv"}


def test_an_export_that_a_worker_took_without_an_answer_is_carried_out(tmp_path: Path) -> None:
    with (
        scratch_postgres() as postgres,
        emulator(tmp_path, 10) as url,
        CommitProxy(postgres.url, "WHERE queue.export_id IN") as proxy,
        service(tmp_path, url, "--no-worker", FLUXPORT_DATABASE=postgres.url) as client,
    ):
        environ = {"FLUXPORT_DATABASE": proxy.url, "MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
        with process("worker", folder=tmp_path, environ=environ, until="worker ready"):
            proxy.armed.set()
            export_id = client.post("/v1/exports", BODY).json()["id"]
            assert proxy.lost.wait(30)

            def job() -> dict[str, Any]:
                found: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
                return found

            assert wait_until(lambda: job()["status"] == "completed", 40), job()
            assert (job()["rows"], job()["attempts"]) == (10, 2)
