"""Changes that had to be made to the data, counted per column: the job's ``warnings``, the notes sheet, ``--strict``.

A step, a source or an encoder that cannot represent a value exactly reports it here; nothing is changed silently.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SENTENCES: dict[str, str] = {
    "ambiguous_time": "times in the hour that repeats when clocks are set back were written without their UTC offset",
    "cell_cut": "text longer than the 32,767 characters of a cell was truncated",
    "characters_replaced": "characters that the encoding cannot hold were replaced",
    "column_renamed": "a column was renamed because its name occurred twice or was empty",
    "database_warning": "the database reported a warning about the result",
    "date_as_text": "dates outside the file format's range were written as text",
    "date_not_converted": "the database nulled or changed dates or times of an expression that do not exist or are "
    "written in another form; convert or filter them in the query",
    "far_time_null": "times after the year 294246, which 64 bits of microseconds cannot hold, were written as empty",
    "error_cell_null": "cells of an Excel file with an error, such as #N/A, were read as empty",
    "formula_defused": "text that a spreadsheet would run as a formula was escaped",
    "division_by_zero": "the database returned NULL for divisions by zero; filter or replace them in the query",
    "fraction_left_out": "fractions of a second were omitted because the date and time format does not show them",
    "impossible_date_null": "dates that do not exist (such as 31 February) were written as empty",
    "infinity_null": "an infinite date or time was written as empty",
    "invalid_text_replaced": "bytes that are not valid in the column's character set were replaced",
    "limit_reached": "rows beyond the requested limit were omitted",
    "line_ends_changed": "line breaks inside cells were changed to LF",
    "lone_null_quoted": 'empty values of a single-column file were written as "" so that no line is blank',
    "mixed_types_as_text": "a column with values of several types was written as text",
    "not_a_number": "NaN or infinity was written as empty",
    "number_as_text": "numbers with more digits than a spreadsheet can hold were written as text",
    "precision_reduced": "fractions of a second finer than the file format's precision were dropped",
    "result_cut": "the database truncated values, returned NULL for them or omitted rows because of one of its limits "
    "(of GROUP_CONCAT group_concat_max_len); raise it for the account or the server",
    "rows_on_new_sheet": "rows beyond one sheet's limit were written to further sheets",
    "sheet_renamed": "the sheet's name was corrected",
    "type_as_text": "values of a type that the file format or its readers do not support were written as text",
    "value_not_converted": "the database truncated, replaced or nulled values that do not fit the type of a "
    "conversion; convert or filter them in the query",
    "zero_date_null": "zero or partly zero dates were written as empty",
}


@dataclass(frozen=True, order=True)
class Finding:
    """One kind of change in one column (``column`` is None for the whole file) and how many values it affected.

    ``origin`` identifies a report of the database itself: ``warning 1260``, ``SQLSTATE 01000``.
    """

    code: str
    column: str | None
    count: int
    origin: str = ""

    @property
    def sentence(self) -> str:
        where = f"column {self.column!r}: " if self.column is not None else ""
        origin = f", {self.origin}" if self.origin else ""
        return f"{where}{SENTENCES[self.code]}{origin} ({self.count:,})"

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "column": self.column, "count": self.count, "message": self.sentence}


class Findings:
    """A counter that several threads of one export may share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str | None, str], int] = {}

    def add(self, code: str, column: str | None = None, count: int = 1, *, origin: str = "") -> None:
        """Add ``count`` values (0 does nothing); ``code`` is a key of SENTENCES."""
        if code not in SENTENCES:
            raise KeyError(code)
        if count:
            with self._lock:
                key = code, column, origin
                self._counts[key] = self._counts.get(key, 0) + count

    def merge(self, others: Findings) -> None:
        """Add all of ``others``."""
        for one in others:
            self.add(one.code, one.column, one.count, origin=one.origin)

    def __iter__(self) -> Iterator[Finding]:
        with self._lock:
            items = list(self._counts.items())
        findings = (Finding(code, column, count, origin) for (code, column, origin), count in items)
        return iter(sorted(findings, key=lambda f: (f.code, f.column or "", f.origin)))

    def __bool__(self) -> bool:
        return bool(self._counts)
