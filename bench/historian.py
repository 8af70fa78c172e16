"""A million points of one sensor among many, over HTTP and in other engines; memory; exports while points arrive.

    python bench/historian.py [--sensors 200] [--points 100000] [--runs 9] [--seconds 10] [--no-peers] [--save]

One sensor has a million points, one twenty million, every other ``--points``. The peers (DuckDB COPY, ClickHouse's
embedded build, SQLite with Python's csv) hold the same data without the largest sensor, sorted by sensor and time where
possible, and write a file in a running process; ours is the whole HTTP request to its last byte.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import support
from support import Report

FIRST = 1_700_000_000_000
ONE, LARGE = "one", "large"
MILLION, MANY = 1_000_000, 20_000_000
TOTAL_MAX_S, FIRST_BYTE_MAX_MS, FLAT_MAX_MB, CHART_MAX_MS = 0.3, 30.0, 16.0, 100.0
CLIENTS, RATE = 20, 50_000
WRITERS, BATCH = 10, 5000
PEERS = ("duckdb", "chdb", "sqlite")

SEED = """
import sys
from pathlib import Path
import numpy as np
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedStore
folder, sensors, points, large = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
store = EmbeddedStore(folder / "series.db")
plan = [("one", 1_000_000), ("large", large)] + [(f"s{n:04}", points) for n in range(sensors - 2)]
for number, (name, count) in enumerate(plan):
    random = np.random.default_rng(number)
    for start in range(0, count, 1_000_000):
        size = min(1_000_000, count - start)
        ms = 1_700_000_000_000 + 1000 * np.arange(start, start + size, dtype=np.int64)
        values = 20 + np.cumsum(random.normal(0, 0.1, size))
        store.append([(name, Points(ms, values, np.ones(size, np.uint8)))])
store.compact()
store.close()
"""

CHART = """
import time
import numpy as np
from fluxport.series import Points
from fluxport.series.downsample import downsample
count = 10_000_000
values = np.cumsum(np.random.default_rng(1).normal(size=count))
whole = Points(np.arange(count, dtype=np.int64), values, np.ones(count, np.uint8))
for _ in range(9):
    began = time.perf_counter()
    downsample(whole, 2000)
    print(1000 * (time.perf_counter() - began))
"""


def python(code: str, *words: object) -> str:
    command = [str(Path(support.FLUXPORT).with_name("python")), "-c", code, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, int]]:
    """``fluxport serve`` over the store in ``folder``, as (port, process id)."""
    settings = {"FLUXPORT_SERIES__PATH": str(folder / "series.db")}
    settings |= {"FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "1000000", "FLUXPORT_GRPC__ENABLED": "false"}
    with support.served(settings, "--no-worker") as (said, pid):
        yield int(said["listening on"].rsplit(":", 1)[1]), pid


def export(port: int, sensor: str, form: str = "csv") -> tuple[float, float, int]:
    """Seconds to the first and to the last byte of the file, and its size; by the older API, without a key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    room = memoryview(bytearray(1 << 20))
    began = time.perf_counter()
    target = f"/api/v1/export?sensor_id={quote(sensor)}&start_ts={FIRST}&end_ts={FIRST + 10**12}&format={form}"
    connection.request("GET", target)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{target} returned {response.status}: {response.read(500).decode(errors='replace')}")
    size = len(response.read1(1))
    first = time.perf_counter() - began
    while got := response.readinto(room):
        size += got
    total = time.perf_counter() - began
    connection.close()
    return first, total, size


def speed(report: Report, port: int, pid: int, runs: int) -> None:
    report.line(f"\n{MILLION:,} points of one sensor over HTTP, medians of {runs}")
    report.line(f"  {'':10} {'seconds':>8} {'min':>8} {'cpu s':>8} {'first byte ms':>14} {'MB':>8} {'points/s':>12}")
    for form in ("csv", "jsonl", "xlsx", "parquet"):
        export(port, ONE, form)
        before = support.cpu_s(pid)
        measured = [export(port, ONE, form) for _ in range(runs)]
        cpu = (support.cpu_s(pid) - before) / runs
        total, first = (statistics.median(run[i] for run in measured) for i in (1, 0))
        least, size = min(run[1] for run in measured), measured[0][2] / 1e6
        report.line(
            f"  {form:10} {total:8.3f} {least:8.3f} {cpu:8.3f} {1000 * first:14.1f} {size:8.1f} "
            f"{MILLION / total:12,.0f}"
        )
        if form == "csv":
            report.line(support.verdict("csv", total, TOTAL_MAX_S, "s"))
            report.line(support.verdict("csv, first byte", 1000 * first, FIRST_BYTE_MAX_MS, "ms"))


def memory(report: Report, port: int, pid: int) -> None:
    report.line("\nMemory of the service above what it had before, MB")
    above = {}
    for sensor, count in ((ONE, MILLION), (LARGE, MANY)):
        before = support.status_mb(pid, "VmRSS")
        support.reset_peak(pid)
        _, total, _ = export(port, sensor)
        above[sensor] = support.status_mb(pid, "VmHWM")
        report.line(
            f"  {count:>12,} points: peak {above[sensor]:.0f}, +{above[sensor] - before:.0f} in {total:.2f} s "
            f"({count / total:,.0f} points/s)"
        )
    report.line(support.verdict("difference of the two peaks", abs(above[LARGE] - above[ONE]), FLAT_MAX_MB, "MB"))


