"""``adbc+DRIVER://...``: the driver's library, and the options of its database.

A driver of this table comes with a Python package; any other name is looked up by the driver manager, which knows the
libraries that are installed on the machine. Options of the URL that begin with ``adbc.`` go to the driver as they are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from fluxport.errors import QueryFailed, Refused
from fluxport.sources import timeouts
from fluxport.sources.placeholders import Placed

DRIVER_OPTION = "adbc."
BATCH_BYTES = 1 << 20
Options = dict[str, str]


class Parts(NamedTuple):
    """A URL without ``adbc+``, cut at its question mark; ``query`` are the options of the database, not decoded."""

    place: str
    query: list[tuple[str, str]]

    @property
    def uri(self) -> str:
        return self.place + "".join(f"{'&' if n else '?'}{k}={v}" for n, (k, v) in enumerate(self.query))


class Driver(NamedTuple):
    """``package`` installs it, and has the library's path in ``module.path()``. ``options`` makes the options of the
    database of a URL, ``statement`` are those of a statement. ``literal`` writes a parameter's value into the
    statement; without it, values are bound. A ``local`` driver opens a file and has no server."""

    package: str
    module: str
    path: str
    options: Callable[[Parts], Options]
    statement: Mapping[str, str] = {}
    literal: Callable[[Any, int], str] | None = None
    local: bool = False


class Target(NamedTuple):
    """What a URL names; ``waits_s`` are its timeouts by field name."""

    driver: Driver
    options: Options
    waits_s: dict[str, float]

    def bound(self, placed: Placed) -> tuple[str, Sequence[Any]]:
        """The statement, and the values to bind."""
        if self.driver.literal is None:
            return placed.joined(["?"] * len(placed.values)), placed.values
        literal = self.driver.literal
        return placed.joined([literal(value, number) for number, value in enumerate(placed.values, 1)]), ()


def target(url: str) -> Target:
    """Refused if the URL is wrong, or a package is missing; the message does not repeat the URL."""
    scheme, _, rest = url.partition("://")
    name = scheme.partition("+")[2].lower()
    place, _, query = rest.partition("?")
    options: Options = {}
    waits_s: dict[str, float] = {}
    kept: list[tuple[str, str]] = []
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        field = timeouts.field_of(unquote(key))
        if field is not None:
            if (seconds := timeouts.timeout(unquote(value))) is None:
                raise invalid(timeouts.refused(unquote(key)))
            waits_s[field] = seconds
        elif unquote(key).startswith(DRIVER_OPTION):
            options[unquote(key)] = unquote(value)
        else:
            kept.append((key, value))
    driver = DRIVERS.get(name)
    found = driver or Driver("", "", "", lambda parts: {"uri": f"{name}://{parts.uri}"})
    made = found.options(Parts(place, kept))
    return Target(found, {"driver": _library(driver) if driver else name, **made, **options}, waits_s)


def _library(driver: Driver) -> str:
    if find_spec(driver.module) is None:
        raise Refused(f"This ADBC driver is missing: pip install {driver.package}.", code="missing_extra")
    path: str = getattr(importlib.import_module(driver.module), driver.path)()
    return path


def invalid(what: str) -> Refused:
    return Refused(f"The ADBC data source is invalid: {what}.", code="bad_dsn")


_POSTGRES_OWN = {
    "application_name": "fluxport",
    "keepalives_idle": str(timeouts.KEEPALIVE_IDLE_S),
    "keepalives_interval": str(timeouts.KEEPALIVE_INTERVAL_S),
    "keepalives_count": str(timeouts.KEEPALIVE_COUNT),
    "tcp_user_timeout": str(timeouts.UNACKNOWLEDGED_MS),
}


def _postgres(parts: Parts) -> Options:
    from fluxport.sources.postgres.source import SETTINGS

    given = dict(parts.query)
    settings = {**SETTINGS, "default_transaction_read_only": "on"}
    escaped = {name: value.replace(" ", "\\ ") for name, value in settings.items()}
    options = quote("".join(f" -c {name}={value}" for name, value in escaped.items()))
    query = {**_POSTGRES_OWN, **given, "options": given.get("options", "") + options, "client_encoding": "UTF8"}
    return {"uri": "postgresql://" + Parts(parts.place, list(query.items())).uri}


def _postgres_literal(value: Any, number: int) -> str:
    """Bound values would make the driver read the whole result at once."""
    from fluxport.sources.postgres.params import literal, rendered

    return rendered(literal(value, number), lambda raw: b"'" + raw.replace(b"'", b"''") + b"'")


def _file(parts: Parts) -> str:
    """The path of ``/relative.db`` or ``//absolute/path.db``; empty for none."""
    if parts.query:
        raise invalid("a database in a file has only the options connect-timeout and read-timeout")
    path = unquote(parts.place.removeprefix("/"))
    if not parts.place.startswith("/") or "\0" in path:
        raise invalid("write three slashes and a relative path, or four and an absolute one")
    if path and not Path(path).is_file():
        raise QueryFailed("The database's file does not exist.", code="unknown_database")
    return path


def _sqlite(parts: Parts) -> Options:
    return {"uri": f"file:{quote(_file(parts))}?mode=ro"}


def _duckdb(parts: Parts) -> Options:
    path = _file(parts)
    database = {"path": path, "access_mode": "READ_ONLY"} if path else {"path": ":memory:"}
    return {"entrypoint": "duckdb_adbc_init", **database}


def _flightsql(parts: Parts) -> Options:
    query = dict(parts.query)
    tls = query.pop("tls", "on")
    address = urlsplit(f"//{parts.place}")
    if query or tls not in ("on", "off") or address.path.strip("/"):
        raise invalid("write adbc+flightsql://user:password@host:port, with tls=off for a server without TLS")
    login = {"username": address.username, "password": address.password}
    host = parts.place.rpartition("@")[2].rstrip("/")
    return {"uri": f"grpc{'+tls' if tls == 'on' else ''}://{host}"} | {k: unquote(v) for k, v in login.items() if v}


DRIVERS: dict[str, Driver] = {
    "postgresql": Driver(
        "adbc-driver-postgresql",
        "adbc_driver_postgresql",
        "_driver_path",
        _postgres,
        {"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)},
        _postgres_literal,
    ),
    "sqlite": Driver("adbc-driver-sqlite", "adbc_driver_sqlite", "_driver_path", _sqlite, local=True),
    "duckdb": Driver("duckdb", "adbc_driver_duckdb", "driver_path", _duckdb, local=True),
    "flightsql": Driver("adbc-driver-flightsql", "adbc_driver_flightsql", "_driver_path", _flightsql),
    # Its URI has no scheme.
    "snowflake": Driver(
        "adbc-driver-snowflake", "adbc_driver_snowflake", "_driver_path", lambda parts: {"uri": parts.uri}
    ),
}
