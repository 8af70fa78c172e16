"""The time from the server's first row to the first byte of POST /v1/stream, and to its last, beside a file on disk.

    python bench/first_byte.py [--rows 1000000] [--runs 11] [--url mysql://...] [--save]

A bare client (PyMySQL, unbuffered) connects, sends the same query and fetches one row; then the running service exports
the file over HTTP. The two take turns; the medians of each and of their differences are printed. The service's time
includes its login, its read-only snapshot and the SQL guard. A negative difference means that it was faster than the
bare client.

For the last byte the service takes turns with a running process that writes the same file to disk by
``fluxport.export``. CPU is that of the service, or of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pymysql
import pymysql.cursors

import support
from address import server_of
from support import Report

AFTER_FIRST_ROW_MAX_MS = 50.0
OF_DISK_MAX = 1.1
FORMATS = ("csv", "jsonl", "xlsx", "parquet")


def bare_first_row_s(url: str, query: str) -> float:
    host, port, user, password, database = server_of(url)
    began = time.perf_counter()
    connection = pymysql.connect(
        host=host, port=port, user=user, password=password, database=database, cursorclass=pymysql.cursors.SSCursor
    )
    cursor = connection.cursor()
    cursor.execute(query)
    cursor.fetchone()
    took = time.perf_counter() - began
    cursor._result.unbuffered_active = False  # else closing it would read all rows
    connection._force_close()
    return took


def write_files(url: str, path: str) -> None:
    """A process of its own: for each line of its input, a format and a query, write the file and print the seconds and
    CPU seconds."""
    import fluxport
    from fluxport.cli.heap import frugal_malloc

    frugal_malloc()
    for line in sys.stdin:
        form, query = line.strip().split(" ", 1)
        began, used = time.perf_counter(), time.process_time()
        fluxport.export(query, source=url, to=path, format=form, guard=True)
        print(time.perf_counter() - began, time.process_time() - used, flush=True)


@contextlib.contextmanager
def writing(url: str) -> Iterator[Callable[[str, str], tuple[float, float]]]:
    """A function that lets the process above write a file, and returns its figures."""
    path = support.scratch("on-disk")
    command = [sys.executable, __file__, "--write", url, str(path)]
    environ = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # as a command has
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def write(form: str, query: str) -> tuple[float, float]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(form, query, file=process.stdin, flush=True)
            wall, cpu = map(float, process.stdout.readline().split())
            return wall, cpu

        yield write
        process.stdin.close()
    support.remove(path)


def whole(report: Report, port: int, pid: int, url: str, query: str, runs: int) -> None:
    """The last byte of each format, beside the same file on disk."""
    report.line("\nThe whole file, in turns with a running process that writes it to disk: medians of seconds")
    report.line(f"  {'format':8} {'disk':>8} {'CPU':>8} {'stream':>8} {'CPU':>8} {'ratio':>7} {'of CPU':>7}")
    ratios = {}
    with writing(url) as write:
        for form in FORMATS:
            figures = []
            write(form, query)
            for _ in range(runs):
                on_disk, used = write(form, query), support.cpu_s(pid)
                total = support.stream_once(port, query, form)[1]
                figures.append((*on_disk, total, support.cpu_s(pid) - used))
            disk, disk_cpu, stream, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
            ratios[form] = stream / disk
            report.line(
                f"  {form:8} {disk:8.3f} {disk_cpu:8.3f} {stream:8.3f} {cpu:8.3f} {stream / disk:7.2f} "
                f"{cpu / disk_cpu:7.2f}"
            )
    for form, ratio in ratios.items():
        report.line(support.verdict(f"{form}, the stream beside the file on disk", ratio, OF_DISK_MAX, "x"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--write", nargs=2, metavar=("URL", "PATH"), help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    if options.write:
        write_files(*options.write)
        return
    table = support.seeded(options.url, options.rows)
    queries = {
        "all rows": f"SELECT * FROM {table}",
        "sorted by a column without index": f"SELECT * FROM {table} ORDER BY score DESC",
        "1,000 rows": f"SELECT * FROM {table} LIMIT 1000",
    }
    support.wait_until_quiet(300)
    support.compiled()
    report = Report()
    report.lines(support.machine("pymysql"))
    report.line(f"\nMySQL, {options.rows:,} users: milliseconds from the request, medians of {options.runs}")
    report.line(f"  {'query':34} {'format':8} {'bare first row':>15} {'first byte':>11} {'after it':>9} {'worst':>7}")
    worst = dict.fromkeys(FORMATS, 0.0)
    with support.serving(options.url) as (port, pid):
        for what, query in queries.items():
            for form in FORMATS:
                support.stream_once(port, queries["1,000 rows"], form)
                bare, first = [], []
                for _ in range(options.runs):
                    bare.append(bare_first_row_s(options.url, query) * 1000)
                    first.append(support.stream_once(port, query, form)[0] * 1000)
                late = [f - b for f, b in zip(first, bare, strict=True)]
                worst[form] = max(worst[form], statistics.median(late))
                report.line(
                    f"  {what:34} {form:8} {statistics.median(bare):15.1f} {statistics.median(first):11.1f} "
                    f"{statistics.median(late):9.1f} {max(late):7.1f}"
                )
        whole(report, port, pid, options.url, queries["all rows"], options.runs)
    for form, late_ms in worst.items():
        report.line(support.verdict(f"{form}, after the server's first row", late_ms, AFTER_FIRST_ROW_MAX_MS, "ms"))
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("first-byte")


if __name__ == "__main__":
    main()
