"""Rows in memory to an XLSX file in memory, compared with other writers in one run.

    python bench/encode_xlsx.py [--runs 5] [--rows 1000000] [--only fluxport ...] [--save]

Each line is a separate process that builds its rows first; figures are medians of the runs (of one run if it takes more
than 10 s, marked 1x): wall seconds, CPU seconds of all threads, growth of the process's peak memory, and the size of
the file. A missing peer is listed with the reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

import support
from encode_columnar import cpu_s, peak_mb, points, users
from xlsx_writers import BATCH_ROWS, Work
from xlsx_writers import WRITERS as PEERS

SLOW_S = 10.0


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


OURS: dict[str, Work] = {
    "fluxport, 1 thread": ours(1, compact=False),
    "fluxport, 2 threads": ours(2, compact=False),
    "fluxport, 1 thread, compact": ours(1, compact=True),
    "fluxport, 2 threads, compact": ours(2, compact=True),
}
WRITERS: dict[str, Work] = OURS | PEERS


def measure(writer: str, dataset: str, rows: int, runs: int) -> dict[str, float]:
    """Measure in this process, which does nothing else."""
    table = DATASETS[dataset](rows)
    wall: list[float] = []
    cpu: list[float] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        path = Path(directory, "book.xlsx")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = peak_mb("VmRSS")
        while len(wall) < runs and not (wall and wall[0] > SLOW_S):
            path.unlink(missing_ok=True)
            start, used = time.perf_counter(), cpu_s()
            WRITERS[writer](table, path)
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


def compared(dataset: str, writers: list[str], rows: int, runs: int) -> Iterator[str]:
    sizes = ["--rows", str(rows), "--runs", str(runs)]
    results = {writer: support.alone(__file__, writer in OURS, writer, dataset, *sizes) for writer in writers}
    peers = [m for writer, m in results.items() if isinstance(m, dict) and writer not in OURS]
    for writer, m in results.items():
        if isinstance(m, str):
            yield f"{dataset:7} {writer:29} {m}"
            continue
        once = "1x" if m["runs"] < runs else "  "
        ratios = ""
        if writer in OURS and peers:
            by_cpu = min(peer["cpu"] for peer in peers) / m["cpu"]
            by_wall = min(peer["wall"] for peer in peers) / m["wall"]
            ratios = f"{by_wall:7.1f} {by_cpu:7.1f}"
        figures = f"{m['wall']:8.3f} {m['cpu']:8.3f} {m['grown']:6.0f} {m['size']:8.1f}"
        yield f"{dataset:7} {writer:29} {figures} {once} {ratios}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", default=[], help="writers whose name begins with one of these")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    support.add_report_options(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], options.rows, options.runs)))
        return
    writers = [name for name in WRITERS if not options.only or name.startswith(tuple(options.only))]
    with support.reported("encode-xlsx", options) as report:
        report.line(
            f"{options.rows:,} rows (wide: a fifth), medians of {options.runs}; 1x: one run, longer than {SLOW_S:g} s"
        )
        report.line("times faster: than the fastest peer, by the clock and by CPU seconds\n")
        report.line(
            f"{'rows':7} {'writer':29} {'wall s':>8} {'cpu s':>8} {'+MB':>6} {'file MB':>8}     {'wall x':>6} "
            f"{'cpu x':>7}"
        )
        for dataset in DATASETS:
            for line in compared(dataset, writers, options.rows, options.runs):
                report.line(line)


if __name__ == "__main__":
    main()
