"""PostgreSQL to CSV, XLSX and Parquet files: whole processes side by side, users and a wide table.

    python bench/export_postgres.py [--rows 1000000] [--runs 5] [--only csv|xlsx|parquet] [--columns 100] [--save]

Like export_mysql.py, but ``fluxport export`` runs without the SQL guard. The wide table has --columns columns of six
kinds in turn and as many cells as the users.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

import support
from export_mysql import XLSX_MAX, peer
from support import Command, Contender, Report, Result
from width_sources import POSTGRES_TYPES, kind_of

URL = os.environ.get("FLUXPORT_BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
USERS = (
    "s::bigint AS id, ('User' || s)::varchar(255) AS name, ('user' || s || '@example.com')::varchar(255) AS email, "
    "timestamp(0) '2024-01-01' + s * interval '1 second' AS created_at, s * 0.1::float8 AS score"
)
USERS_COLUMNS = 5
SCHEMA = "fluxport_bench"
# Limits: our CPU over that of the peer that makes Arrow of the rows and takes the least; peak memory.
CPU_MAX, PEAK_MAX_MB = 1.0, 100.0
MAKE_ARROW = re.compile("connectorx|ADBC|conecta")


def seeded(name: str, columns: str, rows: int) -> str:
    """The table, created if it does not exist."""
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
        table = f"{SCHEMA}.{name}"
        made = f"CREATE TABLE IF NOT EXISTS {table} AS SELECT {columns} FROM generate_series(1, {rows}::bigint) s"
        connection.execute(made.encode())
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    return table


def mixed(columns: int) -> str:
    kinds = [POSTGRES_TYPES[kind_of(k)] for k in range(columns)]
    return ", ".join(f"({value.format(k=k + 1)})::{kind} AS c{k}" for k, (kind, value) in enumerate(kinds))


def fluxport(query: str, suffix: str) -> Command:
    path = support.scratch(f"ours.{suffix}")
    words = ["export", query, "--no-guard", "--from", URL, "--to", str(path), "--quiet"]
    return Command([support.FLUXPORT, *words], path)


def psql(query: str) -> Command:
    path = support.scratch("psql.csv")
    copy = f"\\copy ({query}) TO '{path}' (FORMAT csv, HEADER)"
    return Command([support.program("psql"), "-q", URL, "-c", copy], path)


def parquet_rows(path: Path) -> int:
    """The number of rows that the footer tells, read by a process of its own."""
    code = "import sys, pyarrow.parquet as p; print(p.ParquetFile(sys.argv[1]).metadata.num_rows)"
    done = subprocess.run([support.peers_python(), "-c", code, path], check=True, capture_output=True, text=True)
    return int(done.stdout)


def contenders(form: str, query: str) -> list[Contender]:
    lines = partial(support.lines_in, header=True)
    names = {
        "csv": {
            "connectorx + pyarrow.csv": "connectorx_arrow",
            "connectorx stream + pyarrow.csv": "connectorx_stream",
            "ADBC + pyarrow.csv": "adbc",
            "conecta + pyarrow.csv": "conecta",
            "duckdb postgres scanner": "duckdb_postgres",
        },
        "parquet": {
            "connectorx + pyarrow.parquet": "connectorx_parquet",
            "ADBC + pyarrow.parquet": "adbc_parquet",
            "duckdb postgres scanner": "duckdb_postgres_parquet",
        },
        "xlsx": {
            "excelize (Go), connectorx": "excelize",
            "libxlsxwriter (C), connectorx": "libxlsxwriter",
            "xlsxturbo, connectorx": "xlsxturbo",
            "rustpy-xlsxwriter, connectorx": "rustpy_xlsxwriter",
        },
    }
    counters: dict[str, Callable[[Path], int]] = {
        "csv": lines,
        "parquet": parquet_rows,
        "xlsx": support.sheet_rows_in,
    }
    rows_in = counters[form]
    found = [Contender("fluxport export", lambda: fluxport(query, form), rows_in)]
    if form == "csv":
        found.append(Contender("psql \\copy", lambda: psql(query), lines))
    return found + [Contender(n, partial(peer, of, URL, query, form), rows_in) for n, of in names[form].items()]


def judged(form: str, results: dict[str, Result]) -> list[str]:
    ours, *peers = (name for name, result in results.items() if result.wall)
    if ours != "fluxport export" or not peers:
        return []
    own = results[ours]
    verdicts = [support.verdict(f"{form}, peak memory", own.peak_mb, PEAK_MAX_MB, "MB")]
    if form == "xlsx":
        base = min(results[name].wall_s for name in peers)
        verdicts.append(support.verdict("xlsx, time beside the fastest", own.wall_s / base, XLSX_MAX, "x"))
    elif arrow := [results[name].cpu_s for name in peers if MAKE_ARROW.search(name)]:
        verdicts.append(support.verdict(f"{form}, CPU beside those by Arrow", own.cpu_s / min(arrow), CPU_MAX, "x"))
    return verdicts


def compared(report: Report, what: str, form: str, table: str, rows: int, runs: int) -> None:
    report.line(f"\nPostgreSQL, {what} -> {form.upper()} file, whole processes, median of {runs}")
    results = support.race(contenders(form, f"SELECT * FROM {table}"), rows, runs)
    report.lines(support.table(results, rows))
    report.lines(judged(form, results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=100, help="of the wide table")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("csv", "parquet", "xlsx"))
    support.add_report_options(parser)
    options = parser.parse_args()
    users = seeded(f"users_{options.rows}", USERS, options.rows)
    wide_rows = max(1, options.rows * USERS_COLUMNS // options.columns)
    wide = seeded(f"mixed_{options.columns}_{wide_rows}", mixed(options.columns), wide_rows)
    with support.reported("export-postgres", options) as report:
        for form in ("csv", "parquet", "xlsx"):
            if options.only in (None, form):
                compared(report, f"{options.rows:,} users", form, users, options.rows, options.runs)
                if form != "xlsx":
                    what = f"{wide_rows:,} rows of {options.columns} columns"
                    compared(report, what, form, wide, wide_rows, options.runs)


if __name__ == "__main__":
    main()
