"""A million users from MySQL to CSV and XLSX files: whole processes side by side, and ours in a running process.

    python bench/export_mysql.py [--rows 1000000] [--runs 5] [--only csv|xlsx] [--url mysql://...] [--save]

Contenders take turns; those slower than 10 s run once. The rows of every file are counted: one that lacks rows does not
count. CPU is user and system time of the process and its children, without the server. Peak memory is that of the
largest process. ``fluxport export`` runs with its defaults, including the SQL guard.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import support
from address import server_of
from support import Command, Contender, Report, Result

# Limits of (our time / the fastest peer's time).
WHOLE_CSV_MAX, WARM_CSV_MAX, XLSX_MAX = 1.0, 1.0, 0.2


def fluxport(url: str, query: str, suffix: str) -> Command:
    path = support.scratch(f"ours.{suffix}")
    return Command([support.FLUXPORT, "export", query, "--from", url, "--to", path, "--quiet"], path)


def mysql(url: str, query: str) -> Command:
    path = support.scratch("mysql.tsv")
    return Command([support.program("mysql"), *login(url), "--batch", "--quick", "-e", query], path, to_stdout=True)


def mydumper(url: str, table: str) -> Command:
    path = support.scratch("mydumper")
    host, port, user, password, database = server_of(url)
    where = ["-h", host, "-P", str(port), "-u", user, *(["-p", password] if password else [])]
    return Command([support.program("mydumper"), *where, "-B", database, "-T", table, "-o", path], path)


def mariadb_dump(url: str, table: str) -> Command:
    path = support.scratch("mariadb-dump")
    path.mkdir(exist_ok=True)
    path.chmod(0o777)  # the server itself writes there
    *where, database = login(url)
    return Command([support.program("mariadb-dump"), *where, f"--tab={path}", database, table], path)


def login(url: str) -> list[str]:
    host, port, user, password, database = server_of(url)
    return ["-h", host, "-P", str(port), "-u", user, *([f"-p{password}"] if password else []), database]


def sling(url: str, query: str) -> Command:
    path = support.scratch("sling.csv")
    words = ["run", "--src-conn", url, "--src-stream", query, "--tgt-object", f"file://{path}"]
    return Command([support.program("sling"), *words], path)


def peer(name: str, url: str, query: str, suffix: str) -> Command:
    path = support.scratch(f"{name}.{suffix}")
    return Command([support.peers_python(), "-m", "peers", name, url, query, path], path, cwd=support.HERE)


def csv_contenders(url: str, query: str, table: str) -> list[Contender]:
    lines = partial(support.lines_in, header=True)

    def lines_below(path: Path) -> int:
        return sum(support.lines_in(p, header=False) for p in path.glob(f"{table}.txt"))

    def rows_of_inserts(path: Path) -> int:
        """mydumper writes a row a line, and a few lines around them."""
        return sum(
            line.startswith((b"(", b",("))
            for file in path.glob("*.sql")
            if "schema" not in file.name
            for line in file.open("rb")
        )

    return [
        Contender("fluxport export", lambda: fluxport(url, query, "csv"), lines),
        Contender("mysql --batch --quick (TSV)", lambda: mysql(url, query), lines),
        Contender("mydumper (SQL)", lambda: mydumper(url, table), rows_of_inserts),
        Contender("mariadb-dump --tab (by the server)", lambda: mariadb_dump(url, table), lines_below),
        Contender("connectorx + polars", lambda: peer("connectorx_polars", url, query, "csv"), lines),
        Contender("connectorx + pyarrow.csv", lambda: peer("connectorx_arrow", url, query, "csv"), lines),
        Contender("connectorx stream + pyarrow.csv", lambda: peer("connectorx_stream", url, query, "csv"), lines),
        Contender("chdb", lambda: peer("chdb", url, query, "csv"), lines),
        Contender("duckdb mysql scanner", lambda: peer("duckdb", url, query, "csv"), lines),
        Contender("sling", lambda: sling(url, query), lines),
        Contender("mysqlclient + csv", lambda: peer("mysqlclient_csv", url, query, "csv"), lines),
    ]


def xlsx_contenders(url: str, query: str) -> list[Contender]:
    rows = support.sheet_rows_in
    names = {
        "rustpy-xlsxwriter, connectorx": "rustpy_xlsxwriter",
        "xlsxturbo, connectorx": "xlsxturbo",
        "rvgsrust-xlsxwriter, connectorx": "rvgsrust_xlsxwriter",
        "neatxlsx, connectorx": "neatxlsx",
        "fastxlsxio, connectorx": "fastxlsxio",
        "libxlsxwriter (C), connectorx": "libxlsxwriter",
        "excelize (Go), connectorx": "excelize",
        "XlsxWriter constant_memory": "xlsxwriter",
        "openpyxl write-only": "openpyxl",
        "pyfastexcel (excelize)": "pyfastexcel",
        "duckdb excel": "duckdb_xlsx",
    }
    return [
        Contender("fluxport export", lambda: fluxport(url, query, "xlsx"), rows),
        *(Contender(name, partial(peer, of, url, query, "xlsx"), rows) for name, of in names.items()),
    ]


# -- ours in a running process ---------------------------------------------------------------------------------------


def warm(url: str, query: str, form: str, runs: int) -> Result:
    """Plan, guard and store ``runs`` times in one process, after a warm-up."""
    command = [sys.executable, __file__, "--warm", form, query, "--url", url, "--runs", str(runs)]
    figures = subprocess.run(command, check=True, capture_output=True, text=True)
    return Result(**json.loads(figures.stdout))


def run_warm(url: str, query: str, form: str, runs: int) -> None:
    """Runs in a separate process; prints a Result as JSON."""
    from fluxport.plan import Connection, check, of_query
    from fluxport.policy.guard import GuardPolicy
    from fluxport.sinks.local import LocalSink
    from fluxport.spec import ExportSpec
    from fluxport.stages import Limits

    connection = Connection("main", url, GuardPolicy(dialect="mysql"))
    path = support.scratch(f"warm.{form}")
    sink = LocalSink(path.parent, overwrite=True)
    result = Result()
    for _ in range(runs + 1):
        began, used = time.perf_counter(), time.process_time()
        spec = ExportSpec(query, format=form)
        planned = check(spec, of_query(spec, connection), limits=Limits()).open("export")
        planned.tally.hashed = False  # as the command does: the receipt has the digest
        receipt = sink.put(path.name, planned.chunks())
        result.wall.append(time.perf_counter() - began)
        result.cpu.append(time.process_time() - used)
    path.unlink()
    figures = {"wall": result.wall[1:], "cpu": result.cpu[1:], "size_mb": receipt.size_bytes / 1e6}
    print(json.dumps(figures | {"peak_mb": support.status_mb("self", "VmHWM")}))


def over_http(port: int, pid: int, query: str, form: str, runs: int) -> Result:
    result = Result()
    support.stream_once(port, query, form)
    for _ in range(runs):
        used = support.cpu_s(pid)
        _, total, size = support.stream_once(port, query, form)
        result.wall.append(total)
        result.cpu.append(support.cpu_s(pid) - used)
        result.size_mb = size / 1e6
    result.peak_mb = support.status_mb(pid, "VmHWM")
    return result


# -- the whole -------------------------------------------------------------------------------------------------------


def compared(report: Report, form: str, options: argparse.Namespace, contenders: list[Contender], query: str) -> None:
    report.line(f"\nMySQL, {options.rows:,} users -> {form.upper()} file, whole processes, median of {options.runs}")
    results = support.race(contenders, options.rows, options.runs)
    report.lines(support.table(results, options.rows))
    report.line(f"MySQL, {options.rows:,} users -> {form.upper()}, by a process that runs already (of the same minute)")
    with support.serving(options.url) as (port, pid):
        running = {
            "fluxport, plan + local file": warm(options.url, query, form, options.runs),
            "fluxport, POST /v1/stream": over_http(port, pid, query, form, options.runs),
        }
    report.lines(support.table(running, options.rows))
    peers = {name: r for name, r in results.items() if r.wall and name != "fluxport export"}
    ours = results["fluxport export"]
    if not peers or not ours.wall:
        return
    fastest = min(peers, key=lambda name: peers[name].wall_s)
    base = peers[fastest].wall_s
    report.line(f"Seconds of ours over those of the fastest peer, {fastest} ({base:.3f} s)")
    whole = ("whole process", ours, WHOLE_CSV_MAX if form == "csv" else XLSX_MAX)
    in_process = ("in a running process", running["fluxport, plan + local file"], WARM_CSV_MAX)
    for what, result, most in [whole, in_process] if form == "csv" else [whole]:
        report.line(support.verdict(f"{form}, {what}", result.wall_s / base, most, "x"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("csv", "xlsx"))
    parser.add_argument("--url", default=support.DEFAULT_URL)
    support.add_report_options(parser)
    parser.add_argument("--warm", nargs=2, metavar=("FORMAT", "QUERY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.warm:
        run_warm(options.url, options.warm[1], options.warm[0], options.runs)
        return
    table = support.seeded(options.url, options.rows)
    query = f"SELECT * FROM {table}"
    makers: dict[str, Callable[[], list[Contender]]] = {
        "csv": lambda: csv_contenders(options.url, query, table),
        "xlsx": lambda: xlsx_contenders(options.url, query),
    }
    with support.reported("export-mysql", options) as report:
        for form, make in makers.items():
            if options.only in (None, form):
                compared(report, form, options, make(), query)


if __name__ == "__main__":
    main()
