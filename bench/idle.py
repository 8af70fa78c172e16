"""The cost of idle workers and listeners, and the delay before a worker starts an export.

    python bench/idle.py [--connections 1,8] [--workers 1,2] [--listeners 1,200] [--seconds 30] [--beside PATH] [--save]

Idle: ``--workers`` workers alone, on SQLite and PostgreSQL, with ``--connections`` configured connections: CPU of each
in percent of a core, and on PostgreSQL its transactions per second, and its sessions after it has run an export.
Pick-up: exports of 10 rows, one after another, from the POST to the start of the attempt (by the database's timestamps)
and to the response that says completed, polled every 5 ms. Listeners: ``--listeners`` clients of
``/v1/exports/{id}/events``, each of a different queued export: CPU of the service, and its transactions.

``--beside``: the source tree of another version, measured in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import support
from jobs import ROOM, TRANSACTIONS, Client, counted, p99, scratch_postgres
from support import Report

CPU_MAX_PERCENT, TRANSACTIONS_MAX, SESSIONS_MAX, PICK_UP_MAX_MS = 0.5, 0.5, 4, 50.0
LISTENED_MAX = 6.0
SETTLED_S = 8.0
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
ADMIN = "postgresql://postgres@127.0.0.1:5432/postgres"


@contextlib.contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of a new database for the service."""
    if kind == "PostgreSQL":
        with scratch_postgres(ADMIN) as url:
            yield url
        return
    path = support.scratch("idle.db")
    try:
        yield f"sqlite:///{path}"
    finally:
        for end in ("", "-wal", "-shm", ".signatures", ".signatures-wal", ".signatures-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)


def settings(tree: Path | None, url: str, database_url: str, connections: int) -> dict[str, Any]:
    connections_settings = {f"FLUXPORT_CONNECTIONS__C{n}__URL": url for n in range(1, connections)}
    beside = {} if tree is None else {"PYTHONPATH": str(tree / "src")}
    return {"MYSQL_DSN": url, "FLUXPORT_DATABASE": database_url, **connections_settings, **ROOM, **beside}


def idle(
    database_url: str, environment: dict[str, Any], query: str, workers: int, seconds: float
) -> tuple[float, float, float]:
    """Per worker: percent of a core, transactions/s, sessions. The workers have run exports, and the service has
    stopped."""
    folder = support.scratch("workers")
    folder.mkdir()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FLUXPORT_")} | environment
    environ |= {"APP_ENV": "development", "FLUXPORT_LOGGING__LEVEL": "error"}
    environ |= {"LOCAL_STORAGE_PATH": str(folder / "exports")}
    try:
        with contextlib.ExitStack() as processes:
            with support.served(environ, "--no-worker") as (said, _):
                begun = [
                    processes.enter_context(support.started(["worker"], folder, environ))[0].pid for _ in range(workers)
                ]
                client = Client(int(said["listening on"].rsplit(":", 1)[1]))
                for export_id in [client.export(query) for _ in range(10 * workers)]:
                    client.ended(export_id)
            time.sleep(SETTLED_S)
            before, used, began = (
                counted(ADMIN, database_url, TRANSACTIONS),
                sum(map(on_cpu_s, begun)),
                time.monotonic(),
            )
            time.sleep(seconds)
            took = (time.monotonic() - began) * workers
            cpu = (sum(map(on_cpu_s, begun)) - used) / took * 100
            return (
                cpu,
                (counted(ADMIN, database_url, TRANSACTIONS) - before) / took,
                counted(ADMIN, database_url, SESSIONS) / workers,
            )
    finally:
        support.remove(folder)


def listening(
    database_url: str, environment: dict[str, Any], query: str, listeners: int, seconds: float
) -> tuple[float, float]:
    """A service with ``listeners`` listeners to queued exports: percent of a core, transactions/s."""
    environment = environment | {"FLUXPORT_SERVER__CONNECTIONS_PER_ADDRESS": str(listeners + 10)}
    with support.served(environment, "--no-worker") as (said, pid), contextlib.ExitStack() as connections:
        port = int(said["listening on"].rsplit(":", 1)[1])
        client = Client(port)
        for _ in range(listeners):
            listener = connections.enter_context(contextlib.closing(Client(port)))
            listener.listen(client.export(query))
        time.sleep(SETTLED_S)
        before, used, began = counted(ADMIN, database_url, TRANSACTIONS), on_cpu_s(pid), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return (on_cpu_s(pid) - used) / took * 100, (counted(ADMIN, database_url, TRANSACTIONS) - before) / took


def on_cpu_s(pid: int) -> float:
    """CPU seconds of all threads, in the kernel's nanoseconds rather than in ticks."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def picked_up_ms(
    database_url: str, environment: dict[str, Any], query: str, times: int
) -> tuple[list[float], list[float]]:
    """Milliseconds from the POST's record to the start of the attempt, and from the POST to completed."""
    ends: list[float] = []
    with support.served(environment, "--no-worker", workers=1) as (said, _):
        client = Client(int(said["listening on"].rsplit(":", 1)[1]))
        for turn in range(times + 5):
            time.sleep(0.05)  # until the worker is idle again
            began = time.perf_counter()
            assert client.ended(client.export(query))["status"] == "completed"
            if turn >= 5:
                ends.append((time.perf_counter() - began) * 1000)
    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT started_at - created_at FROM exports ORDER BY created_at"))
        waits = [float(row[0]) * 1000 for row in rows][5:]
    engine.dispose()
    return waits, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=support.DEFAULT_URL)
    parser.add_argument("--connections", default="1,8")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--listeners", default="1,200")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    query = f"SELECT * FROM {support.seeded(options.url, 1000)} LIMIT 10"
    support.wait_until_quiet(300)
    report = Report()
    report.lines(support.machine("sqlalchemy", "psycopg"))
    trees: dict[str, Path | None] = {"beside": options.beside} if options.beside else {}
    trees["ours"] = None
    report.line("\nIdle, each worker: CPU in percent of a core, transactions/s, sessions")
    for kind in ("SQLite", "PostgreSQL"):
        for connections in map(int, options.connections.split(",")):
            for workers in map(int, options.workers.split(",")):
                for name, tree in trees.items():
                    with database(kind) as database_url:
                        environment = settings(tree, options.url, database_url, connections)
                        cpu, per_s, held = idle(database_url, environment, query, workers, options.seconds)
                    what = f"{kind}, {connections} connections, {workers} workers"
                    report.line(f"  {name:7} {what:40} {cpu:7.2f} %  {per_s:7.2f}/s  {held:5.1f}")
                    if tree is None:
                        report.line(support.verdict(f"{what}: CPU", cpu, CPU_MAX_PERCENT, "%"))
                        report.line(support.verdict(f"{what}: transactions", per_s, TRANSACTIONS_MAX, "/s"))
                        report.line(support.verdict(f"{what}: sessions", held, SESSIONS_MAX, "sessions"))
    report.line("\nListeners to queued exports: CPU of the service in percent of a core, transactions/s")
    for kind in ("SQLite", "PostgreSQL"):
        for listeners in map(int, options.listeners.split(",")):
            for name, tree in trees.items():
                with database(kind) as database_url:
                    cpu, per_s = listening(
                        database_url, settings(tree, options.url, database_url, 1), query, listeners, options.seconds
                    )
                report.line(f"  {name:7} {f'{kind}, {listeners} listeners':40} {cpu:7.2f} %  {per_s:7.2f}/s")
                if tree is None:
                    what = f"{kind}, {listeners} listeners: transactions"
                    report.line(support.verdict(what, per_s, LISTENED_MAX, "/s"))
    report.line("\nFrom the POST to the start, and to completed: 10 rows, one worker, one after another")
    for kind in ("SQLite", "PostgreSQL"):
        for name, tree in trees.items():
            with database(kind) as database_url:
                waits, ends = picked_up_ms(
                    database_url, settings(tree, options.url, database_url, 1), query, options.times
                )
            report.line(
                f"  {name:7} {kind:12} begun p50 {statistics.median(waits):6.1f} p99 {p99(waits):6.1f} ms   "
                f"completed p50 {statistics.median(ends):6.1f} p99 {p99(ends):6.1f} ms"
            )
            if tree is None:
                report.line(support.verdict(f"{kind}: begun, p50", statistics.median(waits), PICK_UP_MAX_MS, "ms"))
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save("idle")


if __name__ == "__main__":
    main()
