"""Programs of the export middleware, with stubs of its own proto (one response) and of the bidirectional one, generated
here: they send no metadata of ours, and change nothing but the host name."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow.csv
import pytest
import python_calamine

from examples_support import OLD_CLIENTS, Program, require_php_curl
from grpc_support import GrpcApi, go_environment, grpc_api
from services import require_program, unavailable

SOURCES = OLD_CLIENTS / "middleware"
ROWS = 100_000
JAVA = Path("/usr/share/java")  # Debian's libgrpc-java and what it needs
JARS = ("grpc-*", "netty-*", "protobuf", "guava", "gson", "perfmark-api", "opencensus-api", "geronimo-annotation-*")


def proto(build: Path, kind: str) -> Path:
    """The folder of the proto: the middleware's own, or with many responses."""
    text = (SOURCES / "export.proto").read_text()
    changed = text.replace("returns (ExportResponse)", "returns (stream ExportResponse)")
    assert changed != text
    (build / "export.proto").write_text(text if kind == "ONE" else changed)
    return build


def _python(build: Path, kind: str) -> list[str]:
    words = [
        "-m",
        "grpc_tools.protoc",
        f"-I{proto(build, kind)}",
        f"--python_out={build}",
        f"--grpc_python_out={build}",
    ]
    subprocess.run([sys.executable, *words, "export.proto"], check=True)
    return [sys.executable, str(shutil.copy(SOURCES / "push_rows.py", build / "push_rows.py"))]


def _go(build: Path, kind: str) -> list[str]:
    folder = build / "go" / "src" / "old.example" / "push"
    folder.mkdir(parents=True)
    environ = go_environment(build / "go")
    for name in ("rows.go", f"{kind.lower()}.go"):
        shutil.copy(SOURCES / "go" / name, folder)
    options = [
        f"--{plugin}_opt={option}"
        for plugin in ("go", "go-grpc")
        for option in ("module=old.example/push", "Mexport.proto=old.example/push/exportpb")
    ]
    outputs = [f"--go_out={folder}", f"--go-grpc_out={folder}"]
    command = ["protoc", f"-I{proto(build, kind)}", *outputs, *options, "export.proto"]
    subprocess.run(command, check=True)
    subprocess.run(["go", "build", "-o", str(build / "push"), "old.example/push"], env=environ, check=True)
    return [str(build / "push")]


def _java(build: Path, kind: str) -> list[str]:
    protoc, plugin = require_program("protoc"), require_program("protoc-gen-grpc-java", "grpc_java_plugin")
    javac, java = require_program("javac"), require_program("java")
    jars = [sorted(JAVA.glob(f"{name}.jar")) for name in JARS]
    if not all(jars):
        unavailable("Java's gRPC library")
    made = [f"--java_out={build}", f"--plugin=protoc-gen-grpc-java={plugin}", f"--grpc-java_out={build}"]
    subprocess.run([protoc, f"-I{proto(build, kind)}", *made, "export.proto"], check=True)
    sources = [*build.rglob("*.java"), SOURCES / "java" / "Push.java"]
    path = os.pathsep.join(str(jar) for found in jars for jar in found)
    subprocess.run([javac, "-nowarn", "-cp", path, "-d", str(build), *map(str, sources)], check=True)
    return [java, "-cp", f"{build}{os.pathsep}{path}", "Push"]


def _php(build: Path, kind: str) -> list[str]:
    return [require_php_curl(), str(SOURCES / "push.php")]


PROGRAMS: dict[str, Callable[[Path, str], list[str]]] = {"python": _python, "go": _go, "java": _java, "php": _php}


@pytest.fixture(scope="module", params=PROGRAMS)
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Program, Path]]:
    """The program by its kind of stub, and the folder that it runs in."""
    built = {}
    for kind in ("ONE", "MANY"):
        folder = tmp_path_factory.mktemp("build")
        built[kind] = Program(tuple(PROGRAMS[request.param](folder, kind))), folder
    return built


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    settings = {"FLUXPORT_GRPC__KEYLESS": '["127.0.0.0/8"]', "FLUXPORT_GRPC__ANSWERS": "final"}
    with grpc_api(tmp_path_factory.mktemp("final"), **settings) as found:
        yield found


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcApi]:
    with grpc_api(tmp_path_factory.mktemp("usual"), FLUXPORT_GRPC__KEYLESS='["127.0.0.0/8"]') as found:
        yield found


def pushed(to: GrpcApi, programs: dict[str, tuple[Program, Path]], kind: str, format: str, rows: int) -> int:
    """Push by the program; the number of responses that it got. The file has all the rows, by another reader."""
    program, folder = programs[kind]
    done = program.run(to.target, str(rows), format, kind, folder=folder)
    assert done.returncode == 0, done.stderr
    count, status, recorded, url = done.stdout.split()
    assert (status.removeprefix("TASK_STATUS_"), int(recorded)) == ("COMPLETED", rows)
    content = httpx.get(url, timeout=60).raise_for_status().content
    if format == "CSV":
        assert pyarrow.csv.read_csv(io.BytesIO(content)).column("id").to_pylist() == list(range(rows))
    else:
        (sheet,) = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content)).sheet_names
        cells = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_name(sheet).to_python()
        assert [row[0] for row in cells] == ["id", *map(float, range(rows))]
    return int(count)


@pytest.mark.parametrize("format", ["CSV", "EXCEL"])
def test_a_stub_of_the_old_proto_gets_its_one_response_where_the_setting_says_so(
    programs: dict[str, tuple[Program, Path]], final: GrpcApi, format: str
) -> None:
    assert pushed(final, programs, "ONE", format, ROWS) == 1


@pytest.mark.parametrize("format", ["CSV", "EXCEL"])
def test_a_bidirectional_stub_may_wait_for_the_tasks_id_before_it_sends_rows(
    programs: dict[str, tuple[Program, Path]], usual: GrpcApi, format: str
) -> None:
    assert pushed(usual, programs, "MANY", format, ROWS) >= 2


def test_a_stub_of_the_old_proto_that_sends_without_a_pause_needs_no_setting(
    programs: dict[str, tuple[Program, Path]], usual: GrpcApi
) -> None:
    assert pushed(usual, programs, "ONE", "CSV", 1_500) == 1
