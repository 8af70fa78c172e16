"""The examples that push rows, each in its own language, against the real service."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import pytest

from examples_support import EXAMPLES, ROOT, Program, require_php_curl
from grpc_support import GrpcApi, go_environment, grpc_api

ROWS = 4_321
PROTO = ROOT / "src" / "fluxport" / "grpc" / "export.proto"


def _python(build: Path) -> Program:
    return Program((sys.executable, str(EXAMPLES / "python" / "push.py")))


def _php(build: Path) -> Program:
    return Program((require_php_curl(), str(EXAMPLES / "php" / "push.php")))


def _go(build: Path) -> Program:
    """Build the example and the generated code with Debian's sources of the libraries."""
    environ = go_environment(build / "go")
    folder = build / "go" / "src" / "fluxport.example" / "push"
    folder.mkdir(parents=True)
    shutil.copy(EXAMPLES / "go-push" / "main.go", folder)
    name = "fluxport.example/push"
    options = [
        f"--{kind}_opt={o}" for kind in ("go", "go-grpc") for o in (f"module={name}", f"Mexport.proto={name}/exportpb")
    ]
    command = ["protoc", f"-I{PROTO.parent}", f"--go_out={folder}", f"--go-grpc_out={folder}", *options, PROTO.name]
    subprocess.run(command, check=True)
    subprocess.run(["go", "build", "-o", str(build / "push"), name], env=environ, check=True)
    return Program((str(build / "push"),))


PROGRAMS: dict[str, Callable[[Path], Program]] = {"python": _python, "php": _php, "go": _go}


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return PROGRAMS[request.param](tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    with grpc_api(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def rows(tmp_path: Path) -> list[list[str]]:
    made = [[str(i), f'Zoë "{i}", & co\nsecond line', f"2026-03-{i % 28 + 1:02d}", "true"] for i in range(ROWS)]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id:number", "name", "day:date", "paid:boolean"], *made])
    return made


def environ(to: GrpcApi, key: str | None = None) -> dict[str, str]:
    return {"FLUXPORT_GRPC": to.target, "FLUXPORT_KEY": to.key if key is None else key}


def test_rows_arrive_whole_under_the_files_name(
    program: Program, running: GrpcApi, rows: list[list[str]], tmp_path: Path
) -> None:
    done = program.run("rows.csv", "out.csv", folder=tmp_path, environ=environ(running))
    assert re.fullmatch(rf"out\.csv: {ROWS} rows, \d+ bytes, sha256 [0-9a-f]{{64}}\n", done.stdout), done.stderr
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "name", "day", "paid"], *rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


def test_a_workbook_has_typed_cells(program: Program, running: GrpcApi, rows: list[list[str]], tmp_path: Path) -> None:
    done = program.run("rows.csv", "out.xlsx", folder=tmp_path, environ=environ(running))
    assert done.returncode == 0, done.stderr
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert sheet.max_row == ROWS + 1
    assert [sheet.cell(3, column).data_type for column in (1, 2, 3, 4)] == ["n", "s", "d", "b"]


@pytest.mark.parametrize(("wrong", "said"), [("x,Ada,,\n", "Row 2, column 'id'"), ("1,Ada\n", "Row 2 has 2 values")])
def test_the_services_words_reach_the_user(
    program: Program, running: GrpcApi, wrong: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("id:number,name,day:date,paid:boolean\n1,Ada,,\n" + wrong)
    done = program.run("rows.csv", "out.csv", folder=tmp_path, environ=environ(running))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_wrong_key_and_an_unreachable_service_are_reported(
    program: Program, running: GrpcApi, rows: list[list[str]], tmp_path: Path
) -> None:
    assert "key" in program.run("rows.csv", "out.csv", folder=tmp_path, environ=environ(running, "wrong")).stderr
    nowhere = environ(running) | {"FLUXPORT_GRPC": "127.0.0.1:9"}
    done = program.run("rows.csv", "out.csv", folder=tmp_path, environ=nowhere)
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_wrong_arguments_show_the_usage(program: Program, tmp_path: Path) -> None:
    done = program.run("rows.csv", "out.pdf", folder=tmp_path, environ={"FLUXPORT_KEY": "k"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "FLUXPORT_KEY" in done.stderr
