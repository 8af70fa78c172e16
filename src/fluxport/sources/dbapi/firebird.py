"""Firebird through firebirdsql, which speaks its protocol in Python: ``firebird://user:password@host:3050/database``.

The database is an alias, or with a second slash the path of a file on the server.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from fluxport.errors import FluxportError, QueryFailed, Refused, Unavailable
from fluxport.sources import timeouts
from fluxport.sources.dbapi.source import DbapiSource

if TYPE_CHECKING:
    import pyarrow as pa

PORT = 3050
# A read-only transaction with a snapshot: isc_tpb_version3, isc_tpb_read, isc_tpb_wait, isc_tpb_concurrency.
_SNAPSHOT = bytes([3, 8, 6, 2])
_CANCEL = struct.pack("!ii", 91, 3)  # op_cancel, fb_cancel_raise
_FLOATS = (480, 482, 530)
_BOOLEAN, _DATE, _TIME, _TIMESTAMP = 32764, 570, 560, 510
# The digits of the integers, of which NUMERIC and DECIMAL are multiples.
_DIGITS = {500: 5, 496: 10, 580: 19, 32752: 38}

# The server's numbers -> (code, sentence); the first that an error has.
_REJECTED: dict[int, tuple[str, str]] = {
    335544472: ("login_refused", "The database refused the login; check user and password"),
    335544634: ("syntax_error", "The database cannot parse the query"),
    335544851: ("syntax_error", "The database cannot parse the query"),
    335544580: ("unknown_table", "The query names a table that does not exist"),
    335544581: ("unknown_table", "The query names a table or a procedure that does not exist"),
    335544586: ("unknown_function", "The query uses a function that does not exist"),
    335544578: ("unknown_column", "The query names a column that does not exist"),
    335544352: ("permission_denied", "The database account lacks a privilege that the query needs"),
    335544361: ("read_only", "The statement would write; exports run in a read-only transaction"),
    335544321: ("bad_value", "The query computes or converts a value that its type does not allow"),
    335544334: ("bad_value", "The query computes or converts a value that its type does not allow"),
    335544344: ("unknown_database", "The server cannot open the database"),
    335544375: ("unknown_database", "The server does not know the database"),
}
_TRANSIENT: dict[int, tuple[str, str]] = {
    335544794: ("source_lost", "The query was canceled on the database"),
    335544336: ("source_locked", "The query was aborted to resolve a conflict"),
    335544345: ("source_locked", "The query waited for a lock"),
    335544741: ("source_lost", "The connection was ended by the database"),
    335544856: ("source_lost", "The connection was ended by the database"),
}


class Firebird:
    """See :class:`fluxport.sources.dbapi.source.Driver`."""

    def __init__(self, url: str) -> None:
        try:
            import firebirdsql
        except ImportError:
            raise Refused(
                "Firebird needs the package firebirdsql: pip install 'fluxport[firebird]'.", code="missing_extra"
            ) from None
        self._module = firebirdsql
        self._address, self.waits_s = _parsed(url)
        self._connection: Any = None

    def connect(self, timeout_s: float) -> Any:
        from firebirdsql.fbcore import Cursor, Transaction

        connection = self._connection = self._module.connect(**self._address, charset="UTF8")
        transaction = Transaction(connection)
        transaction.transaction_parameter_block = (_SNAPSHOT,) * 5  # one per isolation level
        return Cursor(transaction)

    def declared(self, described: Sequence[Any]) -> pa.DataType | None:
        import pyarrow as pa

        kind, scale = described[1], -described[5]
        if kind in _DIGITS:
            if not scale:
                return pa.int64() if _DIGITS[kind] < 20 else None
            return pa.decimal128(max(_DIGITS[kind], scale), scale)
        if kind in _FLOATS:
            return pa.float64()
        plain = {_BOOLEAN: pa.bool_(), _DATE: pa.date32(), _TIME: pa.duration("us"), _TIMESTAMP: pa.timestamp("us")}
        return plain.get(kind)

    def has_more(self) -> bool:
        return False  # a statement has one result

    def cancel(self) -> None:
        with suppress(OSError):
            self._connection.sock.send(_CANCEL)

    def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # a connection that was lost
                self._connection.close()

    def meaning(self, error: Exception, *, connected: bool) -> FluxportError | None:
        detail = str(error)
        if isinstance(error, OSError) and not connected:
            return _unreachable(detail)
        if isinstance(error, OSError):
            return Unavailable("The connection to the database was lost; try again.", code="source_lost", detail=detail)
        if not isinstance(error, self._module.Error):
            return None
        numbers: set[int] = getattr(error, "gds_codes", set())
        for number, (code, sentence) in _TRANSIENT.items():
            if number in numbers:
                return Unavailable(f"{sentence} (error {number}).", code=code, detail=detail)
        for number, (code, sentence) in _REJECTED.items():
            if number in numbers:
                return QueryFailed(f"{sentence} (error {number}).", code=code, detail=detail)
        if not numbers:
            return (
                _unreachable(detail)
                if not connected
                else Unavailable(
                    "The connection to the database was lost; try again.", code="source_lost", detail=detail
                )
            )
        return QueryFailed("The database rejected the query.", code="query_failed", detail=detail)


class FirebirdSource(DbapiSource):
    """Rows of Firebird."""

    driver = Firebird


def _parsed(url: str) -> tuple[dict[str, Any], dict[str, float]]:
    """The arguments of ``connect``, and the timeouts of the URL."""
    try:
        parts = urlsplit(url)
        address = {
            "host": parts.hostname,
            "port": parts.port or PORT,
            "user": parts.username,
            "password": parts.password,
        }
    except ValueError:
        raise _invalid() from None
    database = unquote(parts.path[1:])
    if not (parts.hostname and database and parts.username) or "\0" in database or parts.fragment:
        raise _invalid()
    waits_s: dict[str, float] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        field, seconds = timeouts.field_of(name), timeouts.timeout(value)
        if field is None or seconds is None:
            raise Refused(f"The Firebird data source is invalid: {timeouts.refused(name)}.", code="bad_dsn")
        waits_s[field] = seconds
    texts = {key: unquote(value) if isinstance(value, str) else value for key, value in address.items()}
    return {**texts, "database": database}, waits_s


def _invalid() -> Refused:
    return Refused(
        "The Firebird data source is invalid: write firebird://user:password@host:3050/alias, or two slashes before "
        "the path of a file (percent-encode '/', '@', ':', '#', '?' of a password).",
        code="bad_dsn",
    )


def _unreachable(detail: str) -> Unavailable:
    return Unavailable(
        "The database cannot be reached; check host, port and network.", code="source_unreachable", detail=detail
    )
