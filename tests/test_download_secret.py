"""The secret of download links where none is configured: one of the database, for all of its processes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from urllib.parse import urlsplit

import httpx

from fluxport import addresses
from fluxport.config import load
from fluxport.jobs.store import JobStore
from fluxport.sinks import sink
from fluxport.testing.sources import wait_until
from identity_support import database_url, new_key
from service_support import service

STARTS = 8


def secret_of(store: JobStore, folder: Path, host: str, **environ: str) -> bytes:
    """What signs links in a process whose HTTP server would listen on this address."""
    config = load(environ=environ | {"LOCAL_STORAGE_PATH": str(folder)}, folder=folder, flags={"server.host": host})
    sinks = {name: sink(entry) for name, entry in config.stores.items()}
    return addresses.links_of(config, sinks, store).secret


def test_all_processes_of_a_database_have_one_secret_wherever_they_listen(
    store: JobStore, url: str, tmp_path: Path
) -> None:
    """A worker does not know the address of the service; both start at once, on an empty database."""
    together = Barrier(STARTS)

    def started(number: int) -> bytes:
        with closing(JobStore(url)) as own:
            together.wait()
            return secret_of(own, tmp_path, "0.0.0.0" if number % 2 else "127.0.0.1")

    with ThreadPoolExecutor(STARTS) as threads:
        found = set(threads.map(started, range(STARTS)))
    assert found == {secret_of(store, tmp_path, "10.0.0.7")}
    [secret] = found
    assert len(secret) == 32
    store.probe()  # writes to the same table
    assert secret_of(store, tmp_path, "127.0.0.1") == secret


def test_no_two_databases_have_the_same_secret(store: JobStore, tmp_path: Path) -> None:
    with database_url("sqlite", tmp_path) as url, closing(JobStore(url)) as other:
        other.create_tables()
        assert secret_of(other, tmp_path, "0.0.0.0") != secret_of(store, tmp_path, "0.0.0.0")


def test_a_configured_secret_is_used_whatever_the_database_has(store: JobStore, tmp_path: Path) -> None:
    own = secret_of(store, tmp_path, "0.0.0.0")
    named = {secret_of(store, tmp_path, host, API_SECRET="s" * 32) for host in ("0.0.0.0", "127.0.0.1")}
    assert len(named) == 1
    assert own not in named


def test_a_link_of_a_service_without_any_secret_is_valid_after_a_restart_on_another_address(tmp_path: Path) -> None:
    database = tmp_path / "users.db"
    with closing(sqlite3.connect(database)) as made, made:
        made.execute("CREATE TABLE users (id INTEGER)")
    environ = {"API_SECRET": "", "FLUXPORT_DATABASE": f"sqlite:///{tmp_path}/fluxport.db"}
    words = ("--grpc-port", "0")
    with service(tmp_path, f"sqlite:///{database}", "--host", "0.0.0.0", *words, **environ) as client:
        base = f"http://127.0.0.1:{client.port}"
        headers = {"Authorization": f"Bearer {new_key(tmp_path, 'nightly', 'ann', 'sql:*')}"}
        created = httpx.post(
            f"{base}/v1/exports", json={"source": {"query": "SELECT id FROM users"}, "format": "csv"}, headers=headers
        )
        assert created.status_code == 202, created.text
        place = f"/v1/exports/{created.json()['id']}"
        wait_until(lambda: httpx.get(base + place, headers=headers).json()["status"] == "completed")
        made_link = httpx.post(f"{base}{place}/links", json={}, headers=headers)
        assert made_link.status_code == 201, made_link.text
        link = urlsplit(made_link.json()["url"])
    with service(tmp_path, f"sqlite:///{database}", *words, **environ) as client:
        assert client.plain_get(f"{link.path}?{link.query}").status_code == 200
