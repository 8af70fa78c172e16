"""Rows of an SQLite file to a CSV file: whole processes side by side.

    python bench/export_sqlite.py [--rows 1000000] [--runs 5] [--only users|mixed] [--save]

``users`` has five columns, ``mixed`` fifty (integers, reals, texts, dates as text, and both with NULLs) and a tenth of
the rows. Contenders take turns; those slower than 10 s run once. The rows of every file are counted. CPU is user and
system time of the process and its children, peak memory that of the largest process. ``fluxport export`` runs with its
defaults, including the SQL guard; with ``--timeout`` it reads in a process of its own, as the service does.
"""

from __future__ import annotations

import argparse
import sqlite3
from functools import partial
from pathlib import Path

import support
from support import Command, Contender, Report

SERIES = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ?)"
USERS = (
    "id INTEGER PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL, created_at DATETIME NOT NULL, "
    "score DOUBLE NOT NULL",
    "n, 'User' || n, 'user' || n || '@example.com', datetime('2024-01-01', n || ' seconds'), n * 0.1",
)
KINDS = (
    ("INTEGER", "(n * {k}) % 1000003"),
    ("DOUBLE", "n * {k} * 0.1 + 1.0 / (n + {k})"),
    ("VARCHAR(50)", "'text ' || n * {k} || ' of column {k}'"),
    ("DATETIME", "datetime('2020-01-01', (n * {k}) % 100000000 || ' seconds')"),
    ("VARCHAR(50)", "CASE WHEN (n + {k}) % 3 <> 0 THEN 'note ' || n END"),
    ("DOUBLE", "CASE WHEN (n + {k}) % 3 <> 0 THEN n * {k} * 0.25 END"),
)
MIXED_COLUMNS = 50


def made(path: Path, kind: str, rows: int) -> None:
    declared, values = USERS
    if kind == "mixed":
        kinds = [(k, *KINDS[k % len(KINDS)]) for k in range(MIXED_COLUMNS)]
        declared = ", ".join(f"c{k} {name}" for k, name, _ in kinds)
        values = ", ".join(value.format(k=k * 7 + 3) for k, _, value in kinds)
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE {kind} ({declared})")
        connection.execute(f"INSERT INTO {kind} {SERIES} SELECT {values} FROM s", [rows])
    connection.close()


def fluxport(database: Path, query: str, *words: str) -> Command:
    path = support.scratch("ours.csv")
    where = ["--from", f"sqlite:///{database}", "--to", str(path), "--quiet", *words]
    return Command([support.FLUXPORT, "export", query, *where], path)


def sqlite_shell(database: Path, query: str) -> Command:
    path = support.scratch("sqlite3.csv")
    return Command([support.program("sqlite3"), "-csv", "-header", database, query], path, to_stdout=True)


def peer(name: str, database: Path, query: str) -> Command:
    path = support.scratch(f"{name}.csv")
    return Command([support.peers_python(), "-m", "sqlite_peers", name, database, query, path], path, cwd=support.HERE)


def compared(report: Report, kind: str, rows: int, runs: int) -> None:
    database = support.scratch(f"{kind}.db")
    try:
        made(database, kind, rows)
        query = f"SELECT * FROM {kind}"
        lines = partial(support.lines_in, header=True)
        names = {
            "duckdb sqlite_scanner": "duckdb",
            "adbc + pyarrow.csv": "adbc",
            "connectorx + pyarrow.csv": "connectorx",
            "pandas": "pandas",
            "sqlite3 + csv of Python": "python",
        }
        contenders = [
            Contender("fluxport export", lambda: fluxport(database, query), lines),
            Contender("fluxport export --timeout 600", lambda: fluxport(database, query, "--timeout", "600"), lines),
            Contender("sqlite3 -csv", lambda: sqlite_shell(database, query), lines),
            *(Contender(name, partial(peer, of, database, query), lines) for name, of in names.items()),
        ]
        report.line(f"\nSQLite, {rows:,} rows of {kind} -> CSV file, whole processes, median of {runs}")
        results = support.race(contenders, rows, runs)
        report.lines(support.table(results, rows))
        ours = results["fluxport export"]
        for name in ("sqlite3 -csv", "duckdb sqlite_scanner"):
            if ours.wall and results[name].wall:
                report.line(support.verdict(f"time over that of {name}", ours.wall_s / results[name].wall_s, 1.0, "x"))
        report.line(support.verdict("peak memory", ours.peak_mb, 100, "MB"))
    finally:
        support.remove(database)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("users", "mixed"))
    support.add_report_options(parser)
    options = parser.parse_args()
    with support.reported("export-sqlite", options) as report:
        for kind, rows in (("users", options.rows), ("mixed", options.rows // 10)):
            if options.only in (None, kind):
                compared(report, kind, rows, options.runs)


if __name__ == "__main__":
    main()
