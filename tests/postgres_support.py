"""Shared by the PostgreSQL tests: a private database, and psycopg, with which ours is compared."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from services import require_port

POSTGRES_URL = os.environ.get("FLUXPORT_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
_NUMBERS = itertools.count()


class PostgresDatabase:
    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._admin = psycopg.connect(url, autocommit=True)
        self._run(self._admin, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        self.url = urlsplit(url)._replace(path=f"/{name}").geturl()
        self._connection = psycopg.connect(self.url, autocommit=True)
        self.run("SET TimeZone = 'UTC'")

    def _run(self, connection: psycopg.Connection[Any], statement: str, *params: Any) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement.encode(), params or None)
        return cursor.fetchall() if cursor.description else []

    def run(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._run(self._connection, statement, *params)

    def insert(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._connection.cursor() as cursor, self._connection.transaction():
            cursor.executemany(statement.encode(), rows)

    def backends(self) -> list[int]:
        """Process ids of all connections to this database, but for this one."""
        found = self._run(
            self._admin,
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> %s AND backend_type = 'client backend'",
            self.name,
            self._connection.info.backend_pid,
        )
        return [pid for (pid,) in found]

    def terminate(self, pid: int) -> None:
        self._run(self._admin, "SELECT pg_terminate_backend(%s)", pid)

    def drop(self) -> None:
        self._connection.close()
        self._run(self._admin, f"DROP DATABASE {self.name} WITH (FORCE)")
        self._admin.close()


@contextmanager
def scratch_postgres() -> Iterator[PostgresDatabase]:
    url = require_port(POSTGRES_URL, "PostgreSQL")
    database = PostgresDatabase(url, f"fluxport_test_{os.getpid()}_{next(_NUMBERS)}")
    try:
        yield database
    finally:
        database.drop()
