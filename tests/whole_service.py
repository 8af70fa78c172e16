"""One service with everything that an API can be called for: a database, datasets, sensors, schedules, a worker, and a
caller who may do all of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fluxport.samples import create_sample
from identity_support import new_key
from service_support import service

ROWS = 500
QUERY = {"query": "SELECT * FROM trades", "connection": "journal"}
SENSOR = "line1/temperature"
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
