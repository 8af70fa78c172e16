"""The time from the server's first row to the first byte of POST /v1/stream.

    python bench/first_byte.py [--rows 1000000] [--runs 11] [--url mysql://...] [--save]

A bare client (PyMySQL, unbuffered) connects, sends the same query and fetches one row; then the running service exports
the file over HTTP. The two take turns; the medians of each and of their differences are printed. The service's time
includes its login, its read-only snapshot and the SQL guard. A negative difference means that it was faster than the
bare client.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import pymysql
import pymysql.cursors

import support
from address import server_of
from support import Report

AFTER_FIRST_ROW_MAX_MS = 50.0
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
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
    with support.serving(options.url) as (port, _):
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
    for form, late_ms in worst.items():
        report.line(support.verdict(f"{form}, after the server's first row", late_ms, AFTER_FIRST_ROW_MAX_MS, "ms"))
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("first-byte")


if __name__ == "__main__":
    main()
