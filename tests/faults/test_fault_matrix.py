"""Faults of workers, of the source and of the service's database over kinds of databases, stores and formats: an export
completes once, with one file that holds every row, and each attempt before has its reason, or it leaves nothing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from ceph_server import Ceph
from fault_proxy import Fault, FaultProxy
from fluxport.tables import connect, executors
from identity_support import DATABASES, database_url
from mysql_support import wait_until
from service_support import Client, emulator, process, service
from store_support import BUCKET, boto

ROWS = 5_000
HALF = 100_000  # bytes of them
QUERY = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}}


def lines(data: bytes) -> int:
    return data.count(b"\n") - 1


def sheet_rows(data: bytes) -> int:
    sheet = openpyxl.load_workbook(io.BytesIO(data), read_only=True).worksheets[0]
    return sum(1 for _ in sheet.iter_rows()) - 1


# What is asked for, and what a foreign reader finds in the file.
FORMATS: dict[str, tuple[dict[str, str], Callable[[bytes], int]]] = {
    "csv": ({"format": "csv"}, lines),
    "gzip": ({"format": "csv", "compression": "gzip"}, lambda data: lines(gzip.decompress(data))),
    "xlsx": ({"format": "xlsx"}, sheet_rows),
    "parquet": ({"format": "parquet"}, lambda data: pq.read_metadata(io.BytesIO(data)).num_rows),
}
STORES = ["local", "s3"]
PLACES = list(itertools.product(DATABASES, STORES))


@dataclass
class Place:
    """A service without a worker over one kind of database and store; ``files`` are those of an export, ``unfinished``
    counts what an attempt has left behind."""

    client: Client
    folder: Path
    database: str
    environ: dict[str, str]
    files: Callable[[str], list[bytes]]
    unfinished: Callable[[], int]

    @contextlib.contextmanager
    def worker(self, **more: str) -> Iterator[Any]:
        with process("worker", folder=self.folder, environ=self.environ | more, until="worker ready") as (started, _):
            yield started

    def asked(self, format_: str) -> str:
        export_id: str = self.client.post("/v1/exports", QUERY | FORMATS[format_][0]).json()["id"]
        return export_id

    def job(self, export_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/exports/{export_id}").json()
        return found

    def completed_once(self, export_id: str, format_: str, reasons: list[str]) -> None:
        assert wait_until(lambda: self.job(export_id).get("status") == "completed", 120), self.job(export_id)
        job = self.job(export_id)
        assert (job["rows"], [reason["code"] for reason in job["attempt_errors"]]) == (ROWS, reasons)
        [data] = self.files(export_id)
        assert self.unfinished() == 0
        assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
        assert FORMATS[format_][1](data) == ROWS


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@pytest.fixture(scope="module", params=PLACES, ids=[f"{database}-{store}" for database, store in PLACES])
def place(request: pytest.FixtureRequest, source: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    kind, store = request.param
    folder = tmp_path_factory.mktemp("place")
    environ, files, unfinished = s3_store(request.getfixturevalue("ceph")) if store == "s3" else local_store(folder)
    with database_url(kind, folder) as database:
        environ |= {"FLUXPORT_DATABASE": database, "MYSQL_DSN": source}
        with service(folder, source, "--no-worker", **environ) as client:
            yield Place(client, folder, database, environ, files, unfinished)


Seen = tuple[dict[str, str], Callable[[str], list[bytes]], Callable[[], int]]


def local_store(folder: Path) -> Seen:
    exports = folder / "exports"

    def files(export_id: str) -> list[bytes]:
        return [path.read_bytes() for path in exports.glob(f"{export_id}*")]

    return {"LOCAL_STORAGE_PATH": str(exports)}, files, lambda: len(list(exports.glob(".fluxport-*.part")))


def s3_store(ceph: Ceph) -> Seen:
    s3 = boto(ceph)

    def unfinished() -> int:
        return len(s3.list_multipart_uploads(Bucket=BUCKET, Prefix="exports/").get("Uploads", []))

    def files(export_id: str) -> list[bytes]:
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"exports/{export_id}").get("Contents", [])
        return [s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found]

    environ = {
        "STORAGE_TYPE": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT": ceph.endpoint,
        "S3_PATH_STYLE": "true",
        "AWS_REGION": ceph.region,
        "AWS_ACCESS_KEY_ID": ceph.access_key,
        "AWS_SECRET_ACCESS_KEY": ceph.secret_key,
    }
    return environ, files, unfinished


def take_for_dead(place: Place) -> None:
    """What some seconds without a sign of life do."""
    engine = connect(place.database)
    with engine.begin() as connection:
        connection.execute(sa.update(executors).values(seen_at=0.0))
    engine.dispose()


# Where the worker of an export of each format dies.
FIRST_BYTES, STORED = ("fluxport.pipeline", "Tally.add", "return"), ("fluxport.jobs.store", "Store.move", "call")
DEATHS = {"csv": FIRST_BYTES, "gzip": STORED, "xlsx": FIRST_BYTES, "parquet": STORED}


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_whose_worker_is_killed(place: Place, format_: str) -> None:
    export_id = place.asked(format_)
    script = Path(__file__).parent.parent / "killed_worker.py"
    dead = subprocess.run(
        [sys.executable, str(script), *DEATHS[format_], "worker"],
        cwd=place.folder,
        env=os.environ | place.environ,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    take_for_dead(place)
    with place.worker():
        place.completed_once(export_id, format_, ["worker_lost"])


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_whose_worker_is_stopped_at_once(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "stall", 20_000) as stalling:
        with place.worker(MYSQL_DSN=stalling.url, FLUXPORT_SERVER__GRACE_S="600") as worker:
            export_id = place.asked(format_)
            assert stalling.faulted.wait(60)
            assert wait_until(lambda: place.job(export_id)["status"] == "running", 60)
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGINT)
            assert wait_until(lambda: worker.poll() is not None, 120)
    assert place.files(export_id) == []
    with place.worker():
        place.completed_once(export_id, format_, ["worker_stopped"])


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_that_ends_while_the_database_takes_no_writes(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "slow", 20_000, slow_bytes_s=100_000) as slow, place.worker(MYSQL_DSN=slow.url):
        export_id = place.asked(format_)
        assert slow.faulted.wait(60)
        assert wait_until(lambda: place.job(export_id)["status"] == "running", 60)
        with no_writes(place.database):
            assert wait_until(lambda: len(place.files(export_id)) == 1, 120)
        place.completed_once(export_id, format_, [])


# How the source of an export of each format breaks off.
BREAKS: dict[str, Fault] = {"csv": "fin", "gzip": "rst", "xlsx": "rst", "parquet": "fin"}


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_whose_source_breaks_off_half_way(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, BREAKS[format_], HALF, connections=1) as broken, place.worker(MYSQL_DSN=broken.url):
        export_id = place.asked(format_)
        place.completed_once(export_id, format_, ["source_lost"])


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_whose_source_never_gets_further_leaves_nothing(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "fin", HALF) as broken, place.worker(MYSQL_DSN=broken.url):
        export_id = place.asked(format_)
        assert wait_until(lambda: place.job(export_id)["status"] == "failed", 120)
    assert [reason["code"] for reason in place.job(export_id)["attempt_errors"]] == ["source_lost"] * 3
    assert (place.files(export_id), place.unfinished()) == ([], 0)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_that_is_canceled_half_way_leaves_nothing(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "stall", HALF) as stalling, place.worker(MYSQL_DSN=stalling.url):
        export_id = place.asked(format_)
        assert stalling.faulted.wait(60)
        assert wait_until(lambda: place.job(export_id)["status"] == "running", 60)
        target = f"/v1/exports/{export_id}"
        httpx.delete(place.client.base + target, headers=place.client.headers("DELETE", target))
        assert wait_until(lambda: place.job(export_id)["status"] == "canceled", 60)
        assert wait_until(lambda: not place.unfinished(), 60)
    assert place.files(export_id) == []


@contextlib.contextmanager
def no_writes(database: str) -> Iterator[None]:
    """While this runs, writing fails: a PostgreSQL as after a failover to a standby, an SQLite that another holds."""
    if database.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            yield
            held.execute("ROLLBACK")
        return
    engine = connect(database)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = connection.engine.url.database
        try:
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            _end_sessions(connection)
            yield
        finally:
            connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            _end_sessions(connection)
    engine.dispose()


def _end_sessions(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
