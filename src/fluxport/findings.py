"""Changes that had to be made to the data, counted per column: the job's ``warnings``, the notes sheet, ``--strict``.

A step, a source or an encoder that cannot represent a value exactly reports it here; nothing is changed silently.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

SENTENCES: dict[str, str] = {
    "ambiguous_time": "times of an hour that the clocks showed twice were written without their distance from UTC",
    "cell_cut": "text longer than the 32,767 characters a cell can hold was cut",
    "characters_replaced": "characters that the encoding cannot hold were replaced",
    "column_renamed": "a column was renamed because its name occurred twice or was empty",
    "database_warning": "the database added a warning to its result",
    "date_as_text": "dates outside the range that the file format knows were written as text",
    "formula_defused": "text that a spreadsheet would run as a formula was defused",
    "division_by_zero": "divisions by zero were made empty by the database",
    "fraction_left_out": "fractions of a second, which the format of dates and times does not show, were left out",
    "impossible_date_null": "dates that no calendar has (such as 31 February) were written as empty",
    "infinity_null": "an infinite date or time was written as empty",
    "invalid_text_replaced": "bytes that are not valid in the column's character set were replaced",
    "limit_reached": "rows beyond the limit asked for were left out",
    "line_ends_changed": "line ends inside cells were changed to LF",
    "lone_null_quoted": 'empty values of a single-column file were written as "" so that no line is blank',
    "mixed_types_as_text": "values of several types stand in one column, which was written as text",
    "not_a_number": "NaN or infinity was written as empty",
    "number_as_text": "numbers with more digits than a spreadsheet can hold were written as text",
    "precision_reduced": "fractions of a second finer than the file format knows were left out",
    "result_cut": "the database cut values, made them empty or left rows out at a limit of its own",
    "rows_on_new_sheet": "rows beyond one sheet's limit were written to further sheets",
    "sheet_renamed": "the sheet's name was mended",
    "type_as_text": "values of a type that the file format or its readers do not have were written as text",
    "value_not_converted": "the database cut, replaced or emptied values that do not fit what the query makes of them",
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

    def __iter__(self) -> Iterator[Finding]:
        with self._lock:
            items = list(self._counts.items())
        findings = (Finding(code, column, count, origin) for (code, column, origin), count in items)
        return iter(sorted(findings, key=lambda f: (f.code, f.column or "", f.origin)))

    def __bool__(self) -> bool:
        return bool(self._counts)
