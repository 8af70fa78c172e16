"""Maps SQLite's result codes to errors of the product. SQLite's text goes to ``detail``, never to a message."""

from __future__ import annotations

import re
import sqlite3

from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Refused, Unavailable
from fluxport.sources.errors import canceled, several_statements

_REJECTED: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_PERM: ("permission_denied", "The SQLite file may not be read"),
    sqlite3.SQLITE_READONLY: ("read_only", "The statement would write; exports only read"),
    sqlite3.SQLITE_AUTH: ("read_only", "The statement does more than read; exports take a SELECT"),
    sqlite3.SQLITE_CANTOPEN: (
        "unknown_database",
        "The SQLite file cannot be opened; it must exist and be readable, and in WAL mode its folder writable, or "
        "immutable=1 in the URL",
    ),
    sqlite3.SQLITE_NOTADB: ("source_damaged", "The file is not an SQLite database, or it is encrypted"),
    sqlite3.SQLITE_CORRUPT: ("source_damaged", "The SQLite file is damaged; check it with PRAGMA integrity_check"),
}
# SQLite has one code for all that it cannot prepare; its texts, in English only, tell what was wrong.
_UNPREPARED: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), code, sentence)
    for pattern, code, sentence in (
        ("no such table", "unknown_table", "The query names a table that does not exist"),
        ("unknown database", "unknown_schema", "The query names a schema that does not exist"),
        ("no such column", "unknown_column", "The query names a column that does not exist"),
        ("ambiguous column name", "ambiguous_column", "The query names a column that several tables have"),
        ("no such function", "unknown_function", "The query calls a function that does not exist"),
        (
            "wrong number of arguments to function",
            "unknown_function",
            "The query calls a function with too few values, or with too many",
        ),
        (
            "near .*: syntax error|incomplete input|unrecognized token",
            "syntax_error",
            "The database cannot parse the query",
        ),
    )
)
_UNFINISHED = frozenset({sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY})
_TRANSIENT: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("source_locked", "The SQLite file is locked by a writer"),
    sqlite3.SQLITE_LOCKED: ("source_locked", "A table of the SQLite file is locked"),
    sqlite3.SQLITE_NOMEM: ("source_busy", "SQLite is out of memory"),
    sqlite3.SQLITE_FULL: ("source_busy", "The disk is full"),
    sqlite3.SQLITE_IOERR: ("source_lost", "Reading the SQLite file failed"),
}


def translated(error: Exception) -> FluxportError:
    code = getattr(error, "sqlite_errorcode", None)
    detail = str(error)
    if isinstance(error, MemoryError):
        return LimitExceeded(
            "The query needs more memory than SQLite may use for all running queries; shorten values, select fewer "
            "columns, or try again.",
            code="query_too_costly",
        )
    if code is None:
        # Errors of the driver itself, before SQLite is called: two statements, wrong number of values.
        if "one statement" in detail:
            return several_statements(detail)
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.Warning):
            return Refused(
                "The query must have one value for each parameter.",
                code="bad_params",
                detail=detail,
            )
        return QueryFailed("The database rejected the query.", code="query_failed", detail=detail)
    return _of_code(code, f"{detail} (error {code})")


# SQLite's texts of the errors that may end a statement among its rows, whose code ADBC's driver does not pass on.
_TEXTS = {
    "database disk image is malformed": sqlite3.SQLITE_CORRUPT,
    "disk I/O error": sqlite3.SQLITE_IOERR,
    "database is locked": sqlite3.SQLITE_BUSY,
    "out of memory": sqlite3.SQLITE_NOMEM,
    "string or blob too big": sqlite3.SQLITE_TOOBIG,
    "interrupted": sqlite3.SQLITE_INTERRUPT,
}


def of_driver(text: str) -> FluxportError:
    """The error that ADBC's driver raised with ``text`` among the rows of a statement."""
    return _of_code(next((code for part, code in _TEXTS.items() if part in text), sqlite3.SQLITE_ERROR), text)


def _of_code(code: int, detail: str) -> FluxportError:
    primary = code & 0xFF  # without the extension in the higher bits
    if primary == sqlite3.SQLITE_INTERRUPT:
        return canceled()
    if primary == sqlite3.SQLITE_TOOBIG:
        return LimitExceeded(
            "The query builds a value, or sorts a row, far larger than the cell limit; shorten it, or raise "
            "cell_bytes_max.",
            code="cell_too_large",
            detail=detail,
        )
    if primary in _TRANSIENT:
        name, sentence = _TRANSIENT[primary]
        return Unavailable(f"{sentence} (error {code}).", code=name, detail=detail)
    if code in _UNFINISHED:
        return QueryFailed(
            f"A program that was writing the SQLite file has crashed; open it once with one that may write, such as "
            f"sqlite3 (error {code}).",
            code="source_damaged",
            detail=detail,
        )
    unprepared = (entry[1:] for entry in _UNPREPARED if primary == sqlite3.SQLITE_ERROR and entry[0].match(detail))
    name, sentence = _REJECTED.get(primary) or next(unprepared, ("query_failed", "The database rejected the query"))
    return QueryFailed(f"{sentence} (error {code}).", code=name, detail=detail)
