"""Databases behind a server, for tests of what goes wrong between it and a source; one entry each in SERVERS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from mysql_support import scratch_database
from postgres_support import scratch_postgres


@dataclass
class Server:
    """``url`` of a private database, by an account with a password in ``secret``'s place or without one; ``options``
    keep its bytes plain (no TLS). ``query(n)``: n rows with ``id`` from 1 and a ``label`` of a hundred characters.
    ``sessions``: those on the database but the test's own. ``kill`` ends one of them."""

    url: str
    options: str
    query: Callable[[int], str]
    sessions: Callable[[], list[int]]
    kill: Callable[[int], object]

    def at(self, url: str, *options: str) -> str:
        """``url`` with the server's own options and ``options``."""
        given = "&".join(option for option in (self.options, *options) if option)
        return f"{url}?{given}" if given else url

    def as_user(self, user: str, password: str) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}").geturl()


@contextmanager
def mysql(options: str) -> Iterator[Server]:
    with scratch_database() as database:
        yield Server(
            url=database.url,
            options=options,
            query=lambda n: f"SELECT seq AS id, REPEAT('x', 100) AS label FROM seq_1_to_{n}",
            sessions=database.connections,
            kill=lambda number: database.run(f"KILL CONNECTION {number}"),
        )


@contextmanager
def postgres() -> Iterator[Server]:
    with scratch_postgres() as database:
        yield Server(
            url=database.url,
            options="sslmode=disable&gssencmode=disable",
            query=lambda n: f"SELECT g AS id, repeat('x', 100) AS label FROM generate_series(1, {n}) AS g",
            sessions=database.backends,
            kill=database.terminate,
        )


SERVERS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "mysql": lambda: mysql(""),
    "mysql-text-protocol": lambda: mysql("prepared=false"),
    "postgresql": postgres,
}
