"""Scheduled exports at the running service: each run happens once, runs do not accumulate, missed ones are reported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from identity_support import DATABASES, database_url
from mail_receiver import mail_server
from schedule_support import has_looked, looked_back, put_back, unaccounted
from service_support import Client, emulator, process, service

FEW = "SELECT id, name FROM users ORDER BY id LIMIT 10"
ENDLESS = "SELECT a.id, b.email FROM users a CROSS JOIN users b"
EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 1 1 *"


def declare(folder: Path, query: str, cron: str = EVERY_SECOND, **given: Any) -> None:
    export = {"source": {"query": query}, "filename": "tick", **given.pop("export", {})}
    entry = {"cron": cron, "user": "default", "export": export, **given}
    (folder / "fluxport.yaml").write_text(json.dumps({"schedules": {"tick": entry}}))


def listed(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/exports?limit=100").json()["data"]
    return found


def until(found: Callable[[], Any], limit_s: float = 60.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def ended(client: Client, code: str | None = None) -> list[dict[str, Any]]:
    """Exports that completed, or failed for the reason ``code``."""
    jobs = [job for job in listed(client) if job["status"] in ("completed", "failed")]
    return [job for job in jobs if (job["error"] or {}).get("code") == code]


def test_a_schedule_exports_every_time_it_is_time(tmp_path: Path) -> None:
    declare(tmp_path, FEW)
    with emulator(tmp_path, 100) as url, service(tmp_path, url) as client:
        jobs = until(lambda: len(found := ended(client)) >= 3 and found)
        reported = client.get("/v1/schedules").json()["data"]
    assert {(job["rows"], job["files"][0]["name"]) for job in jobs} == {(10, "tick.csv")}
    assert [(entry["name"], entry["cron"], entry["user"]) for entry in reported] == [("tick", EVERY_SECOND, "default")]
    assert reported[0]["next_at"] > reported[0]["last"]["created_at"]


def test_a_run_is_skipped_and_reported_while_the_previous_one_is_active(tmp_path: Path) -> None:
    declare(tmp_path, ENDLESS)
    with emulator(tmp_path, 20_000) as url, service(tmp_path, url) as client:
        until(lambda: len(ended(client, "schedule_overlap")) >= 2)
        active = [job for job in listed(client) if job["status"] in ("queued", "running")]
        assert len(active) == 1
        assert active[0]["id"] in ended(client, "schedule_overlap")[0]["error"]["message"]


def test_a_schedule_with_an_unreachable_source_delays_no_other(tmp_path: Path) -> None:
    def entry(source: dict[str, str]) -> dict[str, Any]:
        return {"cron": EVERY_SECOND, "user": "default", "export": {"source": source}}

    broken = entry({"sensor_id": "a", "start_ts": "2026-01-01T00:00:00Z", "end_ts": "2026-01-02T00:00:00Z"})
    settings = {
        "connections": {"away": {"url": "mysql://u:p@127.0.0.1:1/x"}},
        "series": {"connection": "away"},
        "schedules": {"away": broken, "tick": entry({"query": FEW})},
    }
    (tmp_path / "fluxport.yaml").write_text(json.dumps(settings))
    with emulator(tmp_path, 100) as url, service(tmp_path, url) as client:
        jobs = until(lambda: len(found := ended(client)) >= 3 and found, 20)
        until(lambda: ended(client, "source_unreachable"))
    assert {job["rows"] for job in jobs} == {10}


@pytest.mark.parametrize("missed", ["tell", "run"])
@pytest.mark.parametrize("kind", DATABASES)
def test_missed_runs_are_reported_once_and_made_up_for_once_if_configured(
    tmp_path: Path, kind: str, missed: str
) -> None:
    minute = datetime.now(UTC).minute
    cron = f"{(minute - 5) % 60},{(minute - 25) % 60} * * * *"  # nothing is due while this test runs
    declare(tmp_path, FEW, cron, missed=missed, export={"notify": {"email": ["ann@example.com"]}})
    with mail_server() as mail, emulator(tmp_path, 100) as url, database_url(kind, tmp_path) as database:
        settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port), "SMTP_FROM": "exports@example.com"}
        settings["FLUXPORT_DATABASE"] = database
        environ = settings | {"MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
        with service(tmp_path, url, **settings) as client:
            until(lambda: has_looked(database, "tick"))
            assert listed(client) == []
        put_back(database, "tick", 3500)
        with (
            service(tmp_path, url, **settings) as client,
            process("worker", folder=tmp_path, environ=environ, until="worker ready"),
        ):
            (reported,) = until(lambda: ended(client, "schedule_missed"))
            until(lambda: len(mail.mails) >= (2 if missed == "run" else 1))
            time.sleep(5)  # two more looks back of each worker
            (told_still,) = ended(client, "schedule_missed")
            made_up = ended(client)
        subjects = [str(taken.message()["Subject"]) for taken in mail.mails]
    assert told_still["id"] == reported["id"]
    assert "2 runs were missed because no worker or no database was available: " in reported["error"]["message"]
    assert reported["files"] == []
    assert [job["rows"] for job in made_up] == ([10] if missed == "run" else [])
    assert len(subjects) == 1 + len(made_up), subjects


@pytest.mark.parametrize("kind", DATABASES)
def test_no_run_is_lost_between_a_worker_that_is_killed_and_the_next(tmp_path: Path, kind: str) -> None:
    declare(tmp_path, FEW)
    with emulator(tmp_path, 100) as url, database_url(kind, tmp_path) as database:
        environ = {"FLUXPORT_DATABASE": database, "MYSQL_DSN": url, "LOCAL_STORAGE_PATH": str(tmp_path / "exports")}
        with service(tmp_path, url, "--no-worker", FLUXPORT_DATABASE=database) as client:
            with process("worker", folder=tmp_path, environ=environ, until="worker ready") as (worker, _):
                until(lambda: ended(client))
                worker.kill()
            time.sleep(3)
            with process("worker", folder=tmp_path, environ=environ, until="worker ready"):
                restarted = datetime.now(UTC)
                until(lambda: looked_back(database, "tick") > restarted)
                until(lambda: not unaccounted(database, "tick", restarted))


def test_an_export_that_a_schedule_cannot_have_is_refused_at_the_start(tmp_path: Path) -> None:
    declare(tmp_path, "DELETE FROM users", NEVER_SOON)
    with emulator(tmp_path, 1) as url:
        with pytest.raises(AssertionError, match="Schedule 'tick'"), service(tmp_path, url):
            pass
