"""What a cell costs by the number of columns: MySQL to files, from 5 columns to 1,800, with the same number of cells.

    python bench/width.py [--cells 6000000] [--runs 5] [--part NAME] [--no-peers] [--keep] [--save]

Whole processes, in turns; those slower than 10 s run once. The tables are those of seed.py: columns of six kinds in
turn (integers, decimals, texts, datetimes, doubles, texts with NULLs), integers alone (three tenths of the cells), each
kind alone, and other sources (width_sources.py). ns/cell are the seconds less those of the same contender for one row,
for each cell: what must not grow with the columns. ``python docs/curve.py`` draws the saved result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import support
import width_sources
from export_mysql import fluxport, mysql, peer
from support import Command, Contender, Report, Result

SHARES = {
    "mixed": 1.0,
    "integers": 0.3,
    "types": 2 / 3,
    "sources": 0.2,
}  # the parts, and of how many of the cells their tables are
WIDTHS = {"mixed": (10, 60, 240, 900, 1800), "integers": (5, 50, 200, 900, 1800)}
KIND_OF = {"mixed": "mixed", "integers": "int"}
TYPE_COLUMNS = 10
TYPES = ("int", "decimal", "varchar", "datetime", "date", "double", "double_null", "text_null")
FORMATS = ("csv", "xlsx", "jsonl", "parquet")
TYPED = {"csv": ("connectorx_arrow", "connectorx_stream", "connectorx_polars", "chdb", "duckdb")}
TYPED["xlsx"] = ("xlsxturbo", "rustpy_xlsxwriter", "rvgsrust_xlsxwriter", "excelize", "libxlsxwriter")
TEXT_PEER = "mysql --batch --quick"

# What is wanted: ratios of seconds, and MB.
RATIO_WIDTHS = (10, 60, 240)
TEXT_MAX, TYPED_MAX, XLSX_MAX = 1.2, 1.0, 0.1  # of mysql's time, of the fastest typed peer's, to CSV and to XLSX
NARROW, WIDE, CELL_MAX = (5, 10), 900, 1.4  # the cost of a cell in a wide table beside a narrow one
MEMORY_WIDTH, MEMORY_MAX_MB, WIDE_MEMORY_MAX_MB = 240, 100.0, 120.0
START_MAX = 1.5  # one row, beside the import of numpy and pyarrow

HEAD = " ".join(
    f"{word:>{width}}"
    for word, width in (
        ("columns", 9), ("rows", 9), ("", 35), ("wall s", 7), ("cpu s", 7), ("ns/cell", 7), ("peak MB", 7),
        ("x mysql", 7), ("x typed", 7),
    )
)  # fmt: skip


class Line(NamedTuple):
    """One contender at one width."""

    columns: int
    rows: int
    name: str
    result: Result
    ns: float  # for a cell, without the start


def ours(form: str) -> str:
    return f"fluxport {form}"


def contenders(url: str, table: str, forms: Sequence[str], *, peers: bool) -> list[Contender]:
    """Ours to each format, ``mysql``, and the peers that make typed rows."""
    query = f"SELECT * FROM {table}"
    rows_in: dict[str, Callable[[Path], int]] = {
        "csv": partial(support.lines_in, header=True),
        "jsonl": partial(support.lines_in, header=False),
        "xlsx": support.sheet_rows_in,
    }
    found = [Contender(ours(form), partial(fluxport, url, query, form), rows_in.get(form)) for form in forms]
    if peers and "csv" in forms:
        found.append(Contender(TEXT_PEER, partial(mysql, url, query), rows_in["csv"]))
    for form in forms if peers else ():
        found += [
            Contender(f"{name} ({form})", partial(peer, name, url, query, form), rows_in[form])
            for name in TYPED.get(form, ())
        ]
    return found


# -- the start of a process ------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What all parts share: the seconds of one row by contender, and the contenders that cannot run here."""

    options: argparse.Namespace
    starts: dict[str, float]
    absent: frozenset[str]


def started(report: Report, options: argparse.Namespace) -> Run:
    table = support.seeded(options.url, 1, "mixed", 10)
    imports = Contender("import numpy, pyarrow", importing)
    race = [imports, *contenders(options.url, table, FORMATS, peers=not options.no_peers)]
    results = support.race(race, 1, options.runs)
    report.line(f"\nOne row of 10 columns, whole process, median of {options.runs}")
    report.lines(support.table(results, 1))
    for form in FORMATS:
        if not results[ours(form)].wall:
            raise SystemExit(f"{ours(form)}: {results[ours(form)].note}")
        ratio = results[ours(form)].wall_s / results[imports.name].wall_s
        report.line(support.verdict(f"{form}, one row beside the imports", ratio, START_MAX, "x"))
    starts = {name: result.wall_s for name, result in results.items() if result.wall}
    return Run(options, starts, frozenset(results.keys() - starts.keys()))


def importing() -> Command:
    path = support.scratch("imports")
    return Command([sys.executable, "-c", "import numpy, pyarrow"], path, to_stdout=True)


# -- curves ----------------------------------------------------------------------------------------------------------


