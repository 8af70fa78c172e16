"""Errors of the service's own database, classified in this one place.

- Temporary: ``Unavailable`` with the code ``database_away``. Clients retry; writes that must not be lost are retried
  here (:func:`fluxport.tables.patiently`).
- Permanent until an operator acts: ``Broken`` with the code ``database_unusable`` and what to do.
- Anything else (a constraint, a bug) is not an error of the database and propagates unchanged.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fluxport.errors import Broken, FluxportError, Unavailable
from fluxport.pgrefusal import refusal_state

AWAY = "database_away"
UNUSABLE = "database_unusable"
REFUSAL_WAIT_S = 2.0

_AGAIN = "; retry in a moment."
BUSY = "The service's own database is busy" + _AGAIN
_CHECK = "; start it, or correct the setting 'database'."
# SQLSTATE or its class (two characters), or SQLite's primary error code -> the message of a temporary error.
_TRANSIENT: dict[str | int, str] = {
    "08": "The service's own database lost the connection" + _AGAIN,
    "25006": "The service's own database is read-only now" + _AGAIN,
    "25P03": "The service's own database closed an idle connection" + _AGAIN,
    "25P04": "The service's own database ended a transaction that took too long" + _AGAIN,
    "40001": "The service's own database ended a transaction that conflicted with another" + _AGAIN,
    "40P01": "The service's own database ended a transaction in a deadlock" + _AGAIN,
    "53": "The service's own database lacks connections, memory or disk" + _AGAIN,
    "53100": "The disk of the service's own database is full; free some space.",
    "55": BUSY,
    "57": "The service's own database is starting or shutting down, or ended the statement" + _AGAIN,
    "58": "The service's own database cannot use its files now" + _AGAIN,
    "72000": "The service's own database discarded an old snapshot" + _AGAIN,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_PROTOCOL: BUSY,
    sqlite3.SQLITE_NOMEM: "The service's own database lacks memory" + _AGAIN,
    sqlite3.SQLITE_READONLY: "The service's own database is read-only now; check the permissions of its file.",
    sqlite3.SQLITE_IOERR: "The file of the service's own database cannot be read or written now; check its disk.",
    sqlite3.SQLITE_FULL: "The disk of the service's own database is full; free some space.",
    sqlite3.SQLITE_CANTOPEN: "The file of the service's own database cannot be opened now; check its permissions.",
}
# The same -> the message of a permanent error.
_STAYING: dict[str | int, str] = {
    "28": "The database of the setting 'database' refused the login; check its user and password.",
    "3D000": "The database that the setting 'database' names does not exist; create it, or name another.",
    "3F000": "The database of the setting 'database' has no schema to create tables in; create one.",
    "42501": "The account of the setting 'database' may not create or change tables there; grant it USAGE and CREATE "
    "on the schema, and CREATE on the database.",
    sqlite3.SQLITE_NOTADB: "The file that the setting 'database' names is not an SQLite database; name another.",
    sqlite3.SQLITE_CORRUPT: "The file that the setting 'database' names is damaged; restore it from a backup.",
}
_NO_FOLDER = "The folder of the file that the setting 'database' names does not exist; create it, or name another file."
_FOLDER = "The setting 'database' names a folder; name a file."
_UNREACHABLE = "The service's own database cannot be reached" + _CHECK
_LOGIN = (
    "The database of the setting 'database' refused the login; check its user, password and name, and whether it "
    "requires TLS."
)
# After these conflicts the connection is still good.
_CONFLICTS = frozenset({"40001", "40P01", "55P03", sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@contextlib.contextmanager
def translated(engine: sa.Engine | None = None) -> Iterator[None]:
    """Translate errors of the database; ``engine`` is the one that was used, if known."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        ours = meaning(error, None if engine is None else engine.url)
        if ours is None:
            raise
        raise ours from error


def meaning(error: sa.exc.SQLAlchemyError, url: sa.URL | None = None) -> FluxportError | None:
    """The error to raise instead; None if ``error`` is not one of the database."""
    if isinstance(error, sa.exc.TimeoutError):
        return Unavailable("The service's own database has no free connection" + _AGAIN, code=AWAY)
    if not isinstance(error, sa.exc.DBAPIError) or error.orig is None:
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, url)
    state = getattr(cause, "sqlstate", None)
    if state:
        return _of_state(state, str(cause))
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return None
    return _of_connecting(cause)


def _of_state(state: str, message: str) -> FluxportError | None:
    return _listed((state, state[:2]), f"{' '.join(message.split())} (state {state})")


def _listed(keys: Sequence[str | int], detail: str) -> FluxportError | None:
    """The error of the first of the keys that is in the tables."""
    for key in keys:
        if key in _TRANSIENT:
            return Unavailable(_TRANSIENT[key], code=AWAY, detail=detail)
        if key in _STAYING:
            return Broken(_STAYING[key], code=UNUSABLE, detail=detail)
    return None


def _of_connecting(cause: Any) -> FluxportError:
    """The error of a lost or failed connection: libpq reports no SQLSTATE, so the server is queried for it."""
    detail = " ".join(str(cause).split())
    tried = getattr(cause, "pgconn", None)
    try:
        if tried is not None and tried.host and not tried.backend_pid:
            host, port = (tried.hostaddr or tried.host).decode(), int(tried.port or b"5432")
            state = refusal_state(host, port, tried.user, tried.db, REFUSAL_WAIT_S)
            if state is None and (tried.needs_password or tried.used_password):
                return Broken(_LOGIN, code=UNUSABLE, detail=detail)
            if state is not None and (error := _of_state(state, detail)) is not None:
                return error
    except Exception:  # noqa: BLE001  a server that cannot be queried is unreachable
        return Unavailable(_UNREACHABLE, code=AWAY, detail=detail)
    return Unavailable(_UNREACHABLE, code=AWAY, detail=detail)


def _of_sqlite(cause: sqlite3.Error, url: sa.URL | None) -> FluxportError | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    primary, detail = code & 0xFF, f"{cause} (error {code})"
    if primary == sqlite3.SQLITE_CANTOPEN and url is not None and url.database:
        path = Path(url.database).absolute()
        if not path.parent.is_dir():
            return Broken(_NO_FOLDER, code=UNUSABLE, detail=f"there is no folder {str(path.parent)!r}")
        if path.is_dir():
            return Broken(_FOLDER, code=UNUSABLE, detail=f"{str(path)!r} is a folder")
    return _listed((primary,), detail)


def discard_connection(context: Any) -> None:
    """An engine's ``handle_error`` hook: discard a connection after a temporary error, as it may, for example, lead to
    the wrong server after a failover."""
    cause = context.original_exception
    state = getattr(cause, "sqlstate", None)
    code = getattr(cause, "sqlite_errorcode", None)
    kind = state if state else code & 0xFF if code is not None else None
    if kind is None or kind in _CONFLICTS:
        return
    if kind in _TRANSIENT or (isinstance(kind, str) and kind[:2] in _TRANSIENT):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
