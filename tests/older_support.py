"""Databases of older commits, loaded from the SQL text of ``older_databases``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from postgres_support import scratch_postgres

HERE = Path(__file__).parent / "older_databases"
BEFORE_VERSIONS, OLDEST = "20c95f2", "f531528"
# What older_databases/make.py put there.
KEY = "fxp_abcdefghijkl_" + "K" * 43
QUERY = "SELECT id, name FROM users ORDER BY id LIMIT 5"
SESSION = "S" * 43
ROWS = (HERE / BEFORE_VERSIONS / "completed.csv").read_bytes()


@contextmanager
def older_database(kind: str, commit: str, folder: Path, *, webhook: str = "https://example.com/") -> Iterator[str]:
    """The URL of such a database, whose service stored its files in ``folder``."""
    text = (HERE / commit / f"{kind}.sql").read_text()
    text = text.replace("@FOLDER@", str(folder)).replace("@WEBHOOK@", webhook)
    if kind == "sqlite":
        path = folder / "fluxport.db"
        with closing(sqlite3.connect(path)) as session:
            session.executescript(text)
        yield f"sqlite:///{path}"
        return
    with scratch_postgres() as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as session:
            session.execute(text.encode())
        yield postgres.url
