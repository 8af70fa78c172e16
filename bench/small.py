"""The cost of a direct stream of ten rows, compared with plain FastAPI + mysqlclient + csv in the same run, and of one
row by ``fluxport export``, compared with the import of numpy and pyarrow.

    python bench/small.py [--url mysql://...] [--postgres postgresql://...] [--times 300] [--save]

One after another over one connection, then by 16 clients at once for as long; every response is read completely and
compared. The service runs with its defaults: signatures, the guard, records and an embedded worker.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import support
from jobs import ROOM, p99, scratch_postgres
from support import Report

P50_MAX_MS, PER_SECOND_MIN = 10.0, 150.0
AT_ONCE = 16
PARTS_TIMES = 200
OF_IMPORT_MAX = 1.5
WHOLE_TIMES = 15


class Client:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def stream(self, body: bytes) -> bytes:
        from fluxport.auth.signing import sign_v2
        from fluxport.config import DEVELOPMENT_SECRET

        nonce = secrets.token_urlsafe(18)
        headers = sign_v2(DEVELOPMENT_SECRET, "default", "POST", "/v1/stream", body, int(time.time()), nonce)
        self._connection.request("POST", "/v1/stream", body, headers | {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"POST /v1/stream returned {response.status}: {content!r}")
        return content


def one_by_one_ms(port: int, body: bytes, times: int) -> list[float]:
    client, latencies = Client(port), []
    whole = client.stream(body)
    for turn in range(times + 20):
        began = time.perf_counter()
        assert client.stream(body) == whole
        if turn >= 20:
            latencies.append((time.perf_counter() - began) * 1000)
    return latencies


def at_once_per_s(port: int, body: bytes, times: int) -> float:
    def work() -> None:
        client = Client(port)
        for _ in range(times // AT_ONCE):
            client.stream(body)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times // AT_ONCE * AT_ONCE / (time.perf_counter() - began)


@contextlib.contextmanager
def peer(url: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
    words = [str(support.peers_python()), "-m", "small_peer", url, str(port)]
    process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(support.HERE)})
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None:
                raise SystemExit("the peer did not start: FastAPI, uvicorn and mysqlclient must be in build/bench-venv")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def measure(report: Report, name: str, port: int, body: bytes, times: int) -> tuple[float, float]:
    took = one_by_one_ms(port, body, times)
    per_s = at_once_per_s(port, body, times * 4)
    report.line(f"  {name:32} p50 {statistics.median(took):6.1f} ms   p99 {p99(took):6.1f} ms   {per_s:6.1f} streams/s")
    return statistics.median(took), per_s


def parts_ms(url: str, query: str, folder: Path) -> dict[str, float]:
    """The cost of each part of a stream, in milliseconds of CPU, without HTTP and threads."""
    from fluxport.auth.caller import Caller
    from fluxport.auth.scopes import EVERYTHING
    from fluxport.jobs.store import JobStore
    from fluxport.plan import Connection, check, of_query
    from fluxport.policy.guard import GuardPolicy
    from fluxport.spec import ExportSpec
    from fluxport.stages import Limits

    connection = Connection("main", url, GuardPolicy(dialect="mysql", params=True))
    spec, caller = ExportSpec(query=query), Caller("bench", scopes=EVERYTHING)
    store = JobStore(f"sqlite:///{folder / 'parts.db'}")
    store.create_tables()
    begun = deque[str]()

    def planned() -> Any:
        return check(spec, of_query(spec, connection), limits=Limits(deadline_s=900.0)).open("export")

    def opened() -> None:
        source = planned().source
        _ = source.schema
        source.close()

    def begin() -> None:
        begun.append(str(uuid.uuid4()))
        store.create_stream(begun[-1], spec, caller)

    def cost(work: Callable[[], object]) -> float:
        for _ in range(20):
            work()
        before = time.process_time()
        for _ in range(PARTS_TIMES):
            work()
        return (time.process_time() - before) / PARTS_TIMES * 1000

    plan, opening, whole = cost(planned), cost(opened), cost(lambda: sum(map(len, planned().chunks())))
    costs = {
        "plan, with the guard": plan,
        "connect, log in, query": opening - plan,
        "rows and file": whole - opening,
    }
    costs["record and audit line of the beginning"] = cost(begin)
    costs["the same of the end"] = cost(lambda: store.move(begun.popleft(), "completed", fence=1, rows=10, bytes=500))
    store.close()
    return costs


def whole_processes(report: Report, url: str, query: str) -> None:
    """One row by ``fluxport export``, beside the import of the libraries that it needs, in turns."""
    report.line(f"\nWhole processes, one row: medians of {WHOLE_TIMES}")
    output = support.scratch("one")
    commands = {"import numpy, pyarrow": support.Command([sys.executable, "-c", "import numpy, pyarrow"], output)}
    for form in ("csv", "jsonl", "xlsx", "parquet"):
        words: list[str | Path] = ["export", query, "--from", url, "--to", output, "--format", form, "--quiet"]
        commands[form] = support.Command([support.FLUXPORT, *words], output)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(WHOLE_TIMES):
        for name, command in commands.items():
            runs[name].append(support.run(command))
            support.remove(output)
    walls = {}
    for name, figures in runs.items():
        walls[name], cpu, peak = (statistics.median(column) for column in zip(*figures, strict=True))
        report.line(f"  {name:32} {walls[name]:6.3f} s   CPU {cpu:6.3f} s   {peak:5.0f} MB")
    import_s = walls.pop("import numpy, pyarrow")
    for name, wall in walls.items():
        report.line(support.verdict(f"{name}, of the import's time", wall / import_s, OF_IMPORT_MAX, "x"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--postgres", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    table = support.seeded(options.url, 1000)
    query = f"SELECT * FROM {table} LIMIT 10"
    body = json.dumps({"source": {"query": query}, "format": "csv"}).encode()
    support.wait_until_quiet(300)
    report = Report()
    report.lines(support.machine("fastapi", "uvicorn", "sqlalchemy"))
    report.line(f"\nDirect streams of 10 rows: one after another, and by {AT_ONCE} clients at once")
    with peer(options.url) as port:
        _, peer_per_s = measure(report, "FastAPI + mysqlclient + csv", port, body, options.times)
    with scratch_postgres(options.postgres) as database:
        kept_in: dict[str, dict[str, Any]] = {"SQLite": {}, "PostgreSQL": {"FLUXPORT_DATABASE": database}}
        for name, database_setting in kept_in.items():
            with support.serving(options.url, **(ROOM | database_setting)) as (port, pid):
                one_by_one_ms(port, body, 20)
                before, done = support.cpu_s(pid), options.times * 5 + 20
                p50, per_s = measure(report, f"fluxport, {name}", port, body, options.times)
                cpu_s = support.cpu_s(pid) - before
            report.line(
                f"  {'':32} {1000 * cpu_s / done:6.2f} ms of the service's CPU each; "
                f"{per_s / peer_per_s:.2f} of the peer's streams"
            )
            report.line(support.verdict(f"{name}, p50", p50, P50_MAX_MS, "ms"))
            report.line(
                support.verdict(
                    f"{name}, time of one with {AT_ONCE} at once", 1000 / per_s, 1000 / PER_SECOND_MIN, "ms"
                )
            )
    whole_processes(report, options.url, f"SELECT * FROM {table} LIMIT 1")
    report.line("\nParts of one, CPU")
    with tempfile.TemporaryDirectory(dir=support.SCRATCH) as folder:
        for name, ms in parts_ms(options.url, query, Path(folder)).items():
            report.line(f"  {name:40} {ms:6.2f} ms")
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("small")


if __name__ == "__main__":
    main()
