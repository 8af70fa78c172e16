"""The cost of running exports as jobs: the overhead of one, many small ones, and twenty large ones at once.

    python bench/jobs.py [--url mysql://...] [--postgres postgresql://...] [--jobs 1000] [--rows 1000000] [--save]
                         [--small] [--beside PATH]

Overhead: from the POST of an export of 10 rows to the response that says it is completed, polled every 5 ms, one after
another. Small ones: ``--jobs`` exports of 10 rows, requested by 8 threads, run by two workers; each must be completed
once, at the first attempt, with one file; with the CPU per export of the service (while it is polled) and of the
workers, and PostgreSQL transactions. ``--small``: only these; ``--beside``: the source tree of another version, in the
same run. Large ones: 20 exports of ``--rows`` rows requested at once, and the same 20 one after another, while
``GET /health/live`` is polled.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import secrets
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

import support
from support import Report

P50_EMBEDDED_MAX_MS, P50_POSTGRES_MAX_MS = 100.0, 250.0
AT_ONCE = 20
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
ROOM: dict[str, Any] = {
    "FLUXPORT_LIMITS__ACTIVE_MAX": "100000",
    "FLUXPORT_LIMITS__QUEUE_MAX": "100000",
    "FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "10000000",
}


class Client:
    """One connection to the service, signed as the development key."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def request(self, method: str, target: str, body: Any = None) -> Any:
        response = self._send(method, target, body)
        document = json.loads(response.read())
        if response.status >= 400:
            raise SystemExit(f"{method} {target} returned {response.status}: {document}")
        return document

    def _send(self, method: str, target: str, body: Any = None) -> http.client.HTTPResponse:
        from fluxport.auth.signing import sign_v2
        from fluxport.config import DEVELOPMENT_SECRET

        data = b"" if body is None else json.dumps(body).encode()
        nonce = secrets.token_urlsafe(18)
        headers = sign_v2(DEVELOPMENT_SECRET, "default", method, target, data, int(time.time()), nonce)
        self._connection.request(method, target, data or None, headers)
        return self._connection.getresponse()

    def listen(self, export_id: str) -> None:
        """Start to read the events of an export; the connection cannot be used for anything else then."""
        assert self._send("GET", f"/v1/exports/{export_id}/events").status == 200

    def close(self) -> None:
        self._connection.close()

    def export(self, query: str) -> str:
        export_id: str = self.request("POST", "/v1/exports", {"source": {"query": query}})["id"]
        return export_id

    def ended(self, export_id: str, every_s: float = 0.005) -> dict[str, Any]:
        while True:
            job: dict[str, Any] = self.request("GET", f"/v1/exports/{export_id}")
            if job["status"] not in ("queued", "running"):
                return job
            time.sleep(every_s)


def overhead_ms(port: int, query: str, times: int) -> list[float]:
    client, took = Client(port), []
    for turn in range(times + 5):
        began = time.perf_counter()
        job = client.ended(client.export(query))
        if turn >= 5:  # the first ones load modules
            took.append((time.perf_counter() - began) * 1000)
        assert job["status"] == "completed"
    return took


def small_ones(port: int, query: str, jobs: int) -> tuple[float, collections.Counter[tuple[str, int, int]]]:
    """Seconds from the first request to the last completion; the jobs by status, attempts and rows."""
    clients = threading.local()

    def client() -> Client:
        if not hasattr(clients, "one"):
            clients.one = Client(port)
        created: Client = clients.one
        return created

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: client().export(query), range(jobs)))
        asking_s = time.perf_counter() - began
        ended = list(pool.map(lambda export_id: client().ended(export_id, 0.05), ids))
    took = max(time.perf_counter() - began, asking_s)
    assert len(set(ids)) == jobs
    return took, collections.Counter((job["status"], job["attempts"], job["rows"]) for job in ended)


def large_ones(port: int, pid: int, query: str) -> tuple[float, float, list[float], dict[str, float]]:
    """Seconds of 20 one after another and of 20 at once; milliseconds of /health/live during those; peaks in MB."""
    client = Client(port)
    began = time.perf_counter()
    for _ in range(AT_ONCE):
        assert client.ended(client.export(query))["status"] == "completed"
    one_by_one_s = time.perf_counter() - began
    processes = {"service": pid} | {f"worker {n}": child for n, child in enumerate(children(pid))}
    for number in processes.values():
        support.reset_peak(number)
    over, lives = threading.Event(), list[float]()
    watching = threading.Thread(target=watch, args=(port, over, lives))
    watching.start()
    began = time.perf_counter()
    for job in [client.ended(export_id, 0.1) for export_id in [client.export(query) for _ in range(AT_ONCE)]]:
        assert job["status"] == "completed"
    at_once_s = time.perf_counter() - began
    over.set()
    watching.join()
    return one_by_one_s, at_once_s, lives, {name: support.status_mb(p, "VmHWM") for name, p in processes.items()}