def measured(run: Run, kind: str, columns: int, rows: int) -> list[Line]:
    """Every contender on one table."""
    options = run.options
    table = support.seeded(options.url, rows, kind, columns)
    try:
        race = contenders(options.url, table, FORMATS, peers=not options.no_peers)
        results = support.race([each for each in race if each.name not in run.absent], rows, options.runs)
    finally:
        if not options.keep:
            support.unseeded(options.url, rows, kind, columns)
    return [
        Line(columns, rows, name, r, (r.wall_s - run.starts[name]) / (columns * rows) * 1e9 if r.wall else 0.0)
        for name, r in results.items()
    ]


def printed(lines: Sequence[Line]) -> Iterator[str]:
    text, typed = text_peer(lines), {form: fastest_typed(lines, form) for form in FORMATS}
    for line in lines:
        result, form = line.result, line.name.removeprefix("fluxport ")
        if not result.wall:
            yield f"  {line.columns:7} {line.rows:9,}  {line.name:34} {result.note}"
            continue
        ratios = [f"{result.wall_s / base.wall_s:7.2f}" if base else f"{'':7}" for base in (text, typed.get(form))]
        yield (
            f"  {line.columns:7} {line.rows:9,}  {line.name:34} {result.wall_s:7.2f} {result.cpu_s:7.2f} "
            f"{line.ns:7.0f} {result.peak_mb:7.0f} {ratios[0]} {ratios[1]}  {result.note}".rstrip()
        )


def text_peer(lines: Sequence[Line]) -> Result | None:
    return next((line.result for line in lines if line.name == TEXT_PEER and line.result.wall), None)


def fastest_typed(lines: Sequence[Line], form: str) -> Result | None:
    found = [line.result for line in lines if line.name.endswith(f" ({form})") and line.result.wall]
    return min(found, key=lambda result: result.wall_s, default=None)


def curve(report: Report, run: Run, part: str, cells: int) -> None:
    """One kind of table at all widths, and what is wanted of it."""
    report.line(f"\n{part.capitalize()}, {cells:,} cells, whole processes, median of {run.options.runs}")
    report.line(HEAD)
    by_width: dict[int, list[Line]] = {}
    for columns in WIDTHS[part]:
        by_width[columns] = measured(run, KIND_OF[part], columns, max(1, cells // columns))
        report.lines(printed(by_width[columns]))
    if part == "mixed":
        report.lines(ratios(by_width))
    report.lines(cell_costs(by_width))
    report.lines(memory(by_width))


def ratios(by_width: dict[int, list[Line]]) -> Iterator[str]:
    for columns in RATIO_WIDTHS:
        lines = by_width[columns]
        own = {line.name: line.result for line in lines if line.result.wall}
        wanted = (
            ("csv", "mysql --batch --quick", text_peer(lines), TEXT_MAX),
            ("csv", "the fastest typed peer", fastest_typed(lines, "csv"), TYPED_MAX),
            ("xlsx", "the fastest peer", fastest_typed(lines, "xlsx"), XLSX_MAX),
        )
        for form, what, base, most in wanted:
            result = own.get(ours(form))
            if base is not None and result is not None:
                ratio = result.wall_s / base.wall_s
                yield support.verdict(f"{form}, {columns} columns, beside {what}", ratio, most, "x")


def cell_costs(by_width: dict[int, list[Line]]) -> Iterator[str]:
    narrow = next(columns for columns in by_width if columns in NARROW)
    for form in FORMATS:
        few, many = (next(each for each in by_width[columns] if each.name == ours(form)) for columns in (narrow, WIDE))
        if few.ns > 0 and many.ns > 0:
            what = f"{form}, a cell of {WIDE} columns beside {narrow}"
            yield support.verdict(what, many.ns / few.ns, CELL_MAX, "x")


def memory(by_width: dict[int, list[Line]]) -> Iterator[str]:
    for form in FORMATS:
        for most, limit in ((MEMORY_WIDTH, MEMORY_MAX_MB), (max(by_width), WIDE_MEMORY_MAX_MB)):
            peaks = [
                line.result.peak_mb
                for columns, lines in by_width.items()
                for line in lines
                if columns <= most and line.name == ours(form) and line.result.wall
            ]
            if peaks:
                yield support.verdict(f"{form}, peak memory to {most:,} columns", max(peaks), limit, "MB")


def types(report: Report, run: Run, cells: int) -> None:
    rows = max(1, cells // TYPE_COLUMNS)
    report.line(f"\nEach type alone, {TYPE_COLUMNS} columns, whole processes, median of {run.options.runs}")
    report.line(HEAD)
    for kind in TYPES:
        report.line(f"  {kind}")
        report.lines(printed(measured(run, kind, TYPE_COLUMNS, rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--part", action="append", choices=SHARES, help="may be repeated; by default all")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the tables in the database")
    parser.add_argument("--url", default=support.DEFAULT_URL)
    support.add_report_options(parser)
    options = parser.parse_args()
    parts = options.part or list(SHARES)
    with support.reported("width", options) as report:
        run = started(report, options) if set(parts) - {"sources"} else Run(options, {}, frozenset())
        for part, share in SHARES.items():
            if part in parts and part in WIDTHS:
                curve(report, run, part, int(options.cells * share))
            elif part in parts and part == "sources":
                width_sources.curves(report, int(options.cells * share), options.runs)
            elif part in parts:
                types(report, run, int(options.cells * share))


if __name__ == "__main__":
    main()
