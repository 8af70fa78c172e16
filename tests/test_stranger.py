"""A format of another package, installed beside Fluxport by pip: listed everywhere, used, tested by the same contract;
and a package that cannot be loaded, which breaks nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service_support import Client, service

PACKAGE = Path(__file__).parent / "stranger_format"
HOW_TO = Path(__file__).parent.parent / "docs/how-to/add-a-format.md"
BROKEN = "The format 'ods' of the package fluxport-ods 2.0 cannot be used: importing no_such_module:ODS raised "
BROKEN += "ModuleNotFoundError; repair or remove the package."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, installed, and a database of two rows."""
    folder = tmp_path_factory.mktemp("stranger")
    source = shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*pip, "--target", str(folder / "installed"), str(source)], check=True, capture_output=True)
    info = folder / "installed" / "fluxport_ods-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fluxport-ods\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[fluxport.formats]\nods = no_such_module:ODS\n")
    with sqlite3.connect(folder / "t.db") as database:
        database.execute("CREATE TABLE t AS SELECT 1 AS n, 'a \"b\"' AS s UNION ALL SELECT 2, NULL")
    database.close()
    return folder


@pytest.fixture(scope="module")
def environ(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(folder / "installed")}


def run(*words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False)


def export(target: str, *words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    words = ("export", "SELECT * FROM t", "--from", f"sqlite:///{folder}/t.db", "--to", target, *words)
    return run("fluxport", *words, folder=folder, **environ)


def test_the_command_line_lists_it_and_writes_it_by_its_suffix(folder: Path, environ: dict[str, str]) -> None:
    shown = " ".join(run("fluxport", "export", "--help", folder=folder, **environ).stdout.split())
    assert "arrow or toml; default" in shown
    assert export("out.toml.gz", "-o", "table=people", folder=folder, **environ).returncode == 0
    assert export("out.toml", "-o", "table=people", folder=folder, **environ).returncode == 0
    found = tomllib.loads((folder / "out.toml").read_text())
    assert found == {"people": [{"n": "1", "s": 'a "b"'}, {"n": "2"}]}


def test_a_format_that_cannot_be_loaded_is_one_sentence(folder: Path, environ: dict[str, str]) -> None:
    """And only for those who request it."""
    done = export("out.ods", "--format", "ods", folder=folder, **environ)
    assert (done.returncode, done.stderr) == (1, f"fluxport: {BROKEN}\n")
    other = export("out.csv", folder=folder, **environ)
    assert (other.returncode, "ods" in other.stderr) == (0, False)


def test_without_the_package_the_name_is_unknown(folder: Path) -> None:
    done = export("out.toml", folder=folder)
    assert done.returncode == 2
    assert "has no known suffix" in done.stderr


@pytest.fixture(scope="module")
def client(folder: Path, environ: dict[str, str]) -> Iterator[Client]:
    with service(folder, f"sqlite:///{folder}/t.db", **environ) as running:
        yield running


def ask(client: Client, target: str, body: Any = None) -> tuple[int, str, bytes]:
    """Status, media type and body. Not by httpx, whose responses are compared with the description of the API in this
    process: without the package."""
    data = None if body is None else json.dumps(body).encode()
    headers = client.headers("POST" if data else "GET", target, data or b"")
    try:
        answer = urllib.request.urlopen(urllib.request.Request(client.base + target, data, headers), timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["Content-Type"], answer.read()


def test_the_service_lists_it_with_its_options_and_leaves_out_what_cannot_be_loaded(client: Client) -> None:
    listed = {entry["name"]: entry for entry in json.loads(ask(client, "/v1/formats")[2])["data"]}
    assert (listed["toml"]["label"], listed["toml"]["package"]) == ("TOML", "fluxport-toml 1.0")
    assert listed["csv"]["package"] is None
    assert "ods" not in listed
    described = json.loads(ask(client, "/v1/formats/toml")[2])
    assert described["options"]["table"] == {
        "type": "string",
        "default": "rows",
        "description": "the name of the array",
    }


def test_the_description_of_the_api_has_it(client: Client) -> None:
    assert "toml" in json.loads(ask(client, "/openapi.json")[2])["components"]["schemas"]["Format"]["enum"]


def test_the_check_names_what_cannot_be_loaded(folder: Path, environ: dict[str, str]) -> None:
    shown = run("fluxport", "check", folder=folder, **environ).stdout.splitlines()
    assert f"FAIL  format ods: {BROKEN}" in shown


def test_the_service_writes_it_and_reports_what_cannot_be_loaded(client: Client) -> None:
    body = {"source": {"query": "SELECT n FROM t"}, "format": "toml"}
    status, kind, data = ask(client, "/v1/stream", body)
    assert (status, kind) == (200, "application/toml")
    assert tomllib.loads(data.decode()) == {"rows": [{"n": "1"}, {"n": "2"}]}
    status, _, data = ask(client, "/v1/stream", body | {"format": "ods"})
    problem = json.loads(data)
    assert (status, problem["code"], problem["detail"]) == (500, "broken_plugin", BROKEN)


def test_it_fulfils_the_contract_of_formats(folder: Path, environ: dict[str, str]) -> None:
    tested = run("pytest", "-q", "-p", "no:cacheprovider", "test_toml.py", folder=folder / "source", **environ)
    assert tested.returncode == 0, tested.stdout[-3000:]
    found = re.search(r"(\d+) passed in", tested.stdout)
    assert found is not None
    assert int(found[1]) > 50


def test_the_how_to_shows_the_whole_package() -> None:
    """Each of its files as it is; together less than 80 lines."""
    files = [path for path in sorted(PACKAGE.iterdir()) if path.is_file()]
    assert [path.name for path in files] == ["fluxport_toml.py", "pyproject.toml", "test_toml.py"]
    assert [path.name for path in files if f"\n{path.read_text()}```" not in HOW_TO.read_text()] == []
    assert sum(len(path.read_text().splitlines()) for path in files) < 80