def feed(port: int, seconds: float, results: multiprocessing.Queue[tuple[int, float, float]]) -> None:
    """WRITERS connections together send RATE points/s; reports the accepted points, and the seconds per batch."""
    sent, took = [0] * WRITERS, [[0.0] for _ in range(WRITERS)]

    def write(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        target = f"/v1/sensors/s{number:04}/points"
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < seconds:
            time.sleep(max(0.0, sent[number] * WRITERS / RATE - now))
            body = batch(FIRST + 10**12 + sent[number], number)
            sent_at = time.perf_counter()
            connection.request("POST", target, body, signed(target, body))
            response = connection.getresponse()
            said = response.read()
            if response.status != 200:
                raise SystemExit(f"POST {target} returned {response.status}: {said[:300].decode()}")
            took[number].append(time.perf_counter() - sent_at)
            sent[number] += BATCH

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delays = [delay for one in took for delay in one[1:]]
    results.put((sum(sent), statistics.median(delays), max(delays)))


def batch(first_ms: int, seed: int) -> bytes:
    import io

    import numpy as np
    import pyarrow as pa

    values = np.random.default_rng(seed).normal(size=BATCH)
    record = pa.record_batch([pa.array(first_ms + np.arange(BATCH)), pa.array(values)], ["timestamp_ms", "value"])
    out = io.BytesIO()
    with pa.ipc.new_stream(out, record.schema) as writer:
        writer.write_batch(record)
    return out.getvalue()


def signed(target: str, body: bytes) -> dict[str, str]:
    from fluxport.auth.signing import sign_v2
    from fluxport.config import DEVELOPMENT_SECRET

    headers = sign_v2(DEVELOPMENT_SECRET, "default", "POST", target, body, int(time.time()), os.urandom(12).hex())
    return headers | {"Content-Type": "application/vnd.apache.arrow.stream"}


def exports(port: int, count: int, size: int, results: multiprocessing.Queue[list[float]]) -> None:
    """``count`` exports at once; each must be complete."""
    took: list[float] = []

    def one() -> None:
        _, total, got = export(port, ONE)
        if got == size:
            took.append(total)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(took)


def together(report: Report, port: int, pid: int, seconds: float) -> None:
    report.line(f"\n{CLIENTS} exports of {MILLION:,} points at once, again and again, while {RATE:,} points/s arrive")
    size = export(port, ONE)[2]
    support.reset_peak(pid)
    points: multiprocessing.Queue[tuple[int, float, float]] = multiprocessing.Queue()
    files: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    feeding = multiprocessing.Process(target=feed, args=(port, seconds, points))
    feeding.start()
    began = time.perf_counter()
    took: list[float] = []
    requested = 0
    while time.perf_counter() - began < seconds:
        asking = multiprocessing.Process(target=exports, args=(port, CLIENTS, size, files))
        asking.start()
        took += files.get()
        asking.join()
        requested += CLIENTS
    lasted = time.perf_counter() - began
    sent, usual, worst = points.get()
    feeding.join()
    peak = support.status_mb(pid, "VmHWM")
    report.line(
        f"  exports: {requested} requested, {len(took)} whole, median {statistics.median(took):.2f} s, "
        f"worst {max(took):.2f}, {MILLION * len(took) / lasted:,.0f} points/s in all; peak {peak:.0f} MB"
    )
    report.line(
        f"  points:  {sent / seconds:,.0f}/s accepted from {WRITERS} connections, {1000 * usual:.0f} ms a batch of "
        f"{BATCH:,}, at most {1000 * worst:.0f}"
    )
    report.line(support.verdict("exports that failed", requested - len(took), 0, ""))
    report.line(support.verdict("points a second that were not accepted", RATE - sent / seconds, RATE * 0.02, ""))


def peers(report: Report, folder: Path, sensors: int, points: int, runs: int) -> None:
    report.line(f"\nThe same million points to a CSV file by others, in a running process, medians of {runs}")
    for name in PEERS:
        command = [str(support.peers_python()), str(support.HERE / "series_peers.py"), name, str(folder)]
        done = subprocess.run(
            [*command, str(sensors), str(points), str(runs)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            report.line(f"  {name:10} missing: {said[-1][:150] if said else 'no reason given'}")
            continue
        figures = json.loads(done.stdout.splitlines()[-1])
        report.line(
            f"  {name:10} {figures['seconds']:8.3f} s, min {figures['least']:.3f}, cpu {figures['cpu']:.3f}, "
            f"+{figures['above_mb']:.0f} MB; {figures['rows']:,} rows; filled in {figures['filled_s']:.0f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--wait", type=float, default=300.0, help="for a quiet machine, at most so long")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    folder = support.scratch("series")
    folder.mkdir()
    report = Report()
    try:
        began = time.perf_counter()
        python(SEED, folder, options.sensors, options.points, MANY)
        filled = time.perf_counter() - began
        total = MILLION + MANY + (options.sensors - 2) * options.points
        support.wait_until_quiet(options.wait)
        support.compiled()
        report.lines(support.machine("duckdb"))
        size = support.size_of(folder) / 1e6
        report.line(f"{options.sensors} sensors, {total:,} points, filled in {filled:.0f} s, {size:,.0f} MB on disk")
        with serving(folder) as (port, pid):
            speed(report, port, pid, options.runs)
            memory(report, port, pid)
            together(report, port, pid, options.seconds)
        chart = statistics.median(map(float, python(CHART).split()))
        report.line("\n10,000,000 points to 2,000 for a chart, in memory")
        report.line(support.verdict("downsampling", chart, CHART_MAX_MS, "ms"))
        if not options.no_peers:
            peers(report, folder, options.sensors, options.points, options.runs)
    finally:
        support.remove(folder)
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("historian")


if __name__ == "__main__":
    main()
