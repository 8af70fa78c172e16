"""Parquet to CSV and XLSX files by way of DuckDB: `fluxport export --from duckdb:` beside DuckDB's own COPY.

    python bench/export_duckdb.py [--rows 1000000] [--runs 5] [--large 20000000] [--save]

Whole processes take turns, each with two threads for DuckDB. ``--large`` is one XLSX export of so many rows, for its
memory: the sum of the proportional set sizes of all processes of the command, sampled, the engine's among them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import support
from support import Command, Contender, Report

LARGE_MAX_MB = 400.0
SAMPLE_S = 0.05
USERS = (
    "SELECT i AS id, 'User ' || i AS name, 'user' || i || '@example.com' AS email, (i * 7919 % 10000) / 100 AS score, "
    "TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS created FROM range({}) r (i)"
)
COPY = """
import duckdb, sys
connection = duckdb.connect(config={"threads": 2})
connection.execute("SET enable_progress_bar = false")
for statement in sys.argv[1:]:
    connection.execute(statement)
"""


def made(rows: int) -> Path:
    """A Parquet file of so many users."""
    path = support.scratch(f"{rows}.parquet")
    duckdb(f"COPY ({USERS.format(rows)}) TO '{path}'")
    return path


def duckdb(*statements: str) -> None:
    subprocess.run([sys.executable, "-c", COPY, *statements], check=True)


def fluxport(parquet: Path, suffix: str, *words: str) -> Command:
    path = support.scratch(f"ours.{suffix}")
    query = f"SELECT * FROM '{parquet}'"
    return Command([support.FLUXPORT, "export", query, "--from", "duckdb:", "--to", path, "--quiet", *words], path)


def copy(parquet: Path, suffix: str, *before: str, options: str) -> Command:
    path = support.scratch(f"copy.{suffix}")
    statement = f"COPY (SELECT * FROM '{parquet}') TO '{path}' ({options})"
    return Command([sys.executable, "-c", COPY, *before, statement], path)


def contenders(parquet: Path) -> dict[str, list[Contender]]:
    lines, sheet_rows = partial(support.lines_in, header=True), support.sheet_rows_in
    timed = ("--timeout", "600")  # a statement with a time limit runs in a process of its own
    return {
        "csv": [
            Contender("fluxport export", lambda: fluxport(parquet, "csv"), lines),
            Contender("fluxport export --timeout", lambda: fluxport(parquet, "csv", *timed), lines),
            Contender("duckdb COPY", lambda: copy(parquet, "csv", options="HEADER"), lines),
        ],
        "xlsx": [
            Contender("fluxport export", lambda: fluxport(parquet, "xlsx"), sheet_rows),
            Contender("fluxport export --timeout", lambda: fluxport(parquet, "xlsx", *timed), sheet_rows),
            Contender(
                "duckdb COPY, its extension excel",
                lambda: copy(parquet, "xlsx", "LOAD excel", options="FORMAT xlsx, HEADER"),
                sheet_rows,
            ),
        ],
    }


def tree(pid: int) -> Iterator[int]:
    """The process and those that descend from it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from tree(int(child))


def set_size_mb(pid: int) -> float:
    """The proportional set size of a process; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024 / 1e6


def watched(command: Command) -> tuple[float, float]:
    """Seconds, and the highest sum of its processes' memory in MB."""
    began, peak, ended = time.perf_counter(), 0.0, threading.Event()
    process = subprocess.Popen(command.argv)

    def sample() -> None:
        nonlocal peak
        while not ended.wait(SAMPLE_S):
            try:
                peak = max(peak, sum(set_size_mb(pid) for pid in tree(process.pid)))
            except OSError:  # a process ended between two looks at it
                continue

    sampling = threading.Thread(target=sample)
    sampling.start()
    if code := process.wait():
        raise SystemExit(f"fluxport export ended with code {code}.")
    seconds = time.perf_counter() - began
    ended.set()
    sampling.join()
    return seconds, peak


def large(report: Report, rows: int) -> None:
    parquet = made(rows)
    report.line(f"\nParquet, {rows:,} users -> XLSX, all processes of the command together, one run")
    try:
        for name, words in (("in one process", ()), ("the engine in its own", ("--timeout", "3600"))):
            command = fluxport(parquet, "xlsx", *words)
            seconds, peak = watched(command)
            size = support.size_of(command.output) / 1e6
            support.remove(command.output)
            report.line(f"  {name}: {seconds:.1f} s, {peak:.0f} MB, file {size:,.0f} MB")
            report.line(support.verdict(f"memory, {name}", peak, LARGE_MAX_MB, "MB"))
    finally:
        support.remove(parquet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", type=int, default=20_000_000, help="0 leaves it out")
    support.add_report_options(parser)
    options = parser.parse_args()
    report = Report()
    support.wait_until_quiet(options.wait)
    report.lines([*support.machine("duckdb"), f"processors {os.cpu_count()}"])
    parquet = made(options.rows)
    try:
        for form, entries in contenders(parquet).items():
            report.line(f"\nParquet, {options.rows:,} users -> {form.upper()} file, median of {options.runs}")
            report.lines(support.table(support.race(entries, options.rows, options.runs), options.rows))
    finally:
        support.remove(parquet)
    if options.large:
        large(report, options.large)
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("export-duckdb")


if __name__ == "__main__":
    main()
