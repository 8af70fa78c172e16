"""CSV and JSON Lines encoders side by side: Arrow batches in memory to a file on tmpfs.

    python bench/encode_text.py [--rows 1000000] [--repeat 5] [--only SET] [--dir /dev/shm] [--save]

Each contender runs in a separate process: one warm-up run, then ``--repeat`` runs of which the median is printed. CPU
is user and system time of all threads. Memory is the growth of the peak over the resident set with the data and the
contender's modules loaded; Arrow uses the system allocator, as in the command line. A peer that is missing, or cannot
write a data set, is listed with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import support

BATCH_ROWS = 65_536
FIGURES = "{wall:8.3f} {cpu:8.3f} {memory:10.0f} {size:8.1f}"
Data = list[pa.RecordBatch]


def users(rows: int) -> pa.Table:
    ids = np.arange(1, rows + 1)
    numbers = pa.array(ids).cast(pa.string())
    join = pa.compute.binary_join_element_wise
    return pa.table(
        {
            "id": ids,
            "name": join("User", numbers, ""),
            "email": join("user", numbers, "@example.com", ""),
            "created_at": pa.array(1_700_000_000 + ids, pa.timestamp("s")),
            "score": ids * 0.1,
        }
    )


def points(rows: int) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "timestamp_ms": 1_700_000_000_000 + np.arange(rows) * 1000,
            "value": rng.random(rows),
            "quality": rng.integers(0, 100, rows).astype(np.int8),
        }
    )


def wide(rows: int) -> pa.Table:
    rows //= 5
    rng = np.random.default_rng(2)
    words = np.array(["alpha", "beta, gamma", 'say "so"', "δέλτα", "epsilon zeta eta", ""])
    columns: dict[str, pa.Array] = {}
    for i in range(5):
        nulls = rng.random(rows) < 0.1
        columns[f"int_{i}"] = pa.array(rng.integers(-(10**9), 10**9, rows), mask=nulls)
        columns[f"float_{i}"] = pa.array(rng.standard_normal(rows) * 1000, mask=nulls)
        columns[f"money_{i}"] = pa.array(rng.integers(0, 10**7, rows) / 100, mask=nulls)
        columns[f"text_{i}"] = pa.array(words[rng.integers(0, len(words), rows)], pa.string(), mask=nulls)
        columns[f"flag_{i}"] = pa.array(rng.random(rows) < 0.5, mask=nulls)
        columns[f"at_{i}"] = pa.array(
            1_600_000_000_000_000 + rng.integers(0, 10**14, rows), pa.timestamp("us"), mask=nulls
        )
    return pa.table(columns)


SETS: dict[str, Callable[[int], pa.Table]] = {"users": users, "points": points, "wide": wide}


def ours(name: str, threads: int) -> Callable[[], Callable[[Data, str], None]]:
    def load() -> Callable[[Data, str], None]:
        from fluxport.findings import Findings
        from fluxport.formats.csv import CsvEncoder, CsvOptions
        from fluxport.formats.json import JsonLinesEncoder, JsonOptions

        def write(batches: Data, path: str) -> None:
            def pulled() -> Iterator[pa.RecordBatch]:
                yield from batches

            encoder: Any
            if name == "csv":
                encoder = CsvEncoder(CsvOptions(), Findings(), threads=threads)
            else:
                encoder = JsonLinesEncoder(JsonOptions(), Findings(), threads=threads)
            with open(path, "wb", buffering=0) as file:
                for chunk in encoder.encode(batches[0].schema, pulled()):
                    file.write(chunk)

        return write

    return load


def arrow_csv() -> Callable[[Data, str], None]:
    from pyarrow import csv

    def write(batches: Data, path: str) -> None:
        with csv.CSVWriter(path, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)

    return write


def polars(method: str, *, whole: bool) -> Callable[[], Callable[[Data, str], None]]:
    def load() -> Callable[[Data, str], None]:
        import polars as pl

        def write(batches: Data, path: str) -> None:
            if whole:
                getattr(pl.from_arrow(pa.Table.from_batches(batches)), method)(path)
                return
            with open(path, "wb", buffering=0) as file:
                for i, batch in enumerate(batches):
                    options = {"include_header": i == 0} if method == "write_csv" else {}
                    getattr(pl.from_arrow(batch), method)(file, **options)

        return write

    return load


def duckdb_copy(form: str) -> Callable[[], Callable[[Data, str], None]]:
    def load() -> Callable[[Data, str], None]:
        import duckdb

        def write(batches: Data, path: str) -> None:
            with duckdb.connect() as connection:
                connection.register("data", pa.Table.from_batches(batches))
                connection.execute(f"COPY data TO '{path}' (FORMAT {form})")

        return write

    return load


def chdb(form: str) -> Callable[[], Callable[[Data, str], None]]:
    def load() -> Callable[[Data, str], None]:
        engine = importlib.import_module("chdb")

        def write(batches: Data, path: str) -> None:
            data = pa.Table.from_batches(batches)  # noqa: F841  read by the engine by its name
            Path(path).unlink(missing_ok=True)
            engine.query(f"SELECT * FROM Python(data) INTO OUTFILE '{path}' FORMAT {form}")

        return write

    return load


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    names = batch.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def orjson_lines() -> Callable[[Data, str], None]:
    orjson = importlib.import_module("orjson")

    def write(batches: Data, path: str) -> None:
        with open(path, "wb") as file:
            for batch in batches:
                file.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows_of(batch)))

    return write


def msgspec_lines() -> Callable[[Data, str], None]:
    msgspec = importlib.import_module("msgspec")

    def write(batches: Data, path: str) -> None:
        encoder = msgspec.json.Encoder()
        with open(path, "wb") as file:
            for batch in batches:
                file.write(encoder.encode_lines(rows_of(batch)))

    return write


CONTENDERS: dict[str, dict[str, Callable[[], Callable[[Data, str], None]]]] = {
    "csv": {
        "fluxport, 1 thread": ours("csv", 1),
        "fluxport, 2 threads": ours("csv", 2),
        "pyarrow.csv": arrow_csv,
        "polars, per batch": polars("write_csv", whole=False),
        "polars, whole": polars("write_csv", whole=True),
        "duckdb COPY": duckdb_copy("csv"),
        "chdb": chdb("CSVWithNames"),
    },
    "jsonl": {
        "fluxport, 1 thread": ours("jsonl", 1),
        "fluxport, 2 threads": ours("jsonl", 2),
        "polars, per batch": polars("write_ndjson", whole=False),
        "polars, whole": polars("write_ndjson", whole=True),
        "duckdb COPY": duckdb_copy("json"),
        "chdb": chdb("JSONEachRow"),
        "orjson": orjson_lines,
        "msgspec": msgspec_lines,
    },
}


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(form: str, data: str, contender: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure in this process, which does nothing else."""
    write = CONTENDERS[form][contender]()
    batches = SETS[data](options.rows).combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    path = os.path.join(options.dir, f"encode_text_{os.getpid()}")
    walls, cpus = [], []
    try:
        reset_peak()
        before = peak_bytes()
        for _ in range(options.repeat + 1):
            used, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            write(batches, path)
            walls.append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpus.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
        return {
            "wall": statistics.median(walls[1:]),
            "cpu": statistics.median(cpus[1:]),
            "memory": (peak_bytes() - before) / 1e6,
            "size": os.path.getsize(path) / 1e6,
        }
    finally:
        Path(path).unlink(missing_ok=True)


def compared(form: str, data: str, options: argparse.Namespace) -> Iterator[str]:
    yield f"{form}, {data} ({options.rows // (5 if data == 'wide' else 1):,} rows)"
    yield f"  {'':22} {'wall s':>8} {'cpu s':>8} {'memory MB':>10} {'file MB':>8}"
    sizes = ["--rows", str(options.rows), "--repeat", str(options.repeat), "--dir", options.dir]
    for contender in CONTENDERS[form]:
        m = support.alone(__file__, contender.startswith("fluxport"), form, data, contender, *sizes)
        yield f"  {contender:22} {m if isinstance(m, str) else FIGURES.format(**m)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dir", default=support.SCRATCH)
    parser.add_argument("--only", choices=[*SETS, *CONTENDERS], help="one data set or one format")
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "SET", "CONTENDER"), help=argparse.SUPPRESS)
    support.add_report_options(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], options.one[2], options)))
        return
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    with support.reported("encode-text", options) as report:
        for form in CONTENDERS:
            for data in SETS:
                if options.only in (None, form, data):
                    report.lines(compared(form, data, options))


if __name__ == "__main__":
    main()
