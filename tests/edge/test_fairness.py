"""Many exports of one user do not block another's, and each is run exactly once."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from fluxport.auth.keys import Keys
from fluxport.tables import connect, queue
from identity_support import DATABASES, database_url
from service_support import emulator, process, service

MANY = 40
FEW = {"source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 10"}}


@pytest.mark.parametrize("kind", DATABASES)
def test_two_workers_run_everything_once_and_one_users_many_exports_do_not_starve_another_users(
    tmp_path: Path, kind: str
) -> None:
    with emulator(tmp_path, 100) as url, database_url(kind, tmp_path) as database:
        settings = {"FLUXPORT_DATABASE": database}
        with service(tmp_path, url, "--no-worker", **settings) as client:
            keys = {user: key(database, user) for user in ("many", "one")}

            def ask(user: str, method: str, target: str, body: Any = None) -> Any:
                headers = {"Authorization": f"Bearer {keys[user]}"}
                content = None if body is None else json.dumps(body)
                return httpx.request(method, client.base + target, content=content, headers=headers, timeout=60).json()

            ids = [ask("many", "POST", "/v1/exports", FEW)["id"] for _ in range(MANY)]
            lone = ask("one", "POST", "/v1/exports", FEW)["id"]
            environ = settings | {"MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
            with (
                process("worker", folder=tmp_path, environ=environ, until="worker ready"),
                process("worker", folder=tmp_path, environ=environ, until="worker ready"),
            ):
                deadline = time.monotonic() + 60
                while (job := ask("one", "GET", f"/v1/exports/{lone}"))["status"] != "completed":
                    assert time.monotonic() < deadline, job
                    time.sleep(0.05)
                while (jobs := ask("many", "GET", "/v1/exports?limit=100")["data"]) and any(
                    other["status"] in ("queued", "running") for other in jobs
                ):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        assert left(database) == 0, "an export that has ended has no place in the queue"
    assert {other["id"] for other in jobs} == set(ids)
    assert Counter((other["status"], other["attempts"], other["rows"]) for other in jobs) == {
        ("completed", 1, 10): MANY
    }
    assert sum(other["started_at"] < job["started_at"] for other in jobs) < MANY - 10
    assert sorted(os.listdir(tmp_path / "exports")) == sorted(f"{export_id}.csv" for export_id in [*ids, lone])


def left(database: str) -> int:
    engine = connect(database)
    with engine.connect() as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(queue)).scalar_one()
    engine.dispose()
    return found


def key(database: str, user: str) -> str:
    engine = connect(database)
    token = Keys(engine).create(f"of {user}", user, ["sql:*"], expires_s=None, active_max=MANY)[1]
    engine.dispose()
    return token
