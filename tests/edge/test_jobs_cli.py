"""Stored exports from a shell, against the running service."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fork_server import run
from service_support import SECRET, Client, emulator, service

USERS = {"source": {"query": "SELECT id, name FROM users ORDER BY id"}, "filename": "users"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("service")
    with emulator(folder, 1000) as url, service(folder, url) as running:
        yield running


def jobs(client: Client, *words: str, cwd: Path, code: int = 0) -> str:
    """The output of ``fluxport jobs words...``, which must exit with ``code``."""
    environ = os.environ | {"FLUXPORT_URL": client.base, "API_SECRET": SECRET}
    done = run("jobs", *words, folder=cwd, environ=environ)
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stderr).decode()


def test_an_export_is_listed_shown_and_downloaded_with_its_proof(client: Client, tmp_path: Path) -> None:
    export_id = client.post("/v1/exports", USERS).json()["id"]
    client.finished(export_id)
    assert export_id in jobs(client, "list", cwd=tmp_path)
    assert json.loads(jobs(client, "list", "--json", "--status", "completed", cwd=tmp_path))["id"] == export_id
    reported = json.loads(jobs(client, "show", export_id, cwd=tmp_path))
    line = jobs(client, "download", export_id, cwd=tmp_path)
    data = (tmp_path / "users.csv").read_bytes()
    assert hashlib.sha256(data).hexdigest() == reported["files"][0]["sha256"]
    assert "1,000 rows" in line


def test_an_ended_export_cannot_be_canceled_and_an_unknown_one_is_reported(client: Client, tmp_path: Path) -> None:
    export_id = client.post("/v1/exports", USERS).json()["id"]
    client.finished(export_id)
    assert "completed" in jobs(client, "cancel", export_id, cwd=tmp_path, code=2)
    assert "no such export" in jobs(client, "show", "nothing", cwd=tmp_path, code=2)


def test_an_unreachable_service_is_reported_in_a_sentence(client: Client, tmp_path: Path) -> None:
    reported = jobs(client, "list", "--url", "http://127.0.0.1:1", cwd=tmp_path, code=1)
    assert "cannot be reached" in reported
    assert "Traceback" not in reported
