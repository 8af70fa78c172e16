"""Transactions on the service's own database: reads change nothing and wait for no one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxport.auth.keys import Keys
from fluxport.errors import Unavailable
from fluxport.jobs.store import JobStore
from fluxport.tables import connect, probes, reading, transaction
from identity_support import Clock

PROBE = sa.insert(probes).values(id=7, at=0.0, filling="x")


def test_nothing_can_be_written_while_reading(store: JobStore, url: str) -> None:
    engine = connect(url, pool_size=1)
    for _ in range(2):
        with pytest.raises(Unavailable), reading(engine) as connection:
            connection.execute(PROBE)
        with transaction(engine) as connection:
            connection.execute(PROBE)
            assert connection.execute(sa.delete(probes)).rowcount == 1
    engine.dispose()


def test_the_use_of_a_key_is_recorded_by_the_next_one_if_it_would_have_to_wait(tmp_path: Path, clock: Clock) -> None:
    with closing(JobStore(f"sqlite:///{tmp_path}/fluxport.db", clock=clock)) as store:
        store.create_tables()
        keys = Keys(store.engine, clock=clock)
        token = keys.create("nightly", "ann", ["sql:*"], expires_s=None)[1]
        with closing(sqlite3.connect(tmp_path / "fluxport.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(1) as threads:
                found = threads.submit(keys.find, token)
                with pytest.raises(Unavailable), transaction(store.engine, wait_s=5.0):
                    pass  # the waiting one has timed out by now
                assert found.done()
            assert found.result() is not None
            assert keys.list()[0].last_used_at is None
            other.execute("ROLLBACK")
        assert keys.find(token) is not None
        assert keys.list()[0].last_used_at == clock.now
