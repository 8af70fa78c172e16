"""Statements of an embedded engine in separate processes: they end with their caller, whatever they do at that time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fluxport.errors import Canceled, FluxportError, LimitExceeded, QueryFailed, QueryRefused, TimedOut, Unavailable
from fluxport.findings import Finding, Findings
from fluxport.policy.guard import GuardPolicy
from fluxport.sources import SourceOptions, open_source
from fluxport.stages import Limits, Source
from mysql_support import wait_until
from processes import descriptors, holders
from service_support import Client, service

SEPARATE = SourceOptions(separate=True)
ZEROS, OTHER = "hex(zeroblob(6000000))", "hex(zeroblob(2000000)) || '1'"
KEYS = "(WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < 400000) {} FROM s)"
# One call of each takes minutes or hours, and nothing ends it from within.
LONG_STEPS = {
    "instr": f"SELECT instr({ZEROS}, {OTHER}) AS n",
    "replace": f"SELECT length(replace({ZEROS}, {OTHER}, '')) AS n",
    "trim": f"SELECT length(trim({ZEROS}, replace({OTHER}, '0', '1') || '0')) AS n",
    "like": f"SELECT {ZEROS} LIKE '%' || substr({ZEROS}, 1, 49000) || '1' AS n",
    "glob": f"SELECT {ZEROS} GLOB '*' || substr({ZEROS}, 1, 49000) || '1' AS n",
    "json_patch": "SELECT length(json_patch({0}, {0})) AS n".format(KEYS.format("SELECT json_group_object(g, g)")),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "rows.db")) as connection, connection:
        connection.execute("CREATE TABLE t (v)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), ("two",), (3.0,)])
        connection.execute("CREATE TABLE closed (v)")
    return tmp_path / "rows.db"


def opened(file: Path, query: str, options: SourceOptions = SEPARATE, **limits: Any) -> Source:
    return open_source(f"sqlite:///{file}", query, options=options, limits=Limits(**limits))


def ended(source: Source) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        list(source.batches())
    return caught.value


def is_running(file: Path) -> bool:
    return descriptors(file) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_STEPS)
def test_the_deadline_ends_a_step_that_nothing_interrupts(file: Path, name: str) -> None:
    error = ended(opened(file, LONG_STEPS[name], deadline_s=2.0))
    assert (type(error), error.code) == (TimedOut, "deadline")
    assert wait_until(lambda: not is_running(file))


def test_closing_ends_a_step_that_nothing_interrupts(file: Path) -> None:
    source = opened(file, LONG_STEPS["instr"])
    errors: list[FluxportError] = []
    thread = threading.Thread(target=lambda: errors.append(ended(source)))
    thread.start()
    assert wait_until(lambda: is_running(file))
    source.close()
    thread.join()
    assert isinstance(errors[0], Canceled)
    assert wait_until(lambda: not is_running(file))


def test_the_end_of_the_caller_ends_the_step(file: Path) -> None:
    program = "import sys; from fluxport.sources import SourceOptions, open_source; "
    program += "open_source(sys.argv[1], sys.argv[2], options=SourceOptions(separate=True)).schema"
    asking = subprocess.Popen([sys.executable, "-c", program, f"sqlite:///{file}", LONG_STEPS["instr"]])
    assert wait_until(lambda: is_running(file))
    asking.kill()
    asking.wait()
    assert wait_until(lambda: not is_running(file))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with the one that forked them")
def test_the_end_of_the_server_ends_its_processes_and_another_serves_the_next(file: Path) -> None:
    """As the kernel does when out of memory: the remaining rows are lost, and an error says so."""
    source = opened(file, LONG_STEPS["instr"])
    errors: list[FluxportError] = []
    thread = threading.Thread(target=lambda: errors.append(ended(source)))
    thread.start()
    assert wait_until(lambda: is_running(file))
    [statement] = set(holders(file))
    os.kill(parent(statement), signal.SIGKILL)
    thread.join()
    assert (type(errors[0]), errors[0].code) == (Unavailable, "source_lost")
    assert wait_until(lambda: not is_running(file))
    assert sum(batch.num_rows for batch in opened(file, "SELECT v FROM t").batches()) == 3


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_process_killed_among_its_rows_does_not_end_them(file: Path) -> None:
    numbers = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < 500000) SELECT g FROM s"
    batches = opened(file, numbers).batches()
    next(batches)
    for process in set(holders(file)):
        os.kill(process, signal.SIGKILL)
    with pytest.raises(Unavailable) as caught:
        list(batches)
    assert caught.value.code == "source_lost"


@pytest.mark.parametrize(
    ("query", "family", "code"),
    [
        ("SELECT v FROM t WHERE", QueryFailed, "syntax_error"),
        ("SELECT v FROM closed", QueryRefused, "query_table"),
        ("SELECT printf('%.2000c', 'x') AS v", LimitExceeded, "cell_too_large"),
        (
            "SELECT g, printf('%.*c', g, 'x') AS v FROM (SELECT v AS g FROM t UNION ALL SELECT 2000)",
            LimitExceeded,
            None,
        ),
    ],
)
def test_errors_are_the_same_as_in_this_process(file: Path, query: str, family: type, code: str | None) -> None:
    """In every part, including the database's own message."""
    opens = GuardPolicy(dialect="sqlite", tables=frozenset({"t"})).opens
    here, there = (
        ended(opened(file, query, SourceOptions(may_read=opens, separate=separate), cell_bytes_max=1000))
        for separate in (False, True)
    )
    assert type(there) is type(here) is family
    assert there.code == here.code == (code or here.code)
    assert vars(there) == vars(here)


def test_what_is_found_is_counted_here(file: Path) -> None:
    findings = Findings()
    source = open_source(f"sqlite:///{file}", "SELECT v FROM t", options=SEPARATE, findings=findings)
    assert [value for batch in source.batches() for value in batch["v"].to_pylist()] == ["1", "two", "3"]
    assert list(findings) == [Finding("mixed_types_as_text", "v", 2)]


def test_what_all_processes_share_has_allocated_nothing_of_arrow() -> None:
    """Its first allocation reserves a gigabyte, which counts as that of each process."""
    program = (
        "import importlib, pyarrow; from fluxport.sources import SOURCES\n"
        "for module in {module for entry in SOURCES.values() for module in entry.embedded}:\n"
        "    importlib.import_module(module)\n"
        "print(pyarrow.default_memory_pool().max_memory())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"0\n"


@pytest.fixture
def client(tmp_path: Path, file: Path) -> Iterator[Client]:
    with service(tmp_path, f"sqlite:///{file}", FLUXPORT_LIMITS__EXPORT_S="3") as running:
        yield running


def test_the_service_ends_a_step_by_its_limit(client: Client, file: Path) -> None:
    """Streams and stored exports, of a caller's query."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO t VALUES (?)", ["0" * 12_000_000])
    query = "SELECT instr(v, substr(v, 1, 4000000) || '1') AS n FROM t WHERE length(v) > 10"
    request = {"source": {"query": query}, "format": "csv"}
    answer = client.post("/v1/stream", request)
    assert (answer.status_code, answer.json()["code"]) == (503, "deadline")
    target = f"/v1/exports/{client.post('/v1/exports', request).json()['id']}"
    assert wait_until(lambda: client.get(target).json()["status"] == "failed", 60)
    assert [reason["code"] for reason in client.get(target).json()["attempt_errors"]] == ["deadline"]
    assert wait_until(lambda: not is_running(file))
