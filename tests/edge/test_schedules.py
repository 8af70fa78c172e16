"""Exports by the clock, at the running service: asked for once each, never piled up, and told of when missed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mail_receiver import mail_server
from service_support import Client, emulator, service

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


def until(found: Callable[[], Any], limit_s: float = 30.0) -> Any:
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
        told = client.get("/v1/schedules").json()["data"]
    assert {(job["rows"], job["files"][0]["name"]) for job in jobs} == {(10, "tick.csv")}
    assert [(entry["name"], entry["cron"], entry["user"]) for entry in told] == [("tick", EVERY_SECOND, "default")]
    assert told[0]["next_at"] > told[0]["last"]["created_at"]


def test_a_run_is_left_out_and_told_while_the_one_before_goes_on(tmp_path: Path) -> None:
    declare(tmp_path, ENDLESS)
    with emulator(tmp_path, 20_000) as url, service(tmp_path, url) as client:
        until(lambda: len(ended(client, "schedule_overlap")) >= 2)
        active = [job for job in listed(client) if job["status"] in ("queued", "running")]
        assert len(active) == 1
        assert active[0]["id"] in ended(client, "schedule_overlap")[0]["error"]["message"]


def test_runs_that_nobody_was_there_for_are_told_once_and_made_up_for_once_if_asked(tmp_path: Path) -> None:
    with mail_server() as mail, emulator(tmp_path, 100) as url:
        settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port), "SMTP_FROM": "exports@example.com"}
        declare(tmp_path, FEW, export={"notify": {"email": ["ann@example.com"]}})
        with service(tmp_path, url, **settings) as client:
            until(lambda: ended(client))
        time.sleep(3)  # three runs that nobody is there for
        before = len(mail.mails)
        # Nothing is due any more while this one runs, so what is found was missed.
        declare(tmp_path, FEW, missed="run", export={"notify": {"email": ["ann@example.com"]}})
        with service(tmp_path, url, **settings) as client:
            (missed,) = until(lambda: ended(client, "schedule_missed"))
            until(lambda: any("missed" in str(taken.message()) for taken in mail.mails[before:]))
            assert len(ended(client, "schedule_missed")) == 1
    assert "runs were missed because no worker was there" in missed["error"]["message"]
    assert missed["files"] == []


def test_an_export_that_a_schedule_cannot_have_is_refused_at_the_start(tmp_path: Path) -> None:
    declare(tmp_path, "DELETE FROM users", NEVER_SOON)
    with emulator(tmp_path, 1) as url:
        with pytest.raises(AssertionError, match="Schedule 'tick'"), service(tmp_path, url):
            pass
