"""The end of ``fluxport export``, which unloads no modules: what Python does at exit happens all the same."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

EXPORT = ("export", "SELECT 1 AS a", "--from", "sqlite:///t.db", "--to")
COMMAND = ("-m", "fluxport", *EXPORT)
SHELL = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a database, and ``more``, whose ``sitecustomize`` each command loads first."""
    sqlite3.connect(tmp_path / "t.db").close()
    (tmp_path / "more").mkdir()
    return tmp_path


def environ(folder: Path) -> dict[str, str]:
    """With standard output as users have it: buffered."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(folder / "more")}


def run(folder: Path, *arguments: str, stdout: int = subprocess.PIPE, first: str = "") -> tuple[int, str, str]:
    (folder / "more" / "sitecustomize.py").write_text(first)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environ(folder),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout or "", done.stderr


def test_the_exit_does_not_wait_for_idle_pools_of_threads(folder: Path) -> None:
    first = "from concurrent.futures import ThreadPoolExecutor\nPOOL = ThreadPoolExecutor(1)\nPOOL.submit(int).result()"
    assert run(folder, *COMMAND, "a.csv", "-q", first=first) == (0, "", "")


def test_the_exit_waits_for_threads_and_calls_what_was_registered(folder: Path) -> None:
    first = """
import atexit, threading
def write():
    threading.main_thread().join()
    with open("thread", "w") as file:
        file.write("done")
threading.Thread(target=write).start()
file = open("registered", "w")
file.write("done")
atexit.register(file.close)
"""
    first = first.replace("threading.main_thread().join()", "threading.Event().wait(1.5)")
    assert run(folder, *COMMAND, "a.csv", "-q", first=first) == (0, "", "")
    assert (folder / "thread").read_text() == (folder / "registered").read_text() == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="its C libraries have no common standard output")
def test_what_c_libraries_printed_is_written(folder: Path) -> None:
    first = "import ctypes\nctypes.CDLL(None).printf(b'from C')"
    assert run(folder, *COMMAND, "a.csv", "-q", first=first) == (0, "from C", "")


@pytest.mark.parametrize("stream", [1, 2])
def test_a_command_without_standard_streams_exits_with_its_own_code(folder: Path, stream: int) -> None:
    for more in ([], ["-q"], ["--json"]):
        code, out, err = run(folder, "-c", SHELL, str(stream), *COMMAND, "a.csv", *more)
        assert code == 0
        assert "Traceback" not in out + err
    code, out, err = run(folder, "-c", SHELL, str(stream), *COMMAND, "a.unknown")
    assert code == 2
    assert "Traceback" not in out + err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_nothing_is_printed_into_the_file_where_standard_error_is_missing(folder: Path, more: list[str]) -> None:
    assert run(folder, "-c", SHELL, "2", *COMMAND, "-", "--format", "csv", *more) == (0, "a\n1\n", "")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_command_whose_streams_were_closed_exits_with_its_own_code(folder: Path, stream: str) -> None:
    first = f"import atexit, sys\natexit.register(lambda: sys.{stream}.close())"
    assert run(folder, *COMMAND, "a.csv", "-q", first=first) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_what_cannot_be_printed_is_reported_as_python_does(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        code, _, err = run(folder, *COMMAND, "a.csv", "-q", stdout=full.fileno(), first="print('text')")
    assert code == 120
    assert "No space left on device" in err


def test_a_program_that_runs_a_command_goes_on_after_it(folder: Path) -> None:
    program = """
import sys
from fluxport.cli import {0}
try:
    {0}()
except SystemExit as ended:
    print("ended with", ended.code)
"""
    (folder / "main.py").write_text(program.format("main"))
    assert run(folder, "main.py", *EXPORT, "a.csv", "-q") == (0, "ended with 0\n", "")
    (folder / "script.py").write_text("def run():\n" + program.format("command").replace("\n", "\n    ") + "\nrun()")
    assert run(folder, "script.py", *EXPORT, "a.csv", "-q") == (0, "ended with 0\n", "")


def test_a_profiler_and_a_tracer_report_after_the_end(folder: Path) -> None:
    code, out, _ = run(folder, "-m", "cProfile", *COMMAND, "a.csv", "-q")
    assert (code, "function calls" in out) == (0, True)
    code, out, _ = run(folder, "-m", "trace", "--listfuncs", "--module", *COMMAND[1:], "a.csv", "-q")
    assert (code, "functions called" in out) == (0, True)


def test_an_interactive_session_goes_on(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-i", *COMMAND, "a.csv", "-q"],
        cwd=folder,
        env=environ(folder),
        input="print('still here')\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "still here" in done.stdout


def test_a_file_that_another_package_left_open_is_written(folder: Path) -> None:
    info = folder / "more" / "leaving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fluxport.formats]\nleaving = leaving:FORMAT\n")
    (folder / "more" / "leaving.py").write_text("FILE = open('left', 'w')\nFILE.write('open')\nFORMAT = None")
    code, _, _ = run(folder, *COMMAND, "a.csv", "--format", "leaving")
    assert code != 0
    assert (folder / "left").read_text() == "open"
