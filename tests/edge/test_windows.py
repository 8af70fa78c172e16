"""The command line without what Windows lacks, see tests/windows/sitecustomize.py. It was not run on Windows."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import openpyxl
import pytest

from service_support import children, emulator, service

WINDOWS = Path(__file__).parent.parent / "windows"
ROWS = 2_000
QUERY = "SELECT id, name FROM users ORDER BY id"


def run(*words: str, folder: Path, code: int = 0, environ: Mapping[str, str] | None = None) -> str:
    """The output of ``fluxport words...``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXPORT_", "API_", "MYSQL_"))}
    environment |= {"PYTHONPATH": str(WINDOWS), **(environ or {})}
    command = [sys.executable, "-m", "fluxport", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sqlite") / "users.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (id INTEGER, name TEXT)")
        database.executemany("INSERT INTO users VALUES (?, ?)", ((i, f"name {i}") for i in range(1, ROWS + 1)))
    database.close()
    return f"sqlite:///{path}"


def test_modules_of_fluxport_see_windows_and_others_do_not(tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    script = (
        "import os, signal, time\n"
        "from fluxport import systems, signals, loops\n"
        "assert os.name == 'posix' and hasattr(os, 'fork')\n"
        "assert loops.os.name == 'nt' and not systems.FORKS and not systems.OPEN_FILES_MOVE\n"
        "assert systems.locked(0) is None and systems.open_folder('.') is None\n"
        "from fluxport import tables\n"
        "assert hasattr(time, 'clock_gettime') and not hasattr(tables.time, 'clock_gettime')\n"
        "assert abs(time.monotonic() - systems.steady()) < 60\n"
        "assert [number.name for number in signals.ending()] == ['SIGTERM', 'SIGINT']\n"
        "with open('f', 'w') as file:\n"
        "    try:\n"
        "        os.unlink('f')\n"
        "    except PermissionError:\n"
        "        print('as on Windows')\n"
    )
    environ = os.environ | {"PYTHONPATH": str(WINDOWS)}
    assert subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, env=environ) == b"as on Windows\n"


@pytest.mark.parametrize("source", ["mysql", "sqlite"])
@pytest.mark.parametrize("more", [(), ("--timeout", "60")], ids=["", "with a time limit"])
def test_an_export_to_a_file(
    source: str, more: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also over a file that is there; nothing else stays in the folder."""
    url = request.getfixturevalue(source)
    for _ in range(2):
        for name in ("users.csv", "users.xlsx"):
            run("export", QUERY, "--from", url, "--to", name, *more, folder=tmp_path)
    with (tmp_path / "users.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [str(i) for i in range(1, ROWS + 1)]
    sheet = openpyxl.load_workbook(tmp_path / "users.xlsx", read_only=True).active
    assert sheet is not None
    assert sum(1 for _ in sheet.iter_rows()) == ROWS + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["users.csv", "users.xlsx"]


def test_an_export_to_several_files_and_to_standard_output(sqlite: str, tmp_path: Path) -> None:
    words = ("export", QUERY, "--from", sqlite)
    (tmp_path / "parts").mkdir()
    run(*words, "--to", "parts/", "--format", "csv", "--option", "max_rows_per_file=500", folder=tmp_path)
    parts = [path for path in tmp_path.rglob("*.csv") if path.is_file()]
    assert len(parts) == 4
    assert not list(tmp_path.rglob(".fluxport-*"))
    assert run(*words, "--to", "-", "--format", "csv", "--quiet", folder=tmp_path).startswith("id,name\n1,name 1\n")


def test_the_guard_refuses_what_it_refuses_elsewhere(sqlite: str, tmp_path: Path) -> None:
    said = run("export", "DROP TABLE users", "--from", sqlite, "--to", "a.csv", folder=tmp_path, code=2)
    assert "--no-guard relies on the account's privileges instead." in said
    assert list(tmp_path.iterdir()) == []


def test_signatures_and_secrets(tmp_path: Path) -> None:
    assert "X-Signature: v2=" in run(
        "sign", "POST", "/v1/stream", "{}", folder=tmp_path, environ={"API_SECRET": "s" * 32}
    )
    assert len(run("secret", folder=tmp_path).strip()) >= 32


def test_the_configuration_is_checked(sqlite: str, tmp_path: Path) -> None:
    settings = {"MYSQL_DSN": sqlite, "FLUXPORT_SERIES__PATH": "series.db"}
    said = run("check", folder=tmp_path, environ=settings)
    assert "ok    store local: can be written to" in said
    assert "ok    database: can be used." in said
    assert "ok    sensors: can be read." in said


def test_an_abandoned_temporary_file_is_removed(sqlite: str, tmp_path: Path) -> None:
    """One of a process that has ended; none of its own."""
    left = tmp_path / f".fluxport-{'0' * 16}.part"
    left.touch()
    run("export", QUERY, "--from", sqlite, "--to", "users.csv", folder=tmp_path)
    assert not left.exists()


def test_the_service_and_its_worker_store_an_export(sqlite: str, tmp_path: Path) -> None:
    with service(tmp_path, sqlite, "--grpc-port", "0", PYTHONPATH=str(WINDOWS)) as client:
        created = client.post("/v1/exports", {"source": {"query": QUERY}, "format": "xlsx"}).json()["id"]
        while (job := client.get(f"/v1/exports/{created}").json())["status"] in ("queued", "running"):
            time.sleep(0.05)
        assert (job["status"], job["rows"]) == ("completed", ROWS), job
        assert len(client.plain_get(job["download"]["url"]).content) == job["bytes"]
        [log] = tmp_path.glob("serve-*.log")
        worker = children(client.pid)
        assert worker
    assert "restarted" not in log.read_text()
    assert not [number for number in worker if Path(f"/proc/{number}").exists()]


def test_the_demo_exports_every_format(tmp_path: Path) -> None:
    """The emulator, the service, streams and sensors, each without what Windows lacks."""
    said = run("demo", "--check", "--rows", "1000", folder=tmp_path)
    assert "Every file is complete" in said


def test_postgresql_by_a_unix_socket_cannot_be_reached(tmp_path: Path) -> None:
    url = "postgresql://app@/db?host=/nowhere"
    said = run("export", "SELECT 1", "--no-guard", "--from", url, "--to", "a.csv", folder=tmp_path, code=1)
    assert "The database cannot be reached; check host, port and network." in said
