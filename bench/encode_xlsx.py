"""Rows in memory to an XLSX file in memory, beside other writers, in one run.

    python bench/encode_xlsx.py [--runs 5] [--rows 1000000] [--only fluxport ...]

Each line is a process of its own that builds its rows first, then takes the median of the runs (of one run where a
run takes more than 10 s, marked by 1x): seconds of the clock, CPU seconds of all threads, how much the peak of the
process grew, and the size of the file. Every writer makes typed cells: numbers, texts, booleans, real dates. A peer
that is not installed is named as such.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from encode_columnar import BATCH_ROWS, cpu_s, peak_mb, points, users

Work = Callable[[pa.Table, Path], None]
SLOW_S = 10.0
DATES = "yyyy-mm-dd hh:mm:ss"


def wide(rows: int) -> pa.Table:
    """A fifth of the rows, 30 columns of six types, a tenth of the cells NULL."""
    rows //= 5
    chance = np.random.default_rng(2)
    columns: dict[str, pa.Array] = {}
    for i in range(5):
        null = [chance.random(rows) < 0.1 for _ in range(6)]
        cents = pa.array(chance.integers(0, 10**7, rows), mask=null[5]).cast(pa.decimal128(21, 2))
        columns[f"int{i}"] = pa.array(chance.integers(0, 10**9, rows), mask=null[0])
        columns[f"real{i}"] = pa.array(chance.normal(0, 1000, rows), mask=null[1])
        columns[f"text{i}"] = pa.array(chance.integers(0, 10**6, rows), mask=null[2]).cast(pa.string())
        columns[f"time{i}"] = pa.array(chance.integers(10**12, 18 * 10**11, rows), pa.timestamp("ms"), mask=null[3])
        columns[f"flag{i}"] = pa.array(chance.random(rows) < 0.5, mask=null[4])
        columns[f"money{i}"] = cents.cast(pa.decimal128(14, 2))
    return pa.table(columns)


DATASETS = {"users": users, "points": points, "wide": wide}


def ours(threads: int, compact: bool) -> Work:
    def work(table: pa.Table, path: Path) -> None:
        from fluxport.findings import Findings
        from fluxport.formats.xlsx import XlsxEncoder, XlsxOptions

        encoder = XlsxEncoder(XlsxOptions(compact=compact), Findings(), threads=threads)
        with path.open("wb", buffering=0) as file:
            for chunk in encoder.encode(table.schema, (batch for batch in table.to_batches(BATCH_ROWS))):
                file.write(chunk)

    return work


def rows_of(table: pa.Table) -> Iterator[list[Any]]:
    """Rows as Python values, a batch at a time."""
    for batch in table.to_batches(BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def rust_records(table: pa.Table, path: Path) -> None:
    records = (record for batch in table.to_batches(BATCH_ROWS) for record in batch.to_pylist())
    peer = importlib.import_module("rustpy_xlsxwriter")
    peer.FastExcel(str(path)).format(datetime_format=DATES).sheet("Sheet1", records).save()


def rust_frame(level: int | None) -> Work:
    def work(table: pa.Table, path: Path) -> None:
        import polars

        peer = importlib.import_module("xlsxturbo")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_memory says what it leaves out
            peer.df_to_xlsx(polars.DataFrame(table), str(path), constant_memory=True, compression_level=level)

    return work


def duckdb_excel(table: pa.Table, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        found = importlib.util.find_spec("duckdb_extension_excel")
        folder = Path(found.origin or "").parent if found else Path()
        extension = next(folder.rglob("*.duckdb_extension"), None)
        connection.execute(f"LOAD '{extension}'" if extension else "LOAD excel")
        connection.register("rows", table)
        connection.execute(f"COPY rows TO '{path}' (FORMAT xlsx, HEADER true)")


def xlsxwriter(table: pa.Table, path: Path) -> None:
    book = importlib.import_module("xlsxwriter").Workbook(
        str(path), {"constant_memory": True, "default_date_format": DATES}
    )
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, table.column_names)
    for number, row in enumerate(rows_of(table), 1):
        sheet.write_row(number, 0, row)
    book.close()


def openpyxl(table: pa.Table, path: Path) -> None:
    import openpyxl as peer

    book = peer.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(table.column_names)
    for row in rows_of(table):
        sheet.append(row)
    book.save(path)


def pyfastexcel(table: pa.Table, path: Path) -> None:
    writer = importlib.import_module("pyfastexcel").StreamWriter()
    writer.row_append_list(table.column_names, create_row=True)
    for row in rows_of(table):
        writer.row_append_list(list(row), create_row=True)
    path.write_bytes(writer.read_lib_and_create_excel())


# Names, the package that must be there, and how.
WRITERS: dict[str, tuple[str, Work]] = {
    "fluxport, 1 thread": ("fluxport", ours(1, compact=False)),
    "fluxport, 2 threads": ("fluxport", ours(2, compact=False)),
    "fluxport, 1 thread, compact": ("fluxport", ours(1, compact=True)),
    "fluxport, 2 threads, compact": ("fluxport", ours(2, compact=True)),
    "xlsxturbo": ("xlsxturbo", rust_frame(None)),
    "xlsxturbo, level 1": ("xlsxturbo", rust_frame(1)),
    "rustpy-xlsxwriter": ("rustpy_xlsxwriter", rust_records),
    "duckdb excel": ("duckdb_extension_excel", duckdb_excel),
    "xlsxwriter, constant memory": ("xlsxwriter", xlsxwriter),
    "openpyxl, write-only": ("openpyxl", openpyxl),
    "pyfastexcel": ("pyfastexcel", pyfastexcel),
}


def measure(writer: str, dataset: str, rows: int, runs: int) -> dict[str, float]:
    """In this process, which does nothing else."""
    table = DATASETS[dataset](rows)
    wall: list[float] = []
    cpu: list[float] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        path = Path(directory, "book.xlsx")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = peak_mb("VmRSS")
        while len(wall) < runs and not (wall and wall[0] > SLOW_S):
            path.unlink(missing_ok=True)
            start, used = time.perf_counter(), cpu_s()
            WRITERS[writer][1](table, path)
            wall.append(time.perf_counter() - start)
            cpu.append(cpu_s() - used)
        grown = peak_mb("VmHWM") - before
        size = path.stat().st_size
    return {
        "wall": statistics.median(wall),
        "cpu": statistics.median(cpu),
        "grown": grown,
        "size": size / 1e6,
        "runs": len(wall),
    }


def measured(writer: str, dataset: str, rows: int, runs: int) -> dict[str, float] | str:
    """What :func:`measure` says in a process of its own, or why it could not."""
    if importlib.util.find_spec(WRITERS[writer][0]) is None:
        return "not installed"
    command = [sys.executable, __file__, "--one", writer, dataset, "--rows", str(rows), "--runs", str(runs)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return f"failed: {run.stderr.strip().splitlines()[-1]}"
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def report(dataset: str, writers: list[str], rows: int, runs: int) -> Iterator[str]:
    found = {writer: measured(writer, dataset, rows, runs) for writer in writers}
    peers = {writer: m for writer, m in found.items() if isinstance(m, dict) and not writer.startswith("fluxport")}
    for writer, m in found.items():
        if isinstance(m, str):
            yield f"{dataset:7} {writer:29} {m}"
            continue
        once = "1x" if m["runs"] < runs else "  "
        ratios = ""
        if writer.startswith("fluxport") and peers:
            by_cpu = min(peer["cpu"] for peer in peers.values()) / m["cpu"]
            by_wall = min(peer["wall"] for peer in peers.values()) / m["wall"]
            ratios = f"{by_wall:7.1f} {by_cpu:7.1f}"
        figures = f"{m['wall']:8.3f} {m['cpu']:8.3f} {m['grown']:6.0f} {m['size']:8.1f}"
        yield f"{dataset:7} {writer:29} {figures} {once} {ratios}".rstrip()


def machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ":")
    load = os.getloadavg()[0]
    return (
        f"{datetime.date.today()}  {model.split(':')[1].strip()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"Python {platform.python_version()}, pyarrow {pa.__version__}, numpy {np.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", default=[], help="writers whose name begins with one of these")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], given.one[1], given.rows, given.runs)))
        return
    writers = [name for name in WRITERS if not given.only or name.startswith(tuple(given.only))]
    print(machine())
    print(
        f"{given.rows:,} rows (wide: a fifth), medians of {given.runs}; 1x: one run, as it took more than {SLOW_S:g} s"
    )
    print("times faster: than the fastest peer, by the clock and by CPU seconds\n")
    print(
        f"{'rows':7} {'writer':29} {'wall s':>8} {'cpu s':>8} {'+MB':>6} {'file MB':>8}     {'wall x':>6} {'cpu x':>7}"
    )
    for dataset in DATASETS:
        for line in report(dataset, writers, given.rows, given.runs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
