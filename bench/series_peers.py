"""Other engines that hold the same points and write one sensor's as CSV; run by the peers' own interpreter.

    python bench/series_peers.py duckdb|chdb|sqlite FOLDER SENSORS POINTS RUNS

Prints one line of JSON: median and minimum seconds of a query to its file, and the growth of peak memory.
"""

from __future__ import annotations

import csv
import json
import resource
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

FIRST = 1_700_000_000_000
RANGE = f"sensor_id = 'one' AND timestamp_ms BETWEEN {FIRST} AND {FIRST + 10**12}"
SELECT = f"SELECT timestamp_ms, value, quality FROM points WHERE {RANGE} ORDER BY timestamp_ms"

Export = Callable[[Path], None]


def parts(sensors: int, points: int) -> Iterator[tuple[str, Any, Any]]:
    """Name, times and values of every sensor but the largest, as the store was filled with them."""
    numpy = import_module("numpy")
    plan = [(0, "one", 1_000_000), *((n + 2, f"s{n:04}", points) for n in range(sensors - 2))]
    for number, name, count in plan:
        values = 20 + numpy.cumsum(numpy.random.default_rng(number).normal(0, 0.1, count))
        yield name, FIRST + 1000 * numpy.arange(count), values


def parquet(folder: Path, sensors: int, points: int) -> str:
    pa, pq, numpy = import_module("pyarrow"), import_module("pyarrow.parquet"), import_module("numpy")
    names = ["sensor_id", "timestamp_ms", "value", "quality"]
    path = folder / "points.parquet"
    writer: Any = None
    for name, ms, values in sorted(parts(sensors, points), key=lambda part: part[0]):
        ones = numpy.ones(len(ms), numpy.uint8)
        table = pa.table([pa.repeat(name, len(ms)), ms, values, ones], names)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()
    return str(path)


def duckdb(folder: Path, sensors: int, points: int) -> Export:
    source = parquet(folder, sensors, points)
    connection = import_module("duckdb").connect(str(folder / "points.duckdb"))
    connection.execute(f"CREATE TABLE points AS SELECT * FROM '{source}' ORDER BY sensor_id, timestamp_ms")
    connection.execute("CHECKPOINT")
    Path(source).unlink()
    return lambda path: connection.execute(f"COPY ({SELECT}) TO '{path}' (FORMAT csv, HEADER)")


def chdb(folder: Path, sensors: int, points: int) -> Export:
    source = parquet(folder, sensors, points)
    session = import_module("chdb.session").Session(str(folder / "points.chdb"))
    session.query("CREATE DATABASE IF NOT EXISTS b")
    columns = "sensor_id LowCardinality(String), timestamp_ms Int64, value Float64, quality UInt8"
    session.query(f"CREATE TABLE b.points ({columns}) ENGINE = MergeTree ORDER BY (sensor_id, timestamp_ms)")
    session.query(f"INSERT INTO b.points SELECT * FROM file('{source}', Parquet)")
    session.query("OPTIMIZE TABLE b.points FINAL")
    Path(source).unlink()
    statement = SELECT.replace("FROM points", "FROM b.points")
    return lambda path: session.query(f"{statement} INTO OUTFILE '{path}' TRUNCATE FORMAT CSVWithNames")


def sqlite(folder: Path, sensors: int, points: int) -> Export:
    connection = sqlite3.connect(folder / "points.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE points (sensor_id TEXT, timestamp_ms INTEGER, value REAL, quality INTEGER, "
        "PRIMARY KEY (sensor_id, timestamp_ms)) WITHOUT ROWID"
    )
    for name, ms, values in sorted(parts(sensors, points), key=lambda part: part[0]):
        rows = zip([name] * len(ms), ms.tolist(), values.tolist(), [1] * len(ms), strict=True)
        connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?)", rows)
    connection.commit()

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("timestamp_ms", "value", "quality"))
            writer.writerows(connection.execute(SELECT))

    return write


def main() -> None:
    name, folder, sensors, points, runs = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
    began = time.perf_counter()
    export: Export = {"duckdb": duckdb, "chdb": chdb, "sqlite": sqlite}[name](folder, sensors, points)
    filled = time.perf_counter() - began
    path = folder / f"{name}.csv"
    resident = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    took = []
    busy = time.process_time()
    for _ in range(runs + 1):
        began = time.perf_counter()
        export(path)
        took.append(time.perf_counter() - began)
    busy = (time.process_time() - busy) / (runs + 1)
    above = resident_mb("VmHWM") - resident
    with path.open("rb") as file:
        rows = sum(1 for _ in file) - 1
    path.unlink()
    figures = {
        "seconds": statistics.median(took[1:]),
        "least": min(took[1:]),
        "cpu": busy,
        "rows": rows,
        "above_mb": above,
        "filled_s": filled,
    }
    print(json.dumps(figures))


def resident_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
