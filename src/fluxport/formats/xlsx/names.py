"""Sheet names and table column names that Excel accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count

from fluxport.findings import Findings
from fluxport.formats.names import unique_names
from fluxport.formats.xlsx.options import CELL_UNITS_MAX, HEADER_UNITS_MAX_IN_TABLE, SHEET_NAME_UNITS_MAX

_DEFAULT = "Sheet"
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def sheet_name(wanted: str, findings: Findings) -> str:
    """``wanted``, corrected and reported if Excel does not allow it."""
    name = _NOT_IN_SHEET_NAMES.sub("_", wanted)
    name = cut(name, SHEET_NAME_UNITS_MAX).strip().strip("'").strip() or f"{_DEFAULT}1"
    if name.casefold() == "history":  # reserved by Excel
        name += "_"
    if name != wanted:
        findings.add("sheet_renamed")
    return name


def sheet_names(first: str) -> Iterator[str]:
    """``first``, then the names of the sheets after it: ``Sheet2`` after ``Sheet1``, else ``Users (2)``."""
    yield first
    for number in count(2):
        if first == f"{_DEFAULT}1":
            yield f"{_DEFAULT}{number}"
        else:
            yield _suffixed(first, f" ({number})", SHEET_NAME_UNITS_MAX)


def notes_name(taken: Sequence[str]) -> str:
    used = {name.casefold() for name in taken}
    return next(name for name in sheet_names("Notes") if name.casefold() not in used)


def column_names(names: Sequence[str], findings: Findings, *, table: bool) -> list[str]:
    """Unique names that fit a cell, line ends LF; in a table they differ by more than case and are shorter."""
    limit = HEADER_UNITS_MAX_IN_TABLE if table else CELL_UNITS_MAX
    seen: set[str] = set()
    unique = []
    for name in unique_names(names, findings):
        short = cut(name.replace("\r\n", "\n"), limit)
        candidates = (_suffixed(short, f"_{number}" if number else "", limit) for number in count())
        unused = next(c for c in candidates if (c.casefold() if table else c) not in seen)
        if unused != name:
            findings.add("column_renamed", unused)
        seen.add(unused.casefold() if table else unused)
        unique.append(unused)
    return unique


def cut(text: str, units: int) -> str:
    """``text`` up to ``units`` UTF-16 units, never splitting a character."""
    if 2 * len(text) <= units:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore")


def _suffixed(name: str, suffix: str, units: int) -> str:
    return cut(name, units - len(suffix)) + suffix
