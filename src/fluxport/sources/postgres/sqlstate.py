"""Maps the server's SQLSTATEs to errors of the product. The server's text goes to ``detail``, never to a message."""

from __future__ import annotations

from fluxport.errors import FluxportError, QueryFailed, Unavailable

# SQLSTATE, or its class of two characters -> (code, sentence) of permanent errors
_REJECTED: dict[str, tuple[str, str]] = {
    "28": ("login_refused", "The database refused the login; check user and password"),
    "3D000": ("unknown_database", "There is no such database"),
    "3F000": ("unknown_schema", "The query names a schema that does not exist"),
    "42601": ("syntax_error", "The database cannot parse the query"),
    "42P01": ("unknown_table", "The query names a table that does not exist"),
    "42703": ("unknown_column", "The query names a column that does not exist"),
    "42702": ("ambiguous_column", "The query names a column that several tables have; write table.column"),
    "42883": ("unknown_function", "The query uses a function or an operator that does not exist for these types"),
    "42803": ("not_in_group_by", "A selected column is neither aggregated nor in GROUP BY"),
    "42P18": ("bad_params", "The type of a parameter is not clear; write CAST(:name AS type)"),
    "42501": ("permission_denied", "The database account lacks a privilege that the query needs"),
    "25006": ("read_only", "The statement would write; exports run in a read-only transaction"),
    "22": ("bad_value", "The query computes or converts a value that its type does not allow"),
}
# SQLSTATE or class -> (code, sentence) of errors worth a retry
_TRANSIENT: dict[str, tuple[str, str]] = {
    "08": ("source_lost", "The database lost the connection"),
    "25P03": ("source_lost", "The database closed the connection as idle"),
    "40": ("source_locked", "The query was aborted to resolve a conflict"),
    "53": ("source_busy", "The database lacks connections, memory or disk"),
    "55P03": ("source_locked", "The query waited too long for a lock"),
    "57014": ("source_lost", "The query was killed on the database"),
    "57P01": ("source_lost", "The connection was killed on the database"),
    "57P02": ("source_lost", "The database crashed"),
    "57P03": ("source_busy", "The database is starting or shutting down"),
    "57P05": ("source_lost", "The database closed the connection as idle"),
    "58": ("source_lost", "The database cannot read its files"),
}


def translated(state: str, message: str) -> FluxportError:
    """The error to raise; an unknown SQLSTATE is the statement's fault."""
    detail = f"{message} (state {state})"
    for key in (state, state[:2]):
        if key in _TRANSIENT:
            code, sentence = _TRANSIENT[key]
            return Unavailable(f"{sentence} (state {state}).", code=code, detail=detail)
        if key in _REJECTED:
            code, sentence = _REJECTED[key]
            return QueryFailed(f"{sentence} (state {state}).", code=code, detail=detail)
    return QueryFailed(f"The database rejected the query (state {state}).", code="query_failed", detail=detail)