def watch(port: int, over: threading.Event, lives: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not over.wait(0.01):
        began = time.perf_counter()
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        lives.append((time.perf_counter() - began) * 1000)


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def overhead_section(report: Report, options: argparse.Namespace, small: str) -> None:
    with scratch_postgres(options.postgres) as database:
        beside: dict[str, Any] = {"workers": 1, "FLUXPORT_DATABASE": database}
        placed: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
            "SQLite, embedded worker": ((), {}),
            "PostgreSQL, a worker beside it": (("--no-worker",), beside),
        }
        report.line("\nFrom POST to completed, 10 rows, 100 one after another")
        for (name, (words, variables)), most in zip(
            placed.items(), (P50_EMBEDDED_MAX_MS, P50_POSTGRES_MAX_MS), strict=True
        ):
            with support.serving(options.url, *words, **(ROOM | variables)) as (port, _):
                latencies = overhead_ms(port, small, 100)
            report.line(f"  {name:32} p50 {statistics.median(latencies):6.1f} ms   p99 {p99(latencies):6.1f} ms")
            report.line(support.verdict(f"{name}, p50", statistics.median(latencies), most, "ms"))


def small_section(report: Report, options: argparse.Namespace, small: str) -> None:
    report.line(f"\n{options.jobs:,} exports of 10 rows by two workers")
    trees: dict[str, Path | None] = {"beside": options.beside} if options.beside else {}
    for kind in ("SQLite", "PostgreSQL"):
        for name, tree in (trees | {"ours": None}).items():
            with contextlib.ExitStack() as stack:
                variables: dict[str, Any] = {} if tree is None else {"PYTHONPATH": str(tree / "src")}
                if kind == "PostgreSQL":
                    variables["FLUXPORT_DATABASE"] = stack.enter_context(scratch_postgres(options.postgres))
                port, pid = stack.enter_context(
                    support.serving(options.url, "--no-worker", workers=2, **(ROOM | variables))
                )
                small_ones(port, small, 20)  # the first ones load modules
                service = {pid}
                workers = set(children(os.getpid())) - service
                before = [sum(map(support.cpu_s, pids)) for pids in (service, workers)]
                database_url = variables.get("FLUXPORT_DATABASE")
                before_count = counted(options.postgres, database_url, TRANSACTIONS)
                took, ends = small_ones(port, small, options.jobs)
                cpu = [sum(map(support.cpu_s, pids)) for pids in (service, workers)]
                in_service, in_workers = ((c - b) / options.jobs * 1000 for c, b in zip(cpu, before, strict=True))
                time.sleep(1.5)  # PostgreSQL updates its counters once a session has been idle for a second
                per_job = (counted(options.postgres, database_url, TRANSACTIONS) - before_count) / options.jobs
            report.line(
                f"  {name:7} {kind:12} {options.jobs / took:6.1f} jobs/s; CPU of each {in_service:5.1f} ms in service, "
                f"{in_workers:5.1f} ms in workers; {per_job:5.1f} transactions; (status, attempts, rows): {dict(ends)}"
            )
            lost = options.jobs - ends["completed", 1, 10]
            report.line(support.verdict(f"{name}, {kind}, lost or twice", lost, 0, "jobs"))


def counted(admin: str, database: str | None, query: str) -> int:
    """A counter of a PostgreSQL database, queried from another one, so as not to be counted; 0 for SQLite."""
    if database is None or not database.startswith("postgres"):
        return 0
    with psycopg.connect(admin, autocommit=True) as connection:
        row = connection.execute(query.encode(), [database.rsplit("/", 1)[1]]).fetchone()
    assert row is not None
    return int(row[0])


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--postgres", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    table = support.seeded(options.url, options.rows)
    small, large = f"SELECT * FROM {table} LIMIT 10", f"SELECT * FROM {table}"
    support.wait_until_quiet(300)
    report = Report()
    report.lines(support.machine("dbos", "sqlalchemy"))
    if not options.small:
        overhead_section(report, options, small)
    small_section(report, options, small)
    if options.small:
        report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
        if options.save:
            report.save("jobs-small")
        return
    report.line(f"\n{AT_ONCE} exports of {options.rows:,} rows to CSV, embedded worker, 3 queries at once")
    with support.serving(options.url, **ROOM) as (port, pid):
        one_by_one_s, at_once_s, lives, peaks = large_ones(port, pid, large)
    report.line(
        f"  one after another {one_by_one_s:6.1f} s, at once {at_once_s:6.1f} s ({at_once_s / one_by_one_s:.2f} x)"
    )
    report.line(f"  /health/live meanwhile: p50 {statistics.median(lives):.1f} ms, p99 {p99(lives):.1f} ms")
    report.line("  peaks " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in peaks.items()))
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("jobs")


@contextlib.contextmanager
def scratch_postgres(url: str) -> Iterator[str]:
    """A new database for the bench."""
    name = f"fluxport_bench_{os.getpid()}_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield url.rsplit("/", 1)[0] + "/" + name
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


if __name__ == "__main__":
    main()
