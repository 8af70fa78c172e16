"""Listeners to the events of an export while the database or the service becomes unavailable."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg

from postgres_support import POSTGRES_URL, PostgresDatabase, scratch_postgres
from service_support import Client, service

BODY = {"source": {"query": "SELECT 1"}}
AWAY = "mysql://nobody@127.0.0.1:1/app"  # nothing reads it: no worker is there


@contextmanager
def listening(client: Client, export_id: str) -> Iterator[Iterator[str]]:
    """The lines of the events of an export."""
    target = f"/v1/exports/{export_id}/events"
    with httpx.stream("GET", client.base + target, headers=client.headers("GET", target), timeout=60) as answer:
        assert answer.status_code == 200
        yield answer.iter_lines()


def allow(postgres: PostgresDatabase, allowed: bool) -> None:
    """Whether new sessions of the database may begin."""
    with psycopg.connect(POSTGRES_URL, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {postgres.name} ALLOW_CONNECTIONS {allowed}".encode())


def test_a_listener_gets_what_happened_while_the_database_was_away(tmp_path: Path) -> None:
    with (
        scratch_postgres() as postgres,
        service(tmp_path, AWAY, "--no-worker", FLUXPORT_DATABASE=postgres.url) as client,
    ):
        export_id = client.post("/v1/exports", BODY).json()["id"]
        with listening(client, export_id) as lines:
            allow(postgres, False)
            for pid in postgres.backends():
                postgres.terminate(pid)
            (log,) = tmp_path.glob("serve-*.log")
            while "reading events failed" not in log.read_text():
                time.sleep(0.05)
            allow(postgres, True)
            target = f"/v1/exports/{export_id}"
            headers = client.headers("DELETE", target)
            while httpx.delete(client.base + target, headers=headers, timeout=60).status_code != 200:
                headers = client.headers("DELETE", target)
                time.sleep(0.05)
            assert [line for line in lines if line.startswith("event")] == ["event: canceled"]


def test_a_listener_that_has_the_last_event_is_told_not_to_connect_again(tmp_path: Path) -> None:
    with service(tmp_path, AWAY, "--no-worker") as client:
        export_id = client.post("/v1/exports", BODY).json()["id"]
        target = f"/v1/exports/{export_id}"
        httpx.delete(client.base + target, headers=client.headers("DELETE", target), timeout=60).raise_for_status()
        with listening(client, export_id) as lines:
            last = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]
        headers = client.headers("GET", f"{target}/events") | {"Last-Event-ID": last}
        again = httpx.get(f"{client.base}{target}/events", headers=headers, timeout=60)
        assert (again.status_code, again.content) == (204, b"")


def test_a_service_that_ends_does_not_wait_for_listeners(tmp_path: Path) -> None:
    with service(tmp_path, AWAY, "--no-worker", FLUXPORT_SERVER__GRACE_S="600") as client:
        export_id = client.post("/v1/exports", BODY).json()["id"]
        with listening(client, export_id) as lines:
            os.kill(client.pid, signal.SIGTERM)
            assert list(lines) == []
        while Path(f"/proc/{client.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.05)  # less than the grace, or this test hangs
