"""Faults of workers, of the source and of the service's database over kinds of databases, stores and formats: an export
completes once, with one file of all rows and a reason for each earlier attempt, or it leaves nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from export_places import FORMATS, STORES, Place
from fault_proxy import Fault, FaultProxy
from fluxport.tables import connect
from identity_support import DATABASES
from mysql_support import wait_until

HALF = 100_000  # bytes of what the source sends
PLACES = list(itertools.product(DATABASES, STORES))
pytestmark = [
    pytest.mark.parametrize("format_", FORMATS),
    pytest.mark.parametrize("place", PLACES, ids=["-".join(kinds) for kinds in PLACES], indirect=True, scope="module"),
]

# Where the worker of an export of each format dies.
FIRST_BYTES, STORED = ("fluxport.pipeline", "Tally.add", "return"), ("fluxport.jobs.store", "JobStore.move", "call")
DEATHS = {"csv": FIRST_BYTES, "gzip": STORED, "xlsx": FIRST_BYTES, "parquet": STORED}


def test_an_export_whose_worker_is_killed(place: Place, format_: str) -> None:
    export_id = place.submitted(format_)
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
    place.take_workers_for_dead()
    with place.worker():
        place.completed_once(export_id, format_, ["worker_lost"])


def test_an_export_whose_worker_is_stopped_at_once(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "stall", 20_000) as stalling:
        with place.worker(MYSQL_DSN=stalling.url, FLUXPORT_SERVER__GRACE_S="600") as worker:
            export_id = place.submitted(format_)
            assert stalling.faulted.wait(60)
            place.runs(export_id)
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGINT)
            assert wait_until(lambda: worker.poll() is not None, 120)
    assert place.files.of(export_id) == []
    with place.worker():
        place.completed_once(export_id, format_, ["worker_stopped"])


def test_an_export_that_ends_while_the_database_takes_no_writes(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "slow", 20_000, slow_bytes_s=100_000) as slow, place.worker(MYSQL_DSN=slow.url):
        export_id = place.submitted(format_)
        assert slow.faulted.wait(60)
        place.runs(export_id)
        with no_writes(place.database):
            assert wait_until(lambda: len(place.files.of(export_id)) == 1, 120)
        place.completed_once(export_id, format_, [])


# How the source of an export of each format breaks off.
BREAKS: dict[str, Fault] = {"csv": "fin", "gzip": "rst", "xlsx": "rst", "parquet": "fin"}


def test_an_export_whose_source_breaks_off_half_way(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, BREAKS[format_], HALF, connections=1) as broken, place.worker(MYSQL_DSN=broken.url):
        export_id = place.submitted(format_)
        place.completed_once(export_id, format_, ["source_lost"])


def test_an_export_whose_source_never_gets_further_leaves_nothing(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "fin", HALF) as broken, place.worker(MYSQL_DSN=broken.url):
        export_id = place.submitted(format_)
        place.failed_and_left_nothing(export_id, ["source_lost"] * 3)


def test_an_export_that_is_canceled_half_way_leaves_nothing(place: Place, source: str, format_: str) -> None:
    with FaultProxy(source, "stall", HALF) as stalling, place.worker(MYSQL_DSN=stalling.url):
        export_id = place.submitted(format_)
        assert stalling.faulted.wait(60)
        place.runs(export_id)
        place.cancel(export_id)
        assert wait_until(lambda: not place.files.unfinished(), 60)
    assert place.files.of(export_id) == []


@contextlib.contextmanager
def no_writes(database: str) -> Iterator[None]:
    """While entered, writes fail: PostgreSQL as after a failover to a standby, SQLite locked by another process."""
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
