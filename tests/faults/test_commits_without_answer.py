"""The connection to the service's own database ends between a COMMIT and its response: the change is not repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from commit_proxy import CommitProxy
from fluxport.auth.caller import Caller
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.pushes import Pushes, PushRequest
from fluxport.jobs.store import JobStore
from fluxport.jobs.transfers import Transfers
from fluxport.sinks.memory import MemorySink
from fluxport.sources.pushed import PushedColumn, PushedOptions, ReadSource
from fluxport.stages import Limits
from mysql_support import wait_until
from postgres_support import scratch_postgres
from service_support import emulator, process, service

BODY = {"source": {"query": "SELECT id FROM users ORDER BY id"}, "format": "csv"}


def test_an_export_claimed_without_confirmation_is_run(tmp_path: Path) -> None:
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


def test_a_one_time_link_redeemed_without_confirmation_is_given_back(tmp_path: Path) -> None:
    with (
        scratch_postgres() as postgres,
        emulator(tmp_path, 10) as url,
        CommitProxy(postgres.url, "INSERT INTO used_links") as proxy,
        service(tmp_path, url, FLUXPORT_DATABASE=proxy.url) as client,
    ):
        export_id = client.post("/v1/exports", BODY).json()["id"]
        assert wait_until(lambda: client.get(f"/v1/exports/{export_id}").json()["status"] == "completed", 40)
        link = client.post(f"/v1/exports/{export_id}/links", {"one_time": True}).json()["url"]
        proxy.armed.set()
        refused = client.plain_get(link)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_away")
        assert proxy.lost.is_set()
        assert wait_until(lambda: client.plain_get(link).status_code == 200, 40)
        assert client.plain_get(link).status_code == 410


def test_a_push_whose_start_was_not_confirmed_fails_and_can_be_sent_again() -> None:
    batches = [pa.record_batch({"a": ["x"]})]
    with scratch_postgres() as postgres, CommitProxy(postgres.url, "UPDATE exports SET status") as proxy:
        store = JobStore(proxy.url)
        store.create_tables()
        catalog = Catalog({}, {"local": MemorySink()}, Limits())
        pushes = Pushes(catalog, store, Transfers(), store_name="local", keep_s=60)
        caller = Caller("shop", scopes=frozenset({"push"}))
        request = PushRequest("one", "digest", "csv", "rows", (PushedColumn("a", "string"),))

        def sent() -> str:
            left = list(batches)
            source = ReadSource(left[0].schema, lambda: left.pop() if left else None, lambda: None, PushedOptions())
            push = pushes.begin(request, source, caller, api="flight")
            assert push.new
            ended = pushes.run(push, rows_expected=None, planned=lambda _: None, confirm=lambda: None)
            return f"{ended.status} {ended.error and ended.error.code}"

        proxy.armed.set()
        assert sent() == "failed database_away"
        assert proxy.lost.is_set()
        assert sent() == "completed None"
        pushes.close()
        store.close()
