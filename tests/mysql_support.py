"""Shared by the MySQL tests: a private database, reading a whole query, the process list."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pymysql

from fluxport.findings import Finding, Findings
from fluxport.sources import open_source
from fluxport.stages import Limits
from fluxport.testing.sources import wait_until as wait_until  # noqa: PLC0414  other test files import it here
from services import require_mariadb

_NUMBERS = itertools.count()


class Database:
    """A database on a server of the tests, and a PyMySQL connection to it, with which ours is compared."""

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        self.name = name
        self.url = parts._replace(path=f"/{name}").geturl()
        self._connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username or "root",
            password=parts.password or "",
            charset="utf8mb4",
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
        )
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self.run(f"USE {name}")

    def run(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            return list(cursor.fetchall())

    def insert(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def running(self, marker: str) -> list[int]:
        """Ids of the connections to this database whose present query has ``marker`` in it."""
        query = (
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID() AND LOCATE(%s, info)"
        )
        return [number for (number,) in self.run(query, self.name, marker)]

    def connections(self) -> list[int]:
        """Ids of all connections to this database, but for this one."""
        return [n for (n,) in self.run(
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()", self.name
        )]  # fmt: skip

    def drop(self) -> None:
        self.run(f"DROP DATABASE {self.name}")
        self._connection.close()


@contextmanager
def scratch_database(url: str | None = None) -> Iterator[Database]:
    database = Database(url or require_mariadb(), f"fluxport_test_{os.getpid()}_{next(_NUMBERS)}")
    try:
        yield database
    finally:
        database.drop()


def read_all(
    url: str, query: str, params: Any = (), *, limits: Limits | None = None, text_protocol: bool = False
) -> tuple[pa.Table, list[Finding]]:
    """The whole result as a table, and its findings."""
    findings = Findings()
    if text_protocol:
        url += ("&" if "?" in url else "?") + "prepared=false"
    source = open_source(url, query, params, findings=findings, limits=limits)
    try:
        table = pa.Table.from_batches(list(source.batches()), source.schema)
    finally:
        source.close()
    return table, list(findings)
