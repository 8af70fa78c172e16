"""kill -9 at every step of an export: another worker completes it once, with one file, and sends the notifications."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from fluxport.tables import connect, executors
from mysql_support import wait_until
from service_support import Client, emulator, process, service
from webhook_receiver import receiving, status

ROWS = 30_000
BODY = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}, "format": "csv"}


class Point(NamedTuple):
    """Where a worker crashes, the number of ``attempts`` in all, and of notifications of the end."""

    module: str
    qualname: str
    event: str
    attempts: int
    tellings: int = 1


STORE, ATTEMPTS = "fluxport.jobs.store", "fluxport.jobs.attempts"
LOCAL, NOTIFY = "fluxport.sinks.local", "fluxport.jobs.notify"
POINTS = {
    "before it is taken": Point(STORE, "JobStore.take", "call", 1),
    "taken": Point(ATTEMPTS, "Attempts.run", "call", 2),
    "planned": Point("fluxport.jobs.catalog", "Catalog.plan", "return", 2),
    "what others left is removed": Point(ATTEMPTS, "Attempts._remove_leftovers", "return", 2),
    "a temporary file is there": Point(LOCAL, "_create_file", "return", 2),
    "the query runs": Point("fluxport.sources.mysql.source", "MySqlSource.open", "return", 2),
    "the first bytes are made": Point("fluxport.pipeline", "Tally.add", "return", 2),
    "it is watched": Point("fluxport.jobs.progress", "watch", "call", 2),
    "everything is written": Point(LOCAL, "LocalSink._fill", "return", 2),
    "the file has its name": Point(LOCAL, "LocalSink._publish", "return", 2),
    "stored, not recorded": Point(STORE, "JobStore.move", "call", 2),
    "recorded, not answered": Point(STORE, "JobStore.move", "return", 1),
    "the attempt is over": Point(ATTEMPTS, "Attempts.run", "return", 1),
    "before it is notified": Point(NOTIFY, "Notifier.notify", "call", 1),
    "told, not noted": Point("fluxport.delivery.webhook", "send_webhook", "return", 1, tellings=2),
    "notified and recorded": Point(NOTIFY, "Notifier.notify", "return", 1, tellings=2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def environ(folder: Path) -> Iterator[dict[str, str]]:
    with emulator(folder, ROWS) as url:
        yield {
            "MYSQL_DSN": url,
            "LOCAL_STORAGE_PATH": str(folder / "exports"),
            "FLUXPORT_WEBHOOKS__SECRETS": '["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]',
            "FLUXPORT_WEBHOOKS__ALLOW": '["127.0.0.1"]',
            "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true",
        }


@pytest.fixture(scope="module")
def client(folder: Path, environ: dict[str, str]) -> Iterator[Client]:
    with service(folder, environ["MYSQL_DSN"], "--no-worker", **environ) as running:
        yield running


def take_for_dead(folder: Path) -> None:
    """The effect of eight seconds without a heartbeat."""
    engine = connect(f"sqlite:///{folder}/fluxport.db")
    with engine.begin() as connection:
        connection.execute(sa.update(executors).values(seen_at=0.0))
    engine.dispose()


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_an_export_survives_a_worker_killed_when(
    folder: Path, environ: dict[str, str], client: Client, point: Point
) -> None:
    with receiving(status(204)) as receiver:
        requested = client.post("/v1/exports", BODY | {"notify": {"webhook": f"http://127.0.0.1:{receiver.port}/"}})
        export_id = requested.json()["id"]
        script = Path(__file__).parent.parent / "killed_worker.py"
        dead = subprocess.run(
            [sys.executable, str(script), *point[:3], "worker"],
            cwd=folder,
            env=os.environ | environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert dead.returncode == -9, dead.stderr
        take_for_dead(folder)
        with process("worker", folder=folder, environ=environ, until="worker ready"):
            assert wait_until(lambda: len(receiver.requests) >= point.tellings, 30)
            job = client.get(f"/v1/exports/{export_id}").json()
    assert (job["status"], job["rows"], job["attempts"]) == ("completed", ROWS, point.attempts)
    assert [reason["code"] for reason in job["attempt_errors"]] == ["worker_lost"] * (point.attempts - 1)
    stored = [path for path in (folder / "exports").iterdir() if path.name.startswith(export_id)]
    assert [path.name for path in (folder / "exports").iterdir() if path.name.endswith(".part")] == []
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in stored] == [job["files"][0]["sha256"]]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == point.tellings
