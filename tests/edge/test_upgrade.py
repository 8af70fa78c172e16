"""An upgrade preserves the older program's database, queue, keys, links, sessions and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from fluxport.auth.tokens import token_digest
from fluxport.jobs.store import JobStore
from fluxport.migrations import STEPS
from fluxport.tables import connect, exports, reading
from identity_support import DATABASES, database_url
from older_support import BEFORE_VERSIONS, KEY, QUERY, ROWS, SESSION, older_database
from postgres_support import scratch_postgres
from private_mounts import on_tmpfs
from service_support import Client, emulator, service
from webhook_receiver import Receiver, receiving, status

each_database = pytest.mark.parametrize("kind", DATABASES)


class Upgraded(NamedTuple):
    """``ids`` are those of the exports of the older service, by their idempotency keys."""

    client: Client
    receiver: Receiver
    url: str
    ids: dict[str, str]


@pytest.fixture(scope="module", params=DATABASES)
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """A service of today, with a worker, over a database of an older one, and the receiver of its webhooks."""
    folder = tmp_path_factory.mktemp("upgraded")
    (folder / "exports").mkdir()
    with receiving(status(200)) as receiver, emulator(folder, 10) as source:
        webhook = f"http://127.0.0.1:{receiver.port}/hook"
        with older_database(request.param, BEFORE_VERSIONS, folder, webhook=webhook) as url:
            rows = stored(url)
            Path(rows["completed"].result["location"]).write_bytes(ROWS)
            settings = {"FLUXPORT_WEBHOOKS__ALLOW": '["127.0.0.1"]', "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true"}
            with service(folder, source, FLUXPORT_DATABASE=url, **settings) as client:
                yield Upgraded(client, receiver, url, {key: row.id for key, row in rows.items()})


def stored(url: str) -> dict[str, Any]:
    """Rows of exports by their idempotency keys."""
    engine = connect(url)
    with reading(engine) as connection:
        rows = connection.execute(sa.select(exports).where(exports.c.idempotency_key.is_not(None))).all()
    engine.dispose()
    return {row.idempotency_key: row for row in rows}


def ended(client: Client, export_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.05)


@pytest.mark.parametrize("key", ["queued", "running", "waits for its next attempt"])
def test_queued_and_running_exports_are_completed(upgraded: Upgraded, key: str) -> None:
    job = ended(upgraded.client, upgraded.ids[key])
    assert job["status"] == "completed", job
    assert upgraded.client.plain_get(job["download"]["url"]).content == ROWS


def test_notifications_that_waited_are_sent(upgraded: Upgraded) -> None:
    wanted = {upgraded.ids[key] for key in ("queued", "failed", "canceled")}
    while {json.loads(request.body)["data"]["id"] for request in upgraded.receiver.requests} != wanted:
        time.sleep(0.05)


def test_what_had_ended_is_as_it_was(upgraded: Upgraded) -> None:
    for key in ("failed", "canceled", "expired"):
        job = upgraded.client.get(f"/v1/exports/{upgraded.ids[key]}").json()
        assert job["status"] == key
        assert job["error"] == (
            None if key == "expired" else {"code": key, "message": f"It ended as {key}.", "retryable": False}
        )


def test_a_push_whose_connection_is_gone_fails(upgraded: Upgraded) -> None:
    assert ended(upgraded.client, upgraded.ids["pushed"])["status"] == "failed"


def test_a_file_is_downloaded_by_a_new_link(upgraded: Upgraded) -> None:
    link = upgraded.client.post(f"/v1/exports/{upgraded.ids['completed']}/links", {"one_time": True})
    assert link.status_code == 201, link.text
    assert upgraded.client.plain_get(link.json()["url"]).content == ROWS


def test_a_link_that_was_used_stays_used(upgraded: Upgraded) -> None:
    with closing(JobStore(upgraded.url)) as store:
        assert store.used_links([token_digest("used")])


def test_the_same_request_again_is_the_same_export(upgraded: Upgraded) -> None:
    body = {"source": {"query": QUERY}}
    again = upgraded.client.post("/v1/exports", body, headers={"Idempotency-Key": "completed"})
    assert again.json()["id"] == upgraded.ids["completed"]


def test_keys_and_sessions_go_on(upgraded: Upgraded) -> None:
    by_key = upgraded.client.plain_get("/v1/exports", {"Authorization": f"Bearer {KEY}"})
    assert by_key.status_code == 200, by_key.text
    session = upgraded.client.plain_get("/session/state", {"Cookie": f"fluxport={SESSION}"})
    assert session.json()["user"]["user"] == "ann", session.text


def run(*words: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fluxport", *words],
        cwd=folder,
        env=os.environ | {"FLUXPORT_DATABASE": url, "MYSQL_DSN": "mysql://nobody@127.0.0.1:1/app"},
        capture_output=True,
        text=True,
        check=False,
    )


@each_database
def test_the_command_shows_what_it_would_do_and_does_it_once(kind: str, tmp_path: Path) -> None:
    with older_database(kind, BEFORE_VERSIONS, tmp_path) as url:
        said = [
            run("database", "upgrade", "--json", *words, folder=tmp_path, url=url) for words in (["--dry-run"], [], [])
        ]
    assert [done.returncode for done in said] == [0, 0, 0]
    shown, did, again = ([json.loads(line) for line in done.stdout.splitlines()] for done in said)
    assert [(step["step"], step["state"]) for step in shown] == [(1, "missing"), (2, "missing")]
    assert [(step["step"], step["state"]) for step in did] == [(1, "applied"), (2, "applied")]
    assert again == []
    assert ["version 0;" in said[0].stderr, "version 2;" in said[1].stderr, "version 2;" in said[2].stderr] == [
        True
    ] * 3


@each_database
def test_every_command_refuses_a_newer_database(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        assert run("database", "upgrade", folder=tmp_path, url=url).returncode == 0
        engine = connect(url)
        with engine.begin() as connection:
            newest = "UPDATE schema_steps SET number = 99, compatible_from = 99, program = '9.8.7' WHERE number = :last"
            connection.execute(sa.text(newest), {"last": len(STEPS)})
        engine.dispose()
        for words in (["serve", "--port", "0"], ["worker"], ["keys", "list"], ["database", "upgrade", "--dry-run"]):
            done = run(*words, folder=tmp_path, url=url)
            assert done.returncode == 2, done.stderr
            (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            assert "version 99, written by fluxport 9.8.7" in line


def test_a_database_that_takes_no_writes_is_one_sentence(tmp_path: Path) -> None:
    with scratch_postgres() as postgres:
        postgres.run(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
        done = run("database", "upgrade", folder=tmp_path, url=postgres.url)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "fluxport: The service's own database is read-only now; retry in a moment."


def test_a_file_that_takes_no_writes_is_one_sentence(tmp_path: Path) -> None:
    retained, seen = tmp_path / "kept", tmp_path / "seen"
    retained.mkdir()
    seen.mkdir()
    with older_database("sqlite", BEFORE_VERSIONS, retained):
        upgrade = f"{sys.executable} -m fluxport database upgrade"
        command = f"cp {retained}/fluxport.db {seen} && mount -o remount,ro {seen} && exec {upgrade}"
        done = subprocess.run(
            on_tmpfs(seen, "10m", "sh", "-c", command),
            cwd=tmp_path,
            env=os.environ | {"FLUXPORT_DATABASE": f"sqlite:///{seen}/fluxport.db"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "is read-only now; check the permissions of its file." in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
