"""What the tests of identity share: the service's tables in SQLite and PostgreSQL, under a clock that they move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fluxport.jobs.store import Store
from fluxport.tables import metadata
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
def empty_store(url: str, clock: Clock) -> Iterator[Store]:
    store = Store(url, clock=clock)
    store.create_tables()
    with store.engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
    yield store
    store.close()
