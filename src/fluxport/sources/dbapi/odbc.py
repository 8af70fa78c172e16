"""ODBC through pyodbc: ``odbc:DSN=...;...`` or ``odbc:Driver={...};Server=...;...``.

Drivers differ in what they do by default. What must not be left to them is in QUIRKS, by the name of the driver's
library, which is known once it is connected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxport.errors import FluxportError, QueryFailed, Refused, Unavailable
from fluxport.sources import timeouts
from fluxport.sources.dbapi.source import DbapiSource
from fluxport.sources.postgres.sqlstate import translated as by_state

if TYPE_CHECKING:
    import pyarrow as pa

_PART = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|\Z)")
_TIME = re.compile(rb"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?")


class Quirk(NamedTuple):
    """``keywords`` are added to the connection string unless it has them. ``undeclared`` is the precision that stands
    for a decimal without one. ``times``: times come as text, which has what Python's do not."""

    keywords: Mapping[str, str] = {}
    undeclared: int = 0
    times: bool = False


QUIRKS: dict[str, Quirk] = {
    # Without a declared cursor the whole result is read into memory.
    "psqlodbc": Quirk({"UseDeclareFetch": "1", "Fetch": "1000", "BoolsAsChar": "0"}, undeclared=28),
    "maodbc": Quirk(times=True),
}
# SQLSTATEs of ODBC that PostgreSQL does not have, in these families.
_REJECTED = {
    "28000": ("login_refused", "The database refused the login; check user and password"),
    "42S02": ("unknown_table", "The query names a table that does not exist"),
    "42S22": ("unknown_column", "The query names a column that does not exist"),
    "42000": ("syntax_error", "The database cannot parse the query, or the account lacks a privilege that it needs"),
    "07002": ("bad_params", "The query has another number of parameters than values"),
}
_TRANSIENT = {
    "08S01": ("source_lost", "The connection to the database was lost; try again"),
    "HY008": ("source_lost", "The query was canceled on the database"),
    "HY018": ("source_lost", "The query was canceled on the database"),
    "HYT00": ("source_timeout", "The database ended the query after its own time limit"),
}


class Odbc:
    """See :class:`fluxport.sources.dbapi.source.Driver`."""

    def __init__(self, url: str) -> None:
        try:
            import pyodbc
        except ImportError as error:
            if "libodbc" in str(error):
                raise Refused(
                    "ODBC needs the driver manager unixODBC: install the package unixodbc.", code="missing_extra"
                ) from None
            raise Refused(
                "ODBC needs the package pyodbc: pip install 'fluxport[odbc]'.", code="missing_extra"
            ) from None
        self._pyodbc = pyodbc
        self._parts, self.waits_s = _parsed(url.partition(":")[2])
        self._quirk = Quirk()
        self._connection: Any = None
        self._cursor: Any = None

    def connect(self, timeout_s: float) -> Any:
        self._pyodbc.native_uuid = True  # else texts in upper case
        connection = self._connected(timeout_s)
        name = str(connection.getinfo(self._pyodbc.SQL_DRIVER_NAME)).lower()
        self._quirk = next((quirk for part, quirk in QUIRKS.items() if part in name), Quirk())
        given = {key.lower() for key in self._parts}
        missing = {key: value for key, value in self._quirk.keywords.items() if key.lower() not in given}
        if missing:
            connection.close()
            self._parts = {**self._parts, **missing}
            connection = self._connected(timeout_s)
        if self._quirk.times:
            connection.add_output_converter(self._pyodbc.SQL_TYPE_TIME, _time)
        self._cursor = connection.cursor()
        return self._cursor

    def declared(self, described: Sequence[Any]) -> pa.DataType | None:
        import pyarrow as pa

        kind, precision, scale = described[1].__name__, described[4], described[5]
        if kind == "Decimal":
            known = precision != self._quirk.undeclared and 0 <= scale <= precision <= 38
            return pa.decimal128(precision, scale) if known else None
        plain = {
            "float": pa.float64(),
            "bool": pa.bool_(),
            "bytearray": pa.binary(),
            "date": pa.date32(),
            "datetime": pa.timestamp("us"),
            "time": pa.duration("us"),
        }
        return plain.get(kind)

    def has_more(self) -> bool:
        return bool(self._cursor.nextset() and self._cursor.description)

    def cancel(self) -> None:
        with suppress(self._pyodbc.Error):
            self._cursor.cancel()

    def close(self) -> None:
        if self._connection is not None:
            with suppress(self._pyodbc.Error):
                self._connection.close()  # which ends the transaction without a commit

    def meaning(self, error: Exception, *, connected: bool) -> FluxportError | None:
        if not isinstance(error, self._pyodbc.Error):
            return None
        state, detail = str(error.args[0]), str(error)
        if not connected:
            return _refused_connection(state, detail)
        if state in _TRANSIENT:
            code, sentence = _TRANSIENT[state]
            return Unavailable(f"{sentence}.", code=code, detail=detail)
        if state in _REJECTED:
            code, sentence = _REJECTED[state]
            return QueryFailed(f"{sentence}.", code=code, detail=detail)
        return by_state(state, detail)

    def _connected(self, timeout_s: float) -> Any:
        text = ";".join(f"{key}={value}" for key, value in self._parts.items())
        self._connection = self._pyodbc.connect(text, timeout=max(1, round(timeout_s)), autocommit=False, readonly=True)
        return self._connection


class OdbcSource(DbapiSource):
    """Rows of an ODBC driver."""

    driver = Odbc


def _parsed(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """The keywords of a connection string, and our own timeouts among them."""
    parts: dict[str, str] = {}
    waits_s: dict[str, float] = {}
    at = 0
    while at < len(text.rstrip("; ")):
        match = _PART.match(text, at)
        if match is None:
            raise Refused(
                "The ODBC data source is invalid: write odbc:DSN=name;UID=user;PWD={password}.", code="bad_dsn"
            )
        at = match.end()
        field = timeouts.field_of(match[1])
        if field is None:
            parts[match[1]] = match[2]
        elif (seconds := timeouts.timeout(match[2])) is not None:
            waits_s[field] = seconds
        else:
            raise Refused(f"The ODBC data source is invalid: {timeouts.refused(match[1])}.", code="bad_dsn")
    if not {"dsn", "driver", "filedsn"} & {key.lower() for key in parts}:
        raise Refused("The ODBC data source is invalid: it names neither a DSN nor a driver.", code="bad_dsn")
    return parts, waits_s


def _refused_connection(state: str, detail: str) -> FluxportError:
    if state == "IM002":
        return Refused(
            "There is no ODBC data source or driver of this name on this machine; see odbcinst -q -d.",
            code="bad_dsn",
            detail=detail,
        )
    if state == "01000" or "file not found" in detail:
        return Refused(
            "The library of the ODBC driver cannot be loaded; install the driver.", code="missing_extra", detail=detail
        )
    if state == "28000" or "FATAL" in detail:  # PostgreSQL's driver tells an answer of the server by no more than this
        return QueryFailed(
            "The database refused the login; check user, password, database and TLS.",
            code="login_refused",
            detail=detail,
        )
    return Unavailable(
        "The database cannot be reached; check host, port, TLS and network.", code="source_unreachable", detail=detail
    )


def _time(text: bytes | None) -> timedelta | None:
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    sign, hours, minutes, seconds, fraction = match.groups(default=b"")
    span = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=int(fraction.ljust(6, b"0"))
    )
    return -span if sign else span
