"""Parquet, Arrow, gzip and zstd of rows in memory to a file in memory, compared with others in one run.

    python bench/encode_columnar.py [--runs 5] [--rows 1000000] [--save]

Each line is a separate process that builds its rows first; seconds are medians of the runs (wall, and CPU of all
threads), memory is the growth of the process's peak during the work, size is that of the file.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import support
from xlsx_writers import BATCH_ROWS

Work = Callable[[Any, Path], None]
FIGURES = "{wall:8.3f} {cpu:8.3f} {grown:6.0f} {size:8.1f}"


def users(rows: int) -> pa.Table:
    ids = np.arange(1, rows + 1)
    return pa.table(
        {
            "id": ids,
            "name": pa.array([f"User{i}" for i in ids]),
            "email": pa.array([f"user{i}@example.com" for i in ids]),
            "created_at": pa.array(1_700_000_000 + ids * 37).cast(pa.timestamp("s")),
            "score": ids * 0.1,
        }
    )


def points(rows: int) -> pa.Table:
    chance = np.random.default_rng(1)
    return pa.table(
        {
            "timestamp_ms": 1_700_000_000_000 + np.arange(rows) * 1000,
            "value": chance.normal(20, 5, rows),
            "quality": chance.integers(0, 3, rows),
        }
    )


def wide(rows: int) -> pa.Table:
    rows //= 5
    chance = np.random.default_rng(1)
    words = np.array([f"word{i}" for i in range(500)])
    columns: dict[str, pa.Array] = {}
    for i in range(10):
        null = chance.random(rows) < 0.1
        columns[f"i{i}"] = pa.array(chance.integers(0, 10 ** (i + 1), rows), mask=null)
        columns[f"f{i}"] = pa.array(chance.normal(0, 100, rows).round(3), mask=null)
        columns[f"s{i}"] = pa.array(words[chance.integers(0, 500, rows)], mask=null)
    return pa.table(columns)


DATASETS = {"users": users, "points": points, "wide": wide}


def ours(name: str) -> Work:
    def work(table: pa.Table, path: Path) -> None:
        from fluxport import formats
        from fluxport.findings import Findings

        encoder = formats.encoder(name, formats.options(name, {}), Findings())
        with path.open("wb", buffering=0) as file:
            for chunk in encoder.encode(table.schema, (b for b in table.to_batches(BATCH_ROWS))):
                file.write(chunk)

    return work


def pyarrow_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for batch in table.to_batches(65_536):
            writer.write_batch(batch)


def polars_parquet(table: pa.Table, path: Path) -> None:
    import polars

    polars.DataFrame(table).write_parquet(path, compression="zstd", compression_level=1)


def duckdb_parquet(table: pa.Table, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows", table)
        connection.execute(f"COPY rows TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")


def pyarrow_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        for batch in table.to_batches(16_384):
            writer.write_batch(batch)


def polars_stream(table: pa.Table, path: Path) -> None:
    import polars

    polars.DataFrame(table).write_ipc_stream(path)


def ours_compressed(name: str) -> Work:
    def work(data: bytes, path: Path) -> None:
        from fluxport.formats.compress import COMPRESSIONS

        apply = COMPRESSIONS[name].apply
        assert apply is not None
        with path.open("wb", buffering=0) as file:
            for chunk in apply(cut(data)):
                file.write(chunk)

    return work


def cut(data: bytes) -> Generator[bytes | memoryview, None, None]:
    yield from (data[start : start + 524_288] for start in range(0, len(data), 524_288))


def program(*command: str) -> Work:
    def work(data: bytes, path: Path) -> None:
        with path.open("wb") as file:
            subprocess.run(command, input=data, stdout=file, check=True)

    return work


def python_gzip(data: bytes, path: Path) -> None:
    import gzip

    with gzip.open(path, "wb", 1) as file:
        for chunk in cut(data):
            file.write(chunk)


def pyarrow_compressed(name: str) -> Work:
    def work(data: bytes, path: Path) -> None:
        with pa.CompressedOutputStream(str(path), name) as file:
            for chunk in cut(data):
                file.write(chunk)

    return work


CONTENDERS: dict[str, dict[str, Work]] = {
    "parquet": {
        "fluxport": ours("parquet"),
        "pyarrow": pyarrow_parquet,
        "polars": polars_parquet,
        "duckdb": duckdb_parquet,
    },
    "arrow": {"fluxport": ours("arrow"), "pyarrow": pyarrow_stream, "polars": polars_stream},
    "gzip": {
        "fluxport": ours_compressed("gzip"),
        "gzip -1": program("gzip", "-1"),
        "pigz -1": program("pigz", "-1"),
        "python gzip 1": python_gzip,
    },
    "zstd": {
        "fluxport": ours_compressed("zstd"),
        "zstd -1": program("zstd", "-1", "-q"),
        "pyarrow zstd": pyarrow_compressed("zstd"),
    },
}


def csv_of(table: pa.Table) -> bytes:
    import pyarrow.csv

    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, buffer)
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_mb(field: str) -> float:
    """VmHWM or VmRSS of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def measure(work: str, peer: str, dataset: str, rows: int, runs: int) -> dict[str, float]:
    """Measure in this process, which does nothing else."""
    source: Any = DATASETS[dataset](rows)
    if work in ("gzip", "zstd"):
        source = csv_of(source)
    wall, cpu = [], []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        path = Path(directory, "file")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = peak_mb("VmRSS")
        for _ in range(runs):
            path.unlink(missing_ok=True)
            start, used = time.perf_counter(), cpu_s()
            CONTENDERS[work][peer](source, path)
            wall.append(time.perf_counter() - start)
            cpu.append(cpu_s() - used)
        grown = peak_mb("VmHWM") - before
        size = path.stat().st_size
    return {"wall": statistics.median(wall), "cpu": statistics.median(cpu), "grown": grown, "size": size / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    support.add_report_options(parser)
    options = parser.parse_args()
    if options.one:
        work, peer, dataset = options.one
        print(json.dumps(measure(work, peer, dataset, options.rows, options.runs)))
        return
    sizes = ["--rows", str(options.rows), "--runs", str(options.runs)]
    with support.reported("encode-columnar", options) as report:
        report.line(f"{options.rows:,} rows (wide: a fifth), medians of {options.runs}\n")
        report.line(f"{'work':8} {'rows':7} {'by':14} {'wall s':>8} {'cpu s':>8} {'+MB':>6} {'file MB':>8}")
        for work, contenders in CONTENDERS.items():
            for dataset in DATASETS:
                for name in contenders:
                    m = support.alone(__file__, name == "fluxport", work, name, dataset, *sizes)
                    figures = m if isinstance(m, str) else FIGURES.format(**m)
                    report.line(f"{work:8} {dataset:7} {name:14} {figures}")


if __name__ == "__main__":
    main()
