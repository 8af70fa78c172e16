"""The service's own database is unavailable: requests get an error, exports wait, and nothing is lost or done twice."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from fault_proxy import FaultProxy
from mysql_support import wait_until
from postgres_support import scratch_postgres
from schedule_support import looked_back, unaccounted
from service_support import emulator, process, service

ROWS = 300_000
BODY = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}, "format": "csv"}
AWAY_S = 12.0  # longer than a worker may be silent before its exports are taken over


def test_running_and_queued_exports_survive_an_unavailable_database(tmp_path: Path) -> None:
    with scratch_postgres() as postgres, emulator(tmp_path, ROWS) as url:
        between = FaultProxy(postgres.url)
        slow = FaultProxy(url, "slow", 3_000_000, slow_bytes_s=1_000_000)
        settings = {"FLUXPORT_DATABASE": between.url}
        environ = settings | {"MYSQL_DSN": slow.url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
        with (
            between,
            slow,
            service(tmp_path, slow.url, "--no-worker", **settings) as client,
            process("worker", folder=tmp_path, environ=environ, until="worker ready"),
        ):
            ids = [client.post("/v1/exports", BODY).json()["id"] for _ in range(5)]
            assert slow.faulted.wait(60)  # three run, two wait
            between.__exit__(None, None, None)
            refused = client.post("/v1/exports", BODY)
            ready = client.plain_get("/health/ready")
            live = client.plain_get("/health/live")
            time.sleep(AWAY_S)
            with FaultProxy(postgres.url, port=between.port):
                jobs = [f"/v1/exports/{export_id}" for export_id in ids]
                assert wait_until(
                    lambda: all(client.get(job).json().get("status") == "completed" for job in jobs), 60
                ), [client.get(job).text for job in jobs]
                rows = [client.get(job).json()["rows"] for job in jobs]
                later = client.post("/v1/exports", BODY)
    assert (refused.status_code, refused.json()["code"]) == (503, "database_away")
    assert int(refused.headers["retry-after"]) > 0
    assert (ready.status_code, ready.json()["database"], live.status_code) == (503, "unavailable", 200)
    assert rows == [ROWS] * 5
    assert later.status_code == 202
    stored = [path.name for path in (tmp_path / "exports").iterdir()]
    assert sorted(name[:36] for name in stored if name[:36] in ids) == sorted(ids)


def test_runs_missed_while_the_database_was_away_are_made_up_for_or_reported(tmp_path: Path) -> None:
    export = {"source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 10"}}
    entry = {"cron": "* * * * * *", "user": "default", "export": export}
    (tmp_path / "fluxport.yaml").write_text(json.dumps({"schedules": {"tick": entry}}))
    with scratch_postgres() as postgres, emulator(tmp_path, 100) as url:
        between = FaultProxy(postgres.url)
        with between, service(tmp_path, url, FLUXPORT_DATABASE=between.url) as client:
            assert wait_until(lambda: len(client.get("/v1/exports").json()["data"]) >= 3, 30)
            between.__exit__(None, None, None)
            time.sleep(AWAY_S)
            with FaultProxy(postgres.url, port=between.port):
                back = datetime.now(UTC)
                assert wait_until(lambda: looked_back(postgres.url, "tick") > back, 60)
                assert wait_until(lambda: not unaccounted(postgres.url, "tick", back), 30)
