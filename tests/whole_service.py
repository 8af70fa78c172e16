"""One service with everything that an API offers: a database, datasets, sensors, schedules, a worker, and a caller with
every scope."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi.routing import iter_route_contexts

from fluxport import config, wiring
from fluxport.samples import create_sample
from identity_support import new_key
from service_support import service

ROWS = 500
QUERY = {"query": "SELECT * FROM trades", "connection": "journal"}
SENSOR = "line1/temperature"
RANGE = f"sensor_id={SENSOR}&start_ts=1600000000000&end_ts=1800000000000"
SCHEDULE = {"cron": "0 6 * * *", "user": "ann", "export": {"source": {"dataset": "trades"}}}


@dataclass
class Whole:
    """The running service, and a client whose key may do everything."""

    base: str
    pid: int
    http: httpx.Client
    key: str

    def export(self, **body: Any) -> dict[str, Any]:
        """A stored export of the database, once it has ended."""
        answer = self.http.post("/v1/exports", json={"source": QUERY} | body)
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["id"])

    def ended(self, export_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            job: dict[str, Any] = self.http.get(f"/v1/exports/{export_id}").json()
            if job["status"] not in ("queued", "running"):
                return job
            time.sleep(0.02)
        raise AssertionError(job)

    def link(self, export_id: str, *, one_time: bool = False) -> str:
        made: str = self.http.post(f"/v1/exports/{export_id}/links", json={"one_time": one_time}).json()["url"]
        return made


def routes(folder: Path, **flags: Any) -> list[tuple[str, set[str]]]:
    """Path and methods of every route of the service."""
    given = {
        "connections.main.url": "mysql://nobody@127.0.0.1/nothing",
        "database": f"sqlite:///{folder}/fluxport.db",
        "stores.local.path": str(folder),
    }
    made = wiring.service(config.load(environ={}, folder=folder, flags=given | flags))
    try:
        return [(c.path or "", c.methods or set()) for c in iter_route_contexts(made.app.routes)]
    finally:
        made.close()


def get_targets(whole: Whole, job: dict[str, Any], folder: Path) -> dict[str, str]:
    """A request with a 200 response for every GET route, by its path; ``job`` is an ended export."""
    queued = whole.http.post("/api/exports/jobs", json={"type": "trades"}).json()["data"]["id"]
    whole.ended(queued)
    token = whole.http.get(f"/api/exports/jobs/{queued}").json()["data"]["downloadToken"]
    page = whole.http.get("/").text.split('"')
    files = {
        "/v1/exports/{export_id}/file": whole.link(job["id"]),
        "/static/{name}": next(word for word in page if word.startswith("/static/") and word.endswith(".js")),
        "/v1/formats/{name}": "/v1/formats/csv",
        "/api/exports/jobs/{export_id}/download": f"/api/exports/jobs/{queued}/download?token={token}",
    }
    queries = {
        "/jobs": f"?id={job['id']}",
        "/api/v1/export": f"?{RANGE}",
        "/api/v1/query": f"?{RANGE}",
        "/api/exports/stream": "?type=trades",
    }
    names = {"{sensor_id:path}": SENSOR, "{name}": "trades"}
    found = {}
    for path in [path for path, methods in routes(folder) if "GET" in methods]:
        target = files.get(path, path) + queries.get(path, "")
        for name, value in (names | {"{export_id}": queued if path.startswith("/api/") else job["id"]}).items():
            target = target.replace(name, value)
        found[path] = target
    return found


@contextlib.contextmanager
def whole_service(folder: Path, **settings: Any) -> Iterator[Whole]:
    create_sample(folder / "journal.db", ROWS, ("ann",))
    declared = {
        "sample": "journal",
        "connections": {name: {"url": f"sqlite:///{folder / 'journal.db'}"} for name in ("main", "journal")},
        "series": {"path": str(folder / "series.db")},
        "schedules": {"daily": SCHEDULE},
        "limits": {"requests_per_minute": 1_000_000, "active_max": 1000},
    }
    (folder / "fluxport.yaml").write_text(json.dumps(declared | settings))
    with service(folder, "") as running:
        token = new_key(folder, "all", "ann", "sql:*", "dataset:*", "series", "push", "admin")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=running.base, headers=headers, timeout=60) as client:
            points = {"timestamp_ms": [1_700_000_000_000, 1_700_000_060_000], "value": [20.5, 21], "quality": [1, 0]}
            stored = client.post(f"/v1/sensors/{SENSOR}/points", json=points)
            assert stored.status_code == 200, stored.text
            yield Whole(running.base, running.pid, client, token)
