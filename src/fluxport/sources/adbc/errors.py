"""Maps the status and the SQLSTATE of a driver's error to errors of the product. Its text goes to ``detail``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxport.errors import FluxportError, QueryFailed, Refused, Unavailable
from fluxport.sources.postgres.sqlstate import translated as by_state

if TYPE_CHECKING:
    from adbc_driver_manager import Error

# Names of AdbcStatusCode.
_REJECTED = {
    "UNAUTHENTICATED": ("login_refused", "The database refused the login; check user and password"),
    "UNAUTHORIZED": ("permission_denied", "The database account lacks a privilege that the query needs"),
}
_TRANSIENT = {
    "IO": ("source_lost", "The connection to the database was lost; try again"),
    "CANCELLED": ("source_lost", "The query was canceled on the database"),
    "TIMEOUT": ("source_timeout", "The database ended the query after its own time limit"),
}


def unknown_driver(error: Error) -> Refused:
    return Refused(
        "There is no such ADBC driver on this machine: install the package or the library of the driver, or choose "
        "another.",
        code="missing_extra",
        detail=str(error),
    )


def refused_connection(error: Error) -> FluxportError:
    """The error of a connection that was not made."""
    detail, status = str(error), error.status_code.name
    if error.sqlstate:
        return by_state(error.sqlstate, detail)
    if status in _REJECTED or "FATAL" in detail:  # libpq tells an answer of the server by no more than this word
        return QueryFailed(
            "The database refused the login; check user, password, database and TLS.",
            code="login_refused",
            detail=detail,
        )
    if status in ("INVALID_ARGUMENT", "NOT_IMPLEMENTED"):
        return Refused(
            "The driver does not accept the data source; check the URL and its options.", code="bad_dsn", detail=detail
        )
    if status in ("IO", "TIMEOUT", "UNKNOWN"):
        return _unreachable(detail)
    return QueryFailed(
        "The database cannot be opened; it must exist and be readable.", code="unknown_database", detail=detail
    )


def _unreachable(detail: str) -> Unavailable:
    return Unavailable(
        "The database cannot be reached; check host, port, TLS and network.", code="source_unreachable", detail=detail
    )


def translated(status: str, state: str | None, detail: str, *, answered: bool) -> FluxportError:
    """The error of a statement. Some drivers connect only to run it: without ``answered`` it may not have arrived."""
    if state:
        return by_state(state, detail)
    if status == "IO" and not answered:
        return _unreachable(detail)
    if status in _TRANSIENT:
        code, sentence = _TRANSIENT[status]
        return Unavailable(f"{sentence}.", code=code, detail=detail)
    return failed(status, detail)


def failed(status: str, detail: str) -> QueryFailed:
    """The error of a statement that is not the fault of a connection."""
    rejected = "query_failed", "The database rejected the query, or failed to run it"
    code, sentence = _REJECTED.get(status, rejected)
    return QueryFailed(f"{sentence}.", code=code, detail=detail)
