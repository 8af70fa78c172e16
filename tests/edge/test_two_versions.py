"""Two neighbouring versions share a database while a deployment is upgraded: this one, and a newer one with one more
step, which is a copy of the sources with that step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import fluxport
from fluxport.migrations import Recorded, recorded_at
from identity_support import DATABASES, database_url
from service_support import Client, emulator, process, service
from steps_support import VERSION

NEWER = "9.8.7"
ROWS = 10
BODY = {"source": {"query": "SELECT id FROM users ORDER BY id"}, "format": "csv", "options": {"header": False}}
FILE = "".join(f"{n}\n" for n in range(1, ROWS + 1))
STEP = """
def apply(connection):
    connection.exec_driver_sql("ALTER TABLE exports ADD COLUMN more INTEGER")
"""


class Deployment(NamedTuple):
    """Services of both versions without workers, and an export that the older one queued before the upgrade."""

    older: Client
    newer: Client
    queued: str
    folder: Path
    url: str
    settings: dict[str, str]
    path: str

    @contextmanager
    def worker(self, version: str) -> Iterator[None]:
        environ = self.settings | ({"PYTHONPATH": self.path} if version == NEWER else {})
        with process("worker", folder=self.folder, environ=environ, until="worker ready"):
            yield


def newer_version(folder: Path) -> str:
    """A folder with a package ``fluxport`` whose database has one more step, which this version can use."""
    package = folder / "newer" / "fluxport"
    shutil.copytree(Path(fluxport.__file__).parent, package)
    (package / "version.py").write_text(f'__version__ = "{NEWER}"\n')
    name = f"step_{VERSION:04}"
    (package / "migrations" / f"{name}.py").write_text(STEP)
    steps = package / "migrations" / "__init__.py"
    row = f'STEPS += (Step("a column more", "fluxport.migrations.{name}", compatible_from={VERSION - 1}),)\n'
    before, mark, after = steps.read_text().partition("\n\nclass Recorded")
    assert mark
    steps.write_text(before + row + mark + after)
    return str(package.parent)


@pytest.fixture(scope="module", params=DATABASES)
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("versions")
    path = newer_version(folder)
    with ExitStack() as stack:
        source = stack.enter_context(emulator(folder, ROWS))
        url = stack.enter_context(database_url(request.param, folder))
        database = {"FLUXPORT_DATABASE": url}
        older = stack.enter_context(service(folder, source, "--no-worker", **database))
        queued = created(older, "before")
        assert recorded_at(url).version == VERSION - 1
        newer = stack.enter_context(service(folder, source, "--no-worker", PYTHONPATH=path, **database))
        settings = {"MYSQL_DSN": source, "API_SECRET": older.secret, "LOCAL_STORAGE_PATH": str(folder / "exports")}
        yield Deployment(older, newer, queued, folder, url, settings | database, path)


def created(client: Client, key: str) -> str:
    response = client.post("/v1/exports", BODY, headers={"Idempotency-Key": key})
    assert response.status_code in (200, 202), response.text  # 200: the export that this key created before
    export_id: str = response.json()["id"]
    return export_id


def file_of(client: Client, export_id: str) -> str:
    job = client.finished(export_id)
    assert job["status"] == "COMPLETED", job
    return client.plain_get(job["download_url"]).text


def test_the_first_process_of_the_newer_version_upgrades_and_the_older_service_continues(
    deployment: Deployment,
) -> None:
    assert recorded_at(deployment.url) == Recorded(VERSION, VERSION - 1, NEWER)
    assert deployment.older.get(f"/v1/exports/{deployment.queued}").status_code == 200
    assert deployment.older.plain_get("/health/live").status_code == 200


def test_a_newer_worker_runs_what_the_older_service_queued(deployment: Deployment) -> None:
    later = created(deployment.older, "after the upgrade")
    with deployment.worker(NEWER):
        for export_id in (deployment.queued, later):
            assert file_of(deployment.older, export_id) == file_of(deployment.newer, export_id) == FILE


def test_an_older_worker_starts_beside_the_newer_version_and_runs_its_exports(deployment: Deployment) -> None:
    export_id = created(deployment.newer, "of the newer version")
    with deployment.worker(fluxport.__version__):
        assert file_of(deployment.newer, export_id) == file_of(deployment.older, export_id) == FILE


def test_an_idempotency_key_is_valid_for_both(deployment: Deployment) -> None:
    assert created(deployment.newer, "before") == deployment.queued
    assert created(deployment.older, "at both") == created(deployment.newer, "at both")


def test_a_signature_that_one_accepted_is_refused_by_the_other(deployment: Deployment) -> None:
    target = "/v1/exports"
    headers = deployment.older.headers("GET", target)
    assert deployment.older.plain_get(target, headers).status_code == 200
    response = deployment.newer.plain_get(target, headers)
    assert (response.status_code, response.json()["code"]) == (401, "replayed")
