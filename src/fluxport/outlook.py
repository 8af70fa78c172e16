"""The outlook on an export: its columns, and what can be foreseen, without a row of it.

The source connects and describes the columns; a file without rows is encoded into memory, which refuses what the format
cannot hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fluxport.findings import SENTENCES, Findings
from fluxport.pipeline import type_name
from fluxport.stages import Stored

if TYPE_CHECKING:
    from fluxport.plan import Checked


class OutlookColumn(NamedTuple):
    """A column of the file, the database's name of its type, and what its values become in the file."""

    name: str
    type: str
    stored: str


@dataclass(frozen=True)
class Possible:
    """A finding that the export may have; ``columns`` are empty if it concerns the whole file."""

    code: str
    columns: tuple[str, ...]

    @property
    def sentence(self) -> str:
        where = f"columns {', '.join(self.columns)}: " if self.columns else ""
        return f"{where}{SENTENCES[self.code]}"


@dataclass(frozen=True)
class Outlook:
    """``statement`` is what would run in the database, None for other sources. ``rows`` were counted if ``counted``,
    else the database estimated them; None if that is not known."""

    statement: str | None
    columns: tuple[OutlookColumn, ...]
    rows: int | None
    counted: bool
    possible: tuple[Possible, ...]


def outlook(checked: Checked, *, count: bool = False) -> Outlook:
    """Connect, and describe the export; raises the errors of its start. ``count``: count its rows exactly."""
    rows = checked.rows
    try:
        schema = rows.source.schema
    finally:
        rows.source.close()
    findings = Findings()
    schema, encoder = checked.form.try_out(schema, findings)
    stored = encoder.stored(schema) if hasattr(encoder, "stored") else [Stored("")] * len(schema)
    columns = tuple(OutlookColumn(f.name, type_name(f), s.kind) for f, s in zip(schema, stored, strict=True))
    total = rows.rows_to_come() if count else None
    counted = total is not None
    total = total if counted else rows.estimate()
    possible = {finding.code: [finding.column or ""] for finding in findings}
    for field, what in zip(schema, stored, strict=True):
        for code in what.findings:
            possible.setdefault(code, []).append(field.name)
    sheet_rows = getattr(encoder, "sheet_rows", None)
    if sheet_rows is not None and total is not None and total > sheet_rows and checked.form.split is None:
        possible["rows_on_new_sheet"] = []
    told = tuple(Possible(code, tuple(filter(None, names))) for code, names in sorted(possible.items()))
    return Outlook(rows.statement, columns, total, counted, told)
