"""The service over a sample journal in SQLite, with three callers: ``ann`` and ``bob`` have trades, ``eve`` may do
nothing with datasets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from fluxport.samples import create_sample
from service_support import Client, service

TRADES = 12_000
SECRETS = {name: f"the-secret-of-{name}-is-long-enough-0123456789" for name in ("ann", "bob", "eve")}


@contextlib.contextmanager
def journal_service(folder: Path, trades: int = TRADES, **settings: Any) -> Iterator[Client]:
    """A client that calls as ``ann``; ``settings`` are sections of the configuration."""
    journal_settings(folder, trades, **settings)
    with service(folder, "") as running:
        yield calling_as(running, "ann")


def journal_settings(folder: Path, trades: int, **settings: Any) -> None:
    """The journal and the configuration of services in this folder."""
    create_sample(folder / "journal.db", trades, ("ann", "bob"))
    keys: dict[str, Any] = {name: {"secrets": [secret]} for name, secret in SECRETS.items()}
    keys["eve"]["scopes"] = ["sql:journal"]
    download_secret = "the-secret-of-links-is-long-enough-0123456789"
    declared = {
        "connections": {"journal": {"url": f"sqlite:///{folder / 'journal.db'}"}},
        "sample": "journal",
        "auth": {"keys": keys, "download_secret": download_secret} | settings.pop("auth", {}),
    }
    (folder / "fluxport.yaml").write_text(yaml.safe_dump(declared | settings, sort_keys=False))


def calling_as(client: Client, name: str) -> Client:
    return replace(client, key_id=name, secret=SECRETS[name])


def queued_job(client: Client, body: Any) -> dict[str, Any]:
    answer = client.post("/api/exports/jobs", body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()["data"]
    return job


def finished_job(client: Client, export_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/api/exports/jobs/{export_id}").json()["data"]
        if job["status"] in ("completed", "failed"):
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def download(client: Client, job: dict[str, Any], token: str | None = None) -> httpx.Response:
    token = job["downloadToken"] if token is None else token
    return client.get(f"/api/exports/jobs/{job['id']}/download?token={token}")


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in the envelope."""
    body = answer.json()
    assert body.keys() == {"data", "error"}
    assert body["data"] is None
    assert body["error"].keys() == {"code", "message"}
    return answer.status_code, body["error"]["code"]
