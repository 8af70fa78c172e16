"""Maps DuckDB's errors to those of the product by the kind that their text begins with: an error in the middle of the
rows arrives as an error of Arrow, with that text alone. It goes to ``detail``, never to a message."""

from __future__ import annotations

import re

from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Unavailable
from fluxport.sources.errors import canceled

_KIND = re.compile(r"([A-Z][A-Za-z ]{1,30}) Error: ")
# (kind, text that must follow, code, sentence): the first entry that fits
_REJECTED: tuple[tuple[str, str, str, str], ...] = (
    ("Parser", "", "syntax_error", "DuckDB cannot parse the query"),
    ("Catalog", "Table with name", "unknown_table", "The query names a table that does not exist"),
    ("Catalog", "Function with name", "unknown_function", "The query uses a function that does not exist"),
    ("Catalog", "Schema with name", "unknown_schema", "The query names a schema that does not exist"),
    ("Binder", "Referenced (table|column)|does not have a column", "unknown_column",
     "The query names a column that does not exist"),
    ("Binder", "Ambiguous reference", "ambiguous_column",
     "The query names a column that several tables have; write table.column"),
    ("Binder", "must appear in the GROUP BY", "not_in_group_by",
     "A selected column is neither aggregated nor in GROUP BY"),
    ("Binder", "No function matches", "unknown_function",
     "The query uses a function or an operator that does not exist for these types"),
    ("Permission", "", "permission_denied", "The query names a file that this connection may not read"),
    ("IO", "Permission denied", "permission_denied", "The system does not let this process read a file of the query"),
    ("IO", "No files found", "unknown_table", "No file matches a name that the query reads from"),
    ("IO", "database does not exist", "unknown_database", "The DuckDB file does not exist"),
    ("IO", "not a valid DuckDB database file|version number", "source_damaged",
     "The file is not a database that this version of DuckDB reads"),
    ("IO", "", "source_damaged", "A file that the query reads is damaged or cannot be read"),
    ("(Invalid|TransactionContext|Serialization|INTERNAL|FATAL)", "", "source_damaged",
     "DuckDB failed on the query or on a file that it reads"),
    ("Invalid Input", "CSV Error|Malformed JSON|magic bytes|[Pp]arquet|the object registered", "source_damaged",
     "A file that the query reads is damaged, or has other columns than its first rows"),
    ("(Conversion|Out of Range|Invalid Input|Mismatch Type|Invalid Type)", "", "bad_value",
     "The query computes or converts a value that its type does not allow"),
    ("Binder", "No extension found", "unknown_table",
     "The query reads a file of a kind that DuckDB does not know; it reads Parquet, CSV, JSON, Arrow and Excel"),
    ("", "outside file", "source_damaged", "A file that the query reads is damaged or cannot be read"),
    ("", "required extension", "missing_extension",
     "The query needs an extension of DuckDB that is not installed, or that this connection may not load"),
)  # fmt: skip


def is_duckdbs(text: str) -> bool:
    """Whether an error with this text comes from DuckDB."""
    return _KIND.match(text) is not None


def translated(text: str) -> FluxportError:
    """The error for DuckDB's ``text``."""
    match = _KIND.match(text)
    kind, rest = (match[1], text[match.end() :]) if match else ("", text)
    if kind == "INTERRUPT":
        return canceled()
    if kind == "Out of Memory":
        return LimitExceeded(
            "The query needs more memory, or more room for its temporary files, than DuckDB may use; sort or group "
            "fewer rows, or select fewer columns.",
            code="query_too_costly",
            detail=text,
        )
    if kind == "IO" and "Could not set lock" in rest:
        return Unavailable("The DuckDB file is locked by a writer.", code="source_locked", detail=text)
    for known, follows, code, sentence in _REJECTED:
        if re.fullmatch(known, kind) and re.search(follows, rest):
            return QueryFailed(f"{sentence}.", code=code, detail=text)
    return QueryFailed("DuckDB rejected the query.", code="query_failed", detail=text)
