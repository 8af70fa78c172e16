"""What the tests of identity share: the service's tables in SQLite and PostgreSQL, under a clock that they move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fluxport.auth.keys import Keys
from fluxport.jobs.store import JobStore
from fluxport.tables import connect, metadata
from postgres_support import scratch_postgres

DATABASES = ["sqlite", "postgresql"]


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/fluxport.db"
        return
    with scratch_postgres() as scratch:
        yield scratch.url


@contextmanager
def empty_store(url: str, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(url, clock=clock)
    store.create_tables()
    with store.engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
    yield store
    store.close()


def new_key(
    folder: Path, name: str, user: str, *scopes: str, expires_s: float | None = None, active_max: int | None = None
) -> str:
    """What ``fluxport keys create`` prints, without the time that a process takes."""
    engine = connect(f"sqlite:///{folder}/fluxport.db")
    token = Keys(engine).create(name, user, scopes, expires_s=expires_s, active_max=active_max)[1]
    engine.dispose()
    return token
