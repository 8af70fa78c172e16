"""Peak memory of whole processes at 1x and 20x rows, and the memory that exports leave in a service.

    python bench/memory.py [--rows 1000000] [--times 20] [--runs 3] [--exports 20] [--no-peers] [--keep] [--save]

The peak is the largest resident set of any process of the command, as reported by the kernel (including the guard's
child); the table of the larger run takes 1.5 GB in the database and is dropped at the end unless ``--keep``. Peers that
were slower than 10 s on the smaller table skip the larger one.
"""

from __future__ import annotations

import argparse
import os

import support
from export_mysql import csv_contenders, fluxport, xlsx_contenders
from support import Contender, Report, Result

WHOLE_MAX_MB, FLAT_MAX_MB, GROWTH_MAX_MB = 100.0, 8.0, 50.0
OURS = "fluxport export"


def contenders(form: str, url: str, table: str) -> list[Contender]:
    query = f"SELECT * FROM {table}"
    if form in ("csv", "xlsx"):
        return csv_contenders(url, query, table) if form == "csv" else xlsx_contenders(url, query)
    return [Contender(OURS, lambda: fluxport(url, query, form))]


def measured(report: Report, form: str, tables: dict[int, str], options: argparse.Namespace) -> None:
    report.line(f"\nMySQL -> {form.upper()}, whole process, peak MB (highest of {options.runs}; peers of one run)")
    report.line(f"  {'':36} " + " ".join(f"{rows:>14,}" for rows in tables) + "   seconds")
    by_name: dict[str, list[Result]] = {}
    for rows, table in tables.items():
        for contender in contenders(form, options.url, table):
            before = by_name.setdefault(contender.name, [])
            if contender.name != OURS and (options.no_peers or (before and slow(before[-1]))):
                continue
            runs = options.runs if contender.name == OURS else 1
            before.append(support.race([contender], rows, runs)[contender.name])
    for name, results in by_name.items():
        if not results:
            continue
        if not results[0].wall:
            report.line(f"  {name:36} {results[0].note}")
            continue
        peaks = " ".join(f"{r.peak_mb:14.0f}" if r.wall else f"{'failed':>14}" for r in results)
        left_out = " " * 15 * (len(tables) - len(results))
        report.line(f"  {name:36} {peaks}{left_out}   " + ", ".join(f"{r.wall_s:.2f}" for r in results if r.wall))
    ours = [result.peak_mb for result in by_name[OURS]]
    if form in ("csv", "xlsx"):
        report.line(support.verdict(f"{form}, peak of the whole process", max(ours), WHOLE_MAX_MB, "MB"))
        report.line(support.verdict(f"{form}, difference of the two", max(ours) - min(ours), FLAT_MAX_MB, "MB"))


def slow(result: Result) -> bool:
    return not result.wall or result.wall_s > support.SLOW_S


def growth(report: Report, form: str, table: str, options: argparse.Namespace) -> None:
    """Exports of one format by a fresh service: the memory of one above the resident set, and what remains."""
    query = f"SELECT * FROM {table}"
    with support.serving(options.url) as (port, pid):
        idle = support.status_mb(pid, "VmRSS")
        above = []
        resident = []
        for _ in range(options.exports):
            before = support.status_mb(pid, "VmRSS")
            support.reset_peak(pid)
            support.stream_once(port, query, form)
            above.append(support.status_mb(pid, "VmHWM") - before)
            resident.append(support.status_mb(pid, "VmRSS"))
    report.line(
        f"  {form:8} idle {idle:5.0f} MB, first export +{above[0]:.0f} (its imports included), each later one at most "
        f"+{max(above[1:]):.0f}; resident after the first {resident[0]:.0f}, after {options.exports} {resident[-1]:.0f}"
    )
    if form in ("csv", "xlsx"):
        report.line(support.verdict(f"{form}, growth in one export", max(above[1:]), GROWTH_MAX_MB, "MB"))
        report.line(
            support.verdict(f"{form}, retained after {options.exports}", resident[-1] - resident[0], FLAT_MAX_MB, "MB")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--exports", type=int, default=20)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the larger table in the database")
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    sizes = sorted({options.rows, options.rows * options.times})
    tables = {rows: support.seeded(options.url, rows) for rows in sizes}
    support.compiled()
    report = Report()
    report.lines(support.machine())
    try:
        for form in ("csv", "xlsx", "jsonl", "parquet"):
            measured(report, form, tables, options)
        report.line(f"\nThe service, {options.rows:,} users per export over POST /v1/stream, one after the other")
        for form in ("csv", "xlsx", "jsonl", "parquet"):
            growth(report, form, tables[options.rows], options)
    finally:
        if not options.keep and options.times > 1:
            support.unseeded(options.url, max(sizes))
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("memory")


if __name__ == "__main__":
    main()
